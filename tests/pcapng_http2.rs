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
use httpsniff::event::{
    Action, ConnectionInfo, Data, Direction, Event, MissingReason, Source, Timestamp,
};
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

/// A literal that goes into the table (RFC 7541 6.2.1).
fn indexed(name: &str, value: &str) -> Vec<u8> {
    let mut out = vec![0x40, u8::try_from(name.len()).unwrap()];
    out.extend(name.as_bytes());
    out.push(u8::try_from(value.len()).unwrap());
    out.extend(value.as_bytes());
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
    list.sort_by_key(|v| (v["connection"].as_u64(), v["stream"].as_u64()));
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

    /// The values of some fields by stream, as `1 GET`, sorted and once each.
    fn field(&self, name: &str) -> Vec<String> {
        let filter = format!("http2 && {name}");
        let mut arguments = vec!["-Y", &filter, "-T", "json", "--no-duplicate-keys"];
        arguments.extend(["-J", "http2"]);
        arguments.extend(self.options());
        let text = tshark(&self.path, &arguments).join("\n");
        let packets: Value = serde_json::from_str(&text).unwrap();
        let mut found = Vec::new();
        collect(&packets, name, None, &mut found);
        found
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
        for (live, read) in self.exchanges.iter().zip(&again) {
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

/// The values of a field in tshark's JSON, with the stream that they are in.
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

fn hex(bytes: &[u8]) -> String {
    let list: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
    list.join(":")
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
    for (port, needed) in [
        (80, false),
        (8080, false),
        (443, true),
        (8443, true),
        (6379, true),
        (28080, true),
        (50051, true),
    ] {
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
        assert_eq!(done.field("http2.headers.path"), ["1 /one", "3 /three"]);
        assert_eq!(done.field("http2.headers.method"), ["1 GET", "3 POST"]);
        assert_eq!(
            done.field("http2.headers.authority"),
            ["1 a.test", "3 a.test"]
        );
        assert_eq!(done.field("http2.headers.status"), ["3 200", "1 200"]);
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
        assert_eq!(done.field("http2.headers.path"), ["1 /one", "3 /three"]);
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
        let syn = fields(
            &done.path,
            "tcp.flags.syn == 1 && tcp.flags.ack == 0",
            &["tcp.dstport"],
        );
        assert_eq!(syn, ["28080"]);
        assert_eq!(done.field("http2.headers.path"), ["1 /x"]);
        assert_eq!(done.field("http2.headers.status"), ["1 200"]);
    }
}
