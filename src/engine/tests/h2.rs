//! HTTP/2: streams as exchanges, whatever is missing of the connection.

use super::support::{Rig, check, info, line};
use crate::engine::Config;
use crate::event::Direction::{Receive, Send};
use crate::exchange::Exchange;
use crate::filter::Filter;
use crate::http::h2::{FrameHeader, PREFACE, flag, kind};
use crate::http::hpack::encode_literal;
use crate::redact::Redact;

const END: u8 = flag::END_STREAM;
const WHOLE: u8 = flag::END_HEADERS;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        length: payload.len() as u32,
        kind,
        flags,
        stream,
    };
    [&header.encode()[..], payload].concat()
}

fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        encode_literal(name.as_bytes(), value.as_bytes(), false, &mut out);
    }
    out
}

/// A literal with incremental indexing (RFC 7541 6.2.1).
fn indexed(name: &str, value: &str) -> Vec<u8> {
    let mut out = vec![0x40, name.len() as u8];
    out.extend(name.as_bytes());
    out.push(value.len() as u8);
    out.extend(value.as_bytes());
    out
}

fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(kind::HEADERS, flags | WHOLE, stream, &block(fields))
}

fn get(stream: u32, path: &str) -> Vec<u8> {
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "a.test"),
        (":path", path),
    ];
    headers(stream, END, &fields)
}

fn ok(stream: u32, flags: u8) -> Vec<u8> {
    headers(stream, flags, &[(":status", "200"), ("x", "y")])
}

fn data(stream: u32, flags: u8, bytes: &[u8]) -> Vec<u8> {
    frame(kind::DATA, flags, stream, bytes)
}

fn settings() -> Vec<u8> {
    frame(kind::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])
}

fn preface() -> Vec<u8> {
    [PREFACE, &settings()[..]].concat()
}

fn targets(rig: &Rig) -> Vec<String> {
    let out = rig.out.borrow();
    let target = |x: &Exchange| {
        x.request
            .as_ref()
            .map(|r| String::from_utf8_lossy(&r.target).into_owned())
    };
    out.exchanges.iter().filter_map(target).collect()
}

#[test]
fn streams_are_exchanges_in_the_order_of_their_ends() {
    let mut client = preface();
    client.extend(get(1, "/1"));
    client.extend(headers(3, 0, &[(":method", "POST"), (":path", "/3")]));
    client.extend(data(3, 0, b"ab"));
    client.extend(frame(kind::PING, 0, 0, &[0; 8]));
    client.extend(data(3, END | flag::PADDED, b"\x02cd\0\0"));
    let mut server = settings();
    server.extend(frame(kind::SETTINGS, flag::ACK, 0, b""));
    server.extend(ok(3, 0));
    server.extend(ok(1, 0));
    server.extend(data(1, 0, b"he"));
    server.extend(frame(kind::WINDOW_UPDATE, 0, 3, &[0, 0, 1, 0]));
    server.extend(data(3, END, b""));
    server.extend(data(1, END, b"llo"));
    check(
        &[(Send, &client), (Receive, &server)],
        &[
            "POST /3 > Complete abcd | 200 < Complete  | complete",
            "GET /1 > Complete  | 200 < Complete hello | complete",
        ],
    );
}

#[test]
fn either_side_may_speak_first() {
    let client = [preface(), get(1, "/1")].concat();
    let server = [settings(), ok(1, END)].concat();
    check(
        &[(Receive, &server), (Send, &client)],
        &["GET /1 > Complete  | 200 < Complete  | complete"],
    );
}

