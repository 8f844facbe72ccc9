//! HTTP/2 between two ends that say whatever they like: the input picks the
//! frames, gaps, ends and the time between them.
//!
//! Beside what holds of every conversation, how the bytes were cut into events
//! must not matter as long as none is missing.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use httpsniff::engine::{Config, Engine};
use httpsniff::event::{
    Action, ConnectionInfo, ConnectionKey, Data, Direction, Event, MissingReason, Source, Timestamp,
};
use httpsniff::exchange::{BodyState, Exchange, State};
use httpsniff::filter::Filter;
use httpsniff::http::h2::{FrameHeader, PREFACE, flag, kind};
use httpsniff::http::hpack::encode_literal;
use httpsniff::output::{Content, Sink, Wants, Wire};
use httpsniff::process::Process;
use httpsniff::redact::Redact;

/// One step of a conversation.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Bytes(Direction, Vec<u8>),
    Gap(Direction, u64),
    End(Direction),
    Wait(u64),
    Close(bool),
    ProcessEnded,
}

/// What came out of a run.
#[derive(Default)]
struct Seen {
    exchanges: Vec<String>,
    given: u64,
    offsets: HashMap<(u64, Direction), u64>,
}

struct Checker(Rc<RefCell<Seen>>, Wants);

impl Sink for Checker {
    fn wants(&self) -> Wants {
        self.1
    }

    fn request(&mut self, exchange: &Exchange) -> io::Result<()> {
        assert!(exchange.request.is_some());
        Ok(())
    }

    fn pending(&mut self, exchange: &Exchange) -> io::Result<()> {
        assert!(exchange.request.is_some());
        Ok(())
    }

    fn exchange(&mut self, exchange: &Exchange) -> io::Result<()> {
        let mut seen = self.0.borrow_mut();
        seen.given += 1;
        seen.exchanges.push(format!("{exchange:?}"));
        assert!(exchange.state != State::Complete || exchange.response.is_some());
        let request = exchange.request.as_ref().map(|r| &r.body);
        let response = exchange.response.as_ref().map(|r| &r.body);
        for body in request.into_iter().chain(response) {
            assert!(body.missing.windows(2).all(|w| w[0].offset <= w[1].offset));
            let plain = body.encodings.is_empty();
            let whole = body.missing.is_empty() && body.bytes.len() as u64 == body.encoded_size;
            let kept = plain && self.1.bodies && body.state == BodyState::Complete;
            assert!(!kept || whole, "{exchange:?}");
        }
        Ok(())
    }

    fn wire(&mut self, wire: &Wire<'_>) -> io::Result<()> {
        let mut seen = self.0.borrow_mut();
        let length = match wire.content {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Gap { length, .. } => length,
            Content::End { .. } | Content::Reset => 0,
        };
        let key = (wire.connection, wire.direction);
        let next = wire.offset.wrapping_add(length);
        if let Some(before) = seen.offsets.insert(key, next) {
            let step = wire.offset.wrapping_sub(before) as i64;
            assert!(step >= 0, "offsets only rise: {before} {wire:?}");
        }
        Ok(())
    }
}

/// How a conversation is captured.
#[derive(Clone)]
struct Setting {
    config: Config,
    info: ConnectionInfo,
    wants: Wants,
}

