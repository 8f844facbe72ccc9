//! What lasts is seen while it lasts: the events of a stream and the messages
//! of a gRPC call are in the output before the next one is sent.

use std::iter;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::http2::{both, needs_module};
use crate::support::files::Certificate;
use crate::support::httpsniff::{Httpsniff, Running};
use crate::support::lock;
use crate::support::process::{Process, eventually};
use crate::support::servers::{PYTHON, program};
use crate::support::skip::needs;

fn python(name: &str, arguments: &[&str]) -> Process {
    Process::spawn(
        Command::new(PYTHON)
            .arg(program(name))
            .args(arguments)
            .env("PYTHONIOENCODING", "utf-8"),
    )
}

/// Waits until the output has this.
fn seen(running: &Running, file: &str, wanted: &str) {
    let path = running.folder().join(file);
    eventually(wanted, || {
        std::fs::read_to_string(&path).is_ok_and(|text| text.contains(wanted))
    });
}

fn lines(folder: &Path, kind: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("out.json")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.filter(|line: &Value| line["kind"] == kind).collect()
}

#[test]
fn events_are_shown_as_they_come() {
    needs!("curl");
    let _guard = lock::shared();
    let mut server = python("events.py", &[]);
    let port = server.line();
    let pid = server.pid().to_string();
    let text = Httpsniff::new().text().args(["-v", "--pid", &pid]).start();
    let json = Httpsniff::new().json().args(["--pid", &pid]).start();
    let url = format!("http://127.0.0.1:{port}/events");
    let mut client = Process::spawn(Command::new("curl").args(["-sN", &url]));
    for (number, data) in ["one", "two", "drei: ü"].into_iter().enumerate() {
        server.send(data);
        assert_eq!(client.line_with("data"), format!("data: {data}"));
        seen(&text, "out.txt", &format!("tick: {data}\n"));
        let number = number + 1;
        let line = format!("\"event\":\"tick\",\"event_id\":\"{number}\",\"text\":\"{data}\"}}");
        seen(&json, "out.json", &line);
    }
    // After a second the exchange itself, while it goes on.
    seen(&text, "out.txt", "… #1.1\n");
    server.finish();
    let text = text.join().success().text();
    let result = text
        .lines()
        .find(|line| line.contains(" 3 events"))
        .unwrap();
    assert!(
        result.contains("#1.1") && result.contains("/events "),
        "{text}"
    );
    let outcome = json.join().success();
    assert_eq!(lines(outcome.folder(), "message").len(), 3);
    let exchange = &lines(outcome.folder(), "exchange")[0];
    let body = exchange["response"]["body"]["text"].as_str().unwrap();
    assert!(body.ends_with("id: 3\ndata: drei: ü\n\n"), "{body}");
}

#[test]
fn calls_are_told_with_their_messages_and_status() {
    needs!("openssl");
    needs_module!("grpc");
    both(calls);
}

fn calls(certificate: Option<&Certificate>) {
    let name = |path: PathBuf| path.into_os_string().into_string().unwrap();
    let authority = certificate.map(|certificate| name(certificate.path()));
    let key = certificate.map(|certificate| name(certificate.key()));
    let files = authority.iter().chain(&key).map(String::as_str);
    let arguments: Vec<_> = iter::once("server").chain(files).collect();
    let mut server = python("grpc_calls.py", &arguments);
    let port = server.line();
    let pid = server.pid().to_string();
    let text = Httpsniff::new().text().args(["-vv", "--pid", &pid]).start();
    let json = Httpsniff::new().json().args(["--pid", &pid]).start();
    let files = authority.iter().map(String::as_str);
    let arguments: Vec<_> = ["client", &port].into_iter().chain(files).collect();
    let mut client = python("grpc_calls.py", &arguments);
    for data in ["one", "three"] {
        client.send(data);
        assert_eq!(client.line(), data);
        for arrow in ["↓", "↑"] {
            let size = data.len();
            let line = format!("{arrow} grpc   #1.1       {size} B  shop.Stock/Find\n");
            seen(&text, "out.txt", &line);
        }
    }
    client.send("fail");
    assert_eq!(client.line(), "NOT_FOUND");
    client.finish();
    seen(&text, "out.txt", "* gRPC ");
    server.finish();
    let text = text.join().success().text();
    // The server ends the call before its request has ended.
    let result = "gRPC NOT_FOUND ↑ 2 ↓ 3  closed\n";
    assert!(text.contains(result), "{text}");
    let call = "* gRPC shop.Stock/Find, 2 messages sent (8 B), 3 messages received (12 B); \
                status 5 NOT_FOUND: no such thing: é\n";
    assert!(text.contains(call), "{text}");
    assert_eq!(
        text.matches("|three|").count(),
        2,
        "each message once: {text}"
    );
    let outcome = json.join().success();
    assert!(lines(outcome.folder(), "message").is_empty());
    let exchange = &lines(outcome.folder(), "exchange")[0];
    assert_eq!(
        exchange["grpc"],
        serde_json::json!({"service": "shop.Stock", "method": "Find", "status": 5,
            "status_name": "NOT_FOUND", "message": "no such thing: é"})
    );
    let sizes = |message: &str| -> Vec<_> {
        let messages = exchange[message]["body"]["messages"].as_array().unwrap();
        messages
            .iter()
            .map(|m| m["size"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(sizes("request"), [3, 5, 4]);
    assert_eq!(sizes("response"), [3, 5]);
}
