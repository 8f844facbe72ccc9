//! TLS libraries other than OpenSSL: each as a client and as a server, by each
//! of its functions that send or receive; and programs that use them.

use std::path::Path;
use std::process::Command;

use crate::support::clients::{curl, run};
use crate::support::exchange::{Exchange, Expected, assert_exchanges, short};
use crate::support::files::{Certificate, Docroot, SIZES, folder, random_bytes};
use crate::support::httpsniff::{Httpsniff, Outcome};
use crate::support::lock;
use crate::support::peers::{Peer, echoes, gets, nss_database};
use crate::support::process::{Process, eventually};
use crate::support::servers::{Server, free_port, nginx};
use crate::support::skip::{needs, skipped};
use crate::support::tshark;
use crate::views::check;

/// Ends the test here unless the peer can be built.
macro_rules! needs_peer {
    ($($peer:expr),*) => {
        needs!("gcc", "openssl", "certutil");
        $(if let Some(reason) = $peer.missing() {
            fn here() {}
            skipped(std::any::type_name_of_val(&here), &reason);
            return;
        })*
    };
}

/// A test for each style in which a library's functions are used.
macro_rules! peers {
    ($($name:ident $peer:ident $style:literal),* $(,)?) => { $(
        #[test]
        fn $name() {
            needs_peer!(Peer::$peer);
            let _guard = lock::shared();
            check_peer(Peer::$peer, $style);
        }
    )* };
}

peers! {
    gnutls_plain GnuTls "plain",
    gnutls_corked GnuTls "cork",
    gnutls_range_and_sequence GnuTls "range-seq",
    gnutls_send2_and_send_file GnuTls "send2",
    gnutls_nonblocking GnuTls "nonblocking",
    nss_plain Nss "plain",
    nss_send_receive_peek Nss "send-recv",
    nss_vectors_and_send_file Nss "writev",
    nss_nonblocking Nss "nonblocking",
    wolfssl_plain WolfSsl "plain",
    wolfssl_peek WolfSsl "peek",
    wolfssl_send_receive WolfSsl "send-recv",
    wolfssl_vectors WolfSsl "writev",
    wolfssl_nonblocking WolfSsl "nonblocking",
    mbedtls_plain MbedTls "plain",
    mbedtls_nonblocking MbedTls "nonblocking",
    mbedtls_static MbedTlsStatic "plain",
}

/// Gets and posts every file on one connection each, seen from both ends.
fn check_peer(peer: Peer, style: &str) {
    let docroot = Docroot::new(&SIZES);
    let certificate = Certificate::new();
    let server = peer.serve(style, &docroot, &certificate);
    for post in [false, true] {
        let kept = folder();
        let mut client = peer.client(style, &server, &certificate, kept.path());
        if post {
            client.arg("--post").arg(docroot.path());
        }
        client.args(docroot.names().iter().map(|name| format!("/{name}")));
        let expected = if post {
            echoes(&docroot)
        } else {
            gets(&docroot)
        };
        let (of_client, of_server) = check(&server, &client, &expected, &[]);
        let stdout = String::from_utf8_lossy(&of_client.stdout).into_owned();
        let client_address = format!("127.0.0.1:{}", said(&stdout, "port "));
        for (view, local, other) in [
            (&of_client, &client_address, &server.address),
            (&of_server, &server.address, &client_address),
        ] {
            for exchange in view.exchanges() {
                assert_source(&exchange, peer);
                assert_eq!(exchange.text("/local"), local, "{}", short(&exchange));
                assert_eq!(exchange.text("/peer"), other, "{}", short(&exchange));
            }
            let unread = view.stderr.contains("TLS that could not be read");
            assert!(!unread, "{}", view.stderr);
        }
        for (number, name) in docroot.names().iter().enumerate() {
            let got = std::fs::read(kept.path().join(number.to_string())).unwrap();
            assert!(
                got == docroot.content(name),
                "the client got another {name}"
            );
        }
        if style.contains("nonblocking") {
            assert_ne!(
                said(&stdout, "end "),
                "0",
                "the socket was never full or empty"
            );
        }
    }
}

