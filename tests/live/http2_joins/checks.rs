//! What is shown, and what is in the file, against what the clients tell.

use std::collections::HashMap;

use super::talk::BEFORE;
use super::told::Told;
use crate::http2::assert_right_or_unknown;
use crate::support::exchange::{Exchange, short};
use crate::support::h2::fields;
use crate::support::httpsniff::{Httpsniff, Outcome};
use crate::support::servers::Server;
use crate::support::tshark;

/// Whether it is said not to be known.
fn unknown(text: &str) -> bool {
    text.starts_with("<unknown")
}

/// Compares what is shown of a connection with what its client tells.
fn compare(view: &str, server: &Server, exchanges: &[&Exchange], told: &[Told]) -> usize {
    let mut left: HashMap<u64, &Told> = told[BEFORE..].iter().map(|t| (t.stream, t)).collect();
    if told.len() == BEFORE + 1 + 3 {
        // nghttp was held up by one more.
        left.remove(&told[BEFORE].stream);
    }
    let mut placeholders = 0;
    for exchange in exchanges {
        let view = format!("{view}: {}", short(exchange));
        let stream = exchange.number("/stream").unwrap();
        let told = told.iter().find(|told| told.stream == stream);
        let told = told.unwrap_or_else(|| panic!("no such stream: {view}"));
        let whole = left.remove(&stream).is_some();
        let mut sent = told.sent.clone();
        sent.retain(|(name, _)| {
            let not_of_http2 = ["host", "connection", "transfer-encoding"];
            !name.starts_with(':') && !not_of_http2.contains(&name.as_str())
        });
        if exchange.0["request"].is_object() {
            let seen = fields(exchange, "/request/headers");
            placeholders += assert_right_or_unknown(&view, &seen, &sent);
            let late = told.sent.iter().find(|(name, _)| name == "x-late");
            assert!(late.is_none_or(|late| seen.contains(late)), "{view}");
            for (pointer, should) in [
                ("/request/method", told.method.as_str()),
                ("/request/target", &told.target),
                ("/request/scheme", server.scheme),
                ("/request/host", &server.address),
            ] {
                let is = exchange.text(pointer);
                assert!(
                    is == should || unknown(is) || is.is_empty(),
                    "{pointer}: {view}"
                );
            }
        }
        let mut seen = fields(exchange, "/response/headers");
        let mut received = told.received.clone();
        // The second may be another.
        for list in [&mut seen, &mut received] {
            list.retain(|(name, _)| name != "date");
        }
        if !received.is_empty() {
            placeholders += assert_right_or_unknown(&view, &seen, &received);
        }
        let status = exchange.number("/response/status");
        assert!(status.is_none_or(|status| status == told.status), "{view}");
        if whole {
            // curl leaves a stream whose body it has without its last frame; that
            // it has all is not known if Content-Length is from before.
            let notes = exchange.0["notes"].as_array().unwrap();
            let left = notes
                .iter()
                .any(|note| note == "stream reset: STREAM_CLOSED");
            let length = seen.iter().any(|(name, _)| name == "content-length");
            let state = if left && !length { "reset" } else { "complete" };
            assert_eq!(exchange.text("/state"), state, "{view}");
            assert!(status.is_some(), "{view}");
            assert_eq!(exchange.text("/request/target"), told.target, "{view}");
            assert_eq!(exchange.text("/request/method"), told.method, "{view}");
            assert!(exchange.body("response").unwrap() == told.body, "{view}");
        }
    }
    let left: Vec<_> = left.values().map(|told| &told.target).collect();
    assert!(left.is_empty(), "{left:?} not seen: {view}");
    placeholders
}

/// All that was shown is right, in each view.
pub(super) fn check(outcome: &Outcome, server: &Server, talks: &[(u32, Vec<Told>)]) {
    for (pid, told) in talks {
        let name = told[0].target.split(['?', '-']).nth(1).unwrap();
        let is_client = |e: &&Exchange| e.pid() == u64::from(*pid);
        let all = outcome.exchanges();
        let of_client: Vec<_> = all.iter().filter(is_client).collect();
        let of_client: Vec<_> = of_client
            .into_iter()
            .filter(|e| e.role() == "client")
            .collect();
        let unknown = compare(&format!("{name}'s view"), server, &of_client, told);
        eprintln!("{name}: {unknown} placeholders at the client");
        // The server's connection with it is the one with its targets.
        let own = |e: &&Exchange| told.iter().any(|told| told.target == e.target());
        let of_server: Vec<_> = all
            .iter()
            .filter(|e| e.role() == "server" && e.pid() == u64::from(server.pid()))
            .collect();
        let one = of_server.iter().copied().find(own);
        let one = one.unwrap_or_else(|| panic!("{name} is not in the server's view"));
        let connection = one.number("/connection");
        let of_server: Vec<_> = of_server
            .into_iter()
            .filter(|e| e.number("/connection") == connection)
            .collect();
        let unknown = compare(
            &format!("server's view of {name}"),
            server,
            &of_server,
            told,
        );
        eprintln!("{name}: {unknown} placeholders at the server");
    }
}

/// The file has each exchange once, for us and for Wireshark.
pub(super) fn check_file(outcome: &Outcome, server: &Server, talks: &[(u32, Vec<Told>)]) {
    let file = outcome.pcapng();
    let again = Httpsniff::reader()
        .json()
        .arg("-r")
        .arg(&file)
        .finish()
        .success();
    let option = format!("tcp.port=={},http", server.port());
    let names = [
        "http2.headers.method",
        "http2.headers.path",
        "http2.headers.status",
        "_ws.malformed",
        "tcp.analysis.flags",
    ];
    let columns = tshark::columns(&file, &option, &names);
    let (methods, paths, statuses) = (&columns[0], &columns[1], &columns[2]);
    assert_eq!(columns[3], Vec::<String>::new(), "malformed");
    assert_eq!(columns[4], Vec::<String>::new(), "TCP");
    let told: Vec<_> = talks
        .iter()
        .flat_map(|(_, told)| {
            let held = usize::from(told.len() == BEFORE + 1 + 3);
            &told[BEFORE + held..]
        })
        .collect();
    for told in &told {
        let times = paths.iter().filter(|path| **path == told.target).count();
        assert_eq!(times, 1, "{} in tshark: {paths:?}", told.target);
        let found = again.exchanges();
        let found: Vec<_> = found.iter().filter(|e| e.target() == told.target).collect();
        // Both ends are one connection there, with a role each.
        assert!(!found.is_empty(), "{} in the file", told.target);
        for exchange in found {
            assert!(
                exchange.body("response").unwrap() == told.body,
                "{}",
                short(exchange)
            );
            assert_eq!(exchange.number("/response/status"), Some(told.status));
        }
    }
    for wanted in ["200", "404"] {
        let status: u64 = wanted.parse().unwrap();
        let should = told.iter().filter(|told| told.status == status).count();
        let is = statuses.iter().filter(|status| **status == wanted).count();
        // What was under way when httpsniff came may be there too.
        let held = if wanted == "200" { talks.len() } else { 0 };
        assert!(
            (should..=should + held).contains(&is),
            "{wanted}: {is}, not {should}"
        );
    }
    let posts = told.iter().filter(|told| told.method == "POST").count();
    assert_eq!(
        methods.iter().filter(|method| **method == "POST").count(),
        posts
    );
}
