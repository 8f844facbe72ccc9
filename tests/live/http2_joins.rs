//! httpsniff comes in the middle of HTTP/2 connections, of six clients at each
//! of four servers. What it shows then is right or a placeholder, by what the
//! clients say that they sent and got; what is said anew is never unknown.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::http2::{go_in_clear, needs_module};
use crate::support::exchange::short;
use crate::support::files::{Certificate, Docroot, folder};
use crate::support::h2::{self, Client};
use crate::support::httpsniff::Httpsniff;
use crate::support::lock;
use crate::support::process::Process;
use crate::support::servers::Server;
use crate::support::skip::needs;
use checks::{check, check_file};
use talk::{At, Gate, Talk};

mod checks;
mod talk;
mod told;

fn docroot() -> Docroot {
    let mut docroot = Docroot::new(&[]);
    for (name, size) in [("a.txt", 30), ("b.txt", 2000), ("c.txt", 70_000)] {
        docroot.add(name, "some text ".repeat(size / 10).as_bytes());
    }
    docroot.add("large.bin", &vec![b'l'; 400_000]);
    let page = r#"<html><head><link rel="stylesheet" href="/a.txt?nghttp-css">
<script src="/b.txt?nghttp-js"></script></head>
<body><img src="/c.txt?nghttp-image"></body></html>"#;
    docroot.add("page.html", page.as_bytes());
    // nginx gives up root.
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(docroot.path(), open).unwrap();
    docroot
}

/// Clients come to where they are held up, httpsniff comes, they go on.
fn joins(at: &At<'_>, mut gate: Gate, lines: &[Client], gated: bool) {
    let mut talks: Vec<_> = lines.iter().map(|client| at.lines(*client)).collect();
    if at.certificate.is_some() {
        // In clear curl 7.88 has a connection for each request.
        talks.push(at.curl());
    }
    if gated {
        for talk in [at.nghttp(), at.h2load()] {
            talks.push(talk);
            gate.reached();
        }
    }
    let pids: Vec<_> = talks.iter().map(Talk::pid).collect();
    let all: Vec<_> = pids
        .iter()
        .chain([&at.server.pid()])
        .map(u32::to_string)
        .collect();
    let watch = Httpsniff::new()
        .json()
        .pcapng()
        .args(["--pid", &all.join(",")])
        .start();
    gate.open(&at.docroot.content("page.html"));
    let told: Vec<_> = talks.into_iter().map(|talk| at.finish(talk)).collect();
    let outcome = watch.stop().success();
    let talks: Vec<_> = pids.into_iter().zip(told).collect();
    check(&outcome, at.server, &talks);
    check_file(&outcome, at.server, &talks);
}

/// At a server of ours, which waits at the gate itself.
fn at_ours(
    serve: fn(&Docroot, Option<&Certificate>) -> Server,
    certificate: Option<&Certificate>,
    lines: &[Client],
) {
    let docroot = docroot();
    let gate = Gate::new();
    let server = serve(&docroot, certificate);
    let at = At {
        server: &server,
        docroot: &docroot,
        certificate,
        echoes: true,
        misses: false,
        gate: format!("/gate/{}", gate.port()),
    };
    joins(&at, gate, lines, true);
}

const LINES: [Client; 3] = [Client::Node, Client::Httpx, Client::Go];

fn programs() -> Vec<Client> {
    let known = |client: &&Client| **client != Client::Go;
    LINES.iter().filter(known).copied().collect()
}

#[test]
fn at_nginx() {
    needs!(
        "nginx", "curl", "nghttp", "h2load", "node", "go", "openssl", "tshark"
    );
    needs_module!("httpx");
    let _guard = lock::shared();
    let docroot = docroot();
    let certificate = Certificate::new();
    let gate = Gate::new();
    let server = h2::nginx(&docroot, Some(&certificate), Some(&gate.address()));
    let at = At {
        server: &server,
        docroot: &docroot,
        certificate: Some(&certificate),
        echoes: false,
        misses: true,
        gate: "/proxied/gate".to_owned(),
    };
    joins(&at, gate, &LINES, true);
}

