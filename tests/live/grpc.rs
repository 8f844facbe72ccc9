//! gRPC by three stacks, each as server and as client, in clear and inside TLS:
//! the messages of every kind of call, and how it ended. And gRPC-Web.

use std::io::Read as _;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::http2::{both, needs_module};
use crate::support::exchange::{Exchange, Expected, short};
use crate::support::files::{Certificate, folder};
use crate::support::golang;
use crate::support::h2::{assert_http2, fields};
use crate::support::httpsniff::Httpsniff;
use crate::support::process::Process;
use crate::support::rust;
use crate::support::rust::needs_peers;
use crate::support::servers::{PYTHON, Server, program};
use crate::support::skip::{needs, skipped, too_old};
use crate::views::check;

/// A program that speaks gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stack {
    /// grpcio, C++ under Python, on the system's OpenSSL as Debian has it.
    Grpcio,
    /// tonic, on hyper and rustls.
    Tonic,
    /// Go's grpc, on crypto/tls and an HTTP/2 of its own.
    Go,
}

impl Stack {
    fn command(self) -> Command {
        match self {
            Self::Grpcio => {
                let mut command = Command::new(PYTHON);
                command.arg(program("h2_grpc.py"));
                command
            }
            Self::Tonic => Command::new(rust::path("release/grpc_tonic")),
            Self::Go => Command::new(rust::path("grpc_go")),
        }
    }

    fn serve(self, certificate: Option<&Certificate>) -> Server {
        let mut command = self.command();
        started(command.arg("serve"), certificate)
    }

    fn call(self, mode: &str, server: &Server, certificate: Option<&Certificate>) -> Command {
        let mut command = self.command();
        command.arg(mode);
        if let Some(certificate) = certificate {
            command.arg("--cafile").arg(certificate.path());
        }
        command.arg(&server.address);
        command
    }

    /// Where its bytes are read.
    fn source(self, certificate: Option<&Certificate>) -> &'static str {
        match self {
            _ if certificate.is_none() => "tcp",
            Self::Grpcio => "openssl",
            Self::Tonic => "rustls",
            Self::Go => "go",
        }
    }
}

/// A server that is told certificate and key, and prints its port.
fn started(command: &mut Command, certificate: Option<&Certificate>) -> Server {
    if let Some(certificate) = certificate {
        command.arg(certificate.path()).arg(certificate.key());
    }
    let mut process = Process::spawn(command);
    let address = format!("127.0.0.1:{}", process.line());
    let scheme = certificate.map_or("http", |_| "https");
    Server::of(process, address, scheme, folder())
}

/// A call as the programs make it.
struct Call {
    method: &'static str,
    requests: Vec<Vec<u8>>,
    responses: Vec<Vec<u8>>,
}

/// What is called, and what for an answer (`programs/h2_grpc.py`).
fn calls() -> Vec<Call> {
    let call = |method, requests: &[&[u8]], responses: &[&[u8]]| Call {
        method,
        requests: requests.iter().map(|message| message.to_vec()).collect(),
        responses: responses.iter().map(|message| message.to_vec()).collect(),
    };
    let (large, long) = (vec![b'u'; 100_000], vec![b'b'; 20_000]);
    let parts = [&[b'a'; 10][..], &long, b""];
    vec![
        call("Unary", &[&large], &[&large]),
        call("Down", &[&[0, 1, 200]], &[b"", b"d", &[b'd'; 200]]),
        call("Up", &parts, &[&parts.concat()]),
        call("Both", &parts, &parts),
        call("Fail", &[b"x"], &[]),
    ]
}

/// Messages as they are on the wire.
fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        bytes.push(0);
        bytes.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        bytes.extend(message);
    }
    bytes
}

/// `messages` of a body that has these.
fn listed(messages: &[Vec<u8>]) -> Value {
    let sizes = messages.iter().map(Vec::len);
    sizes
        .map(|size| json!({"size": size, "compressed": false, "state": "complete"}))
        .collect()
}

