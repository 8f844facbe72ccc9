//! Finding the library: wherever the file is, whatever its name, whenever it
//! is loaded, the first exchange is shown.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::clients::run;
use crate::support::exchange::Exchange;
use crate::support::files::{Certificate, Docroot, folder};
use crate::support::httpsniff::{Httpsniff, Outcome, Running};
use crate::support::process::Process;
use crate::support::servers::{Server, nginx, program};

mod check;
mod late;
mod named;
mod others;
mod places;

/// The machine's libssl.
pub(crate) const LIBSSL: &str = "/usr/lib/x86_64-linux-gnu/libssl.so.3";

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

fn watch(pid: u32) -> Running {
    Httpsniff::new()
        .json()
        .args(["--pid", &pid.to_string()])
        .start()
}