#[test]
fn sections_may_be_continued_and_interim_and_trailing() {
    let whole = block(&[(":method", "GET"), (":path", "/1"), ("long", "value")]);
    let (first, second) = whole.split_at(9);
    let mut client = preface();
    client.extend(frame(
        kind::HEADERS,
        END | flag::PRIORITY,
        1,
        &[&[0; 5], first].concat(),
    ));
    client.extend(frame(kind::CONTINUATION, 0, 1, b""));
    client.extend(frame(kind::CONTINUATION, WHOLE, 1, second));
    let mut server = settings();
    server.extend(headers(1, 0, &[(":status", "103"), ("link", "</a>")]));
    server.extend(ok(1, 0));
    server.extend(data(1, 0, b"abc"));
    server.extend(headers(1, END, &[("grpc-status", "0")]));
    check(
        &[(Send, &client), (Receive, &server)],
        &["GET /1 > Complete  | (103) 200 < Complete abc | complete"],
    );
    let mut rig = Rig::new();
    rig.send(&client);
    rig.receive(&server);
    let out = rig.out.borrow();
    let x = &out.exchanges[0];
    assert_eq!(x.stream, Some(1));
    let response = x.response.as_ref().unwrap();
    assert_eq!(response.trailers.get("grpc-status"), Some(&b"0"[..]));
    let request = x.request.as_ref().unwrap();
    assert_eq!(request.headers.get("long"), Some(&b"value"[..]));
}

#[test]
fn the_stream_of_an_upgrade_is_the_same_process_and_masked() {
    let filter = Filter {
        pids: vec![7],
        statuses: vec!["2xx".parse().unwrap()],
        ..Filter::default()
    };
    let config = Config {
        filter,
        redact: Some(Redact::new(&[])),
        ..Config::default()
    };
    let mut rig = Rig::with(config, info(1, true));
    rig.process = Some(std::sync::Arc::new(crate::process::Process {
        pid: 7,
        ..Default::default()
    }));
    let request = b"GET /1?token=abcdef HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n";
    rig.send(request);
    rig.receive(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n");
    rig.send(preface());
    rig.receive([settings(), ok(1, END)].concat());
    rig.finish();
    assert_eq!(
        rig.lines(),
        ["GET /1?token=****** > Complete  | 200 < Complete  | complete"]
    );
}

#[test]
fn a_response_of_the_length_it_says_is_whole_without_its_end() {
    let mut rig = Rig::new();
    rig.send([preface(), get(1, "/1"), get(3, "/3")].concat());
    let said = [(":status", "200"), ("content-length", "3")];
    rig.receive([settings(), headers(1, 0, &said), headers(3, 0, &said)].concat());
    rig.receive([data(1, 0, b"abc"), data(3, 0, b"ab")].concat());
    rig.close(false);
    assert_eq!(
        rig.lines(),
        [
            "GET /1 > Complete  | 200 < Complete abc | complete",
            "GET /3 > Complete  | 200 < Lost ab | closed",
        ]
    );
}

#[test]
fn a_client_that_has_all_of_the_body_may_reset_the_stream() {
    let cancel = frame(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8]);
    let sized = headers(1, 0, &[(":status", "200"), ("content-length", "5")]);
    let with = |body: &[u8], reset_by: &str| {
        let mut rig = Rig::new();
        rig.send([preface(), get(1, "/1")].concat());
        rig.receive([settings(), sized.clone(), data(1, 0, body)].concat());
        match reset_by {
            "client" => rig.send(&cancel),
            _ => rig.receive(&cancel),
        }
        rig.lines()
    };
    assert_eq!(
        with(b"hello", "client"),
        ["GET /1 > Complete  | 200 < Complete hello | complete"]
    );
    assert_eq!(
        with(b"hell", "client"),
        ["GET /1 > Complete  | 200 < Lost hell | reset"]
    );
    assert_eq!(
        with(b"hello", "server"),
        ["GET /1 > Complete  | 200 < Lost hello | reset"]
    );
}

