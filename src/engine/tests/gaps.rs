//! What losses do, and do not do.

use super::support::{Rig, info};
use crate::engine::Config;
use crate::event::Direction::{Receive, Send};
use crate::event::MissingReason;

const GET: &[u8] = b"GET /1 HTTP/1.1\r\n\r\n";
const NEXT: &[u8] = b"HTTP/1.1 204 OK\r\n\r\n";

#[test]
fn a_hole_in_a_body_of_known_length_is_passed_over() {
    let mut rig = Rig::new();
    rig.send(GET);
    rig.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab");
    rig.lose(Receive, 5);
    rig.receive(b"hij");
    rig.send(GET);
    rig.receive(NEXT);
    rig.finish();
    assert_eq!(
        rig.lines(),
        [
            "GET /1 > Complete  | 200 < Lost ab | complete",
            "GET /1 > Complete  | 204 < Complete  | complete"
        ]
    );
    let out = rig.out.borrow();
    let exchange = &out.exchanges[0];
    let body = &exchange.response.as_ref().unwrap().body;
    assert_eq!((body.encoded_size, body.size), (10, None));
    assert_eq!((body.missing[0].offset, body.missing[0].length), (2, 5));
    assert_eq!(exchange.lost_bytes, 5);
    assert_eq!(rig.engine.stats().lost_bytes(), 5);
    assert_eq!(out.gaps.len(), 1);
    assert_eq!(out.gaps[0].2, 5);
}