/// Calls of each kind, both ends watched: messages, their sizes, and the end.
fn talk(server: Stack, client: Stack, certificate: Option<&Certificate>) {
    let of = server.serve(certificate);
    let calls = calls();
    let expected: Vec<_> = calls
        .iter()
        .map(|call| Expected {
            method: "POST".to_owned(),
            target: format!("/httpsniff.Test/{}", call.method),
            status: 200,
            request_body: framed(&call.requests),
            response_body: framed(&call.responses),
        })
        .collect();
    let command = client.call("call", &of, certificate);
    let (of_client, of_server) = check(&of, &command, &expected, &[]);
    for (role, outcome, stack) in [("client", of_client, client), ("server", of_server, server)] {
        let exchanges = outcome.of_role(role);
        assert_http2(role, &exchanges, &of);
        for exchange in &exchanges {
            let view = format!("{stack:?}'s view as {role}: {}", short(exchange));
            assert_eq!(
                exchange.text("/source"),
                stack.source(certificate),
                "{view}"
            );
            let method = exchange.target().rsplit('/').next().unwrap();
            let call = calls.iter().find(|call| call.method == method).unwrap();
            for (of, messages) in [("request", &call.requests), ("response", &call.responses)] {
                let body = &exchange.0[of]["body"];
                // A response that is trailers only has no body to count in.
                if messages.is_empty() && body["messages"].is_null() {
                    continue;
                }
                assert_eq!(body["messages"], listed(messages), "{view}");
                assert!(body["message_count"].is_null(), "{view}");
            }
            assert_ended(&view, exchange, method);
        }
    }
}

/// The end of a call, in `grpc` and in the fields of the wire.
fn assert_ended(view: &str, exchange: &Exchange, method: &str) {
    let (place, status, name, message) = match method {
        // A call that fails at once has its end as its head.
        "Fail" => ("headers", 5, "NOT_FOUND", Some("not here: 50% é")),
        _ => ("trailers", 0, "OK", None),
    };
    let fields = fields(exchange, &format!("/response/{place}"));
    let get = |name: &str| fields.iter().find(|(n, _)| n == name).map(|(_, v)| &v[..]);
    assert_eq!(get("grpc-status"), Some(&*status.to_string()), "{view}");
    let mut should = json!({"service": "httpsniff.Test", "method": method, "status": status,
        "status_name": name});
    let encoded = get("grpc-message");
    if let Some(message) = message {
        // On the wire it is ASCII; what else than it must be is encoded differs.
        let encoded = encoded.unwrap();
        assert!(encoded.ends_with("50%25%20%C3%A9") || encoded.ends_with("50%25 %C3%A9"));
        should["message"] = json!(message);
    } else if encoded.is_some() {
        should["message"] = json!("");
    }
    assert_eq!(exchange.0["grpc"], should, "{view}");
}

/// Whether gRPC of Go was built; if not the test has been reported.
fn has_go(test: &str) -> bool {
    if rust::path("grpc_go").exists() {
        return true;
    }
    match golang::minor() {
        // Debian 12's is.
        Some(minor) if minor < 22 => too_old(test, "grpc-go wants Go 1.22"),
        _ => skipped(test, "target/peers/grpc_go is not built (scripts/peers.sh)"),
    }
    false
}

/// A test of a server and a client.
macro_rules! pairs {
    ($($name:ident: $server:ident $client:ident),* $(,)?) => { $(
        #[test]
        fn $name() {
            needs_peers!("openssl");
            needs_module!("grpc");
            if [Stack::$server, Stack::$client].contains(&Stack::Go) && !has_go(stringify!($name)) {
                return;
            }
            both(|certificate| talk(Stack::$server, Stack::$client, certificate));
        }
    )* };
}

