//! `--tls-flows`: TLS connections whose plaintext is not read, from their
//! first byte to the line that is shown of each.

use std::io;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::core::Core;
use super::{Config, TlsFlows};
use crate::event::{ConnectionInfo, ConnectionKey, Data, Direction, Timestamp};
use crate::exchange::{Role, State};
use crate::filter::Verdict;
use crate::flow::{Item, Origin, OwnedOrigin, Piece};
use crate::tls_flow::{TlsFlow, Unread};
use crate::tls_hello::{self, Hello, Progress};

/// How long a flow that has ended waits for the reason why it was not read, in
/// nanoseconds: looking at a program takes a while.
const PATIENCE: u64 = 500_000_000;

/// How long it waits in any case: what was read on it may be reported when its
/// socket has been closed by another thread.
const HOLD: u64 = 200_000_000;

/// Reasons kept, and TLS objects whose socket is not known.
const KEPT: usize = 65_536;

/// The beginning of a direction.
enum Reading {
    /// These bytes are there, so many are needed.
    Bytes(Vec<u8>, usize),
    Done(Hello),
}

/// Where a direction's bytes were.
#[derive(Clone, Copy)]
struct Span {
    /// The offset that was seen first; the others are distances to it.
    origin: u64,
    /// The first byte.
    from: i64,
    /// After the last.
    to: i64,
}

/// A TCP connection that is TLS or may be.
pub(super) struct Flow {
    first: OwnedOrigin,
    hellos: [Reading; 2],
    spans: [Option<Span>; 2],
    /// The kernel's counts of bytes sent and received.
    counted: Option<[u64; 2]>,
    /// The process has sent its end.
    finished: bool,
    /// Set once it is known to be TLS.
    info: Option<Arc<ConnectionInfo>>,
    unread: Option<Unread>,
    /// It may be one that was read.
    unsure: bool,
    pub(super) last: Timestamp,
}

impl Flow {
    /// One for a connection that may become a flow.
    pub(super) fn candidate(
        config: &Config,
        info: &ConnectionInfo,
        first: &Origin<'_>,
    ) -> Option<Box<Self>> {
        if config.tls_flows == TlsFlows::No || info.key.source.is_tls() {
            return None;
        }
        let start = || Reading::Bytes(Vec::new(), 0);
        Some(Box::new(Self {
            first: first.to_owned(),
            hellos: [start(), start()],
            spans: [None; 2],
            counted: None,
            finished: false,
            info: None,
            unread: None,
            unsure: false,
            last: first.time,
        }))
    }

    /// It is TLS; nobody reads it.
    pub(super) fn settle(&mut self, info: &Arc<ConnectionInfo>) {
        self.info.get_or_insert_with(|| Arc::clone(info));
    }

    /// Whether a hello may still come. Where one direction is encrypted
    /// already, so is the other.
    pub(super) fn is_reading(&self) -> bool {
        let reading = |r: &Reading| matches!(r, Reading::Bytes(..));
        let joined = |r: &Reading| matches!(r, Reading::Done(Hello::None | Hello::Alert(_)));
        self.hellos.iter().any(reading) && !self.hellos.iter().any(joined)
    }

    fn pid(&self) -> Option<u32> {
        self.first.get().process.map(|process| process.pid)
    }

    /// When it began.
    pub(super) fn start(&self) -> Timestamp {
        self.first.get().time
    }

    /// Takes note of where bytes were, in whatever order.
    pub(super) fn see(&mut self, data: &Data<'_>) {
        let length = (data.bytes.len() as u64).saturating_add(data.missing);
        if let Some(span) = self.spans.get_mut(data.direction.index())
            && length > 0
        {
            let span = span.get_or_insert(Span {
                origin: data.offset,
                from: 0,
                to: 0,
            });
            let from = data.offset.wrapping_sub(span.origin).cast_signed();
            span.from = span.from.min(from);
            span.to = span.to.max(from.saturating_add_unsigned(length));
        }
    }

