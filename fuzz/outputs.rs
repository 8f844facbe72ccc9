//! Whole conversations through the engine and every output at once: HTTP/1 and
//! what follows an upgrade as raw bytes, HTTP/2 as frames, on two connections
//! that are the two ends' views of one.
//!
//! What is written must be what its readers take: text has no control
//! characters, each JSON line and each state of the HAR is JSON, and the pcapng
//! is read without a complaint.

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;
use std::sync::Arc;

use httpsniff::engine::{Config, Engine};
use httpsniff::event::{
    Action, ConnectionInfo, ConnectionKey, Data, Direction, Endpoint, Event, MissingReason, Source,
    Timestamp,
};
use httpsniff::output::Sink;
use httpsniff::output::har::{self, Ending, Har};
use httpsniff::output::json::{self, Json};
use httpsniff::output::pcapng::Pcapng;
use httpsniff::output::text::{self, Text};
use httpsniff::process::Process;
use httpsniff::read::{self, Item};
use httpsniff::redact::Redact;
use serde_json::Value;

use super::h2::{self, Input, Step};

/// The largest gap: one that is larger is tens of thousands of packets in the
/// pcapng, which tell no more and take seconds.
const GAP_LIMIT: u64 = 20 << 20;

/// A file in memory, of which the last bytes may be an ending.
#[derive(Clone, Default)]
struct Memory {
    bytes: Rc<RefCell<Vec<u8>>>,
    ending: usize,
    /// It cannot be written over.
    pipe: bool,
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Ending for Memory {
    fn write_with_ending(&mut self, bytes: &[u8], ending: usize) -> io::Result<bool> {
        let mut kept = self.bytes.borrow_mut();
        if self.pipe {
            kept.extend(bytes.get(..bytes.len() - ending).expect("it ends so"));
            return Ok(false);
        }
        let whole = kept.len() - self.ending;
        kept.truncate(whole);
        kept.extend_from_slice(bytes);
        self.ending = ending;
        serde_json::from_slice::<Value>(&kept).expect("a HAR is whole after every write");
        Ok(true)
    }
}

/// What becomes of the outputs.
#[derive(Default)]
struct Files {
    text: Memory,
    json: Memory,
    har: Memory,
    pcapng: Memory,
}

impl Files {
    fn sinks(&self, how: u8) -> Vec<Box<dyn Sink>> {
        let text = text::Options {
            verbosity: how % 3,
            utc: true,
            width: (how & 4 != 0).then_some(usize::from(how >> 2)),
            partial: how & 8 != 0,
            indent_json: how & 16 != 0,
            ..text::Options::default()
        };
        let json = json::Options {
            partial: how & 32 != 0,
            line_buffered: false,
        };
        let har = har::Options {
            max_messages: if how & 64 != 0 { 10 } else { 1 << 16 },
        };
        let har_file = Memory {
            pipe: how & 128 != 0,
            ..self.har.clone()
        };
        let pcapng = Pcapng::new(Box::new(self.pcapng.clone())).expect("memory takes all");
        vec![
            Box::new(Text::new(Box::new(self.text.clone()), text)),
            Box::new(Json::new(Box::new(self.json.clone()), json)),
            Box::new(Har::new(Box::new(har_file), har)),
            Box::new(pcapng),
        ]
    }

