//! What a filter leaves out and what is masked, in exchanges and on the wire.

use super::{END, WHOLE, block, data, frame, get, headers, ok, preface, settings};
use crate::engine::Config;
use crate::engine::tests::support::{Rig, info, line};
use crate::event::Direction::{Receive, Send};
use crate::filter::Filter;
use crate::http::h2::kind;
use crate::redact::Redact;

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