#[test]
fn resets_goaways_and_promises_are_told() {
    let client = [
        preface(),
        get(1, "/1"),
        get(3, "/3"),
        get(5, "/5"),
        frame(kind::RST_STREAM, 0, 3, &[0, 0, 0, 8]),
    ]
    .concat();
    let promise = [
        &2u32.to_be_bytes()[..],
        &block(&[(":method", "GET"), (":path", "/pushed")]),
    ]
    .concat();
    let server = [
        settings(),
        frame(kind::PUSH_PROMISE, WHOLE, 1, &promise),
        ok(2, END),
        ok(1, END),
        frame(kind::GOAWAY, 0, 0, &[0, 0, 0, 3, 0, 0, 0, 0]),
    ]
    .concat();
    let mut rig = Rig::new();
    rig.send(&client);
    rig.receive(&server);
    assert_eq!(
        rig.lines(),
        [
            "GET /3 > Complete  | - | reset",
            "GET /pushed > Complete  | 200 < Complete  | complete",
            "GET /1 > Complete  | 200 < Complete  | complete",
            "GET /5 > Complete  | - | closed",
        ]
    );
    let out = rig.out.borrow();
    let notes: Vec<_> = out.exchanges.iter().map(|x| x.notes.clone()).collect();
    assert_eq!(notes[0], ["stream reset: CANCEL"]);
    assert_eq!(notes[1], ["pushed by the server"]);
    assert_eq!(notes[3], ["not processed: GOAWAY"]);
}

#[test]
fn connect_is_a_tunnel_on_a_stream() {
    let client = [
        preface(),
        headers(
            1,
            0,
            &[(":method", "CONNECT"), (":authority", "b.test:443")],
        ),
        data(1, 0, b"\x16\x03\x01"),
        get(3, "/3"),
    ]
    .concat();
    let server = [settings(), ok(1, 0), data(1, END, b"abcd"), ok(3, END)].concat();
    let mut rig = Rig::new();
    rig.send(preface());
    rig.receive([settings(), ok(1, 0)].concat());
    drop(rig);
    let mut rig = Rig::new();
    rig.send(&client[..preface().len() + 60.min(client.len())]);
    rig.receive(&server[..settings().len() + ok(1, 0).len()]);
    rig.send(&client[preface().len() + 60.min(client.len())..]);
    rig.receive(&server[settings().len() + ok(1, 0).len()..]);
    rig.close(false);
    let lines = rig.lines();
    assert_eq!(lines[0], "GET /3 > Complete  | 200 < Complete  | complete");
    assert!(lines[1].starts_with("CONNECT b.test:443 > "), "{lines:?}");
    assert!(lines[1].contains(" closed tunnel ["), "{lines:?}");
}

#[test]
fn an_upgrade_leads_to_the_first_stream() {
    let request = b"GET /1 HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n";
    let response = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n";
    let client = [preface(), get(3, "/3")].concat();
    let server = [settings(), ok(1, 0), data(1, END, b"one"), ok(3, END)].concat();
    check(
        &[
            (Send, request),
            (Receive, response),
            (Send, &client),
            (Receive, &server),
        ],
        &[
            "GET /1 > Complete  | 101 < Complete  | complete h2c [0, 0]",
            "GET /1 > Complete  | 200 < Complete one | complete",
            "GET /3 > Complete  | 200 < Complete  | complete",
        ],
    );
}

/// A search goes on where it was with each piece, and misses nothing that was
/// cut.
#[test]
fn joining_works_whatever_the_pieces() {
    let get = |stream: u32, path: &str| {
        let block = [&[0x82][..], &block(&[(":path", path)])].concat();
        frame(kind::HEADERS, END | WHOLE, stream, &block)
    };
    for begin in [preface(), Vec::new()] {
        let junk = vec![0xaa; 100];
        let client = [junk, begin, get(7, "/7"), get(9, "/9")].concat();
        for size in 1..client.len() {
            let mut rig = Rig::with(Config::default(), info(1, false));
            client.chunks(size).for_each(|piece| rig.send(piece));
            rig.close(false);
            assert_eq!(targets(&rig), ["/7", "/9"], "{size}");
        }
    }
}