/// What a line that begins with `what` says.
fn said<'a>(stdout: &'a str, what: &str) -> &'a str {
    stdout
        .lines()
        .find_map(|line| line.strip_prefix(what))
        .unwrap_or_else(|| panic!("no “{what}” in {stdout}"))
}

fn assert_source(exchange: &Exchange, peer: Peer) {
    assert_eq!(
        exchange.text("/source"),
        peer.source(),
        "{}",
        short(exchange)
    );
    assert_eq!(
        exchange.text("/tls/library"),
        peer.library(),
        "{}",
        short(exchange)
    );
}

/// Connections that were open, and had been used, before httpsniff came.
macro_rules! open_before {
    ($($name:ident $peer:ident),* $(,)?) => { $(
        #[test]
        fn $name() {
            needs_peer!(Peer::$peer);
            let _guard = lock::shared();
            check_open_before(Peer::$peer);
        }
    )* };
}

open_before! {
    gnutls_open_before GnuTls,
    nss_open_before Nss,
    wolfssl_open_before WolfSsl,
    mbedtls_open_before MbedTls,
}

fn check_open_before(peer: Peer) {
    let docroot = Docroot::new(&[5, 100_000, 20_000, 30_000]);
    let certificate = Certificate::new();
    let server = peer.serve("plain", &docroot, &certificate);
    let kept = folder();
    let mut command = peer.client("plain", &server, &certificate, kept.path());
    command.arg("--step");
    command.args(docroot.names().iter().map(|name| format!("/{name}")));
    let mut client = Process::spawn(&mut command);
    client.send("");
    client.line_with("done");

    let pids = format!("{},{}", client.pid(), server.pid());
    let run = Httpsniff::new().json().args(["--pid", &pids]).start();
    for _ in 1..docroot.names().len() {
        client.send("");
        client.line_with("done");
    }
    client.finish();
    let outcome = run.stop().success();
    let expected = gets(&docroot).split_off(1);
    assert_exchanges("client's view", &outcome.of_role("client"), &expected);
    // The server was within a call: what that returned cannot be seen, which is
    // the first request or a part of it. Its response is nobody else's.
    let mut of_server = outcome.of_role("server");
    let first = of_server.remove(0);
    if first.0["request"].is_null() {
        let body = first.body("response");
        assert!(
            body == Some(docroot.content("100000.bin")),
            "{}",
            short(&first)
        );
    } else {
        assert_exchanges("the server's first", &[first], &expected[..1]);
    }
    assert_exchanges("server's view", &of_server, &expected[1..]);
    for exchange in outcome.exchanges() {
        assert_source(&exchange, peer);
        let of_server = if exchange.role() == "client" {
            "/peer"
        } else {
            "/local"
        };
        assert_eq!(
            exchange.text(of_server),
            server.address,
            "{}",
            short(&exchange)
        );
    }
}

/// One context of Mbed TLS for all connections, made anew for each.
#[test]
fn mbedtls_context_used_again() {
    needs_peer!(Peer::MbedTls);
    let _guard = lock::shared();
    let docroot = Docroot::new(&[1, 70_000]);
    let certificate = Certificate::new();
    let server = Peer::MbedTls.serve("reset", &docroot, &certificate);
    let run_of_server = Httpsniff::new()
        .json()
        .args(["--pid", &server.pid().to_string()])
        .start();
    let mut ports = Vec::new();
    for _ in 0..4 {
        let kept = folder();
        let mut client = Peer::MbedTls.client("plain", &server, &certificate, kept.path());
        client.args(docroot.names().iter().map(|name| format!("/{name}")));
        ports.push(said(&run(&mut client), "port ").to_owned());
    }
    let outcome = run_of_server.stop().success();
    let exchanges = outcome.exchanges();
    for port in &ports {
        let peer = format!("127.0.0.1:{port}");
        let own: Vec<_> = exchanges
            .iter()
            .filter(|exchange| exchange.text("/peer") == peer)
            .cloned()
            .collect();
        assert_exchanges(&peer, &own, &gets(&docroot));
    }
    assert_eq!(exchanges.len(), ports.len() * docroot.names().len());
}

