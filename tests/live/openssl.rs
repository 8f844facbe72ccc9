//! OpenSSL 1.1.1 to 4.0: every function that reads or writes, by a program of
//! ours (`programs/tls_talk.c`), and each version's own `s_server` and
//! `s_client`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::support::clients::{Client, run};
use crate::support::exchange::{Exchange, Expected, assert_exchanges, short};
use crate::support::files::{Certificate, Docroot, SIZES, folder};
use crate::support::httpsniff::Httpsniff;
use crate::support::lock;
use crate::support::servers::{nginx, program, s_server_of};
use crate::support::skip::{needs, skipped};
use crate::support::versions::OpenSsl;
use crate::views::{check, check_get};

/// Targets of requests in early data that the server does not take.
const REJECTED: &str = "/early-rejected/9/";

/// A connection as both ends wrote it down.
struct Conversation {
    way: String,
    expected: Vec<Expected>,
}

/// What the ends of `tls_talk` wrote into `folder`, which must agree.
fn conversations(folder: &Path) -> Vec<Conversation> {
    let read = |role: &str, rest: &str| {
        let path = folder.join(format!("{role}.{rest}"));
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(rest) = name
            .strip_prefix("client.")
            .and_then(|rest| rest.strip_suffix(".sent"))
        else {
            continue;
        };
        let sent = read("client", &format!("{rest}.sent"));
        let received = read("client", &format!("{rest}.received"));
        assert!(
            sent == read("server", &format!("{rest}.received")),
            "{rest}: the ends know different requests"
        );
        assert!(
            received == read("server", &format!("{rest}.sent")),
            "{rest}: the ends know different responses"
        );
        let requests = messages(&sent);
        let responses = messages(&received);
        assert_eq!(requests.len(), responses.len(), "{rest}");
        let expected = requests.into_iter().zip(responses);
        found.push(Conversation {
            way: rest.split('.').next().unwrap().to_owned(),
            expected: expected
                .map(|((start, request_body), (_, response_body))| {
                    let mut words = start.split(' ');
                    Expected {
                        method: words.next().unwrap().to_owned(),
                        target: words.next().unwrap().to_owned(),
                        status: 200,
                        request_body,
                        response_body,
                    }
                })
                .collect(),
        });
    }
    found
}

/// Start line and body of each message. One without Content-Length goes to
/// the end.
fn messages(mut stream: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    while !stream.is_empty() {
        let end = memchr::memmem::find(stream, b"\r\n\r\n").expect("a head") + 4;
        let head = std::str::from_utf8(&stream[..end]).unwrap();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "))
            .map_or(stream.len() - end, |length| length.parse().unwrap());
        let start = head.lines().next().unwrap().to_owned();
        found.push((start, stream[end..end + length].to_vec()));
        stream = &stream[end + length..];
    }
    found
}

/// Compiles `tls_talk` into a folder.
fn build(folder: &Path) -> std::path::PathBuf {
    let built = folder.join("tls_talk");
    run(Command::new("gcc")
        .args(["-O2", "-pthread", "-o"])
        .arg(&built)
        .arg(program("tls_talk.c")));
    built
}

/// The exchanges of one way.
fn of_way(exchanges: &[Exchange], way: &str) -> Vec<Exchange> {
    let prefix = format!("/{way}/");
    exchanges
        .iter()
        .filter(|exchange| exchange.target().starts_with(&prefix))
        .filter(|exchange| !exchange.target().starts_with(REJECTED))
        .cloned()
        .collect()
}

