use super::*;
use crate::tls::library::LIBRARIES;

const OPENSSL: &[u8] = include_bytes!("../../../fixtures/elf/openssl.so");
const STATIC: &[u8] = include_bytes!("../../../fixtures/elf/static");
const NAMES: &[&str] = &["SSL_read", "SSL_write", "SSL_read_ex", "SSL_free"];

/// What `nm -D` says that a library defines as a function.
fn nm(path: &str, name: &str) -> Option<u64> {
    let output = std::process::Command::new("nm").args(["-D", path]).output();
    let text = String::from_utf8(output.ok()?.stdout).ok()?;
    let line = text.lines().find(|line| {
        let symbol = line.rsplit(' ').next().unwrap_or_default();
        symbol.split('@').next() == Some(name) && line.contains(" T ")
    })?;
    u64::from_str_radix(line.split(' ').next()?, 16).ok()
}

/// The system's libssl, if it has one.
fn libssl() -> Option<&'static str> {
    let path = [
        "/lib/x86_64-linux-gnu/libssl.so.3",
        "/usr/lib64/libssl.so.3",
    ];
    let found = path
        .into_iter()
        .find(|path| std::path::Path::new(path).exists());
    if found.is_none() {
        eprintln!("skipped: no libssl here");
    }
    found
}

#[test]
fn exported_functions_are_found_by_name() {
    let elf = Elf::open(OPENSSL).unwrap();
    let found = elf.functions(NAMES).unwrap();
    assert!(found.iter().all(Option::is_some), "{found:?}");
    let mut offsets: Vec<u64> = found.iter().flatten().map(|f| f.offset).collect();
    offsets.sort_unstable();
    offsets.dedup();
    assert_eq!(offsets.len(), NAMES.len());
    // The code itself: SSL_read ends by `lea 1(%rdx),%eax; ret`.
    let read = found[0].unwrap();
    let code = elf.bytes_at(read.offset, read.size as usize).unwrap();
    assert!(code.ends_with(&[0x8d, 0x42, 0x01, 0xc3]), "{code:x?}");
}

#[test]
fn what_is_not_a_function_here_is_not_found() {
    let elf = Elf::open(OPENSSL).unwrap();
    let names = [
        "SSL_undefined",
        "SSL_data",
        "SSL_ifunc",
        "SSL_rea",
        "SL_read",
        "",
    ];
    assert_eq!(elf.functions(&names).unwrap(), vec![None; names.len()]);
}

#[test]
fn a_program_without_exports_is_read_by_its_full_table() {
    let elf = Elf::open(STATIC).unwrap();
    assert!(elf.functions(NAMES).unwrap().iter().all(Option::is_some));
    assert!(!elf.has_interpreter());
}

#[test]
fn dynamic_section_build_id_and_constants_are_read() {
    let elf = Elf::open(OPENSSL).unwrap();
    assert_eq!(elf.dynamic().unwrap().soname.unwrap(), b"libssl.so.3");
    assert_eq!(elf.build_id().unwrap().len(), 20);
    assert_eq!(
        elf.find_constant(b"SSL ", LIBRARIES[0].version).unwrap(),
        "OpenSSL 3.0.19"
    );
    assert!(
        elf.find_constant(b"no such text", |_, _| Some(()))
            .is_none()
    );
}

#[test]
fn other_machines_are_told() {
    let mut other = OPENSSL.to_vec();
    other[18] = 40;
    assert!(matches!(
        Elf::open(&other[..]).unwrap().native(),
        Err(ElfError::Foreign(_))
    ));
    assert!(matches!(
        Elf::open(&b"#!/bin/sh\n"[..]),
        Err(ElfError::NotElf)
    ));
    assert!(matches!(Elf::open(&b""[..]), Err(ElfError::NotElf)));
}

