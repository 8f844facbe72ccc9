//! What one process saw of one direction, held until it is written.

use std::collections::VecDeque;
use std::rc::Rc;

use memchr::memmem;

use super::comment::Who;
use super::store::Buffer;
use crate::event::MissingReason;

/// Where positions begin: a view that turns out to have begun earlier than
/// the first one has room below.
pub(super) const ORIGIN: u64 = 1 << 40;
/// Bytes that are compared to find where two views meet.
const SAMPLE: usize = 64;
/// Views that are further apart than this, in bytes, are not joined by their
/// sequence numbers: the filter may have dropped something in between.
const NEAR: u64 = 16 << 20;
/// Pieces kept of the view that is not written.
const MAX_PIECES: usize = 4096;

/// What a piece holds.
#[derive(Debug)]
pub(super) enum Body {
    Bytes(Buffer),
    /// Bytes that need not be kept: they are written from the other view.
    Known(u64),
    Gap(u64, MissingReason),
    End {
        synthetic: bool,
    },
    Reset,
}

impl Body {
    /// Bytes of the stream that it stands for.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Known(length) | Self::Gap(length, _) => *length,
            Self::End { .. } | Self::Reset => 0,
        }
    }
}

/// One call of the engine.
#[derive(Debug)]
pub(super) struct Piece {
    /// Rises by one with each piece of the run.
    pub(super) serial: u64,
    pub(super) time: u64,
    pub(super) who: Rc<Who>,
    /// Of the first byte, counted from [`ORIGIN`], holes of the filter closed.
    pub(super) position: u64,
    /// [`crate::output::Wire::offset`].
    pub(super) offset: u64,
    /// What the same view had seen of the other direction by then, as a
    /// position: it has to be written first.
    pub(super) after: u64,
    /// Its time in the queue is over.
    pub(super) due: bool,
    /// It has waited a second time, for what it comes after.
    pub(super) waited: bool,
    pub(super) body: Body,
}

impl Piece {
    pub(super) fn end(&self) -> u64 {
        self.position + self.body.length()
    }

    /// Lets go of the bytes, keeps their number.
    pub(super) fn forget(&mut self) {
        if let Body::Bytes(bytes) = &self.body {
            self.body = Body::Known(bytes.len() as u64);
        }
    }

    /// Drops the first `part` bytes, which are written.
    pub(super) fn cut(&mut self, part: u64) {
        self.position += part;
        self.offset = self.offset.wrapping_add(part);
        match &mut self.body {
            Body::Bytes(bytes) => bytes.advance(part),
            Body::Known(length) | Body::Gap(length, _) => *length = length.saturating_sub(part),
            Body::End { .. } | Body::Reset => {}
        }
    }
}

/// The pieces of one view of one direction.
#[derive(Debug, Default)]
pub(super) struct Feed {
    pub(super) queue: VecDeque<Piece>,
    /// The position after the last piece; `None` while it is not known where
    /// this view stands in the stream.
    pub(super) next: Option<u64>,
    /// There was a piece before.
    pub(super) begun: bool,
    /// The stream offset after the last piece.
    pub(super) offset: u64,
    /// The file says where this view stands (the one that is not written).
    pub(super) synced: bool,
}

/// What is known of a view for placing its first piece.
pub(super) struct Arrival<'a> {
    pub(super) offset: u64,
    /// The bytes; empty for a hole.
    pub(super) bytes: &'a [u8],
    /// Both views count from the connection's first byte.
    pub(super) both_from_start: bool,
    /// Both offsets are the kernel's TCP sequence numbers.
    pub(super) same_numbers: bool,
}

