//! rustls, which programs are compiled with: every record of either version and
//! of each way to build and to use it, byte by byte, with the right peer.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::support::clients::Client;
use crate::support::exchange::{Exchange, Expected, assert_exchanges, short};
use crate::support::files::{Certificate, Docroot, SIZES, folder, random_bytes};
use crate::support::httpsniff::Httpsniff;
use crate::support::lock;
use crate::support::process::Process;
use crate::support::rust::{fetch, needs_peers, path, serve};
use crate::support::servers::{PYTHON, Server, nginx, program};

/// Watches both ends, and compares bodies and addresses. `library` is how the
/// name of that with its interface begins.
pub(crate) fn check(server: &Server, client: &Command, expected: &[Expected], library: &str) {
    let of_server = Httpsniff::new()
        .json()
        .args(["--pid", &server.pid().to_string()])
        .start();
    let of_client = Httpsniff::new().json().run(client).success();
    let of_server = of_server.stop().success();
    let (seen, served) = (of_client.of_role("client"), of_server.of_role("server"));
    assert_exchanges("client's view", &seen, expected);
    assert_exchanges("server's view", &served, expected);
    for exchange in seen.iter().chain(&served) {
        if exchange.text("/source") == kind(library) {
            let name = exchange.text("/tls/library");
            assert!(name.contains(library), "{name} is not {library}");
        }
    }
    compare_peers(server, &seen, &served);
}

/// The source that records of a library come from.
fn kind(library: &str) -> &'static str {
    if library.starts_with("rustls") {
        "rustls"
    } else {
        "openssl"
    }
}

/// The server's address in both views, the client's the same in both; what is
/// unknown is counted, and must be less than one in a hundred.
pub(crate) fn compare_peers(server: &Server, seen: &[Exchange], served: &[Exchange]) {
    let mut clients = BTreeMap::new();
    let mut unknown = 0;
    for exchange in seen {
        match exchange.text("/peer") {
            "" => unknown += 1,
            peer => {
                assert_eq!(peer, server.address, "{}", short(exchange));
                clients.insert(exchange.target(), exchange.text("/local"));
            }
        }
    }
    for exchange in served {
        match exchange.text("/local") {
            "" => unknown += 1,
            local => {
                assert_eq!(local, server.address, "{}", short(exchange));
                if let Some(client) = clients.get(exchange.target()) {
                    assert_eq!(exchange.text("/peer"), *client, "{}", short(exchange));
                }
            }
        }
    }
    let all = seen.len() + served.len();
    assert!(unknown * 100 < all, "{unknown} of {all} peers are unknown");
}

/// Gets and posts every size by a program of ours.
pub(crate) fn talk(
    server: &Server,
    client: &Path,
    docroot: &Docroot,
    certificate: &Certificate,
    library: &str,
) {
    let names = docroot.names();
    for (prefix, post) in [("/", false), ("/echo/", true)] {
        let targets: Vec<_> = names.iter().map(|name| format!("{prefix}{name}")).collect();
        let expected: Vec<_> = names
            .iter()
            .zip(&targets)
            .map(|(name, target)| {
                let content = docroot.content(name);
                if post {
                    Expected::echo(target, content)
                } else {
                    Expected::get(target, content)
                }
            })
            .collect();
        let kept = folder();
        let from = post.then(|| docroot.path());
        let command = fetch(
            client,
            &server.url(),
            &targets,
            from,
            kept.path(),
            certificate,
        );
        check(server, &command, &expected, library);
        for (number, name) in names.iter().enumerate() {
            let got = std::fs::read(kept.path().join(number.to_string())).unwrap();
            assert!(
                got == docroot.content(name),
                "the client itself got another {name}"
            );
        }
    }
}