#[test]
fn what_was_inserted_before_joining_is_a_placeholder_and_the_rest_is_right() {
    let request = |path: &str| {
        [
            &[0x82][..],
            &block(&[(":path", path)]),
            &[0xbe],
            &indexed("n", path),
        ]
        .concat()
    };
    let mut rig = Rig::with(Config::default(), info(1, false));
    // The rest of a frame, then whole ones.
    let client = [
        vec![0xaa; 100],
        frame(kind::HEADERS, END | WHOLE, 7, &request("/7")),
        frame(kind::HEADERS, END | WHOLE, 9, &request("/9")),
    ]
    .concat();
    rig.send(&client);
    rig.receive([vec![0; 50], data(5, END, b"xyz"), ok(7, END), ok(9, END)].concat());
    assert_eq!(targets(&rig), ["/7", "/9"]);
    let fields = |x: &Exchange| -> Vec<_> {
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        let request = x.request.as_ref().unwrap();
        request
            .headers
            .iter()
            .map(|(n, v)| (text(n), text(v)))
            .collect()
    };
    let out = rig.out.borrow();
    let pair = |n: &str, v: &str| (n.to_owned(), v.to_owned());
    assert_eq!(
        fields(&out.exchanges[0]),
        [pair("<unknown:62>", "<unknown:62>"), pair("n", "/7")]
    );
    assert_eq!(
        fields(&out.exchanges[1]),
        [pair("n", "/7"), pair("n", "/9")]
    );
}

#[test]
fn a_gap_in_a_body_is_a_hole_and_no_more() {
    let mut rig = Rig::new();
    rig.send([preface(), get(1, "/1"), get(3, "/3")].concat());
    rig.receive([settings(), ok(1, 0)].concat());
    let body = data(1, END, b"0123456789");
    rig.receive(&body[..13]);
    rig.lose(Receive, 4);
    rig.receive(&body[17..]);
    rig.receive(ok(3, END));
    assert_eq!(
        rig.lines(),
        [
            "GET /1 > Complete  | 200 < Lost 0123 | complete",
            "GET /3 > Complete  | 200 < Complete  | complete",
        ]
    );
}

#[test]
fn a_gap_between_frames_is_followed_by_the_next_frame() {
    let mut rig = Rig::new();
    rig.send([preface(), get(1, "/1"), get(3, "/3")].concat());
    rig.receive([settings(), ok(1, 0)].concat());
    rig.lose(Receive, 1000);
    // In the midst of something, then frames.
    rig.receive([&b"\0\0rest"[..], &data(1, 0, b"abc"), &data(1, END, b"d")].concat());
    rig.receive(ok(3, END));
    let lines = rig.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].starts_with("GET /1 > Complete  | 200 < Lost abcd"),
        "{lines:?}"
    );
    assert_eq!(lines[1], "GET /3 > Complete  | 200 < Complete  | complete");
}

#[test]
fn a_response_may_come_before_its_request_and_waits_for_it() {
    let mut rig = Rig::new();
    rig.send(preface());
    rig.receive([settings(), ok(1, END), ok(3, END)].concat());
    rig.wait(100);
    rig.send(get(1, "/1"));
    assert_eq!(
        rig.lines(),
        ["GET /1 > Complete  | 200 < Complete  | complete"]
    );
    rig.wait(200);
    assert_eq!(rig.lines().len(), 2);
    assert_eq!(rig.lines()[1], "- | 200 < Complete  | complete");
    // It is not shown any more, but told, once.
    rig.send([get(3, "/3"), get(3, "/3")].concat());
    assert_eq!(rig.lines().len(), 2);
    assert_eq!(rig.engine.stats().late_requests, 1);
}

