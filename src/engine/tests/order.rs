//! Events out of order, late partners, late joins, filters by time.

use super::support::{MS, Rig, info};
use crate::engine::Config;
use crate::event::Direction::{Receive, Send};
use crate::event::{Action, Endpoint, Source, Timestamp};
use crate::filter::Filter;

#[test]
fn a_response_may_come_before_its_request() {
    let mut rig = Rig::new();
    rig.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc");
    rig.wait(100);
    assert!(rig.lines().is_empty());
    rig.send(b"GET /1 HTTP/1.1\r\n\r\n");
    assert_eq!(
        rig.lines(),
        ["GET /1 > Complete  | 200 < Complete abc | complete"]
    );
    rig.finish();
    assert_eq!(
        rig.wire(Receive),
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
    );
}

#[test]
fn a_response_that_waited_long_enough_is_shown_without_request() {
    let mut rig = Rig::new();
    rig.receive(b"HTTP/1.1 408 Too slow\r\nContent-Length: 0\r\n\r\n");
    rig.wait(201);
    assert_eq!(rig.lines(), ["- | 408 < Complete  | complete"]);
    rig.send(b"GET /1 HTTP/1.1\r\n\r\n");
    rig.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(rig.lines().len(), 2);
}

#[test]
fn responses_without_requests_are_shown_at_the_end() {
    let mut rig = Rig::new();
    rig.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 404 No\r\nContent-Length: 1\r\n\r\nb");
    rig.close(false);
    assert_eq!(
        rig.lines(),
        [
            "- | 200 < Complete a | complete",
            "- | 404 < Complete b | complete"
        ]
    );
    assert_eq!(rig.engine.stats().http_connections, 1);
}

#[test]
fn bytes_of_one_direction_may_come_in_any_order() {
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
    let mut rig = Rig::new();
    rig.send(b"GET /1 HTTP/1.1\r\n\r\n");
    let base = rig.offsets[1];
    rig.at(Receive, base, &response[..5]);
    rig.at(Receive, base.wrapping_add(20), &response[20..]);
    rig.at(Receive, base, &response[..10]);
    rig.at(Receive, base.wrapping_add(5), &response[5..30]);
    assert_eq!(
        rig.lines(),
        ["GET /1 > Complete  | 200 < Complete abc | complete"]
    );
    rig.finish();
    assert_eq!(rig.wire(Receive), response);
}

#[test]
fn an_end_waits_for_its_bytes() {
    let mut rig = Rig::new();
    rig.send(b"GET /1 HTTP/1.0\r\n\r\n");
    rig.receive(b"HTTP/1.0 200 OK\r\n\r\n");
    let late = rig.offsets[1];
    rig.skip(Receive, 3);
    rig.end(Receive);
    assert!(rig.lines().is_empty());
    rig.at(Receive, late, b"abc");
    assert_eq!(
        rig.lines(),
        ["GET /1 > Complete  | 200 < Complete abc | complete"]
    );
}

#[test]
fn joining_in_the_middle_begins_at_the_next_message() {
    let mut rig = Rig::with(Config::default(), info(1, false));
    rig.receive(b"rest of a body }");
    rig.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx");
    rig.wait(201);
    rig.send(b"GET /2 HTTP/1.1\r\n\r\n");
    rig.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\ny");
    rig.finish();
    assert_eq!(
        rig.lines(),
        [
            "- | 200 < Complete x | complete",
            "GET /2 > Complete  | 200 < Complete y | complete"
        ]
    );
    let notes = rig.out.borrow().exchanges[0].notes.clone();
    assert!(notes.contains(&"joined in mid-connection"));
    assert_eq!(rig.engine.stats().other_bytes, 16);
    assert_eq!(
        rig.wire(Receive),
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\ny"
    );
}

#[test]
fn joining_in_the_middle_works_whatever_the_pieces() {
    let tail = b"GET / HTTP/1.1 was never\r\nsent HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\nPOST /3 HTTP/1.1\r\nContent-Length: 2\r\n\r\nab";
    for size in 1..tail.len() {
        let mut rig = Rig::with(Config::default(), info(1, false));
        tail.chunks(size).for_each(|piece| rig.send(piece));
        rig.close(false);
        assert_eq!(
            rig.lines(),
            [
                "GET /2 > Complete  | - | closed",
                "POST /3 > Complete ab | - | closed"
            ],
            "{size}"
        );
    }
}

#[test]
fn a_long_body_under_way_does_not_end_the_search() {
    let mut rig = Rig::with(Config::default(), info(1, false));
    for _ in 0..64 {
        rig.receive(vec![b'x'; 65_536]);
    }
    rig.send(b"GET /2 HTTP/1.1\r\n\r\n");
    rig.receive(b"HTTP/1.1 204 OK\r\n\r\n");
    assert_eq!(
        rig.lines(),
        ["GET /2 > Complete  | 204 < Complete  | complete"]
    );
}