/// Runs every way, or those named, and compares what both ends wrote down
/// with what httpsniff shows of each.
fn talk(openssl: &OpenSsl, ways: &[&str]) -> BTreeMap<String, String> {
    let kept = folder();
    let certificate = Certificate::new();
    let files = kept.path().join("files");
    std::fs::create_dir(&files).unwrap();
    let mut command = openssl.command(&build(kept.path()));
    command.arg(openssl.libssl());
    command.arg(certificate.path()).arg(certificate.key());
    command.arg(&files).args(ways);
    let outcome = Httpsniff::new()
        .json()
        .args(["--lib".as_ref(), openssl.libssl().as_os_str()])
        .run(&command)
        .success();
    let stdout = String::from_utf8_lossy(&outcome.stdout).into_owned();
    let mut lines = stdout.lines();
    let port = lines.next().unwrap().strip_prefix("port ").unwrap();
    let results: BTreeMap<_, _> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(way, result)| (way.to_owned(), result.to_owned()))
        .collect();

    let mut client = outcome.of_role("client");
    let server = outcome.of_role("server");
    let mut expected = BTreeMap::<String, Vec<Expected>>::new();
    for conversation in conversations(&files) {
        let way = expected.entry(conversation.way).or_default();
        way.extend(conversation.expected);
    }
    for (way, expected) in &expected {
        let view = |role: &str| format!("OpenSSL {}, {way}, {role}'s view", openssl.version);
        assert_exchanges(&view("client"), &of_way(&client, way), expected);
        if way.starts_with("sendfile") {
            assert_sent_by_the_kernel(&of_way(&server, way), expected);
        } else {
            assert_exchanges(&view("server"), &of_way(&server, way), expected);
        }
    }
    assert_eq!(
        expected.keys().collect::<BTreeSet<_>>(),
        results
            .iter()
            .filter(|(_, result)| *result == "ok")
            .map(|(way, _)| way)
            .collect::<BTreeSet<_>>()
    );
    // Early data that the server throws away is a request without a response,
    // of which the server knows nothing; then it was sent again.
    let rejected = |e: &Exchange| e.target().starts_with(REJECTED);
    let (thrown_away, rest): (Vec<_>, Vec<_>) = client.into_iter().partition(rejected);
    client = rest;
    let known = usize::from(expected.contains_key("early-rejected"));
    assert_eq!(thrown_away.len(), known);
    for exchange in &thrown_away {
        assert_eq!(exchange.text("/state"), "closed", "{}", short(exchange));
        assert!(exchange.0["response"].is_null(), "{}", short(exchange));
        assert_eq!(exchange.body("request").map(|body| body.len()), Some(3000));
    }
    let seen = |exchanges: &[Exchange]| -> usize {
        expected
            .keys()
            .map(|way| of_way(exchanges, way).len())
            .sum()
    };
    assert_eq!(seen(&client), client.len(), "others than those asked for");
    assert_eq!(seen(&server), server.len(), "others than those asked for");

    let at_server: BTreeMap<_, _> = server.iter().map(|e| (e.target(), e)).collect();
    for exchange in &client {
        let other = at_server[exchange.target()];
        assert_eq!(
            exchange.text("/peer"),
            format!("127.0.0.1:{port}"),
            "{}",
            short(exchange)
        );
        assert_eq!(other.text("/local"), exchange.text("/peer"));
        assert_eq!(exchange.text("/local"), other.text("/peer"));
        for exchange in [exchange, other] {
            assert_eq!(exchange.text("/source"), "openssl");
            assert_eq!(
                exchange.0["notes"],
                serde_json::json!([]),
                "{}",
                short(exchange)
            );
        }
    }
    results
}

/// What `SSL_sendfile` sends is in no buffer: its length is known, and all else.
pub(crate) fn assert_sent_by_the_kernel(seen: &[Exchange], expected: &[Expected]) {
    assert_eq!(seen.len(), expected.len());
    for (exchange, expected) in seen.iter().zip(expected) {
        let size = expected.response_body.len() as u64;
        assert_eq!(exchange.target(), expected.target);
        assert!(exchange.body("request") == Some(expected.request_body.clone()));
        assert_eq!(exchange.number("/response/status"), Some(200));
        let sent = exchange.number("/response/body/encoded_size");
        assert_eq!(sent, Some(size), "{}", short(exchange));
        assert_eq!(
            exchange.number("/lost_bytes"),
            Some(size),
            "{}",
            short(exchange)
        );
        let reason = exchange.text("/response/body/missing/0/reason");
        assert_eq!(reason, if size == 0 { "" } else { "no_buffer" });
        let state = if size == 0 { "complete" } else { "lost" };
        assert_eq!(exchange.text("/response/body/state"), state);
    }
}

/// Whether this kernel encrypts for those who ask it to.
pub(crate) fn kernel_tls() -> bool {
    drop(Command::new("modprobe").arg("tls").output());
    std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_ulp")
        .is_ok_and(|names| names.split_whitespace().any(|name| name == "tls"))
}

