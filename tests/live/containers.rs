//! `--container`: what is in a cgroup is shown, and nothing else, in both
//! versions of cgroups. The cgroups are real and named as engines name them;
//! where Podman works, it makes them itself.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::cgroups::{Cgroup, Hierarchy, container_id, hierarchies, unique};
use crate::support::clients::{Client, curl, run};
use crate::support::exchange::{Expected, assert_exchanges};
use crate::support::files::{Certificate, Docroot, folder};
use crate::support::httpsniff::{Httpsniff, Outcome};
use crate::support::lock;
use crate::support::podman::Podman;
use crate::support::process::{Process, eventually};
use crate::support::servers::{PYTHON, Server, http_server, nginx, program};
use crate::support::skip::{needs, skipped};
use crate::support::{is_slow, tshark};

/// A curl that gets a target and throws it away.
fn get(server: &Server, target: &str) -> Command {
    let mut command = curl(None);
    command.args(["-o", "/dev/null", &format!("{}{target}", server.url())]);
    command
}

fn targets(outcome: &Outcome) -> Vec<String> {
    let mut targets: Vec<_> = outcome
        .exchanges()
        .iter()
        .map(|e| e.target().to_owned())
        .collect();
    targets.sort();
    targets
}

/// Clients and a server inside and outside of a container, clear and TLS.
pub(crate) fn only_the_inside(hierarchy: &Hierarchy) {
    let docroot = Docroot::new(&[35, 5000]);
    let certificate = Certificate::new();
    let names = docroot.names().to_vec();
    for certificate in [None, Some(&certificate)] {
        let id = container_id();
        let mut inside = Cgroup::new(hierarchy, &format!("system.slice/docker-{id}.scope"));
        let before = inside.child("before");
        // Of the same engine, with an id that begins almost alike.
        let other_id = format!("{}x", &id[..9]).replace('x', "0") + &"9".repeat(54);
        let other = Cgroup::new(hierarchy, &format!("system.slice/docker-{other_id}.scope"));
        let server = nginx(&docroot, certificate);
        let watch = Httpsniff::new()
            .json()
            .pcapng()
            .args(["--container", &id[..12]])
            .start();
        let after = inside.child("after");
        let kept = folder();
        let url = server.url();
        let mut expected = Vec::new();
        for (number, place) in [
            Some(&inside),
            None,
            Some(&before),
            Some(&other),
            Some(&after),
        ]
        .into_iter()
        .enumerate()
        {
            let is_inside = number % 2 == 0;
            let wanted: Vec<String> = names
                .iter()
                .map(|name| format!("/{name}?from={number}"))
                .collect();
            let command = Client::Curl.get(&url, &wanted, kept.path(), certificate);
            match place {
                Some(cgroup) => run(&mut cgroup.run(&command)),
                None => run(&mut Client::Curl.get(&url, &wanted, kept.path(), certificate)),
            };
            if is_inside {
                expected.extend(
                    wanted
                        .iter()
                        .zip(&names)
                        .map(|(target, name)| Expected::get(target, docroot.content(name))),
                );
            }
        }
        let outcome = watch.stop().success();
        assert_exchanges("inside", &outcome.exchanges(), &expected);
        // A curl that has ended before it was looked at has none.
        let mut known = 0;
        for exchange in outcome.exchanges() {
            assert_eq!(exchange.role(), "client", "the server is outside");
            let container = &exchange.0["process"]["container"];
            assert!(container.is_null() || *container == *id, "{container}");
            known += usize::from(!container.is_null());
        }
        // The file is the same whatever the kernel; tshark takes half a minute
        // in an emulated machine.
        if !is_slow() {
            assert_file(&outcome, &id, known, expected.len());
        }
        drop((before, after));
    }
}

