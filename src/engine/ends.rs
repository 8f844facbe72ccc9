//! What gaps and ends do to the message that a direction is in.

use std::io;

use super::conversation::Conversation;
use super::core::Core;
use super::open::Part;
use super::side::{Body, State, Tunnel};
use super::websocket::Input;
use crate::event::{Direction, MissingReason, Timestamp};
use crate::flow::Origin;
use crate::output::Content as WireContent;

impl Conversation {
    /// A gap in a direction.
    pub(super) fn gap(
        &mut self,
        core: &mut Core,
        direction: Direction,
        mut offset: u64,
        origin: &Origin<'_>,
        mut length: u64,
        reason: MissingReason,
    ) -> io::Result<()> {
        let part = self.part(direction);
        while length > 0 {
            let ordinal = self.side(direction).current;
            let side = self.side(direction);
            let (n, done) = match &mut side.state {
                State::Frames | State::Ended => return Ok(()),
                State::Head | State::Search => {
                    return self.gap_between(core, direction, offset, origin, length, reason);
                }
                State::MaybeBody(left) => {
                    // A gap is no start of a request.
                    let left = *left;
                    side.state = State::Body(Body::Length(left));
                    let store = std::mem::take(&mut side.store);
                    core.budget.give(std::mem::take(&mut side.charged));
                    if let Some(open) = self.current(direction) {
                        open.expects_continue = false;
                        open.body_bytes(core, part, &store.bytes);
                    }
                    if let Some(ordinal) = ordinal {
                        store.replay(|item| self.wire_item(core, direction, ordinal, &item))?;
                    }
                    if let State::Body(Body::Length(l)) = &mut self.side(direction).state {
                        *l = l.saturating_sub(store.bytes.len() as u64);
                    }
                    continue;
                }
                State::Tunnel(kind) => {
                    if *kind == Tunnel::New && !side.store.is_empty() {
                        // Too few bytes to be taken for TLS.
                        *kind = Tunnel::Other;
                        let store = std::mem::take(&mut side.store);
                        let outward = self.outward(direction).index();
                        self.count_tunnel(core, outward, store.bytes.len() as u64);
                        if let Some(ordinal) = self.tunnel {
                            store.replay(|item| {
                                self.wire_item(core, direction, ordinal, &item)?;
                                self.websocket_item(core, direction, &item)
                            })?;
                        }
                        continue;
                    }
                    *kind = if *kind == Tunnel::New {
                        Tunnel::Other
                    } else {
                        *kind
                    };
                    let tls = *kind == Tunnel::Tls;
                    let outward = self.outward(direction).index();
                    self.count_tunnel(core, outward, length);
                    let tunnel = self.tunnel;
                    // Ciphertext is not copied on purpose: it is not lost.
                    if !tls && let Some(open) = tunnel.and_then(|t| self.open(t)) {
                        open.exchange.lost_bytes = open.exchange.lost_bytes.saturating_add(length);
                    }
                    if !tls {
                        let input = Input::Gap(length, reason);
                        self.websocket(core, direction, origin.time, input)?;
                    }
                    return match tunnel {
                        Some(ordinal) if !tls => {
                            let content = WireContent::Gap { length, reason };
                            self.wire(core, direction, ordinal, offset, origin, content)
                        }
                        _ => Ok(()),
                    };
                }
                State::Body(Body::UntilClose) => (length, false),
                State::Body(Body::Length(left)) => {
                    let n = length.min(*left);
                    *left -= n;
                    (n, *left == 0)
                }
                State::Body(Body::Chunked(chunked)) => match chunked.in_data() {
                    Some(left) if left >= length => {
                        chunked.skip(length);
                        (length, false)
                    }
                    _ => {
                        if let Some(open) = self.current(direction) {
                            open.body_gap(core, part, length, reason);
                        }
                        if let Some(ordinal) = ordinal {
                            let content = WireContent::Gap { length, reason };
                            self.wire(core, direction, ordinal, offset, origin, content)?;
                        }
                        return self.lose_framing(core, direction, origin.time, Some(reason));
                    }
                },
            };
            if let Some(open) = self.current(direction) {
                open.body_gap(core, part, n, reason);
            }
            if let Some(ordinal) = ordinal {
                let content = WireContent::Gap { length: n, reason };
                self.wire(core, direction, ordinal, offset, origin, content)?;
            }
            if done {
                self.message_done(core, direction, origin.time)?;
            }
            offset = offset.wrapping_add(n);
            length -= n;
        }
        Ok(())
    }