#[test]
fn other_protocols_joined_in_the_middle_get_a_bounded_look() {
    let mut rig = Rig::with(Config::default(), info(1, false));
    let mut state = 1u32;
    for _ in 0..64 {
        let bytes: Vec<u8> = (0..1000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        rig.send(&bytes);
        rig.receive(&bytes);
    }
    assert_eq!(rig.engine.take_muted().len(), 1);
    assert_eq!(rig.engine.stats().other_bytes, 128_000);
}

#[test]
fn a_key_that_is_used_again_is_another_connection() {
    let mut rig = Rig::new();
    for _ in 0..2 {
        rig.send(b"GET /1 HTTP/1.1\r\n\r\n");
        rig.receive(b"HTTP/1.1 204 OK\r\n\r\n");
        rig.close(false);
        rig.offsets = [5, 6];
    }
    let numbers: Vec<_> = rig
        .out
        .borrow()
        .exchanges
        .iter()
        .map(|x| (x.connection, x.ordinal))
        .collect();
    assert_eq!(numbers, [(1, 1), (2, 1)]);
}

#[test]
fn facts_that_come_later_are_in_the_exchange() {
    let mut facts = info(1, true);
    facts.key.source = Source::OpenSsl;
    let peer = facts.peer.take();
    let mut rig = Rig::with(Config::default(), facts);
    rig.send(b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\n");
    rig.info.peer = peer.clone();
    rig.info.tls_library = Some("OpenSSL 3.0.22".into());
    rig.act(Action::Open);
    rig.receive(b"HTTP/1.1 204 OK\r\n\r\n");
    let exchange = rig.out.borrow().exchanges[0].clone();
    assert_eq!(exchange.info.peer, peer);
    assert_eq!(exchange.request.unwrap().url(), b"https://h/1");
    assert!(exchange.info.tls_library.is_some());
    assert!(matches!(peer, Some(Endpoint::Tcp(_))));
}

#[test]
fn a_number_that_was_given_is_kept() {
    let mut facts = info(1, true);
    facts.number = Some(42);
    let mut rig = Rig::with(Config::default(), facts);
    rig.send(b"GET /1 HTTP/1.1\r\n\r\n");
    rig.receive(b"HTTP/1.1 204 OK\r\n\r\n");
    assert_eq!(rig.out.borrow().exchanges[0].connection, 42);
}

#[test]
fn many_connections_evict_the_longest_idle() {
    let mut rig = Rig::new();
    for object in 0..70_000 {
        rig.info.key.object = object;
        rig.now += 1;
        rig.at(Send, 0, b"GET /1 HTTP/1.1\r\n\r\n");
    }
    let stats = rig.engine.stats();
    assert!(stats.evicted_connections >= 70_000 - 65_536);
    assert_eq!(stats.seen, stats.evicted_connections);
    rig.finish();
    assert_eq!(rig.engine.stats().seen, 70_000);
}

#[test]
fn a_request_that_goes_unanswered_for_a_second_is_given_out_once() {
    let mut rig = Rig::new();
    rig.send(b"GET /1 HTTP/1.1\r\n\r\n");
    rig.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    rig.send(b"GET /2 HTTP/1.1\r\n\r\n");
    rig.wait(999);
    assert!(rig.out.borrow().pending.is_empty());
    rig.wait(1);
    rig.wait(5000);
    let targets = |rig: &Rig| -> Vec<_> {
        let out = rig.out.borrow();
        let request = |x: &crate::exchange::Exchange| x.request.clone().map(|r| r.target);
        out.pending.iter().filter_map(request).collect()
    };
    assert_eq!(targets(&rig), [b"/2"]);
    rig.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    rig.finish();
    assert_eq!(rig.lines().len(), 2);
    assert_eq!(targets(&rig).len(), 1);
}

#[test]
fn a_response_that_lasts_is_given_out_with_its_status() {
    let mut rig = Rig::new();
    rig.send(b"GET /1 HTTP/1.1\r\n\r\n");
    rig.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
    rig.wait(1000);
    let status = |exchange: &crate::exchange::Exchange| {
        let response = exchange.response.as_ref()?;
        Some((response.status, response.body.encoded_size))
    };
    let pending = |rig: &Rig| -> Vec<_> { rig.out.borrow().pending.iter().map(status).collect() };
    assert_eq!(pending(&rig), [Some((200, 3))]);
    rig.receive(b"defghi");
    rig.finish();
    assert_eq!(pending(&rig).len(), 1);
}

#[test]
fn what_the_filter_decides_late_is_given_out_when_it_has() {
    let filter = Filter {
        statuses: vec!["200".parse().unwrap()],
        ..Filter::default()
    };
    let config = Config {
        filter,
        ..Config::default()
    };
    let mut rig = Rig::with(config, info(1, true));
    rig.send(b"GET /1 HTTP/1.1\r\n\r\n");
    rig.wait(1500);
    assert!(rig.out.borrow().pending.is_empty());
    rig.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
    rig.wait(1000);
    assert_eq!(rig.out.borrow().pending.len(), 1);
    rig.wait(5000);
    assert_eq!(rig.out.borrow().pending.len(), 1);
    rig.finish();
}

#[test]
fn a_second_and_a_message_are_of_the_time_when_it_happened() {
    let mut rig = Rig::new();
    // Time has passed before the events are looked at.
    rig.wait(700);
    rig.now -= 700 * MS;
    let asked = rig.now;
    rig.send(b"GET /1 HTTP/1.1\r\n\r\n");
    rig.receive(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
    rig.now += MS;
    rig.receive(b"data: 1\n\n");
    rig.now += 699 * MS;
    rig.wait(300);
    let out = rig.out.borrow();
    assert_eq!(out.pending.len(), 1);
    assert_eq!(out.message_times, [Timestamp(asked + MS)]);
}
