//! What the end of a message means for its exchange: it ends too, it waits
//! for the other message, or the connection becomes something else.

use std::io;

use super::conversation::Conversation;
use super::core::Core;
use super::h2::{Begin, Upgraded};
use super::open::Part;
use super::side::{State, Tunnel, Waiting};
use crate::event::{Direction, Timestamp};
use crate::exchange::{State as Ending, Upgrade};

impl Conversation {
    /// A message was seen to its end.
    pub(super) fn message_done(
        &mut self,
        core: &mut Core,
        direction: Direction,
        time: Timestamp,
    ) -> io::Result<()> {
        self.message_over(core, direction, time, false)
    }

    /// A message broke off.
    pub(super) fn message_lost(
        &mut self,
        core: &mut Core,
        direction: Direction,
        time: Timestamp,
    ) -> io::Result<()> {
        self.message_over(core, direction, time, true)
    }

    pub(super) fn message_over(
        &mut self,
        core: &mut Core,
        direction: Direction,
        time: Timestamp,
        truncated: bool,
    ) -> io::Result<()> {
        let part = self.part(direction);
        let now = core.now;
        let side = self.side(direction);
        // What ends with its connection ended with its last byte.
        let time = match side.last_byte {
            Some(last) => last.min(time),
            None => time,
        };
        let ordinal = side.current.take();
        side.state = State::Head;
        side.scanned = 0;
        let tunnel = self.tunnel;
        let other_ended = self.side(direction.other()).has_ended();
        let index = ordinal.and_then(|o| self.queue.iter().position(|q| q.exchange.ordinal == o));
        if let Some(index) = index
            && let Some(open) = self.queue.get_mut(index)
        {
            match part {
                Part::Request => {
                    open.body_end(core, part, truncated);
                    open.request_done = true;
                    open.exchange.times.request_end = Some(time);
                }
                Part::Response if open.exchange.response.is_some() => {
                    open.body_end(core, part, truncated);
                    open.response_done = true;
                    open.exchange.times.response_end = Some(time);
                }
                // An interim response.
                Part::Response => return Ok(()),
            }
            let waits =
                part == Part::Request && open.may_upgrade && open.exchange.response.is_none();
            let done = open.request_done && open.response_done;
            let unanswered = part == Part::Request && !open.response_done && other_ended;
            if waits && !other_ended {
                self.side(direction).waiting = Some((Waiting::ForResponse, now));
            }
            if part == Part::Response {
                let requests = self.side(direction.other());
                if matches!(requests.waiting, Some((Waiting::ForResponse, _))) {
                    requests.resume = true;
                }
            }
            if tunnel.is_some() && tunnel == ordinal {
                return self.enter_tunnel(core, time);
            }
            if done || unanswered {
                return self.finish(core, index);
            }
        } else if tunnel.is_some() {
            self.side(direction).state = State::Tunnel(Tunnel::New);
        }
        Ok(())
    }

    /// Both directions carry something else from here on.
    pub(super) fn enter_tunnel(&mut self, core: &mut Core, time: Timestamp) -> io::Result<()> {
        let tunnel = self.tunnel;
        for direction in [Direction::Send, Direction::Receive] {
            if self.side(direction).current == tunnel {
                self.message_lost_quietly(core, direction, time);
            }
            let side = self.side(direction);
            if matches!(side.waiting, Some((Waiting::ForResponse, _))) {
                side.resume = true;
            }
            if !side.has_ended() && !matches!(side.state, State::Tunnel(_)) {
                if matches!(side.state, State::Body(_)) && side.waiting.is_none() {
                    // A part of a trailer section, which was handed over.
                    side.store.clear();
                } else if !side.store.is_empty() && side.waiting.is_none() {
                    side.waiting = Some((Waiting::Replay, time));
                    side.resume = true;
                }
                side.state = State::Tunnel(Tunnel::New);
            }
        }
        let (mut mute, mut upgrade) = (false, None);
        if let Some(open) = tunnel.and_then(|t| self.open(t)) {
            upgrade = open.exchange.upgraded_to;
            if upgrade == Some(Upgrade::WebSocket) {
                open.begin_websocket(core)?;
            }
            mute = upgrade.is_some_and(|u| u != Upgrade::H2c)
                && open.websocket.is_none()
                && (!core.wants.wire || !open.is_wanted());
        }
        if mute {
            self.mute_capture(core);
        }
        // Requests after it were no requests.
        let mut index = 0;
        while let Some(open) = self.queue.get(index) {
            if Some(open.exchange.ordinal) == tunnel {
                index += 1;
            } else {
                self.finish(core, index)?;
            }
        }
        if upgrade == Some(Upgrade::H2c) {
            return self.enter_h2c(core);
        }
        Ok(())
    }

    /// HTTP/2 follows an upgrade; the answer to its request comes on the first
    /// stream (RFC 7540 3.2).
    fn enter_h2c(&mut self, core: &mut Core) -> io::Result<()> {
        let Some(requests) = self.requests else {
            return Ok(());
        };
        self.tunnel = None;
        let mut upgraded = None;
        if let Some(open) = self.queue.front_mut() {
            open.response_done = true;
            let answered = open.exchange.times.response_start;
            open.exchange.times.response_end = answered;
            upgraded = Some(Box::new(Upgraded {
                exchange: open.exchange.clone(),
                plain: open.plain.clone(),
            }));
            self.finish(core, 0)?;
        }
        self.begin_h2(core, requests, Begin::Upgrade(upgraded))
    }

    pub(super) fn message_lost_quietly(
        &mut self,
        core: &mut Core,
        direction: Direction,
        time: Timestamp,
    ) {
        let part = self.part(direction);
        let side = self.side(direction);
        side.current = None;
        let tunnel = self.tunnel;
        if let Some(open) = tunnel.and_then(|t| self.open(t)) {
            let truncated = part == Part::Request && !open.request_done;
            open.body_end(core, part, truncated);
            open.request_done = true;
            open.exchange.times.request_end.get_or_insert(time);
        }
    }

    /// Gives out the exchange at `index` of the queue, as it is.
    pub(super) fn finish(&mut self, core: &mut Core, index: usize) -> io::Result<()> {
        let Some(open) = self.queue.get_mut(index) else {
            return Ok(());
        };
        open.exchange.info = self.info.clone();
        open.judge(core, true);
        if !open.request_done {
            open.body_end(core, Part::Request, true);
        }
        if !open.response_done && open.exchange.response.is_some() {
            open.body_end(core, Part::Response, true);
        }
        let whole = open.request_done && open.response_done && !open.truncated;
        let lasting = self.tunnel == Some(open.exchange.ordinal)
            && self.ending.is_some_and(|e| e != Ending::Closed);
        open.exchange.state = if whole && !lasting {
            Ending::Complete
        } else {
            self.ending.unwrap_or(Ending::Closed)
        };
        self.flush_ended(core, index)?;
        let Some(open) = self.queue.remove(index) else {
            return Ok(());
        };
        core.budget.give(open.charged);
        core.exchange(&open.exchange, open.verdict)?;
        self.flush_wire(core)
    }
}