/// NSPR's functions on sockets without TLS, and on files: the sockets show it,
/// and nothing shows it twice.
#[test]
fn nspr_without_tls() {
    needs_peer!(Peer::Nss);
    let _guard = lock::shared();
    let docroot = Docroot::new(&SIZES);
    let certificate = Certificate::new();
    let server = Peer::Nss.serve("clear", &docroot, &certificate);
    let kept = folder();
    let mut client = Peer::Nss.client("clear", &server, &certificate, kept.path());
    client.args(docroot.names().iter().map(|name| format!("/{name}")));
    let (of_client, of_server) = check(&server, &client, &gets(&docroot), &[]);
    for exchange in [of_client.exchanges(), of_server.exchanges()].concat() {
        assert_eq!(exchange.text("/source"), "tcp", "{}", short(&exchange));
    }
}

/// After a full socket GnuTLS may be called with NULL and 0 for “what I gave you
/// before”. By then that may be something else: a gap of known length.
#[test]
fn gnutls_full_socket_and_null() {
    needs_peer!(Peer::GnuTls);
    let _guard = lock::shared();
    let (size, small) = (4 << 20, 3);
    let docroot = Docroot::new(&[size, small]);
    let certificate = Certificate::new();
    let server = Peer::GnuTls.serve("nonblocking-null", &docroot, &certificate);
    let run_of_server = Httpsniff::new()
        .json()
        .args(["--max-body", "8M", "--pid", &server.pid().to_string()])
        .start();
    let kept = folder();
    let mut client = Peer::GnuTls.client("plain", &server, &certificate, kept.path());
    client.args(docroot.names().iter().map(|name| format!("/{name}")));
    run(&mut client);
    let outcome = run_of_server.stop().success();
    let exchanges = outcome.exchanges();
    let [large, after] = &exchanges[..] else {
        panic!("{} exchanges: {}", exchanges.len(), outcome.stderr);
    };
    assert_eq!(large.text("/state"), "complete", "{}", short(large));
    let missing = large.0["response"]["body"]["missing"].as_array().unwrap();
    let lost: u64 = missing
        .iter()
        .map(|gap| gap["length"].as_u64().unwrap())
        .sum();
    assert!(lost > 0, "the socket was never full: {}", short(large));
    assert_eq!(large.number("/lost_bytes"), Some(lost));
    assert_eq!(
        large.number("/response/body/encoded_size"),
        Some(size as u64),
        "{}",
        short(large)
    );
    let first = missing[0]["offset"].as_u64().unwrap();
    let shown = large.body("response").unwrap();
    assert_eq!(shown.len() as u64, first);
    let whole = random_bytes(size, size as u64 + 1);
    assert!(whole.starts_with(&shown), "other bytes than were sent");
    // What follows on the connection is read again.
    let expected = gets(&docroot).split_off(1);
    assert_exchanges("after the gap", std::slice::from_ref(after), &expected);
}