/// The container in the capture file, and selected from it.
fn assert_file(outcome: &Outcome, id: &str, known: usize, all: usize) {
    let file = outcome.pcapng();
    for (selector, count) in [(&id[..12], known), (id, known), ("0123", 0)] {
        let read = Httpsniff::reader()
            .json()
            .args(["--container", selector, "-r"])
            .arg(&file)
            .finish()
            .success();
        assert_eq!(read.exchanges().len(), count, "-r --container {selector}");
        for exchange in read.exchanges() {
            assert_eq!(exchange.text("/process/container"), id);
        }
    }
    if crate::support::skip::find("tshark").is_some() {
        tshark::assert_sound(&file);
        let comment = format!("frame.comment contains \"ContainerId: {id}\"");
        assert_eq!(tshark::count(&file, &comment) > 0, known > 0, "{comment}");
        if known == all {
            let without = format!("tcp.len > 0 and not ({comment})");
            assert_eq!(tshark::count(&file, &without), 0, "{without}");
        }
    }
}

#[test]
fn only_what_is_inside_is_shown() {
    needs!("nginx", "curl", "openssl");
    let _guard = lock::shared();
    for hierarchy in hierarchies() {
        only_the_inside(&hierarchy);
    }
}

/// A server with its workers in a unit, its clients outside.
#[test]
fn a_unit_that_serves() {
    needs!("curl");
    let _guard = lock::shared();
    for hierarchy in hierarchies() {
        let docroot = Docroot::new(&[35]);
        let unit = format!("test-{}.service", unique());
        let cgroup = Cgroup::new(&hierarchy, &format!("system.slice/{unit}"));
        let server = http_server(&docroot, None);
        let outside = http_server(&docroot, None);
        cgroup.take(server.pid());
        for selector in [unit.as_str(), unit.trim_end_matches(".service")] {
            let watch = Httpsniff::new()
                .json()
                .args(["--container", selector])
                .start();
            run(&mut get(&server, "/35.bin?at=inside"));
            run(&mut get(&outside, "/35.bin?at=outside"));
            let outcome = watch.stop().success();
            assert_eq!(targets(&outcome), ["/35.bin?at=inside"], "{selector}");
            let exchange = &outcome.exchanges()[0];
            assert_eq!(exchange.role(), "server");
            assert_eq!(exchange.pid(), u64::from(server.pid()));
            assert!(
                exchange.0["process"]["container"].is_null(),
                "a unit is no container"
            );
        }
        drop(server);
    }
}

/// What is watched follows the process from cgroup to cgroup.
#[test]
fn a_process_that_moves() {
    needs!();
    let _guard = lock::shared();
    for hierarchy in hierarchies() {
        let docroot = Docroot::new(&[35]);
        let server = http_server(&docroot, None);
        let id = container_id();
        let inside = Cgroup::new(&hierarchy, &format!("docker/{id}"));
        let outside = Cgroup::new(&hierarchy, &format!("docker/test-{}", unique()));
        let mut client = Process::spawn(
            Command::new(PYTHON)
                .arg(program("keepalive.py"))
                .arg(server.url()),
        );
        client.line();
        let watch = Httpsniff::new().json().args(["--container", &id]).start();
        for (cgroup, target) in [
            (None, "/35.bin?n=1"),
            (Some(&inside), "/35.bin?n=2"),
            (Some(&outside), "/35.bin?n=3"),
            (Some(&inside), "/35.bin?n=4"),
        ] {
            if let Some(cgroup) = cgroup {
                cgroup.take(client.pid());
            }
            client.send(target);
            assert_eq!(client.line(), "35");
        }
        client.finish();
        let outcome = watch.stop().success();
        assert_eq!(targets(&outcome), ["/35.bin?n=2", "/35.bin?n=4"]);
        for exchange in outcome.exchanges() {
            // It may be elsewhere by the time it is looked at.
            let container = &exchange.0["process"]["container"];
            assert!(container.is_null() || *container == *id, "{container}");
        }
    }
}

/// The same cgroup again: nothing of what runs in it is missed, although it
/// runs at once.
#[test]
fn a_unit_that_starts_again() {
    needs!("curl");
    let _guard = lock::shared();
    for hierarchy in hierarchies() {
        starts_again(&hierarchy, 20);
    }
}