pairs! {
    tonic_and_grpcio: Tonic Grpcio,
    grpcio_and_go: Grpcio Go,
    go_and_tonic: Go Tonic,
}

/// Messages that are compressed are marked, and have the size of the wire.
#[test]
fn compressed_messages() {
    needs_peers!("openssl");
    needs_module!("grpc");
    both(|certificate| {
        let server = Stack::Grpcio.serve(certificate);
        let client = Stack::Grpcio.call("gzip", &server, certificate);
        let of_server = Httpsniff::new()
            .json()
            .args(["--pid", &server.pid().to_string()])
            .start();
        let of_client = Httpsniff::new().json().run(&client);
        let of_server = of_server.stop().success();
        let seen = of_client.success().of_role("client");
        let served = of_server.of_role("server");
        assert_eq!((seen.len(), served.len()), (1, 1));
        for exchange in seen.iter().chain(&served) {
            for of in ["request", "response"] {
                let body = exchange.body(of).unwrap();
                let (messages, is) = unpacked(&body);
                let should = [vec![b'a'; 10], vec![b'b'; 20_000], Vec::new()];
                assert_eq!(messages, should, "{}", short(exchange));
                assert_eq!(
                    exchange.0[of]["body"]["messages"],
                    is,
                    "{}",
                    short(exchange)
                );
                // grpcio leaves alone what compression makes longer.
                assert_eq!(is[1]["compressed"], true, "{is}");
            }
        }
        assert_eq!(seen[0].body("request"), served[0].body("request"));
        assert_eq!(seen[0].body("response"), served[0].body("response"));
    });
}

/// The messages of a body, decompressed, and what `messages` must say of them.
fn unpacked(mut body: &[u8]) -> (Vec<Vec<u8>>, Value) {
    let (mut messages, mut listed) = (Vec::new(), Vec::new());
    while let Some((prefix, rest)) = body.split_first_chunk::<5>() {
        let size = u32::from_be_bytes(prefix[1..].try_into().unwrap());
        let (message, rest) = rest.split_at(size as usize);
        let mut plain = Vec::new();
        match prefix[0] {
            0 => plain.extend(message),
            _ => {
                _ = flate2::read::GzDecoder::new(message)
                    .read_to_end(&mut plain)
                    .unwrap()
            }
        }
        messages.push(plain);
        listed.push(json!({"size": size, "compressed": prefix[0] == 1, "state": "complete"}));
        body = rest;
    }
    assert!(body.is_empty());
    (messages, listed.into())
}

/// What a connection had before httpsniff came is not known of its calls; what
/// they carry is, and it is not taken for something else.
#[test]
fn a_join_in_the_middle() {
    needs!("openssl");
    needs_module!("grpc");
    both(|certificate| {
        let server = Stack::Grpcio.serve(certificate);
        let mut client = Process::spawn(&mut Stack::Grpcio.call("lines", &server, certificate));
        let call = |client: &mut Process, text: &str| {
            client.send(text);
            assert_eq!(client.line(), text);
        };
        call(&mut client, "before");
        let pids = format!("{},{}", client.pid(), server.pid());
        let watch = Httpsniff::new().json().args(["--pid", &pids]).start();
        let lines = ["first", "", "third of them"];
        for line in lines {
            call(&mut client, line);
        }
        client.finish();
        let outcome = watch.stop().success();
        for role in ["client", "server"] {
            let exchanges = outcome.of_role(role);
            assert_eq!(exchanges.len(), lines.len(), "{}", outcome.stderr);
            for (exchange, line) in exchanges.iter().zip(lines) {
                let view = format!("{role}: {}", short(exchange));
                assert_eq!(exchange.text("/state"), "complete", "{view}");
                for of in ["request", "response"] {
                    let should = framed(&[line.as_bytes().to_vec()]);
                    assert_eq!(exchange.body(of), Some(should), "{view}");
                }
                let target = exchange.target();
                let known = ["<unknown>", "/httpsniff.Test/Unary"].contains(&target);
                assert!(known, "{view}");
                let grpc = &exchange.0["grpc"];
                assert!(
                    grpc.is_null() || grpc["service"] == "httpsniff.Test",
                    "{view}"
                );
            }
        }
    });
}

