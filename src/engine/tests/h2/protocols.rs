//! Streams that carry something else, and connections that begin as HTTP/1.1.

use super::{END, data, get, headers, ok, preface, settings};
use crate::engine::Config;
use crate::engine::tests::support::{Rig, check, info};
use crate::event::Direction::{Receive, Send};
use crate::filter::Filter;
use crate::redact::Redact;

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
