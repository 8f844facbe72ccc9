//! Frames that are written anew: those of wanted exchanges only, with header
//! sections that need no table (RFC 7541 6.2.2); a preface and empty SETTINGS
//! come first.

use std::io;

use super::heads::Section;
use super::stream::Stream;
use super::turn::Turn;
use crate::engine::core::Core;
use crate::engine::open::{HeldContent, HeldWire, Open};
use crate::event::{Direction, MissingReason};
use crate::filter::Verdict;
use crate::flow::{Origin, OwnedOrigin};
use crate::http::h2::{FRAME_SIZE, FrameHeader, HEADER_LENGTH, PREFACE, flag, kind};

/// Bytes held of one undecided exchange.
const HELD_LIMIT: u64 = 8 << 20;

/// Bytes beyond it that its header sections may take.
const HELD_SECTIONS: u64 = 1 << 20;

/// What a held piece costs beyond its bytes.
const HELD_COST: u64 = 128;

/// A DATA frame of which only the beginning is there.
pub(super) struct Unwritten {
    stream: u32,
    origin: OwnedOrigin,
    body: Vec<u8>,
}

impl Unwritten {
    /// Bytes that are held.
    pub(super) fn memory(&self) -> usize {
        self.body.capacity()
    }
}

/// Appends a frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    let header = FrameHeader {
        length: u32::try_from(payload.len()).unwrap_or(0),
        kind,
        flags,
        stream,
    };
    out.reserve(HEADER_LENGTH + payload.len());
    out.extend_from_slice(&header.encode());
    out.extend_from_slice(payload);
}

