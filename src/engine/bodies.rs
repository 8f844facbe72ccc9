//! Reading bodies and tunnels, and what gaps and ends do to a message.

use std::io;

use super::conversation::{Conversation, Cursor};
use super::core::Core;
use super::messages::mask;
use super::open::{Open, Part};
use super::side::{Body, State, Tunnel, Waiting};
use crate::event::{Direction, MissingReason, Timestamp};
use crate::exchange::{State as Ending, Upgrade};
use crate::flow::{Item, Origin, Piece};
use crate::http::chunked::{Step, TRAILER_LIMIT};
use crate::http::head;
use crate::http::start::{self, Kind, Start};
use crate::output::Content as WireContent;

impl Conversation {
    fn part(&self, direction: Direction) -> Part {
        if self.requests == Some(direction) {
            Part::Request
        } else {
            Part::Response
        }
    }

    /// The exchange whose message a direction is in.
    fn current(&mut self, direction: Direction) -> Option<&mut Open> {
        let ordinal = self.side(direction).current?;
        self.open(ordinal)
    }

    /// Bytes of a body.
    pub(super) fn body_bytes(
        &mut self,
        core: &mut Core,
        direction: Direction,
        cur: &mut Cursor<'_>,
    ) -> io::Result<()> {
        let part = self.part(direction);
        let rest = cur.rest();
        if part == Part::Request && self.may_be_next_request(direction) {
            return Ok(());
        }
        let State::Body(body) = &mut self.side(direction).state else {
            return Ok(());
        };
        let (taken, done) = match body {
            Body::UntilClose => (rest.len(), false),
            Body::Length(left) => {
                let n = (rest.len() as u64).min(*left);
                *left -= n;
                (n as usize, *left == 0)
            }
            Body::Chunked(chunked) => match chunked.step(rest) {
                Ok(Step::Framing(n)) => {
                    cur.pos += n;
                    return Ok(());
                }
                Ok(Step::Data(n)) => (n, false),
                Ok(Step::Trailer(n)) => return self.trailer_bytes(core, direction, cur, n, false),
                Ok(Step::End(n)) => return self.trailer_bytes(core, direction, cur, n, true),
                Err(_) => {
                    core.stats.malformed += 1;
                    self.hand_over(core, direction, cur)?;
                    return self.lose_framing(core, direction, cur.origin.time, None);
                }
            },
        };
        if let Some(open) = self.current(direction) {
            open.body_bytes(core, part, rest.get(..taken).unwrap_or(rest));
        }
        cur.pos += taken;
        if done {
            self.hand_over(core, direction, cur)?;
            self.message_done(core, direction, cur.origin.time)?;
        }
        Ok(())
    }

    /// Whether the request's body may stay unsent, as its final response is
    /// there; then the next bytes are looked at first.
    fn may_be_next_request(&mut self, direction: Direction) -> bool {
        let unsent = |open: &mut Open| {
            open.expects_continue
                && open.exchange.response.is_some()
                && open.body_size(Part::Request) == 0
        };
        let unsent = self.current(direction).is_some_and(unsent);
        let side = self.side(direction);
        match side.state {
            State::Body(Body::Length(left)) if unsent => {
                side.state = State::MaybeBody(left);
                true
            }
            _ => false,
        }
    }

    /// Bytes that are a body of `left` bytes or the next request.
    pub(super) fn maybe_body(
        &mut self,
        core: &mut Core,
        direction: Direction,
        cur: &mut Cursor<'_>,
        left: u64,
    ) -> io::Result<()> {
        let now = core.now;
        let time = cur.origin.time;
        self.store(core, direction, &cur.item(usize::MAX))?;
        cur.pass(cur.rest().len());
        let side = self.side(direction);
        let verdict = start::classify(&side.store.bytes, Kind::Request);
        if verdict == Start::Maybe && side.store.bytes.len() < start::SEARCH_WINDOW {
            return Ok(());
        }
        if verdict == Start::Request {
            self.message_done(core, direction, time)?;
            self.side(direction).state = State::Head;
        } else {
            side.state = State::Body(Body::Length(left));
            if let Some(open) = self.current(direction) {
                open.expects_continue = false;
            }
        }
        let side = self.side(direction);
        side.waiting = Some((Waiting::Replay, now));
        side.resume = true;
        Ok(())
    }