#[test]
fn a_hole_within_a_chunk_is_passed_over() {
    let mut rig = Rig::new();
    rig.send(GET);
    rig.receive(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab");
    rig.lose(Receive, 3);
    rig.receive(b"\r\n1\r\nx\r\n0\r\n\r\n");
    assert_eq!(
        rig.lines(),
        ["GET /1 > Complete  | 200 < Lost ab | complete"]
    );
    let size = rig.out.borrow().exchanges[0]
        .response
        .as_ref()
        .unwrap()
        .body
        .encoded_size;
    assert_eq!(size, 6);
}

#[test]
fn a_hole_in_the_framing_leads_to_the_next_message() {
    let mut rig = Rig::new();
    rig.send(GET);
    rig.receive(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab");
    rig.lose(Receive, 6);
    rig.receive(b"yz\r\n0\r\n\r\n");
    rig.send(b"GET /2 HTTP/1.1\r\n\r\n");
    rig.receive(NEXT);
    assert_eq!(
        rig.lines(),
        [
            "GET /1 > Complete  | 200 < Lost ab | closed",
            "GET /2 > Complete  | 204 < Complete  | complete"
        ]
    );
    let notes = rig.out.borrow().exchanges[0].notes.clone();
    assert_eq!(notes, ["chunk framing lost"]);
    assert_eq!(rig.engine.stats().lost_bytes(), 15);
}

#[test]
fn a_lost_response_does_not_shift_the_pairs() {
    let mut rig = Rig::new();
    rig.send(GET);
    rig.lose(Receive, 100);
    rig.now += 1;
    rig.send(b"GET /2 HTTP/1.1\r\n\r\n");
    rig.now += 1;
    rig.receive(NEXT);
    assert_eq!(
        rig.lines(),
        [
            "GET /1 > Complete  | - | closed",
            "GET /2 > Complete  | 204 < Complete  | complete"
        ]
    );
    assert_eq!(rig.out.borrow().exchanges[0].lost_bytes, 100);
}

#[test]
fn a_lost_request_does_not_shift_the_pairs() {
    let mut rig = Rig::new();
    rig.send(GET);
    rig.receive(NEXT);
    rig.lose(Send, 50);
    rig.now += 1;
    rig.receive(b"HTTP/1.1 404 OK\r\nContent-Length: 0\r\n\r\n");
    rig.now += 1;
    rig.send(b"GET /3 HTTP/1.1\r\n\r\n");
    rig.now += 1;
    rig.receive(NEXT);
    rig.wait(201);
    rig.finish();
    let mut lines = rig.lines();
    lines.sort();
    assert_eq!(
        lines,
        [
            "- | 404 < Complete  | complete",
            "GET /1 > Complete  | 204 < Complete  | complete",
            "GET /3 > Complete  | 204 < Complete  | complete",
        ]
    );
}

#[test]
fn a_hole_in_a_head_loses_that_message_only() {
    let mut rig = Rig::new();
    rig.send(GET);
    rig.receive(b"HTTP/1.1 200 OK\r\nConte");
    rig.lose(Receive, 20);
    rig.receive(b"t\r\n\r\nbody");
    rig.now += 1;
    rig.send(b"GET /2 HTTP/1.1\r\n\r\n");
    rig.now += 1;
    rig.receive(NEXT);
    assert_eq!(
        rig.lines()[1],
        "GET /2 > Complete  | 204 < Complete  | complete"
    );
    assert_eq!(rig.engine.stats().malformed, 1);
}

#[test]
fn a_hole_that_nobody_announced_is_waited_for() {
    let mut rig = Rig::new();
    rig.send(GET);
    rig.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab");
    rig.skip(Receive, 4);
    rig.receive(b"xyz");
    rig.wait(199);
    assert!(rig.lines().is_empty());
    rig.wait(2);
    assert_eq!(
        rig.lines(),
        ["GET /1 > Complete  | 200 < Lost ab | complete"]
    );
    let missing = rig.out.borrow().exchanges[0]
        .response
        .as_ref()
        .unwrap()
        .body
        .missing
        .clone();
    assert_eq!(missing[0].reason, MissingReason::NotSeen);
    rig.finish();
}

#[test]
fn a_record_without_data_alone_is_a_gap() {
    let mut rig = Rig::new();
    rig.send(b"PUT /1 HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n");
    rig.lose(Send, 1_000_000);
    rig.receive(NEXT);
    assert_eq!(rig.lines(), ["PUT /1 > Lost  | 204 < Complete  | complete"]);
}

#[test]
fn losses_on_other_protocols_are_not_counted() {
    let mut rig = Rig::new();
    rig.lose(Send, 10);
    rig.send(b"\0\0\0\0 no http \r\n");
    rig.lose(Send, 10);
    rig.finish();
    assert_eq!(rig.engine.stats().lost_bytes(), 0);
    let mut rig = Rig::new();
    rig.lose(Send, 10);
    rig.send(GET);
    rig.finish();
    assert_eq!(rig.engine.stats().lost_bytes(), 10);
}

#[test]
fn the_bound_on_all_memory_holds_and_what_it_costs_is_counted() {
    let config = Config {
        memory_limit: 64 << 10,
        ..Config::default()
    };
    let mut rig = Rig::with(config, info(1, true));
    rig.send(GET);
    rig.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 204800\r\n\r\n");
    for _ in 0..200 {
        rig.receive([b'x'; 1024]);
    }
    rig.finish();
    let out = rig.out.borrow();
    let body = &out.exchanges[0].response.as_ref().unwrap().body;
    assert_eq!(body.encoded_size, 204_800);
    assert!(body.bytes.len() < 64 << 10);
    assert_eq!(body.missing[0].reason, MissingReason::MemoryLimit);
    assert_eq!(body.missing[0].offset, body.bytes.len() as u64);
}

#[test]
fn garbage_between_messages_is_passed_over() {
    let mut rig = Rig::new();
    rig.send(GET);
    rig.receive(NEXT);
    rig.receive(b"garbage that is no message\r\n");
    rig.send(b"GET /2 HTTP/1.1\r\n\r\n");
    rig.receive(NEXT);
    assert_eq!(rig.lines().len(), 2);
    assert_eq!(rig.engine.stats().malformed, 1);
    assert_eq!(rig.engine.stats().other_bytes, 28);
}
