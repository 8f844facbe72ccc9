//! reqwest, which is hyper, on either of its TLS libraries: OpenSSL's, which
//! the system has, and rustls, which is part of the program.

use crate::http2::{both, joins};
use crate::support::exchange::{Expected, short};
use crate::support::files::{Certificate, Docroot, SIZES, folder};
use crate::support::h2::{self, Client, assert_http2};
use crate::support::lock;
use crate::support::rust::needs_peers;
use crate::support::servers::{self, Server};
use crate::views::check;

/// All is got, and posted with `posts`, in a version of HTTP; both ends are
/// watched, and agree.
fn talk(
    server: &Server,
    client: Client,
    version: &str,
    docroot: &Docroot,
    certificate: Option<&Certificate>,
    posts: bool,
) {
    for (mode, prefix) in [("get", "/"), ("post", "/echo/")] {
        if mode == "post" && !posts {
            break;
        }
        let expected: Vec<_> = client
            .targets(prefix, docroot)
            .iter()
            .zip(docroot.names())
            .map(|(target, name)| match mode {
                "get" => Expected::get(target, docroot.content(name)),
                _ => Expected::echo(target, docroot.content(name)),
            })
            .collect();
        let kept = folder();
        let mut command = client.command(mode, prefix, server, docroot, certificate);
        command.env("PEER_HTTP", version).current_dir(kept.path());
        let (of_client, of_server) = check(server, &command, &expected, &[]);
        let (seen, served) = (of_client.of_role("client"), of_server.of_role("server"));
        let (source, library) = match (certificate, client) {
            (None, _) => ("tcp", ""),
            (_, Client::ReqwestNative) => ("openssl", "OpenSSL 3"),
            _ => ("rustls", "rustls 0.23"),
        };
        for exchange in &seen {
            let text = short(exchange);
            assert_eq!(exchange.text("/source"), source, "{text}");
            let name = exchange.text("/tls/library");
            assert!(name.starts_with(library), "{text}");
        }
        if version == "2" {
            assert_http2("client's view", &seen, server);
            assert_http2("server's view", &served, server);
        } else {
            let mut all = seen.iter().chain(&served);
            assert!(all.all(|exchange| exchange.text("/protocol") == "HTTP/1.1"));
        }
        for (number, name) in docroot.names().iter().enumerate() {
            let got = std::fs::read(kept.path().join(number.to_string())).unwrap();
            let should = docroot.content(name);
            assert!(got == should, "{client:?} itself got another {name}");
        }
    }
}

#[test]
fn http2() {
    needs_peers!("nginx", "node", "openssl");
    let docroot = Docroot::new(&SIZES);
    both(|certificate| {
        let node = h2::node(&docroot, certificate);
        talk(
            &node,
            Client::ReqwestNative,
            "2",
            &docroot,
            certificate,
            true,
        );
        // In clear the library does not matter.
        if certificate.is_some() {
            talk(
                &node,
                Client::ReqwestRustls,
                "2",
                &docroot,
                certificate,
                true,
            );
            let nginx = h2::nginx(&docroot, certificate, None);
            talk(
                &nginx,
                Client::ReqwestNative,
                "2",
                &docroot,
                certificate,
                false,
            );
        }
    });
}

#[test]
fn http1() {
    needs_peers!("openssl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&SIZES);
    let certificate = Certificate::new();
    let server = servers::http_server(&docroot, Some(&certificate));
    for client in [Client::ReqwestNative, Client::ReqwestRustls] {
        talk(&server, client, "1.1", &docroot, Some(&certificate), true);
    }
}

#[test]
fn a_join_in_the_middle() {
    needs_peers!("node", "openssl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[1]);
    let certificate = Certificate::new();
    let server = h2::node(&docroot, Some(&certificate));
    for client in [Client::ReqwestNative, Client::ReqwestRustls] {
        joins(&server, client, Some(&certificate));
    }
}
