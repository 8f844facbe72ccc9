//! What the reading of a piece works on beside the reader and the streams.

use super::wire::Out;
use crate::engine::conversation::Conversation;
use crate::engine::core::Core;
use crate::engine::open::Part;
use crate::event::Direction;
use crate::flow::Origin;

/// A piece's turn: the connection that it is of, and where it came from.
pub(super) struct Turn<'a> {
    pub(super) conv: &'a mut Conversation,
    pub(super) core: &'a mut Core,
    pub(super) out: &'a mut Out,
    /// As in the events.
    pub(super) direction: Direction,
    pub(super) origin: Origin<'a>,
}

impl<'a> Turn<'a> {
    pub(super) const fn new(
        conv: &'a mut Conversation,
        core: &'a mut Core,
        out: &'a mut Out,
        direction: Direction,
        origin: Origin<'a>,
    ) -> Self {
        Self {
            conv,
            core,
            out,
            direction,
            origin,
        }
    }

    /// The same for a piece from somewhere else.
    pub(super) const fn of<'b>(&'b mut self, direction: Direction, origin: Origin<'b>) -> Turn<'b> {
        Turn::new(self.conv, self.core, self.out, direction, origin)
    }

    /// Which message of an exchange the direction carries.
    pub(super) fn part(&self) -> Part {
        self.conv.part(self.direction)
    }

    /// The direction as it is shown.
    pub(super) fn outward(&self) -> Direction {
        self.conv.outward(self.direction)
    }

    /// Counts bytes that are of no exchange.
    pub(super) fn pass_over(&mut self, bytes: usize) {
        let count = &mut self.core.stats.other_bytes;
        *count = count.saturating_add(bytes as u64);
    }
}
