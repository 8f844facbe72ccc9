//! HTTP/2 as it is handed to the sinks that want the wire's bytes.
//!
//! A direction is copied as it is as long as whoever reads the copy can
//! decode it: from the first byte on, every exchange wanted, nothing masked,
//! no header section lost. Otherwise its frames are written anew, those of
//! wanted exchanges only, with header sections that need no table
//! (RFC 7541 6.2.2); a preface and empty SETTINGS then come first.

use std::io;

use super::H2;
use super::heads::Section;
use crate::engine::conversation::Conversation;
use crate::engine::core::Core;
use crate::engine::open::{HeldContent, HeldWire, Open};
use crate::event::{Direction, MissingReason};
use crate::filter::Verdict;
use crate::flow::{Item, Origin};
use crate::http::h2::{FRAME_SIZE, FrameHeader, HEADER_LENGTH, PREFACE, flag, kind};
use crate::output::Content;

/// Bytes held of one undecided exchange.
const HELD_LIMIT: u64 = 8 << 20;

/// Bytes beyond it that its header sections may take.
const HELD_SECTIONS: u64 = 1 << 20;

/// What a held piece costs beyond its bytes.
const HELD_COST: u64 = 128;

/// A type of frame that nobody knows, and everybody passes over
/// (RFC 9113 4.1): it takes the place of frames that were lost.
pub(super) const LOST_FRAME: u8 = 0xfb;

/// Bytes of payload in one such frame.
const LOST_FRAME_LIMIT: u64 = 0xff_ffff;

/// Lost bytes that such frames stand for at once: a wrong offset must not
/// write frames without end.
const LOST_LIMIT: u64 = 64 * LOST_FRAME_LIMIT;

/// How a direction is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// As it is.
    Copy,
    /// As it is up to the end of the present frame.
    Leaving,
    /// Anew.
    Rewrite,
}

/// What has been handed over of a connection.
pub(super) struct Out {
    modes: [Mode; 2],
    /// The preface and the first SETTINGS were handed over.
    started: [bool; 2],
    /// The offset after what was handed over, once the direction has one.
    offsets: [Option<u64>; 2],
    /// The beginning of a frame's header, not handed over before it is known
    /// to be one.
    carry: [Vec<u8>; 2],
}

impl Out {
    pub(super) fn new(rewrite: bool) -> Self {
        let mode = if rewrite { Mode::Rewrite } else { Mode::Copy };
        Self {
            modes: [mode; 2],
            started: [!rewrite; 2],
            offsets: [None; 2],
            carry: [Vec::new(), Vec::new()],
        }
    }

    /// From the next frame on the direction is written anew.
    pub(super) fn leave(&mut self, direction: Direction) {
        let mode = &mut self.modes[direction.index()];
        if *mode == Mode::Copy {
            *mode = Mode::Leaving;
        }
    }

    /// The offsets after what was handed over; of a direction that had nothing
    /// that of `positions`.
    pub(super) fn offsets_or(&self, positions: [u64; 2]) -> [u64; 2] {
        let [send, receive] = self.offsets;
        let [at_send, at_receive] = positions;
        [send.unwrap_or(at_send), receive.unwrap_or(at_receive)]
    }

    /// A direction has come to `offset`: what is written anew begins there.
    pub(super) fn arrive(&mut self, direction: Direction, offset: u64) {
        self.offsets[direction.index()].get_or_insert(offset);
    }

    /// The offset at which a direction that was read up to `offset` ends.
    pub(super) fn offset_at(&self, direction: Direction, offset: u64) -> u64 {
        // A part of a frame's header at the end is not handed over.
        self.offsets[direction.index()].unwrap_or(offset)
    }

    fn rewrites(&self, direction: Direction) -> bool {
        self.modes[direction.index()] == Mode::Rewrite
    }
}

/// A frame, as bytes.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        length: u32::try_from(payload.len()).unwrap_or(0),
        kind,
        flags,
        stream,
    };
    let mut bytes = Vec::with_capacity(HEADER_LENGTH + payload.len());
    bytes.extend_from_slice(&header.encode());
    bytes.extend_from_slice(payload);
    bytes
}

