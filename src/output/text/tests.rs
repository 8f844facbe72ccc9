//! What a person sees.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::exchange::BodyState;
use crate::output::escape;
use crate::output::samples::{self, Shared};
use crate::process::Process;

fn utc() -> Options {
    Options {
        utc: true,
        ..Options::default()
    }
}

fn text(options: Options, exchanges: &[Exchange]) -> String {
    let shared = Shared::default();
    let mut sink = Text::new(Box::new(shared.clone()), options);
    for exchange in exchanges {
        sink.exchange(exchange).unwrap();
    }
    sink.finish(Timestamp(0)).unwrap();
    shared.take_text()
}

#[test]
fn all_kinds_of_exchange_give_the_golden_text() {
    for (name, verbosity, width) in [
        ("lines.txt", 0, None),
        ("lines-80.txt", 0, Some(80)),
        ("lines-140.txt", 0, Some(140)),
        ("headers.txt", 1, None),
        ("bodies.txt", 2, None),
    ] {
        let options = Options {
            verbosity,
            width,
            ..utc()
        };
        let text = text(options, &samples::all());
        samples::compare_golden(name, text.as_bytes());
    }
}

#[test]
fn a_line_is_never_wider_than_the_terminal() {
    for width in [0, 1, 12, 30, 50, 79, 80, 110, 140, 300] {
        let options = Options {
            width: Some(width),
            ..utc()
        };
        let mut exchanges = samples::all();
        exchanges.extend(samples::all());
        for line in text(options, &exchanges).lines() {
            assert!(escape::width(line) <= width, "{width}: {line}");
        }
    }
}

#[test]
fn without_a_terminal_nothing_is_cut() {
    let mut exchange = samples::plain();
    let long = "/a".repeat(500);
    exchange.request = Some(samples::request("GET", "https", "example.com", &long));
    assert!(text(utc(), &[exchange]).contains(&long));
}

#[test]
fn columns_grow_once_and_stay() {
    let mut exchanges = vec![samples::plain()];
    for target in ["/a/longer/path/than/the/column/is", "/x", "/y"] {
        let mut exchange = samples::plain();
        exchange.request = Some(samples::request("GET", "https", "example.com", target));
        exchanges.push(exchange);
    }
    let text = text(utc(), &exchanges);
    let places: Vec<usize> = text.lines().map(|l| l.find("  200 ").unwrap()).collect();
    assert!(places[1] > places[0]);
    assert_eq!(places[1..], [places[1]; 3]);
}

#[test]
fn a_long_url_loses_its_query_first_and_then_its_middle() {
    let line = |target: &str| {
        let mut exchange = samples::plain();
        exchange.request = Some(samples::request("GET", "https", "example.com", target));
        let options = Options {
            width: Some(80),
            ..utc()
        };
        text(options, &[exchange])
    };
    assert!(line("/x?q=a+long+question+that+goes+on").contains("example.com/x?q="));
    let cut = line("/some/long/path/that/goes/on/to/users?q=1");
    assert!(
        cut.contains("https://") && cut.contains("/to/users "),
        "{cut}"
    );
}

#[test]
fn a_pending_request_has_no_status() {
    let mut exchange = samples::plain();
    exchange.response = None;
    let options = Options {
        partial: true,
        ..utc()
    };
    let shared = Shared::default();
    let mut sink = Text::new(Box::new(shared.clone()), options);
    assert!(sink.wants().requests);
    sink.request(&exchange).unwrap();
    sink.tick(Timestamp(0)).unwrap();
    let text = shared.take_text();
    assert!(
        text.ends_with("…    #7.1\n") && text.contains("https://example.com/x"),
        "{text}"
    );
}

#[test]
fn colours_change_nothing_but_colours() {
    for verbosity in [0, 1, 2] {
        let plain = Options {
            verbosity,
            width: Some(100),
            ..utc()
        };
        let colored = Options {
            color: true,
            ..plain
        };
        let mut stripped = String::new();
        let colored = text(colored, &samples::all());
        let mut pieces = colored.split('\x1b');
        stripped.push_str(pieces.next().unwrap());
        for piece in pieces {
            stripped.push_str(piece.split_once('m').unwrap().1);
        }
        assert_eq!(
            stripped.replace(' ', ""),
            text(plain, &samples::all()).replace(' ', "")
        );
        assert!(colored.contains("\x1b[32m200"));
    }
}

#[test]
fn bodies_are_wanted_only_for_vv() {
    for (verbosity, bodies) in [(0, false), (1, false), (2, true)] {
        let options = Options { verbosity, ..utc() };
        let sink = Text::new(Box::new(Shared::default()), options);
        assert_eq!(sink.wants().bodies, bodies);
        assert!(!sink.wants().requests);
    }
}

