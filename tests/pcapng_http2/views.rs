//! Connections that are seen otherwise than by one process: at both ends, or by
//! tcpdump.

use httpsniff::engine::Config;
use httpsniff::event::Source;
use httpsniff::redact::Redact;

use crate::dissection::{body, field};
use crate::frames::{END, ask, data, ok2, preface, settings};
use crate::pcapng_support::{View, have, nginx, noise};
use crate::run::{Live, client, feed, path_filter};

/// Both ends of a connection, the receiver's records cut otherwise than the
/// sender's.
#[test]
fn both_ends_are_one_stream_of_packets_and_two_views() {
    let masked = Config {
        redact: Some(Redact::new(&[])),
        ..Config::default()
    };
    for (name, config, streams) in [
        ("as it is", Config::default(), 20),
        ("masked", masked, 20),
        ("filtered", path_filter(&["/x/1*"]), 11),
    ] {
        println!("{name}");
        let mut live = Live::new(config);
        let mut client = client(28080);
        let mut server = View::new(
            2,
            Source::Tcp,
            "127.0.0.1:28080",
            "127.0.0.1:50000",
            Some(nginx()),
        );
        let content = noise(40_000);
        live.send(&mut client, preface());
        live.receive(&mut server, preface());
        live.send(&mut server, settings());
        live.receive(&mut client, settings());
        for n in 1..=20_u32 {
            let id = 2 * n - 1;
            let request = [
                ask(id, "POST", &format!("/x/{n}"), 0),
                data(id, 0, &content[..10_000]),
                data(id, END, &content[10_000..12_000]),
            ]
            .concat();
            let response = [
                ok2(id, 0),
                data(id, 0, &content[..16_384]),
                data(id, 0, &content[16_384..32_768]),
                data(id, END, &content[32_768..]),
            ]
            .concat();
            live.send(&mut client, &request);
            for part in request.chunks(1448) {
                live.receive(&mut server, part);
            }
            for part in response.chunks(8192) {
                live.send(&mut server, part);
            }
            for part in response.chunks(5000) {
                live.receive(&mut client, part);
            }
        }
        live.close(&client);
        live.close(&server);
        let done = live.finish();
        assert_eq!(done.exchanges.len(), 2 * streams);
        done.read_back();
        if have("tshark") {
            done.sound();
            let seen = done.dissected();
            assert_eq!(field(&seen, "http2.headers.path").len(), streams);
            assert_eq!(field(&seen, "http2.headers.status").len(), streams);
            let wanted = [&content[..12_000], &content[..]].concat();
            for stream in [1, 19] {
                let found = body(&seen, stream);
                let same = found.iter().zip(&wanted).take_while(|(a, b)| a == b);
                let same = same.count();
                assert!(found == wanted, "{stream}: {} {same}", found.len());
            }
        }
    }
}

/// tcpdump's packets of nghttp (which opens its first stream as 13) and curl.
#[test]
fn a_capture_of_tcpdump_is_read_and_written() {
    let bytes = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/http2.pcap")).unwrap();
    for config in [Config::default(), path_filter(&["/a.txt"])] {
        let filtered = !config.filter.is_empty();
        let mut live = Live::new(config);
        live.now = feed(&mut live.engine, &bytes).0;
        let done = live.finish();
        let mut shown = Vec::new();
        for exchange in &done.exchanges {
            shown.push((
                exchange["request"]["method"].as_str().unwrap(),
                exchange["request"]["target"].as_str().unwrap(),
                exchange["response"]["status"].as_u64().unwrap(),
                exchange["response"]["body"]["size"].as_u64().unwrap(),
            ));
            assert_eq!(exchange["state"], "complete");
        }
        let mut wanted = vec![
            ("GET", "/a.txt", 200, 949),
            ("GET", "/b.txt", 200, 6),
            ("POST", "/a.txt", 200, 949),
        ];
        if filtered {
            wanted.remove(1);
        }
        assert_eq!(shown, wanted);
        done.read_back();
        if have("tshark") {
            let seen = done.dissected();
            let mut paths = field(&seen, "http2.headers.path");
            paths.sort();
            assert_eq!(paths.len(), wanted.len());
            assert_eq!(body(&seen, 13).len(), 949);
        }
    }
}
