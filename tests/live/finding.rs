//! Finding the library: wherever the file is, whatever its name, whenever it
//! is loaded, the first exchange is shown.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::lifecycle::{text_is_untouched, text_is_untouched_of};
use crate::support::cgroups::{Cgroup, container_id, hierarchies};
use crate::support::clients::run;
use crate::support::exchange::Exchange;
use crate::support::files::{Certificate, Docroot, folder};
use crate::support::httpsniff::{Httpsniff, Outcome, Running};
use crate::support::lock;
use crate::support::process::{Process, eventually};
use crate::support::servers::{PYTHON, Server, nginx, program};
use crate::support::skip::{needs, skipped};

/// The machine's libssl.
pub(crate) const LIBSSL: &str = "/usr/lib/x86_64-linux-gnu/libssl.so.3";

/// The client of `tls_client.c` with these arguments to the compiler.
pub(crate) fn client(folder: &Path, arguments: &[&str]) -> PathBuf {
    let file = folder.join("tls_client");
    run(Command::new("cc")
        .args(["-O1", "-o"])
        .arg(&file)
        .arg(program("tls_client.c"))
        .args(arguments));
    file
}

/// A server with TLS and a client of ours, not started.
pub(crate) struct Scene {
    docroot: Docroot,
    server: Server,
    pub(crate) folder: tempfile::TempDir,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let docroot = Docroot::new(&[1, 20_000]);
        let certificate = Certificate::new();
        let server = nginx(&docroot, Some(&certificate));
        Self {
            docroot,
            server,
            folder: folder(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a program that takes orders.
    pub(crate) fn start(&self, command: &mut Command) -> Process {
        let mut process = Process::spawn(command.arg(self.server.port().to_string()));
        process.line_with("ready");
        process
    }

    /// Has the client get a file and compares what it kept with the file.
    pub(crate) fn order(&self, client: &mut Process, order: &str, name: &str) {
        let kept = self.path("kept");
        client.send(&format!("{order} /{name} {}", kept.display()));
        client.line_with("done");
        assert_eq!(std::fs::read(kept).unwrap(), self.docroot.content(name));
    }

    /// Compares what was shown of one process with the files of the server.
    pub(crate) fn check(&self, outcome: &Outcome, pid: u32, names: &[&str]) {
        let shown: Vec<Exchange> = outcome
            .exchanges()
            .into_iter()
            .filter(|exchange| exchange.pid() == u64::from(pid))
            .collect();
        let targets: Vec<&str> = shown.iter().map(Exchange::target).collect();
        let expected: Vec<String> = names.iter().map(|name| format!("/{name}")).collect();
        let all: Vec<_> = outcome
            .exchanges()
            .iter()
            .map(|e| (e.pid(), e.role().to_owned(), e.target().to_owned()))
            .collect();
        assert_eq!(targets, expected, "of {pid} in {all:?}: {}", outcome.stderr);
        for (exchange, name) in shown.iter().zip(names) {
            assert_eq!(exchange.role(), "client");
            assert_eq!(
                exchange.body("response").unwrap(),
                self.docroot.content(name),
                "{name}"
            );
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

/// Arguments to the compiler for a client with the shared library.
pub(crate) const SHARED: [&str; 3] = ["-DLINKED", "-l:libssl.so.3", "-l:libcrypto.so.3"];

/// And with the static one.
pub(crate) const STATIC: [&str; 5] = [
    "-DLINKED",
    "-lpthread",
    "-l:libssl.a",
    "-l:libcrypto.a",
    "-ldl",
];

fn watch(pid: u32) -> Running {
    Httpsniff::new()
        .json()
        .args(["--pid", &pid.to_string()])
        .start()
}

/// A program that has OpenSSL linked in and no symbols: nobody but its user
/// knows where the functions are.
#[test]
fn addresses_from_the_user_find_what_has_no_symbols() {
    needs!("nginx", "openssl", "cc", "nm", "strip");
    let _guard = lock::shared();
    let scene = Scene::new();
    for arguments in [["-no-pie"], ["-pie"]] {
        let program = client(scene.folder.path(), &[&STATIC[..], &arguments[..]].concat());
        let names = ["SSL_read", "SSL_write", "SSL_free", "SSL_new"];
        let symbols = run(Command::new("nm").arg(&program));
        let at: Vec<String> = names
            .iter()
            .map(|name| {
                let line = symbols
                    .lines()
                    .find(|line| line.ends_with(&format!(" T {name}")));
                format!("{name}=0x{}", line.unwrap().split(' ').next().unwrap())
            })
            .collect();
        run(Command::new("strip").arg(&program));

        let (_, address) = at[0].split_once("=0x").unwrap();
        let wrong = u64::from_str_radix(address, 16).unwrap() + 1;
        let library = format!("{}@SSL_read={wrong},{}", program.display(), at[1]);
        let refused = Httpsniff::new().args(["--lib", &library]).finish();
        assert!(
            refused.stderr.contains("no function begins at 0x"),
            "{}",
            refused.stderr
        );

        let mut process = scene.start(&mut Command::new(&program));
        let outcome = watch(process.pid());
        scene.order(&mut process, "get", "1.bin");
        let shown = outcome.stop().success();
        scene.check(&shown, process.pid(), &[]);

        let library = format!("{}@{}", program.display(), at.join(","));
        let outcome = Httpsniff::new()
            .json()
            .args(["--pid", &process.pid().to_string(), "--lib", &library])
            .start();
        scene.order(&mut process, "get", "20000.bin");
        scene.order(&mut process, "get", "1.bin");
        let shown = outcome.stop().success();
        scene.check(&shown, process.pid(), &["20000.bin", "1.bin"]);
        let tls = shown.exchanges()[0].text("/tls/library").to_owned();
        assert!(tls.starts_with("OpenSSL"), "{tls}");
    }
}

/// The lines of `--check` below a title, without their indentation.
fn section(text: &str, title: &str) -> Vec<String> {
    let mut lines = text.lines().skip_while(|line| *line != title).skip(1);
    let lines = lines.by_ref().take_while(|line| line.starts_with("  "));
    lines.map(|line| line.trim().to_owned()).collect()
}

/// `--check` says of every program with TLS how it is read or why it is not.
#[test]
fn check_lists_who_uses_which_library() {
    needs!("nginx", "openssl", "cc", "strip");
    let _guard = lock::shared();
    let scene = Scene::new();
    // Many of one program, with a library of their own, in no library's name.
    let own = scene.path("_bundle.so");
    std::fs::copy(LIBSSL, &own).unwrap();
    let late = client(scene.folder.path(), &["-ldl"]);
    let mut users: Vec<Process> = (0..5)
        .map(|_| scene.start(&mut Command::new(&late)))
        .collect();
    for user in &mut users {
        user.send(&format!("load {}", own.display()));
        user.line_with("loaded");
    }
    let folder = scene.path("static");
    std::fs::create_dir(&folder).unwrap();
    let stripped = client(&folder, &STATIC);
    run(Command::new("strip").arg(&stripped));
    let stripped_user = scene.start(&mut Command::new(&stripped));

    let outcome = Httpsniff::new().arg("--check").finish().success();
    let text = String::from_utf8(outcome.stdout).unwrap();
    let line = |title: &str, file: &Path| {
        let lines = section(&text, title);
        let file = file.to_str().unwrap();
        let found: Vec<_> = lines
            .into_iter()
            .filter(|line| line.contains(file))
            .collect();
        assert_eq!(found.len(), 1, "{file}: {text}");
        found[0].clone()
    };
    let server = scene.server.pid();
    let read = section(&text, "TLS that is read");
    assert!(
        read.iter().any(|line| line.starts_with("OpenSSL ")
            && line.contains("libssl.so.3")
            && line.contains("probes behind the symbols")),
        "{text}"
    );
    assert!(
        text.contains(&format!("nginx[{server}]")) || text.contains(" more "),
        "{text}"
    );

    let bundle = line("TLS that is read", &own);
    let named = users
        .iter()
        .filter(|user| bundle.contains(&format!("[{}]", user.pid())));
    assert_eq!(named.count(), 3, "{bundle}");
    assert!(
        bundle.contains(" and 2 more ") && bundle.contains("probes"),
        "{bundle}"
    );

    let unread = line("TLS that is not read", &stripped);
    assert!(unread.starts_with("OpenSSL "), "{unread}");
    assert!(
        unread.contains(&format!("tls_client[{}]", stripped_user.pid())),
        "{unread}"
    );
    assert!(unread.contains("linked in without symbols"), "{unread}");
}

/// What cannot be right is one sentence with the cure.
#[test]
fn addresses_that_cannot_be_are_refused() {
    needs!();
    let _guard = lock::shared();
    let program = "/bin/sh";
    for (library, code, part) in [
        (
            "@SSL_read=0x1,SSL_write=0x2",
            1,
            "SSL_read cannot be at 0x1: its code is at 0x",
        ),
        ("@SSL_read=0x1", 2, "the address of SSL_write is needed too"),
        ("@SSL_raed=0x1", 2, "it knows SSL_read, SSL_write"),
        ("", 1, "--lib FILE@SSL_read=ADDRESS"),
    ] {
        let library = format!("{program}{library}");
        let outcome = Httpsniff::new().args(["--lib", &library]).finish();
        assert_eq!(outcome.status.code(), Some(code), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(part), "{}", outcome.stderr);
        assert!(outcome.stderr.lines().count() <= 2, "{}", outcome.stderr);
    }
}

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
            "finding::one_file_under_two_overlays_is_seen_once",
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
            watch = self::watch(process.pid());
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
            watch = self::watch(process.pid());
        }
        get(&mut process, "1.bin");
        get(&mut process, "20000.bin");
        let outcome = watch.stop().success();
        scene.check(&outcome, process.pid(), &["1.bin", "20000.bin"]);
    }
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
            watch = Some(self::watch(process.pid()));
        }
        if replace {
            std::fs::copy(LIBSSL, folder.join("new")).unwrap();
            std::fs::rename(folder.join("new"), &library).unwrap();
        } else {
            std::fs::remove_file(&library).unwrap();
        }
        let watch = watch.unwrap_or_else(|| self::watch(process.pid()));
        scene.order(&mut process, "get", "1.bin");
        let outcome = watch.stop().success();
        scene.check(&outcome, process.pid(), &["1.bin"]);
    }
}