#[test]
fn a_long_text_is_cut_at_4_kib_and_the_rest_is_counted() {
    let mut exchange = samples::plain();
    let body = format!("{}é{}", "a".repeat(4095), "b".repeat(5000));
    exchange.response = Some(samples::response(200, "OK", "text/plain", body.as_bytes()));
    let options = Options {
        verbosity: 2,
        ..utc()
    };
    let text = text(options, &[exchange]);
    assert!(text.contains(&"a".repeat(4095)));
    assert!(!text.contains('é') && !text.contains("bb"));
    assert!(text.contains("[… 4.88 KiB more]"), "{text}");
}

/// What a sink says of an exchange that lasts and is shown by `steps`.
fn lasting(options: Options, exchange: &Exchange, steps: impl Fn(&mut Text)) -> String {
    let shared = Shared::default();
    let mut sink = Text::new(Box::new(shared.clone()), options);
    steps(&mut sink);
    sink.exchange(exchange).unwrap();
    assert!(sink.told.is_empty());
    sink.finish(Timestamp(0)).unwrap();
    shared.take_text()
}

#[test]
fn an_exchange_that_lasts_is_shown_and_its_result_has_its_number() {
    let mut so_far = samples::plain();
    so_far.times.response_end = None;
    let text = lasting(utc(), &samples::plain(), |sink| {
        sink.pending(&so_far).unwrap();
    });
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].ends_with("200       5 B  … #7.1"), "{text}");
    assert!(lines[1].ends_with("200       5 B  0.88 ms  #7.1"), "{text}");
    // The line of --partial was there already.
    let options = Options {
        partial: true,
        ..utc()
    };
    so_far.response = None;
    let text = lasting(options, &samples::plain(), |sink| {
        sink.request(&so_far).unwrap();
        sink.pending(&so_far).unwrap();
    });
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[test]
fn an_unknown_status_is_none() {
    let mut exchange = samples::h2();
    exchange.response.as_mut().unwrap().status = 0;
    let options = Options {
        verbosity: 1,
        ..utc()
    };
    let text = text(options, &[exchange]);
    assert!(text.contains("  ???  "), "{text}");
    assert!(text.contains("\n< HTTP/2 ???\n"), "{text}");
}

/// A stream of `count` events in one second.
fn events(options: Options, count: u64) -> String {
    let mut exchange = samples::plain();
    let body = b"data: one\n\n";
    exchange.response = Some(samples::response(200, "OK", "text/event-stream", body));
    lasting(options, &exchange, |sink| {
        for number in 1..=count {
            let message = Message {
                number,
                direction: crate::event::Direction::Receive,
                event: Some(b"tick"),
                event_id: Some(b"a\x1b"),
                ..samples::message(MessageKind::Event, b"one")
            };
            sink.message(&exchange, &message).unwrap();
        }
    })
}

#[test]
fn events_have_lines_but_do_not_flood() {
    let text = events(utc(), 20);
    assert_eq!(text.matches("↓ event  #7.1").count(), 5, "{text}");
    assert!(text.contains("tick: one"), "{text}");
    assert!(text.contains("  #7.1  20 events, 15 not shown\n"), "{text}");
    // The first one says whose they are.
    assert!(text.lines().next().unwrap().ends_with("… #7.1"), "{text}");
    assert_eq!(text.matches(" GET ").count(), 2, "{text}");
    let options = Options {
        verbosity: 1,
        ..utc()
    };
    let text = events(options, 20);
    assert_eq!(text.matches("↓ event  #7.1").count(), 20, "{text}");
    assert!(text.contains("  #7.1  20 events\n"), "{text}");
}

#[test]
fn what_came_in_events_is_not_shown_again() {
    let options = Options {
        verbosity: 2,
        ..utc()
    };
    let text = events(options, 2);
    assert!(text.contains("3 B  tick  id a\\x1b\n  one\n"), "{text}");
    assert!(text.contains("\n  [2 events, above]\n"), "{text}");
    assert!(!text.contains("data: one"), "{text}");
    assert!(events(options, 0).contains("data: one"));
}

/// A call of which the messages from number `first` on are given.
fn call(verbosity: u8, first: u64) -> String {
    let options = Options { verbosity, ..utc() };
    let exchange = samples::grpc();
    lasting(options, &exchange, |sink| {
        for number in first..=3 {
            let message = Message {
                number,
                compressed: number == 3,
                ..samples::message(MessageKind::Grpc, b"\x0a\x03abc")
            };
            sink.message(&exchange, &message).unwrap();
        }
    })
}

