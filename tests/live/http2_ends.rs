//! Streams and connections of HTTP/2 that are not a request and its response:
//! pushed ones, those that are reset or never processed, tunnels, and what
//! comes before and after a response; seen from both ends, and in the pcapng
//! as it is and written anew.

use std::process::Command;

use crate::support::exchange::{Exchange, short};
use crate::support::files::{Certificate, Docroot, folder};
use crate::support::h2::{self, fields, nghttpx_of};
use crate::support::httpsniff::{Httpsniff, Outcome};
use crate::support::lock;
use crate::support::process::Process;
use crate::support::servers::{Nginx, PYTHON, Server, http_server, program};
use crate::support::skip::needs;
use crate::support::tshark;

/// What a server of ours sends of a body that never ends.
const PART: [u8; 1000] = [b'p'; 1000];

/// What an exchange has come to.
struct Ended<'a> {
    target: &'a str,
    state: &'a str,
    status: Option<u64>,
    body: Option<&'a [u8]>,
    note: Option<&'a str>,
}

impl<'a> Ended<'a> {
    fn well(target: &'a str, body: &'a [u8]) -> Self {
        Self {
            target,
            state: "complete",
            status: Some(200),
            body: Some(body),
            note: None,
        }
    }

    /// With neither status nor body.
    fn unanswered(target: &'a str, state: &'a str, note: &'a str) -> Self {
        Self {
            target,
            state,
            status: None,
            body: None,
            note: Some(note),
        }
    }

    /// With the first part of a body.
    fn reset(target: &'a str, note: &'a str) -> Self {
        Self {
            state: "reset",
            note: Some(note),
            ..Self::well(target, &PART)
        }
    }
}

