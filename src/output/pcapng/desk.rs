//! Where pieces of the wire wait: which stream they belong to, and when they
//! are written.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Write};
use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::address::Addresses;
use super::block::BlockWriter;
use super::comment::People;
use super::conversation::{Conversation, View};
use super::feed::{Arrival, Body, ORIGIN, Piece};
use super::remarks::Ports;
use super::store::Store;
use super::stream::Out;
use crate::event::{ConnectionInfo, Direction, Endpoint, Source};
use crate::exchange::Role;
use crate::output::{Content, Wire};

/// How long a piece may be held for order, in nanoseconds.
const HOLD: u64 = 50_000_000;
/// Bytes that may be held.
const MAX_HELD: u64 = 8 << 20;
/// A stream that has ended is forgotten after so many nanoseconds.
const LINGER: u64 = 10_000_000_000;

/// What both views of a stream have in common.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Meeting {
    namespace: u64,
    tls: bool,
    /// The lesser address first.
    ends: [Endpoint; 2],
}

/// A piece's turn: by time, then by arrival.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    time: u64,
    serial: u64,
    arrived: u64,
    conversation: u64,
    sender: usize,
    end: usize,
}

/// Everything that is open.
pub(super) struct Desk {
    out: Out,
    conversations: FxHashMap<u64, Conversation>,
    /// The stream and the end of a view, by the engine's connection number.
    by_connection: FxHashMap<u64, (u64, usize)>,
    by_meeting: FxHashMap<Meeting, u64>,
    turns: BinaryHeap<Reverse<Turn>>,
    store: Rc<Store>,
    people: People,
    serial: u64,
    now: u64,
    swept: u64,
}

impl Desk {
    pub(super) fn new(out: Box<dyn Write>) -> io::Result<Self> {
        let mut blocks = BlockWriter::new(out)?;
        blocks.flush()?;
        Ok(Self {
            out: Out {
                blocks,
                addresses: Addresses::default(),
                run: 0,
                ports: Ports::default(),
            },
            conversations: FxHashMap::default(),
            by_connection: FxHashMap::default(),
            by_meeting: FxHashMap::default(),
            turns: BinaryHeap::new(),
            store: Rc::default(),
            people: People::default(),
            serial: 0,
            now: 0,
            swept: 0,
        })
    }

    pub(super) fn remarks(&self) -> Vec<String> {
        self.out.ports.remarks()
    }

    /// Takes a piece and writes those whose time has come.
    pub(super) fn take(&mut self, wire: &Wire<'_>) -> io::Result<()> {
        if self.out.run == 0 {
            self.out.run = wire.time.0;
        }
        self.now = self.now.max(wire.time.0);
        let (id, end) = match self.by_connection.get(&wire.connection) {
            Some(place) => *place,
            None => self.join(wire),
        };
        self.queue(wire, id, end);
        self.release(false)
    }

    pub(super) fn tick(&mut self, now: u64) -> io::Result<()> {
        self.now = self.now.max(now);
        self.release(false)?;
        self.sweep();
        self.out.blocks.flush()
    }

