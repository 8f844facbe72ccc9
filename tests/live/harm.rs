//! Nothing is harmed: programs that confine themselves, fork, execute, crash,
//! jump out of calls and close their libraries do the same watched and
//! unwatched, to the last byte of output and to the exit code.

use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::support::files::{Certificate, Docroot, folder};
use crate::support::httpsniff::Httpsniff;
use crate::support::lock;
use crate::support::servers::{Server, nginx, program};
use crate::support::skip::needs;

/// The program that treats its library roughly.
struct Rough {
    folder: TempDir,
}

impl Rough {
    fn build() -> Self {
        let rough = Self { folder: folder() };
        let status = Command::new("gcc")
            .args(["-O1", "-o"])
            .arg(rough.path())
            .arg(program("rough.c"))
            .args(["-ldl", "-lpthread"])
            .status()
            .unwrap();
        assert!(status.success());
        rough
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("rough")
    }

    fn command(&self, mode: &str, server: &Server) -> Command {
        let mut command = Command::new(self.path());
        command.args([mode, &server.port().to_string(), "libssl.so.3"]);
        command
    }
}

/// What a watched and an unwatched run must have in common.
fn outcome(output: &Output) -> (Option<i32>, Option<i32>, String) {
    use std::os::unix::process::ExitStatusExt as _;
    (
        output.status.code(),
        output.status.signal(),
        String::from_utf8(output.stdout.clone()).unwrap(),
    )
}

/// Runs a mode without and with httpsniff (with each of `options` in turn) and
/// compares. Every exchange of the program that came to an end must be shown.
fn check(mode: &str) {
    let docroot = Docroot::new(&[35]);
    let certificate = Certificate::new();
    let server = nginx(&docroot, Some(&certificate));
    let rough = Rough::build();
    let alone = outcome(&rough.command(mode, &server).output().unwrap());
    for options in [&[][..], &["--no-uretprobes"]] {
        let watch = Httpsniff::new()
            .json()
            .args(["--comm", "rough", "--port", &server.port().to_string()])
            .args(options)
            .start();
        let watched = rough.command(mode, &server).output().unwrap();
        let seen = watch.stop().success().exchanges();
        assert_eq!(
            outcome(&watched),
            alone,
            "{mode} {options:?}: {}",
            String::from_utf8_lossy(&watched.stderr)
        );
        // One line per exchange.
        let printed: Vec<_> = alone
            .2
            .lines()
            .map(|line| line.split(' ').next().unwrap().to_owned())
            .collect();
        let mut complete: Vec<_> = seen
            .iter()
            .filter(|exchange| exchange.state() == "complete")
            .map(|exchange| exchange.target())
            .collect();
        // What crashed or jumped had its answer, but did not print it.
        complete.retain(|target| printed.contains(target));
        assert_eq!(complete, printed, "{mode} {options:?}");
    }
}

macro_rules! tests {
    ($($name:ident: $mode:literal),* $(,)?) => { $(
        #[test]
        fn $name() {
            needs!("nginx", "openssl", "gcc");
            let _guard = lock::shared();
            check($mode);
        }
    )* };
}

tests! {
    a_confined_program_goes_on: "confined",
    forks_share_tls_objects: "fork",
    an_exec_with_tls_objects: "exec",
    returns_that_never_happen: "jump",
    an_abort_inside_a_call: "abort",
    a_fault_inside_a_call: "segv",
    threads_that_end_inside_a_call: "thread",
    a_library_that_comes_and_goes: "dlclose",
    signals_while_a_probe_is_handled: "signals",
}