impl Turn<'_> {
    /// Whether anything of the connection is written anew.
    pub(super) fn writes(&self) -> bool {
        let both = [Direction::Send, Direction::Receive];
        self.core.wants.wire && both.into_iter().any(|d| self.out.rewrites(d))
    }

    /// Whether the direction is.
    fn rewrites(&self) -> bool {
        self.core.wants.wire && self.out.rewrites(self.direction)
    }

    /// Writes a header section of a stream.
    pub(super) fn write_section(
        &mut self,
        stream: &mut Stream,
        section: &Section,
        end: bool,
    ) -> io::Result<()> {
        if !self.rewrites() {
            return Ok(());
        }
        let block = section.encode();
        let mut parts = block.chunks(FRAME_SIZE as usize).peekable();
        let mut kind_now = kind::HEADERS;
        let mut flags = if end { flag::END_STREAM } else { 0 };
        let mut bytes = Vec::new();
        loop {
            let part = parts.next().unwrap_or_default();
            if parts.peek().is_none() {
                flags |= flag::END_HEADERS;
            }
            frame(kind_now, flags, stream.id, part, &mut bytes);
            if parts.peek().is_none() {
                break;
            }
            (kind_now, flags) = (kind::CONTINUATION, 0);
        }
        self.write(stream, HeldContent::Bytes(bytes))
    }

    /// Writes a promise of a stream: it belongs to the promised one.
    pub(super) fn write_promise(
        &mut self,
        stream: &mut Stream,
        section: &Section,
    ) -> io::Result<()> {
        if !self.rewrites() {
            return Ok(());
        }
        let mut payload = stream.id.to_be_bytes().to_vec();
        payload.extend_from_slice(&section.encode());
        if payload.len() > FRAME_SIZE as usize {
            return Ok(());
        }
        // On which stream it came matters to nobody; the first has been there.
        let (kind, flags) = (kind::PUSH_PROMISE, flag::END_HEADERS);
        let mut bytes = Vec::new();
        frame(kind, flags, 1, &payload, &mut bytes);
        self.write(stream, HeldContent::Bytes(bytes))
    }

    /// Writes a piece of a body. `more`: what follows is of the same frame.
    pub(super) fn write_data(
        &mut self,
        stream: &mut Stream,
        body: &[u8],
        more: bool,
    ) -> io::Result<()> {
        if !self.rewrites() || !stream.open.is_wanted() {
            return Ok(());
        }
        // A frame for a frame: it does not depend on how the bytes come, so
        // that the views of both ends are alike.
        let mut rest = body;
        while !rest.is_empty() {
            let unwritten = &mut self.out.unwritten[self.direction.index()];
            let mut data = unwritten.take().map_or_else(Vec::new, |u| u.body);
            let room = (FRAME_SIZE as usize).saturating_sub(data.len());
            let (part, after) = rest.split_at(room.min(rest.len()));
            data.extend_from_slice(part);
            rest = after;
            if more && rest.is_empty() && data.len() < FRAME_SIZE as usize {
                *unwritten = Some(Unwritten {
                    stream: stream.id,
                    origin: self.origin.to_owned(),
                    body: data,
                });
                return Ok(());
            }
            self.write_frame(stream, kind::DATA, 0, &data)?;
        }
        Ok(())
    }

    /// Writes what there is of a DATA frame whose rest does not come, or not
    /// now.
    pub(super) fn write_rest(&mut self, stream: &mut Stream) -> io::Result<()> {
        for direction in [Direction::Send, Direction::Receive] {
            let unwritten = &mut self.out.unwritten[direction.index()];
            let Some(unwritten) = unwritten.take_if(|u| u.stream == stream.id) else {
                continue;
            };
            let mut turn = self.of(direction, unwritten.origin.get());
            turn.write_frame(stream, kind::DATA, 0, &unwritten.body)?;
        }
        Ok(())
    }

    /// Writes a hole in a body.
    pub(super) fn write_gap(
        &mut self,
        stream: &mut Stream,
        length: u64,
        reason: MissingReason,
    ) -> io::Result<()> {
        if !self.rewrites() {
            return Ok(());
        }
        self.write_rest(stream)?;
        self.write(stream, HeldContent::Gap { length, reason })
    }

    /// Writes what ends a stream's direction: an empty frame of its body.
    pub(super) fn write_end(&mut self, stream: &mut Stream) -> io::Result<()> {
        if !self.rewrites() {
            return Ok(());
        }
        self.write_frame(stream, kind::DATA, flag::END_STREAM, &[])
    }

    /// Writes the reset of a stream.
    pub(super) fn write_reset(&mut self, stream: &mut Stream, code: u32) -> io::Result<()> {
        if !self.rewrites() {
            return Ok(());
        }
        self.write_rest(stream)?;
        self.write_frame(stream, kind::RST_STREAM, 0, &code.to_be_bytes())
    }

    /// Writes GOAWAY, without what is there for debugging.
    pub(super) fn write_go_away(&mut self, payload: &[u8]) -> io::Result<()> {
        // Of no use where no stream is.
        if !self.rewrites() || !self.conv.wire_given {
            return Ok(());
        }
        self.start()?;
        let mut bytes = Vec::new();
        let payload = payload.get(..8).unwrap_or_default();
        frame(kind::GOAWAY, 0, 0, payload, &mut bytes);
        self.push(&bytes)
    }

    fn write_frame(
        &mut self,
        stream: &mut Stream,
        kind: u8,
        flags: u8,
        payload: &[u8],
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        frame(kind, flags, stream.id, payload, &mut bytes);
        self.write(stream, HeldContent::Bytes(bytes))
    }

    /// Hands over a frame of a stream, or holds it while the filter has not
    /// decided.
    fn write(&mut self, stream: &mut Stream, content: HeldContent) -> io::Result<()> {
        let open = &mut stream.open;
        match open.verdict {
            Verdict::Keep if open.held.is_empty() => self.push_held(stream.id, &content),
            Verdict::Keep | Verdict::Undecided => {
                hold(self.core, open, self.direction, &self.origin, content);
                Ok(())
            }
            Verdict::Drop | Verdict::Lacks => Ok(()),
        }
    }

    /// Hands over or forgets what is held of a decided exchange.
    pub(super) fn flush(&mut self, stream: &mut Stream) -> io::Result<()> {
        let open = &mut stream.open;
        if open.verdict == Verdict::Undecided || open.held.is_empty() {
            return Ok(());
        }
        let give = std::mem::take(&mut open.held_bytes);
        self.core.budget.give(give);
        for piece in std::mem::take(&mut open.held) {
            if open.verdict == Verdict::Keep {
                let mut turn = self.of(piece.direction, piece.origin.get());
                turn.push_held(stream.id, &piece.content)?;
            }
        }
        Ok(())
    }

    fn push_held(&mut self, stream: u32, content: &HeldContent) -> io::Result<()> {
        self.start()?;
        match *content {
            HeldContent::Bytes(ref bytes) => self.push(bytes),
            HeldContent::Gap { length, reason } => {
                if reason == MissingReason::MemoryLimit {
                    self.core.lose(reason, length);
                }
                self.push_gap(kind::DATA, stream, length, reason)
            }
        }
    }

    /// Hands over the preface and SETTINGS that a connection begins with.
    fn start(&mut self) -> io::Result<()> {
        let requests = self.conv.requests.unwrap_or(Direction::Send);
        for direction in [requests, self.direction] {
            if std::mem::replace(&mut self.out.started[direction.index()], true) {
                continue;
            }
            let preface = if direction == requests { PREFACE } else { &[] };
            let mut bytes = preface.to_vec();
            frame(kind::SETTINGS, 0, 0, &[], &mut bytes);
            let origin = self.origin;
            self.of(direction, origin).push(&bytes)?;
        }
        Ok(())
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