impl H2 {
    /// Hands over an event's bytes, if the direction is copied.
    pub(super) fn copy_bytes(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        item: &Item<'_>,
        bytes: &[u8],
    ) -> io::Result<()> {
        let index = direction.index();
        if !core.wants.wire || self.out.modes[index] == Mode::Rewrite {
            return Ok(());
        }
        let boundary = self.readers[index].at_boundary();
        let held = boundary.unwrap_or(0);
        let carry = &mut self.out.carry[index];
        let Some(given) = bytes.len().checked_sub(held) else {
            carry.extend_from_slice(bytes);
            return Ok(());
        };
        let (now, later) = bytes.split_at(given);
        let before = std::mem::replace(carry, later.to_vec());
        let start = item.offset.wrapping_sub(before.len() as u64);
        for (offset, part) in [(start, before.as_slice()), (item.offset, now)] {
            if !part.is_empty() {
                let content = Content::Bytes(part);
                conv.give(core, direction, offset, &item.origin, content)?;
            }
        }
        self.out.offsets[index] = Some(item.offset.wrapping_add(given as u64));
        self.left(conv, direction, boundary);
        Ok(())
    }

    /// Goes over to writing anew at a frame's end.
    fn left(&mut self, conv: &mut Conversation, direction: Direction, boundary: Option<usize>) {
        let index = direction.index();
        if self.out.modes[index] == Mode::Leaving && boundary.is_some() {
            self.out.modes[index] = Mode::Rewrite;
            conv.anew = true;
            self.out.carry[index] = Vec::new();
        }
    }

