//! Reading bodies and trailer sections.

use std::io;

use super::conversation::{Conversation, Cursor};
use super::core::Core;
use super::messages::mask;
use super::open::{Open, Part};
use super::side::{Body, State, Waiting};
use crate::event::Direction;
use crate::flow::Piece;
use crate::http::chunked::{Step, TRAILER_LIMIT};
use crate::http::head;
use crate::http::start::{self, Kind, Start};
use crate::output::Content as WireContent;

impl Conversation {
    pub(super) fn part(&self, direction: Direction) -> Part {
        if self.requests == Some(direction) {
            Part::Request
        } else {
            Part::Response
        }
    }

    /// The exchange whose message a direction is in.
    pub(super) fn current(&mut self, direction: Direction) -> Option<&mut Open> {
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
    pub(super) fn may_be_next_request(&mut self, direction: Direction) -> bool {
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
    pub(super) fn trailer_bytes(
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
}