/// Ends a unit and starts it again so many times, while httpsniff is stopped:
/// the kernel side alone must know it.
pub(crate) fn starts_again(hierarchy: &Hierarchy, times: u32) {
    let docroot = Docroot::new(&[35]);
    let server = http_server(&docroot, None);
    // Where there is no systemd the slice is the test's, and has to stay: one
    // that is made anew is another place.
    let _slice = Cgroup::new(hierarchy, &format!("system.slice/test-{}-stays", unique()));
    let path = format!("system.slice/test-{}.service", unique());
    let unit = path.rsplit('/').next().unwrap();
    let first = Cgroup::new(hierarchy, &path);
    let watch = Httpsniff::new().json().args(["--container", unit]).start();
    first.end();
    let httpsniff = Pid::from_raw(watch.pid().cast_signed()).unwrap();
    kill_process(httpsniff, Signal::STOP).unwrap();
    let expected: Vec<_> = (1..=times).map(|n| format!("/35.bin?n={n:02}")).collect();
    for target in &expected {
        let mut again = Cgroup::new(hierarchy, &path);
        let within = again.child("within");
        run(&mut within.run(&get(&server, target)));
        run(&mut get(&server, "/35.bin?at=outside"));
        again.end();
    }
    kill_process(httpsniff, Signal::CONT).unwrap();
    let outcome = watch.stop().success();
    assert_eq!(targets(&outcome), expected);
}

/// What containerd notes of a container, as nerdctl has it do.
struct Noted(PathBuf);

