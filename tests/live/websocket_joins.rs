//! httpsniff comes when a WebSocket is there already: what it shows from then on
//! is right, by what the endpoints have logged, and next to nothing is missing.

use std::path::Path;

use serde_json::Value;

use crate::support::files::{Certificate, folder};
use crate::support::httpsniff::{Httpsniff, Outcome};
use crate::support::lock;
use crate::support::skip::{needs, skipped};
use crate::websocket::{Peer, assert_in_order, client, key, missing, parse, serve, shown};

/// Data messages at each end of which it can be that only the beginning is
/// shown or nothing: the one that vouches for those after it.
const MISSED: usize = 2;

/// Compares what was shown of a process with its own log from `before` lines
/// on. Gives how many messages were compressed and could not be read.
fn compare(view: &str, outcome: &Outcome, log: &Path, before: usize, role: &str) -> usize {
    let exchanges = outcome.exchanges();
    assert_eq!(exchanges.len(), 1, "{view}: {}", outcome.stderr);
    let exchange = &exchanges[0].0;
    assert_eq!(exchange["role"], role, "{view}");
    assert_eq!(exchange["upgraded_to"], "websocket", "{view}");
    assert_eq!(exchange["state"], "complete", "{view}");
    assert!(exchange["request"].is_null() && exchange["response"].is_null());
    let notes = exchange["notes"].to_string();
    assert!(
        notes.contains("joined in mid-connection"),
        "{view}: {notes}"
    );
    let shown = shown(outcome);
    for direction in ["send", "receive"] {
        let of = shown.iter().filter(|m| m["direction"] == direction);
        let of: Vec<_> = of.cloned().collect();
        assert_in_order(view, &of);
    }
    let logged = parse(&std::fs::read_to_string(log).unwrap());
    let mut unread = 0;
    for direction in ["send", "receive"] {
        let of = |list: &[Value]| -> Vec<Value> {
            let data = |m: &&Value| m["type"] == "text" || m["type"] == "binary";
            let of = list.iter().filter(data);
            of.filter(|m| m["direction"] == direction)
                .cloned()
                .collect()
        };
        let (is, should) = (of(&shown), of(&logged[before..]));
        let missed = should.len().checked_sub(is.len());
        let missed = missed.unwrap_or_else(|| panic!("{view}, {direction}: more than there were"));
        assert!(
            missed <= MISSED,
            "{view}, {direction}: {missed} missed of {}",
            should.len()
        );
        for (is, should) in is.iter().zip(&should[missed..]) {
            let (mut found, wanted) = (is.clone(), key(should));
            if is["state"] == "undecodable" {
                unread += 1;
                assert_eq!(is["compressed"], true, "{view}: {is}");
                assert!(is["size"].is_null(), "{view}: {is}");
                // As far as it was shown.
                found["type"] = should["type"].clone();
                assert!(wanted.2.starts_with(&key(&found).2), "{view}: {is}");
            } else {
                assert_eq!(is["state"], "complete", "{view}: {is}");
                assert!(key(is) == wanted, "{view}: {is} is not {should}");
            }
        }
        let closes: Vec<_> = shown
            .iter()
            .filter(|m| m["type"] == "close" && m["direction"] == direction)
            .collect();
        assert_eq!(closes.len(), 1, "{view}, {direction}");
        assert_eq!(closes[0]["close_code"], 4001, "{view}, {direction}");
        let all = shown.iter().filter(|m| m["direction"] == direction).count();
        let counted = if direction == "send" {
            "sent"
        } else {
            "received"
        };
        assert_eq!(exchange["messages"][counted], all as u64, "{view}");
    }
    unread
}

/// Both ends are watched from the middle on.
fn check(server: Peer, of_client: Peer, mode: &str, tls: bool) {
    let here = folder();
    let certificate = tls.then(Certificate::new);
    let (process, url, server_log) = serve(server, mode, here.path(), certificate.as_ref());
    let client_log = here.path().join("client.log");
    let mut command = client(of_client, mode, &client_log, &url, certificate.as_ref());
    command.env("HOLD", "1");
    let mut client = crate::support::process::Process::spawn(&mut command);
    client.line_with("held");
    let before = |log: &Path| std::fs::read_to_string(log).unwrap().lines().count();
    let watch = |pid: u32| {
        Httpsniff::new()
            .json()
            .pcapng()
            .args(["--max-body", "4MiB", "--pid", &pid.to_string()])
            .start()
    };
    let (of_server, of_client) = (watch(process.pid()), watch(client.pid()));
    let lines = [&server_log, &client_log].map(|log| before(log));
    client.send("go");
    client.finish();
    process.finish();
    for (view, log, lines, role) in [
        (of_server, &server_log, lines[0], "server"),
        (of_client, &client_log, lines[1], "client"),
    ] {
        let outcome = view.join().success();
        let unread = compare(role, &outcome, log, lines, role);
        assert!(unread == 0 || mode == "takeover", "{role}: {unread}");
        eprintln!("{role}: {unread} messages could not be read");
    }
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
    python_to_python_deflate: Python Python "takeover" false;
    node_to_node_deflate: Node Node "takeover" false;
    node_to_python_tls: Python Node "plain" true;
    python_to_node_tls_deflate: Node Python "takeover" true;
    node_to_python_tls_deflate: Python Node "takeover" true;
    python_to_node_tls_alone: Node Python "alone" true;
}
