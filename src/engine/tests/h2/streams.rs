//! Streams of which all was seen, in whatever order: each is an exchange.

use super::{END, WHOLE, block, data, frame, get, headers, ok, preface, settings};
use crate::engine::tests::support::{Rig, check};
use crate::event::Direction::{Receive, Send};
use crate::http::h2::{flag, kind};

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
