//! HTTP/2 in the file: what tshark makes of it with no option, or with the one
//! that the summary prints, and what `-r` gives back.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod pcapng_support;

use httpsniff::engine::{Config, Engine};
use httpsniff::event::Direction::{Receive, Send};
use httpsniff::event::{Action, Data, Direction, Event, MissingReason, Source, Timestamp};
use httpsniff::filter::Filter;
use httpsniff::http::h2::{FrameHeader, PREFACE, flag, kind};
use httpsniff::http::hpack::encode_literal;
use httpsniff::output::json::{Json, Options};
use httpsniff::output::pcapng::Pcapng;
use httpsniff::output::{Sink, Wants, Wire};
use httpsniff::read::{Item, read};
use httpsniff::redact::Redact;
use pcapng_support::*;
use serde_json::Value;

const END: u8 = flag::END_STREAM;
const WHOLE: u8 = flag::END_HEADERS;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        length: u32::try_from(payload.len()).unwrap(),
        kind,
        flags,
        stream,
    };
    [&header.encode()[..], payload].concat()
}

fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        encode_literal(name.as_bytes(), value.as_bytes(), false, &mut out);
    }
    out
}

fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(kind::HEADERS, flags | WHOLE, stream, &block(fields))
}

fn ask(stream: u32, method: &str, path: &str, flags: u8) -> Vec<u8> {
    let fields = [
        (":method", method),
        (":scheme", "https"),
        (":authority", "a.test"),
        (":path", path),
    ];
    headers(stream, flags, &fields)
}

fn get2(stream: u32, path: &str) -> Vec<u8> {
    ask(stream, "GET", path, END)
}

fn ok2(stream: u32, flags: u8) -> Vec<u8> {
    let fields = [(":status", "200"), ("content-type", "application/x-y")];
    headers(stream, flags, &fields)
}

fn data(stream: u32, flags: u8, bytes: &[u8]) -> Vec<u8> {
    frame(kind::DATA, flags, stream, bytes)
}

fn settings() -> Vec<u8> {
    frame(kind::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])
}

fn preface() -> Vec<u8> {
    [PREFACE, &settings()[..]].concat()
}

/// A sink whose remarks are asked for.
struct Remarked(Pcapng, Memory);

impl Sink for Remarked {
    fn wants(&self) -> Wants {
        self.0.wants()
    }
    fn wire(&mut self, wire: &Wire<'_>) -> std::io::Result<()> {
        self.0.wire(wire)
    }
    fn tick(&mut self, now: Timestamp) -> std::io::Result<()> {
        self.0.tick(now)
    }
    fn finish(&mut self, now: Timestamp) -> std::io::Result<()> {
        self.0.finish(now)?;
        let remarks = self.0.remarks().join("\n");
        self.1.0.lock().unwrap().extend(remarks.into_bytes());
        Ok(())
    }
}

/// docs/PCAPNG.md says why.
const NOT_IN_THE_FILE: [&str; 1] = ["header fields from before the capture are unknown"];

/// A run of the engine with a file and JSON.
struct Live {
    engine: Engine,
    file: Memory,
    json: Memory,
    remarks: Memory,
    now: u64,
}

/// What came of it.
struct Done {
    bytes: Vec<u8>,
    path: std::path::PathBuf,
    _directory: tempfile::TempDir,
    exchanges: Vec<Value>,
    remarks: String,
}

fn json_sink(out: &Memory) -> Json {
    let options = Options {
        partial: false,
        line_buffered: false,
    };
    Json::new(Box::new(out.clone()), options)
}

