//! BoringSSL, as a shared library and inside a program with its symbols, in
//! both roles, byte by byte, with the right peer.
//!
//! Its `SSL_read` calls `SSL_peek`, and our programs look before they read:
//! nothing may be there twice.

use crate::rustls::{check, talk};
use crate::support::clients::Client;
use crate::support::exchange::Expected;
use crate::support::files::{Certificate, Docroot, SIZES, folder};
use crate::support::lock;
use crate::support::rust::{fetch, needs_peers, path, serve};
use crate::support::servers::nginx;

#[test]
fn shared_library() {
    needs_peers!("openssl");
    both_roles("release/boringssl_shared");
}

#[test]
fn inside_the_program() {
    needs_peers!("openssl");
    both_roles("release/boringssl_static");
}

fn both_roles(name: &str) {
    let _guard = lock::shared();
    let docroot = Docroot::new(&SIZES);
    let certificate = Certificate::new();
    let server = serve(&path(name), &docroot, &certificate, &[]);
    talk(&server, &path(name), &docroot, &certificate, "BoringSSL");
}

#[test]
fn with_openssl() {
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
    // Of either library, in the one view or the other.
    let library = "SSL";
    for name in ["release/boringssl_shared", "release/boringssl_static"] {
        let server = serve(&path(name), &docroot, &certificate, &[]);
        let kept = folder();
        let command = Client::Curl.get(&server.url(), &targets, kept.path(), Some(&certificate));
        check(&server, &command, &expected, library);
        let server = nginx(&docroot, Some(&certificate));
        let kept = folder();
        let command = fetch(
            &path(name),
            &server.url(),
            &targets,
            None,
            kept.path(),
            &certificate,
        );
        check(&server, &command, &expected, library);
    }
}

/// Bodies that end with the connection.
#[test]
fn until_the_end() {
    needs_peers!("openssl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[100_000]);
    let certificate = Certificate::new();
    for name in ["release/boringssl_shared", "release/boringssl_static"] {
        let server = serve(&path(name), &docroot, &certificate, &[]);
        let targets = ["/close/100000.bin".to_owned()];
        let expected = [Expected::get(&targets[0], docroot.content("100000.bin"))];
        let kept = folder();
        let command = fetch(
            &path(name),
            &server.url(),
            &targets,
            None,
            kept.path(),
            &certificate,
        );
        check(&server, &command, &expected, "BoringSSL");
    }
}
