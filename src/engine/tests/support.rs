//! A sink that keeps everything, and a script of events to feed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use crate::engine::{Config, Engine};
use crate::event::{
    Action, ConnectionInfo, ConnectionKey, Data, Direction, Endpoint, Event, MissingReason, Source,
    Timestamp,
};
use crate::exchange::Exchange;
use crate::message::Message;
use crate::output::{Content, Sink, Wants, Wire};
use crate::process::Process;
use crate::tls_flow::TlsFlow;

pub(super) const MS: u64 = 1_000_000;

/// What came out.
#[derive(Default)]
pub(super) struct Out {
    pub(super) exchanges: Vec<Exchange>,
    pub(super) requests: Vec<Exchange>,
    pub(super) pending: Vec<Exchange>,
    /// Number, direction, kind and data of each message.
    pub(super) messages: Vec<String>,
    pub(super) message_times: Vec<Timestamp>,
    pub(super) flows: Vec<TlsFlow>,
    /// Numbers of exchanges that are upgraded, and all messages with their
    /// states.
    pub(super) told: Vec<String>,
    /// Bytes per connection and direction.
    pub(super) wire: BTreeMap<(u64, Direction), Vec<u8>>,
    pub(super) gaps: Vec<(Direction, u64, u64, MissingReason)>,
    pub(super) ends: Vec<(Direction, bool)>,
    /// Last offset per connection and direction: must rise.
    offsets: BTreeMap<(u64, Direction), u64>,
}

struct Recorder(Rc<RefCell<Out>>, Wants);

impl Sink for Recorder {
    fn wants(&self) -> Wants {
        self.1
    }
    fn request(&mut self, exchange: &Exchange) -> io::Result<()> {
        self.0.borrow_mut().requests.push(exchange.clone());
        Ok(())
    }
    fn message(&mut self, _exchange: &Exchange, message: &Message<'_>) -> io::Result<()> {
        let (n, way, kind) = (message.number, message.direction, message.kind.name());
        let (data, state) = (text(message.data), message.state.name());
        let mut out = self.0.borrow_mut();
        out.message_times.push(message.time);
        out.messages.push(format!("{n} {way:?} {kind} {data}"));
        out.told.push(format!("{n} {way:?} {kind} {state} {data}"));
        Ok(())
    }
    fn pending(&mut self, exchange: &Exchange) -> io::Result<()> {
        self.0.borrow_mut().pending.push(exchange.clone());
        Ok(())
    }
    fn exchange(&mut self, exchange: &Exchange) -> io::Result<()> {
        self.0.borrow_mut().exchanges.push(exchange.clone());
        Ok(())
    }
    fn upgraded(&mut self, exchange: &Exchange) -> io::Result<()> {
        let line = format!("{}.{}", exchange.connection, exchange.ordinal);
        self.0.borrow_mut().told.push(line);
        Ok(())
    }
    fn tls(&mut self, flow: &TlsFlow) -> io::Result<()> {
        self.0.borrow_mut().flows.push(flow.clone());
        Ok(())
    }
    fn wire(&mut self, wire: &Wire<'_>) -> io::Result<()> {
        let mut out = self.0.borrow_mut();
        let key = (wire.connection, wire.direction);
        let length = match wire.content {
            Content::Bytes(bytes) => {
                assert!(!bytes.is_empty());
                out.wire.entry(key).or_default().extend_from_slice(bytes);
                bytes.len() as u64
            }
            Content::Gap { length, reason } => {
                out.gaps.push((wire.direction, wire.offset, length, reason));
                length
            }
            Content::End { synthetic } => {
                out.ends.push((wire.direction, synthetic));
                0
            }
            Content::Reset => 0,
        };
        if let Some(before) = out.offsets.insert(key, wire.offset.wrapping_add(length)) {
            assert!(
                wire.offset.wrapping_sub(before) as i64 >= 0,
                "offsets of a direction only rise"
            );
        }
        Ok(())
    }
}

/// A connection's facts.
pub(super) fn info(object: u64, from_start: bool) -> ConnectionInfo {
    let address = |s: &str| Some(Endpoint::from_socket(s.parse().unwrap()));
    ConnectionInfo {
        key: ConnectionKey {
            source: Source::Tcp,
            object,
            born: 1,
        },
        local: address("127.0.0.1:50000"),
        peer: address("127.0.0.1:80"),
        namespace: 0,
        from_start,
        tls_library: None,
        perspective_unknown: false,
        number: None,
    }
}

