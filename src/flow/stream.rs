//! One direction of a connection: takes pieces in any order by their exact
//! offsets and gives them out in order, each byte once.
//!
//! The usual piece is the next one and goes through by borrow. One that comes
//! too early is copied and waits for the hole before it to be filled, for a
//! bounded time and size; then the hole is declared a gap. Offsets are
//! compared by their wrapping distance, so any first value will do.

use std::collections::VecDeque;
use std::io;

use super::origin::{Origin, OwnedOrigin};
use crate::event::{Data, MissingReason, Timestamp};

/// Bytes that one stream holds for reordering, the cost of holding included.
pub const HELD_LIMIT: u64 = 256 << 10;

/// What a held piece costs beyond its bytes.
const PIECE_COST: u64 = 128;

/// Longest stretch that can be missing at once: keeps distances meaningful.
const MISSING_LIMIT: u64 = 1 << 61;

/// A piece of a stream, in order.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// Position of its first byte, in the numbering of the events.
    pub offset: u64,
    /// When and by whom.
    pub origin: Origin<'a>,
    /// What it is.
    pub piece: Piece<'a>,
}

/// What an [`Item`] carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Bytes, never empty.
    Bytes(&'a [u8]),
    /// Bytes that were transferred and are not there.
    Gap {
        /// How many, never 0.
        length: u64,
        /// Why.
        reason: MissingReason,
    },
    /// The stream ended here. The last item.
    End,
}

/// A piece that came too early.
#[derive(Debug)]
struct Held {
    offset: u64,
    arrived: Timestamp,
    origin: OwnedOrigin,
    bytes: Vec<u8>,
    missing: u64,
    reason: MissingReason,
}

impl Held {
    fn len(&self) -> u64 {
        self.bytes.len() as u64 + self.missing
    }

    fn cost(&self) -> u64 {
        self.bytes.len() as u64 + PIECE_COST
    }
}

/// An end that waits for the bytes before it.
#[derive(Debug)]
struct PendingEnd {
    offset: Option<u64>,
    arrived: Timestamp,
    origin: OwnedOrigin,
}

/// The reassembly of one direction.
#[derive(Debug, Default)]
pub struct Stream {
    next: Option<u64>,
    /// Sorted, without overlaps; all of it after `next`.
    held: VecDeque<Held>,
    cost: u64,
    end: Option<PendingEnd>,
    ended: bool,
}

/// `a - b` as a signed distance.
fn distance(a: u64, b: u64) -> i64 {
    a.wrapping_sub(b) as i64
}

/// The part of `bytes` followed by `missing` lost ones that begins `skip`
/// bytes in and is at most `take` long.
fn part(bytes: &[u8], missing: u64, skip: u64, take: u64) -> (&[u8], u64) {
    let len = bytes.len() as u64;
    let from = skip.min(len);
    let to = skip.saturating_add(take).min(len).max(from);
    let slice = bytes.get(from as usize..to as usize).unwrap_or_default();
    let total = len + missing;
    let covered = skip.saturating_add(take).min(total);
    let lost = covered.saturating_sub(skip.max(len).min(covered));
    (slice, lost.min(missing))
}

impl Stream {
    /// Bytes of memory held, the cost of holding included.
    #[must_use]
    pub fn cost(&self) -> u64 {
        self.cost
    }

