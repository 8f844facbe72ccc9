//! Frames that are written anew: those of wanted exchanges only, with header
//! sections that need no table (RFC 7541 6.2.2); a preface and empty SETTINGS
//! come first.

use std::io;

use super::heads::Section;
use super::stream::Stream;
use super::turn::Turn;
use crate::engine::core::Core;
use crate::engine::open::{HELD_COST, HELD_LIMIT, HeldContent, Open};
use crate::event::{Direction, MissingReason};
use crate::filter::Verdict;
use crate::flow::{Origin, OwnedOrigin};
use crate::http::h2::{FRAME_SIZE, FrameHeader, HEADER_LENGTH, PREFACE, flag, kind};

/// Bytes that the header sections of an undecided exchange may take beyond
/// what is held of it.
const HELD_SECTIONS: u64 = 1 << 20;

/// Memory for a frame that is kept for the next one, in bytes.
const SCRATCH_KEPT: usize = 32 << 10;

/// A DATA frame of which only the beginning is there.
pub(super) struct Unwritten {
    stream: u32,
    origin: OwnedOrigin,
    /// With room for its header.
    frame: Vec<u8>,
}

impl Unwritten {
    /// Bytes that are held.
    pub(super) fn memory(&self) -> usize {
        self.frame.capacity()
    }
}

/// A header section that is written anew, with room for a frame's header
/// before it; empty if it is not.
pub(super) struct Block(Vec<u8>);

/// The header of a frame with `length` bytes of payload.
fn header(kind: u8, flags: u8, stream: u32, length: usize) -> [u8; HEADER_LENGTH] {
    FrameHeader {
        length: u32::try_from(length).unwrap_or(0),
        kind,
        flags,
        stream,
    }
    .encode()
}

/// Writes the header of a frame whose payload is there into the room before
/// it.
fn finish(kind: u8, flags: u8, stream: u32, frame: &mut [u8]) {
    let length = frame.len().saturating_sub(HEADER_LENGTH);
    if let Some(room) = frame.first_chunk_mut() {
        *room = header(kind, flags, stream, length);
    }
}

/// A section that is too long for one frame, as several.
fn split(stream: u32, mut flags: u8, fields: &[u8]) -> Vec<u8> {
    let mut frames = Vec::with_capacity(fields.len() + fields.len() / 512);
    let mut kind = kind::HEADERS;
    let mut parts = fields.chunks(FRAME_SIZE as usize).peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            flags |= flag::END_HEADERS;
        }
        frames.extend_from_slice(&header(kind, flags, stream, part.len()));
        frames.extend_from_slice(part);
        (kind, flags) = (kind::CONTINUATION, 0);
    }
    frames
}

/// What is to be handed over or held.
#[derive(Clone, Copy)]
enum Held<'a> {
    Bytes(&'a [u8]),
    Gap { length: u64, reason: MissingReason },
}