    pub(super) fn finish(&mut self, now: u64) -> io::Result<()> {
        self.now = self.now.max(now);
        self.release(true)?;
        let mut ids: Vec<u64> = self.conversations.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            let Some(conversation) = self.conversations.get_mut(&id) else {
                continue;
            };
            if !conversation.open || conversation.reset {
                continue;
            }
            let time = conversation.last;
            for sender in 0..2 {
                let flow = &conversation.flows[sender];
                if flow.ended {
                    continue;
                }
                let either = usize::from(conversation.views[0].is_none());
                let shown = flow.writer.unwrap_or(either);
                conversation.end(&mut self.out, sender, shown, time, true)?;
            }
        }
        self.out.blocks.flush()
    }

    /// Finds the stream of a view that is new: that of the other end, or one
    /// of its own.
    fn join(&mut self, wire: &Wire<'_>) -> (u64, usize) {
        // Two views of a WebSocket that was there before begin where each of
        // them first found frames, and have nothing by which to be joined.
        let meeting = match wire.websocket {
            Some(_) => None,
            None => meeting(wire.info),
        };
        let known = meeting
            .as_ref()
            .and_then(|m| self.by_meeting.get(m))
            .copied();
        if let Some(id) = known
            && let Some(conversation) = self.conversations.get_mut(&id)
            && !conversation.is_over()
        {
            let vacant = conversation.views.iter().position(Option::is_none);
            if let Some(end) = vacant
                && let Some(there) = &conversation.views[1 - end]
                && there.info.local == wire.info.peer
                && there.info.peer == wire.info.local
            {
                conversation.views[end] = Some(view(wire, &mut self.people));
                self.by_connection.insert(wire.connection, (id, end));
                return (id, end);
            }
        }
        let end = usize::from(!opens(wire));
        let mut ends = [wire.info.local.as_ref(), wire.info.peer.as_ref()];
        if end == 1 {
            ends.reverse();
        }
        // On a made-up port 443 tshark would take HTTP/2 for TLS.
        let is_tls = wire.info.key.source.is_tls();
        let pair = self
            .out
            .addresses
            .choose(ends, is_tls && wire.http2.is_none());
        let mut conversation = Conversation::new(pair, wire.http2.is_some());
        conversation.websocket = wire.websocket.is_some();
        conversation.views[end] = Some(view(wire, &mut self.people));
        self.serial += 1;
        let id = self.serial;
        self.conversations.insert(id, conversation);
        self.by_connection.insert(wire.connection, (id, end));
        if let Some(meeting) = meeting {
            self.by_meeting.insert(meeting, id);
        }
        (id, end)
    }

    /// Puts a piece into its feed.
    fn queue(&mut self, wire: &Wire<'_>, id: u64, end: usize) {
        let Some(conversation) = self.conversations.get_mut(&id) else {
            return;
        };
        conversation.anew |= wire.http2.is_some_and(|http2| http2.anew);
        let sender = match wire.direction {
            Direction::Send => end,
            Direction::Receive => 1 - end,
        };
        let Some(view) = &mut conversation.views[end] else {
            return;
        };
        if !Arc::ptr_eq(&view.info, wire.info) {
            // A peer or a library that has become known is said again.
            view.announced &= view.info == *wire.info;
            view.info = Arc::clone(wire.info);
        }
        if !view.queued.is(wire.process, wire.tid, wire.thread) {
            view.queued = self.people.who(wire.process, wire.tid, wire.thread);
        }
        let who = Rc::clone(&view.queued);
        let Some((position, after)) = place(conversation, wire, sender, end) else {
            // Bytes of which it is not known where they belong: the other
            // view has them.
            return;
        };
        let body = match wire.content {
            Content::Bytes(bytes)
                if position + bytes.len() as u64 <= conversation.flows[sender].written =>
            {
                Body::Known(bytes.len() as u64)
            }
            Content::Bytes(bytes) => Body::Bytes(self.store.keep(bytes)),
            Content::Gap { length, reason } => Body::Gap(length, reason),
            Content::End { synthetic } => Body::End { synthetic },
            Content::Reset => Body::Reset,
        };
        self.serial += 1;
        let piece = Piece {
            serial: self.serial,
            time: wire.time.0,
            who,
            position,
            offset: wire.offset,
            after,
            due: false,
            waited: false,
            body,
        };
        let flow = &mut conversation.flows[sender];
        let feed = &mut flow.feeds[end];
        feed.next = Some(piece.end());
        feed.offset = wire.offset.wrapping_add(piece.body.length());
        feed.queue.push_back(piece);
        if flow.writer == Some(1 - end) {
            feed.shed();
        }
        self.turns.push(Reverse(Turn {
            time: wire.time.0,
            serial: self.serial,
            arrived: self.now,
            conversation: id,
            sender,
            end,
        }));
    }

    /// Writes what has been held long enough, or everything.
    fn release(&mut self, all: bool) -> io::Result<()> {
        while let Some(Reverse(turn)) = self.turns.peek().copied() {
            let over = turn.arrived.saturating_add(HOLD) <= self.now;
            if !(all || over || self.store.held() > MAX_HELD) {
                break;
            }
            self.turns.pop();
            let Some(conversation) = self.conversations.get_mut(&turn.conversation) else {
                continue;
            };
            let flow = &mut conversation.flows[turn.sender];
            let writer = flow.choose(turn.sender, turn.end);
            if writer != turn.end {
                // The other view is written: only the times of this one count
                // now, and whether there was an end.
                if let Some(piece) = flow.feeds[turn.end].piece(turn.serial) {
                    piece.forget();
                }
                continue;
            }
            if let Some(piece) = flow.feeds[turn.end].piece(turn.serial) {
                piece.due = true;
            }
            let patient = !all && self.store.held() <= MAX_HELD;
            let again = drain(conversation, &mut self.out, turn.sender, patient)?;
            if again {
                self.turns.push(Reverse(Turn {
                    time: turn.time.max(self.now),
                    arrived: self.now,
                    ..turn
                }));
            }
        }
        Ok(())
    }

    /// Forgets streams that have ended.
    fn sweep(&mut self) {
        if self.now < self.swept.saturating_add(LINGER / 10) {
            return;
        }
        self.swept = self.now;
        let before = self.now.saturating_sub(LINGER);
        let (by_connection, by_meeting) = (&mut self.by_connection, &mut self.by_meeting);
        self.conversations.retain(|id, conversation| {
            let keep = !conversation.is_over() || conversation.last > before;
            if !keep {
                for view in conversation.views.iter().flatten() {
                    by_connection.remove(&view.connection);
                    if let Some(meeting) = meeting(&view.info)
                        && by_meeting.get(&meeting) == Some(id)
                    {
                        by_meeting.remove(&meeting);
                    }
                }
            }
            keep
        });
    }
}

