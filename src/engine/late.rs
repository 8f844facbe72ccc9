//! WebSockets that were upgraded before the connection was joined. While it is
//! not known what a connection is, each direction also looks for frames where
//! a piece of it begins; when there are enough of them, it is a WebSocket.
//!
//! Wrong is worse than unknown: what convinces has to be so rare among other
//! bytes, by chance or in another protocol, that it does not occur.

use std::io;

use super::conversation::Conversation;
use super::core::Core;
use super::side::{State, Store, Tunnel};
use super::websocket::Input;
use crate::event::Direction;
use crate::exchange::Upgrade;
use crate::flow::{Item, Origin, Piece};
use crate::http::websocket::{Evidence, Frames};

/// What both directions together must be worth: as rare as one in 2^38 ...
const ENOUGH: u32 = 38;

/// ... in so many frames.
const FRAMES: u32 = 3;

/// Both directions of a connection that may be a WebSocket.
#[derive(Debug, Default)]
pub(super) struct Late {
    sides: [LateSide; 2],
    /// What is counted in the budget.
    charged: u64,
}

/// The pieces from where frames may begin.
#[derive(Debug, Default)]
struct LateSide {
    store: Store,
    frames: Frames,
}

impl Late {
    fn side(&mut self, direction: Direction) -> &mut LateSide {
        &mut self.sides[direction.index()]
    }

    fn evidence(&self, direction: Direction) -> Evidence {
        self.sides[direction.index()].frames.evidence()
    }

    /// Whether so much is right already that more is looked at.
    pub(super) fn is_promising(&self) -> bool {
        self.sides.iter().any(|side| side.frames.is_promising())
    }

    /// The client's direction, if this is a WebSocket.
    fn client(&self) -> Option<Direction> {
        let directions = [Direction::Send, Direction::Receive];
        let [a, b] = directions.map(|direction| self.evidence(direction));
        if a.masked == b.masked || a.frames + b.frames < FRAMES || a.bits + b.bits < ENOUGH {
            return None;
        }
        let good = |side: &Evidence| side.is_text() || side.is_masked_at_random();
        let masked = a.masked == Some(true) || b.masked == Some(false);
        (good(&a) || good(&b)).then_some(directions[usize::from(!masked)])
    }
}

impl Conversation {
    /// Looks for frames of a WebSocket in a connection of which it is not
    /// known yet what it is. Whether it has become one, which has all bytes of
    /// `item` then.
    pub(super) fn join_websocket(
        &mut self,
        core: &mut Core,
        direction: Direction,
        item: &Item<'_>,
    ) -> io::Result<bool> {
        let Piece::Bytes(bytes) = item.piece else {
            return Ok(false);
        };
        if self.late.is_none() {
            let wanted = core.wants.messages || core.wants.wire;
            if !wanted || !Frames::may_begin(bytes) {
                return Ok(false);
            }
            self.late = Some(Box::default());
        }
        let Some(late) = &mut self.late else {
            return Ok(false);
        };
        let side = late.side(direction);
        if side.store.is_empty() && !side.frames.has_begun() && !Frames::may_begin(bytes) {
            return Ok(false);
        }
        let from = side.store.bytes.len();
        side.store.push(item);
        let stamp = item.origin.time.0;
        let useless = side.frames.look(&side.store.bytes, from, stamp, None, true);
        side.store.drop_front(useless);
        let cost: u64 = late.sides.iter().map(|side| side.store.cost()).sum();
        core.budget.give(std::mem::replace(&mut late.charged, 0));
        if !core.budget.take(cost) {
            self.late = None;
            return Ok(false);
        }
        late.charged = cost;
        match late.client() {
            Some(client) => self.begin_late_websocket(core, client, item.origin),
            None => Ok(false),
        }
    }

    /// What was found so far leads to nothing.
    pub(super) fn drop_late(&mut self, core: &mut Core) {
        if let Some(late) = self.late.take() {
            core.budget.give(late.charged);
        }
    }

    /// Bytes of a direction are missing.
    pub(super) fn late_gap(&mut self, direction: Direction) {
        if let Some(late) = &mut self.late {
            // What was charged is given back with the next piece.
            *late.side(direction) = LateSide::default();
        }
    }

    /// It is one, with the client's messages going in `client`; `now` is the
    /// origin of the last piece.
    fn begin_late_websocket(
        &mut self,
        core: &mut Core,
        client: Direction,
        now: Origin<'_>,
    ) -> io::Result<bool> {
        let both = [client, client.other()];
        let searches = both.iter().all(|d| {
            let state = &self.side(*d).state;
            matches!(state, State::Search | State::Ended)
        });
        let Some(late) = self.late.take().filter(|_| searches) else {
            return Ok(false);
        };
        core.budget.give(late.charged);
        let Late { sides, .. } = *late;
        for direction in both {
            let held = sides[direction.index()].store.bytes.len() as u64;
            let side = self.side(direction);
            side.passed = side.looked.saturating_sub(held);
            side.store.clear();
            side.scanned = 0;
            core.budget.give(std::mem::take(&mut side.charged));
            if !side.has_ended() {
                side.state = State::Tunnel(Tunnel::Other);
            }
        }
        self.recognise(core, client);
        self.joined_websocket = true;
        let mut items = [0, 1].map(|at: usize| sides[at].store.items().peekable());
        let first = items.iter_mut().filter_map(|i| i.peek());
        // In the midst of a long frame nothing is held.
        let origin = first.map(|item| item.origin).min_by_key(|o| o.time);
        let origin = origin.unwrap_or(now);
        let mut open = self.new_open(&origin);
        open.request_done = true;
        open.response_done = true;
        open.note("request not seen");
        open.exchange.upgraded_to = Some(Upgrade::WebSocket);
        open.exchange.times.response_start = Some(origin.time);
        let ordinal = open.exchange.ordinal;
        self.tunnel = Some(ordinal);
        let first = [Direction::Send, Direction::Receive].map(|outward| {
            let side = &sides[self.outward(outward).index()];
            side.frames.sure().map(|n| n as u64)
        });
        open.join_websocket(core, first)?;
        let reads = open.websocket.is_some();
        let mute = !reads && (!core.wants.wire || !open.is_wanted());
        self.queue.push_back(open);
        if mute {
            self.mute_capture(core);
        }
        loop {
            let [a, b] = &mut items;
            let times = [a.peek(), b.peek()].map(|i| i.map(|item| item.origin.time));
            let (direction, item) = match times {
                [Some(a_time), Some(b_time)] if a_time > b_time => (Direction::Receive, b.next()),
                [None, _] => (Direction::Receive, b.next()),
                _ => (Direction::Send, a.next()),
            };
            let Some(item) = item else { break };
            if let Piece::Bytes(bytes) = item.piece {
                let outward = self.outward(direction).index();
                self.count_tunnel(core, outward, bytes.len() as u64);
            }
            self.wire_item(core, direction, ordinal, &item)?;
            self.websocket_item(core, direction, &item)?;
        }
        for direction in both {
            if self.side(direction).has_ended() {
                self.websocket(core, direction, origin.time, Input::End)?;
            }
        }
        Ok(true)
    }
}
