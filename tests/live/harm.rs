//! Nothing is harmed: programs that confine themselves, fork, execute, crash,
//! jump out of calls and close their libraries do the same watched and
//! unwatched, to the last byte of output and to the exit code.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use httpsniff::capture::{Capture, Item, Settings};
use tempfile::TempDir;

use crate::support::clients::curl;
use crate::support::exchange::{Expected, assert_exchanges};
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

/// Runs a mode without and with httpsniff, with return probes and without, and
/// compares. Every exchange of the program that came to an end must be shown.
pub(crate) fn check(mode: &str) {
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
            .filter(|exchange| exchange.text("/state") == "complete")
            .map(|exchange| exchange.target().to_owned())
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
    forks_share_tls_objects: "fork",
    an_exec_with_tls_objects: "exec",
    returns_that_never_happen: "jump",
    an_abort_inside_a_call: "abort",
    a_fault_inside_a_call: "segv",
    threads_that_end_inside_a_call: "thread",
    a_library_that_comes_and_goes: "dlclose",
    signals_while_a_probe_is_handled: "signals",
}

/// A thread that has left the library by a jump, or is in it, uses a socket
/// without TLS: what it sends there is its own, and is shown.
#[test]
fn sockets_in_clear_after_a_jump() {
    needs!("nginx", "openssl", "gcc");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[35]);
    let server = nginx(&docroot, Some(&Certificate::new()));
    let in_clear = nginx(&docroot, None);
    let rough = Rough::build();
    let mut command = rough.command("left", &server);
    command.arg(in_clear.port().to_string());
    let alone = outcome(&command.output().unwrap());
    assert_eq!(alone.0, Some(17));
    let expected = |source: &str| -> Vec<_> {
        let kinds: &[&str] = match source {
            "tcp" => &["left", "deep", "early", "within"],
            _ => &["tls", "around"],
        };
        let mut targets: Vec<_> = (0..5)
            .flat_map(|number| kinds.iter().map(move |kind| format!("{kind}-{number}")))
            .collect();
        if source != "tcp" {
            targets.extend(["before".to_owned(), "end".to_owned()]);
        }
        targets
            .iter()
            .map(|target| Expected::get(&format!("/35.bin?{target}"), docroot.content("35.bin")))
            .collect()
    };
    for options in [&[][..], &["--no-uretprobes"]] {
        let watched = Httpsniff::new().json().args(options).run(&command);
        assert_eq!(watched.status.code(), alone.0, "{}", watched.stderr);
        assert_eq!(watched.stdout, alone.2.as_bytes(), "{options:?}");
        for (source, server) in [("tcp", &in_clear), ("openssl", &server)] {
            let mut seen = watched.of_role("client");
            // What was jumped out of has no answer.
            seen.retain(|e| e.text("/source") == source && e.target() != "/35.bin?deep--1");
            assert_exchanges(source, &seen, &expected(source));
            for exchange in seen {
                assert_eq!(
                    exchange.text("/peer"),
                    format!("127.0.0.1:{}", server.port())
                );
            }
        }
    }
}

/// Attaching and detaching, again and again, while a server and its clients
/// work: none of their exchanges fails. `HTTPSNIFF_TEST_CYCLES` cycles.
#[test]
fn attached_and_detached_under_load() {
    needs!("nginx", "openssl", "curl");
    let _guard = lock::shared();
    let cycles = std::env::var("HTTPSNIFF_TEST_CYCLES")
        .ok()
        .and_then(|cycles| cycles.parse().ok())
        .unwrap_or(200);
    let docroot = Docroot::new(&[35]);
    let certificate = Certificate::new();
    let mut server = nginx(&docroot, Some(&certificate));
    let (url, pid) = (format!("{}/35.bin?[1-100]", server.url()), server.pid());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| fetch_until(&stop, &url, &certificate)))
            .collect();
        // Whatever happens here, the clients must be told to stop.
        let result = std::panic::catch_unwind(|| cycle(cycles, pid));
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            assert!(client.join().unwrap() > 0);
        }
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
    assert!(server.process.is_running());
}

/// Attaches and detaches, reading what comes in between.
fn cycle(cycles: usize, pid: u32) {
    let settings = Settings {
        pids: vec![pid],
        ring_bytes: 16 << 20,
        ..Settings::default()
    };
    let mut capture = Capture::start(&settings).unwrap();
    let (mut seen, began) = (0u64, Instant::now());
    for number in 1..=cycles {
        capture.reattach().unwrap();
        if number % 500 == 0 {
            eprintln!("{number} cycles in {:?}", began.elapsed());
        }
        let mut count = |_: Item<'_>| {
            seen += 1;
            true
        };
        capture.poll(Duration::ZERO, &mut count).unwrap();
    }
    assert!(seen > 0, "nothing was captured in {cycles} cycles");
    let kept = libraries_open();
    assert!(kept < 50, "{kept} libraries are open after {cycles} cycles");
}

/// How many descriptors of this process are of shared libraries.
fn libraries_open() -> usize {
    std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|file| file.to_string_lossy().contains(".so"))
        .count()
}

/// Runs curl until it is told to stop; every answer must be right. The number
/// of answers.
fn fetch_until(stop: &AtomicBool, url: &str, certificate: &Certificate) -> usize {
    let mut answers = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut command = curl(Some(certificate));
        // A hundred on a kept connection.
        command.args(["-f", "-o", "/dev/null", "-w", "%{size_download}\n"]);
        command.arg(url);
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let sizes = String::from_utf8(output.stdout).unwrap();
        assert!(sizes.lines().all(|size| size == "35"), "{sizes}");
        answers += sizes.lines().count();
    }
    answers
}