#[test]
fn at_nghttpd() {
    needs!("nghttpd", "curl", "node", "go", "openssl", "tshark");
    needs_module!("httpx");
    let _guard = lock::shared();
    let docroot = docroot();
    let certificate = Certificate::new();
    let server = h2::nghttpd(&docroot, Some(&certificate), &[]);
    let at = At {
        server: &server,
        docroot: &docroot,
        certificate: Some(&certificate),
        echoes: true,
        misses: true,
        gate: String::new(),
    };
    joins(&at, Gate::new(), &LINES, false);
}

#[test]
fn at_node() {
    needs!(
        "curl", "nghttp", "h2load", "node", "go", "openssl", "tshark"
    );
    needs_module!("httpx");
    let _guard = lock::shared();
    at_ours(h2::node, Some(&Certificate::new()), &LINES);
    if go_in_clear() {
        at_ours(h2::node, None, &LINES);
    } else {
        at_ours(h2::node, None, &programs());
    }
}

#[test]
fn at_go() {
    needs!(
        "curl", "nghttp", "h2load", "node", "go", "openssl", "tshark"
    );
    needs_module!("httpx");
    let _guard = lock::shared();
    at_ours(h2::go, Some(&Certificate::new()), &LINES);
}

/// On each of 10 connections 100 streams wait for their response when
/// httpsniff comes; then there are 100 more on each.
#[test]
fn a_thousand_streams_of_ten_connections() {
    needs!("node", "h2load", "openssl");
    let _guard = lock::shared();
    let docroot = docroot();
    for certificate in [None, Some(&Certificate::new())] {
        let mut gate = Gate::new();
        let port = gate.port();
        let server = h2::node(&docroot, certificate);
        let targets: Vec<_> = (0..200).map(|n| format!("/join/100/{port}/{n}")).collect();
        let urls: Vec<_> = targets
            .iter()
            .map(|target| format!("{}{target}\n", server.url()))
            .collect();
        let kept = folder();
        let list = kept.path().join("urls");
        std::fs::write(&list, urls.concat()).unwrap();
        let mut command = Command::new("h2load");
        command.args(["-n", "2000", "-c", "10", "-m", "100", "-i"]);
        let client = Process::spawn(command.arg(list));
        (0..10).for_each(|_| gate.reached());
        let pids = format!("{},{}", client.pid(), server.pid());
        let watch = Httpsniff::new().json().args(["--pid", &pids]).start();
        drop(gate);
        let lines = client.finish();
        assert!(
            lines.iter().any(|line| line.contains("2000 succeeded")),
            "{lines:?}"
        );
        let outcome = watch.stop().success();
        for role in ["client", "server"] {
            // By connection and stream: each is there once.
            let mut seen = HashMap::new();
            for exchange in outcome.of_role(role) {
                let stream = exchange.number("/stream").unwrap();
                let target = &targets[usize::try_from(stream / 2).unwrap()];
                let line = format!("{role}'s view of {target}: {}", short(&exchange));
                if stream > 200 {
                    assert_eq!(exchange.target(), target, "{line}");
                    assert_eq!(exchange.text("/request/method"), "GET", "{line}");
                    assert_eq!(exchange.text("/state"), "complete", "{line}");
                    assert!(
                        ["", server.url().split_once("//").unwrap().1]
                            .contains(&exchange.text("/request/host")),
                        "{line}"
                    );
                } else {
                    assert!(exchange.0["request"].is_null(), "{line}");
                }
                assert_eq!(exchange.number("/response/status"), Some(200), "{line}");
                let body = exchange.body("response").unwrap();
                assert_eq!(String::from_utf8_lossy(&body), *target, "{line}");
                let place = (exchange.number("/connection"), stream);
                assert!(seen.insert(place, ()).is_none(), "{line}");
            }
            assert_eq!(seen.len(), 2000, "{role}'s view: {}", outcome.stderr);
        }
    }
}
