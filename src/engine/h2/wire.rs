//! HTTP/2 as it is handed to the sinks that want the wire's bytes.
//!
//! A direction is copied as it is as long as whoever reads the copy can
//! decode it: from the first byte on, every exchange wanted, nothing masked,
//! no header section lost. Otherwise its frames are written anew (see
//! [`super::anew`]).

use std::io;

use super::anew::Unwritten;
use super::turn::Turn;
use crate::event::{Direction, MissingReason};
use crate::http::h2::FrameHeader;
use crate::output::Content;

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
    pub(super) started: [bool; 2],
    /// The offset after what was handed over, once the direction has one.
    offsets: [Option<u64>; 2],
    /// The beginning of a frame's header, not handed over before it is known
    /// to be one.
    carry: [Vec<u8>; 2],
    /// Of a DATA frame that is written anew, what there is as yet.
    pub(super) unwritten: [Option<Unwritten>; 2],
}

impl Out {
    pub(super) fn new(rewrite: bool) -> Self {
        let mode = if rewrite { Mode::Rewrite } else { Mode::Copy };
        Self {
            modes: [mode; 2],
            started: [!rewrite; 2],
            offsets: [None; 2],
            carry: [Vec::new(), Vec::new()],
            unwritten: [None, None],
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

    /// Bytes that are held of a direction.
    pub(super) fn memory(&self, direction: Direction) -> usize {
        let unwritten = self.unwritten[direction.index()].as_ref();
        unwritten.map_or(0, Unwritten::memory)
    }

    /// Whether a direction is written anew.
    pub(super) fn rewrites(&self, direction: Direction) -> bool {
        self.modes[direction.index()] == Mode::Rewrite
    }
}

impl Turn<'_> {
    /// Whether the direction is handed over as it is.
    fn copies(&self) -> bool {
        self.core.wants.wire && !self.out.rewrites(self.direction)
    }

    /// Hands over an event's bytes, if the direction is copied. `boundary`:
    /// so many of a frame's header are there, `None` within a payload.
    pub(super) fn copy_bytes(
        &mut self,
        offset: u64,
        bytes: &[u8],
        boundary: Option<usize>,
    ) -> io::Result<()> {
        if !self.copies() {
            return Ok(());
        }
        let index = self.direction.index();
        let carry = &mut self.out.carry[index];
        let Some(given) = bytes.len().checked_sub(boundary.unwrap_or(0)) else {
            carry.extend_from_slice(bytes);
            return Ok(());
        };
        let (now, later) = bytes.split_at(given);
        let before = std::mem::replace(carry, later.to_vec());
        let start = offset.wrapping_sub(before.len() as u64);
        for (at, part) in [(start, before.as_slice()), (offset, now)] {
            if !part.is_empty() {
                self.give(at, Content::Bytes(part))?;
            }
        }
        self.out.offsets[index] = Some(offset.wrapping_add(given as u64));
        self.left(boundary);
        Ok(())
    }

    /// Goes over to writing anew at a frame's end.
    fn left(&mut self, boundary: Option<usize>) {
        let index = self.direction.index();
        if self.out.modes[index] == Mode::Leaving && boundary.is_some() {
            self.out.modes[index] = Mode::Rewrite;
            self.conv.anew = true;
            self.out.carry[index] = Vec::new();
        }
    }

    /// Hands over a gap within a frame, if the direction is copied.
    pub(super) fn copy_gap(
        &mut self,
        offset: u64,
        length: u64,
        reason: MissingReason,
        boundary: Option<usize>,
    ) -> io::Result<()> {
        if !self.copies() {
            return Ok(());
        }
        self.give(offset, Content::Gap { length, reason })?;
        self.out.offsets[self.direction.index()] = Some(offset.wrapping_add(length));
        self.left(boundary);
        Ok(())
    }

    /// Hands over a gap between frames, as frames that mean nothing.
    pub(super) fn copy_lost(&mut self, length: u64, reason: MissingReason) -> io::Result<()> {
        self.left(Some(0));
        let started = self.out.started[self.direction.index()];
        if !self.core.wants.wire || !started || !self.conv.wire_given {
            return Ok(());
        }
        self.push_gap(LOST_FRAME, 0, length.min(LOST_LIMIT), reason)
    }

    /// Hands over a gap as the payload of frames that follow what was handed
    /// over before.
    pub(super) fn push_gap(
        &mut self,
        kind: u8,
        stream: u32,
        mut length: u64,
        reason: MissingReason,
    ) -> io::Result<()> {
        while length > 0 {
            let n = length.min(LOST_FRAME_LIMIT);
            let header = FrameHeader {
                length: n as u32,
                kind,
                flags: 0,
                stream,
            };
            self.push(&header.encode())?;
            let offset = self.advance(n);
            self.give(offset, Content::Gap { length: n, reason })?;
            length -= n;
        }
        Ok(())
    }

    /// Hands over bytes that follow what was handed over before.
    pub(super) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        let offset = self.advance(bytes.len() as u64);
        self.give(offset, Content::Bytes(bytes))
    }

    /// The offset after what was handed over; it moves on by `length`.
    fn advance(&mut self, length: u64) -> u64 {
        let offset = self.out.offsets[self.direction.index()].get_or_insert(0);
        let at = *offset;
        *offset = offset.wrapping_add(length);
        at
    }

    fn give(&mut self, offset: u64, content: Content<'_>) -> io::Result<()> {
        let (direction, origin) = (self.direction, &self.origin);
        self.conv
            .give(self.core, direction, offset, origin, content)
    }
}