#[test]
fn messages_of_grpc_are_shown_once() {
    let line = "gRPC NOT_FOUND ↑ 3 ↓ 0\n";
    let text = call(0, 1);
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.ends_with(&format!("ms  {line}")), "{text}");
    let text = call(2, 1);
    let message = "↑ grpc   #15.1       5 B  shop.Stock/Find\n  00000000  0a 03 61";
    assert_eq!(text.matches(message).count(), 2, "{text}");
    assert!(
        text.contains("5 B  [compressed]  shop.Stock/Find\n"),
        "{text}"
    );
    assert!(text.contains(&format!("  #15.1  {line}")), "{text}");
    assert!(!text.contains("message 1:"), "{text}");
    // Those before the filter had decided are told at the end.
    let text = call(2, 2);
    assert!(text.contains("[message 1: 5 B]"), "{text}");
}

#[test]
fn a_long_call_is_cut() {
    let mut exchange = samples::grpc();
    let request = exchange.request.as_mut().unwrap();
    request.body = samples::body(b"\0\0\0\x01\x2c");
    request.body.bytes.extend([7; 300]);
    request.body.bytes.extend(b"\0\0\0\0\0".repeat(30));
    let messages = crate::exchange::BodyMessages {
        count: 1_000_031,
        ..Default::default()
    };
    request.body.messages = Some(Box::new(messages));
    let options = Options {
        verbosity: 2,
        ..utc()
    };
    let text = text(options, &[exchange]);
    assert!(text.contains("[message 1: 300 B]"), "{text}");
    assert!(text.contains("[… 44 B more]"), "{text}");
    assert!(text.contains("[… 1000011 more messages]"), "{text}");
    assert!(
        text.contains("1000031 messages sent, 0 messages received"),
        "{text}"
    );
}