/// Every way in one version, or those named; `lacks` are those that it has no
/// function for.
pub(crate) fn every_way(openssl: &OpenSsl, ways: &[&str], lacks: &[&str]) {
    let kernel_tls = kernel_tls();
    let results = talk(openssl, ways);
    let mut lacking: BTreeSet<&str> = results
        .iter()
        .filter(|(_, result)| *result != "ok")
        .map(|(way, _)| way.as_str())
        .collect();
    if !kernel_tls {
        lacking.retain(|way| {
            !(way.starts_with("ktls") || way.starts_with("sendfile")) || lacks.contains(way)
        });
    }
    assert_eq!(lacking, lacks.iter().copied().collect(), "{results:?}");
}

/// The version's own programs: `s_server -WWW` for curl, and `s_client` that
/// sends nginx two requests at once from a file.
fn own_programs(openssl: &OpenSsl) {
    let docroot = Docroot::new(&SIZES);
    let certificate = Certificate::new();
    let server = s_server_of(openssl, &docroot, &certificate);
    check_get(&server, Client::Curl, &docroot, "/", Some(&certificate));

    let server = nginx(&docroot, Some(&certificate));
    let kept = folder();
    let names = &docroot.names()[docroot.names().len() - 2..];
    let mut requests = String::new();
    for (number, name) in names.iter().enumerate() {
        let last = number + 1 == names.len();
        let connection = if last { "close" } else { "keep-alive" };
        write!(
            requests,
            "GET /{name} HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n\r\n"
        )
        .unwrap();
    }
    std::fs::write(kept.path().join("requests"), requests).unwrap();
    let s_client = openssl.openssl();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", r#"exec "$@" <requests >responses"#, "sh"]);
    command
        .arg(s_client.get_program())
        .args(s_client.get_args());
    command.args(["s_client", "-quiet", "-connect", &server.address]);
    for (name, value) in s_client.get_envs() {
        command.env(name, value.unwrap());
    }
    command.current_dir(kept.path());
    let expected: Vec<_> = names
        .iter()
        .map(|name| Expected::get(&format!("/{name}"), docroot.content(name)))
        .collect();
    let libssl = openssl.libssl();
    check(
        &server,
        &command,
        &expected,
        &["--lib", libssl.to_str().unwrap()],
    );
    let responses = std::fs::read(kept.path().join("responses")).unwrap();
    let got: Vec<_> = messages(&responses)
        .into_iter()
        .map(|(_, body)| body)
        .collect();
    assert!(
        got.iter().eq(expected.iter().map(|e| &e.response_body)),
        "s_client itself got something else"
    );
}

macro_rules! versions {
    ($($ways:ident, $programs:ident: $openssl:expr, lacks $lacks:expr;)*) => { $(
        #[test]
        fn $ways() {
            needs!("gcc", "openssl");
            let _guard = lock::shared();
            match $openssl {
                Ok(openssl) => every_way(&openssl, &[], &$lacks),
                Err(reason) => skipped(stringify!($ways), &reason),
            }
        }

        #[test]
        fn $programs() {
            needs!("nginx", "curl", "openssl");
            let _guard = lock::shared();
            match $openssl {
                Ok(openssl) => own_programs(&openssl),
                Err(reason) => skipped(stringify!($programs), &reason),
            }
        }
    )* };
}

versions! {
    every_way_of_this_machines_openssl, programs_of_this_machines_openssl:
        Ok::<_, String>(OpenSsl::own()), lacks ["ex2"];
    every_way_of_openssl_1_1_1, programs_of_openssl_1_1_1:
        OpenSsl::unpacked("1.1.1"), lacks ["ex2", "ktls", "ktls12", "sendfile", "sendfile12"];
    every_way_of_openssl_3_5, programs_of_openssl_3_5:
        OpenSsl::unpacked("3.5"), lacks [];
    every_way_of_openssl_3_6, programs_of_openssl_3_6:
        OpenSsl::unpacked("3.6"), lacks [];
    every_way_of_openssl_4_0, programs_of_openssl_4_0:
        OpenSsl::unpacked("4.0"), lacks [];
}
