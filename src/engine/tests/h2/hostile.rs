//! Ends that do what no client and no server does: it costs little and spoils
//! nothing else.

use super::{END, WHOLE, block, data, frame, get, headers, ok, preface, settings, targets};
use crate::engine::tests::support::Rig;
use crate::http::h2::{flag, kind};

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
