//! httpsniff comes when a WebSocket is there already: what it shows from then on
//! is right, by what the endpoints have logged, and next to nothing is missing.

use std::path::Path;

use serde_json::Value;

use crate::support::files::{Certificate, folder};
use crate::support::httpsniff::{Httpsniff, Outcome};
use crate::support::lock;
use crate::support::process::Process;
use crate::support::skip::{needs, skipped};
use crate::support::tshark;
use crate::websocket::{Peer, assert_in_order, client, key, missing, parse, serve, shown};

/// Data messages at each end of which it can be that only the beginning is
/// shown or nothing: the one that vouches for those after it.
const MISSED: usize = 2;

/// The exchange of an end, of which there is one, and its messages.
fn of_role(outcome: &Outcome, role: &str) -> (Value, Vec<Value>) {
    let mut exchanges = outcome.of_role(role);
    assert_eq!(exchanges.len(), 1, "{role}: {}", outcome.stderr);
    let exchange = exchanges.remove(0).0;
    let mut all = shown(outcome);
    all.retain(|message| message["id"] == exchange["id"]);
    (exchange, all)
}

/// Compares what was shown of an end with its own log from `before` lines on.
/// Gives the messages.
fn compare(view: &str, outcome: &Outcome, log: &Path, before: usize) -> Vec<Value> {
    let role = view.split(' ').next().unwrap();
    let (exchange, shown) = of_role(outcome, role);
    assert_eq!(exchange["upgraded_to"], "websocket", "{view}");
    assert_eq!(exchange["state"], "complete", "{view}");
    assert!(exchange["request"].is_null() && exchange["response"].is_null());
    let notes = exchange["notes"].to_string();
    assert!(
        notes.contains("joined in mid-connection"),
        "{view}: {notes}"
    );
    for direction in ["send", "receive"] {
        let of = shown.iter().filter(|m| m["direction"] == direction);
        let of: Vec<_> = of.cloned().collect();
        assert_in_order(view, &of);
    }
    let logged = parse(&std::fs::read_to_string(log).unwrap());
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
    shown
}

/// What tshark makes of the file: no fault in TCP, and these frames at least.
fn check_tshark(file: &Path, port: &str, least: usize) {
    let option = format!("tcp.port=={port},websocket");
    let fields = ["websocket.opcode", "tcp.analysis.flags", "_ws.malformed"];
    let columns = tshark::columns(file, &option, &fields);
    assert_eq!((columns[1].len(), columns[2].len()), (0, 0), "{columns:?}");
    let frames = columns[0].len();
    assert!(frames >= least, "{frames} frames, not {least}");
}

/// Both ends are watched from the middle on.
fn check(server: Peer, of_client: Peer, mode: &str, tls: bool) {
    let here = folder();
    let certificate = tls.then(Certificate::new);
    let (process, url, server_log) = serve(server, mode, here.path(), certificate.as_ref());
    let client_log = here.path().join("client.log");
    let mut command = client(of_client, mode, &client_log, &url, certificate.as_ref());
    // tshark bears some 500 frames in a packet.
    command.env("HOLD", "1").env("SMALL", "200");
    let mut client = Process::spawn(&mut command);
    client.line_with("held");
    let pids = format!("{},{}", process.pid(), client.pid());
    let watch = Httpsniff::new().json().pcapng();
    let watch = watch.args(["--max-body", "4MiB", "--pid", &pids]).start();
    let lines = |log: &Path| std::fs::read_to_string(log).unwrap().lines().count();
    let views = [("server", &server_log), ("client", &client_log)];
    let views = views.map(|(role, log)| (role, log, lines(log)));
    client.send("go");
    client.finish();
    process.finish();
    let outcome = watch.join().success();
    let again = Httpsniff::reader()
        .json()
        .args(["--max-body", "4MiB", "-r"])
        .arg(outcome.pcapng())
        .finish()
        .success();
    let mut frames = 0;
    for (role, log, before) in views {
        let shown = compare(role, &outcome, log, before);
        let unread = shown.iter().filter(|m| m["state"] == "undecodable");
        // The words that were said before are known when they are said anew,
        // after a megabyte of others.
        let (unread, most) = (unread.count(), if mode == "takeover" { 8 } else { 0 });
        assert!(unread <= most, "{role}: {unread} messages are not read");
        let read = of_role(&again, role).1;
        let same = read.iter().zip(&shown).take_while(|(a, b)| a == b).count();
        assert!(
            (same, same) == (read.len(), shown.len()),
            "{role}: of {} messages and {} in the file the first {same} are equal",
            shown.len(),
            read.len()
        );
        frames = shown.len();
    }
    let port = url.trim_end_matches("/chat").rsplit(':').next().unwrap();
    let option = format!("-d tcp.port=={port},websocket");
    assert!(outcome.stderr.contains(&option), "{}", outcome.stderr);
    check_tshark(&outcome.pcapng(), port, frames);
}

macro_rules! tests {
    ($($name:ident: $server:ident $client:ident $mode:literal $tls:literal;)*) => { $(
        #[test]
        fn $name() {
            needs!("node", "openssl", "tshark");
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
    node_to_python_tls: Python Node "plain" true;
    python_to_node_tls_deflate: Node Python "takeover" true;
    node_to_node_tls_alone: Node Node "alone" true;
}
