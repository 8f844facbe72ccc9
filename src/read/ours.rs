//! Files of our own: the events of the live run, rebuilt from the notes.
//!
//! A packet is a piece of one view (outbound: that of its source; inbound:
//! that of its destination). Where the other end was watched too, a note says
//! when it had the bytes, on the same packet or on a later one.

use std::net::SocketAddr;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::facts::{Note, Processes};
use super::segment::{ACK, FIN, RST, SYN, Segment};
use super::tail::{Part, Tail};
use super::{Emit, Result};
use crate::event::{Action, ConnectionInfo, Data, Direction, Event, MissingReason, Timestamp};
use crate::process::Process;

/// Where positions begin: a view may have begun before what is in the file.
const ORIGIN: u64 = 1 << 40;
/// Bytes kept for an end of which nothing is known yet.
const MAX_UNCLAIMED: usize = 128 << 10;
/// Bytes kept for an end that is known.
const MAX_CLAIMED: usize = 4 << 20;
/// Bytes kept in all, for ends of which nothing is known yet.
const MAX_KEPT: usize = 64 << 20;

/// What one process saw.
struct View {
    info: ConnectionInfo,
    process: Option<Arc<Process>>,
    tid: u32,
    thread: Vec<u8>,
    /// By the end that sends: this view was told of the end.
    ended: [bool; 2],
}

/// One direction.
struct Flow {
    /// The position after what was read.
    position: u64,
    /// What the view that is not written has had; `None` before it began.
    /// By the end whose view it is.
    had: [Option<u64>; 2],
    tail: Tail,
    /// The written view saw the end.
    ended: bool,
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            position: ORIGIN,
            had: [None, None],
            tail: Tail::default(),
            ended: false,
        }
    }
}

/// A connection with one or two views; end 0 opened it.
#[derive(Default)]
struct Conversation {
    views: [Option<View>; 2],
    /// By the end that sends.
    flows: [Flow; 2],
}

/// A TCP stream of the file.
struct Stream {
    ends: [SocketAddr; 2],
    conversation: u64,
    /// The next sequence number, by end.
    next: [Option<u32>; 2],
}

/// All streams of our own.
#[derive(Default)]
pub(super) struct Ours {
    streams: FxHashMap<(SocketAddr, SocketAddr), Stream>,
    conversations: FxHashMap<u64, Conversation>,
    /// The conversation of a view, by run and connection number.
    numbers: FxHashMap<(u64, u64), u64>,
    count: u64,
    kept: usize,
}

impl Ours {
    /// Whether a segment belongs to a stream of our own.
    pub(super) fn knows(&self, segment: &Segment<'_>, notes: &[Note]) -> bool {
        notes.iter().any(|note| note.number("connection").is_some())
            || (!segment.has(SYN) || segment.has(ACK)) && self.streams.contains_key(&key(segment))
    }

    /// Takes a segment that is known.
    pub(super) fn segment(
        &mut self,
        time: Timestamp,
        segment: &Segment<'_>,
        outbound: bool,
        notes: &[Note],
        processes: &mut Processes,
        emit: &mut Emit<'_>,
    ) -> Result<bool> {
        let key = key(segment);
        if segment.has(SYN) && !segment.has(ACK) || !self.streams.contains_key(&key) {
            self.begin(segment, notes);
        }
        let Some(stream) = self.streams.get_mut(&key) else {
            return Ok(true);
        };
        let from = usize::from(stream.ends[0] != segment.source);
        let shown = if outbound { from } else { 1 - from };
        let lost = stream.advance(from, segment);
        let id = stream.conversation;
        let Some(conversation) = self.conversations.get_mut(&id) else {
            return Ok(true);
        };
        let kept = conversation.kept();
        let mut step = Step {
            conversation,
            time,
            from,
            processes,
            emit,
        };
        let go_on = step.packet(segment, shown, lost, notes)?;
        for view in conversation.views.iter().flatten() {
            let number = (view.info.key.born, view.info.key.object);
            self.numbers.entry(number).or_insert(id);
        }
        conversation.bound(self.kept > MAX_KEPT);
        self.kept = (self.kept + conversation.kept()).saturating_sub(kept);
        if !go_on {
            return Ok(false);
        }
        let reset = segment.has(RST);
        if reset || conversation.flows.iter().all(|flow| flow.ended) {
            self.streams.remove(&key);
            return self.close(id, time, reset, emit);
        }
        Ok(true)
    }