#[test]
fn offsets_in_the_systems_libssl_are_those_of_nm() {
    let Some(path) = libssl() else { return };
    let file = File::open(path).unwrap();
    let elf = Elf::open(&file).unwrap();
    for (name, function) in NAMES.iter().zip(elf.functions(NAMES).unwrap()) {
        let Some(address) = nm(path, name) else {
            eprintln!("skipped: no nm here");
            return;
        };
        assert_eq!(function.unwrap().address, address, "{name}");
    }
}

/// Asks all questions of a file. Answers do not matter, coming back does.
fn ask(bytes: &[u8]) {
    let Ok(elf) = Elf::open(bytes) else { return };
    let _ = elf.native();
    let _ = elf.build_id();
    let _ = elf.dynamic();
    let _ = elf.named_sections(&[".gopclntab"]);
    let _ = elf.find_constant(b"SSL ", LIBRARIES[0].version);
    for function in elf.functions(NAMES).iter().flatten().flatten() {
        assert!(function.offset < bytes.len() as u64);
    }
}

/// Asks after damage in one of the ranges, `rounds` times.
fn damage(file: &[u8], ranges: &[std::ops::Range<usize>], rounds: usize) {
    // xorshift: the same damage every time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below.max(1) as u64) as usize
    };
    let mut copy = file.to_vec();
    for _ in 0..rounds {
        let mut touched = Vec::new();
        for _ in 0..=next(4) {
            let range = &ranges[next(ranges.len())];
            let at = range.start + next(range.len());
            let value = [0, 1, 0x7f, 0x80, 0xff, next(256) as u8][next(6)];
            for at in at..(at + [1, 1, 4, 8][next(4)]).min(copy.len()) {
                touched.push(at);
                copy[at] = value;
            }
        }
        ask(&copy);
        for at in touched {
            copy[at] = file[at];
        }
    }
}

#[test]
fn damaged_copies_never_panic() {
    for file in [OPENSSL, STATIC] {
        damage(
            file,
            &[0..64, 64..512, 0..file.len(), file.len() - 1500..file.len()],
            20_000,
        );
        for length in 0..file.len() {
            ask(&file[..length]);
        }
    }
}

#[test]
fn damaged_copies_of_the_systems_libssl_never_panic() {
    let Some(path) = libssl() else { return };
    let bytes = std::fs::read(path).unwrap();
    let elf = Elf::open(&bytes[..]).unwrap();
    let sections = elf.sections().unwrap();
    let mut ranges = vec![0..64, 64..800];
    let headers = elf.header.e_shoff as usize;
    ranges.push(headers..headers + sections.len() * 64);
    for section in &sections {
        // Notes, symbols, strings, the dynamic section.
        if [2, 3, 6, 7, 11].contains(&section.sh_type) {
            let at = section.sh_offset as usize;
            ranges.push(at..at + section.sh_size as usize);
        }
    }
    damage(&bytes, &ranges, 3_000);
}

/// Prints how long a look takes; run with `--release --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn time_of_a_look() {
    for path in [
        libssl().unwrap_or("/bin/ls"),
        "/usr/bin/node",
        "/usr/bin/curl",
    ] {
        let Ok(file) = File::open(path) else { continue };
        for _ in 0..4 {
            let start = std::time::Instant::now();
            let elf = Elf::open(&file).unwrap();
            let names: Vec<&str> = LIBRARIES[0].calls.iter().map(|c| c.symbol).collect();
            let found = elf.functions(&names).unwrap();
            let symbols = start.elapsed();
            let inspection = crate::tls::inspect::inspect(
                &file,
                path.as_bytes(),
                Some(&crate::tls::root::Root::own().unwrap()),
                crate::tls::Returns::Probes,
            );
            println!(
                "{path}: {} symbols in {symbols:?}, whole inspection {:?}: {:?}",
                found.iter().flatten().count(),
                start.elapsed() - symbols,
                inspection.map(|i| i.map(|i| i.library))
            );
        }
    }
}