/// Where in its direction a piece belongs, and what has to be written before.
fn place(
    conversation: &mut Conversation,
    wire: &Wire<'_>,
    sender: usize,
    end: usize,
) -> Option<(u64, u64)> {
    let [here, there] = [end, 1 - end].map(|e| {
        conversation.views[e]
            .as_ref()
            .map(|v| (v.info.from_start, v.info.key.source == Source::Tcp))
    });
    let anew = conversation.anew;
    let after = conversation.flows[1 - sender].feeds[end].next.unwrap_or(0);
    let flow = &mut conversation.flows[sender];
    let bytes = match wire.content {
        Content::Bytes(bytes) => bytes,
        _ => &[],
    };
    let writer = flow.writer;
    let [first, second] = &mut flow.feeds;
    let (feed, other) = if end == 0 {
        (first, second)
    } else {
        (second, first)
    };
    if let Some(position) = feed.next
        && !bytes.is_empty()
        && writer != Some(end)
        && other.agrees(position, bytes) == Some(false)
    {
        // The views have parted (a filter that keeps more of one of them).
        feed.next = None;
        feed.synced = false;
    }
    if feed.next.is_none() {
        feed.next = match (here, there) {
            (Some(here), Some(there)) if other.begun => {
                let arrival = Arrival {
                    offset: wire.offset,
                    bytes,
                    both_from_start: here.0 && there.0,
                    same_numbers: here.1 && there.1 && !anew,
                };
                other.place(&arrival, feed.begun)
            }
            _ => Some(ORIGIN),
        };
    }
    feed.begun = true;
    feed.next.map(|position| (position, after))
}

/// Writes the pieces of a flow's written view whose time has come. Answers
/// whether one waits for what has to come before it.
fn drain(
    conversation: &mut Conversation,
    out: &mut Out,
    sender: usize,
    patient: bool,
) -> io::Result<bool> {
    let Some(writer) = conversation.flows[sender].writer else {
        return Ok(false);
    };
    loop {
        let Some(front) = conversation.flows[sender].feeds[writer].queue.front_mut() else {
            return Ok(false);
        };
        if !front.due {
            return Ok(false);
        }
        let (after, waited) = (front.after, front.waited);
        if !earlier_first(conversation, out, 1 - sender, writer, after)? && patient && !waited {
            if let Some(front) = conversation.flows[sender].feeds[writer].queue.front_mut() {
                front.waited = true;
            }
            return Ok(true);
        }
        step(conversation, out, sender, writer)?;
    }
}

/// Writes what the view `end` had seen of the flow of `sender` before it went
/// on, up to the position `after`. Answers whether that is written now.
fn earlier_first(
    conversation: &mut Conversation,
    out: &mut Out,
    sender: usize,
    end: usize,
    after: u64,
) -> io::Result<bool> {
    let flow = &mut conversation.flows[sender];
    if after == 0 || flow.writer.is_some() && flow.written >= after {
        return Ok(true);
    }
    if flow.feeds.iter().all(|feed| feed.queue.is_empty()) {
        return Ok(flow.writer.is_some());
    }
    let writer = flow.choose(sender, end);
    while conversation.flows[sender].written < after {
        if conversation.flows[sender].feeds[writer].queue.is_empty() {
            return Ok(false);
        }
        step(conversation, out, sender, writer)?;
    }
    Ok(true)
}

/// Writes the first piece of a flow's written view.
fn step(
    conversation: &mut Conversation,
    out: &mut Out,
    sender: usize,
    writer: usize,
) -> io::Result<()> {
    let feed = &mut conversation.flows[sender].feeds[writer];
    let Some(piece) = feed.queue.pop_front() else {
        return Ok(());
    };
    conversation.write(out, sender, writer, &piece)
}

/// What the two views of a stream have in common, if both addresses are known.
fn meeting(info: &ConnectionInfo) -> Option<Meeting> {
    let mut ends = [info.local.clone()?, info.peer.clone()?];
    ends.sort_unstable();
    Some(Meeting {
        namespace: info.namespace,
        tls: info.key.source.is_tls(),
        ends,
    })
}

fn view(wire: &Wire<'_>, people: &mut People) -> View {
    let who = people.who(wire.process, wire.tid, wire.thread);
    View {
        connection: wire.connection,
        info: Arc::clone(wire.info),
        announced: false,
        queued: Rc::clone(&who),
        latest: who,
        told: None,
    }
}

/// Whether the process of this first piece is at the end that opened the
/// connection: requests go from there.
fn opens(wire: &Wire<'_>) -> bool {
    if let Some(http2) = wire.http2 {
        // Either end may speak first.
        return http2.role == Role::Client;
    }
    if let Some(role) = wire.websocket {
        return role == Role::Client;
    }
    let response = matches!(wire.content, Content::Bytes(bytes) if bytes.starts_with(b"HTTP/"));
    (wire.direction == Direction::Send) != response
}