/// Packets of GnuTLS are in memory of its own: counted, and no byte invented.
#[test]
fn gnutls_packets_are_counted() {
    needs_peer!(Peer::GnuTls);
    let _guard = lock::shared();
    let docroot = Docroot::new(&[1000]);
    let certificate = Certificate::new();
    let server = Peer::GnuTls.serve("plain", &docroot, &certificate);
    let kept = folder();
    let mut client = Peer::GnuTls.client("packet", &server, &certificate, kept.path());
    client.arg("/1000.bin");
    let outcome = Httpsniff::new().json().run(&client).success();
    let exchanges = outcome.exchanges();
    let [exchange] = &exchanges[..] else {
        panic!("{} exchanges: {}", exchanges.len(), outcome.stderr);
    };
    assert_eq!(exchange.target(), "/1000.bin", "{}", short(exchange));
    assert!(exchange.0["response"].is_null(), "{}", short(exchange));
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\
                Content-Length: 1000\r\n\r\n";
    assert_eq!(
        exchange.number("/lost_bytes"),
        Some(head.len() as u64 + 1000),
        "{}",
        short(exchange)
    );
}

/// A file for Wireshark: an interface for the library, sound packets.
#[test]
fn pcapng_of_gnutls() {
    needs!("tshark");
    needs_peer!(Peer::GnuTls);
    let _guard = lock::shared();
    let docroot = Docroot::new(&SIZES);
    let certificate = Certificate::new();
    let server = Peer::GnuTls.serve("cork", &docroot, &certificate);
    let kept = folder();
    let mut client = Peer::GnuTls.client("plain", &server, &certificate, kept.path());
    client.args(docroot.names().iter().map(|name| format!("/{name}")));
    let outcome = Httpsniff::new().pcapng().run(&client).success();
    let file = outcome.pcapng();
    tshark::assert_sound(&file);
    let (requests, responses) = tshark::http(&file);
    let targets: Vec<_> = docroot
        .names()
        .iter()
        .map(|name| format!("GET /{name}"))
        .collect();
    assert_eq!(requests, targets);
    assert_eq!(responses, vec!["200"; targets.len()]);
    let names = tshark::fields(&file, "tcp", &["frame.interface_name"]);
    assert!(names.iter().all(|name| name[0] == "gnutls"), "{names:?}");
}

/// The exchanges of a client's command against a watched nginx. Of what the
/// client itself gets nothing is known but what nginx has sent: the two views,
/// by two libraries, must be equal, and have these targets.
fn check_against_nginx(server: &Server, client: &Command, source: &str, targets: &[String]) {
    let run = Httpsniff::new()
        .json()
        .args(["--pid", &server.pid().to_string()])
        .start();
    let of_client = Httpsniff::new().json().run(client).success();
    let of_server = run.stop().success();
    let seen = |view: &Outcome, role: &str| -> Vec<Expected> {
        let exchanges = view.of_role(role);
        exchanges
            .iter()
            .map(|exchange| Expected {
                method: exchange.text("/request/method").to_owned(),
                target: exchange.target().to_owned(),
                status: u16::try_from(exchange.number("/response/status").unwrap()).unwrap(),
                request_body: exchange.body("request").unwrap(),
                response_body: exchange.body("response").unwrap(),
            })
            .collect()
    };
    let sent = seen(&of_server, "server");
    let exchanges = of_client.of_role("client");
    assert_exchanges("client's view", &exchanges, &sent);
    for exchange in &exchanges {
        assert_eq!(exchange.text("/source"), source, "{}", short(exchange));
        assert_eq!(
            exchange.text("/peer"),
            server.address,
            "{}",
            short(exchange)
        );
    }
    for target in targets {
        let found = exchanges.iter().any(|exchange| exchange.target() == target);
        assert!(found, "no {target}: {}", of_client.stderr);
    }
}

fn targets(docroot: &Docroot) -> Vec<String> {
    let names = docroot.names().iter();
    names.map(|name| format!("/{name}")).collect()
}