    /// Hands over a gap within a frame, if the direction is copied.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn copy_gap(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        offset: u64,
        origin: &Origin<'_>,
        length: u64,
        reason: MissingReason,
    ) -> io::Result<()> {
        let index = direction.index();
        if !core.wants.wire || self.out.modes[index] == Mode::Rewrite {
            return Ok(());
        }
        let content = Content::Gap { length, reason };
        conv.give(core, direction, offset, origin, content)?;
        self.out.offsets[index] = Some(offset.wrapping_add(length));
        let boundary = self.readers[index].at_boundary();
        self.left(conv, direction, boundary);
        Ok(())
    }

    /// Hands over a gap between frames, as frames that mean nothing.
    pub(super) fn copy_lost(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        origin: &Origin<'_>,
        mut length: u64,
        reason: MissingReason,
    ) -> io::Result<()> {
        self.left(conv, direction, Some(0));
        if !core.wants.wire || !self.out.started[direction.index()] || !conv.wire_given {
            return Ok(());
        }
        length = length.min(LOST_LIMIT);
        while length > 0 {
            let n = length.min(LOST_FRAME_LIMIT);
            let header = FrameHeader {
                length: n as u32,
                kind: LOST_FRAME,
                flags: 0,
                stream: 0,
            };
            let content = Content::Bytes(&header.encode());
            self.out.push(conv, core, direction, origin, content)?;
            let content = Content::Gap { length: n, reason };
            self.out.push(conv, core, direction, origin, content)?;
            length -= n;
        }
        Ok(())
    }

    /// Whether anything of the connection is written anew.
    pub(super) fn writes(&self, core: &Core) -> bool {
        let both = [Direction::Send, Direction::Receive];
        core.wants.wire && both.into_iter().any(|d| self.out.rewrites(d))
    }

    /// Writes a header section of a stream.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn write_section(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        origin: &Origin<'_>,
        id: u32,
        section: &Section,
        end: bool,
    ) -> io::Result<()> {
        if !core.wants.wire || !self.out.rewrites(direction) {
            return Ok(());
        }
        let block = section.encode();
        let mut parts = block.chunks(FRAME_SIZE as usize).peekable();
        let mut kind_now = kind::HEADERS;
        let mut flags = if end { flag::END_STREAM } else { 0 };
        let mut bytes = Vec::with_capacity(block.len() + HEADER_LENGTH);
        loop {
            let part = parts.next().unwrap_or_default();
            if parts.peek().is_none() {
                flags |= flag::END_HEADERS;
            }
            bytes.extend_from_slice(&frame(kind_now, flags, id, part));
            if parts.peek().is_none() {
                break;
            }
            (kind_now, flags) = (kind::CONTINUATION, 0);
        }
        self.write(conv, core, direction, origin, id, HeldContent::Bytes(bytes))
    }

    /// Writes a promise of a stream: it belongs to the promised one.
    pub(super) fn write_promise(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        origin: &Origin<'_>,
        promised: u32,
        section: &Section,
    ) -> io::Result<()> {
        if !core.wants.wire || !self.out.rewrites(direction) {
            return Ok(());
        }
        let mut payload = promised.to_be_bytes().to_vec();
        payload.extend_from_slice(&section.encode());
        if payload.len() > FRAME_SIZE as usize {
            return Ok(());
        }
        // On which stream it came matters to nobody; the first has been there.
        let bytes = frame(kind::PUSH_PROMISE, flag::END_HEADERS, 1, &payload);
        let content = HeldContent::Bytes(bytes);
        self.write(conv, core, direction, origin, promised, content)
    }

    /// Writes a piece of a body.
    pub(super) fn write_data(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        origin: &Origin<'_>,
        id: u32,
        body: &[u8],
    ) -> io::Result<()> {
        if !core.wants.wire || !self.out.rewrites(direction) {
            return Ok(());
        }
        let open = self.streams.get(&id).map(|stream| &stream.open);
        if !open.is_some_and(Open::is_wanted) {
            return Ok(());
        }
        // A frame for a frame: it does not depend on how the bytes come, so
        // that the views of both ends are alike.
        let mut rest = body;
        while !rest.is_empty() {
            let reader = &mut self.readers[direction.index()];
            let more = reader.is_in_body();
            let (_, _, mut data) = match reader.unwritten.take() {
                Some(unwritten) => unwritten,
                None => (id, origin.to_owned(), Vec::new()),
            };
            let room = (FRAME_SIZE as usize).saturating_sub(data.len());
            let (part, after) = rest.split_at(room.min(rest.len()));
            data.extend_from_slice(part);
            rest = after;
            if more && rest.is_empty() && data.len() < FRAME_SIZE as usize {
                reader.unwritten = Some((id, origin.to_owned(), data));
                return Ok(());
            }
            let content = HeldContent::Bytes(frame(kind::DATA, 0, id, &data));
            self.write(conv, core, direction, origin, id, content)?;
        }
        Ok(())
    }

    /// Writes what there is of a DATA frame whose rest does not come, or not
    /// now.
    pub(super) fn write_rest(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        id: u32,
    ) -> io::Result<()> {
        for direction in [Direction::Send, Direction::Receive] {
            let reader = &mut self.readers[direction.index()];
            let Some((_, origin, data)) = reader.unwritten.take_if(|u| u.0 == id) else {
                continue;
            };
            let content = HeldContent::Bytes(frame(kind::DATA, 0, id, &data));
            self.write(conv, core, direction, &origin.get(), id, content)?;
        }
        Ok(())
    }

    /// Writes a hole in a body.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn write_gap(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        origin: &Origin<'_>,
        id: u32,
        length: u64,
        reason: MissingReason,
    ) -> io::Result<()> {
        if !core.wants.wire || !self.out.rewrites(direction) {
            return Ok(());
        }
        self.write_rest(conv, core, id)?;
        let content = HeldContent::Gap { length, reason };
        self.write(conv, core, direction, origin, id, content)
    }

    /// Writes what ends a stream's direction: an empty frame of its body.
    pub(super) fn write_end(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        origin: &Origin<'_>,
        id: u32,
    ) -> io::Result<()> {
        if !core.wants.wire || !self.out.rewrites(direction) {
            return Ok(());
        }
        let bytes = frame(kind::DATA, flag::END_STREAM, id, &[]);
        self.write(conv, core, direction, origin, id, HeldContent::Bytes(bytes))
    }

    /// Writes the reset of a stream.
    pub(super) fn write_reset(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        origin: &Origin<'_>,
        id: u32,
        code: u32,
    ) -> io::Result<()> {
        if !core.wants.wire || !self.out.rewrites(direction) {
            return Ok(());
        }
        self.write_rest(conv, core, id)?;
        let bytes = frame(kind::RST_STREAM, 0, id, &code.to_be_bytes());
        self.write(conv, core, direction, origin, id, HeldContent::Bytes(bytes))
    }

    /// Writes GOAWAY, without what is there for debugging.
    pub(super) fn write_go_away(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        origin: &Origin<'_>,
        payload: &[u8],
    ) -> io::Result<()> {
        // Of no use where no stream is.
        if !core.wants.wire || !self.out.rewrites(direction) || !conv.wire_given {
            return Ok(());
        }
        self.out.start(conv, core, direction, origin)?;
        let bytes = frame(kind::GOAWAY, 0, 0, payload.get(..8).unwrap_or_default());
        let content = Content::Bytes(&bytes);
        self.out.push(conv, core, direction, origin, content)
    }

    /// Hands over a frame of a stream, or holds it while the filter has not
    /// decided.
    fn write(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        origin: &Origin<'_>,
        id: u32,
        content: HeldContent,
    ) -> io::Result<()> {
        let Some(stream) = self.streams.get_mut(&id) else {
            return Ok(());
        };
        let open = &mut stream.open;
        match open.verdict {
            Verdict::Keep if open.held.is_empty() => self
                .out
                .push_held(conv, core, direction, origin, id, &content),
            Verdict::Keep | Verdict::Undecided => {
                hold(core, open, direction, origin, content);
                Ok(())
            }
            Verdict::Drop | Verdict::Lacks => Ok(()),
        }
    }

    /// Hands over or forgets what is held of a decided exchange.
    pub(super) fn flush(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        id: u32,
    ) -> io::Result<()> {
        match self.streams.get_mut(&id) {
            Some(stream) => self.out.flush(conv, core, id, &mut stream.open),
            None => Ok(()),
        }
    }
}

