//! WebSockets over HTTP/2 (RFC 8441): HAProxy takes them of a client in
//! HTTP/1.1 and passes them on as streams, to nghttpx, which passes them on in
//! HTTP/1.1, or to Hypercorn, which answers them. The messages of the streams
//! equal those that the endpoints have logged.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::files::{Certificate, folder};
use crate::support::h2::nghttpx_of;
use crate::support::httpsniff::{Httpsniff, Outcome};
use crate::support::lock;
use crate::support::process::{Process, eventually};
use crate::support::servers::{PYTHON, Server, free_port, program};
use crate::support::skip::{find, needs, skipped};
use crate::support::tshark;
use crate::websocket::{Peer, assert_in_order, client, compare_messages, missing, serve, shown};

const HYPERCORN: &str = "/usr/lib/python3/dist-packages/hypercorn";

/// HAProxy before an HTTP/2 server.
fn haproxy(before: &Server, here: &Path) -> (Process, u16) {
    let port = free_port();
    let how = match before.scheme {
        "https" => "ssl verify none alpn h2",
        _ => "proto h2",
    };
    let config = here.join("haproxy.cfg");
    // nghttpx has a key of its own, and servers do not want two.
    let text = format!(
        "defaults
  mode http
  timeout connect 100s
  timeout client 100s
  timeout server 100s
listen front
  bind 127.0.0.1:{port}
  http-request del-header Sec-WebSocket-Key
  server behind 127.0.0.1:{} {how} ws h2
",
        before.port()
    );
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new(find("haproxy").unwrap());
    let mut process = Process::spawn(command.arg("-db").arg("-f").arg(config));
    eventually("haproxy accepts", || {
        if !process.is_running() {
            process.line();
        }
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    (process, port)
}

/// The exchange over HTTP/2 of a role, and its messages.
fn of_role(outcome: &Outcome, role: &str) -> (Value, Vec<Value>) {
    let mut exchanges = outcome.of_role(role);
    exchanges.retain(|exchange| exchange.text("/protocol") == "HTTP/2");
    assert_eq!(exchanges.len(), 1, "{role}: {}", outcome.stderr);
    let exchange = exchanges.remove(0).0;
    let mut messages = shown(outcome);
    messages.retain(|message| message["id"] == exchange["id"]);
    (exchange, messages)
}

/// Both ends of the stream are as the ends of the WebSocket say.
fn compare(
    outcome: &Outcome,
    server: &Server,
    mode: &str,
    logs: [&Path; 2],
    host: &str,
    live: bool,
) {
    for (role, log) in ["client", "server"].into_iter().zip(logs) {
        let (exchange, messages) = of_role(outcome, role);
        let request = &exchange["request"];
        assert_eq!(exchange["stream"], 1, "{role}");
        assert_eq!(exchange["response"]["status"], 200, "{role}");
        assert_eq!(request["method"], "CONNECT", "{role}");
        assert_eq!(request["target"], "/chat", "{role}");
        assert_eq!(request["host"], host, "{role}");
        let scheme = request["scheme"].as_str().unwrap();
        assert_eq!(request["url"], format!("{scheme}://{host}/chat"), "{role}");
        let protocol = serde_json::json!([":protocol", "websocket"]);
        assert!(
            request["headers"].as_array().unwrap().contains(&protocol),
            "{role}"
        );
        // nghttpx and Hypercorn do not wait for the client's end.
        assert!(
            exchange["state"] == "complete" || exchange["state"] == "closed",
            "{role}"
        );
        let view = format!("{role} of {}", server.address);
        compare_messages(&view, &exchange, &messages, log, mode);
        if live {
            assert_in_order(&view, &messages);
        }
    }
}

/// A client, HAProxy, a server of HTTP/2, and what may be behind that.
fn check(server: &Server, of_client: Peer, mode: &str, server_log: &Path) {
    let here = folder();
    let (haproxy, port) = haproxy(server, here.path());
    let host = format!("127.0.0.1:{port}");
    let client_log = here.path().join("client.log");
    let url = format!("ws://{host}/chat");
    let pids = format!("{},{}", haproxy.pid(), server.pid());
    let watch = Httpsniff::new()
        .json()
        .pcapng()
        .args(["--max-body", "4MiB", "--path", "/chat", "--pid", &pids])
        .start();
    let mut command = client(of_client, mode, &client_log, &url, None);
    Process::spawn(command.env("SMALL", "100")).finish();
    let outcome = watch.stop().success();
    let logs = [client_log.as_path(), server_log];
    compare(&outcome, server, mode, logs, &host, true);

    let read = || {
        Httpsniff::reader()
            .args(["--max-body", "4MiB", "-r"])
            .arg(outcome.pcapng())
    };
    let again = read().json().finish().success();
    // Each direction has the times of its sender there.
    compare(&again, server, mode, logs, &host, false);
    let text = read().text().finish().success().text();
    let (exchange, messages) = of_role(&again, "client");
    let url = exchange["request"]["url"].as_str().unwrap();
    let begun = format!("CONNECT {url} ");
    assert_eq!(
        text.matches(&begun).count(),
        4,
        "begun and ended, of both ends: {text}"
    );
    for message in &messages {
        let way = if message["direction"] == "send" {
            '↑'
        } else {
            '↓'
        };
        let (kind, id) = (
            message["type"].as_str().unwrap(),
            exchange["id"].as_str().unwrap(),
        );
        let found = text.lines().find(|line| {
            line.contains(&format!("{way} {kind} ")) && line.contains(&format!("#{id} "))
        });
        assert!(found.is_some(), "{way} {kind} #{id} in {text}");
    }

    let option = format!("tcp.port=={},http", server.port());
    let opcodes = tshark::decoded(
        &outcome.pcapng(),
        &option,
        "websocket",
        &["websocket.opcode"],
    );
    let of = |opcode: &str| {
        let all = opcodes.iter().flat_map(|fields| fields[0].split(','));
        all.filter(|o| *o == opcode).count()
    };
    let kinds = |kind: &str| messages.iter().filter(|m| m["type"] == kind).count();
    // Each is twice in the file where HAProxy and nghttpx speak HTTP/1.1 too.
    assert!(of("8") >= kinds("close") && of("8").is_multiple_of(kinds("close")));
    assert!(of("1") >= kinds("text"), "{} of {}", of("1"), kinds("text"));
}

fn before_nghttpx(of_server: Peer, of_client: Peer, mode: &str, tls: bool) {
    let here = folder();
    let certificate = tls.then(Certificate::new);
    let (process, url, log) = serve(of_server, mode, here.path(), None);
    let address = url.trim_start_matches("ws://").trim_end_matches("/chat");
    let behind = Server::of(process, address.to_owned(), "http", folder());
    let server = nghttpx_of(&behind, "http/1.1", certificate.as_ref(), &[]);
    check(&server, of_client, mode, &log);
}

#[test]
fn haproxy_and_nghttpx() {
    needs!("haproxy", "nghttpx", "node", "openssl", "tshark");
    if let Some(path) = missing() {
        return skipped(
            "haproxy_and_nghttpx",
            &format!("there is no {path} (scripts/setup.sh test)"),
        );
    }
    let _guard = lock::shared();
    before_nghttpx(Peer::Node, Peer::Python, "takeover", false);
    before_nghttpx(Peer::Python, Peer::Node, "plain", true);
}

#[test]
fn haproxy_and_hypercorn() {
    needs!("haproxy", "node", "openssl", "tshark");
    if let Some(path) = missing().or_else(|| (!Path::new(HYPERCORN).exists()).then_some(HYPERCORN))
    {
        return skipped(
            "haproxy_and_hypercorn",
            &format!("there is no {path} (scripts/setup.sh test)"),
        );
    }
    let _guard = lock::shared();
    let here = folder();
    let certificate = Certificate::new();
    let log = here.path().join("server.log");
    let mut command = Command::new(PYTHON);
    command.arg(program("websocket_asgi.py")).arg(&log);
    command.arg(certificate.path()).arg(certificate.key());
    let mut process = Process::spawn(&mut command);
    let address = format!("127.0.0.1:{}", process.line());
    let server = Server::of(process, address, "https", folder());
    check(&server, Peer::Python, "plain", &log);
}