#[test]
fn sections_of_a_stream_are_few_and_counted() {
    let mut rig = Rig::new();
    rig.send([preface(), get(1, "/")].concat());
    rig.receive([settings(), ok(1, 0)].concat());
    let before = rig.engine.core.budget.used();
    let long = "x".repeat(10_000);
    for _ in 0..1000 {
        // No trailers, as nothing ends, and no second response.
        rig.receive(headers(1, flag::END_HEADERS, &[("x", &long)]));
        rig.receive(headers(
            1,
            flag::END_HEADERS,
            &[(":status", "200"), ("x", &long)],
        ));
    }
    assert_eq!(rig.engine.core.budget.used(), before);
    assert_eq!(rig.engine.stats().malformed, 2000);
    rig.send(get(3, "/3"));
    let before = rig.engine.core.budget.used();
    for _ in 0..1000 {
        rig.receive(headers(
            3,
            flag::END_HEADERS,
            &[(":status", "103"), ("x", &long)],
        ));
    }
    let used = rig.engine.core.budget.used() - before;
    assert!((640_000..700_000).contains(&used), "{used}");
}

#[test]
fn a_filter_leaves_frames_of_other_streams_out_and_the_rest_decodes() {
    let filter = Filter {
        paths: vec!["/3".parse().unwrap()],
        ..Filter::default()
    };
    let config = Config {
        filter,
        ..Config::default()
    };
    let client = [preface(), get(1, "/1"), get(3, "/3")].concat();
    let server = [
        settings(),
        ok(1, 0),
        data(1, END, b"other"),
        ok(3, 0),
        data(3, END, b"mine"),
    ]
    .concat();
    let mut rig = Rig::with(config, info(1, true));
    rig.send(&client);
    rig.receive(&server);
    rig.finish();
    let (sent, received) = (rig.wire(Send), rig.wire(Receive));
    let mut again = Rig::new();
    again.send(&sent);
    again.receive(&received);
    assert_eq!(
        rig.lines(),
        ["GET /3 > Complete  | 200 < Complete mine | complete"]
    );
    assert_eq!(again.lines(), rig.lines());
}

#[test]
fn secrets_are_masked_in_exchanges_and_on_the_wire() {
    let config = Config {
        redact: Some(Redact::new(&[])),
        ..Config::default()
    };
    let mut rig = Rig::with(config, info(1, true));
    let fields = [
        (":method", "GET"),
        (":path", "/x?token=abcdef"),
        ("authorization", "Bearer s3cret"),
    ];
    rig.send([preface(), headers(1, END, &fields)].concat());
    rig.receive([settings(), ok(1, END)].concat());
    rig.finish();
    let wire = rig.wire(Send);
    for secret in [&b"s3cret"[..], b"abcdef"] {
        assert!(memchr::memmem::find(&wire, secret).is_none());
    }
    let out = rig.out.borrow();
    let request = out.exchanges[0].request.as_ref().unwrap();
    assert_eq!(
        request.headers.get("authorization"),
        Some(&b"Bearer ******"[..])
    );
    assert_eq!(request.target, b"/x?token=******");
    assert!(line(&out.exchanges[0]).ends_with("complete"));
}

#[test]
fn hostile_frames_end_nothing_but_themselves() {
    let mut rig = Rig::new();
    rig.send([preface(), get(1, "/1")].concat());
    // A stream that is the connection, an endless section, a wrong padding.
    rig.send(data(0, 0, b"x"));
    rig.send(get(3, "/3"));
    for n in 0..40 {
        rig.send(headers(1000 + n * 2, 0, &[("a", "b")]));
    }
    rig.send(frame(kind::HEADERS, flag::PADDED | WHOLE, 5, &[200, 1, 2]));
    rig.send(get(7, "/7"));
    rig.receive([settings(), ok(1, END), ok(3, END), ok(7, END)].concat());
    let found = targets(&rig);
    for path in ["/1", "/7"] {
        assert!(found.iter().any(|t| t == path), "{path} in {found:?}");
    }
    rig.finish();
}

