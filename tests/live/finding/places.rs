//! One file under several names or mounts, and files that only a container has.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{LIBSSL, SHARED, Scene, client};
use crate::lifecycle::text_is_untouched;
use crate::support::clients::run;
use crate::support::httpsniff::Httpsniff;
use crate::support::lock;
use crate::support::process::{Process, eventually};
use crate::support::skip::{needs, skipped};

/// Two overlayfs mounts above one folder; unmounted when dropped.
struct Overlays {
    below: PathBuf,
    mounts: Vec<PathBuf>,
}

impl Overlays {
    /// `None` when this machine cannot mount them.
    fn new(folder: &Path) -> Option<Self> {
        let mut overlays = Self {
            below: folder.join("lower"),
            mounts: Vec::new(),
        };
        std::fs::create_dir(&overlays.below).unwrap();
        for name in ["one", "two"] {
            let path = |part: &str| folder.join(format!("{name}-{part}"));
            for part in ["upper", "work", "merged"] {
                std::fs::create_dir(path(part)).unwrap();
            }
            let options = format!(
                "lowerdir={},upperdir={},workdir={}",
                overlays.below.display(),
                path("upper").display(),
                path("work").display()
            );
            let mounted = Command::new("mount")
                .args(["-t", "overlay", "overlay", "-o", &options])
                .arg(path("merged"))
                .status();
            if !mounted.is_ok_and(|status| status.success()) {
                return None;
            }
            overlays.mounts.push(path("merged"));
        }
        Some(overlays)
    }
}

impl Drop for Overlays {
    fn drop(&mut self) {
        for mount in &self.mounts {
            drop(Command::new("umount").arg("-l").arg(mount).status());
        }
    }
}

/// Libraries of a dynamic program and its loader, by `ldd`.
fn libraries(program: &Path) -> Vec<PathBuf> {
    run(Command::new("ldd").arg(program))
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(|word| PathBuf::from(word.trim_end_matches(':')))
        .collect()
}

/// A container's image under overlayfs shows one inode on another device in
/// each container: both are seen, each once, and so is a file that is attached
/// to by two names which nothing tells apart.
#[test]
fn one_file_under_two_overlays_is_seen_once() {
    needs!("nginx", "openssl", "cc", "mount");
    let _guard = lock::shared();
    let scene = Scene::new();
    let client = client(scene.folder.path(), &SHARED);
    let Some(overlays) = Overlays::new(scene.folder.path()) else {
        skipped(
            "finding::places::one_file_under_two_overlays_is_seen_once",
            "no overlayfs here",
        );
        return;
    };
    std::fs::copy(LIBSSL, overlays.below.join("libssl.so.3")).unwrap();
    let folders = [&overlays.mounts[0], &overlays.mounts[1], &overlays.below];
    let mut processes =
        folders.map(|folder| scene.start(Command::new(&client).env("LD_LIBRARY_PATH", folder)));
    let pids = processes.each_ref().map(Process::pid);
    let mut watch = Httpsniff::new().json();
    for (pid, folder) in pids.iter().zip(folders) {
        let library = folder.join("libssl.so.3");
        watch = watch
            .args(["--pid", &pid.to_string()])
            .arg("--lib")
            .arg(library);
    }
    let watch = watch.start();
    for process in &mut processes {
        scene.order(process, "get", "1.bin");
        scene.order(process, "get", "20000.bin");
    }
    let outcome = watch.stop().success();
    for pid in pids {
        scene.check(&outcome, pid, &["1.bin", "20000.bin"]);
    }
}

/// Two names of one file, and a folder that is mounted in two places.
#[test]
fn links_and_bind_mounts_are_one_file() {
    needs!("nginx", "openssl", "cc", "mount");
    let _guard = lock::shared();
    let scene = Scene::new();
    let client = client(scene.folder.path(), &SHARED);
    let (first, second) = (scene.path("first"), scene.path("second"));
    std::fs::create_dir(&first).unwrap();
    std::fs::create_dir(&second).unwrap();
    let library = first.join("libssl.so.3");
    std::fs::copy(LIBSSL, &library).unwrap();
    std::fs::hard_link(&library, second.join("libssl.so.3")).unwrap();
    // The mount is gone with its namespace.
    let bind = format!(
        "mkdir {0}/third && mount --bind {0}/first {0}/third && \
         LD_LIBRARY_PATH={0}/third exec {1} \"$1\"",
        scene.folder.path().display(),
        client.display()
    );
    let mut processes = [
        scene.start(Command::new(&client).env("LD_LIBRARY_PATH", &first)),
        scene.start(Command::new(&client).env("LD_LIBRARY_PATH", &second)),
        scene.start(Command::new("unshare").args(["-m", "sh", "-ec", &bind, "sh"])),
    ];
    let pids = processes.each_ref().map(Process::pid);
    let list = pids.map(|pid| pid.to_string()).join(",");
    let watch = Httpsniff::new().json().args(["--pid", &list]).start();
    for process in &mut processes {
        scene.order(process, "get", "1.bin");
    }
    let outcome = watch.stop().success();
    for pid in pids {
        scene.check(&outcome, pid, &["1.bin"]);
    }
}

/// A root directory of its own in a mount namespace of its own, as containers
/// have, with libraries that nobody else has: started before and after.
#[test]
fn another_root_with_its_own_library_is_found() {
    needs!("nginx", "openssl", "cc", "unshare", "chroot", "ldd");
    let _guard = lock::shared();
    let scene = Scene::new();
    let client = client(scene.folder.path(), &SHARED);
    for later in [false, true] {
        let root = scene.path(if later { "root1" } else { "root0" });
        for file in libraries(&client).iter().chain([&client]) {
            let copy = root.join(file.strip_prefix("/").unwrap());
            std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
            std::fs::copy(file, copy).unwrap();
        }
        // The client writes where it sees the folder of the test.
        let kept = root.join(scene.path("kept").strip_prefix("/").unwrap());
        let get = |process: &mut Process, name: &str| {
            process.send(&format!("get /{name} {}", scene.path("kept").display()));
            process.line_with("done");
            assert_eq!(std::fs::read(&kept).unwrap(), scene.docroot.content(name));
        };
        let mut process;
        let watch;
        if later {
            // A shell that becomes the client when it is told to.
            let script = r#"echo ready; read -r go; exec unshare -m chroot "$@""#;
            let mut shell = Command::new("sh");
            shell.args(["-c", script, "sh"]).args([&root, &client]);
            process = scene.start(&mut shell);
            watch = super::watch(process.pid());
            process.send("go");
            process.line_with("ready");
            // That it is mapped is enough: no call has been made. (How long
            // it takes depends on what else the machine does.)
            eventually("the library is attached to", || {
                !text_is_untouched(process.pid())
            });
        } else {
            let mut command = Command::new("unshare");
            command.args(["-m", "chroot"]).args([&root, &client]);
            process = scene.start(&mut command);
            watch = super::watch(process.pid());
        }
        get(&mut process, "1.bin");
        get(&mut process, "20000.bin");
        let outcome = watch.stop().success();
        scene.check(&outcome, process.pid(), &["1.bin", "20000.bin"]);
    }
}
