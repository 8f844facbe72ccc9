//! Libraries that come to a process, or go from the disk, while it runs.

use std::process::Command;

use super::{LIBSSL, SHARED, Scene, client, watch};
use crate::support::lock;
use crate::support::servers::{PYTHON, program};
use crate::support::skip::needs;

/// Wheels bring a libssl of their own under a name of their own; some bring
/// one inside a file of quite another name. Neither was ever seen before.
#[test]
fn a_library_that_is_loaded_later_is_found() {
    needs!("nginx", "openssl", "cc");
    let _guard = lock::shared();
    let scene = Scene::new();
    let client = client(scene.folder.path(), &["-ldl"]);
    for name in ["libssl-81ffa89e.so.1.1", "_bundle.cpython-311.so"] {
        let library = scene.path(name);
        std::fs::copy(LIBSSL, &library).unwrap();
        let mut process = scene.start(&mut Command::new(&client));
        let watch = watch(process.pid());
        scene.order(&mut process, &format!("now {}", library.display()), "1.bin");
        scene.order(&mut process, "get", "20000.bin");
        let pid = process.pid();
        process.finish();
        let outcome = watch.join().success();
        scene.check(&outcome, pid, &["1.bin", "20000.bin"]);
    }
}

/// Python's ssl with a libssl of its own, as wheels bring it: loaded by name
/// before, and found by the ssl module by its SONAME.
#[test]
fn a_library_that_import_brings_is_found() {
    needs!("nginx", "openssl");
    let _guard = lock::shared();
    let scene = Scene::new();
    let folder = scene.path("venv/lib/python3/site-packages/x.libs");
    std::fs::create_dir_all(&folder).unwrap();
    let library = folder.join("libssl-81ffa89e.so.1.1");
    std::fs::copy(LIBSSL, &library).unwrap();
    let mut process = scene.start(
        Command::new(PYTHON)
            .arg("-u")
            .arg(program("late_import.py"))
            .arg(&library),
    );
    let watch = watch(process.pid());
    scene.order(&mut process, "get", "1.bin");
    scene.order(&mut process, "get", "20000.bin");
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", process.pid())).unwrap();
    assert!(maps.contains("libssl-81ffa89e") && !maps.contains("libssl.so.3"));
    let pid = process.pid();
    process.finish();
    let outcome = watch.join().success();
    scene.check(&outcome, pid, &["1.bin", "20000.bin"]);
}

/// An upgrade replaces the file while its users run on with the old one.
#[test]
fn a_library_that_was_deleted_or_replaced_is_found() {
    needs!("nginx", "openssl", "cc");
    let _guard = lock::shared();
    let scene = Scene::new();
    let client = client(scene.folder.path(), &SHARED);
    for (number, (later, replace)) in [(false, false), (false, true), (true, false), (true, true)]
        .into_iter()
        .enumerate()
    {
        let folder = scene.path(&format!("libraries{number}"));
        std::fs::create_dir(&folder).unwrap();
        let library = folder.join("libssl.so.3");
        std::fs::copy(LIBSSL, &library).unwrap();
        let mut process = scene.start(Command::new(&client).env("LD_LIBRARY_PATH", &folder));
        let mut watch = None;
        if later {
            watch = Some(super::watch(process.pid()));
        }
        if replace {
            std::fs::copy(LIBSSL, folder.join("new")).unwrap();
            std::fs::rename(folder.join("new"), &library).unwrap();
        } else {
            std::fs::remove_file(&library).unwrap();
        }
        let watch = watch.unwrap_or_else(|| super::watch(process.pid()));
        scene.order(&mut process, "get", "1.bin");
        let outcome = watch.stop().success();
        scene.check(&outcome, process.pid(), &["1.bin"]);
    }
}
