//! The subset that runs in other kernels too (`make test-kernels`): curl and
//! python against nginx, clear and TLS, IPv4 and IPv6.

use std::process::Command;

use crate::containers;
use crate::openssl::{self, every_way};
use crate::support::cgroups::hierarchies;
use crate::support::clients::{Client, run};
use crate::support::exchange::{Expected, assert_exchanges};
use crate::support::files::{Certificate, Docroot, SIZES, folder};
use crate::support::httpsniff::Httpsniff;
use crate::support::lock;
use crate::support::servers::{Nginx, free_port, nginx, program, python};
use crate::support::skip::{needs, not_in_this_kernel, skipped};
use crate::support::versions::OpenSsl;
use crate::views::{check_get, check_get_from};

fn fetch(client: Client, host: &str, tls: bool) {
    let docroot = Docroot::new(&SIZES);
    let certificate = tls.then(Certificate::new);
    let server = Nginx {
        docroot: docroot.path(),
        host,
        port: None,
        certificate: certificate.as_ref(),
        upstream: None,
    }
    .start();
    check_get(&server, client, &docroot, "/", certificate.as_ref());
}

macro_rules! tests {
    ($($name:ident: $client:ident $host:literal $tls:literal),* $(,)?) => { $(
        #[test]
        fn $name() {
            needs!("nginx", "curl", "openssl");
            let _guard = lock::shared();
            fetch(Client::$client, $host, $tls);
        }
    )* };
}

tests! {
    curl_clear_ipv4: Curl "127.0.0.1" false,
    curl_clear_ipv6: Curl "[::1]" false,
    curl_tls_ipv4: Curl "127.0.0.1" true,
    curl_tls_ipv6: Curl "[::1]" true,
    python_clear_ipv4: Urllib "127.0.0.1" false,
    python_clear_ipv6: Urllib "[::1]" false,
    python_tls_ipv4: Urllib "127.0.0.1" true,
    python_tls_ipv6: Urllib "[::1]" true,
}

