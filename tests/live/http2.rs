//! HTTP/2 between real programs: every exchange with its stream, host and
//! target, and bodies and fields as the endpoints have them, seen from either
//! end, in clear and inside TLS.

use crate::support::exchange::Expected;
use crate::support::files::{Certificate, Docroot, SIZES, folder};
use crate::support::h2::{self, Client, assert_http2};
use crate::support::httpsniff::Outcome;
use crate::support::lock;
use crate::support::servers::Server;
use crate::support::skip::needs;
use crate::views::check;

/// Both views of one run.
fn assert_both(outcomes: &(Outcome, Outcome), server: &Server, connections: Option<usize>) {
    let (of_client, of_server) = outcomes;
    let of_client = of_client.of_role("client");
    assert_http2("client's view", &of_client, server, connections);
    let of_server = of_server.of_role("server");
    assert_http2("server's view", &of_server, server, connections);
}

/// Connections of a client that asks for `count` targets.
fn connections(client: Client, count: usize, certificate: Option<&Certificate>) -> Option<usize> {
    match client {
        Client::Curl if certificate.is_none() => Some(count),
        Client::CurlAtOnce => None,
        _ => Some(1),
    }
}

fn check_get(
    server: &Server,
    client: Client,
    docroot: &Docroot,
    certificate: Option<&Certificate>,
) {
    let targets: Vec<_> = docroot.names().iter().map(|n| format!("/{n}")).collect();
    let expected: Vec<_> = docroot
        .names()
        .iter()
        .map(|name| Expected::get(&format!("/{name}"), docroot.content(name)))
        .collect();
    let kept = folder();
    let command = client.get(server, &targets, kept.path(), certificate);
    let outcomes = check(server, &command, &expected, &[]);
    let connections = connections(client, targets.len(), certificate);
    assert_both(&outcomes, server, connections);
    assert_kept(client, docroot, &kept);
}

fn check_post(
    server: &Server,
    client: Client,
    docroot: &Docroot,
    certificate: Option<&Certificate>,
) {
    let kept = folder();
    let command = client.post(server, docroot, kept.path(), certificate);
    let expected: Vec<_> = docroot
        .names()
        .iter()
        .map(|name| Expected::echo(&format!("/echo/{name}"), docroot.content(name)))
        .collect();
    let outcomes = check(server, &command, &expected, &[]);
    let connections = connections(client, expected.len(), certificate);
    assert_both(&outcomes, server, connections);
    assert_kept(client, docroot, &kept);
}

/// What the client itself got.
fn assert_kept(client: Client, docroot: &Docroot, kept: &tempfile::TempDir) {
    for (number, name) in docroot.names().iter().enumerate() {
        // curl makes no file for an empty body.
        let got = std::fs::read(kept.path().join(number.to_string())).unwrap_or_default();
        assert!(
            got == docroot.content(name),
            "{client:?} itself got another {name}"
        );
    }
}

/// In clear and inside TLS.
fn both(check: impl Fn(Option<&Certificate>)) {
    let _guard = lock::shared();
    check(None);
    check(Some(&Certificate::new()));
}

#[test]
fn nginx() {
    needs!("nginx", "curl", "node", "openssl");
    let docroot = Docroot::new(&SIZES);
    both(|certificate| {
        let server = h2::nginx(&docroot, certificate, None);
        for client in [Client::Curl, Client::CurlAtOnce, Client::Node] {
            check_get(&server, client, &docroot, certificate);
        }
    });
}

#[test]
fn nghttpd() {
    needs!("nghttpd", "curl", "node", "openssl");
    let docroot = Docroot::new(&SIZES);
    both(|certificate| {
        let server = h2::nghttpd(&docroot, certificate, &[]);
        for client in [Client::Curl, Client::Node] {
            check_get(&server, client, &docroot, certificate);
            check_post(&server, client, &docroot, certificate);
        }
    });
}

#[test]
fn node() {
    needs!("node", "curl", "openssl");
    let docroot = Docroot::new(&SIZES);
    both(|certificate| {
        let server = h2::node(&docroot, certificate);
        for client in [Client::Curl, Client::CurlAtOnce, Client::Node] {
            check_get(&server, client, &docroot, certificate);
            check_post(&server, client, &docroot, certificate);
        }
    });
}