/// Exactly these exchanges are there.
fn assert_ended(view: &str, server: &Server, exchanges: &[Exchange], expected: &[Ended<'_>]) {
    for should in expected {
        let mut found = exchanges.iter().filter(|e| e.target() == should.target);
        let exchange = found
            .next()
            .unwrap_or_else(|| panic!("{view}: {}", should.target));
        let view = format!("{view}: {}", short(exchange));
        assert!(found.next().is_none(), "twice: {view}");
        for (pointer, should) in [
            ("/protocol", "HTTP/2"),
            ("/state", should.state),
            ("/request/method", "GET"),
            ("/request/scheme", server.scheme),
            ("/request/host", &server.address),
            ("/request/body/state", "complete"),
        ] {
            assert_eq!(exchange.text(pointer), should, "{view}");
        }
        assert_eq!(exchange.number("/response/status"), should.status, "{view}");
        assert_eq!(exchange.0["lost_bytes"], 0, "{view}");
        let body = exchange.body("response");
        assert!(body.as_deref() == should.body, "{view}");
        if should.body.is_some() {
            let state = if should.state == "complete" {
                "complete"
            } else {
                "lost"
            };
            assert_eq!(exchange.text("/response/body/state"), state, "{view}");
        }
        let notes: Vec<_> = should.note.into_iter().collect();
        assert_eq!(exchange.0["notes"], serde_json::json!(notes), "{view}");
    }
    assert_eq!(exchanges.len(), expected.len(), "{view}");
}

/// Runs a client at a server, each end watched: the client's exchanges, the
/// server's, and what is left of the server's.
fn watch(server: &Server, client: &Command) -> (Vec<Exchange>, Vec<Exchange>, Outcome) {
    let of_server = Httpsniff::new()
        .json()
        .pcapng()
        .args(["--pid", &server.pid().to_string()])
        .start();
    let of_client = Httpsniff::new().json().run(client).success();
    let of_server = of_server.stop().success();
    let http2 = |mut list: Vec<Exchange>| {
        list.retain(|e| e.number("/stream").is_some());
        list
    };
    (
        http2(of_client.of_role("client")),
        http2(of_server.of_role("server")),
        of_server,
    )
}

/// Both ends and the server's file show the same.
fn check(server: &Server, client: &Command, expected: &[Ended<'_>]) -> Outcome {
    let (of_client, of_server, outcome) = watch(server, client);
    assert_ended("client's view", server, &of_client, expected);
    assert_ended("server's view", server, &of_server, expected);
    let again = anew(&outcome, &[]).of_role("server");
    assert_ended("the file", server, &again, expected);
    outcome
}

/// Reads the file of a run, and writes another one, by these options.
fn anew(outcome: &Outcome, options: &[&str]) -> Outcome {
    let read = Httpsniff::reader().json().pcapng().args(options);
    read.arg("-r").arg(outcome.pcapng()).finish().success()
}

/// What Wireshark makes of the HTTP/2 of a file, by packet.
struct Packets(Vec<Vec<String>>);

impl Packets {
    const FIELDS: [&str; 10] = [
        "_ws.malformed",
        "tcp.analysis.flags",
        "http2.type",
        "http2.headers.method",
        "http2.headers.authority",
        "http2.headers.path",
        "http2.headers.status",
        "http2.header.name",
        "http2.rst_stream.error",
        "http2.goaway.last_stream_id",
    ];

    /// There is nothing to complain about.
    fn of(outcome: &Outcome, server: &Server) -> Self {
        let port = format!("tcp.port=={},http", server.port());
        let packets = Self(tshark::decoded(
            &outcome.pcapng(),
            &port,
            "tcp",
            &Self::FIELDS,
        ));
        for field in &Self::FIELDS[..2] {
            assert_eq!(packets.values(field), [""; 0], "{field}");
        }
        packets
    }

    /// Values of a field, in order.
    fn values(&self, field: &str) -> Vec<&str> {
        self.values_with(field, |_| true)
    }

    /// As [`values`](Self::values), in packets with these types of frames.
    fn values_with(&self, field: &str, wanted: impl Fn(&str) -> bool) -> Vec<&str> {
        let column = |field| Self::FIELDS.iter().position(|f| *f == field).unwrap();
        let packets = self
            .0
            .iter()
            .filter(|packet| wanted(&packet[column("http2.type")]));
        let values = packets.filter_map(|packet| packet.get(column(field)));
        values
            .flat_map(|v| v.split(','))
            .filter(|v| !v.is_empty())
            .collect()
    }

    /// Paths in packets with a PUSH_PROMISE.
    fn promised(&self) -> Vec<&str> {
        self.values_with("http2.headers.path", |types| {
            types.split(',').any(|t| t == "5")
        })
    }
}

/// A client of nghttp2 with targets.
fn nghttp(server: &Server, targets: &[&str]) -> Command {
    let mut command = Command::new("nghttp");
    command.args(["-n", "--no-dep"]);
    for target in targets {
        command.arg(format!("{}{target}", server.url()));
    }
    command
}

/// `h2_ends.js` as a client.
fn node(server: &Server, certificate: &Certificate, mode: &str, rest: &[&str]) -> Command {
    let mut command = Command::new("node");
    command.arg(program("h2_ends.js")).args([mode, "--cafile"]);
    command.arg(certificate.path()).arg(server.url()).args(rest);
    command
}

fn docroot() -> Docroot {
    let mut docroot = Docroot::new(&[]);
    docroot.add("a.txt", b"some text");
    docroot.add("b.txt", &b"more text ".repeat(3000));
    docroot
}

#[test]
fn pushes() {
    needs!("nghttpd", "nghttp", "node", "openssl", "tshark");
    let _guard = lock::shared();
    let docroot = docroot();
    let (a, b) = (docroot.content("a.txt"), docroot.content("b.txt"));
    let certificate = Certificate::new();
    let push = "--push=/a.txt=/b.txt";
    let nghttpd = h2::nghttpd(&docroot, Some(&certificate), &[push]);
    let node = h2::node_ends(&docroot, None);
    for (server, target, content) in [
        (&nghttpd, "/a.txt", a.as_slice()),
        (&node, "/push/b.txt", b"pushed"),
    ] {
        let pushed = Ended {
            note: Some("pushed by the server"),
            ..Ended::well("/b.txt", &b)
        };
        let expected = [Ended::well(target, content), pushed];
        let outcome = check(server, &nghttp(server, &[target]), &expected);
        for exchange in outcome.exchanges() {
            let even = exchange.number("/stream").unwrap() % 2 == 0;
            assert_eq!(even, exchange.target() == "/b.txt", "{}", short(&exchange));
        }
        assert!(Packets::of(&outcome, server).promised().contains(&"/b.txt"));
        let [_, pushed] = expected;
        let filtered = anew(&outcome, &["--path", "/b.txt"]);
        assert_eq!(Packets::of(&filtered, server).promised(), ["/b.txt"]);
        let filtered = anew(&filtered, &[]).of_role("server");
        assert_ended("written anew", server, &filtered, &[pushed]);
    }
}

#[test]
fn resets() {
    needs!("go", "node", "nghttp", "openssl", "tshark");
    let _guard = lock::shared();
    let docroot = docroot();
    let a = docroot.content("a.txt");
    let certificate = Certificate::new();
    let of_node = h2::node_ends(&docroot, Some(&certificate));
    let of_go = h2::go(&docroot, Some(&certificate));
    let cancel = node(&of_node, &certificate, "cancel", &[]);
    for (server, client, expected, code) in [
        (
            &of_node,
            cancel,
            vec![
                Ended::reset("/slow", "stream reset: CANCEL"),
                Ended::well("/a.txt", &a),
            ],
            "8",
        ),
        (
            &of_node,
            nghttp(&of_node, &["/refuse/7", "/a.txt"]),
            vec![
                Ended::unanswered("/refuse/7", "reset", "stream reset: REFUSED_STREAM"),
                Ended::well("/a.txt", &a),
            ],
            "7",
        ),
        (
            &of_go,
            nghttp(&of_go, &["/abort", "/a.txt"]),
            vec![
                Ended::reset("/abort", "stream reset: INTERNAL_ERROR"),
                Ended::well("/a.txt", &a),
            ],
            "2",
        ),
    ] {
        let outcome = check(server, &client, &expected);
        let filtered = anew(&outcome, &["--path", expected[0].target]);
        for outcome in [&outcome, &filtered] {
            let packets = Packets::of(outcome, server);
            assert_eq!(packets.values("http2.rst_stream.error"), [code]);
        }
        let again = anew(&filtered, &[]).of_role("server");
        assert_ended("written anew", server, &again, &expected[..1]);
    }
}

#[test]
fn connections_that_take_no_more() {
    needs!("nginx", "node", "curl", "nghttp", "openssl", "tshark");
    let _guard = lock::shared();
    let docroot = docroot();
    let a = docroot.content("a.txt");
    let certificate = Certificate::new();
    let nginx = Nginx {
        docroot: docroot.path(),
        host: "127.0.0.1",
        port: None,
        certificate: Some(&certificate),
        upstream: None,
    };
    let server = nginx.listen_with("http2; keepalive_requests 3", "sendfile off;");
    let targets = ["/a.txt?1", "/a.txt?2", "/a.txt?3", "/a.txt?4", "/a.txt?5"];

    // curl goes on with another connection.
    let mut curl = h2::curl(Some(&certificate));
    for target in targets {
        curl.arg("-o")
            .arg("/dev/null")
            .arg(format!("{}{target}", server.url()));
    }
    let all: Vec<_> = targets
        .iter()
        .map(|target| Ended::well(target, &a))
        .collect();
    let outcome = check(&server, &curl, &all);
    let connection = |e: &Exchange| e.number("/connection").unwrap();
    let mut connections: Vec<_> = outcome.exchanges().iter().map(connection).collect();
    connections.sort_unstable();
    connections.dedup();
    assert_eq!(connections.len(), 2);

    // nghttp asks for all at once, and nginx does not look at the rest.
    let mut client = Command::new("/bin/sh");
    let quoted: Vec<_> = targets
        .iter()
        .map(|t| format!("'{}{t}'", server.url()))
        .collect();
    let script = format!("nghttp -n --no-dep {} || true", quoted.join(" "));
    client.args(["-c", &script]);
    let refused = |target| Ended::unanswered(target, "closed", "not processed: GOAWAY");
    let expected: Vec<_> = targets
        .iter()
        .enumerate()
        .map(|(n, target)| {
            if n < 3 {
                Ended::well(target, &a)
            } else {
                refused(target)
            }
        })
        .collect();
    let outcome = check(&server, &client, &expected);
    let filtered = anew(&outcome, &["--path", r"/a.txt\?5"]);
    let last = "http2.goaway.last_stream_id";
    let packets = [&outcome, &filtered].map(|outcome| Packets::of(outcome, &server));
    assert!(!packets[0].values(last).is_empty());
    assert_eq!(packets[0].values(last), packets[1].values(last));
    let again = anew(&filtered, &[]).of_role("server");
    assert_ended("written anew", &server, &again, &expected[4..]);

    // What came before is answered.
    let server = h2::node_ends(&docroot, None);
    let targets = ["/goaway/3?1", "/goaway/3?2", "/goaway/3?3"];
    let expected = targets.map(|target| Ended::well(target, target.as_bytes()));
    let outcome = check(&server, &nghttp(&server, &targets), &expected);
    let packets = Packets::of(&outcome, &server);
    assert!(
        packets.values(last).contains(&"5"),
        "{:?}",
        packets.values(last)
    );
}

#[test]
fn tunnels() {
    needs!("node", "nghttpx", "openssl", "tshark");
    let _guard = lock::shared();
    let docroot = docroot();
    let content = docroot.content("b.txt");
    let certificate = Certificate::new();
    let behind = http_server(&docroot, None);
    let mut proxy = Command::new(PYTHON);
    let mut proxy = Process::spawn(proxy.arg("-u").arg(program("connect_proxy.py")));
    let address = format!("127.0.0.1:{}", proxy.line());
    let proxy = Server::of(proxy, address, "http", folder());
    let server = nghttpx_of(&proxy, "http/1.1", Some(&certificate), &["--http2-proxy"]);
    let server = &server;
    let kept = folder();
    let rest = [behind.address.as_str(), "/b.txt"];
    let mut client = node(server, &certificate, "connect", &rest);
    client.current_dir(kept.path());
    let (of_client, of_server, outcome) = watch(server, &client);
    let got = std::fs::read(kept.path().join("got")).unwrap();
    assert!(got.ends_with(&content));
    let sent = format!("GET /b.txt HTTP/1.0\r\nHost: {}\r\n\r\n", behind.address).len();
    let again = anew(&outcome, &[]).of_role("server");
    let filtered = anew(&anew(&outcome, &["--method", "CONNECT"]), &[]).of_role("server");
    for (view, exchanges, ways) in [
        ("client's view", of_client, ["sent", "received"]),
        ("server's view", of_server, ["received", "sent"]),
        ("the file", again, ["received", "sent"]),
        ("written anew", filtered, ["received", "sent"]),
    ] {
        let view = format!("{view} of {}", server.address);
        let tunnels: Vec<_> = exchanges
            .iter()
            .filter(|e| e.number("/stream").is_some())
            .collect();
        let [exchange] = tunnels[..] else {
            panic!("{view}: {} exchanges", tunnels.len());
        };
        let view = format!("{view}: {}", short(exchange));
        for (pointer, should) in [
            ("/state", "complete"),
            ("/request/method", "CONNECT"),
            ("/request/target", behind.address.as_str()),
            ("/request/host", &behind.address),
            ("/request/url", &behind.address),
            ("/upgraded_to", "tunnel"),
        ] {
            assert_eq!(exchange.text(pointer), should, "{view}");
        }
        assert_eq!(exchange.number("/response/status"), Some(200), "{view}");
        let tunnel = &exchange.0["tunnel"];
        assert_eq!(tunnel[ways[0]], sent, "{view}");
        assert_eq!(tunnel[ways[1]], got.len(), "{view}");
    }
    let packets = Packets::of(&outcome, server);
    assert_eq!(packets.values("http2.headers.method"), ["CONNECT"]);
    let authorities = packets.values("http2.headers.authority");
    assert_eq!(authorities, [behind.address.as_str()]);
}

#[test]
fn before_and_after_a_response() {
    needs!("node", "nghttp", "openssl", "tshark");
    let _guard = lock::shared();
    let docroot = docroot();
    let b = docroot.content("b.txt");
    let certificate = Certificate::new();
    let server = h2::node_ends(&docroot, Some(&certificate));
    let expected = [Ended::well("/trailers/b.txt", &b)];
    let outcome = check(&server, &nghttp(&server, &["/trailers/b.txt"]), &expected);
    let filtered = anew(&outcome, &["--path", "/trailers/*"]);
    for outcome in [&outcome, &filtered, &anew(&filtered, &[])] {
        let exchange = &outcome.of_role("server")[0];
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let interim = fields(exchange, "/response/interim/0/headers");
        assert_eq!(exchange.number("/response/interim/0/status"), Some(103));
        assert_eq!(interim, [pair("link", "</style.css>; rel=preload")]);
        let length = b.len().to_string();
        assert_eq!(
            fields(exchange, "/response/trailers"),
            [pair("x-length", &length)]
        );
        let packets = Packets::of(outcome, &server);
        assert_eq!(packets.values("http2.headers.status"), ["103", "200"]);
        assert!(packets.values("http2.header.name").contains(&"x-length"));
    }
    let text = Httpsniff::reader()
        .text()
        .arg("-v")
        .arg("-r")
        .arg(outcome.pcapng());
    let text = text.finish().success().text();
    for line in ["103", "link: </style.css>; rel=preload", "x-length: 30000"] {
        assert!(text.contains(line), "{line}: {text}");
    }
}