    /// The end of a direction.
    pub(super) fn end(&mut self, direction: Direction) {
        self.finished |= direction == Direction::Send;
    }

    /// The kernel's counts.
    pub(super) fn count(&mut self, sent: u64, received: u64) {
        self.counted = Some([sent, received]);
    }

    /// Takes the next piece of a direction.
    pub(super) fn item(&mut self, core: &mut Core, direction: Direction, item: &Item<'_>) {
        let Some(reading) = self.hellos.get_mut(direction.index()) else {
            return;
        };
        let Reading::Bytes(bytes, needed) = reading else {
            return;
        };
        let hello = match item.piece {
            Piece::Bytes(more) => {
                let room = tls_hello::LIMIT.saturating_sub(bytes.len());
                let more = more.get(..room).unwrap_or(more);
                if core.budget.take(more.len() as u64) {
                    bytes.extend_from_slice(more);
                    if bytes.len() < *needed && bytes.len() < tls_hello::LIMIT {
                        return;
                    }
                    match tls_hello::read(bytes) {
                        Progress::More(more) => {
                            *needed = more;
                            return;
                        }
                        Progress::Done(hello) => hello,
                    }
                } else {
                    tls_hello::read_cut(bytes)
                }
            }
            Piece::Gap { .. } | Piece::End => tls_hello::read_cut(bytes),
        };
        core.budget.give(bytes.len() as u64);
        *reading = Reading::Done(hello);
    }

    /// No more is read: what it holds is given back.
    pub(super) fn stop(&mut self, core: &mut Core) {
        for reading in &mut self.hellos {
            if let Reading::Bytes(bytes, _) = reading {
                core.budget.give(bytes.len() as u64);
                *reading = Reading::Done(tls_hello::read_cut(bytes));
            }
        }
    }

    /// Its line. `None` if it was never found to be TLS.
    fn line(self, core: &mut Core, state: State, unread: Unread) -> Option<TlsFlow> {
        let counts = |at: usize| match core.config.tls_flows {
            TlsFlows::File => {
                let span = self.spans.get(at).copied().flatten();
                Some(span.map_or(0, |span| span.to.abs_diff(span.from)))
            }
            _ => self.counted.as_ref().and_then(|c| c.get(at)).copied(),
        };
        let (mut sent, mut received) = (counts(0), counts(1));
        let mut info = self.info?;
        let [out, back] = self.hellos.map(|reading| match reading {
            Reading::Bytes(..) => Hello::None,
            Reading::Done(hello) => hello,
        });
        let mut role = match (&out, &back) {
            (Hello::Client(_), _) | (_, Hello::Server(_)) => Some(Role::Client),
            (_, Hello::Client(_)) | (Hello::Server(_), _) => Some(Role::Server),
            _ => None,
        };
        if info.perspective_unknown && role == Some(Role::Server) {
            role = Some(Role::Client);
            std::mem::swap(&mut sent, &mut received);
            let info = Arc::make_mut(&mut info);
            std::mem::swap(&mut info.local, &mut info.peer);
        }
        let (mut client, mut server, mut refused) = (None, None, None);
        for hello in [out, back] {
            match hello {
                Hello::Client(hello) => client = Some(hello),
                Hello::Server(hello) => server = Some(hello),
                Hello::Alert(description) => refused = Some(description),
                Hello::None => {}
            }
        }
        let first = self.first.get();
        Some(TlsFlow {
            connection: 0,
            process: first.process.cloned(),
            tid: first.tid,
            thread: first.thread.to_vec(),
            start: first.time,
            role,
            // What the process itself has ended only waits for the other end.
            state: match state {
                State::Open if self.finished => State::Complete,
                State::Closed => State::Complete,
                state => state,
            },
            refused: refused.filter(|_| client.is_some()),
            client,
            server,
            unread,
            sent,
            received,
            end: self.last,
            info,
        })
    }
}

