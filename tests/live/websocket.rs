//! WebSockets of Python's websockets and node's ws, each as server and as
//! client, in clear and inside TLS, compressed in each way: the messages equal
//! those that the endpoints have logged, to the last byte and in order.

use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::support::files::{Certificate, folder};
use crate::support::httpsniff::{Httpsniff, Outcome};
use crate::support::lock;
use crate::support::process::Process;
use crate::support::servers::{PYTHON, program};
use crate::support::skip::{needs, skipped};

/// Where Debian keeps node's modules.
const NODE_PATH: &str = "/usr/share/nodejs";

#[derive(Clone, Copy, Debug)]
pub(crate) enum Peer {
    Python,
    Node,
}

impl Peer {
    fn command(self) -> Command {
        match self {
            Self::Python => {
                let mut command = Command::new(PYTHON);
                command.arg(program("websocket.py"));
                command
            }
            Self::Node => {
                let mut command = Command::new("node");
                command.arg(program("websocket.js"));
                command.env("NODE_PATH", NODE_PATH);
                command
            }
        }
    }
}

pub(crate) fn missing() -> Option<&'static str> {
    [
        "/usr/lib/python3/dist-packages/websockets",
        "/usr/share/nodejs/ws",
    ]
    .into_iter()
    .find(|path| !Path::new(path).exists())
}