    /// Whether something waits for time to pass.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.held.is_empty() || self.end.is_some()
    }

    /// Position of the byte that is needed next, 0 before the first.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.next.unwrap_or(0)
    }

    /// Takes a piece; gives `out` whatever is in order now. `room` is how
    /// much memory may be held beyond what is, and `now` when it came.
    pub fn push<F>(
        &mut self,
        data: &Data<'_>,
        origin: &Origin<'_>,
        now: Timestamp,
        room: u64,
        out: &mut F,
    ) -> io::Result<()>
    where
        F: FnMut(Item<'_>) -> io::Result<()>,
    {
        if self.ended {
            return Ok(());
        }
        let missing = data.missing.min(MISSING_LIMIT);
        let total = data.bytes.len() as u64 + missing;
        let mut next = *self.next.get_or_insert(data.offset);
        loop {
            let ahead = distance(data.offset, next);
            if ahead > 0 {
                let limit = self.cost.saturating_add(room).min(HELD_LIMIT);
                self.hold(data, missing, origin, now);
                // What is held is not lost for that: only the holes are.
                while self.cost > limit && !self.held.is_empty() {
                    self.skip_hole(MissingReason::MemoryLimit, out)?;
                }
                return Ok(());
            }
            let skip = ahead.unsigned_abs();
            if skip >= total {
                break;
            }
            let until_held = self
                .held
                .front()
                .map_or(u64::MAX, |h| distance(h.offset, next).unsigned_abs());
            let (bytes, lost) = part(data.bytes, missing, skip, until_held);
            self.give(bytes, lost, data.reason, origin, out)?;
            self.drain(out)?;
            next = self.position();
        }
        self.try_end(out)
    }

    /// No more bytes come after `offset`.
    pub fn end<F>(
        &mut self,
        offset: Option<u64>,
        origin: &Origin<'_>,
        now: Timestamp,
        out: &mut F,
    ) -> io::Result<()>
    where
        F: FnMut(Item<'_>) -> io::Result<()>,
    {
        if self.ended || self.end.is_some() {
            return Ok(());
        }
        self.end = Some(PendingEnd {
            offset: if self.next.is_some() { offset } else { None },
            arrived: now,
            origin: origin.to_owned(),
        });
        self.try_end(out)
    }

    /// Declares the holes that have been waited for since before `since` to
    /// be gaps.
    pub fn expire<F>(
        &mut self,
        since: Timestamp,
        reason: MissingReason,
        out: &mut F,
    ) -> io::Result<()>
    where
        F: FnMut(Item<'_>) -> io::Result<()>,
    {
        while self.held.front().is_some_and(|h| h.arrived <= since) {
            self.skip_hole(reason, out)?;
        }
        if self.held.is_empty() && self.end.as_ref().is_some_and(|e| e.arrived <= since) {
            self.skip_to_end(reason, out)?;
        }
        Ok(())
    }

    /// Declares all holes gaps at once and gives out what is held.
    pub fn give_up<F>(&mut self, reason: MissingReason, out: &mut F) -> io::Result<()>
    where
        F: FnMut(Item<'_>) -> io::Result<()>,
    {
        while !self.held.is_empty() {
            self.skip_hole(reason, out)?;
        }
        self.skip_to_end(reason, out)
    }

    fn skip_hole<F>(&mut self, reason: MissingReason, out: &mut F) -> io::Result<()>
    where
        F: FnMut(Item<'_>) -> io::Result<()>,
    {
        let (Some(next), Some(front)) = (self.next, self.held.front()) else {
            return Ok(());
        };
        let length = distance(front.offset, next).max(0).unsigned_abs();
        let origin = front.origin.clone();
        self.give(&[], length, reason, &origin.get(), out)?;
        self.drain(out)?;
        self.try_end(out)
    }

    fn skip_to_end<F>(&mut self, reason: MissingReason, out: &mut F) -> io::Result<()>
    where
        F: FnMut(Item<'_>) -> io::Result<()>,
    {
        let (Some(next), Some(end)) = (self.next, &self.end) else {
            return Ok(());
        };
        if let Some(offset) = end.offset {
            let length = distance(offset, next).max(0).unsigned_abs();
            let origin = end.origin.clone();
            self.give(&[], length, reason, &origin.get(), out)?;
        }
        self.try_end(out)
    }

    fn try_end<F>(&mut self, out: &mut F) -> io::Result<()>
    where
        F: FnMut(Item<'_>) -> io::Result<()>,
    {
        let position = self.position();
        let reached = |end: &PendingEnd| end.offset.is_none_or(|o| distance(o, position) <= 0);
        if self.held.is_empty()
            && self.end.as_ref().is_some_and(reached)
            && let Some(end) = self.end.take()
        {
            self.ended = true;
            return out(Item {
                offset: position,
                origin: end.origin.get(),
                piece: Piece::End,
            });
        }
        Ok(())
    }

    /// Gives out bytes and then a gap, at `next`.
    fn give<F>(
        &mut self,
        bytes: &[u8],
        missing: u64,
        reason: MissingReason,
        origin: &Origin<'_>,
        out: &mut F,
    ) -> io::Result<()>
    where
        F: FnMut(Item<'_>) -> io::Result<()>,
    {
        let mut offset = self.position();
        if !bytes.is_empty() {
            self.next = Some(offset.wrapping_add(bytes.len() as u64));
            out(Item {
                offset,
                origin: *origin,
                piece: Piece::Bytes(bytes),
            })?;
            offset = self.position();
        }
        if missing > 0 {
            self.next = Some(offset.wrapping_add(missing));
            out(Item {
                offset,
                origin: *origin,
                piece: Piece::Gap {
                    length: missing,
                    reason,
                },
            })?;
        }
        Ok(())
    }

    /// Gives out held pieces for as long as they follow without a hole.
    fn drain<F>(&mut self, out: &mut F) -> io::Result<()>
    where
        F: FnMut(Item<'_>) -> io::Result<()>,
    {
        while self
            .held
            .front()
            .is_some_and(|h| distance(h.offset, self.position()) <= 0)
        {
            let Some(held) = self.held.pop_front() else {
                break;
            };
            self.cost = self.cost.saturating_sub(held.cost());
            self.give(
                &held.bytes,
                held.missing,
                held.reason,
                &held.origin.get(),
                out,
            )?;
        }
        Ok(())
    }

    /// Copies those parts of `data` that are not held yet. All of it is after
    /// `next`.
    fn hold(&mut self, data: &Data<'_>, missing: u64, origin: &Origin<'_>, now: Timestamp) {
        let total = data.bytes.len() as u64 + missing;
        let mut done = 0;
        let mut index = self
            .held
            .partition_point(|h| distance(h.offset.wrapping_add(h.len()), data.offset) <= 0);
        while done < total {
            let at = data.offset.wrapping_add(done);
            let (before, held_len) = match self.held.get(index) {
                Some(h) => (distance(h.offset, at), h.len()),
                None => (i64::MAX, 0),
            };
            if before <= 0 {
                let covered = held_len.saturating_sub(before.unsigned_abs());
                done = done.saturating_add(covered);
                index += 1;
                continue;
            }
            let take = before.unsigned_abs().min(total - done);
            let (bytes, lost) = part(data.bytes, missing, done, take);
            let held = Held {
                offset: at,
                arrived: now,
                origin: origin.to_owned(),
                bytes: bytes.to_vec(),
                missing: lost,
                reason: data.reason,
            };
            self.cost += held.cost();
            self.held.insert(index, held);
            done += take;
            index += 1;
        }
    }
}

#[cfg(test)]
mod tests;