    /// Bytes of a trailer section, which is kept until it is whole.
    fn trailer_bytes(
        &mut self,
        core: &mut Core,
        direction: Direction,
        cur: &mut Cursor<'_>,
        n: usize,
        end: bool,
    ) -> io::Result<()> {
        let redacting = core.config.redact.is_some();
        if redacting {
            self.hand_over(core, direction, cur)?;
        }
        let item = cur.item(n);
        let side = self.side(direction);
        side.store.push(&item);
        if redacting {
            cur.pass(n);
        } else {
            cur.pos += n;
        }
        if side.store.bytes.len() > TRAILER_LIMIT {
            core.stats.malformed += 1;
            self.hand_over(core, direction, cur)?;
            return self.lose_framing(core, direction, cur.origin.time, None);
        }
        if !end {
            return Ok(());
        }
        let mut store = std::mem::take(&mut side.store);
        if redacting && let Some(masked) = mask(core, &store.bytes, false) {
            store.bytes = masked;
        }
        let part = self.part(direction);
        let ordinal = self.side(direction).current;
        if let Some(open) = self.current(direction) {
            let fields = head::trailers(&store.bytes);
            match part {
                Part::Request => open.exchange.request.as_mut().map(|r| &mut r.trailers),
                Part::Response => open.exchange.response.as_mut().map(|r| &mut r.trailers),
            }
            .into_iter()
            .for_each(|trailers| trailers.clone_from(&fields));
        }
        if redacting && let Some(ordinal) = ordinal {
            store.replay(|item| match item.piece {
                Piece::Bytes(bytes) => {
                    let content = WireContent::Bytes(bytes);
                    self.wire(core, direction, ordinal, item.offset, &item.origin, content)
                }
                _ => Ok(()),
            })?;
        }
        store.clear();
        self.side(direction).store = store;
        self.hand_over(core, direction, cur)?;
        self.message_done(core, direction, cur.origin.time)
    }

    /// Bytes after an upgrade: counted, and handed over unless they are TLS.
    pub(super) fn tunnel_bytes(
        &mut self,
        core: &mut Core,
        direction: Direction,
        cur: &mut Cursor<'_>,
    ) -> io::Result<()> {
        let outward = self.outward(direction).index();
        let ordinal = self.tunnel;
        let rest = cur.rest();
        let side = self.side(direction);
        let mut first = Vec::new();
        if matches!(side.state, State::Tunnel(Tunnel::New)) {
            let mut head = side.store.bytes.clone();
            head.extend_from_slice(rest.get(..5.min(rest.len())).unwrap_or_default());
            let found = match start::tls_record(&head) {
                Start::Maybe => {
                    let item = cur.item(usize::MAX);
                    side.store.push(&item);
                    cur.pass(rest.len());
                    return Ok(());
                }
                Start::Tls => Tunnel::Tls,
                _ => Tunnel::Other,
            };
            side.state = State::Tunnel(found);
            let store = std::mem::take(&mut side.store);
            self.count_tunnel(core, outward, store.bytes.len() as u64);
            if found == Tunnel::Other {
                first.push(store);
            }
            self.mute_tunnel(core);
        }
        self.count_tunnel(core, outward, rest.len() as u64);
        cur.pos += rest.len();
        if matches!(self.side(direction).state, State::Tunnel(Tunnel::Tls)) {
            cur.given = cur.pos;
            return Ok(());
        }
        let Some(ordinal) = ordinal else {
            return Ok(());
        };
        for store in first {
            store.replay(|item| self.wire_item(core, direction, ordinal, &item))?;
        }
        let item = Item {
            offset: cur.offset.wrapping_add(cur.given as u64),
            origin: cur.origin,
            piece: Piece::Bytes(cur.bytes.get(cur.given..cur.pos).unwrap_or_default()),
        };
        cur.given = cur.pos;
        self.wire_item(core, direction, ordinal, &item)
    }