/// An engine with one recording sink and a connection to feed.
pub(super) struct Rig {
    pub(super) engine: Engine,
    pub(super) out: Rc<RefCell<Out>>,
    pub(super) info: ConnectionInfo,
    pub(super) offsets: [u64; 2],
    pub(super) now: u64,
    pub(super) process: Option<Arc<Process>>,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(Config::default(), info(1, true))
    }

    pub(super) fn with(config: Config, info: ConnectionInfo) -> Self {
        let wants = Wants {
            bodies: true,
            wire: true,
            requests: true,
            pending: true,
            messages: true,
        };
        let out = Rc::new(RefCell::new(Out::default()));
        Self {
            engine: Engine::new(config, vec![Box::new(Recorder(out.clone(), wants))]),
            out,
            info,
            // Any first value will do, one near the end too.
            offsets: [1000, u64::MAX - 3000],
            now: 1_000 * MS,
            process: None,
        }
    }

    pub(super) fn act(&mut self, action: Action<'_>) {
        self.engine
            .event(&Event {
                time: Timestamp(self.now),
                process: self.process.as_ref(),
                tid: 7,
                thread: b"main",
                connection: &self.info,
                action,
            })
            .unwrap();
    }

    fn data(&mut self, direction: Direction, offset: u64, bytes: &[u8], missing: u64) {
        self.act(Action::Data(Data {
            direction,
            offset,
            bytes,
            missing,
            reason: MissingReason::RingFull,
        }));
    }

    pub(super) fn at(&mut self, direction: Direction, offset: u64, bytes: &[u8]) {
        self.data(direction, offset, bytes, 0);
    }

    fn next(&mut self, direction: Direction, length: u64) -> u64 {
        let offset = &mut self.offsets[direction.index()];
        let at = *offset;
        *offset = offset.wrapping_add(length);
        at
    }

    /// The next bytes of a direction.
    pub(super) fn bytes(&mut self, direction: Direction, bytes: &[u8]) {
        let offset = self.next(direction, bytes.len() as u64);
        self.data(direction, offset, bytes, 0);
    }

    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.bytes(Direction::Send, bytes.as_ref());
    }

    pub(super) fn receive(&mut self, bytes: impl AsRef<[u8]>) {
        self.bytes(Direction::Receive, bytes.as_ref());
    }

    /// Bytes known to be lost.
    pub(super) fn lose(&mut self, direction: Direction, length: u64) {
        let offset = self.next(direction, length);
        self.data(direction, offset, b"", length);
    }

    /// Bytes that silently do not come.
    pub(super) fn skip(&mut self, direction: Direction, length: u64) {
        self.next(direction, length);
    }

    pub(super) fn end(&mut self, direction: Direction) {
        let offset = Some(self.offsets[direction.index()]);
        self.act(Action::End { direction, offset });
    }

    pub(super) fn close(&mut self, reset: bool) {
        self.act(Action::Close { reset });
    }

    pub(super) fn wait(&mut self, ms: u64) {
        self.now += ms * MS;
        self.engine.tick(Timestamp(self.now)).unwrap();
    }

    pub(super) fn finish(&mut self) {
        self.engine.finish(Timestamp(self.now)).unwrap();
        assert_eq!(
            self.engine.core.budget.used(),
            0,
            "all memory is given back"
        );
    }

    /// The exchanges so far, in short.
    pub(super) fn lines(&self) -> Vec<String> {
        self.out.borrow().exchanges.iter().map(line).collect()
    }

    pub(super) fn wire(&self, direction: Direction) -> Vec<u8> {
        let out = self.out.borrow();
        out.wire.get(&(1, direction)).cloned().unwrap_or_default()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `GET /x > body | 200 < body | complete`, with what is remarkable.
pub(super) fn line(x: &Exchange) -> String {
    let mut line = match &x.request {
        Some(r) => format!(
            "{} {} > {:?} {}",
            text(&r.method),
            text(&r.target),
            r.body.state,
            text(&r.body.bytes)
        ),
        None => "-".into(),
    };
    line.push_str(" | ");
    for interim in &x.interim {
        line.push_str(&format!("({}) ", interim.status));
    }
    match &x.response {
        Some(r) => {
            for interim in &r.interim {
                line.push_str(&format!("({}) ", interim.status));
            }
            line.push_str(&format!(
                "{} < {:?} {}",
                r.status,
                r.body.state,
                text(&r.body.bytes)
            ));
        }
        None => line.push('-'),
    }
    line.push_str(&format!(" | {}", x.state.name()));
    if let Some(upgrade) = x.upgraded_to {
        line.push_str(&format!(" {} {:?}", upgrade.name(), x.tunnel_bytes));
    }
    line
}

/// A conversation as turns: who sends what.
pub(super) type Turns<'a> = &'a [(Direction, &'a [u8])];

/// What comes out when each turn is cut by `cut` (`None`: whole) and the
/// connection is then closed.
pub(super) fn run_cut(
    turns: Turns<'_>,
    cut: &dyn Fn(&[u8]) -> Vec<usize>,
) -> (Vec<String>, [Vec<u8>; 2]) {
    let mut rig = Rig::new();
    for (direction, bytes) in turns {
        let mut at = 0;
        for end in cut(bytes).into_iter().chain([bytes.len()]) {
            if end > at {
                rig.bytes(*direction, &bytes[at..end]);
                at = end;
            }
        }
    }
    rig.close(false);
    rig.finish();
    let wire = [rig.wire(Direction::Send), rig.wire(Direction::Receive)];
    (rig.lines(), wire)
}

/// Asserts that the turns give these exchanges, and all their bytes as wire,
/// fed whole, byte by byte and cut at every place.
pub(super) fn check(turns: Turns<'_>, expected: &[&str]) {
    let mut sent = [Vec::new(), Vec::new()];
    for (direction, bytes) in turns {
        sent[direction.index()].extend_from_slice(bytes);
    }
    let longest = turns.iter().map(|(_, b)| b.len()).max().unwrap_or(0);
    let all = |bytes: &[u8]| (1..bytes.len()).collect();
    let mut results = vec![("bytes".to_owned(), run_cut(turns, &all))];
    for at in 0..longest {
        let cut = move |_: &[u8]| vec![at];
        let cut = |b: &[u8]| cut(b).into_iter().filter(|at| *at < b.len()).collect();
        results.push((format!("cut at {at}"), run_cut(turns, &cut)));
    }
    for (how, (lines, wire)) in results {
        assert_eq!(lines, expected, "{how}");
        assert_eq!(text(&wire[0]), text(&sent[0]), "sent, {how}");
        assert_eq!(text(&wire[1]), text(&sent[1]), "received, {how}");
    }
}
