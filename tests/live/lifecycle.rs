//! Starting, stopping, being killed: the target does not notice.

use std::collections::HashSet;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::time::Duration;

use libbpf_rs::query::{LinkInfoIter, ProgInfoIter};

use crate::support::clients::{curl, run};
use crate::support::files::{Certificate, Docroot};
use crate::support::httpsniff::Httpsniff;
use crate::support::is_slow;
use crate::support::lock;
use crate::support::process::{Process, eventually};
use crate::support::servers::{Server, nginx};
use crate::support::skip::needs;

/// Ids of BPF programs and links that the process holds by descriptor.
fn bpf_of(pid: u32) -> (HashSet<u32>, HashSet<u32>) {
    let mut ids = (HashSet::new(), HashSet::new());
    for entry in std::fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
        for line in text.lines() {
            let number = |prefix| {
                line.strip_prefix(prefix)
                    .and_then(|rest: &str| rest.trim().parse::<u32>().ok())
            };
            ids.0.extend(number("prog_id:"));
            ids.1.extend(number("link_id:"));
        }
    }
    ids
}

/// Whether each executable page of the libraries in the process is what the
/// file says: no breakpoint was left in it.
pub(crate) fn text_is_untouched(pid: u32) -> bool {
    text_is_untouched_of(pid, |_| true)
}

/// As [`text_is_untouched`], of the files whose path is wanted.
pub(crate) fn text_is_untouched_of(pid: u32, wanted: impl Fn(&str) -> bool) -> bool {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut memory = std::fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    maps.lines().all(|line| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let [range, permissions, offset, _, _, path] = fields[..] else {
            return true;
        };
        if permissions != "r-xp" || !path.starts_with('/') || !wanted(path) {
            return true;
        }
        let (start, end) = range.split_once('-').unwrap();
        let hex = |text| u64::from_str_radix(text, 16).unwrap();
        let length = usize::try_from(hex(end) - hex(start)).unwrap();
        let mut file = std::fs::File::open(path).unwrap();
        let mut on_disk = Vec::new();
        file.seek(SeekFrom::Start(hex(offset))).unwrap();
        file.take(length as u64).read_to_end(&mut on_disk).unwrap();
        let mut in_memory = vec![0; on_disk.len()];
        memory.seek(SeekFrom::Start(hex(start))).unwrap();
        memory.read_exact(&mut in_memory).unwrap();
        in_memory == on_disk
    })
}

fn get(server: &Server, certificate: &Certificate, what: &str) {
    let mut command = curl(Some(certificate));
    command.args([
        "-o",
        "/dev/null",
        &format!("{}/35.bin?{what}", server.url()),
    ]);
    run(&mut command);
}

#[test]
fn killed_under_load_it_leaves_nothing() {
    needs!("nginx", "curl", "openssl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[35]);
    let certificate = Certificate::new();
    let mut server = nginx(&docroot, Some(&certificate));
    let port = server.port().to_string();
    let watch = Httpsniff::new().json().args(["--port", &port]).start();
    let (programs, links) = bpf_of(watch.pid());
    assert!(
        !programs.is_empty() && !links.is_empty(),
        "{programs:?} {links:?}"
    );
    get(&server, &certificate, "watched");

    let mut command = curl(Some(&certificate));
    command.args([
        "-o",
        "/dev/null",
        &format!("{}/35.bin?n=[1-3000]", server.url()),
    ]);
    let load = Process::spawn(&mut command);
    watch.kill();
    // Fails if a single request does.
    load.finish();
    assert!(server.process.is_running());
    get(&server, &certificate, "after");

    eventually("the kernel has freed links and programs", || {
        LinkInfoIter::default().all(|link| !links.contains(&link.id))
            && ProgInfoIter::default().all(|program| !programs.contains(&program.id))
    });
    // Another httpsniff on this machine may hold probes on the same library.
    if no_other_httpsniff() {
        assert!(
            text_is_untouched(server.pid()),
            "a breakpoint was left in the target"
        );
    }

    let second = Httpsniff::new().json().args(["--port", &port]).start();
    get(&server, &certificate, "second");
    let outcome = second.stop().success();
    assert_eq!(outcome.of_role("server").len(), 1, "{}", outcome.stderr);
    assert_eq!(outcome.of_role("client").len(), 1, "{}", outcome.stderr);
}

fn no_other_httpsniff() -> bool {
    std::fs::read_dir("/proc").unwrap().flatten().all(|entry| {
        std::fs::read_to_string(entry.path().join("comm")).map_or(true, |c| c.trim() != "httpsniff")
    })
}

#[test]
fn stopping_takes_less_than_half_a_second() {
    needs!("nginx", "curl", "openssl");
    let _guard = lock::alone();
    let docroot = Docroot::new(&[35]);
    let certificate = Certificate::new();
    let server = nginx(&docroot, Some(&certificate));
    // The whole machine, so that every library with TLS is attached to.
    let watch = Httpsniff::new().json().start();
    get(&server, &certificate, "watched");
    let outcome = watch.stop().success();
    assert!(!outcome.exchanges().is_empty(), "{}", outcome.stderr);
    if !is_slow() {
        assert!(
            outcome.took < Duration::from_millis(500),
            "took {:?}",
            outcome.took
        );
    }
}

#[test]
fn a_target_that_comes_later_is_seen() {
    needs!("nginx", "curl", "openssl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[35]);
    let certificate = Certificate::new();
    let port = crate::support::servers::free_port();
    let watch = Httpsniff::new()
        .json()
        .args(["--port", &port.to_string()])
        .start();
    let server = crate::support::servers::Nginx {
        docroot: docroot.path(),
        host: "127.0.0.1",
        port: Some(port),
        certificate: Some(&certificate),
        upstream: None,
    }
    .start();
    get(&server, &certificate, "first");
    let outcome = watch.stop().success();
    assert_eq!(outcome.of_role("server").len(), 1, "{}", outcome.stderr);
    assert_eq!(outcome.of_role("client").len(), 1, "{}", outcome.stderr);
}

/// A server that ends in the middle of an answer is no error.
#[test]
fn a_target_that_is_killed_is_no_error() {
    needs!("nginx", "curl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[35]);
    let server = nginx(&docroot, None);
    let watch = Httpsniff::new()
        .json()
        .args(["--pid", &server.pid().to_string()])
        .start();
    let mut command = curl(None);
    command.args(["-o", "/dev/null", &format!("{}/35.bin", server.url())]);
    run(&mut command);
    drop(server);
    let outcome = watch.join().success();
    assert_eq!(outcome.exchanges().len(), 1);
}

#[test]
fn a_pid_that_is_not_there_is_one_sentence() {
    needs!();
    let _guard = lock::shared();
    // Above the largest pid that Linux gives.
    let outcome = Httpsniff::new().args(["--pid", "4194305"]).finish();
    let lines: Vec<_> = outcome.stderr.lines().collect();
    assert!(
        matches!(outcome.status.code(), Some(1 | 2)),
        "{}",
        outcome.status
    );
    assert_eq!(lines.len(), 1, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("4194305"), "{}", outcome.stderr);
}

#[test]
fn check_says_what_this_machine_allows() {
    needs!();
    let _guard = lock::shared();
    let outcome = Httpsniff::new().arg("--check").finish().success();
    let text = String::from_utf8(outcome.stdout).unwrap() + &outcome.stderr;
    assert!(text.contains("kprobe") && text.contains("socket"), "{text}");
    assert!(text.contains("libssl.so"), "{text}");
}