#[test]
fn messages_of_grpc_and_event_streams_are_given_out_as_they_come() {
    let mut rig = Rig::new();
    let grpc = [
        (":method", "POST"),
        (":path", "/s.S/M"),
        ("content-type", "application/grpc"),
    ];
    rig.send([preface(), headers(1, 0, &grpc)].concat());
    rig.send([data(1, 0, b"\0\0\0\0\x03ab"), data(1, END, b"c")].concat());
    let events = [(":status", "200"), ("content-type", "text/event-stream")];
    rig.receive([settings(), headers(1, 0, &events)].concat());
    rig.receive(data(1, 0, b"event: x\ndata: one\n\ndata: t"));
    let seen = |rig: &Rig| rig.out.borrow().messages.clone();
    assert_eq!(seen(&rig), ["1 Send grpc abc", "2 Receive event one"]);
    rig.wait(1000);
    let pending = rig.out.borrow().pending.clone();
    let so_far = pending[0].response.as_ref().unwrap();
    assert_eq!((pending.len(), so_far.status), (1, 200));
    rig.receive(data(1, END, b"wo\n\n"));
    assert_eq!(seen(&rig).last().unwrap(), "3 Receive event two");
    let out = rig.out.borrow();
    let request = out.exchanges[0].request.as_ref().unwrap();
    let messages = request.body.messages.as_ref().unwrap();
    assert_eq!((messages.count, messages.listed[0].size), (1, 3));
}