/// A test of a server and a client of rustls, in a version of TLS.
macro_rules! pairs {
    ($($name:ident: $server:literal $client:literal $version:literal $library:literal),* $(,)?) => { $(
        #[test]
        fn $name() {
            needs_peers!("openssl");
            let _guard = lock::shared();
            let docroot = Docroot::new(&SIZES);
            let certificate = Certificate::new();
            let server = serve(&path($server), &docroot, &certificate, &[("PEER_TLS", $version)]);
            talk(&server, &path($client), &docroot, &certificate, $library);
        }
    )* };
}

pairs! {
    stream_stream_tls13: "release/rustls_stream" "release/rustls_stream" "1.3" "rustls 0.23",
    stream_tokio_tls12: "release/rustls_stream" "release/rustls_tokio" "1.2" "rustls 0.23",
    tokio_tokio_tls13: "release/rustls_tokio" "release/rustls_tokio" "1.3" "rustls 0.23",
    tokio_stream_tls12: "release/rustls_tokio" "release/rustls_stream" "1.2" "rustls 0.23",
    debug_stream_tokio_tls13: "debug/rustls_stream" "debug/rustls_tokio" "1.3" "rustls 0.23",
    debug_tokio_stream_tls12: "debug/rustls_tokio" "debug/rustls_stream" "1.2" "rustls 0.23",
    old_stream_tls13: "release/rustls21" "release/rustls21" "1.3" "rustls 0.21",
    old_tokio_tls12: "release/rustls_tokio" "release/rustls21" "1.2" "rustls 0.2",
}

