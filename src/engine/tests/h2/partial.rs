//! Connections that are joined in their midst, and such with gaps: what is left
//! is right, and no more is made of it than it says.

use super::{
    END, WHOLE, block, data, frame, get, headers, indexed, ok, preface, settings, targets,
};
use crate::engine::Config;
use crate::engine::tests::support::{Rig, info};
use crate::event::Direction::Receive;
use crate::exchange::Exchange;
use crate::http::h2::kind;

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
