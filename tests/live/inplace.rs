//! Files that are attached to and then written over: what is in them next runs
//! as if nobody had ever looked at it, and is read as well.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::finding::{LIBSSL, SHARED, STATIC, Scene, client};
use crate::lifecycle::{bpf_of, text_is_untouched};
use crate::support::clients::run;
use crate::support::httpsniff::Httpsniff;
use crate::support::lock;
use crate::support::process::{Process, eventually};
use crate::support::servers::program;
use crate::support::skip::needs;

/// How often each file is written over.
const ROUNDS: usize = 4;

/// A shell that becomes what it is told on its command line once it gets a
/// line, so that its pid is known before.
fn sleeper(scene: &Scene, command: &Path, environment: Option<&Path>) -> Process {
    let script = r#"echo ready; read -r go; exec "$@""#;
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(command);
    shell.envs(environment.map(|folder| ("LD_LIBRARY_PATH", folder)));
    scene.start(&mut shell)
}

/// Writes `to` over in place, in a process of its own: a test beside this one that
/// forks meanwhile would keep the file open for writing, and nobody could execute it.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg(from).arg(to).status();
    assert!(status.unwrap().success(), "cp to {}", to.display());
}

/// Overwrites `file` by each of `builds` in turn, and starts `command` at once
/// each time.
fn overwrite(
    scene: &Scene,
    file: &Path,
    builds: [&Path; 2],
    command: &Path,
    folder: Option<&Path>,
) {
    copy(builds[0], file);
    let mut first = sleeper(scene, command, folder);
    first.send("");
    first.line_with("ready");
    let mut later: Vec<Process> = (0..ROUNDS)
        .map(|_| sleeper(scene, command, folder))
        .collect();
    let mut pids = vec![first.pid()];
    pids.extend(later.iter().map(Process::pid));
    let list: Vec<String> = pids.iter().map(u32::to_string).collect();
    let watch = Httpsniff::new()
        .json()
        .args(["--pid", &list.join(",")])
        .start();
    scene.order(&mut first, "get", "1.bin");
    first.finish();
    let links = || bpf_of(watch.pid()).1.len();
    let attached = links();
    for (round, mut process) in later.drain(..).enumerate() {
        let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&path.metadata().unwrap());
        let before = inode(file);
        copy(builds[(round + 1) % 2], file);
        assert_eq!(inode(file), before);
        // It looks at its own code before it says so.
        process.send("");
        process.line_with("ready");
        eventually("the new content is attached to", || {
            // At all places: they were gone when the file was written.
            !text_is_untouched(process.pid()) && links() == attached
        });
        scene.order(&mut process, "get", "20000.bin");
        scene.order(&mut process, "get", "1.bin");
        // It ends with 0.
        process.finish();
    }
    let outcome = watch.join().success();
    let (first, later) = pids.split_first().unwrap();
    scene.check(&outcome, *first, &["1.bin"]);
    for pid in later {
        scene.check(&outcome, *pid, &["20000.bin", "1.bin"]);
    }
}

/// `cp` of a new build to a program's place, and the program is started.
#[test]
fn a_program_that_was_overwritten_is_not_harmed_and_read() {
    needs!("nginx", "openssl", "cc");
    let _guard = lock::shared();
    let scene = Scene::new();
    let build = |name: &str, padding: &[&str]| {
        let folder = scene.path(name);
        std::fs::create_dir(&folder).unwrap();
        client(&folder, &[padding, &STATIC[..]].concat())
    };
    let padding = program("padding.c");
    let (plain, padded) = (
        build("plain", &[]),
        build("padded", &[padding.to_str().unwrap()]),
    );
    let file = scene.path("server");
    overwrite(&scene, &file, [&plain, &padded], &file, None);
}

/// What has no name any more and is used by nobody is not held either, and what
/// is used still is.
#[test]
fn a_file_that_is_gone_is_let_go_of() {
    needs!("nginx", "openssl", "cc");
    let _guard = lock::shared();
    let scene = Scene::new();
    let client = client(scene.folder.path(), &SHARED);
    let folders = ["first", "second"].map(|name| scene.path(name));
    let mut users = folders.each_ref().map(|folder| {
        std::fs::create_dir(folder).unwrap();
        std::fs::copy(LIBSSL, folder.join("libssl.so.3")).unwrap();
        scene.start(Command::new(&client).env("LD_LIBRARY_PATH", folder))
    });
    let pids = users.each_ref().map(Process::pid);
    let list = pids.map(|pid| pid.to_string()).join(",");
    let watch = Httpsniff::new()
        .json()
        .args(["--pid", &list])
        .env("HTTPSNIFF_RETIRE_MS", "100")
        .start();
    let held = |folder: &Path| {
        let fds = std::fs::read_dir(format!("/proc/{}/fd", watch.pid())).unwrap();
        fds.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok())
            .any(|file| file.starts_with(folder))
    };
    for user in &mut users {
        scene.order(user, "get", "1.bin");
    }
    assert!(folders.iter().all(|folder| held(folder)));
    for folder in &folders {
        std::fs::remove_file(folder.join("libssl.so.3")).unwrap();
    }
    let [first, mut second] = users;
    first.finish();
    eventually("the file is let go of", || !held(&folders[0]));
    assert!(held(&folders[1]));
    scene.order(&mut second, "get", "20000.bin");
    let outcome = watch.stop().success();
    scene.check(&outcome, pids[0], &["1.bin"]);
    scene.check(&outcome, pids[1], &["1.bin", "20000.bin"]);
}

/// The machine's libssl, but with other code where that has its functions.
fn padded_libssl(scene: &Scene) -> PathBuf {
    let file = scene.path("padded.so");
    run(Command::new("cc")
        .args([
            "-shared",
            "-fPIC",
            "-Wl,-soname,libssl.so.3",
            "-Wl,-Bsymbolic",
            "-o",
        ])
        .arg(&file)
        .arg(program("padding.c"))
        .args([
            "-Wl,--whole-archive",
            "-l:libssl.a",
            "-Wl,--no-whole-archive",
        ])
        .args(["-l:libcrypto.a", "-ldl", "-lpthread"]));
    file
}

/// The same of a library that is loaded from LD_LIBRARY_PATH.
#[test]
fn a_library_that_was_overwritten_is_not_harmed_and_read() {
    needs!("nginx", "openssl", "cc");
    let _guard = lock::shared();
    let scene = Scene::new();
    let client = client(scene.folder.path(), &SHARED);
    let folder = scene.path("libraries");
    std::fs::create_dir(&folder).unwrap();
    let library = folder.join("libssl.so.3");
    let padded = padded_libssl(&scene);
    overwrite(
        &scene,
        &library,
        [Path::new(LIBSSL), &padded],
        &client,
        Some(&folder),
    );
}