/// A body of gRPC-Web: frames with their flags, in base64 each if it is text.
fn web(frames: &[(u8, &[u8])], as_text: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (flags, content) in frames {
        let mut frame = framed(&[content.to_vec()]);
        frame[0] = *flags;
        if as_text {
            frame = STANDARD.encode(frame).into_bytes();
        }
        bytes.extend(frame);
    }
    bytes
}

/// gRPC-Web in both versions of HTTP: messages as bytes and as text, and the end
/// from the frame of trailers.
#[test]
fn in_browsers() {
    needs!("node", "openssl");
    needs_module!("httpx");
    let long = vec![b'm'; 20_000];
    let messages: [(u8, &[u8]); 3] = [(0, b""), (0, b"hello"), (0, &long)];
    let ended: &[u8] = b"grpc-status:0\r\ngrpc-message:\r\n";
    let failed: &[u8] = b"grpc-status: 5\r\ngrpc-message: not here: 50%25 %C3%A9\r\n";
    let mut expected = Vec::new();
    for as_text in [false, true] {
        let echoed = [&messages[..], &[(0x80, ended)]].concat();
        for (method, answer) in [("Echo", &echoed[..]), ("Fail", &[(0x80, failed)])] {
            let text = if as_text { "Text" } else { "" };
            expected.push(Expected {
                method: "POST".to_owned(),
                target: format!("/httpsniff.Web/{method}{text}"),
                status: 200,
                request_body: web(&messages, as_text),
                response_body: web(answer, as_text),
            });
        }
    }
    both(|certificate| {
        for version in ["1", "2"] {
            let mut serve = Command::new("node");
            serve.arg(program("grpc_web.js")).arg(version);
            let mut call = Command::new(PYTHON);
            call.arg(program("grpc_web.py")).arg(version);
            let server = started(&mut serve, certificate);
            call.arg(server.url());
            call.args(certificate.map(Certificate::path));
            let (of_client, of_server) = check(&server, &call, &expected, &[]);
            for exchanges in [of_client.of_role("client"), of_server.of_role("server")] {
                for exchange in &exchanges {
                    assert_web(exchange, version);
                }
            }
        }
    });
}

/// What is counted and said of a call of `grpc_web.py`.
fn assert_web(exchange: &Exchange, version: &str) {
    let view = short(exchange);
    let protocol = if version == "2" { "HTTP/2" } else { "HTTP/1.1" };
    assert_eq!(exchange.text("/protocol"), protocol, "{view}");
    let method = exchange.target().rsplit('/').next().unwrap();
    let sizes = [0, 5, 20_000].map(|size| vec![0; size]);
    let body = &exchange.0["request"]["body"];
    assert_eq!(body["messages"], listed(&sizes), "{view}");
    assert!(body["trailers"].is_null(), "{view}");
    let (answers, status, name, message, encoded) = if method.starts_with("Echo") {
        (&sizes[..], 0, "OK", "", "")
    } else {
        let encoded = "not here: 50%25 %C3%A9";
        (&[][..], 5, "NOT_FOUND", "not here: 50% é", encoded)
    };
    let body = &exchange.0["response"]["body"];
    assert_eq!(body["messages"], listed(answers), "{view}");
    let trailers = json!([
        ["grpc-status", status.to_string()],
        ["grpc-message", encoded]
    ]);
    assert_eq!(body["trailers"], trailers, "{view}");
    let should = json!({"service": "httpsniff.Web", "method": method, "status": status,
        "status_name": name, "message": message});
    assert_eq!(exchange.0["grpc"], should, "{view}");
}