impl Out {
    /// As [`H2::flush`].
    pub(super) fn flush(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        id: u32,
        open: &mut Open,
    ) -> io::Result<()> {
        if open.verdict == Verdict::Undecided || open.held.is_empty() {
            return Ok(());
        }
        core.budget.give(std::mem::take(&mut open.held_bytes));
        for piece in std::mem::take(&mut open.held) {
            if open.verdict == Verdict::Keep {
                let origin = piece.origin.get();
                self.push_held(conv, core, piece.direction, &origin, id, &piece.content)?;
            }
        }
        Ok(())
    }

    fn push_held(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        origin: &Origin<'_>,
        id: u32,
        content: &HeldContent,
    ) -> io::Result<()> {
        self.start(conv, core, direction, origin)?;
        match content {
            HeldContent::Bytes(bytes) => {
                self.push(conv, core, direction, origin, Content::Bytes(bytes))
            }
            HeldContent::Gap { length, reason } => {
                let (mut length, reason) = (*length, *reason);
                if reason == MissingReason::MemoryLimit {
                    core.lose(reason, length);
                }
                while length > 0 {
                    let n = length.min(LOST_FRAME_LIMIT);
                    let header = FrameHeader {
                        length: n as u32,
                        kind: kind::DATA,
                        flags: 0,
                        stream: id,
                    };
                    let bytes = Content::Bytes(&header.encode());
                    self.push(conv, core, direction, origin, bytes)?;
                    let gap = Content::Gap { length: n, reason };
                    self.push(conv, core, direction, origin, gap)?;
                    length -= n;
                }
                Ok(())
            }
        }
    }

    /// The preface and SETTINGS that a connection begins with.
    fn start(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        origin: &Origin<'_>,
    ) -> io::Result<()> {
        let requests = conv.requests.unwrap_or(Direction::Send);
        for d in [requests, direction] {
            if std::mem::replace(&mut self.started[d.index()], true) {
                continue;
            }
            let mut bytes = if d == requests {
                PREFACE.to_vec()
            } else {
                Vec::new()
            };
            bytes.extend_from_slice(&frame(kind::SETTINGS, 0, 0, &[]));
            self.push(conv, core, d, origin, Content::Bytes(&bytes))?;
        }
        Ok(())
    }

    fn push(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        origin: &Origin<'_>,
        content: Content<'_>,
    ) -> io::Result<()> {
        let offset = self.offsets[direction.index()].get_or_insert(0);
        let at = *offset;
        let length = match content {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Gap { length, .. } => length,
            Content::End { .. } | Content::Reset => 0,
        };
        *offset = offset.wrapping_add(length);
        conv.give(core, direction, at, origin, content)
    }
}

/// Holds a frame until the filter has decided.
fn hold(
    core: &mut Core,
    open: &mut Open,
    direction: Direction,
    origin: &Origin<'_>,
    content: HeldContent,
) {
    let content = match content {
        HeldContent::Bytes(bytes) => {
            let cost = bytes.len() as u64 + HELD_COST;
            let room = HELD_LIMIT.saturating_sub(open.held_bytes);
            let body = bytes.get(3) == Some(&kind::DATA) && bytes.len() > HEADER_LENGTH;
            if !body {
                // Without its header sections nothing else is of use; but
                // their number is the other end's to choose.
                if open.held_bytes > HELD_LIMIT + HELD_SECTIONS {
                    return;
                }
                core.budget.charge(cost);
                open.held_bytes += cost;
                HeldContent::Bytes(bytes)
            } else if cost <= room && core.budget.take(cost) {
                open.held_bytes += cost;
                HeldContent::Bytes(bytes)
            } else {
                HeldContent::Gap {
                    length: bytes.len().saturating_sub(HEADER_LENGTH) as u64,
                    reason: MissingReason::MemoryLimit,
                }
            }
        }
        gap @ HeldContent::Gap { .. } => gap,
    };
    if let HeldContent::Gap { length, reason } = content
        && let Some(last) = open.held.back_mut()
        && last.direction == direction
        && let HeldContent::Gap {
            length: before,
            reason: same,
        } = &mut last.content
        && *same == reason
    {
        *before = before.saturating_add(length);
        return;
    }
    if matches!(content, HeldContent::Gap { .. }) {
        core.budget.charge(HELD_COST);
        open.held_bytes += HELD_COST;
    }
    open.held.push_back(HeldWire {
        direction,
        offset: 0,
        origin: origin.to_owned(),
        content,
        wanted: false,
    });
}
