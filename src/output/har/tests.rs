//! The document: whole at any time, and what is in it.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::*;
use crate::output::samples;

/// A place that keeps what is written.
#[derive(Clone, Default)]
struct Kept {
    bytes: Arc<Mutex<Vec<u8>>>,
    /// A file, not a pipe.
    file: bool,
    ending: usize,
}

impl Kept {
    fn text(&self) -> String {
        String::from_utf8(self.bytes.lock().unwrap().clone()).unwrap()
    }

    fn entries(&self) -> Vec<Value> {
        let document: Value = serde_json::from_str(&self.text()).unwrap();
        document["log"]["entries"].as_array().unwrap().clone()
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Ending for Kept {
    fn write_with_ending(&mut self, bytes: &[u8], ending: usize) -> io::Result<bool> {
        let mut kept = self.bytes.lock().unwrap();
        if !self.file {
            kept.extend(&bytes[..bytes.len() - ending]);
            return Ok(false);
        }
        let whole = kept.len() - self.ending;
        kept.truncate(whole);
        kept.extend(bytes);
        self.ending = ending;
        Ok(true)
    }
}

fn places() -> [Kept; 2] {
    [false, true].map(|file| Kept {
        file,
        ..Kept::default()
    })
}

fn har(place: impl Ending + 'static) -> Har {
    let options = Options {
        max_messages: 1 << 20,
    };
    Har::new(Box::new(place), options)
}

fn entry(exchange: &Exchange) -> Value {
    let place = Kept::default();
    let mut sink = har(place.clone());
    sink.exchange(exchange).unwrap();
    sink.finish(Timestamp(0)).unwrap();
    place.entries().remove(0)
}

#[test]
fn a_file_is_whole_after_every_batch_and_a_pipe_at_the_end() {
    let mut ends = Vec::new();
    for place in places() {
        let mut sink = har(place.clone());
        assert_eq!(place.text(), "");
        for n in 0..4 {
            sink.tick(Timestamp(0)).unwrap();
            if place.file {
                assert_eq!(place.entries().len(), n);
            } else {
                assert!(place.text().ends_with('\n') && !place.text().ends_with(ENDING));
            }
            sink.exchange(&samples::served()).unwrap();
        }
        sink.finish(Timestamp(0)).unwrap();
        sink.finish(Timestamp(0)).unwrap();
        assert_eq!(place.entries().len(), 4);
        ends.push(place.text());
    }
    assert_eq!(ends[0], ends[1]);
}

#[test]
fn nothing_seen_is_an_empty_list() {
    for place in places() {
        har(place.clone()).finish(Timestamp(0)).unwrap();
        assert!(place.entries().is_empty());
    }
}

#[test]
fn every_entry_is_one_line_that_is_json_but_for_its_comma() {
    let place = Kept::default();
    let mut sink = har(place.clone());
    let all = samples::all();
    for exchange in &all {
        sink.exchange(exchange).unwrap();
    }
    sink.finish(Timestamp(0)).unwrap();
    let text = place.text();
    let lines = text.lines().filter_map(|line| {
        let line = line.strip_prefix(',').unwrap_or(line);
        serde_json::from_str::<Value>(line).ok()
    });
    assert_eq!(lines.collect::<Vec<_>>(), place.entries());
    assert_eq!(place.entries().len(), all.len());
}

#[test]
fn all_kinds_of_exchange_give_the_golden_file() {
    let place = Kept::default();
    let mut sink = har(place.clone());
    for exchange in samples::all() {
        sink.exchange(&exchange).unwrap();
    }
    sink.finish(Timestamp(0)).unwrap();
    let text = place.text().replace(env!("CARGO_PKG_VERSION"), "0.0.0");
    samples::compare_golden("exchanges.har", text.as_bytes());
}

#[test]
fn an_entry_is_exactly_this() {
    assert_eq!(
        entry(&samples::plain()),
        json!({
            "startedDateTime": "2026-11-20T12:00:00.123456Z",
            "time": 0.882,
            "request": {
                "method": "GET", "url": "https://example.com/x", "httpVersion": "HTTP/1.1",
                "cookies": [], "headers": [{"name": "Host", "value": "example.com"}],
                "queryString": [], "headersSize": -1, "bodySize": 0,
            },
            "response": {
                "status": 200, "statusText": "OK", "httpVersion": "HTTP/1.1",
                "cookies": [], "headers": [{"name": "Content-Type", "value": "text/plain"}],
                "content": {"size": 5, "mimeType": "text/plain", "text": "hello"},
                "redirectURL": "", "headersSize": -1, "bodySize": 5,
            },
            "cache": {},
            "timings": {
                "blocked": -1, "dns": -1, "connect": -1,
                "send": 0.012, "wait": 0.830, "receive": 0.040, "ssl": -1,
            },
            "serverIPAddress": "127.0.0.1", "connection": "443",
            "_connectionId": "7", "_id": "7.1",
            "_local": "127.0.0.1:50000", "_peer": "127.0.0.1:443",
            "_source": "openssl", "_tls_library": "OpenSSL 3.0.22",
            "_role": "client", "_state": "complete", "_protocol": "HTTP/1.1",
            "_lost_bytes": 0, "_notes": [],
            "_pid": 4242, "_comm": "curl", "_exe": "/usr/bin/curl",
            "_cmdline": ["curl", "-s", "https://example.com/x"], "_uid": 1000,
            "_tid": 4242, "_thread": "curl",
        })
    );
}

#[test]
fn a_server_names_its_own_address_and_a_body_its_parameters() {
    let mut exchange = samples::served();
    let request = exchange.request.as_mut().unwrap();
    request
        .headers
        .push(b"Content-Type", b"application/x-www-form-urlencoded");
    request.body = samples::body(b"a=1+2&b=%C3%BC");
    let entry = entry(&exchange);
    assert_eq!(entry["serverIPAddress"], "::1");
    let pair = |name: &str, value: &str| json!({"name": name, "value": value});
    assert_eq!(entry["request"]["queryString"], json!([pair("dry", "1")]));
    assert_eq!(
        entry["request"]["postData"],
        json!({
            "mimeType": "application/x-www-form-urlencoded",
            "params": [pair("a", "1 2"), pair("b", "ü")],
            "text": "a=1+2&b=%C3%BC",
        })
    );
    assert_eq!(entry["request"]["bodySize"], 14);
    assert_eq!(
        entry["request"]["_trailers"],
        json!([pair("Checksum", "abc")])
    );
    assert_eq!(entry["_interim"], json!([{"status": 100, "headers": []}]));
}

#[test]
fn what_is_missing_is_said() {
    let broken = entry(&samples::broken());
    let content = &broken["response"]["content"];
    assert_eq!(content["size"], 5 << 20);
    assert_eq!(content["encoding"], "base64");
    assert_eq!(content["_state"], "lost");
    assert_eq!(
        content["_missing"],
        json!([{"offset": 600, "length": 12, "reason": "ring_full"}])
    );
    assert_eq!(
        broken["comment"],
        "the connection was reset; 12 bytes are not there"
    );
    assert_eq!(broken["timings"]["comment"], "not known: receive");

    let unanswered = entry(&samples::unanswered());
    assert_eq!(unanswered["response"]["status"], 0);
    let error = unanswered["response"]["_error"].as_str().unwrap();
    assert!(error.contains("the capture ended first"), "{error}");
    assert_eq!(unanswered["_container"], "0123456789abcdef");
    assert_eq!(unanswered["_container_name"], "web");
    assert_eq!(unanswered["_cmdline_cut"], true);

    let orphan = entry(&samples::orphan());
    assert_eq!(orphan["request"]["method"], "");
    assert_eq!(orphan["request"]["url"], "http://10.0.0.2:80/");
    assert_eq!(orphan["_pid"], Value::Null);
    assert_eq!(
        orphan["comment"],
        "the connection ended early; joined in mid-connection"
    );

    let tunnel = entry(&samples::tunnel());
    assert_eq!(tunnel["request"]["url"], "http://example.com:443");
    assert_eq!(tunnel["request"]["_target"], "example.com:443");
    assert_eq!(
        tunnel["_tunnel"],
        json!({"sent": 1234, "received": 5_678_901})
    );
}

#[test]
fn what_is_hostile_is_text_without_controls() {
    let place = Kept::default();
    let mut sink = har(place.clone());
    sink.exchange(&samples::hostile()).unwrap();
    sink.finish(Timestamp(0)).unwrap();
    let text = place.text();
    assert!(
        !text
            .replace('\n', "")
            .chars()
            .any(crate::output::escape::is_unsafe)
    );
    let [entry] = &place.entries()[..] else {
        panic!("{text}");
    };
    assert_eq!(entry["_cmdline"], json!(["a\nPID: 1", "\u{ff}"]));
    assert_eq!(
        entry["request"]["url"],
        "http://localhost/%E2%80%AEgpj.%C2%9B31m%E2%80%8B"
    );
    let headers = entry["request"]["headers"].as_array().unwrap();
    let bad = headers.iter().find(|h| h.get("comment").is_some()).unwrap();
    assert_eq!(bad["value"], "\u{1b}]0;title\u{7}\u{ff}");
}

#[test]
fn compressed_bodies_say_what_was_saved() {
    let mut exchange = samples::plain();
    let body = &mut exchange.response.as_mut().unwrap().body;
    body.encodings = vec!["gzip".to_owned()];
    body.encoded_size = 3;
    assert_eq!(entry(&exchange)["response"]["content"]["compression"], 2);
    let body = &mut exchange.response.as_mut().unwrap().body;
    body.encoded_size = 30;
    assert_eq!(entry(&exchange)["response"]["content"]["compression"], -25);
    let body = &mut exchange.response.as_mut().unwrap().body;
    body.size = None;
    let entry = entry(&exchange);
    assert_eq!(entry["response"]["content"]["size"], -1);
    assert_eq!(entry["response"]["bodySize"], 30);
}

#[test]
fn a_failed_write_ends_it() {
    struct Full(Kept);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl Ending for Full {
        fn write_with_ending(&mut self, _: &[u8], _: usize) -> io::Result<bool> {
            Err(io::ErrorKind::StorageFull.into())
        }
    }
    let place = Kept::default();
    let mut sink = har(Full(place.clone()));
    sink.exchange(&samples::plain()).unwrap();
    let error = sink.finish(Timestamp(0)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    sink.finish(Timestamp(0)).unwrap();
    assert_eq!(place.text(), "");
}

#[test]
fn a_hundred_thousand_exchanges_take_no_more_room_than_ten() {
    /// Counts what is written, and the most at once.
    #[derive(Clone, Default)]
    struct Counted(Arc<Mutex<(u64, usize)>>);
    impl Write for Counted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl Ending for Counted {
        fn write_with_ending(&mut self, bytes: &[u8], ending: usize) -> io::Result<bool> {
            let mut counted = self.0.lock().unwrap();
            counted.0 += (bytes.len() - ending) as u64;
            counted.1 = counted.1.max(bytes.len());
            Ok(true)
        }
    }
    let counted = Counted::default();
    let mut sink = har(counted.clone());
    let exchange = samples::plain();
    for _ in 0..100_000 {
        sink.exchange(&exchange).unwrap();
    }
    sink.finish(Timestamp(0)).unwrap();
    let (written, most) = *counted.0.lock().unwrap();
    assert!(written > 100_000 * 500, "{written}");
    assert!(most < ENOUGH + 4096, "{most} at once");
    assert!(sink.writer.buffer.capacity() <= 4 * ENOUGH);
}

#[test]
fn the_parts_of_a_form_are_its_parameters() {
    let form = b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1 2\r\n\
        --b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x.png\"\r\n\
        Content-Type: image/png\r\n\r\n\x89PNG\r\n--b--\r\n";
    let mut exchange = samples::served();
    let request = exchange.request.as_mut().unwrap();
    let kind = b"multipart/form-data; boundary=b";
    request.headers.push(b"Content-Type", kind);
    request.body = samples::body(form);
    let entry = entry(&exchange);
    let data = &entry["request"]["postData"];
    assert_eq!(
        data["params"],
        json!([
            {"name": "a", "value": "1 2"},
            {"name": "f", "fileName": "x.png", "contentType": "image/png"},
        ])
    );
    assert_eq!(data["_encoding"], "base64");
}

#[test]
fn a_call_of_grpc_has_its_status_and_its_messages() {
    let entry = entry(&samples::grpc());
    let call = &entry["_grpc"];
    assert_eq!(
        (&call["method"], &call["status_name"]),
        (&"Find".into(), &"NOT_FOUND".into())
    );
    let sent = &entry["request"]["postData"]["_messages"];
    assert_eq!(sent.as_array().unwrap().len(), 3);
    assert_eq!(entry["response"]["content"]["_messages"], json!([]));
}

#[test]
fn what_ended_early_is_told_from_what_was_lost() {
    let mut exchange = samples::h2();
    exchange.state = crate::exchange::State::Reset;
    exchange.notes = vec!["stream reset: CANCEL"];
    let body = &mut exchange.response.as_mut().unwrap().body;
    body.state = crate::exchange::BodyState::Lost;
    let reset = entry(&exchange);
    assert_eq!(reset["comment"], "stream reset: CANCEL");
    assert_eq!(
        reset["response"]["content"]["comment"],
        "the first 18 bytes: it ended before all of it had come"
    );
    exchange.response = None;
    let error = &entry(&exchange)["response"]["_error"];
    assert_eq!(error, "no response was seen: the stream was reset");
}