    /// A new stream: of a new connection, or of one that goes on.
    fn begin(&mut self, segment: &Segment<'_>, notes: &[Note]) {
        let number = notes
            .iter()
            .find_map(|n| Some((n.number("run").unwrap_or(0), n.number("connection")?)));
        let known = number.and_then(|number| self.numbers.get(&number)).copied();
        let id = match known {
            Some(id) if self.conversations.contains_key(&id) => id,
            _ => {
                self.count += 1;
                self.conversations
                    .insert(self.count, Conversation::default());
                self.count
            }
        };
        let stream = Stream {
            ends: [segment.source, segment.destination],
            conversation: id,
            next: [None, None],
        };
        self.streams.insert(key(segment), stream);
    }

    /// Ends a conversation: gives the views what they were not given yet.
    fn close(
        &mut self,
        id: u64,
        time: Timestamp,
        reset: bool,
        emit: &mut Emit<'_>,
    ) -> Result<bool> {
        let Some(mut conversation) = self.conversations.remove(&id) else {
            return Ok(true);
        };
        self.kept = self.kept.saturating_sub(conversation.kept());
        if !conversation.settle(time, emit)? {
            return Ok(false);
        }
        for end in 0..2 {
            for sender in 0..2 {
                if conversation.flows[sender].ended && !conversation.end(end, sender, time, emit)? {
                    return Ok(false);
                }
            }
            if let Some(view) = &conversation.views[end] {
                self.numbers
                    .remove(&(view.info.key.born, view.info.key.object));
                if !view.tell(time, Action::Close { reset }, emit)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// The file has ended: nothing more will be said of when the other ends
    /// had their bytes.
    pub(super) fn finish(&mut self, time: Timestamp, emit: &mut Emit<'_>) -> Result<bool> {
        let mut ids: Vec<u64> = self.conversations.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            if let Some(conversation) = self.conversations.get_mut(&id)
                && !conversation.settle(time, emit)?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// A stream's name, whichever way a segment goes.
fn key(segment: &Segment<'_>) -> (SocketAddr, SocketAddr) {
    let (a, b) = (segment.source, segment.destination);
    if a <= b { (a, b) } else { (b, a) }
}

impl Stream {
    /// Follows the sequence numbers: how many bytes before this segment are
    /// not in the file (it was edited), or by how many it repeats (negative).
    fn advance(&mut self, from: usize, segment: &Segment<'_>) -> i64 {
        let flags = u32::from(segment.has(SYN)) + u32::from(segment.has(FIN));
        let length = u32::try_from(segment.length).unwrap_or(0);
        let after = segment.sequence.wrapping_add(length).wrapping_add(flags);
        let next = self.next[from].unwrap_or(segment.sequence);
        let distance = segment.sequence.wrapping_sub(next).cast_signed();
        if after.wrapping_sub(next).cast_signed() > 0 || self.next[from].is_none() {
            self.next[from] = Some(after);
        }
        i64::from(distance)
    }
}

impl View {
    fn tell(&self, time: Timestamp, action: Action<'_>, emit: &mut Emit<'_>) -> Result<bool> {
        emit(&Event {
            time,
            process: self.process.as_ref(),
            tid: self.tid,
            thread: &self.thread,
            connection: &self.info,
            action,
        })
    }
}

/// The direction, for the view of `end`, of what `sender` sends.
fn direction(end: usize, sender: usize) -> Direction {
    if end == sender {
        Direction::Send
    } else {
        Direction::Receive
    }
}

impl Conversation {
    fn kept(&self) -> usize {
        self.flows.iter().map(|flow| flow.tail.kept()).sum()
    }

    /// Bounds what is kept for the views that are not written.
    fn bound(&mut self, short: bool) {
        for flow in &mut self.flows {
            let limit = match (flow.had, short) {
                ([None, None], false) => MAX_UNCLAIMED,
                ([None, None], true) => 0,
                _ => MAX_CLAIMED,
            };
            if let Some(had) = flow.had.iter().flatten().min() {
                flow.tail.forget(*had);
            }
            flow.tail.shrink(limit);
        }
    }

    /// Gives the view of `end` the next `count` bytes that `sender` sent.
    fn give(
        &mut self,
        end: usize,
        sender: usize,
        count: u64,
        lost: Option<MissingReason>,
        time: Timestamp,
        emit: &mut Emit<'_>,
    ) -> Result<bool> {
        let flow = &mut self.flows[sender];
        let (Some(start), Some(view)) = (flow.had[end], &self.views[end]) else {
            return Ok(true);
        };
        // Never more than is in the file, whatever the note says.
        let until = start.saturating_add(count).min(flow.position);
        flow.had[end] = Some(until);
        let mut offset = start;
        let mut data = Data {
            direction: direction(end, sender),
            offset,
            bytes: &[],
            missing: until.saturating_sub(start),
            reason: lost.unwrap_or(MissingReason::CaptureFile),
        };
        if data.missing == 0 {
            return Ok(true);
        }
        if lost.is_some() {
            return view.tell(time, Action::Data(data), emit);
        }
        for part in flow.tail.parts(start, until) {
            data.offset = offset;
            (data.bytes, data.missing) = match part {
                Part::Bytes(bytes) => (bytes, 0),
                Part::Missing(length) => (&[][..], length),
            };
            offset += data.bytes.len() as u64 + data.missing;
            if !view.tell(time, Action::Data(data), emit)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Gives both views what is left, at the time of the last packet.
    fn settle(&mut self, time: Timestamp, emit: &mut Emit<'_>) -> Result<bool> {
        for end in 0..2 {
            for sender in 0..2 {
                if !self.give(end, sender, u64::MAX, None, time, emit)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Tells the view of `end` that `sender` has ended, once.
    fn end(
        &mut self,
        end: usize,
        sender: usize,
        time: Timestamp,
        emit: &mut Emit<'_>,
    ) -> Result<bool> {
        let position = self.flows[sender].position;
        let Some(view) = &mut self.views[end] else {
            return Ok(true);
        };
        if std::mem::replace(&mut view.ended[sender], true) {
            return Ok(true);
        }
        let action = Action::End {
            direction: direction(end, sender),
            offset: Some(position),
        };
        view.tell(time, action, emit)
    }
}

/// One packet's work.
struct Step<'a, 'e> {
    conversation: &'a mut Conversation,
    time: Timestamp,
    /// The end that the packet comes from.
    from: usize,
    processes: &'a mut Processes,
    emit: &'a mut Emit<'e>,
}

impl Step<'_, '_> {
    fn packet(
        &mut self,
        segment: &Segment<'_>,
        shown: usize,
        lost: i64,
        notes: &[Note],
    ) -> Result<bool> {
        let (own, others): (Vec<&Note>, Vec<&Note>) =
            notes.iter().partition(|note| self.end_of(note) == shown);
        for note in &own {
            if !self.apply(note, shown)? {
                return Ok(false);
            }
        }
        let own_time = own
            .iter()
            .find_map(|note| note.signed("time"))
            .map_or(self.time, |delta| self.shifted(delta));
        if !self.payload(segment, shown, lost, own_time, &own)? {
            return Ok(false);
        }
        for note in &others {
            if !self.apply(note, 1 - shown)? {
                return Ok(false);
            }
        }
        let synthetic = own.iter().any(|note| note.text("fin").is_some());
        if segment.has(FIN) && !synthetic {
            self.conversation.flows[self.from].ended = true;
            if !self
                .conversation
                .end(shown, self.from, own_time, self.emit)?
            {
                return Ok(false);
            }
        }
        for note in &others {
            if let Some(delta) = note.signed("eof") {
                let time = self.shifted(delta);
                if !self
                    .conversation
                    .give(1 - shown, self.from, u64::MAX, None, time, self.emit)?
                    || !self
                        .conversation
                        .end(1 - shown, self.from, time, self.emit)?
                {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn end_of(&self, note: &Note) -> usize {
        if note.at_source {
            self.from
        } else {
            1 - self.from
        }
    }

    fn shifted(&self, delta: i64) -> Timestamp {
        Timestamp(self.time.0.saturating_add_signed(delta))
    }

    /// Takes in what a note says of the view of `end`, and gives that view
    /// what it had meanwhile.
    fn apply(&mut self, note: &Note, end: usize) -> Result<bool> {
        if let Some(info) = note.connection() {
            let view = &mut self.conversation.views[end];
            if let Some(view) = view
                && view.info.key == info.key
            {
                view.info = info;
            } else {
                let view = view.insert(View {
                    info,
                    process: None,
                    tid: 0,
                    thread: Vec::new(),
                    ended: [false, false],
                });
                who(note, view, self.processes);
                if !view.tell(self.time, Action::Open, self.emit)? {
                    return Ok(false);
                }
            }
        }
        if let Some(view) = &mut self.conversation.views[end] {
            who(note, view, self.processes);
        }
        let from = note.number("from");
        for (name, sender) in [("got", 1 - end), ("sent", end)] {
            let mut entries = note.list(name).peekable();
            if entries.peek().is_some()
                && let Some(from) = from
            {
                let flow = &mut self.conversation.flows[sender];
                let start = flow.position.saturating_sub(from);
                // Never a second time.
                flow.had[end] = Some(flow.had[end].map_or(start, |had| had.max(start)));
            }
            for (count, delta, reason) in entries {
                let time = self.shifted(delta);
                let lost = reason.map(|name| {
                    MissingReason::from_name(name).unwrap_or(MissingReason::CaptureFile)
                });
                if !self
                    .conversation
                    .give(end, sender, count, lost, time, self.emit)?
                {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// The bytes of the packet, for the view that it was written from.
    fn payload(
        &mut self,
        segment: &Segment<'_>,
        shown: usize,
        lost: i64,
        time: Timestamp,
        own: &[&Note],
    ) -> Result<bool> {
        let gap = own.iter().find_map(|note| note.text("gap"));
        let gap =
            gap.map(|name| MissingReason::from_name(name).unwrap_or(MissingReason::CaptureFile));
        let fake = own.iter().any(|note| note.flag("fake"));
        for (name, sender) in [("skip_src", self.from), ("skip_dst", 1 - self.from)] {
            if let Some(length) = own.iter().find_map(|note| note.number(name)) {
                let reason = gap.unwrap_or(MissingReason::CaptureFile);
                if !self.missing(shown, sender, length, reason, time)? {
                    return Ok(false);
                }
            }
        }
        if segment.length == 0 || segment.has(SYN) || segment.has(RST) {
            return Ok(true);
        }
        if let Ok(lost) = u64::try_from(lost)
            && lost > 0
            && !self.missing(shown, self.from, lost, MissingReason::CaptureFile, time)?
        {
            return Ok(false);
        }
        let repeated = usize::try_from(lost.saturating_neg()).unwrap_or(0);
        if repeated >= segment.length {
            return Ok(true);
        }
        let captured = segment.payload.len().min(segment.length);
        let bytes = segment.payload.get(repeated..captured).unwrap_or_default();
        let missing = segment.length - repeated - bytes.len();
        let flow = &mut self.conversation.flows[self.from];
        let start = flow.position;
        flow.position = start.saturating_add(bytes.len() as u64 + missing as u64);
        if fake {
            flow.tail
                .push_hole(start, bytes.len() as u64 + missing as u64);
        } else {
            if !bytes.is_empty() {
                flow.tail.push(start, bytes);
            }
            if missing > 0 {
                flow.tail
                    .push_hole(start + bytes.len() as u64, missing as u64);
            }
        }
        let Some(view) = &self.conversation.views[shown] else {
            return Ok(true);
        };
        let mut data = Data {
            direction: direction(shown, self.from),
            offset: start,
            bytes,
            missing: missing as u64,
            reason: gap.unwrap_or(MissingReason::CaptureFile),
        };
        if gap.is_some() {
            data.missing += bytes.len() as u64;
            data.bytes = &[];
        }
        view.tell(time, Action::Data(data), self.emit)
    }

    /// Bytes of which nothing is in the file.
    fn missing(
        &mut self,
        shown: usize,
        sender: usize,
        length: u64,
        reason: MissingReason,
        time: Timestamp,
    ) -> Result<bool> {
        let flow = &mut self.conversation.flows[sender];
        let start = flow.position;
        flow.position = start.saturating_add(length);
        flow.tail.push_hole(start, length);
        let Some(view) = &self.conversation.views[shown] else {
            return Ok(true);
        };
        let data = Data {
            direction: direction(shown, sender),
            offset: start,
            bytes: &[],
            missing: length,
            reason,
        };
        view.tell(time, Action::Data(data), self.emit)
    }
}

/// Takes in who does what follows.
fn who(note: &Note, view: &mut View, processes: &mut Processes) {
    if let Some(process) = note.process(processes) {
        view.process = process;
    }
    if let Some(tid) = note.number("tid") {
        view.tid = u32::try_from(tid).unwrap_or(0);
    }
    if let Some(thread) = note.bytes("thread") {
        view.thread = thread;
    }
}