/// An upgrade, messages, the end.
fn websocket(options: Options, messages: &[Message<'_>]) -> String {
    let shared = Shared::default();
    let mut sink = Text::new(Box::new(shared.clone()), options);
    let mut exchange = samples::websocket();
    exchange.state = crate::exchange::State::Open;
    sink.upgraded(&exchange).unwrap();
    for message in messages {
        sink.message(&exchange, message).unwrap();
    }
    sink.exchange(&samples::websocket()).unwrap();
    sink.finish(Timestamp(0)).unwrap();
    shared.take_text()
}

#[test]
fn a_message_has_a_line_between_those_of_its_exchange() {
    let close = Message {
        direction: crate::event::Direction::Receive,
        close: Some((1000, b"bye")),
        ..samples::message(MessageKind::Close, b"\x03\xe8bye")
    };
    let odd = Message {
        compressed: true,
        fragments: 2,
        state: BodyState::Undecodable,
        size: None,
        ..samples::message(MessageKind::Binary, b"")
    };
    let messages = [
        samples::message(MessageKind::Text, b"Hello\nworld"),
        samples::message(MessageKind::Ping, b"\x00\xff"),
        odd,
        close,
    ];
    assert_eq!(
        websocket(utc(), &messages),
        concat!(
            "12:00:00.123  curl[4242]        → GET  https://example.com/chat                  101       0 B  0.88 ms  websocket #7.1\n",
            "12:00:00.123  curl[4242]        ↑ text   #7.1      11 B  Hello\\x0aworld\n",
            "12:00:00.123  curl[4242]        ↑ ping   #7.1       2 B  00 ff\n",
            "12:00:00.123  curl[4242]        ↑ binary #7.1       0 B  could not be decompressed\n",
            "12:00:00.123  curl[4242]        ↓ close  #7.1       5 B  1000 bye\n",
            "12:00:00.123  curl[4242]        → GET  https://example.com/chat                  101       0 B  0.88 ms  websocket #7.1 ended ↑ 12 in 1.20 KiB ↓ 3 in 20 B\n",
        )
    );
    let options = Options {
        verbosity: 2,
        ..utc()
    };
    let text = websocket(options, &messages);
    assert!(text.contains("11 B\n  Hello\n  world\n"), "{text}");
    assert!(text.contains("  00000000  00 ff "), "{text}");
    assert!(text.contains("[compressed to 0 B, 2 frames]"), "{text}");
    assert_eq!(text.matches("> Host: example.com").count(), 1, "{text}");
}

#[test]
fn a_message_is_cut_to_the_terminal_and_safe() {
    let data = "\u{1b}[2J\u{202e}世界 ".repeat(2000);
    for width in [0, 20, 50, 80, 140] {
        let options = Options {
            width: Some(width),
            ..utc()
        };
        let all = [
            samples::message(MessageKind::Text, data.as_bytes()),
            samples::message(MessageKind::Binary, &[0xff; 100]),
            samples::message(MessageKind::Continuation, b"x"),
        ];
        let text = websocket(options, &all);
        for line in text.lines() {
            assert!(escape::width(line) <= width, "{width}: {line}");
        }
        assert!(!text.chars().any(|c| escape::is_unsafe(c) && c != '\n'));
    }
}

#[test]
fn nothing_is_held_after_a_tick_or_on_a_terminal() {
    let shared = Shared::default();
    let mut sink = Text::new(Box::new(shared.clone()), utc());
    sink.exchange(&samples::plain()).unwrap();
    assert!(shared.take().is_empty());
    sink.tick(Timestamp(0)).unwrap();
    assert!(!shared.take().is_empty());
    let options = Options {
        line_buffered: true,
        ..utc()
    };
    let mut sink = Text::new(Box::new(shared.clone()), options);
    sink.exchange(&samples::plain()).unwrap();
    assert!(shared.take().ends_with(b"\n"));
}

proptest! {
    #[test]
    fn any_bytes_give_safe_text(
        bytes: Vec<u8>, name: Vec<u8>, text_body: String, width in 0..200_usize, pid: u32,
    ) {
        let mut exchange = samples::served();
        exchange.process = Some(Arc::new(Process {
            pid,
            comm: bytes.clone(),
            exe: Some(bytes.clone()),
            cmdline: vec![bytes.clone(), name.clone()],
            container: Some(text_body.clone()),
            container_name: Some(text_body.clone()),
            ..Process::default()
        }));
        let request = exchange.request.as_mut().unwrap();
        request.target.clone_from(&bytes);
        request.method.clone_from(&name);
        request.headers.push(&name, &bytes);
        request.body.bytes.clone_from(&bytes);
        let response = exchange.response.as_mut().unwrap();
        response.reason.clone_from(&name);
        response.body = samples::body(text_body.as_bytes());
        response.headers = crate::exchange::Fields::default();
        response.headers.push(b"Content-Type", &bytes);
        exchange.thread = bytes;
        let options = Options { verbosity: 2, width: Some(width), ..utc() };
        let text = text(options, &[exchange]);
        prop_assert!(!text.chars().any(|c| escape::is_unsafe(c) && c != '\n' && c != '\t'));
        prop_assert!(escape::width(text.lines().next().unwrap()) <= width);
    }
}

/// Prints what the samples look like: `cargo test … show -- --ignored --nocapture`.
#[test]
#[ignore = "for eyes, not for the machine"]
fn show() {
    let width = std::env::var("COLUMNS").ok().and_then(|w| w.parse().ok());
    let targets = [
        "/",
        "/api/v1/users?page=2&limit=50&sort=name",
        "/assets/app.3f2b1c.js",
        "/login",
        "/api/v1/orders/8bb0e0b2-6c8a-4b5b-9d3e-0a6b3f0c1d2e/items",
        "/favicon.ico",
    ];
    let statuses = [200, 200, 304, 302, 500, 404];
    let mut exchanges = Vec::new();
    for n in 0..12_usize {
        let mut exchange = samples::plain();
        let method = ["GET", "GET", "POST"][n % 3];
        let host = ["shop.example.com", "localhost:8080"][n / 3 % 2];
        exchange.request = Some(samples::request(
            method,
            ["https", "http"][n / 3 % 2],
            host,
            targets[n % 6],
        ));
        let mut response = samples::response(statuses[n % 6], "X", "text/html", b"<p>hello</p>\n");
        response.body.size = Some(10_u64.pow(n as u32 % 7) * 3);
        exchange.response = Some(response);
        exchange.times.request_start = Some(Timestamp(samples::NOON + n as u64 * 1_234_567));
        exchange.times.response_end = Some(Timestamp(
            samples::NOON + n as u64 * 1_234_567 + 10_u64.pow(n as u32),
        ));
        if n % 4 == 1 {
            exchange.process = Some(samples::process(31_337, "gunicorn", &["gunicorn"]));
            exchange.role = crate::exchange::Role::Server;
        }
        exchanges.push(exchange);
    }
    exchanges.extend(samples::all());
    for verbosity in [0, 2] {
        let options = Options {
            verbosity,
            width,
            color: true,
            ..utc()
        };
        print!("{}", text(options, &exchanges));
    }
}

#[test]
fn tls_connections_that_were_not_read_have_a_line_each() {
    for (name, width) in [("flows.txt", None), ("flows-80.txt", Some(80))] {
        let shared = Shared::default();
        let mut sink = Text::new(Box::new(shared.clone()), Options { width, ..utc() });
        for flow in samples::flows() {
            sink.tls(&flow).unwrap();
        }
        sink.finish(Timestamp(0)).unwrap();
        let text = shared.take_text();
        assert!(!text.contains(['\x1b', '\x07', '\u{202e}']), "{text}");
        assert!(
            text.lines()
                .all(|line| width.is_none_or(|w| escape::width(line) <= w))
        );
        samples::compare_golden(name, text.as_bytes());
    }
}