    /// What holds of them after a run that showed so many exchanges.
    fn check(&self, shown: u64) {
        let text = self.text.bytes.borrow();
        let text = std::str::from_utf8(&text).expect("text is UTF-8");
        let control = text
            .chars()
            .find(|c| c.is_control() && *c != '\n' && *c != '\t');
        assert_eq!(control, None, "{text}");

        let mut exchanges = 0;
        for line in self.json.bytes.borrow().split(|b| *b == b'\n') {
            if !line.is_empty() {
                let line: Value = serde_json::from_slice(line).expect("each line is JSON");
                exchanges += u64::from(line.get("kind") == Some(&"exchange".into()));
            }
        }
        assert_eq!(exchanges, shown);

        let har: Value = serde_json::from_slice(&self.har.bytes.borrow()).expect("a HAR is JSON");
        let entries = har.pointer("/log/entries").and_then(Value::as_array);
        assert!(entries.is_some_and(|entries| entries.len() as u64 <= shown));

        let read = read::read(&**self.pcapng.bytes.borrow(), &mut |item| {
            if let Item::Event(event) = item {
                assert!(event.connection.number.is_some());
            }
            Ok(true)
        });
        let summary = read.expect("a pcapng of ours can be read");
        assert_eq!(summary.notes(), Vec::<String>::new());
    }
}

fn endpoint(port: u16) -> Option<Endpoint> {
    Some(Endpoint::Tcp(([127, 0, 0, 1], port).into()))
}

fn connections(flags: u8) -> [ConnectionInfo; 2] {
    [0, 1].map(|n: u64| ConnectionInfo {
        local: endpoint(if n == 0 { 50_000 } else { 80 }),
        peer: endpoint(if n == 0 { 80 } else { 50_000 }),
        from_start: flags & 1 == 0,
        perspective_unknown: flags & 2 != 0,
        ..ConnectionInfo::new(ConnectionKey {
            source: if flags & 4 == 0 {
                Source::Tcp
            } else {
                Source::OpenSsl
            },
            object: n + 1,
            born: 0,
        })
    })
}

/// Which connection does what: raw bytes, or frames.
fn steps(input: &mut Input<'_>, frames: bool) -> Vec<(usize, Step)> {
    if frames {
        let (steps, _) = input.steps();
        return steps.into_iter().map(|step| (0, step)).collect();
    }
    let mut steps = Vec::new();
    while let Some(op) = input.next() {
        let direction = if op & 1 == 0 {
            Direction::Send
        } else {
            Direction::Receive
        };
        let n = input.byte();
        let step = match op {
            0..=199 => Step::Bytes(direction, input.take(usize::from(n)).to_vec()),
            200..=209 => Step::Gap(direction, 1 + u64::from(n)),
            210..=219 => Step::End(direction),
            220..=249 => Step::Wait(u64::from(n) * 8_000_000),
            250..=253 => Step::Close(n & 1 == 0),
            _ => Step::ProcessEnded,
        };
        steps.push((usize::from(op >> 1 & 1), step));
    }
    steps
}

/// One connection after the other does what the steps say.
struct Run {
    engine: Engine,
    connections: [ConnectionInfo; 2],
    processes: [Arc<Process>; 2],
    offsets: [[u64; 2]; 2],
    now: u64,
}

impl Run {
    fn act(&mut self, which: usize, action: Action<'_>) {
        let event = Event {
            time: Timestamp(self.now),
            process: self.processes.get(which),
            tid: 1,
            thread: b"main\x1b",
            connection: &self.connections[which],
            action,
        };
        self.engine.event(&event).expect("memory takes all");
    }

    fn data(&mut self, which: usize, direction: Direction, bytes: &[u8], missing: u64) {
        let offset = &mut self.offsets[which][direction.index()];
        let data = Data {
            direction,
            offset: *offset,
            bytes,
            missing,
            reason: MissingReason::RingFull,
        };
        *offset += bytes.len() as u64 + missing;
        self.act(which, Action::Data(data));
    }

    fn step(&mut self, which: usize, step: &Step) {
        self.now += 1000;
        match step {
            Step::Bytes(direction, bytes) => self.data(which, *direction, bytes, 0),
            Step::Gap(direction, missing) => {
                self.data(which, *direction, b"", (*missing).min(GAP_LIMIT));
            }
            Step::End(direction) => {
                let offset = Some(self.offsets[which][direction.index()]);
                let direction = *direction;
                self.act(which, Action::End { direction, offset });
            }
            Step::Wait(nanos) => {
                self.now += nanos;
                let ticked = self.engine.tick(Timestamp(self.now));
                ticked.expect("memory takes all");
            }
            Step::Close(reset) => self.act(which, Action::Close { reset: *reset }),
            Step::ProcessEnded => {
                let ended = self.engine.process_ended(1, Timestamp(self.now));
                ended.expect("memory takes all");
            }
        }
    }
}

/// `data` as settings and conversations.
pub fn outputs(data: &[u8]) {
    let mut input = Input(data);
    let (flags, more, how) = (input.byte(), input.byte(), input.byte());
    let files = Files::default();
    let config = Config {
        filter: h2::filter(more),
        redact: (flags & 8 != 0).then(|| Redact::new(&[])),
        max_body: if flags & 16 != 0 { 4 } else { 1 << 16 },
        memory_limit: if flags & 32 != 0 { 6000 } else { 64 << 20 },
        count: (more & 8 != 0).then_some(2),
        ..Config::default()
    };
    let process = |pid| {
        Arc::new(Process {
            pid,
            comm: b"a\x1b\"".to_vec(),
            ..Process::default()
        })
    };
    let mut run = Run {
        engine: Engine::new(config, files.sinks(how)),
        connections: connections(flags),
        processes: [process(1), process(2)],
        offsets: [[0; 2]; 2],
        now: 1_700_000_000_000_000_000,
    };
    for (which, step) in steps(&mut input, flags & 128 != 0) {
        run.step(which, &step);
    }
    let now = Timestamp(run.now);
    run.engine.finish(now).expect("memory takes all");
    files.check(run.engine.stats().shown);
}