/// wget is linked with GnuTLS in Debian.
#[test]
fn wget_from_nginx() {
    needs!("nginx", "wget", "openssl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&SIZES);
    let certificate = Certificate::new();
    let server = nginx(&docroot, Some(&certificate));
    let kept = folder();
    let mut client = Command::new("wget");
    client.args(["-q", "--no-config"]);
    client.arg(format!("--ca-certificate={}", certificate.path().display()));
    client.current_dir(kept.path());
    for target in targets(&docroot) {
        client.arg(format!("{}{target}", server.url()));
    }
    check_against_nginx(&server, &client, "gnutls", &targets(&docroot));
    for name in docroot.names() {
        let got = std::fs::read(kept.path().join(name)).unwrap();
        assert!(got == docroot.content(name), "wget got another {name}");
    }
}

/// git uses libcurl on GnuTLS, in a child of a child.
#[test]
fn git_clone_from_nginx() {
    needs!("nginx", "git", "openssl");
    let _guard = lock::shared();
    let docroot = Docroot::new(&[]);
    let work = folder();
    let (tree, bare) = (work.path().join("tree"), docroot.path().join("repo.git"));
    let git = |folder: &Path, arguments: &[&str]| {
        let mut command = Command::new("git");
        command.arg("-C").arg(folder).args(arguments);
        command
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("HOME", work.path());
        run(&mut command)
    };
    std::fs::create_dir(&tree).unwrap();
    git(&tree, &["init", "-q"]);
    std::fs::write(tree.join("file"), random_bytes(200_000, 7)).unwrap();
    git(&tree, &["add", "file"]);
    let who = ["-c", "user.name=test", "-c", "user.email=test@example.test"];
    git(&tree, &[&who[..], &["commit", "-q", "-m", "one"]].concat());
    git(
        work.path(),
        &[
            "clone",
            "-q",
            "--bare",
            tree.to_str().unwrap(),
            bare.to_str().unwrap(),
        ],
    );
    git(&bare, &["update-server-info"]);
    let certificate = Certificate::new();
    let server = nginx(&docroot, Some(&certificate));

    let mut client = Command::new("git");
    client.args(["clone", "-q", &format!("{}/repo.git", server.url())]);
    client.arg(work.path().join("cloned"));
    client.env("GIT_SSL_CAINFO", certificate.path());
    client
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("HOME", work.path());
    client.current_dir(work.path());
    let refs = "/repo.git/info/refs?service=git-upload-pack".to_owned();
    check_against_nginx(&server, &client, "gnutls", &[refs]);
    let cloned = std::fs::read(work.path().join("cloned/file")).unwrap();
    assert!(
        cloned == random_bytes(200_000, 7),
        "git itself got another file"
    );
}

/// apt's https method, which drops root, is GnuTLS too.
#[test]
fn apt_from_nginx() {
    needs!("nginx", "openssl", "apt-get");
    let helper = Path::new("/usr/lib/apt/apt-helper");
    if !helper.exists() {
        fn here() {}
        skipped(std::any::type_name_of_val(&here), "there is no apt-helper");
        return;
    }
    let _guard = lock::shared();
    let docroot = Docroot::new(&[300_000]);
    let certificate = Certificate::new();
    let server = nginx(&docroot, Some(&certificate));
    let kept = folder();
    let file = kept.path().join("300000.bin");
    let mut client = Command::new(helper);
    client.arg("-o").arg(format!(
        "Acquire::https::CAInfo={}",
        certificate.path().display()
    ));
    client.args(["-o", "Acquire::https::Proxy=DIRECT"]);
    client.arg("download-file");
    client
        .arg(format!("{}/300000.bin", server.url()))
        .arg(&file);
    check_against_nginx(&server, &client, "gnutls", &["/300000.bin".to_owned()]);
    assert!(std::fs::read(&file).unwrap() == docroot.content("300000.bin"));
}

/// libcurl on NSS, whose sockets have a layer of libcurl's below TLS.
#[test]
fn libcurl_nss_from_nginx() {
    needs!("nginx", "openssl", "gcc");
    let library = Path::new("/usr/lib/x86_64-linux-gnu/libcurl-nss.so.4");
    if !library.exists() {
        fn here() {}
        skipped(
            std::any::type_name_of_val(&here),
            "there is no libcurl3-nss",
        );
        return;
    }
    let _guard = lock::shared();
    let docroot = Docroot::new(&SIZES);
    let certificate = Certificate::new();
    let server = nginx(&docroot, Some(&certificate));
    let kept = folder();
    let program = kept.path().join("fetch");
    run(Command::new("gcc")
        .args(["-O2", "-o"])
        .arg(&program)
        .arg(crate::support::servers::program("tls/fetch_libcurl.c"))
        .arg(library));
    let mut client = Command::new(&program);
    client.current_dir(kept.path());
    for target in targets(&docroot) {
        client.arg(format!("{}{target}", server.url()));
    }
    check_against_nginx(&server, &client, "nss", &targets(&docroot));
    for (number, name) in docroot.names().iter().enumerate() {
        let got = std::fs::read(kept.path().join(number.to_string())).unwrap();
        assert!(got == docroot.content(name), "libcurl got another {name}");
    }
}

/// curl's view of what a server of another library sends is OpenSSL's; the
/// server's must be the same. `targets` are asked for one after another.
fn check_with_curl(server: &Server, certificate: &Certificate, source: &str, targets: &[&str]) {
    let run = Httpsniff::new()
        .json()
        .args(["--pid", &server.pid().to_string()])
        .start();
    let mut expected = Vec::new();
    for target in targets {
        let kept = folder();
        let mut client = curl(Some(certificate));
        client.arg("-o").arg(kept.path().join("body"));
        client.arg(format!("https://localhost:{}{target}", server.port()));
        crate::support::clients::run(&mut client);
        let body = std::fs::read(kept.path().join("body")).unwrap();
        assert!(!body.is_empty());
        expected.push(Expected::get(target, body));
    }
    let outcome = run.stop().success();
    let exchanges = outcome.of_role("server");
    assert_exchanges("server's view", &exchanges, &expected);
    for exchange in &exchanges {
        assert_eq!(exchange.text("/source"), source, "{}", short(exchange));
        assert_eq!(
            exchange.text("/local"),
            server.address,
            "{}",
            short(exchange)
        );
    }
}

#[test]
fn gnutls_serv_with_curl() {
    needs!("gnutls-serv", "curl", "openssl");
    let _guard = lock::shared();
    let certificate = Certificate::new();
    let port = free_port();
    let mut command = Command::new("gnutls-serv");
    command.args(["--http", "--quiet", "--port", &port.to_string()]);
    command.arg("--x509certfile").arg(certificate.path());
    command.arg("--x509keyfile").arg(certificate.key());
    let process = Process::spawn(&mut command);
    let address = format!("127.0.0.1:{port}");
    eventually("gnutls-serv accepts connections", || {
        std::net::TcpStream::connect(&address).is_ok()
    });
    let server = Server::of(process, address, "https", folder());
    check_with_curl(&server, &certificate, "gnutls", &["/one", "/two"]);
}

/// NSS's own test server, which answers with `PR_Writev`.
#[test]
fn selfserv_with_curl() {
    needs!("selfserv", "certutil", "curl", "openssl");
    let _guard = lock::shared();
    let certificate = Certificate::new();
    let folder = folder();
    nss_database(&certificate, folder.path());
    let port = free_port();
    let mut command = Command::new("selfserv");
    command.args(["-n", "localhost", "-p", &port.to_string()]);
    command
        .arg("-d")
        .arg(format!("sql:{}", folder.path().display()));
    command.args(["-V", "tls1.2:tls1.3"]);
    let process = Process::spawn(&mut command);
    let address = format!("127.0.0.1:{port}");
    eventually("selfserv accepts connections", || {
        std::net::TcpStream::connect(&address).is_ok()
    });
    let server = Server::of(process, address, "https", folder);
    check_with_curl(&server, &certificate, "nss", &["/one", "/two"]);
}