/// What all flows share.
#[derive(Default)]
pub(super) struct Flows {
    /// Those that have ended and wait for a reason.
    ended: Vec<(Box<Flow>, State)>,
    reasons: FxHashMap<u32, Unread>,
    /// TLS objects that were read and whose socket is not known, by process: a
    /// connection of it may be theirs.
    unplaced: FxHashMap<u32, FxHashSet<ConnectionKey>>,
}

impl Flows {
    /// Why the TLS of a process is not read.
    pub(super) fn explain(&mut self, pid: u32, unread: Unread) {
        if self.reasons.len() >= KEPT {
            self.reasons.clear();
        }
        self.reasons.insert(pid, unread);
    }

    /// Takes note of a TLS connection that is read.
    pub(super) fn see_read(&mut self, info: &ConnectionInfo, pid: u32) {
        if info.peer.is_none() {
            let keys = self.unplaced.entry(pid).or_default();
            if keys.len() < KEPT {
                keys.insert(info.key);
            }
        } else if let Some(keys) = self.unplaced.get_mut(&pid) {
            keys.remove(&info.key);
            if keys.is_empty() {
                self.unplaced.remove(&pid);
            }
        }
    }

    /// Whether anything is known of a process, which has ended.
    pub(super) fn knows(&self, pid: u32) -> bool {
        self.reasons.contains_key(&pid) || self.unplaced.contains_key(&pid)
    }

    /// Gives a flow what is known of its process, before that is forgotten.
    pub(super) fn complete(&self, flow: &mut Flow, pid: u32) {
        if flow.pid() == Some(pid) {
            flow.unread = flow.unread.take().or(self.reasons.get(&pid).cloned());
            flow.unsure |= self.unplaced.contains_key(&pid);
        }
    }

    /// Forgets a process that has ended.
    pub(super) fn forget(&mut self, pid: u32) {
        let mut ended = std::mem::take(&mut self.ended);
        for (flow, _) in &mut ended {
            self.complete(flow, pid);
        }
        self.ended = ended;
        self.reasons.remove(&pid);
        self.unplaced.remove(&pid);
    }

    /// A flow has ended.
    pub(super) fn end(&mut self, core: &Core, mut flow: Box<Flow>, state: State) {
        flow.last = core.now.max(flow.last);
        self.ended.push((flow, state));
    }

    /// What a socket carried has been read after all.
    pub(super) fn withdraw(&mut self, key: ConnectionKey) {
        self.ended
            .retain(|(flow, _)| flow.info.as_ref().is_none_or(|info| info.key != key));
    }

    /// Gives out the flows that have ended and whose reason is known, or has
    /// been waited for; with `all` every one.
    pub(super) fn give(&mut self, core: &mut Core, all: bool) -> io::Result<()> {
        if self.ended.is_empty() {
            return Ok(());
        }
        let live = core.config.tls_flows == TlsFlows::Live;
        let now = core.now;
        for (flow, state) in std::mem::take(&mut self.ended) {
            let reason = flow.unread.clone();
            let pid = flow.pid();
            let reason = reason.or_else(|| self.reasons.get(&pid?).cloned());
            let patience = if reason.is_some() { HOLD } else { PATIENCE };
            if live && !all && now.nanos_since(flow.last) < patience {
                self.ended.push((flow, state));
                continue;
            }
            let unread = reason.unwrap_or_else(|| Unread {
                library: None,
                why: (!live).then(|| "a capture file has no keys".into()),
            });
            if flow.unsure || pid.is_some_and(|pid| self.unplaced.contains_key(&pid)) {
                core.stats.unsure_flows += 1;
            } else if let Some(line) = flow.line(core, state, unread) {
                core.flow(line)?;
            }
        }
        Ok(())
    }
}

impl Core {
    /// Gives out a flow if it is wanted.
    fn flow(&mut self, mut flow: TlsFlow) -> io::Result<()> {
        if self.config.filter.judge_flow(&flow) != Verdict::Keep {
            self.stats.filtered_flows += 1;
            return Ok(());
        }
        self.stats.flows += 1;
        flow.connection = self.number(flow.info.number);
        self.give_flow(&flow)
    }
}
