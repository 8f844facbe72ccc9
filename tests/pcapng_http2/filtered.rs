//! Streams that a filter leaves out, and secrets that are masked: they are not in
//! the file, and the rest decodes.

use httpsniff::engine::Config;
use httpsniff::filter::Filter;
use httpsniff::redact::Redact;

use crate::dissection::{body, field};
use crate::frames::{END, data, get2, headers, ok2, preface, settings};
use crate::pcapng_support::have;
use crate::run::{Live, client, holds, path_filter, two};

#[test]
fn a_filter_splits_the_connection_and_the_rest_decodes() {
    let mut live = Live::new(path_filter(&["/three"]));
    two(&mut live, &mut client(28080));
    let done = live.finish();
    assert_eq!(done.exchanges.len(), 1);
    done.read_back();
    assert!(!holds(&done.bytes, "/one"));
    if have("tshark") {
        done.sound();
        let seen = done.dissected();
        assert_eq!(field(&seen, "http2.headers.path"), ["3 /three"]);
        assert_eq!(field(&seen, "http2.headers.method"), ["3 POST"]);
        assert_eq!(field(&seen, "http2.headers.authority"), ["3 a.test"]);
        assert_eq!(field(&seen, "http2.headers.status"), ["3 200"]);
        assert_eq!(body(&seen, 3), b"upthloadree");
    }
}

#[test]
fn a_filter_on_the_host_and_one_on_the_status() {
    let host = Filter {
        hosts: vec!["b.test".parse().unwrap()],
        ..Filter::default()
    };
    let status = Filter {
        statuses: vec!["404".parse().unwrap()],
        ..Filter::default()
    };
    for filter in [host, status] {
        let mut live = Live::new(Config {
            filter,
            ..Config::default()
        });
        let mut view = client(28080);
        let other = [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "b.test"),
            (":path", "/other"),
        ];
        live.send(&mut view, [preface(), get2(1, "/one")].concat());
        live.send(&mut view, headers(3, 0, &other));
        live.send(&mut view, data(3, 0, b"first "));
        live.receive(
            &mut view,
            [settings(), ok2(1, 0), data(1, 0, b"1")].concat(),
        );
        live.send(&mut view, data(3, END, b"second"));
        live.receive(&mut view, headers(3, 0, &[(":status", "404")]));
        live.receive(&mut view, data(1, END, b"1"));
        live.receive(&mut view, data(3, END, b" none"));
        live.close(&view);
        let done = live.finish();
        done.read_back();
        assert!(!holds(&done.bytes, "/one"));
        if have("tshark") {
            done.sound();
            let seen = done.dissected();
            assert_eq!(field(&seen, "http2.headers.path"), ["3 /other"]);
            assert_eq!(field(&seen, "http2.headers.status"), ["3 404"]);
            assert_eq!(body(&seen, 3), b"first second none");
        }
    }
}

#[test]
fn what_is_masked_is_stars_of_the_same_length_and_decodes() {
    let mut live = Live::new(Config {
        redact: Some(Redact::new(&[])),
        ..Config::default()
    });
    let mut view = client(28080);
    let fields = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "a.test"),
        (":path", "/x?token=abcdef"),
        ("authorization", "Bearer s3cret"),
    ];
    live.send(&mut view, [preface(), headers(1, END, &fields)].concat());
    let fields = [(":status", "200"), ("set-cookie", "sid=0123; Path=/")];
    live.receive(&mut view, [settings(), headers(1, 0, &fields)].concat());
    live.receive(&mut view, data(1, 0, b"public"));
    live.receive(&mut view, headers(1, END, &[("x-api-key", "hush")]));
    live.close(&view);
    let done = live.finish();
    done.read_back();
    for secret in ["s3cret", "abcdef", "0123", "hush"] {
        assert!(!holds(&done.bytes, secret), "{secret}");
    }
    if have("tshark") {
        done.sound();
        let seen = done.dissected();
        assert_eq!(field(&seen, "http2.headers.path"), ["1 /x?token=******"]);
        assert_eq!(
            field(&seen, "http2.headers.authorization"),
            ["1 Bearer ******"]
        );
        assert_eq!(
            field(&seen, "http2.headers.set_cookie"),
            [format!("1 {}", "*".repeat(16))]
        );
        assert_eq!(body(&seen, 1), b"public");
    }
}

#[test]
fn streams_that_are_decided_out_of_their_order_come_back() {
    let filter = Filter {
        statuses: vec!["200".parse().unwrap()],
        ..Filter::default()
    };
    let mut live = Live::new(Config {
        filter,
        ..Config::default()
    });
    let mut view = client(28080);
    live.send(&mut view, preface());
    for id in [1, 3, 5, 7] {
        live.send(&mut view, get2(id, &format!("/{id}")));
    }
    live.receive(&mut view, settings());
    for id in [5, 1, 7, 3] {
        live.receive(&mut view, [ok2(id, 0), data(id, END, b"x")].concat());
    }
    live.close(&view);
    let done = live.finish();
    assert_eq!(done.exchanges.len(), 4);
    done.read_back();
    if have("tshark") {
        done.sound();
        let seen = done.dissected();
        assert_eq!(
            field(&seen, "http2.headers.path"),
            ["5 /5", "1 /1", "7 /7", "3 /3"]
        );
    }
}