impl Turn<'_> {
    /// Whether the direction is written anew.
    fn rewrites(&self) -> bool {
        self.core.wants.wire && self.out.rewrites(self.direction)
    }

    /// An empty buffer with room for a frame's header.
    fn scratch(&mut self) -> Vec<u8> {
        let mut scratch = std::mem::take(&mut self.core.scratch);
        scratch.clear();
        scratch.resize(HEADER_LENGTH, 0);
        scratch
    }

    /// Encodes a section, if it is to be written.
    pub(super) fn encode(&mut self, stream: &Stream, section: &Section) -> Block {
        if !self.rewrites() || !stream.open.is_wanted() {
            return Block(Vec::new());
        }
        let mut block = self.scratch();
        section.encode(&mut block);
        Block(block)
    }

    /// Writes a header section of a stream.
    pub(super) fn write_section(
        &mut self,
        stream: &mut Stream,
        block: Block,
        end: bool,
    ) -> io::Result<()> {
        let Block(mut frame) = block;
        let Some(fields) = frame.get(HEADER_LENGTH..) else {
            return Ok(());
        };
        let flags = if end { flag::END_STREAM } else { 0 };
        if fields.len() > FRAME_SIZE as usize {
            frame = split(stream.id, flags, fields);
        } else {
            let flags = flags | flag::END_HEADERS;
            finish(kind::HEADERS, flags, stream.id, &mut frame);
        }
        self.write_scratch(stream, frame)
    }

    /// Writes a promise of a stream: it belongs to the promised one.
    pub(super) fn write_promise(&mut self, stream: &mut Stream, block: Block) -> io::Result<()> {
        let Block(mut frame) = block;
        if frame.len() < HEADER_LENGTH || frame.len() + 4 > HEADER_LENGTH + FRAME_SIZE as usize {
            return Ok(());
        }
        let promised = stream.id.to_be_bytes();
        drop(frame.splice(HEADER_LENGTH..HEADER_LENGTH, promised));
        // On which stream it came matters to nobody; the first has been there.
        finish(kind::PUSH_PROMISE, flag::END_HEADERS, 1, &mut frame);
        self.write_scratch(stream, frame)
    }

    /// Writes a piece of a body. `more`: what follows is of the same frame.
    pub(super) fn write_data(
        &mut self,
        stream: &mut Stream,
        body: &[u8],
        more: bool,
    ) -> io::Result<()> {
        /// A whole frame.
        const WHOLE: usize = HEADER_LENGTH + FRAME_SIZE as usize;
        if !self.rewrites() || !stream.open.is_wanted() {
            return Ok(());
        }
        // A frame for a frame: it does not depend on how the bytes come, so
        // that the views of both ends are alike.
        let mut rest = body;
        while !rest.is_empty() {
            let index = self.direction.index();
            let mut frame = match self.out.unwritten[index].take() {
                Some(unwritten) => unwritten.frame,
                None => self.scratch(),
            };
            let room = WHOLE.saturating_sub(frame.len());
            let (part, after) = rest.split_at(room.min(rest.len()));
            frame.extend_from_slice(part);
            rest = after;
            if more && rest.is_empty() && frame.len() < WHOLE {
                self.out.unwritten[index] = Some(Unwritten {
                    stream: stream.id,
                    origin: self.origin.to_owned(),
                    frame,
                });
                return Ok(());
            }
            finish(kind::DATA, 0, stream.id, &mut frame);
            self.write_scratch(stream, frame)?;
        }
        Ok(())
    }

    /// Writes what there is of a DATA frame whose rest does not come, or not
    /// now.
    pub(super) fn write_rest(&mut self, stream: &mut Stream) -> io::Result<()> {
        for direction in [Direction::Send, Direction::Receive] {
            let unwritten = &mut self.out.unwritten[direction.index()];
            let Some(mut unwritten) = unwritten.take_if(|u| u.stream == stream.id) else {
                continue;
            };
            finish(kind::DATA, 0, stream.id, &mut unwritten.frame);
            let mut turn = self.of(direction, unwritten.origin.get());
            turn.write(stream, Held::Bytes(&unwritten.frame))?;
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
        self.write(stream, Held::Gap { length, reason })
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
        let payload = payload.get(..8).unwrap_or_default();
        let header = header(kind::GOAWAY, 0, 0, payload.len());
        self.push(&[&header, payload].concat())
    }

    fn write_frame(
        &mut self,
        stream: &mut Stream,
        kind: u8,
        flags: u8,
        payload: &[u8],
    ) -> io::Result<()> {
        let mut frame = self.scratch();
        frame.extend_from_slice(payload);
        finish(kind, flags, stream.id, &mut frame);
        self.write_scratch(stream, frame)
    }

    /// Writes a frame and keeps its memory for the next one.
    fn write_scratch(&mut self, stream: &mut Stream, frame: Vec<u8>) -> io::Result<()> {
        self.write(stream, Held::Bytes(&frame))?;
        if frame.capacity() <= SCRATCH_KEPT {
            self.core.scratch = frame;
        }
        Ok(())
    }

    /// Hands over a frame of a stream, or holds it while the filter has not
    /// decided.
    fn write(&mut self, stream: &mut Stream, content: Held<'_>) -> io::Result<()> {
        let open = &mut stream.open;
        match open.verdict {
            Verdict::Keep if open.held.is_empty() => self.push_held(stream.id, content),
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
                let content = match piece.content {
                    HeldContent::Bytes(ref bytes) => Held::Bytes(bytes),
                    HeldContent::Gap { length, reason } => Held::Gap { length, reason },
                };
                turn.push_held(stream.id, content)?;
            }
        }
        Ok(())
    }

    fn push_held(&mut self, stream: u32, content: Held<'_>) -> io::Result<()> {
        self.start()?;
        match content {
            Held::Bytes(bytes) => self.push(bytes),
            Held::Gap { length, reason } => {
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
            bytes.extend_from_slice(&header(kind::SETTINGS, 0, 0, 0));
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
    content: Held<'_>,
) {
    let content = match content {
        Held::Bytes(bytes) => {
            let body = bytes.get(3) == Some(&kind::DATA) && bytes.len() > HEADER_LENGTH;
            if body && !open.take_room(core, bytes.len()) {
                HeldContent::Gap {
                    length: bytes.len().saturating_sub(HEADER_LENGTH) as u64,
                    reason: MissingReason::MemoryLimit,
                }
            } else {
                if !body {
                    // Without its header sections nothing else is of use; but
                    // their number is the other end's to choose.
                    if open.held_bytes > HELD_LIMIT + HELD_SECTIONS {
                        return;
                    }
                    let cost = bytes.len() as u64 + HELD_COST;
                    core.budget.charge(cost);
                    open.held_bytes += cost;
                }
                HeldContent::Bytes(bytes.to_vec())
            }
        }
        Held::Gap { length, reason } => HeldContent::Gap { length, reason },
    };
    open.hold(core, direction, None, origin, content);
}
