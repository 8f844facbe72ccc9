//! The hand-over of a kept exchange's bytes, as they were on the wire, to the
//! sinks that want them.
//!
//! Bytes of an exchange that the filter has not decided yet are held, and so
//! are those of the exchanges after it, for the offsets of a direction only
//! rise.

use std::io;

use super::conversation::{Conversation, Protocol};
use super::core::Core;
use super::open::HeldContent;
use crate::event::{Direction, MissingReason};
use crate::filter::Verdict;
use crate::flow::Origin;
use crate::output::{Content, Http2, Wire};

impl Conversation {
    /// Hands over a piece of the exchange `ordinal`, or holds it.
    pub(super) fn wire(
        &mut self,
        core: &mut Core,
        direction: Direction,
        ordinal: u64,
        offset: u64,
        origin: &Origin<'_>,
        content: Content<'_>,
    ) -> io::Result<()> {
        if !core.wants.wire || matches!(content, Content::Bytes([])) {
            return Ok(());
        }
        let mut undecided = false;
        for open in &mut self.queue {
            undecided |= open.verdict == Verdict::Undecided;
            if open.exchange.ordinal != ordinal {
                continue;
            }
            if !open.is_wanted() {
                return Ok(());
            }
            if !undecided && open.held.is_empty() {
                return self.give(core, direction, offset, origin, content);
            }
            let content = match content {
                Content::End { .. } | Content::Reset => return Ok(()),
                Content::Gap { length, reason } => HeldContent::Gap { length, reason },
                Content::Bytes(bytes) if open.take_room(core, bytes.len()) => {
                    HeldContent::Bytes(bytes.to_vec())
                }
                Content::Bytes(bytes) => HeldContent::Gap {
                    length: bytes.len() as u64,
                    reason: MissingReason::MemoryLimit,
                },
            };
            open.hold(core, direction, Some(offset), origin, content);
            return Ok(());
        }
        Ok(())
    }

    /// Hands over what is held and decided by now.
    pub(super) fn flush_wire(&mut self, core: &mut Core) -> io::Result<()> {
        if !core.wants.wire {
            return Ok(());
        }
        for index in 0..self.queue.len() {
            let Some(open) = self.queue.get_mut(index) else {
                break;
            };
            if open.verdict == Verdict::Undecided {
                return Ok(());
            }
            self.flush_exchange(core, index)?;
        }
        self.give_ends(core)
    }

    /// Hands over or forgets what is held of a decided exchange.
    pub(super) fn flush_exchange(&mut self, core: &mut Core, index: usize) -> io::Result<()> {
        let Some(open) = self.queue.get_mut(index) else {
            return Ok(());
        };
        // Of many that wait for their responses, nearly all.
        if open.held.is_empty() && open.held_bytes == 0 {
            return Ok(());
        }
        let held = std::mem::take(&mut open.held);
        core.budget.give(std::mem::take(&mut open.held_bytes));
        let keep = open.verdict == Verdict::Keep;
        for piece in held.into_iter().filter(|piece| keep || piece.wanted) {
            let content = match &piece.content {
                HeldContent::Bytes(bytes) => Content::Bytes(bytes),
                HeldContent::Gap { length, reason } => {
                    if *reason == MissingReason::MemoryLimit {
                        core.lose(*reason, *length);
                    }
                    Content::Gap {
                        length: *length,
                        reason: *reason,
                    }
                }
            };
            self.give(
                core,
                piece.direction,
                piece.offset,
                &piece.origin.get(),
                content,
            )?;
        }
        Ok(())
    }

    /// Hands over what is held of an exchange that ends, or leaves it with the
    /// one before it that has to be handed over first.
    pub(super) fn flush_ended(&mut self, core: &mut Core, index: usize) -> io::Result<()> {
        let before = self
            .queue
            .iter()
            .take(index)
            .rposition(|open| open.verdict == Verdict::Undecided || !open.held.is_empty());
        let Some(before) = before else {
            return self.flush_exchange(core, index);
        };
        let Some(open) = self.queue.get_mut(index) else {
            return Ok(());
        };
        let keep = open.verdict == Verdict::Keep;
        let mut held = std::mem::take(&mut open.held);
        let bytes = std::mem::take(&mut open.held_bytes);
        held.retain(|piece| keep || piece.wanted);
        held.iter_mut().for_each(|piece| piece.wanted = true);
        if let Some(open) = self.queue.get_mut(before) {
            open.held.append(&mut held);
            open.held_bytes += bytes;
        }
        Ok(())
    }

    /// Hands over the ends of directions, once nothing undecided is before
    /// them, if any bytes were handed over.
    pub(super) fn give_ends(&mut self, core: &mut Core) -> io::Result<()> {
        let undecided = |v: Verdict| v == Verdict::Undecided;
        if !self.wire_given || self.queue.iter().any(|o| undecided(o.verdict)) {
            return Ok(());
        }
        for direction in [Direction::Send, Direction::Receive] {
            let side = self.side(direction);
            if side.end_given {
                continue;
            }
            if let Some((offset, origin)) = side.end.take() {
                side.end_given = true;
                let content = Content::End { synthetic: false };
                self.give(core, direction, offset, &origin.get(), content)?;
            }
        }
        Ok(())
    }

    /// Says that the connection was reset, if any bytes were handed over and
    /// an end is not there yet.
    pub(super) fn give_reset(
        &mut self,
        core: &mut Core,
        offsets: [u64; 2],
        origin: &Origin<'_>,
    ) -> io::Result<()> {
        self.give_ends(core)?;
        let both = [Direction::Send, Direction::Receive];
        if !self.wire_given || both.iter().all(|d| self.side(*d).end_given) {
            return Ok(());
        }
        for direction in both {
            self.side(direction).end_given = true;
        }
        // Which end reset it is not known. Of two views of a connection each
        // is believed for what it sends itself.
        let direction = Direction::Send;
        let offset = offsets[direction.index()];
        self.give(core, direction, offset, origin, Content::Reset)
    }

    /// Ends every direction that has not ended.
    pub(super) fn give_all_ends(
        &mut self,
        core: &mut Core,
        offsets: [u64; 2],
        origin: &Origin<'_>,
        synthetic: bool,
    ) -> io::Result<()> {
        self.give_ends(core)?;
        if !self.wire_given {
            return Ok(());
        }
        for direction in [Direction::Send, Direction::Receive] {
            let side = self.side(direction);
            if !side.end_given {
                side.end_given = true;
                let content = Content::End { synthetic };
                let offset = offsets[direction.index()];
                self.give(core, direction, offset, origin, content)?;
            }
        }
        Ok(())
    }

    /// Hands over a piece.
    pub(super) fn give(
        &mut self,
        core: &mut Core,
        direction: Direction,
        offset: u64,
        origin: &Origin<'_>,
        content: Content<'_>,
    ) -> io::Result<()> {
        if core.is_done() && !matches!(content, Content::End { .. } | Content::Reset) {
            return Ok(());
        }
        self.wire_given = true;
        core.wire(&Wire {
            connection: self.number,
            info: &self.info,
            direction: self.outward(direction),
            time: origin.time,
            process: origin.process,
            tid: origin.tid,
            thread: origin.thread,
            offset,
            http2: (self.protocol == Protocol::Http2).then(|| Http2 {
                role: self.role(),
                anew: self.anew,
            }),
            websocket: self.joined_websocket.then(|| self.role()),
            content,
        })
    }
}
