//! Messages and their pairing.

use super::support::{Rig, check, info};
use crate::engine::Config;
use crate::event::Direction::{Receive, Send};
use crate::exchange::{BodyState, Role};

#[test]
fn keep_alive_exchanges_follow_each_other() {
    check(
        &[
            (Send, b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\n"),
            (
                Receive,
                b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            ),
            (Send, b"POST /2 HTTP/1.1\nHost: h\nContent-Length: 3\n\nabc"),
            (Receive, b"HTTP/1.1 404 No\nContent-Length: 0\n\n"),
        ],
        &[
            "GET /1 > Complete  | 200 < Complete hello | complete",
            "POST /2 > Complete abc | 404 < Complete  | complete",
        ],
    );
}

#[test]
fn pipelined_requests_are_paired_in_order() {
    check(
        &[
            (Send, b"GET /1 HTTP/1.1\r\n\r\nHEAD /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\n\r\n"),
            (
                Receive,
                b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nAHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.1 204 OK\r\n\r\n",
            ),
        ],
        &[
            "GET /1 > Complete  | 200 < Complete A | complete",
            "HEAD /2 > Complete  | 200 < Complete  | complete",
            "GET /3 > Complete  | 204 < Complete  | complete",
        ],
    );
}

#[test]
fn chunked_bodies_with_extensions_and_trailers() {
    check(
        &[
            (
                Send,
                b"PUT /1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\n",
            ),
            (
                Receive,
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n",
            ),
        ],
        &["PUT /1 > Complete abcde | 200 < Complete 0123456789 | complete"],
    );
}

#[test]
fn a_body_may_last_until_the_connection_ends() {
    check(
        &[
            (Send, b"GET /1 HTTP/1.0\r\n\r\n"),
            (
                Receive,
                b"HTTP/1.0 200 OK\r\n\r\nall of it\r\n\r\nHTTP/1.1 500 no\r\n\r\n",
            ),
        ],
        &[
            "GET /1 > Complete  | 200 < Complete all of it\r\n\r\nHTTP/1.1 500 no\r\n\r\n | complete",
        ],
    );
}

#[test]
fn interim_responses_belong_to_the_final_one() {
    check(
        &[
            (Send, b"PUT /1 HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"),
            (Receive, b"HTTP/1.1 100 Continue\r\n\r\n"),
            (Send, b"ab"),
            (
                Receive,
                b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n",
            ),
        ],
        &["PUT /1 > Complete ab | (100) (103) 201 < Complete  | complete"],
    );
}

#[test]
fn an_expected_body_may_never_be_sent() {
    check(
        &[
            (
                Send,
                b"PUT /1 HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 20\r\n\r\n",
            ),
            (Receive, b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n"),
            (Send, b"GET /2 HTTP/1.1\r\n\r\n"),
            (Receive, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"),
        ],
        &[
            "PUT /1 > Complete  | 417 < Complete  | complete",
            "GET /2 > Complete  | 200 < Complete x | complete",
        ],
    );
    check(
        &[
            (
                Send,
                b"PUT /1 HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 20\r\n\r\n",
            ),
            (Receive, b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n"),
        ],
        &["PUT /1 > Complete  | 417 < Complete  | complete"],
    );
    check(
        &[
            (
                Send,
                b"PUT /1 HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
            ),
            (Receive, b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n"),
            (Send, b"GET h"),
        ],
        &["PUT /1 > Complete GET h | 417 < Complete  | complete"],
    );
}

#[test]
fn an_early_final_response_does_not_end_the_request() {
    check(
        &[
            (Send, b"POST /1 HTTP/1.1\r\nContent-Length: 6\r\n\r\nabc"),
            (Receive, b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n"),
            (Send, b"def"),
        ],
        &["POST /1 > Complete abcdef | 413 < Complete  | complete"],
    );
}

#[test]
fn after_connect_the_bytes_are_counted() {
    check(
        &[
            (Send, b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n"),
            (Receive, b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"),
            (Send, b"GET / HTTP/1.1\r\n\r\n"),
            (Receive, b"abc"),
        ],
        &["CONNECT h:443 > Complete  | 200 < Complete  | complete tunnel [18, 3]"],
    );
    check(
        &[
            (Send, b"CONNECT h:443 HTTP/1.1\r\n\r\n"),
            (Receive, b"HTTP/1.1 407 No\r\nContent-Length: 1\r\n\r\nx"),
            (Send, b"GET /2 HTTP/1.1\r\n\r\n"),
            (Receive, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\ny"),
        ],
        &[
            "CONNECT h:443 > Complete  | 407 < Complete x | complete",
            "GET /2 > Complete  | 200 < Complete y | complete",
        ],
    );
}

#[test]
fn tls_in_a_tunnel_is_counted_and_not_handed_over() {
    let mut rig = Rig::new();
    rig.send(b"CONNECT h:443 HTTP/1.1\r\n\r\n");
    rig.receive(b"HTTP/1.1 200 OK\r\n\r\n");
    for byte in b"\x16\x03\x01\x00\x05hello" {
        rig.send([*byte]);
    }
    rig.receive(b"\x16\x03\x03\x00\x05");
    assert_eq!(rig.engine.take_muted().len(), 1);
    rig.receive(b"world");
    rig.close(false);
    rig.finish();
    assert_eq!(rig.out.borrow().exchanges[0].tunnel_bytes, [10, 10]);
    assert_eq!(rig.engine.stats().tunnel_bytes, 20);
    assert_eq!(rig.wire(Send), b"CONNECT h:443 HTTP/1.1\r\n\r\n");
    assert_eq!(rig.wire(Receive), b"HTTP/1.1 200 OK\r\n\r\n");
}

#[test]
fn an_upgrade_is_named() {
    for (name, upgrade) in [("websocket", "websocket"), ("x/1", "tunnel")] {
        let request = format!("GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: {name}\r\n\r\n");
        let response = format!("HTTP/1.1 101 Yes\r\nUpgrade: {name}\r\n\r\n");
        check(
            &[
                (Send, request.as_bytes()),
                (Receive, response.as_bytes()),
                (Send, b"\x81\x05hello"),
                (Receive, b"\x81\x05hello"),
            ],
            &[&format!(
                "GET / > Complete  | 101 < Complete  | complete {upgrade} [7, 7]"
            )],
        );
    }
}

#[test]
fn an_upgrade_that_is_refused_is_none() {
    check(
        &[
            (Send, b"GET /1 HTTP/1.1\r\nUpgrade: h2c\r\n\r\n"),
            (Receive, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"),
            (Send, b"GET /2 HTTP/1.1\r\n\r\n"),
            (Receive, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\ny"),
        ],
        &[
            "GET /1 > Complete  | 200 < Complete x | complete",
            "GET /2 > Complete  | 200 < Complete y | complete",
        ],
    );
}

#[test]
fn what_breaks_off_says_so() {
    check(
        &[
            (Send, b"GET /1 HTTP/1.1\r\n\r\n"),
            (Receive, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"),
        ],
        &["GET /1 > Complete  | 200 < Lost abc | closed"],
    );
    check(
        &[(Send, b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n")],
        &[
            "GET /1 > Complete  | - | closed",
            "GET /2 > Complete  | - | closed",
        ],
    );
    let mut rig = Rig::new();
    rig.send(b"GET /1 HTTP/1.1\r\n\r\n");
    rig.receive(b"HTTP/1.1 200 OK\r\n\r\nabc");
    rig.close(true);
    assert_eq!(rig.lines(), ["GET /1 > Complete  | 200 < Lost abc | reset"]);
    let mut rig = Rig::new();
    rig.send(b"GET /1 HTTP/1.1\r\n\r\n");
    rig.finish();
    assert_eq!(rig.lines(), ["GET /1 > Complete  | - | open"]);
}

#[test]
fn the_one_who_receives_a_request_is_the_server() {
    let mut rig = Rig::new();
    rig.receive(b"GET /1 HTTP/1.1\r\n\r\n");
    rig.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(rig.out.borrow().exchanges[0].role, Role::Server);

    let mut facts = info(1, true);
    facts.perspective_unknown = true;
    let mut rig = Rig::with(Config::default(), facts.clone());
    rig.receive(b"GET /1 HTTP/1.1\r\n\r\n");
    rig.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    rig.finish();
    let exchange = rig.out.borrow().exchanges[0].clone();
    assert_eq!(exchange.role, Role::Client);
    assert_eq!(exchange.info.local, facts.peer);
    assert_eq!(exchange.info.peer, facts.local);
    assert_eq!(rig.wire(Send), b"GET /1 HTTP/1.1\r\n\r\n");
}

#[test]
fn other_protocols_are_left_alone() {
    let mut rig = Rig::new();
    rig.send(b"EHLO there\r\n");
    rig.receive(b"250 hello\r\n");
    assert_eq!(rig.engine.take_muted(), [rig.info.key]);
    let stats = rig.engine.stats();
    assert_eq!((stats.connections, stats.http_connections), (1, 0));
    assert_eq!((stats.bytes, stats.other_bytes), (23, 23));

    let mut rig = Rig::new();
    for byte in b"\x16\x03\x01\x02\x00\x01\x00" {
        rig.send([*byte]);
    }
    let stats = rig.engine.stats();
    assert_eq!((stats.tls_connections, stats.other_bytes), (1, 0));

    let mut rig = Rig::new();
    rig.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_eq!(rig.engine.stats().http2_connections, 1);
}

#[test]
fn large_heads_are_read() {
    let mut request = b"GET /1 HTTP/1.1\r\n".to_vec();
    for i in 0..512 {
        request.extend_from_slice(format!("N{i}: {}\r\n", "v".repeat(480)).as_bytes());
    }
    request.extend_from_slice(b"\r\n");
    assert!(request.len() > 240 << 10 && request.len() < 256 << 10);
    for pieces in [usize::MAX, 16_384, 1000] {
        let mut rig = Rig::new();
        request
            .chunks(pieces.min(request.len()))
            .for_each(|c| rig.send(c));
        rig.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        let out = rig.out.borrow();
        assert_eq!(
            out.exchanges[0].request.as_ref().unwrap().headers.len(),
            512
        );
    }
}

#[test]
fn a_partial_line_comes_with_the_request_head() {
    let mut rig = Rig::new();
    rig.send(b"POST /1 HTTP/1.1\r\nContent-Length: 3\r\n\r\n");
    assert_eq!(rig.out.borrow().requests.len(), 1);
    assert!(rig.out.borrow().exchanges.is_empty());
}

#[test]
fn bodies_are_cut_at_the_limit_and_counted_beyond() {
    let config = Config {
        max_body: 4,
        ..Config::default()
    };
    let mut rig = Rig::with(config, info(1, true));
    rig.send(b"GET /1 HTTP/1.1\r\n\r\n");
    rig.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01");
    rig.receive(b"23456789");
    rig.finish();
    assert_eq!(
        rig.lines(),
        ["GET /1 > Complete  | 200 < Cut 0123 | complete"]
    );
    let body = rig.out.borrow().exchanges[0].response.clone().unwrap().body;
    assert_eq!((body.encoded_size, body.size), (10, Some(10)));
    assert!(rig.wire(Receive).ends_with(b"0123456789"));
}

#[test]
fn count_stops_showing() {
    let config = Config {
        count: Some(1),
        ..Config::default()
    };
    let mut rig = Rig::with(config, info(1, true));
    for _ in 0..2 {
        rig.send(b"GET /1 HTTP/1.1\r\n\r\n");
        rig.receive(b"HTTP/1.1 204 OK\r\n\r\n");
    }
    assert!(rig.engine.is_done());
    rig.finish();
    assert_eq!(rig.lines().len(), 1);
    assert_eq!(rig.engine.stats().shown, 1);
    assert_eq!(rig.wire(Receive), b"HTTP/1.1 204 OK\r\n\r\n");
}

#[test]
fn content_codings_are_undone() {
    let gzip = include_bytes!("../../../fixtures/content/fields.gz");
    let run = |bytes: &[u8], claimed: usize| {
        let mut rig = Rig::new();
        rig.send(b"GET /1 HTTP/1.1\r\n\r\n");
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {claimed}\r\n\r\n"
        );
        rig.receive(head.as_bytes());
        rig.receive(bytes);
        rig.close(false);
        let out = rig.out.borrow();
        out.exchanges[0].response.clone().unwrap().body
    };
    let whole = run(gzip, gzip.len());
    assert_eq!(whole.state, BodyState::Complete);
    assert_eq!(whole.size, Some(whole.bytes.len() as u64));
    assert_eq!(whole.encoded_size, gzip.len() as u64);
    // The coding ends early, though the body does not.
    let short = run(&gzip[..gzip.len() - 12], gzip.len() - 12);
    assert_eq!((short.state, short.size), (BodyState::Undecodable, None));
    assert!(whole.bytes.starts_with(&short.bytes));
    // The body breaks off.
    let lost = run(&gzip[..gzip.len() - 12], gzip.len());
    assert_eq!((lost.state, lost.size), (BodyState::Lost, None));
    let none = run(b"no gzip", 7);
    assert_eq!(
        (none.state, none.bytes),
        (BodyState::Undecodable, b"no gzip".to_vec())
    );
}
