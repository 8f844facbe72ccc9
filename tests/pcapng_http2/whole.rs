//! Connections of which all was seen: tshark takes them for HTTP/2 and dissects
//! all that is in them.

use httpsniff::engine::Config;
use httpsniff::event::Source;
use httpsniff::http::h2::{flag, kind};

use crate::dissection::{body, field};
use crate::frames::{END, WHOLE, ask, block, data, frame, get2, headers, ok2, preface, settings};
use crate::pcapng_support::{View, curl, fields, have};
use crate::run::{Live, client, path_filter, two};

#[test]
fn the_option_is_printed_where_tshark_needs_it() {
    for (port, needed) in [(8080, false), (443, true), (6379, true), (28080, true)] {
        let mut live = Live::new(Config::default());
        two(&mut live, &mut client(port));
        let done = live.finish();
        let option = format!("-d tcp.port=={port},http");
        assert_eq!(done.options().join(" ") == option, needed, "{port}");
        assert_eq!(done.remarks.is_empty(), !needed);
        done.read_back();
        if !have("tshark") {
            return;
        }
        done.sound();
        let seen = done.dissected();
        assert_eq!(field(&seen, "http2.headers.path"), ["1 /one", "3 /three"]);
        assert_eq!(field(&seen, "http2.headers.method"), ["1 GET", "3 POST"]);
        assert_eq!(
            field(&seen, "http2.headers.authority"),
            ["1 a.test", "3 a.test"]
        );
        assert_eq!(field(&seen, "http2.headers.status"), ["3 200", "1 200"]);
        if needed {
            let plain = fields(&done.path, "http2", &["frame.number"]);
            assert_eq!(plain, [""; 0], "the option is of use on {port}");
        }
    }
}

#[test]
fn without_addresses_no_option_is_needed() {
    let mut live = Live::new(Config::default());
    let mut view = View::new(1, Source::OpenSsl, "", "", Some(curl()));
    two(&mut live, &mut view);
    let done = live.finish();
    assert_eq!(done.remarks, "");
    done.read_back();
    if have("tshark") {
        let seen = done.dissected();
        assert_eq!(field(&seen, "http2.headers.path"), ["1 /one", "3 /three"]);
    }
}

#[test]
fn a_server_that_speaks_first_is_no_client() {
    let mut live = Live::new(Config::default());
    let mut view = client(28080);
    live.receive(&mut view, settings());
    live.send(&mut view, [preface(), get2(1, "/x")].concat());
    live.receive(&mut view, ok2(1, END));
    live.close(&view);
    let done = live.finish();
    assert_eq!(done.options(), ["-d", "tcp.port==28080,http"]);
    done.read_back();
    if have("tshark") {
        done.sound();
        let seen = done.dissected();
        let syn = fields(
            &done.path,
            "tcp.flags.syn == 1 && tcp.flags.ack == 0",
            &["tcp.dstport"],
        );
        assert_eq!(syn, ["28080"]);
        assert_eq!(field(&seen, "http2.headers.path"), ["1 /x"]);
        assert_eq!(field(&seen, "http2.headers.status"), ["1 200"]);
    }
}

#[test]
fn an_upgrade_needs_no_option() {
    for config in [Config::default(), path_filter(&["/*"])] {
        let mut live = Live::new(config);
        let mut view = client(28080);
        live.send(
            &mut view,
            b"GET /up HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, HTTP2-Settings\r\n\
              Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
        );
        live.receive(
            &mut view,
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        );
        live.receive(&mut view, settings());
        live.send(&mut view, preface());
        live.receive(&mut view, [ok2(1, 0), data(1, END, b"first")].concat());
        live.send(&mut view, get2(3, "/3"));
        live.receive(&mut view, [ok2(3, 0), data(3, END, b"third")].concat());
        live.close(&view);
        let done = live.finish();
        assert_eq!(done.remarks, "");
        if have("tshark") {
            done.sound();
            let seen = done.dissected();
            assert_eq!(field(&seen, "http2.headers.path"), ["3 /3"]);
            assert_eq!(field(&seen, "http2.headers.status"), ["1 200", "3 200"]);
            assert_eq!(body(&seen, 1), b"first");
            assert_eq!(body(&seen, 3), b"third");
        }
        done.read_back();
    }
}

#[test]
fn everything_that_http2_has_is_dissected() {
    for config in [Config::default(), path_filter(&["/a*", "/push"])] {
        let mut live = Live::new(config);
        let mut view = client(28080);
        let long = "v".repeat(20_000);
        live.send(&mut view, preface());
        // A section over three frames, with padding and a priority.
        let fields = [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "a.test"),
            (":path", "/a1"),
            ("x-long", &long),
        ];
        let section = block(&fields);
        let mut first = vec![2, 0, 0, 0, 0, 9];
        first.extend(&section[..16_000]);
        first.extend([0, 0]);
        let flags = flag::PADDED | flag::PRIORITY;
        live.send(&mut view, frame(kind::HEADERS, flags, 1, &first));
        live.send(
            &mut view,
            frame(kind::CONTINUATION, 0, 1, &section[16_000..18_000]),
        );
        live.send(
            &mut view,
            frame(kind::CONTINUATION, WHOLE, 1, &section[18_000..]),
        );
        live.send(&mut view, data(1, flag::PADDED, b"\x03body\0\0\0"));
        live.send(&mut view, headers(1, END, &[("x-request-trailer", "t1")]));
        let promised = [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "a.test"),
            (":path", "/push"),
        ];
        let push = [&2_u32.to_be_bytes()[..], &block(&promised)].concat();
        live.receive(&mut view, settings());
        live.receive(
            &mut view,
            headers(1, 0, &[(":status", "103"), ("link", "</s>")]),
        );
        live.receive(&mut view, frame(kind::PUSH_PROMISE, WHOLE, 1, &push));
        live.receive(
            &mut view,
            [ok2(1, 0), ok2(2, 0), data(2, END, b"pushed")].concat(),
        );
        live.receive(&mut view, data(1, 0, b"answer"));
        live.receive(&mut view, headers(1, END, &[("grpc-status", "0")]));
        live.send(&mut view, ask(3, "PUT", "/a3", 0));
        live.receive(&mut view, frame(kind::RST_STREAM, 0, 3, &[0, 0, 0, 8]));
        live.receive(
            &mut view,
            frame(kind::GOAWAY, 0, 0, &[0, 0, 0, 3, 0, 0, 0, 0]),
        );
        live.close(&view);
        let done = live.finish();
        assert_eq!(done.exchanges.len(), 3);
        done.read_back();
        if !have("tshark") {
            return;
        }
        done.sound();
        let seen = done.dissected();
        let mut paths = field(&seen, "http2.headers.path");
        paths.sort();
        assert_eq!(paths, ["1 /a1", "1 /push", "3 /a3"]);
        assert_eq!(
            field(&seen, "http2.headers.status"),
            ["1 103", "1 200", "2 200"]
        );
        let values = field(&seen, "http2.header.value");
        for value in ["1 t1", "1 0", "1 </s>"] {
            assert!(values.iter().any(|v| v == value), "{value}");
        }
        assert!(values.contains(&format!("1 {long}")));
        assert_eq!(body(&seen, 1), b"bodyanswer");
        assert_eq!(body(&seen, 2), b"pushed");
        assert_eq!(field(&seen, "http2.rst_stream.error"), ["3 8"]);
    }
}