impl Noted {
    fn new(id: &str, name: &str) -> Self {
        let folder = PathBuf::from("/run/containerd/io.containerd.runtime.v2.task")
            .join(format!("httpsniff-test-{}", unique()));
        let bundle = folder.join(id);
        fs::create_dir_all(&bundle).unwrap();
        let config =
            format!(r#"{{"ociVersion":"1.1.0","annotations":{{"nerdctl/name":"{name}"}}}}"#);
        fs::write(bundle.join("config.json"), config).unwrap();
        Self(folder)
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        let _best_effort = fs::remove_dir_all(&self.0);
        // Ours only if nothing else is in them.
        for folder in self.0.ancestors().skip(1).take(2) {
            let _shared = fs::remove_dir(folder);
        }
    }
}

/// Another container under the same name is watched too: its name is read
/// when its cgroup is made.
#[test]
fn a_name_that_is_given_to_another_container() {
    needs!("curl");
    let _guard = lock::shared();
    for hierarchy in hierarchies() {
        let docroot = Docroot::new(&[35]);
        let server = http_server(&docroot, None);
        let name = format!("web-{}", unique());
        let (first_id, second_id, other_id) = (container_id(), container_id(), container_id());
        let noted = Noted::new(&first_id, &name);
        let _other = Noted::new(&other_id, "other");
        let first = Cgroup::new(
            &hierarchy,
            &format!("system.slice/nerdctl-{first_id}.scope"),
        );
        let watch = Httpsniff::new()
            .json()
            .pcapng()
            .args(["--container", &name])
            .start();
        run(&mut first.run(&get(&server, "/35.bin?n=1")));
        first.end();
        drop(noted);
        let _noted = Noted::new(&second_id, &name);
        let other = Cgroup::new(
            &hierarchy,
            &format!("system.slice/nerdctl-{other_id}.scope"),
        );
        let second = Cgroup::new(
            &hierarchy,
            &format!("system.slice/nerdctl-{second_id}.scope"),
        );
        run(&mut other.run(&get(&server, "/35.bin?at=other")));
        // User space needs some milliseconds for the name.
        eventually("the new container is watched", || {
            run(&mut second.run(&get(&server, "/35.bin?n=2")));
            let written = fs::read_to_string(watch.folder().join("out.json"));
            written.unwrap().contains("n=2")
        });
        run(&mut second.run(&get(&server, "/35.bin?n=3")));
        run(&mut other.run(&get(&server, "/35.bin?at=other")));
        let outcome = watch.stop().success();
        let mut targets = targets(&outcome);
        targets.dedup();
        assert_eq!(targets, ["/35.bin?n=1", "/35.bin?n=2", "/35.bin?n=3"]);
        for said in [
            format!("{name} has ended: "),
            format!("{name} runs again: {}\n", &second_id[..12]),
        ] {
            assert!(outcome.stderr.contains(&said), "{}", outcome.stderr);
        }
        let mut known = 0;
        for exchange in outcome.exchanges() {
            let is_first = exchange.target() == "/35.bin?n=1";
            let id = if is_first { &first_id } else { &second_id };
            if exchange.0["process"]["container"].is_null() {
                // Gone before it was looked at.
                continue;
            }
            known += 1;
            assert_eq!(exchange.text("/process/container"), id.as_str());
            assert_eq!(exchange.text("/process/container_name"), name);
        }
        let read = Httpsniff::reader()
            .json()
            .args(["--container", "other", "-r"])
            .arg(outcome.pcapng())
            .finish()
            .success();
        assert!(read.exchanges().is_empty());
        let read = Httpsniff::reader()
            .json()
            .args(["--container", &name, "-r"])
            .arg(outcome.pcapng())
            .finish()
            .success();
        assert_eq!(read.exchanges().len(), known);
    }
}

/// Different options mean and, the same option again means or; with several
/// containers the line says which.
#[test]
fn together_with_other_selectors() {
    needs!();
    let _guard = lock::shared();
    let Some(hierarchy) = hierarchies().pop() else {
        return skipped("together_with_other_selectors", "no cgroups are mounted");
    };
    let docroot = Docroot::new(&[35]);
    let server = http_server(&docroot, None);
    let (a_id, b_id, c_id) = (container_id(), container_id(), container_id());
    let at = |id: &str| Cgroup::new(&hierarchy, &format!("system.slice/docker-{id}.scope"));
    let (a, b, c) = (at(&a_id), at(&b_id), at(&c_id));
    let both = ["--container", &a_id, "--container", &b_id];
    let watch = Httpsniff::new().text().args(both).start();
    let of_a = Httpsniff::new().text().args(&both[..2]).start();
    let of_curl = Httpsniff::new()
        .json()
        .args(&both[..2])
        .args(["--comm", "curl"])
        .start();
    let of_server = Httpsniff::new()
        .json()
        .args(&both[..2])
        .args(["--pid", &server.pid().to_string()])
        .start();
    let mut command = Command::new(PYTHON);
    command.arg(program("keepalive.py")).arg(server.url());
    let mut clients = Vec::new();
    for (place, target) in [(&a, "/35.bin?a"), (&b, "/35.bin?b"), (&c, "/35.bin?c")] {
        let mut client = Process::spawn(&mut place.run(&command));
        client.line();
        client.send(target);
        assert_eq!(client.line(), "35");
        // It stays: of one that is gone the container may not be known.
        clients.push(client);
    }
    let text = watch.stop().success().text();
    assert_eq!(text.lines().count(), 2, "{text}");
    for (id, target) in [(&a_id, "?a "), (&b_id, "?b ")] {
        let line = text.lines().find(|line| line.contains(target)).unwrap();
        assert!(line.contains(&format!("]@{}", &id[..12])), "{line}");
    }
    let text = of_a.stop().success().text();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(!text.contains('@'), "there is only one: {text}");
    assert!(of_curl.stop().success().exchanges().is_empty());
    assert!(of_server.stop().success().exchanges().is_empty());
    for client in clients {
        client.finish();
    }
}

#[test]
fn what_cannot_be_watched_is_said() {
    needs!();
    let _guard = lock::shared();
    let Some(hierarchy) = hierarchies().pop() else {
        return skipped("what_cannot_be_watched_is_said", "no cgroups are mounted");
    };
    let id = container_id();
    let twin = format!("{}{}", &id[..10], "7".repeat(54));
    let _cgroups = [&id, &twin].map(|id| Cgroup::new(&hierarchy, &format!("docker/{id}")));
    for (arguments, status, part) in [
        (&["--container", "no-such-container"][..], 1, "is called so"),
        (&["--container", "no-such.service"], 1, "running are "),
        (&["--container", &id[..2]], 2, "at least 3 characters"),
        (&["--container", &id[..10]], 2, "begin like this"),
        (&["--container", ""], 2, "is needed"),
        (&["--container", &id, "--", "true"], 2, "exclude each other"),
        (
            &["--container", "x.service", "-r", "y"],
            2,
            "no systemd units",
        ),
    ] {
        let outcome = Httpsniff::reader().args(arguments).finish();
        let said = &outcome.stderr;
        assert_eq!(outcome.status.code(), Some(status), "{arguments:?}: {said}");
        assert!(said.contains(part), "{arguments:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

/// curl in one of Podman's containers.
fn request(server: &Server, target: &str) -> Command {
    let mut command = Command::new("curl");
    command.args(["-q", "-sS", "--fail", "--http1.1", "--noproxy", "*"]);
    command.args(["--cacert", "/cert.pem", "-o", "/dev/null"]);
    command.arg(format!("{}{target}", server.url()));
    command
}

/// curl outside of them.
fn request_outside(server: &Server, certificate: &Certificate) -> Command {
    let mut command = curl(Some(certificate));
    command.args(["-o", "/dev/null"]);
    command.arg(format!("{}/35.bin?at=outside", server.url()));
    command
}

/// Podman makes the cgroups, keeps the name, and gives it to new containers,
/// of which the first program makes its request at once.
#[test]
fn podman_by_name() {
    needs!("curl", "podman", "runc");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[35, 70_000]);
    let certificate = Certificate::new();
    let server = nginx(&docroot, Some(&certificate));
    let podman = match Podman::new(&certificate) {
        Ok(podman) => podman,
        Err(reason) => return skipped("podman_by_name", &reason),
    };
    // The first runs and waits when capturing begins.
    let mut waiting = Command::new("/bin/sh");
    waiting.args(["-c", "echo up; read -r go; exec curl \"$@\"", "sh"]);
    waiting.args(request(&server, "/70000.bin?n=1").get_args());
    let mut first = Process::spawn(&mut podman.run(&waiting));
    first.line_with("up");
    let watch = Httpsniff::new()
        .json()
        .args(["--container", &podman.name])
        .start();
    run(&mut request_outside(&server, &certificate));
    first.send("go");
    first.finish();
    for number in 2..=4 {
        run(&mut podman.run(&request(&server, &format!("/70000.bin?n={number}"))));
        run(&mut request_outside(&server, &certificate));
    }
    let outcome = watch.stop().success();
    let expected: Vec<_> = (1..=4)
        .map(|n| {
            let target = format!("/70000.bin?n={n}");
            Expected::get(&target, docroot.content("70000.bin"))
        })
        .collect();
    assert_exchanges("Podman's containers", &outcome.exchanges(), &expected);
    let mut ids: Vec<_> = outcome
        .exchanges()
        .iter()
        .map(|e| e.text("/process/container").to_owned())
        .filter(|id| !id.is_empty())
        .collect();
    let known = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), known, "each run is a container of its own");
    for exchange in outcome.exchanges() {
        let process = &exchange.0["process"];
        let is_named = process["container_name"] == *podman.name;
        assert!(is_named || process["container"].is_null(), "{process}");
    }
}

/// A container that is there and does not run: watched when it starts.
#[test]
fn podman_before_the_start() {
    needs!("curl", "podman", "runc");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[35, 70_000]);
    let certificate = Certificate::new();
    let server = nginx(&docroot, Some(&certificate));
    let podman = match Podman::new(&certificate) {
        Ok(podman) => podman,
        Err(reason) => return skipped("podman_before_the_start", &reason),
    };
    run(&mut podman.create(&request(&server, "/70000.bin")));
    let watch = Httpsniff::new()
        .json()
        .args(["--container", &podman.name])
        .start();
    run(&mut request_outside(&server, &certificate));
    run(&mut podman.start());
    let outcome = watch.stop().success();
    let expected = [Expected::get("/70000.bin", docroot.content("70000.bin"))];
    assert_exchanges("the container", &outcome.exchanges(), &expected);
    let said = format!("{} does not run: it is watched", podman.name);
    assert!(outcome.stderr.contains(&said), "{}", outcome.stderr);
}