/// Probes cost all who use their file: a library of those who are not selected
/// stays as it is, until one who is selected uses it too.
#[test]
fn files_of_others_are_left_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;
    needs!("nginx", "openssl", "cc");
    // Another that watches the whole machine would attach to these files.
    let _guard = lock::alone();
    let scene = Scene::new();
    let client = client(scene.folder.path(), &["-ldl"]);
    // For what the client keeps, who is not root.
    std::fs::set_permissions(scene.folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    // Users of no other test.
    let (selected, other) = (64_201, 64_202);
    let mut cases = Vec::new();
    cases.push((["--uid".to_owned(), selected.to_string()], None));
    for hierarchy in hierarchies() {
        let id = container_id();
        let cgroup = Cgroup::new(&hierarchy, &format!("docker/{id}"));
        cases.push((["--container".to_owned(), id], Some(cgroup)));
    }
    for (number, (selector, cgroup)) in cases.into_iter().enumerate() {
        let start = || {
            let mut command = Command::new(&client);
            let command = match &cgroup {
                Some(cgroup) => &mut cgroup.run(&command),
                None => command.uid(selected),
            };
            scene.start(command)
        };
        let library = |name: &str| {
            let path = scene.path(&format!("libssl-{number}{name}.so.3"));
            std::fs::copy(LIBSSL, &path).unwrap();
            path
        };
        let (before, during, own) = (library("before"), library("during"), library("own"));
        let untouched = |pid: u32, file: &Path| {
            let file = file.to_str().unwrap();
            text_is_untouched_of(pid, |path| path == file)
        };
        let load = |file: &Path| {
            let mut process = scene.start(Command::new(&client).uid(other));
            process.send(&format!("load {}", file.display()));
            process.line_with("loaded");
            process
        };
        let mut first = load(&before);
        let watch = Httpsniff::new().json().args(&selector).start();
        let second = load(&during);
        let use_it = |library: &Path, name: &str| {
            let mut process = start();
            process.send(&format!("load {}", library.display()));
            process.line_with("loaded");
            let pid = process.pid();
            eventually("a library is attached to", || !untouched(pid, library));
            scene.order(&mut process, "get", name);
            process.finish();
            pid
        };
        let pid = use_it(&own, "1.bin");
        assert!(untouched(first.pid(), &before), "{selector:?}");
        assert!(untouched(second.pid(), &during), "{selector:?}");
        let again = use_it(&during, "20000.bin");
        assert!(!untouched(second.pid(), &during), "{selector:?}");
        let mut shown = vec![u64::from(pid), u64::from(again)];
        if let Some(cgroup) = &cgroup {
            // Who comes later with a file of one's own is found by what is sent.
            std::fs::remove_file(scene.path("kept")).unwrap();
            cgroup.take(first.pid());
            eventually("who has joined is found", || {
                scene.order(&mut first, "get", "1.bin");
                !untouched(first.pid(), &before)
            });
            scene.order(&mut first, "get", "20000.bin");
            shown.push(u64::from(first.pid()));
        }
        let outcome = watch.stop().success();
        scene.check(&outcome, pid, &["1.bin"]);
        scene.check(&outcome, again, &["20000.bin"]);
        let exchanges = outcome.exchanges();
        assert!(exchanges.iter().all(|e| shown.contains(&e.pid())));
        let is_first = |e: &&Exchange| e.pid() == u64::from(first.pid());
        if let Some(last) = exchanges.iter().rfind(is_first) {
            assert_eq!(last.target(), "/20000.bin");
        } else {
            assert!(cgroup.is_none(), "{}", outcome.stderr);
        }
        for process in [first, second] {
            process.finish();
        }
    }
}