    fn wire_item(
        &mut self,
        core: &mut Core,
        direction: Direction,
        ordinal: u64,
        item: &Item<'_>,
    ) -> io::Result<()> {
        let content = match item.piece {
            Piece::Bytes(bytes) => WireContent::Bytes(bytes),
            Piece::Gap { length, reason } => WireContent::Gap { length, reason },
            Piece::End => return Ok(()),
        };
        self.wire(core, direction, ordinal, item.offset, &item.origin, content)
    }

    fn count_tunnel(&mut self, core: &mut Core, outward: usize, bytes: u64) {
        core.stats.tunnel_bytes = core.stats.tunnel_bytes.saturating_add(bytes);
        if let Some(open) = self.tunnel.and_then(|ordinal| self.open(ordinal))
            && let Some(count) = open.exchange.tunnel_bytes.get_mut(outward)
        {
            *count = count.saturating_add(bytes);
        }
    }

    /// A tunnel whose bytes nobody wants need not be copied any more.
    fn mute_tunnel(&mut self, core: &mut Core) {
        let tls = [Direction::Send, Direction::Receive]
            .into_iter()
            .all(|d| matches!(self.side(d).state, State::Tunnel(Tunnel::Tls)));
        if tls {
            self.mute_capture(core);
        }
    }

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
                State::Ended => return Ok(()),
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
                    *kind = if *kind == Tunnel::New {
                        Tunnel::Other
                    } else {
                        *kind
                    };
                    let tls = *kind == Tunnel::Tls;
                    let outward = self.outward(direction).index();
                    self.count_tunnel(core, outward, length);
                    let tunnel = self.tunnel;
                    if let Some(open) = tunnel.and_then(|t| self.open(t)) {
                        open.exchange.lost_bytes = open.exchange.lost_bytes.saturating_add(length);
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
    fn gap_between(
        &mut self,
        core: &mut Core,
        direction: Direction,
        offset: u64,
        origin: &Origin<'_>,
        length: u64,
        reason: MissingReason,
    ) -> io::Result<()> {
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
    fn lose_framing(
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
                    store.replay(|item| self.wire_item(core, direction, ordinal, &item))?;
                }
            }
            _ => {}
        }
        store.clear();
        let side = self.side(direction);
        side.state = State::Ended;
        side.store = store;
        Ok(())
    }

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
    fn message_lost(
        &mut self,
        core: &mut Core,
        direction: Direction,
        time: Timestamp,
    ) -> io::Result<()> {
        self.message_over(core, direction, time, true)
    }

    fn message_over(
        &mut self,
        core: &mut Core,
        direction: Direction,
        time: Timestamp,
        truncated: bool,
    ) -> io::Result<()> {
        let part = self.part(direction);
        let now = core.now;
        let side = self.side(direction);
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
    fn enter_tunnel(&mut self, core: &mut Core, time: Timestamp) -> io::Result<()> {
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
                if !side.store.is_empty() && side.waiting.is_none() {
                    side.waiting = Some((Waiting::Replay, time));
                    side.resume = true;
                }
                side.state = State::Tunnel(Tunnel::New);
            }
        }
        let upgrade = tunnel
            .and_then(|t| self.open(t))
            .and_then(|o| o.exchange.upgraded_to);
        let wanted = tunnel
            .and_then(|t| self.open(t))
            .is_some_and(|open| open.is_wanted());
        if upgrade.is_some_and(|u| u != Upgrade::H2c) && (!core.wants.wire || !wanted) {
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
        Ok(())
    }

    fn message_lost_quietly(&mut self, core: &mut Core, direction: Direction, time: Timestamp) {
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