/// The addresses are the real ones, from either end.
#[test]
fn addresses_are_those_of_the_socket() {
    needs!("nginx", "curl", "openssl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[1]);
    let certificate = Certificate::new();
    for host in ["127.0.0.1", "[::1]"] {
        for certificate in [None, Some(&certificate)] {
            let server = Nginx {
                docroot: docroot.path(),
                host,
                port: None,
                certificate,
                upstream: None,
            }
            .start();
            let watch = Httpsniff::new()
                .json()
                .args(["--port", &server.port().to_string()])
                .start();
            let kept = folder();
            let targets = ["/1.bin".to_owned()];
            run(&mut Client::Curl.get(&server.url(), &targets, kept.path(), certificate));
            let outcome = watch.stop().success();
            let client = outcome.of_role("client");
            let at_server = outcome.of_role("server");
            assert_eq!(
                (client.len(), at_server.len()),
                (1, 1),
                "{}",
                outcome.stderr
            );
            assert_eq!(client[0].text("/peer"), server.address);
            assert_eq!(at_server[0].text("/local"), server.address);
            assert_eq!(client[0].text("/local"), at_server[0].text("/peer"));
            let source = if certificate.is_some() {
                "openssl"
            } else {
                "tcp"
            };
            assert_eq!(client[0].text("/source"), source);
            assert_eq!(at_server[0].text("/source"), source);
        }
    }
}

/// An IPv6 socket that talks IPv4 is shown with its IPv4 addresses.
#[test]
fn ipv4_mapped() {
    needs!("curl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[1, 16_385]);
    let server = python("http_server.py", &docroot, "::ffff:127.0.0.1", 0, None);
    let watch = Httpsniff::new()
        .json()
        .args(["--pid", &server.pid().to_string()])
        .start();
    let kept = folder();
    let targets = ["/1.bin".to_owned(), "/16385.bin".to_owned()];
    run(&mut Client::Curl.get(&server.url(), &targets, kept.path(), None));
    let outcome = watch.stop().success();
    let exchanges = outcome.of_role("server");
    let expected: Vec<_> = targets
        .iter()
        .map(|target| Expected::get(target, docroot.content(&target[1..])))
        .collect();
    assert_exchanges("server's view", &exchanges, &expected);
    for exchange in &exchanges {
        assert_eq!(exchange.text("/local"), server.address);
        assert!(
            exchange.text("/peer").starts_with("127.0.0.1:"),
            "{}",
            exchange.text("/peer")
        );
    }
}

/// Many requests on one connection, both ends watched by one httpsniff.
#[test]
fn keep_alive_in_a_row() {
    needs!("nginx", "curl", "openssl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[100]);
    let certificate = Certificate::new();
    for certificate in [None, Some(&certificate)] {
        let server = nginx(&docroot, certificate);
        crate::load::in_a_row(&server, &docroot, 200, certificate);
    }
}

/// The name of the host does not matter to the capture, only to `--host`.
#[test]
fn localhost_by_name() {
    needs!("nginx", "curl", "openssl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[35]);
    let certificate = Certificate::new();
    let server = nginx(&docroot, Some(&certificate));
    let url = format!("https://localhost:{}", server.port());
    check_get_from(
        &url,
        &server,
        Client::Curl,
        &docroot,
        "/",
        Some(&certificate),
    );
}

/// Every system call that sends or receives on a socket, in one segment and
/// in several; MSG_PEEK is no traffic.
#[test]
fn every_system_call() {
    needs!("gcc");
    let _guard = lock::shared();
    let built = folder();
    let syscalls = built.path().join("syscalls");
    run(Command::new("gcc")
        .args(["-O2", "-pthread", "-o"])
        .arg(&syscalls)
        .arg(program("syscalls.c")));
    let mut command = Command::new(&syscalls);
    command.arg(free_port().to_string());
    let outcome = Httpsniff::new().json().run(&command).success();
    for role in ["client", "server"] {
        let mut seen = Vec::new();
        for exchange in outcome.of_role(role) {
            let name = exchange.target().trim_start_matches('/').to_owned();
            assert_eq!(exchange.text("/state"), "complete", "{role} {name}");
            assert_eq!(exchange.number("/lost_bytes"), Some(0), "{role} {name}");
            let request = exchange.text("/request/body/text");
            assert_eq!(request, format!("<{name}>"), "{role}");
            let response = exchange.text("/response/body/text");
            assert_eq!(response, format!("answer {name}"), "{role}");
            seen.push(name);
        }
        assert_eq!(
            seen,
            [
                "write-read",
                "writev-readv",
                "sendto-recvfrom",
                "sendmsg-recvmsg",
                "sendmmsg-recvmmsg",
                "pwritev2-preadv2"
            ],
            "{role}"
        );
    }
}

/// Both versions of cgroups, where the kernel has both mounted.
#[test]
fn containers_by_cgroup() {
    needs!("nginx", "curl", "openssl");
    let _guard = lock::shared();
    let all = hierarchies();
    if all.is_empty() {
        return skipped("kernel::containers_by_cgroup", "no cgroups are mounted");
    }
    for hierarchy in &all {
        containers::only_the_inside(hierarchy);
    }
    // Takes minutes in an emulated machine: one version of cgroups there, both
    // in the tests of this machine's kernel.
    containers::starts_again(&all[0], 2);
}

/// Where the kernel encrypts, and where it sends files inside TLS.
#[test]
fn kernel_tls() {
    needs!("gcc", "openssl");
    let _guard = lock::shared();
    let ways = ["plain", "ktls", "ktls12", "sendfile", "sendfile12"];
    every_way(&OpenSsl::own(), &ways, &[]);
    // Those that there are have been seen.
    has_tls("kernel::kernel_tls");
}

/// Whether this kernel encrypts for those who ask it to; if not, that is said
/// of the test.
fn has_tls(test: &str) -> bool {
    if openssl::kernel_tls() {
        return true;
    }
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let modules = format!("/lib/modules/{}/modules.dep", release.trim());
    if std::fs::read_to_string(modules).is_ok_and(|m| m.contains("/net/tls/tls.ko")) {
        skipped(test, "the kernel's module for TLS cannot be loaded");
    } else {
        not_in_this_kernel(test, "this kernel has no TLS");
    }
    false
}

/// nginx that has the kernel encrypt and send files: the server's view has the
/// length of each body, the client's the body.
#[test]
fn nginx_by_kernel_tls() {
    needs!("nginx", "curl", "openssl");
    let _guard = lock::shared();
    if !has_tls("kernel::nginx_by_kernel_tls") {
        return;
    }
    let docroot = Docroot::new(&SIZES);
    let certificate = Certificate::new();
    let server = Nginx {
        docroot: docroot.path(),
        host: "127.0.0.1",
        port: None,
        certificate: Some(&certificate),
        upstream: None,
    }
    .start_with("sendfile on; ssl_conf_command Options KTLS;");
    let of_server = Httpsniff::new()
        .json()
        .args(["--pid", &server.pid().to_string()])
        .start();
    let kept = folder();
    let targets: Vec<_> = docroot.names().iter().map(|n| format!("/{n}")).collect();
    let command = Client::Curl.get(&server.url(), &targets, kept.path(), Some(&certificate));
    let of_client = Httpsniff::new().json().run(&command).success();
    let of_server = of_server.stop().success();
    let expected: Vec<_> = docroot
        .names()
        .iter()
        .map(|name| Expected::get(&format!("/{name}"), docroot.content(name)))
        .collect();
    assert_exchanges("client's view", &of_client.of_role("client"), &expected);
    openssl::assert_sent_by_the_kernel(&of_server.of_role("server"), &expected);
}

/// Kernels from 6.11 on have a system call behind return probes, which some of
/// them show to a program's seccomp filter.
#[test]
fn a_confined_program_goes_on() {
    needs!("nginx", "openssl", "gcc");
    let _guard = lock::shared();
    crate::harm::check("confined");
}
