//! Connections of which something is missing: their beginning, or bytes in between.

use httpsniff::engine::Config;
use httpsniff::event::Direction::Receive;
use httpsniff::http::h2::{FrameHeader, kind};

use crate::dissection::{body, field};
use crate::frames::{END, WHOLE, data, frame, get2, headers, ok2, preface, settings};
use crate::pcapng_support::{check_sound, have};
use crate::run::{Live, client, path_filter};

#[test]
fn joined_in_the_middle_gives_what_can_be_given() {
    let mut live = Live::new(Config::default());
    let mut view = client(28080).with(|info| info.from_start = false);
    // The tables hold what nobody saw.
    live.send(
        &mut view,
        [frame(
            kind::HEADERS,
            WHOLE | END,
            7,
            &[0x82, 0x87, 0xbe, 0xbf],
        )]
        .concat(),
    );
    live.receive(
        &mut view,
        [headers(5, 0, &[(":status", "200")]), data(5, END, b"old")].concat(),
    );
    live.receive(&mut view, [ok2(7, 0), data(7, END, b"seven")].concat());
    live.send(&mut view, get2(9, "/nine"));
    live.receive(&mut view, [ok2(9, 0), data(9, END, b"nine")].concat());
    live.tick();
    live.tick();
    live.tick();
    live.close(&view);
    let done = live.finish();

    assert_eq!(done.exchanges.len(), 3);
    if have("tshark") {
        done.sound();
        let seen = done.dissected();
        assert!(field(&seen, "http2.headers.path").contains(&"9 /nine".to_owned()));
        let mut status = field(&seen, "http2.headers.status");
        status.sort();
        assert_eq!(status, ["5 200", "7 200", "9 200"]);
        assert_eq!(body(&seen, 9), b"nine");
        assert_eq!(body(&seen, 7), b"seven");
    }
    done.read_back();
}

#[test]
fn a_gap_in_a_body_keeps_the_length_and_what_follows() {
    for (lost, config) in [
        (1000, Config::default()),
        (1000, path_filter(&["/*"])),
        (1_000_000, Config::default()),
        (1_000_000, path_filter(&["/*"])),
    ] {
        let mut live = Live::new(config);
        let mut view = client(28080);
        live.send(
            &mut view,
            [preface(), get2(1, "/1"), get2(3, "/3")].concat(),
        );
        live.receive(&mut view, [settings(), ok2(1, 0)].concat());
        let length = u32::try_from(lost + 10).unwrap();
        let header = FrameHeader {
            length,
            kind: kind::DATA,
            flags: END,
            stream: 1,
        };
        live.receive(&mut view, [&header.encode()[..], b"begin"].concat());
        live.give(&mut view, Receive, b"", lost as u64);
        live.receive(
            &mut view,
            [&b"ended"[..], &ok2(3, 0), &data(3, END, b"three")].concat(),
        );
        live.close(&view);
        let done = live.finish();
        assert_eq!(done.exchanges.len(), 2);
        assert_eq!(done.exchanges[0]["lost_bytes"], lost);
        done.read_back();
        if !have("tshark") {
            return;
        }
        check_sound(&done.bytes);
        let seen = done.dissected();

        assert_eq!(field(&seen, "http2.headers.path"), ["1 /1", "3 /3"]);
        assert_eq!(
            field(&seen, "http2.headers.status"),
            ["1 200", "3 200"],
            "{lost}"
        );
        assert_eq!(body(&seen, 3), b"three");
        if lost == 1000 {
            let body = body(&seen, 1);
            assert_eq!(body.len(), 1010);
            assert!(body.starts_with(b"begin") && body.ends_with(b"ended"));
        }
    }
}

#[test]
fn a_gap_between_frames_is_a_frame_of_nobodys() {
    for config in [Config::default(), path_filter(&["/*"])] {
        let mut live = Live::new(config);
        let mut view = client(28080);
        live.send(
            &mut view,
            [preface(), get2(1, "/1"), get2(3, "/3")].concat(),
        );
        live.receive(
            &mut view,
            [settings(), ok2(1, 0), data(1, 0, b"begin")].concat(),
        );
        live.give(&mut view, Receive, b"", 500);
        live.receive(&mut view, data(1, END, b"ended"));
        live.receive(&mut view, [ok2(3, 0), data(3, END, b"three")].concat());
        live.close(&view);
        let done = live.finish();
        assert_eq!(done.exchanges.len(), 2);
        if have("tshark") {
            check_sound(&done.bytes);
            let seen = done.dissected();
            assert_eq!(field(&seen, "http2.headers.status"), ["1 200", "3 200"]);
            assert_eq!(body(&seen, 1), b"beginended");
            assert_eq!(body(&seen, 3), b"three");
        }
        done.read_back();
    }
}