#[test]
fn others_with_rustls() {
    needs_peers!("nginx", "curl", "openssl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&SIZES);
    let certificate = Certificate::new();
    let expected: Vec<_> = docroot
        .names()
        .iter()
        .map(|name| Expected::get(&format!("/{name}"), docroot.content(name)))
        .collect();
    let targets: Vec<_> = expected.iter().map(|e| e.target.clone()).collect();
    let kept = folder();
    let server = nginx(&docroot, Some(&certificate));
    let client = path("release/rustls_tokio");
    let command = fetch(
        &client,
        &server.url(),
        &targets,
        None,
        kept.path(),
        &certificate,
    );
    check(&server, &command, &expected, "rustls 0.23");
    let chunked: Vec<_> = docroot
        .names()
        .iter()
        .map(|name| Expected::get(&format!("/chunked/{name}"), docroot.content(name)))
        .collect();
    let expected = [expected, chunked].concat();
    let targets: Vec<_> = expected.iter().map(|e| e.target.clone()).collect();
    for name in ["release/rustls_stream", "release/rustls21"] {
        let server = serve(&path(name), &docroot, &certificate, &[]);
        let kept = folder();
        let command = Client::Curl.get(&server.url(), &targets, kept.path(), Some(&certificate));
        check(&server, &command, &expected, "rustls 0.2");
    }
}

/// Bodies that end with the connection, sent and received.
#[test]
fn until_the_end() {
    needs_peers!("openssl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[0, 1 << 20]);
    let certificate = Certificate::new();
    for name in ["release/rustls_stream", "release/rustls21"] {
        let server = serve(&path(name), &docroot, &certificate, &[]);
        for file in docroot.names() {
            let targets = [format!("/close/{file}")];
            let expected = [Expected::get(&targets[0], docroot.content(file))];
            let kept = folder();
            let client = path(name);
            let command = fetch(
                &client,
                &server.url(),
                &targets,
                None,
                kept.path(),
                &certificate,
            );
            check(&server, &command, &expected, "rustls 0.2");
        }
    }
}

/// Keys are made and freed for each connection, at addresses that others had.
#[test]
fn two_hundred_connections_one_after_another() {
    needs_peers!("openssl");
    let _guard = lock::shared();
    for (name, version) in [("release/rustls_tokio", "1.3"), ("release/rustls21", "1.2")] {
        let mut docroot = Docroot::new(&[]);
        for number in 0..200 {
            docroot.add(
                &format!("{number}"),
                &random_bytes(number * 7, number as u64),
            );
        }
        let certificate = Certificate::new();
        let server = serve(
            &path(name),
            &docroot,
            &certificate,
            &[("PEER_TLS", version)],
        );
        let targets: Vec<_> = docroot
            .names()
            .iter()
            .map(|name| format!("/{name}"))
            .collect();
        let expected: Vec<_> = docroot
            .names()
            .iter()
            .map(|name| Expected::get(&format!("/{name}"), docroot.content(name)))
            .collect();
        let kept = folder();
        let command = Client::Urllib.get(&server.url(), &targets, kept.path(), Some(&certificate));
        check(&server, &command, &expected, "rustls");
    }
}

/// A hundred connections at once on two threads.
#[test]
fn a_hundred_connections_at_once() {
    needs_peers!("curl", "openssl");
    let _guard = lock::shared();
    let mut docroot = Docroot::new(&[]);
    for number in 0..100 {
        docroot.add(
            &format!("{number}"),
            &random_bytes(40_000 + number, number as u64),
        );
    }
    let certificate = Certificate::new();
    let server = serve(&path("release/rustls_tokio"), &docroot, &certificate, &[]);
    let targets: Vec<_> = docroot
        .names()
        .iter()
        .map(|name| format!("/{name}"))
        .collect();
    let expected: Vec<_> = docroot
        .names()
        .iter()
        .map(|name| Expected::get(&format!("/{name}"), docroot.content(name)))
        .collect();
    let kept = folder();
    let mut command = Client::Curl.get(&server.url(), &targets, kept.path(), Some(&certificate));
    command.args(["-Z", "--parallel-immediate", "--parallel-max", "100"]);
    check(&server, &command, &expected, "rustls");
}

/// Of a connection that was open before, neither keys nor handshake were seen.
#[test]
fn a_connection_that_was_open_before() {
    needs_peers!("openssl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&SIZES);
    let certificate = Certificate::new();
    for name in [
        "release/rustls_tokio",
        "release/rustls21",
        "debug/rustls_stream",
    ] {
        let server = serve(&path(name), &docroot, &certificate, &[]);
        let mut client = Command::new(PYTHON);
        client.arg("-u").arg(program("keepalive.py"));
        client.arg("--cafile").arg(certificate.path());
        client.arg(server.url().replace("127.0.0.1", "localhost"));
        let mut client = Process::spawn(&mut client);
        client.line_with("connected");
        client.send("/1.bin");
        client.line();
        let run = Httpsniff::new()
            .json()
            .args(["--pid", &server.pid().to_string()])
            .start();
        let mut expected = Vec::new();
        for file in docroot.names() {
            client.send(&format!("/{file}"));
            client.line();
            expected.push(Expected::get(&format!("/{file}"), docroot.content(file)));
        }
        let served = run.stop().success().of_role("server");
        assert_exchanges("server's view", &served, &expected);
        compare_peers(&server, &[], &served);
    }
}

/// Without symbols nothing can be found; that is said, and by its name.
#[test]
fn a_stripped_program_is_named() {
    needs_peers!("curl", "openssl", "strip");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[1000]);
    let certificate = Certificate::new();
    let kept = folder();
    let stripped = kept.path().join("stripped");
    let status = Command::new("strip")
        .arg("-o")
        .arg(&stripped)
        .arg(path("release/rustls_stream"))
        .status()
        .unwrap();
    assert!(status.success());
    let server = serve(&stripped, &docroot, &certificate, &[]);
    // Long enough for silence to be explained, which takes 5 seconds.
    let run = Httpsniff::new()
        .json()
        .args(["--pid", &server.pid().to_string(), "--duration", "9s"])
        .start();
    let targets = ["/1000.bin".to_owned()];
    let mut command = Client::Curl.get(&server.url(), &targets, kept.path(), Some(&certificate));
    crate::support::clients::run(&mut command);
    let outcome = run.join().success();
    assert!(outcome.exchanges().is_empty());
    assert!(outcome.stderr.contains("rustls"), "{}", outcome.stderr);
}
