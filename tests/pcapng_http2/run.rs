//! A run of the engine that writes a file, and what came of it: the exchanges,
//! the file, what tshark and a reading back make of it.

use httpsniff::engine::{Config, Engine};
use httpsniff::event::Direction::{Receive, Send};
use httpsniff::event::{Action, Data, Direction, Event, MissingReason, Source, Timestamp};
use httpsniff::filter::Filter;
use httpsniff::output::json::{Json, Options};
use httpsniff::output::pcapng::Pcapng;
use httpsniff::output::{Sink, Wants, Wire};
use httpsniff::read::{Item, read};
use serde_json::Value;

use crate::frames::{END, ask, data, get2, ok2, preface, settings};
use crate::pcapng_support::*;

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
pub(crate) struct Live {
    pub(crate) engine: Engine,
    file: Memory,
    json: Memory,
    remarks: Memory,
    pub(crate) now: u64,
}

/// What came of it.
pub(crate) struct Done {
    pub(crate) bytes: Vec<u8>,
    pub(crate) path: std::path::PathBuf,
    _directory: tempfile::TempDir,
    pub(crate) exchanges: Vec<Value>,
    pub(crate) remarks: String,
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
    pub(crate) fn new(config: Config) -> Self {
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

    pub(crate) fn give(
        &mut self,
        view: &mut View,
        direction: Direction,
        bytes: &[u8],
        missing: u64,
    ) {
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

    pub(crate) fn send(&mut self, view: &mut View, bytes: impl AsRef<[u8]>) {
        self.give(view, Send, bytes.as_ref(), 0);
    }

    pub(crate) fn receive(&mut self, view: &mut View, bytes: impl AsRef<[u8]>) {
        self.give(view, Receive, bytes.as_ref(), 0);
    }

    pub(crate) fn close(&mut self, view: &View) {
        for direction in [Send, Receive] {
            let offset = Some(view.offsets[direction.index()]);
            self.act(view, Action::End { direction, offset });
        }
    }

    pub(crate) fn tick(&mut self) {
        self.now += 100 * MS;
        self.engine.tick(Timestamp(self.now)).unwrap();
    }

    pub(crate) fn finish(mut self) -> Done {
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
    pub(crate) fn options(&self) -> Vec<&str> {
        let words = self.remarks.split(' ');
        words
            .filter(|w| *w == "-d" || w.starts_with("tcp.port=="))
            .collect()
    }

    /// What tshark dissects as HTTP/2, with the option.
    pub(crate) fn dissected(&self) -> Value {
        let mut arguments = vec!["-Y", "http2", "-T", "json", "--no-duplicate-keys"];
        arguments.extend(["-J", "http2"]);
        arguments.extend(self.options());
        let text = tshark(&self.path, &arguments).join("\n");
        serde_json::from_str(&text).unwrap()
    }

    /// Reads the file again and compares with the run.
    pub(crate) fn read_back(&self) {
        let json = Memory::default();
        let config = Config {
            gap_reason: MissingReason::CaptureFile,
            ..Config::default()
        };
        let mut engine = Engine::new(config, vec![Box::new(json_sink(&json))]);
        let last = feed(&mut engine, &self.bytes);
        engine.finish(last).unwrap();
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
    pub(crate) fn sound(&self) {
        check_sound(&self.bytes);
        let mut arguments = vec!["-Y", "_ws.malformed || _ws.expert.severity >= 8388608"];
        arguments.extend(self.options());
        assert_eq!(tshark(&self.path, &arguments), [""; 0]);
    }
}

/// Gives the engine what is in a file. Gives its last time.
pub(crate) fn feed(engine: &mut Engine, file: &[u8]) -> Timestamp {
    let summary = read(file, &mut |item| {
        match item {
            Item::Event(event) => engine.event(event)?,
            Item::Tick(now) => engine.tick(now)?,
        }
        Ok(true)
    });
    summary.unwrap().last
}

pub(crate) fn client(port: u16) -> View {
    let (local, peer) = ("127.0.0.1:50000", format!("127.0.0.1:{port}"));
    View::new(1, Source::Tcp, local, &peer, Some(curl()))
}

pub(crate) fn path_filter(paths: &[&str]) -> Config {
    Config {
        filter: Filter {
            paths: paths.iter().map(|p| p.parse().unwrap()).collect(),
            ..Filter::default()
        },
        ..Config::default()
    }
}

/// Two streams that overlap.
pub(crate) fn two(live: &mut Live, view: &mut View) {
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

/// Whether a text is anywhere in the file.
pub(crate) fn holds(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}
