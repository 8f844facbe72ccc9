use super::*;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

fn own() -> System {
    System::new(Root::own().unwrap())
}

/// What the real loader says that a program loads.
fn ldd(program: &str) -> Option<Vec<String>> {
    let output = std::process::Command::new("ldd").arg(program).output();
    let Ok(output) = output else {
        eprintln!("skipped: no ldd here");
        return None;
    };
    let text = String::from_utf8(output.stdout).unwrap();
    let mut names: Vec<String> = text
        .lines()
        .filter_map(|line| line.trim().split(" => ").nth(1)?.split(' ').next())
        .filter(|path| path.starts_with('/'))
        .map(str::to_owned)
        .collect();
    names.sort();
    Some(names)
}

#[test]
fn the_closure_is_that_of_the_real_loader() {
    for program in ["/usr/bin/curl", "/bin/ls", "/usr/sbin/nginx"] {
        if !Path::new(program).exists() {
            eprintln!("skipped: no {program} here");
            continue;
        }
        let Some(expected) = ldd(program) else { return };
        let objects = own().closure(program.as_bytes(), b"");
        let mut found: Vec<String> = objects[1..]
            .iter()
            .map(|object| String::from_utf8(object.path.clone()).unwrap())
            .filter(|path| !path.contains("/ld-linux"))
            .collect();
        found.sort();
        assert_eq!(found, expected, "{program}");
    }
}

#[test]
fn a_script_stands_for_its_interpreter() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("script");
    for (line, expected) in [
        ("#! /bin/cat -x\n", "/bin/cat"),
        ("#!/bin/cat", "/bin/cat"),
        ("#!/usr/bin/env -S A=1 cat -u\n", "cat"),
    ] {
        std::fs::write(&script, line).unwrap();
        let (path, _) = own().program(script.as_os_str().as_bytes()).unwrap();
        assert!(path.ends_with(expected.as_bytes()), "{line}");
    }
    // One that names itself ends.
    std::fs::write(&script, format!("#!{}\n", script.display())).unwrap();
    assert!(own().program(script.as_os_str().as_bytes()).is_none());
}

#[test]
fn origin_and_lib_are_replaced() {
    let found = directories(b"$ORIGIN/../x:/a:rel:${ORIGIN}:", b"/opt/b/bin/p");
    assert_eq!(
        found,
        [&b"/opt/b/bin/../x"[..], b"/a", b"/opt/b/bin"].map(<[u8]>::to_vec)
    );
    assert!(directories(b"/$LIB", b"/p").contains(&b"/lib64".to_vec()));
    assert_eq!(directories(b"/$OTHER", b"/p"), [b"/$OTHER".to_vec()]);
}

#[test]
fn without_a_cache_the_standard_directories_are_listed() {
    let mut system = own();
    system.cache.clear();
    let libraries = system.libraries(|name| name.starts_with(b"libc.so"));
    assert!(libraries.iter().any(|path| path.ends_with(b"/libc.so.6")));
}

#[test]
fn the_library_path_comes_before_the_cache() {
    let system = own();
    let curl = b"/usr/bin/curl";
    let usual = system.closure(curl, b"");
    let Some(tls) = usual.iter().find(|o| o.path.ends_with(b"/libssl.so.3")) else {
        eprintln!("skipped: no curl with OpenSSL here");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("libssl.so.3");
    std::fs::copy(std::ffi::OsStr::from_bytes(&tls.path), &copy).unwrap();
    // A file of that name that is no library is passed over, as ld.so does.
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("libssl.so.3"), "text").unwrap();
    let list = [other.path(), dir.path()]
        .map(|p| p.to_str().unwrap())
        .join(":");
    let found = system.closure(curl, list.as_bytes());
    assert_eq!(found.len(), usual.len());
    assert!(found.iter().any(|o| o.path == copy.as_os_str().as_bytes()));
}