impl Feed {
    /// Where the first piece of another view of the same direction belongs,
    /// seen from this one. Never by the offset alone: the bytes decide where
    /// they are still there.
    pub(super) fn place(&self, arrival: &Arrival<'_>, begun: bool) -> Option<u64> {
        if arrival.both_from_start && !begun && self.agrees(ORIGIN, arrival.bytes) != Some(false) {
            return Some(ORIGIN);
        }
        if arrival.same_numbers {
            for piece in &self.queue {
                let distance = sequence_distance(piece.offset, arrival.offset);
                let position = piece.position.checked_add_signed(distance)?;
                if (piece.position..piece.end()).contains(&position)
                    && self.agrees(position, arrival.bytes) != Some(false)
                {
                    return Some(position);
                }
            }
        }
        if arrival.same_numbers
            && let Some(next) = self.next
        {
            // Bytes that this view has yet to have, or that are written.
            let distance = sequence_distance(self.offset, arrival.offset);
            let position = next.checked_add_signed(distance)?;
            if distance.unsigned_abs() < NEAR && self.agrees(position, arrival.bytes) != Some(false)
            {
                return Some(position);
            }
        }
        let sample = arrival.bytes.get(..SAMPLE).unwrap_or(arrival.bytes);
        if sample.len() < 16 {
            return None;
        }
        for piece in &self.queue {
            let Body::Bytes(bytes) = &piece.body else {
                continue;
            };
            let window = bytes.get(..64 << 10).unwrap_or(bytes);
            if let Some(at) = memmem::find(window, sample) {
                return Some(piece.position + at as u64);
            }
        }
        let Some(front) = self.queue.front() else {
            // This view has had everything before, and a message begins.
            return self.next.filter(|_| starts_message(arrival.bytes));
        };
        if let Body::Bytes(bytes) = &front.body {
            let sample = bytes.get(..SAMPLE).unwrap_or(bytes);
            let window = arrival.bytes.get(..64 << 10).unwrap_or(arrival.bytes);
            if sample.len() >= 16
                && let Some(at) = memmem::find(window, sample)
            {
                return Some(front.position - at as u64);
            }
        }
        None
    }

    /// The piece that stands for the byte at `position`.
    pub(super) fn at(&self, position: u64) -> Option<&Piece> {
        let after = self.queue.partition_point(|p| p.position <= position);
        let piece = self.queue.get(after.checked_sub(1)?)?;
        (position < piece.end()).then_some(piece)
    }

    /// The piece with this serial number.
    pub(super) fn piece(&mut self, serial: u64) -> Option<&mut Piece> {
        let at = self
            .queue
            .binary_search_by_key(&serial, |p| p.serial)
            .ok()?;
        self.queue.get_mut(at)
    }

    /// Whether the bytes held at `position` begin like `bytes`; `None` when
    /// none are held there.
    pub(super) fn agrees(&self, position: u64, bytes: &[u8]) -> Option<bool> {
        let piece = self.at(position)?;
        let Body::Bytes(held) = &piece.body else {
            return None;
        };
        let held = held.get(usize::try_from(position - piece.position).ok()?..)?;
        let length = held.len().min(bytes.len()).min(SAMPLE);
        (length > 0).then(|| held.get(..length) == bytes.get(..length))
    }

    /// Bounds the pieces of a view that is not written.
    pub(super) fn shed(&mut self) {
        while self.queue.len() > MAX_PIECES {
            self.queue.pop_front();
        }
    }

    /// The bytes held from `position` on, at most up to the end of a piece.
    pub(super) fn bytes_at(&self, position: u64) -> Option<&[u8]> {
        let piece = self.at(position)?;
        match &piece.body {
            Body::Bytes(held) => held.get(usize::try_from(position - piece.position).ok()?..),
            _ => None,
        }
    }
}

/// From one stream offset to another, both the kernel's 32-bit sequence
/// unwrapped from different beginnings.
#[expect(clippy::cast_possible_truncation, reason = "modulo 2^32 is meant")]
const fn sequence_distance(from: u64, to: u64) -> i64 {
    (to.wrapping_sub(from) as u32).cast_signed() as i64
}

/// Whether bytes look like the beginning of a request or a response.
pub(super) fn starts_message(bytes: &[u8]) -> bool {
    let method = bytes.iter().take_while(|b| b.is_ascii_uppercase()).count();
    bytes.starts_with(b"HTTP/") || method >= 3 && bytes.get(method) == Some(&b' ')
}