fn run(setting: &Setting, steps: &[Step], cut: &mut dyn FnMut() -> usize) -> Seen {
    let seen = Rc::new(RefCell::new(Seen::default()));
    let checker = Checker(seen.clone(), setting.wants);
    let mut engine = Engine::new(setting.config.clone(), vec![Box::new(checker)]);
    let process = Arc::new(Process {
        pid: 1,
        ..Process::default()
    });
    let mut offsets = [u64::MAX - 1000, 5];
    let mut now = 1_000_000_000;
    let act = |engine: &mut Engine, now: u64, action: Action<'_>| {
        let event = Event {
            time: Timestamp(now),
            process: Some(&process),
            tid: 1,
            thread: b"main",
            connection: &setting.info,
            action,
        };
        engine.event(&event).expect("the sink does not fail");
    };
    for step in steps {
        match step {
            Step::Bytes(direction, bytes) => {
                let mut rest = bytes.as_slice();
                while !rest.is_empty() {
                    let (bytes, after) = rest.split_at(cut().clamp(1, rest.len()));
                    rest = after;
                    let offset = &mut offsets[direction.index()];
                    let data = Data {
                        direction: *direction,
                        offset: *offset,
                        bytes,
                        missing: 0,
                        reason: MissingReason::RingFull,
                    };
                    *offset = offset.wrapping_add(bytes.len() as u64);
                    act(&mut engine, now, Action::Data(data));
                }
            }
            Step::Gap(direction, missing) => {
                let offset = &mut offsets[direction.index()];
                let data = Data {
                    direction: *direction,
                    offset: *offset,
                    bytes: b"",
                    missing: *missing,
                    reason: MissingReason::RingFull,
                };
                *offset = offset.wrapping_add(*missing);
                act(&mut engine, now, Action::Data(data));
            }
            Step::End(direction) => {
                let offset = Some(offsets[direction.index()]);
                let direction = *direction;
                act(&mut engine, now, Action::End { direction, offset });
            }
            Step::Wait(nanos) => {
                now += nanos;
                engine.tick(Timestamp(now)).expect("no sink fails");
            }
            Step::Close(reset) => act(&mut engine, now, Action::Close { reset: *reset }),
            Step::ProcessEnded => engine.process_ended(1, Timestamp(now)).expect("none fails"),
        }
    }
    engine.finish(Timestamp(now)).expect("no sink fails");
    let stats = engine.stats();
    let counted = stats.shown + stats.filtered + stats.lacking;
    assert!(stats.seen == counted || engine.is_done());
    assert_eq!(stats.shown, seen.borrow().given);
    drop(engine);
    Rc::try_unwrap(seen)
        .ok()
        .expect("the engine is gone")
        .into_inner()
}

/// Fields that make sections out of random choices.
const FIELDS: &[(&str, &str)] = &[
    (":method", "GET"),
    (":method", "POST"),
    (":method", "CONNECT"),
    (":scheme", "https"),
    (":path", "/a?token=secret"),
    (":path", "/b"),
    (":authority", "a.test"),
    (":protocol", "websocket"),
    (":status", "200"),
    (":status", "204"),
    (":status", "103"),
    (":status", "x"),
    ("content-type", "application/grpc"),
    ("content-type", "text/event-stream"),
    ("content-encoding", "gzip"),
    ("authorization", "Bearer abcdef"),
    ("grpc-status", "0"),
    ("host", "b.test"),
];