fn values(memory: &Memory) -> Vec<Value> {
    let mut list: Vec<Value> = memory
        .0
        .lock()
        .unwrap()
        .split(|b| *b == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    list.sort_by_key(|v| {
        let number = |name: &str| v[name].as_u64();
        (number("connection"), number("stream"))
    });
    for value in &mut list {
        value.as_object_mut().unwrap().remove("id");
    }
    list
}

impl Live {
    fn new(config: Config) -> Self {
        let (file, json, remarks) = (Memory::default(), Memory::default(), Memory::default());
        let pcapng = Pcapng::new(Box::new(file.clone())).unwrap();
        let sinks: Vec<Box<dyn Sink>> = vec![
            Box::new(json_sink(&json)),
            Box::new(Remarked(pcapng, remarks.clone())),
        ];
        Self {
            engine: Engine::new(config, sinks),
            file,
            json,
            remarks,
            now: START,
        }
    }

    fn act(&mut self, view: &View, action: Action<'_>) {
        self.now += 1000;
        self.engine
            .event(&Event {
                time: Timestamp(self.now),
                process: view.process.as_ref(),
                tid: view.tid,
                thread: &view.thread,
                connection: &view.info,
                action,
            })
            .unwrap();
    }

    fn give(&mut self, view: &mut View, direction: Direction, bytes: &[u8], missing: u64) {
        let offset = view.offsets[direction.index()];
        view.offsets[direction.index()] += bytes.len() as u64 + missing;
        self.act(
            view,
            Action::Data(Data {
                direction,
                offset,
                bytes,
                missing,
                reason: MissingReason::RingFull,
            }),
        );
    }

    fn send(&mut self, view: &mut View, bytes: impl AsRef<[u8]>) {
        self.give(view, Send, bytes.as_ref(), 0);
    }

    fn receive(&mut self, view: &mut View, bytes: impl AsRef<[u8]>) {
        self.give(view, Receive, bytes.as_ref(), 0);
    }

    fn close(&mut self, view: &View) {
        for direction in [Send, Receive] {
            let offset = Some(view.offsets[direction.index()]);
            self.act(view, Action::End { direction, offset });
        }
    }

    fn tick(&mut self) {
        self.now += 100 * MS;
        self.engine.tick(Timestamp(self.now)).unwrap();
    }

    fn finish(mut self) -> Done {
        self.engine.finish(Timestamp(self.now)).unwrap();
        let bytes = std::mem::take(&mut *self.file.0.lock().unwrap());
        let (directory, path) = save(&bytes);
        let remarks = String::from_utf8(self.remarks.0.lock().unwrap().clone()).unwrap();
        Done {
            bytes,
            path,
            _directory: directory,
            exchanges: values(&self.json),
            remarks,
        }
    }
}

impl Done {
    /// The options that the summary prints.
    fn options(&self) -> Vec<&str> {
        let words = self.remarks.split(' ');
        words
            .filter(|w| *w == "-d" || w.starts_with("tcp.port=="))
            .collect()
    }

    /// What tshark dissects as HTTP/2, with the option.
    fn dissected(&self) -> Value {
        let mut arguments = vec!["-Y", "http2", "-T", "json", "--no-duplicate-keys"];
        arguments.extend(["-J", "http2"]);
        arguments.extend(self.options());
        let text = tshark(&self.path, &arguments).join("\n");
        serde_json::from_str(&text).unwrap()
    }

    /// Reads the file again and compares with the run.
    fn read_back(&self) {
        let json = Memory::default();
        let config = Config {
            gap_reason: MissingReason::CaptureFile,
            ..Config::default()
        };
        let mut engine = Engine::new(config, vec![Box::new(json_sink(&json))]);
        let summary = read(&self.bytes[..], &mut |item| {
            match item {
                Item::Event(event) => engine.event(event)?,
                Item::Tick(now) => engine.tick(now)?,
            }
            Ok(true)
        })
        .unwrap();
        engine.finish(summary.last).unwrap();
        let again = values(&json);
        assert_eq!(self.exchanges.len(), again.len());
        for (mut live, read) in self.exchanges.clone().into_iter().zip(again) {
            if let Some(notes) = live["notes"].as_array_mut() {
                notes.retain(|note| !NOT_IN_THE_FILE.contains(&note.as_str().unwrap()));
            }
            assert_eq!(live, read);
        }
    }

    /// That tshark has nothing to complain about, with the option.
    fn sound(&self) {
        check_sound(&self.bytes);
        let mut arguments = vec!["-Y", "_ws.malformed || _ws.expert.severity >= 8388608"];
        arguments.extend(self.options());
        assert_eq!(tshark(&self.path, &arguments), [""; 0]);
    }
}

/// The values of a field with the stream that they are in, as `1 GET`.
fn field(packets: &Value, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    collect(packets, name, None, &mut found);
    found
}

/// The bytes of a stream's bodies, both directions.
fn body(packets: &Value, stream: u32) -> Vec<u8> {
    let mut found = Vec::new();
    collect_body(packets, &stream.to_string(), &mut found);
    found
}

fn collect_body(value: &Value, stream: &str, found: &mut Vec<u8>) {
    match value {
        Value::Array(list) => {
            for value in list {
                collect_body(value, stream, found);
            }
        }
        Value::Object(object) => {
            let is = |name: &str, value: &str| object.get(name).is_some_and(|v| v == value);
            if is("http2.streamid", stream) && is("http2.type", "0") && !is("http2.length", "0") {
                let text = match &object["http2.data.data"] {
                    Value::Array(list) => list[0].as_str(),
                    value => value.as_str(),
                };
                let bytes = text.unwrap().split(':');
                let bytes: Vec<u8> = bytes.map(|h| u8::from_str_radix(h, 16).unwrap()).collect();
                // The last frame's is the whole body, put together.
                let own = object["http2.length"].as_str().unwrap();
                let own = bytes.len().min(own.parse().unwrap());
                found.extend(&bytes[bytes.len() - own..]);
            }
            for value in object.values() {
                collect_body(value, stream, found);
            }
        }
        _ => {}
    }
}

fn collect(value: &Value, name: &str, stream: Option<&str>, found: &mut Vec<String>) {
    match value {
        Value::Array(list) => {
            for value in list {
                collect(value, name, stream, found);
            }
        }
        Value::Object(object) => {
            let own = object.get("http2.streamid").and_then(Value::as_str);
            let stream = own.or(stream);
            if let Some(value) = object.get(name) {
                let values = match value {
                    Value::Array(list) => list.clone(),
                    value => vec![value.clone()],
                };
                for value in values {
                    let (stream, value) = (stream.unwrap_or("?"), value.as_str().unwrap());
                    found.push(format!("{stream} {value}"));
                }
            }
            for value in object.values() {
                collect(value, name, stream, found);
            }
        }
        _ => {}
    }
}

fn client(port: u16) -> View {
    let (local, peer) = ("127.0.0.1:50000", format!("127.0.0.1:{port}"));
    View::new(1, Source::Tcp, local, &peer, Some(curl()))
}

fn path_filter(paths: &[&str]) -> Config {
    Config {
        filter: Filter {
            paths: paths.iter().map(|p| p.parse().unwrap()).collect(),
            ..Filter::default()
        },
        ..Config::default()
    }
}

/// Two streams that overlap.
fn two(live: &mut Live, view: &mut View) {
    live.send(view, preface());
    live.receive(view, settings());
    live.send(view, get2(1, "/one"));
    live.send(
        view,
        [ask(3, "POST", "/three", 0), data(3, 0, b"up")].concat(),
    );
    live.receive(view, [ok2(3, 0), data(3, 0, b"th"), ok2(1, 0)].concat());
    live.send(view, data(3, END, b"load"));
    live.receive(view, data(1, END, b"one"));
    live.receive(view, data(3, END, b"ree"));
    live.close(view);
}

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

/// The first packet's text, all bytes of the file.
fn holds(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}

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

/// tcpdump's packets of nghttp (which opens its first stream as 13) and curl.
#[test]
fn a_capture_of_tcpdump_is_read_and_written() {
    let bytes = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/http2.pcap")).unwrap();
    for config in [Config::default(), path_filter(&["/a.txt"])] {
        let filtered = !config.filter.is_empty();
        let mut live = Live::new(config);
        let summary = read(&bytes[..], &mut |item| {
            match item {
                Item::Event(event) => live.engine.event(event)?,
                Item::Tick(now) => live.engine.tick(now)?,
            }
            Ok(true)
        })
        .unwrap();
        live.now = summary.last.0;
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
