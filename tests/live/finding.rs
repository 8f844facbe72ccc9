//! Finding the library: wherever the file is, whatever its name, whenever it
//! is loaded, the first exchange is shown.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::clients::run;
use crate::support::exchange::Exchange;
use crate::support::files::{Certificate, Docroot, folder};
use crate::support::httpsniff::{Httpsniff, Outcome, Running};
use crate::support::lock;
use crate::support::process::Process;
use crate::support::servers::{PYTHON, Server, nginx, program};
use crate::support::skip::needs;

/// The machine's libssl.
const LIBSSL: &str = "/usr/lib/x86_64-linux-gnu/libssl.so.3";

/// The client of `tls_client.c` with these arguments to the compiler.
fn client(folder: &Path, arguments: &[&str]) -> PathBuf {
    let file = folder.join("tls_client");
    run(Command::new("cc")
        .args(["-O1", "-o"])
        .arg(&file)
        .arg(program("tls_client.c"))
        .args(arguments));
    file
}

/// A server with TLS and a client of ours, not started.
struct Scene {
    docroot: Docroot,
    server: Server,
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let docroot = Docroot::new(&[1, 20_000]);
        let certificate = Certificate::new();
        let server = nginx(&docroot, Some(&certificate));
        Self {
            docroot,
            server,
            folder: folder(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a program that takes orders.
    fn start(&self, command: &mut Command) -> Process {
        let mut process = Process::spawn(command.arg(self.server.port().to_string()));
        process.line_with("ready");
        process
    }

    /// Has the client get a file and compares what it kept with the file.
    fn order(&self, client: &mut Process, order: &str, name: &str) {
        let kept = self.path("kept");
        client.send(&format!("{order} /{name} {}", kept.display()));
        client.line_with("done");
        assert_eq!(std::fs::read(kept).unwrap(), self.docroot.content(name));
    }

    /// Compares what was shown of one process with the files of the server.
    fn check(&self, outcome: &Outcome, pid: u32, names: &[&str]) {
        let shown: Vec<Exchange> = outcome
            .exchanges()
            .into_iter()
            .filter(|exchange| exchange.pid() == u64::from(pid))
            .collect();
        let targets: Vec<&str> = shown.iter().map(Exchange::target).collect();
        let expected: Vec<String> = names.iter().map(|name| format!("/{name}")).collect();
        assert_eq!(targets, expected, "{}", outcome.stderr);
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
        let program = client(
            scene.folder.path(),
            &[
                &[
                    "-DLINKED",
                    "-lpthread",
                    "-l:libssl.a",
                    "-l:libcrypto.a",
                    "-ldl",
                ],
                &arguments[..],
            ]
            .concat(),
        );
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
