//! Many requests: every exchange once, nothing lost.

use crate::support::clients::{Client, curl, run};
use crate::support::exchange::{Exchange, Expected, assert_exchanges};
use crate::support::files::{Certificate, Docroot, SIZES, folder};
use crate::support::httpsniff::Httpsniff;
use crate::support::lock;
use crate::support::servers::{Server, asyncio, http_server, nginx};
use crate::support::skip::needs;

/// `count` requests by one curl on one connection, both ends watched.
pub(crate) fn in_a_row(
    server: &Server,
    docroot: &Docroot,
    count: usize,
    certificate: Option<&Certificate>,
) {
    let name = &docroot.names()[0];
    let watch = Httpsniff::new()
        .json()
        .args(["--port", &server.port().to_string()])
        .start();
    let mut command = curl(certificate);
    command.args(["-o", "/dev/null"]);
    command.arg(format!("{}/{name}?n=[1-{count}]", server.url()));
    run(&mut command);
    let outcome = watch.stop().success();
    let expected: Vec<_> = (1..=count)
        .map(|n| Expected::get(&format!("/{name}?n={n}"), docroot.content(name)))
        .collect();
    assert_exchanges("client's view", &outcome.of_role("client"), &expected);
    assert_exchanges("server's view", &outcome.of_role("server"), &expected);
    for role in ["client", "server"] {
        let exchanges = outcome.of_role(role);
        let connection = exchanges[0].number("/connection");
        assert!(
            exchanges
                .iter()
                .all(|e| e.number("/connection") == connection),
            "one keep-alive connection is several in the {role}'s view"
        );
        assert_order(&exchanges);
    }
}

/// Exchanges of one connection come in its order, counted from 1.
fn assert_order(exchanges: &[Exchange]) {
    for (index, exchange) in exchanges.iter().enumerate() {
        let ordinal = exchange
            .text("/id")
            .split('.')
            .nth(1)
            .unwrap()
            .parse::<usize>();
        assert_eq!(ordinal.unwrap(), index + 1, "{}", exchange.text("/id"));
    }
}

#[test]
fn two_thousand_in_a_row() {
    needs!("nginx", "curl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[1000]);
    let server = nginx(&docroot, None);
    in_a_row(&server, &docroot, 2000, None);
}

#[test]
fn two_thousand_in_a_row_tls() {
    needs!("nginx", "curl", "openssl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[1000]);
    let certificate = Certificate::new();
    let server = nginx(&docroot, Some(&certificate));
    in_a_row(&server, &docroot, 2000, Some(&certificate));
}

#[test]
fn two_thousand_connections() {
    needs!("nginx", "curl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[35]);
    let server = nginx(&docroot, None);
    let watch = Httpsniff::new()
        .json()
        .args(["--port", &server.port().to_string()])
        .start();
    let mut command = curl(None);
    command.args(["-o", "/dev/null", "-H", "Connection: close"]);
    command.arg(format!("{}/35.bin?n=[1-2000]", server.url()));
    run(&mut command);
    let outcome = watch.stop().success();
    let expected: Vec<_> = (1..=2000)
        .map(|n| Expected::get(&format!("/35.bin?n={n}"), docroot.content("35.bin")))
        .collect();
    assert_exchanges("client's view", &outcome.of_role("client"), &expected);
    assert_exchanges("server's view", &outcome.of_role("server"), &expected);
}

/// 100 keep-alive connections at once, each with all sizes but the largest.
fn hundred_connections(server: &Server, docroot: &Docroot, certificate: Option<&Certificate>) {
    let targets: Vec<_> = docroot
        .names()
        .iter()
        .map(|name| format!("/{name}"))
        .collect();
    let kept = folder();
    let mut command = Client::Asyncio.get(&server.url(), &targets, kept.path(), certificate);
    command.args(["--connections", "100"]);
    let of_server = Httpsniff::new()
        .json()
        .args(["--pid", &server.pid().to_string()])
        .start();
    let of_client = Httpsniff::new().json().run(&command).success();
    let of_server = of_server.stop().success();
    let expected: Vec<_> = (0..100)
        .flat_map(|connection| {
            docroot.names().iter().map(move |name| {
                Expected::get(&format!("/{name}?c={connection}"), docroot.content(name))
            })
        })
        .collect();
    assert_exchanges("client's view", &of_client.of_role("client"), &expected);
    assert_exchanges("server's view", &of_server.of_role("server"), &expected);
    let connections: std::collections::HashSet<_> = of_server
        .exchanges()
        .iter()
        .map(|exchange| exchange.number("/connection"))
        .collect();
    assert_eq!(connections.len(), 100);
}

#[test]
fn a_hundred_connections_at_once() {
    needs!("nginx", "openssl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&SIZES[..5]);
    let certificate = Certificate::new();
    for certificate in [None, Some(&certificate)] {
        let server = nginx(&docroot, certificate);
        hundred_connections(&server, &docroot, certificate);
    }
}

#[test]
fn a_hundred_connections_at_once_python() {
    needs!("openssl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&SIZES[..5]);
    let certificate = Certificate::new();
    for certificate in [None, Some(&certificate)] {
        hundred_connections(&http_server(&docroot, certificate), &docroot, certificate);
        hundred_connections(&asyncio(&docroot, certificate), &docroot, certificate);
    }
}
