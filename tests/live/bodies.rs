//! Every server with every client: bodies equal those of the endpoints, to the
//! last byte, seen from either end.

use crate::support::clients::Client;
use crate::support::exchange::Expected;
use crate::support::files::{Certificate, Docroot, SIZES, folder, random_bytes};
use crate::support::lock;
use crate::support::servers::{Nginx, asyncio, http_server, nginx, s_server};
use crate::support::skip::needs;
use crate::views::{check, check_get, check_post};

/// A test for each client that gets the files of a server in clear.
macro_rules! clear {
    ($server:ident: $($name:ident $client:ident),* $(,)?) => { $(
        #[test]
        fn $name() {
            needs!("nginx", "curl", "wget", "node", "openssl");
            let _guard = lock::shared();
            let docroot = Docroot::new(&SIZES);
            let server = $server(&docroot, None);
            check_get(&server, Client::$client, &docroot, "/", None);
        }
    )* };
}

/// The same inside TLS.
macro_rules! tls {
    ($server:ident: $($name:ident $client:ident),* $(,)?) => { $(
        #[test]
        fn $name() {
            needs!("nginx", "curl", "openssl");
            let _guard = lock::shared();
            let docroot = Docroot::new(&SIZES);
            let certificate = Certificate::new();
            let server = $server(&docroot, Some(&certificate));
            check_get(&server, Client::$client, &docroot, "/", Some(&certificate));
        }
    )* };
}

clear!(nginx: nginx_curl Curl, nginx_wget Wget, nginx_urllib Urllib, nginx_asyncio Asyncio, nginx_node Node);
clear!(http_server: http_server_curl Curl, http_server_wget Wget, http_server_urllib Urllib, http_server_node Node);
clear!(asyncio: asyncio_curl Curl, asyncio_wget Wget, asyncio_asyncio Asyncio, asyncio_node Node);
tls!(nginx: nginx_tls_curl Curl, nginx_tls_urllib Urllib, nginx_tls_asyncio Asyncio);
tls!(http_server: http_server_tls_curl Curl, http_server_tls_urllib Urllib, http_server_tls_asyncio Asyncio);
tls!(asyncio: asyncio_tls_curl Curl, asyncio_tls_urllib Urllib, asyncio_tls_asyncio Asyncio);

#[test]
fn s_server_tls_curl() {
    needs!("curl", "openssl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&SIZES);
    let certificate = Certificate::new();
    let server = s_server(&docroot, &certificate);
    check_get(&server, Client::Curl, &docroot, "/", Some(&certificate));
}

#[test]
fn s_server_tls_urllib() {
    needs!("openssl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&SIZES);
    let certificate = Certificate::new();
    let server = s_server(&docroot, &certificate);
    check_get(&server, Client::Urllib, &docroot, "/", Some(&certificate));
}

#[test]
fn chunked() {
    needs!("curl", "node");
    let _guard = lock::shared();
    let docroot = Docroot::new(&SIZES);
    let server = http_server(&docroot, None);
    for client in [Client::Curl, Client::Urllib, Client::Asyncio, Client::Node] {
        check_get(&server, client, &docroot, "/chunked/", None);
    }
}

#[test]
fn chunked_tls() {
    needs!("curl", "openssl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&SIZES);
    let certificate = Certificate::new();
    let server = http_server(&docroot, Some(&certificate));
    for client in [Client::Curl, Client::Urllib] {
        check_get(&server, client, &docroot, "/chunked/", Some(&certificate));
    }
}

#[test]
fn nginx_as_proxy() {
    needs!("nginx", "curl", "openssl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&SIZES);
    let certificate = Certificate::new();
    let upstream = http_server(&docroot, None);
    for certificate in [None, Some(&certificate)] {
        let server = Nginx {
            docroot: docroot.path(),
            host: "127.0.0.1",
            port: None,
            certificate,
            upstream: Some(&upstream.address),
        }
        .start();
        check_get(&server, Client::Curl, &docroot, "/proxied/", certificate);
        check_get(
            &server,
            Client::Urllib,
            &docroot,
            "/proxied/chunked/",
            certificate,
        );
        check_post(
            &server,
            Client::Curl,
            &docroot,
            "/proxied/echo/",
            certificate,
        );
    }
}

#[test]
fn uploads() {
    needs!("curl", "openssl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&SIZES);
    let certificate = Certificate::new();
    for certificate in [None, Some(&certificate)] {
        let server = http_server(&docroot, certificate);
        check_post(&server, Client::Curl, &docroot, "/echo/", certificate);
        check_post(&server, Client::Urllib, &docroot, "/echo/", certificate);
    }
}

#[test]
fn uploads_to_memory_bio() {
    needs!("curl", "openssl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&SIZES);
    let certificate = Certificate::new();
    let server = asyncio(&docroot, Some(&certificate));
    check_post(
        &server,
        Client::Curl,
        &docroot,
        "/echo/",
        Some(&certificate),
    );
}

#[test]
fn twenty_mebibytes_with_a_raised_cap() {
    needs!("nginx", "curl", "openssl");
    let _guard = lock::shared();
    let size = 20 << 20;
    let docroot = Docroot::new(&[size]);
    let certificate = Certificate::new();
    for certificate in [None, Some(&certificate)] {
        let server = nginx(&docroot, certificate);
        let target = format!("/{size}.bin");
        let kept = folder();
        let command = Client::Curl.get(
            &server.url(),
            std::slice::from_ref(&target),
            kept.path(),
            certificate,
        );
        let expected = Expected::get(&target, random_bytes(size, size as u64 + 1));
        check(&server, &command, &[expected], &["--max-body", "32M"]);
    }
}

#[test]
fn more_than_the_cap_is_counted() {
    needs!("nginx", "curl");
    let _guard = lock::shared();
    let size = 3 << 20;
    let docroot = Docroot::new(&[size]);
    let server = nginx(&docroot, None);
    let kept = folder();
    let targets = [format!("/{size}.bin")];
    let command = Client::Curl.get(&server.url(), &targets, kept.path(), None);
    let outcome = crate::support::httpsniff::Httpsniff::new()
        .json()
        .run(&command)
        .success();
    let [exchange] = &outcome.exchanges()[..] else {
        panic!("not one exchange: {}", outcome.stderr);
    };
    assert_eq!(exchange.number("/response/body/size"), Some(size as u64));
    assert_eq!(exchange.text("/response/body/state"), "cut");
    assert_eq!(exchange.number("/lost_bytes"), Some(0));
    let kept = exchange.body("response").unwrap();
    assert!(
        kept == random_bytes(size, size as u64 + 1)[..1 << 20],
        "{} kept",
        kept.len()
    );
}