#[test]
fn a_websocket_may_be_a_stream() {
    let mut rig = Rig::new();
    let connect = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/chat"),
        (":authority", "a.test"),
    ];
    rig.send([preface(), headers(1, 0, &connect)].concat());
    let deflate = "permessage-deflate; server_no_context_takeover";
    let fields = [(":status", "200"), ("sec-websocket-extensions", deflate)];
    rig.receive([settings(), headers(1, 0, &fields)].concat());
    let hello = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    rig.send([data(1, 0, &hello[..7]), data(1, 0, &hello[7..])].concat());
    rig.send(get(3, "/3"));
    rig.receive(data(1, 0, b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"));
    rig.receive(ok(3, END));
    rig.receive(data(1, 0, b"\x01\x03Hel"));
    rig.lose(Receive, 100);
    for text in ["\u{1}a", "\u{1}b", "\u{1}c"] {
        let frame = [&[0x81], text.as_bytes()].concat();
        rig.receive(data(1, 0, &frame));
    }
    rig.receive(data(1, END, b"\x88\x00"));
    rig.send(data(1, END, b""));
    let messages = rig.out.borrow().told.clone();
    assert!(messages[0].starts_with("1."), "{messages:?}");
    let sent = [
        "1 Send text complete Hello",
        "2 Receive text complete Hello",
    ];
    assert_eq!(messages[1..3], sent);
    assert!(
        messages.contains(&"3 Receive text lost Hel".to_owned()),
        "{messages:?}"
    );
    assert!(
        messages
            .last()
            .unwrap()
            .ends_with("Receive close complete "),
        "{messages:?}"
    );
    rig.finish();
    let out = rig.out.borrow();
    let exchange = out.exchanges.iter().find(|x| x.messages.is_some()).unwrap();
    assert_eq!(exchange.upgraded_to.map(|u| u.name()), Some("websocket"));
    assert_eq!(exchange.messages.map(|m| m[0]), Some(1));
}

#[test]
fn a_promise_of_a_clients_stream_is_nobodys() {
    let promise = |id: u32| {
        let fields = block(&[(":method", "GET"), (":path", "/forged")]);
        let payload = [&id.to_be_bytes()[..], &fields].concat();
        frame(kind::PUSH_PROMISE, WHOLE, 1, &payload)
    };
    let mut rig = Rig::new();
    rig.receive([settings(), promise(3), promise(1)].concat());
    rig.send([preface(), get(1, "/1"), get(3, "/3"), promise(4)].concat());
    rig.receive([ok(1, END), ok(3, END)].concat());
    assert_eq!(targets(&rig), ["/1", "/3"]);
    rig.finish();
    assert_eq!(rig.lines().len(), 2);
}

#[test]
fn trailers_after_a_gap_are_no_response() {
    let mut rig = Rig::new();
    rig.send([preface(), get(1, "/1"), get(3, "/3")].concat());
    rig.receive([settings(), ok(3, 0)].concat());
    rig.lose(Receive, 1000);
    rig.receive(data(3, 0, b"abc"));
    rig.receive([data(1, 0, b"de"), data(1, 0, b"f")].concat());
    rig.receive(headers(1, END, &[("grpc-status", "0")]));
    rig.receive(headers(3, END, &[("grpc-status", "5")]));
    let out = rig.out.borrow();
    let said = |n: usize| {
        let response = out.exchanges[n].response.as_ref().unwrap();
        let trailer = response.trailers.get("grpc-status").unwrap();
        (response.status, response.headers.len(), trailer.to_vec())
    };
    assert_eq!(said(0), (0, 0, b"0".to_vec()));
    assert_eq!(said(1), (200, 1, b"5".to_vec()));
    assert!(out.exchanges[0].notes.contains(&"header section lost"));
}

#[test]
fn the_response_after_a_lost_section_is_the_response() {
    let mut rig = Rig::new();
    rig.send([preface(), get(1, "/1")].concat());
    let hints = headers(1, 0, &[(":status", "103"), ("link", "</a>")]);
    rig.receive([&settings()[..], &hints[..12]].concat());
    rig.lose(Receive, hints.len() as u64 - 12);
    rig.receive([ok(1, 0), data(1, END, b"abc")].concat());
    assert_eq!(
        rig.lines(),
        ["GET /1 > Complete  | 200 < Complete abc | complete"]
    );
}

#[test]
fn what_comes_after_an_end_or_again_is_not_of_the_message() {
    let mut rig = Rig::new();
    let post = headers(1, 0, &[(":method", "POST"), (":path", "/1")]);
    rig.send([preface(), post.clone(), data(1, END, b"ab")].concat());
    rig.send([data(1, END, b"cd"), post, headers(1, END, &[("t", "1")])].concat());
    rig.receive([settings(), ok(1, 0), headers(1, 0, &[(":status", "404")])].concat());
    // No end, no trailers.
    rig.receive(headers(1, 0, &[("t", "2")]));
    rig.receive(data(1, END, b"e"));
    assert_eq!(
        rig.lines(),
        ["POST /1 > Complete ab | 200 < Complete e | complete"]
    );
    let out = rig.out.borrow();
    let x = &out.exchanges[0];
    assert!(x.request.as_ref().unwrap().trailers.is_empty());
    assert!(x.response.as_ref().unwrap().trailers.is_empty());
}

#[test]
fn an_undecided_stream_holds_no_more_however_often_it_ends() {
    let filter = Filter {
        statuses: vec!["2xx".parse().unwrap()],
        ..Filter::default()
    };
    let config = Config {
        filter,
        memory_limit: 100_000,
        ..Config::default()
    };
    let mut rig = Rig::with(config, info(1, true));
    rig.send([preface(), get(1, "/1")].concat());
    for _ in 0..2000 {
        rig.send([data(1, END, b""), headers(1, END, &[("t", "1")])].concat());
        rig.receive(data(1, 0, b"x"));
    }
    rig.receive([settings(), ok(1, END)].concat());
    rig.finish();
    assert_eq!(
        rig.lines(),
        ["GET /1 > Complete  | 200 < Complete  | complete"]
    );
    assert!(rig.wire(Send).len() < 200);
}

#[test]
fn streams_without_number_are_all_given_out() {
    let mut rig = Rig::new();
    rig.send(preface());
    for n in 0..40_000 {
        rig.send(get(2 * n + 1, "/"));
    }
    for n in 0..1000 {
        let goaway = [&(80_000u32 - 2 * n).to_be_bytes()[..], &[0; 4]].concat();
        rig.receive(frame(kind::GOAWAY, 0, 0, &goaway));
    }
    rig.finish();
    assert_eq!(rig.engine.stats().seen, 40_000);
}

#[test]
fn an_end_comes_after_what_is_written_after_it() {
    let filter = Filter {
        statuses: vec!["2xx".parse().unwrap()],
        ..Filter::default()
    };
    let config = Config {
        filter,
        ..Config::default()
    };
    let mut rig = Rig::with(config, info(1, true));
    rig.send([preface(), get(1, "/1")].concat());
    rig.end(Send);
    rig.receive([settings(), ok(1, 0)].concat());
    rig.receive(data(1, END, b"abc"));
    // The recorder wants offsets to rise.
    rig.close(false);
    assert_eq!(rig.lines().len(), 1);
    assert!(!rig.wire(Send).is_empty());
}

#[test]
fn a_value_whose_name_is_not_known_is_masked() {
    let config = Config {
        redact: Some(Redact::new(&[])),
        ..Config::default()
    };
    let mut rig = Rig::with(config, info(1, false));
    let fields = [
        &[0x82][..],
        &block(&[(":path", "/1"), (":authority", "me:s3cret@a.test")]),
        // The name is entry 62, from before; the value comes now.
        &[0x1f, 47, 6],
        b"s3cret",
    ]
    .concat();
    rig.send(frame(kind::HEADERS, END | WHOLE, 7, &fields));
    rig.receive(ok(7, END));
    rig.finish();
    let out = rig.out.borrow();
    let x = &out.exchanges[0];
    let request = x.request.as_ref().unwrap();
    assert_eq!(request.headers.get("<unknown:62>"), Some(&b"******"[..]));
    assert!(!format!("{x:?}").contains("115, 51, 99, 114, 101, 116"));
    assert!(memchr::memmem::find(&rig.wire(Send), b"s3cret").is_none());
}

#[test]
fn what_comes_late_for_any_of_a_thousand_is_no_new_stream() {
    let mut rig = Rig::with(Config::default(), info(1, false));
    let ids = || (1001..3001).step_by(2);
    rig.send(ids().flat_map(|id| get(id, "/x")).collect::<Vec<_>>());
    let reset = |id| frame(kind::RST_STREAM, 0, id, &8u32.to_be_bytes());
    rig.send(ids().flat_map(reset).collect::<Vec<_>>());
    // The server has not seen the resets yet.
    rig.receive(ids().flat_map(|id| ok(id, END)).collect::<Vec<_>>());
    rig.close(false);
    assert_eq!(rig.lines().len(), 1000);
}

#[test]
fn connect_may_be_read_after_its_response() {
    let plain = [(":method", "CONNECT"), (":authority", "b.test:443")];
    let mut rig = Rig::new();
    rig.send(preface());
    let answer = [settings(), ok(1, 0), data(1, 0, b"abcd")].concat();
    rig.receive(answer.clone());
    rig.send(headers(1, 0, &plain));
    rig.receive(data(1, END, b"ef"));
    rig.send(data(1, END, b"xyz"));
    let line = "CONNECT b.test:443 > Complete  | 200 < Complete  | complete tunnel [3, 6]";
    assert_eq!(rig.lines(), [line]);

    let websocket = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/chat"),
        (":authority", "a.test"),
    ];
    let mut rig = Rig::new();
    rig.send(preface());
    rig.receive([settings(), ok(1, 0), data(1, 0, b"\x81\x02Hi\x81")].concat());
    rig.send(headers(1, 0, &websocket));
    rig.receive(data(1, END, b"\x01!"));
    let messages = rig.out.borrow().told.clone();
    let texts = ["1 Receive text complete Hi", "2 Receive text complete !"];
    assert_eq!(messages[messages.len() - 2..], texts);
}