/// What is left of the input.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl Input<'_> {
    pub(super) fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    pub(super) fn take(&mut self, n: usize) -> &[u8] {
        let (taken, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A header block, mostly sensible for its direction.
    fn block(&mut self, request: bool) -> Vec<u8> {
        let mut block = Vec::new();
        let what = self.byte();
        if what < 200 {
            let fields: &[usize] = match (request, what % 4) {
                (true, 0..=2) => &[0, 3, 4, 6],
                (false, 0..=1) => &[8],
                (false, 2) => &[10],
                _ => &[16],
            };
            for (name, value) in fields.iter().filter_map(|n| FIELDS.get(*n)) {
                encode_literal(name.as_bytes(), value.as_bytes(), false, &mut block);
            }
        }
        for _ in 0..what % 5 {
            match self.byte() {
                n @ 0..=99 => {
                    let (name, value) = FIELDS[usize::from(n) % FIELDS.len()];
                    let mut literal = Vec::new();
                    encode_literal(name.as_bytes(), value.as_bytes(), false, &mut literal);
                    // With indexing, or without.
                    if let (true, Some(first)) = (n & 1 == 0, literal.first_mut()) {
                        *first |= 0x40;
                    }
                    block.extend(literal);
                }
                // Of either table.
                n @ 100..=200 => block.push(0x80 | (n - 60)),
                n => block.extend_from_slice(self.take(usize::from(n % 8))),
            }
        }
        block
    }

    fn frame(&mut self, direction: Direction) -> Vec<u8> {
        const STREAMS: [u32; 12] = [0, 1, 1, 1, 3, 3, 5, 7, 2, 4, 9, 0x7fff_ffff];
        let (what, which) = (self.byte(), self.byte());
        let stream = STREAMS[usize::from(which % 12)];
        let mut flags = if which & 0x80 == 0 {
            0
        } else {
            flag::END_STREAM
        };
        let mut payload;
        let kind = match what {
            0..=89 => {
                payload = self.block(direction == Direction::Send);
                if what % 8 != 7 {
                    flags |= flag::END_HEADERS;
                }
                kind::HEADERS
            }
            90..=99 => {
                payload = self.block(true);
                flags = if what & 1 == 0 { flag::END_HEADERS } else { 0 };
                kind::CONTINUATION
            }
            100..=179 => {
                let n = usize::from(self.byte());
                payload = self.take(n % 24).to_vec();
                if n == 255 {
                    payload.resize(20_000, b'x');
                }
                if n > 200 {
                    flags |= flag::PADDED;
                }
                kind::DATA
            }
            180..=189 => {
                payload = u32::from(self.byte() % 8).to_be_bytes().to_vec();
                kind::RST_STREAM
            }
            190..=199 => {
                payload = u32::from(self.byte() % 8).to_be_bytes().to_vec();
                payload.extend(self.block(true));
                flags = if what & 1 == 0 { flag::END_HEADERS } else { 0 };
                kind::PUSH_PROMISE
            }
            200..=209 => {
                payload = u32::from(self.byte() % 8).to_be_bytes().to_vec();
                payload.extend([0; 4]);
                kind::GOAWAY
            }
            210..=219 => {
                payload = self.take(usize::from(what & 1) * 6).to_vec();
                flags &= u8::from(what & 2 == 0);
                kind::SETTINGS
            }
            220..=229 => {
                payload = vec![0; usize::from(what % 10)];
                what % 11
            }
            _ => {
                payload = self.take(usize::from(which % 16)).to_vec();
                flags = self.byte();
                what % 12
            }
        };
        let fixed = matches!(kind, kind::SETTINGS | kind::GOAWAY | kind::PING);
        let mut header = FrameHeader {
            length: payload.len() as u32,
            kind,
            flags,
            stream: if fixed && what < 250 { 0 } else { stream },
        };
        if what == 251 {
            header.length = 0xff_ffff;
        }
        [&header.encode()[..], &payload].concat()
    }

    pub(super) fn steps(&mut self) -> (Vec<Step>, bool) {
        let mut steps = Vec::new();
        let mut lossless = true;
        let how = self.byte();
        if how & 1 == 0 {
            let settings = FrameHeader {
                length: 0,
                kind: kind::SETTINGS,
                flags: 0,
                stream: 0,
            };
            let settings = settings.encode();
            if how & 6 == 6 {
                let request = b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n";
                let response = b"HTTP/1.1 101 S\r\nUpgrade: h2c\r\n\r\n";
                steps.push(Step::Bytes(Direction::Send, request.to_vec()));
                steps.push(Step::Bytes(Direction::Receive, response.to_vec()));
            }
            let client = [PREFACE, &settings].concat();
            steps.push(Step::Bytes(Direction::Send, client));
            steps.push(Step::Bytes(Direction::Receive, settings.to_vec()));
        }
        while let Some(op) = self.next() {
            let direction = if op & 1 == 0 {
                Direction::Send
            } else {
                Direction::Receive
            };
            let step = match op {
                0..=219 => {
                    let frame = self.frame(direction);
                    if let Some(Step::Bytes(before, bytes)) = steps.last_mut()
                        && *before == direction
                    {
                        bytes.extend(frame);
                        continue;
                    }
                    Step::Bytes(direction, frame)
                }
                220..=224 => {
                    let n = usize::from(self.byte() % 32);
                    Step::Bytes(direction, self.take(n).to_vec())
                }
                225..=234 => {
                    lossless = false;
                    Step::Gap(direction, 1 + u64::from(self.byte()))
                }
                235 => {
                    lossless = false;
                    Step::Gap(direction, u64::from(self.byte()) << 24)
                }
                236..=239 => Step::End(direction),
                240..=249 => Step::Wait(u64::from(self.byte()) * 8_000_000),
                250..=251 => Step::Close(op & 2 == 0),
                252 => Step::ProcessEnded,
                _ => {
                    let frame = self.frame(direction);
                    let at = frame.len().min(usize::from(self.byte()));
                    Step::Bytes(direction, frame.get(at..).unwrap_or_default().to_vec())
                }
            };
            steps.push(step);
        }
        (steps, lossless)
    }
}

/// Whether both directions are frames from their beginning on, so that none
/// has to be looked for: what is found depends on what is there.
fn is_framed(steps: &[Step]) -> bool {
    let mut bytes = [Vec::new(), Vec::new()];
    for step in steps {
        match step {
            Step::Bytes(direction, more) => bytes[direction.index()].extend_from_slice(more),
            Step::Close(_) | Step::ProcessEnded => return false,
            _ => {}
        }
    }
    let [sent, received] = &bytes;
    let Some(after) = sent.strip_prefix(PREFACE) else {
        return false;
    };
    [after, received].into_iter().all(|mut rest| {
        while let Some(header) = FrameHeader::parse(rest) {
            if !header.is_sound() {
                return false;
            }
            rest = rest.get(9 + header.length as usize..).unwrap_or_default();
        }
        true
    })
}

/// A filter, or none, by the lowest bits of `choice`.
pub(crate) fn filter(choice: u8) -> Filter {
    let mut filter = Filter::default();
    match choice & 7 {
        1 => filter.paths.push("/a*".parse().expect("a path")),
        2 => filter.statuses.push("2xx".parse().expect("a status")),
        3 => filter.hosts.push("a.test".parse().expect("a host")),
        _ => {}
    }
    filter
}

/// `data` as a setting, a seed for the cuts, and a conversation.
pub fn h2(data: &[u8]) {
    let mut input = Input(data);
    let (flags, more, seed) = (input.byte(), input.byte(), input.byte());
    let from_start = flags & 1 == 0;
    let filter = filter(more);
    let tight = flags & 2 != 0;
    let setting = Setting {
        config: Config {
            filter,
            redact: (flags & 4 != 0).then(|| Redact::new(&[])),
            max_body: if flags & 8 != 0 { 4 } else { 1 << 20 },
            memory_limit: if tight { 6000 } else { 64 << 20 },
            count: (more & 8 != 0).then_some(2),
            ..Config::default()
        },
        info: ConnectionInfo {
            from_start,
            perspective_unknown: flags & 16 != 0,
            ..ConnectionInfo::new(ConnectionKey {
                source: if flags & 32 != 0 {
                    Source::OpenSsl
                } else {
                    Source::Tcp
                },
                object: 1,
                born: 0,
            })
        },
        wants: Wants {
            bodies: more & 16 == 0,
            wire: more & 32 == 0,
            requests: true,
            pending: true,
            messages: more & 64 == 0,
        },
    };
    let (steps, lossless) = input.steps();
    let whole = run(&setting, &steps, &mut || usize::MAX);
    let mut state = u64::from(seed) << 3 | 0x9e37_79b9_0000_0001;
    let pieces = run(&setting, &steps, &mut || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        match state >> 60 {
            0..=7 => 1 + (state >> 40) as usize % 8,
            8..=14 => 1 + (state >> 40) as usize % 64,
            _ => usize::MAX,
        }
    });
    if from_start && lossless && !tight && is_framed(&steps) {
        for (one, other) in whole.exchanges.iter().zip(&pieces.exchanges) {
            assert_eq!(one, other);
        }
        assert_eq!(whole.exchanges.len(), pieces.exchanges.len());
    }
}