pub(crate) fn parse(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The messages that were shown.
pub(crate) fn shown(outcome: &Outcome) -> Vec<Value> {
    let text = std::fs::read_to_string(outcome.folder().join("out.json")).unwrap();
    let mut all = parse(&text);
    all.retain(|line| line["kind"] == "message");
    all
}

/// Direction, type and content, for comparison.
pub(crate) fn key(message: &Value) -> (String, String, Vec<u8>) {
    let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
    let close = |code: &Value, reason: &Value| format!("{code} {reason}").into_bytes();
    let content = match message["text"].as_str() {
        _ if text("type") == "close" && message.get("code").is_some() => {
            close(&message["code"], &message["reason"])
        }
        _ if text("type") == "close" => close(&message["close_code"], &message["close_reason"]),
        Some(text) => text.as_bytes().to_vec(),
        None => STANDARD.decode(text("base64")).unwrap(),
    };
    (text("direction"), text("type"), content)
}

/// Compares what was shown of a process with its own log.
fn compare(view: &str, outcome: &Outcome, log: &Path, mode: &str) {
    let exchanges = outcome.exchanges();
    assert_eq!(exchanges.len(), 1, "{view}");
    let exchange = &exchanges[0].0;
    assert_eq!(exchange["id"], "1.1", "{view}");
    assert_eq!(exchange["response"]["status"], 101);
    let shown = shown(outcome);
    compare_messages(view, exchange, &shown, log, mode);
    assert_in_order(view, &shown);
    // Python sends an empty frame at its end.
    let parts = |m: &&Value| m["fragments"].as_u64() > Some(2);
    let parted = shown.iter().filter(parts).count();
    assert_eq!(parted, 1, "{view}: the message in three parts");
}

/// Each has the time of its end, and none is earlier than the one before it.
pub(crate) fn assert_in_order(view: &str, shown: &[Value]) {
    for pair in shown.windows(2) {
        let [before, after] = [&pair[0], &pair[1]].map(|message| message["ts"].as_str());
        assert!(before <= after, "{view}: {} {}", pair[0], pair[1]);
    }
}

/// Compares the messages of an exchange with an endpoint's log.
pub(crate) fn compare_messages(
    view: &str,
    exchange: &Value,
    shown: &[Value],
    log: &Path,
    mode: &str,
) {
    let logged = parse(&std::fs::read_to_string(log).unwrap());
    for (at, message) in shown.iter().enumerate() {
        assert_eq!(message["schema"], 1);
        assert_eq!(message["id"], exchange["id"]);
        assert_eq!(message["message"], at as u64 + 1);
        assert_eq!(message["state"], "complete", "{view}");
        let control = !matches!(message["type"].as_str(), Some("text" | "binary"));
        assert_eq!(message["compressed"], mode != "plain" && !control, "{view}");
        let size = key(message).2.len() as u64;
        assert!(
            message["type"] == "close" || message["size"] == size,
            "{view}"
        );
    }
    for direction in ["send", "receive"] {
        let of = |list: &[Value], data: bool| -> Vec<_> {
            list.iter()
                .map(key)
                .filter(|(way, kind, _)| {
                    way == direction && (kind == "text" || kind == "binary") == data
                })
                .collect()
        };
        let (is, should) = (of(shown, true), of(&logged, true));
        let same = is.iter().zip(&should).take_while(|(a, b)| a == b).count();
        assert!(
            is == should,
            "{view}, {direction}: {} messages and {} logged, the first {same} are equal",
            is.len(),
            should.len()
        );
        // The libraries answer pings and closes without telling.
        let is = of(shown, false);
        for message in of(&logged, false) {
            assert!(
                is.contains(&message),
                "{view}: {message:?} is not in {is:?}"
            );
        }
        let closes = is.iter().filter(|(_, kind, _)| kind == "close").count();
        assert_eq!(closes, 1, "{view}, {direction}");
    }
    // Each ping has its pong, the other way.
    for (way, kind, content) in shown.iter().map(key).filter(|m| m.1 == "ping") {
        let back = if way == "send" { "receive" } else { "send" };
        let pong = (back.to_owned(), "pong".to_owned(), content);
        assert!(
            shown.iter().any(|m| key(m) == pong),
            "{view}: {kind} {pong:?}"
        );
    }
    assert_eq!(exchange["upgraded_to"], "websocket");
    assert_eq!(exchange["lost_bytes"], 0);
    let count = |direction: &str| {
        let of = shown.iter().filter(|m| m["direction"] == direction);
        of.count() as u64
    };
    assert_eq!(exchange["messages"]["sent"], count("send"));
    assert_eq!(exchange["messages"]["received"], count("receive"));
}

/// A server that is ready, its URL, and its log.
pub(crate) fn serve(
    peer: Peer,
    mode: &str,
    here: &Path,
    tls: Option<&Certificate>,
) -> (Process, String, PathBuf) {
    let log = here.join("server.log");
    let mut command = peer.command();
    command.args(["server", mode]).arg(&log);
    if let Some(tls) = tls {
        command.arg(tls.path()).arg(tls.key());
    }
    let mut server = Process::spawn(&mut command);
    let port = server.line();
    let url = match tls {
        Some(_) => format!("wss://localhost:{port}/chat"),
        None => format!("ws://127.0.0.1:{port}/chat"),
    };
    (server, url, log)
}

pub(crate) fn client(
    peer: Peer,
    mode: &str,
    log: &Path,
    url: &str,
    tls: Option<&Certificate>,
) -> Command {
    let mut command = peer.command();
    command.args(["client", mode]).arg(log).arg(url);
    if let Some(tls) = tls {
        command.arg(tls.path());
    }
    command
}

/// Both ends watched, each by a httpsniff of its own; the server's is written
/// as pcapng too and read again.
fn check(server: Peer, of_client: Peer, mode: &str, tls: bool) {
    let here = folder();
    let certificate = tls.then(Certificate::new);
    let (process, url, server_log) = serve(server, mode, here.path(), certificate.as_ref());
    let client_log = here.path().join("client.log");
    let command = client(of_client, mode, &client_log, &url, certificate.as_ref());
    let server_view = Httpsniff::new()
        .json()
        .pcapng()
        .args(["--max-body", "4MiB", "--pid", &process.pid().to_string()])
        .start();
    let client_view = Httpsniff::new()
        .json()
        .args(["--max-body", "4MiB"])
        .run(&command)
        .success();
    // It ends with its only connection.
    process.finish();
    let server_view = server_view.join().success();
    compare("client's view", &client_view, &client_log, mode);
    compare("server's view", &server_view, &server_log, mode);
    let again = Httpsniff::reader()
        .json()
        .args(["--max-body", "4MiB", "-r"])
        .arg(server_view.pcapng())
        .finish()
        .success();
    compare("the file", &again, &server_log, mode);
    assert!(
        shown(&again) == shown(&server_view),
        "the file gives other lines"
    );
}

macro_rules! tests {
    ($($name:ident: $server:ident $client:ident $mode:literal $tls:literal;)*) => { $(
        #[test]
        fn $name() {
            needs!("node", "openssl");
            if let Some(path) = missing() {
                return skipped(stringify!($name), &format!("there is no {path} (scripts/setup.sh test)"));
            }
            let _guard = lock::shared();
            check(Peer::$server, Peer::$client, $mode, $tls);
        }
    )* };
}

tests! {
    python_to_node: Node Python "plain" false;
    node_to_python: Python Node "plain" false;
    python_to_node_deflate: Node Python "takeover" false;
    node_to_python_deflate: Python Node "takeover" false;
    python_to_node_alone: Node Python "alone" false;
    node_to_python_alone: Python Node "alone" false;
    python_to_python_tls: Python Python "plain" true;
    node_to_node_tls: Node Node "plain" true;
    python_to_node_tls_deflate: Node Python "takeover" true;
    node_to_python_tls_deflate: Python Node "takeover" true;
    node_to_node_tls_alone: Node Node "alone" true;
}