    /// A gap where whole messages may have been, or in a head.
    pub(super) fn gap_between(
        &mut self,
        core: &mut Core,
        direction: Direction,
        offset: u64,
        origin: &Origin<'_>,
        length: u64,
        reason: MissingReason,
    ) -> io::Result<()> {
        self.late_gap(direction);
        let side = self.side(direction);
        let mut store = std::mem::take(&mut side.store);
        let in_head = matches!(side.state, State::Head) && !store.is_empty();
        side.state = State::Search;
        side.scanned = 0;
        side.lossy = true;
        side.search_reason = Some(reason);
        core.budget.give(std::mem::take(&mut side.charged));
        let held = store.bytes.len() as u64;
        self.pass_over(core, direction, held);
        if in_head {
            core.stats.malformed += 1;
        }
        store.clear();
        self.side(direction).store = store;
        // What is missing of a response is missing of the exchange that
        // waits for one.
        if self.part(direction) == Part::Response
            && let Some(open) = self.queue.front_mut()
            && !open.response_done
        {
            open.exchange.lost_bytes = open
                .exchange
                .lost_bytes
                .saturating_add(length.saturating_add(held));
            open.note("bytes between messages are missing");
            let ordinal = open.exchange.ordinal;
            let content = WireContent::Gap { length, reason };
            self.wire(core, direction, ordinal, offset, origin, content)?;
        }
        Ok(())
    }

    /// The message's end cannot be found any more: it ends here, and the next
    /// start is looked for.
    pub(super) fn lose_framing(
        &mut self,
        core: &mut Core,
        direction: Direction,
        time: Timestamp,
        reason: Option<MissingReason>,
    ) -> io::Result<()> {
        if let Some(open) = self.current(direction) {
            open.note("chunk framing lost");
        }
        let mut store = std::mem::take(&mut self.side(direction).store);
        store.clear();
        self.side(direction).store = store;
        self.message_lost(core, direction, time)?;
        let side = self.side(direction);
        if !matches!(side.state, State::Tunnel(_)) {
            side.state = State::Search;
        }
        side.search_reason = reason;
        side.lossy = true;
        side.scanned = 0;
        Ok(())
    }

    /// The end of a direction.
    pub(super) fn end(
        &mut self,
        core: &mut Core,
        direction: Direction,
        offset: u64,
        origin: &Origin<'_>,
    ) -> io::Result<()> {
        if matches!(self.side(direction).state, State::Body(Body::UntilClose)) {
            self.message_done(core, direction, origin.time)?;
        }
        // After a request that awaits its answer the direction may stand
        // still again; nothing is stored, so it has ended all the same.
        self.abandon(core, direction, origin.time)?;
        let side = self.side(direction);
        side.end = Some((offset, origin.to_owned()));
        side.waiting = None;
        let tunnelled = self.tunnel;
        let both_ended = [Direction::Send, Direction::Receive]
            .into_iter()
            .all(|d| self.side(d).has_ended());
        let responses_ended = self.part(direction) == Part::Response && self.requests.is_some();
        let mut index = 0;
        while let Some(open) = self.queue.get(index) {
            let is_tunnel = tunnelled == Some(open.exchange.ordinal);
            let over = open.request_done && !is_tunnel && responses_ended;
            if over || both_ended {
                self.finish(core, index)?;
            } else {
                index += 1;
            }
        }
        self.give_ends(core)
    }

    /// Ends what a direction is in the middle of; nothing more comes.
    pub(super) fn abandon(
        &mut self,
        core: &mut Core,
        direction: Direction,
        time: Timestamp,
    ) -> io::Result<()> {
        let part = self.part(direction);
        let side = self.side(direction);
        let mut store = std::mem::take(&mut side.store);
        core.budget.give(std::mem::take(&mut side.charged));
        let stored = store.bytes.len() as u64;
        match side.state {
            State::Head | State::Search if stored > 0 => {
                let in_head = matches!(side.state, State::Head);
                self.pass_over(core, direction, stored);
                if in_head && self.requests.is_some() {
                    core.stats.malformed += 1;
                }
            }
            State::MaybeBody(_) if stored == 0 => {
                self.message_done(core, direction, time)?;
            }
            State::MaybeBody(left) => {
                let ordinal = side.current;
                if let Some(open) = self.current(direction) {
                    open.body_bytes(core, part, &store.bytes);
                }
                if let Some(ordinal) = ordinal {
                    store.replay(|item| self.wire_item(core, direction, ordinal, &item))?;
                }
                self.message_over(core, direction, time, stored < left)?;
            }
            State::Body(_) => {
                self.may_be_next_request(direction);
                if matches!(self.side(direction).state, State::MaybeBody(_)) {
                    self.message_done(core, direction, time)?;
                } else {
                    self.message_lost(core, direction, time)?;
                }
            }
            State::Tunnel(Tunnel::New) if stored > 0 => {
                let outward = self.outward(direction).index();
                self.count_tunnel(core, outward, stored);
                if let Some(ordinal) = self.tunnel {
                    store.replay(|item| {
                        self.wire_item(core, direction, ordinal, &item)?;
                        self.websocket_item(core, direction, &item)
                    })?;
                }
            }
            _ => {}
        }
        if self.tunnel.is_some() {
            self.websocket(core, direction, time, Input::End)?;
        }
        store.clear();
        let side = self.side(direction);
        side.state = State::Ended;
        side.store = store;
        Ok(())
    }
}
