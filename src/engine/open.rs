//! An exchange that has not ended yet.

use std::collections::VecDeque;
use std::sync::Arc;

use super::core::Core;
use super::watch::Watches;
use super::websocket::WebSocket;
use crate::content::coding::{Outcome, decode};
use crate::event::{ConnectionInfo, Direction, MissingReason};
use crate::exchange::{Body, BodyState, Exchange, Missing, Request};
use crate::filter::{Subject, Verdict};
use crate::flow::{Origin, OwnedOrigin};

/// Bytes held of one undecided exchange.
pub(super) const HELD_LIMIT: u64 = 8 << 20;

/// What a held piece costs beyond its bytes.
pub(super) const HELD_COST: u64 = 128;

/// Which of the two messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Request,
    Response,
}

/// Bytes of the wire that wait for the filter.
#[derive(Debug)]
pub(super) struct HeldWire {
    pub(super) direction: Direction,
    pub(super) offset: u64,
    pub(super) origin: OwnedOrigin,
    pub(super) content: HeldContent,
    /// It is that of a wanted exchange that has ended meanwhile.
    pub(super) wanted: bool,
}

#[derive(Debug)]
pub(super) enum HeldContent {
    Bytes(Vec<u8>),
    Gap { length: u64, reason: MissingReason },
}

/// An exchange that has not ended yet.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) exchange: Exchange,
    pub(super) verdict: Verdict,
    /// The request as it was before masking, while the filter needs it.
    pub(super) plain: Option<Box<Request>>,
    /// The request was seen to its end, or will not be.
    pub(super) request_done: bool,
    pub(super) response_done: bool,
    /// A message ended before its end.
    pub(super) truncated: bool,
    /// `Expect: 100-continue`, and no such response so far.
    pub(super) expects_continue: bool,
    /// Requests before this one may have been lost.
    pub(super) after_loss: bool,
    /// The connection may become something else with the response.
    pub(super) may_upgrade: bool,
    pub(super) held: VecDeque<HeldWire>,
    /// Bytes in `held`.
    pub(super) held_bytes: u64,
    /// What is counted in the budget for this exchange.
    pub(super) charged: u64,
    /// Reads its messages.
    pub(super) websocket: Option<Box<WebSocket>>,
    /// Follows bodies that consist of messages.
    pub(super) watches: Watches,
}

impl Open {
    pub(super) fn new(exchange: Exchange) -> Self {
        Self {
            exchange,
            verdict: Verdict::Undecided,
            plain: None,
            request_done: false,
            response_done: false,
            truncated: false,
            expects_continue: false,
            after_loss: false,
            may_upgrade: false,
            held: VecDeque::new(),
            held_bytes: 0,
            charged: 0,
            websocket: None,
            watches: Watches::default(),
        }
    }

    /// Takes room for bytes that are to be held; whether there is some.
    pub(super) fn take_room(&mut self, core: &mut Core, bytes: usize) -> bool {
        let cost = bytes as u64 + HELD_COST;
        let room = HELD_LIMIT.saturating_sub(self.held_bytes);
        let fits = cost <= room && core.budget.take(cost);
        if fits {
            self.held_bytes += cost;
        }
        fits
    }

    /// Holds a piece until the filter has decided; for bytes room was taken.
    /// Without an `offset` it follows what is held before it.
    pub(super) fn hold(
        &mut self,
        core: &mut Core,
        direction: Direction,
        offset: Option<u64>,
        origin: &Origin<'_>,
        content: HeldContent,
    ) {
        if let HeldContent::Gap { length, reason } = content {
            if let Some(last) = self.held.back_mut()
                && last.direction == direction
                && let HeldContent::Gap {
                    length: before,
                    reason: same,
                } = &mut last.content
                && *same == reason
                && offset.is_none_or(|offset| last.offset.wrapping_add(*before) == offset)
            {
                *before = before.saturating_add(length);
                return;
            }
            core.budget.charge(HELD_COST);
            self.held_bytes += HELD_COST;
        }
        self.held.push_back(HeldWire {
            direction,
            offset: offset.unwrap_or(0),
            origin: origin.to_owned(),
            content,
            wanted: false,
        });
    }

    /// Takes over what is known of the connection by now.
    pub(super) fn learn(&mut self, info: &Arc<ConnectionInfo>) {
        if !Arc::ptr_eq(&self.exchange.info, info) {
            self.exchange.info = Arc::clone(info);
        }
    }

    /// Asks the filter, if it has not decided yet.
    pub(super) fn judge(&mut self, core: &Core, last: bool) {
        if self.verdict != Verdict::Undecided {
            return;
        }
        self.verdict = core.judge(&Subject {
            process: self.exchange.process.as_deref(),
            thread: &self.exchange.thread,
            info: &self.exchange.info,
            request: self.plain.as_deref().or(self.exchange.request.as_ref()),
            status: self.exchange.response.as_ref().map(|r| r.status),
            last,
        });
        if self.verdict != Verdict::Undecided {
            self.plain = None;
        }
    }

    /// Whether it goes on and nothing was said of that: the line of a
    /// WebSocket comes with its response.
    pub(super) fn lasts(&self) -> bool {
        self.exchange.messages.is_none() && !(self.request_done && self.response_done)
    }

    pub(super) fn is_wanted(&self) -> bool {
        matches!(self.verdict, Verdict::Keep | Verdict::Undecided)
    }

    pub(super) fn note(&mut self, note: &'static str) {
        if !self.exchange.notes.contains(&note) {
            self.exchange.notes.push(note);
        }
    }

    pub(super) fn body(&mut self, part: Part) -> Option<&mut Body> {
        match part {
            Part::Request => self.exchange.request.as_mut().map(|r| &mut r.body),
            Part::Response => self.exchange.response.as_mut().map(|r| &mut r.body),
        }
    }

    /// Bytes of the body so far, holes included.
    pub(super) fn body_size(&self, part: Part) -> u64 {
        match part {
            Part::Request => self.exchange.request.as_ref().map(|r| &r.body),
            Part::Response => self.exchange.response.as_ref().map(|r| &r.body),
        }
        .map_or(0, |body| body.encoded_size)
    }

    /// Appends to a body.
    pub(super) fn body_bytes(&mut self, core: &mut Core, part: Part, bytes: &[u8]) {
        self.watched(core, part, bytes);
        let keep = core.wants.bodies && self.is_wanted();
        let Some(body) = self.body(part) else { return };
        let size = body.encoded_size;
        body.encoded_size = size.saturating_add(bytes.len() as u64);
        if !keep {
            return;
        }
        let kept = body.bytes.len() as u64;
        let room = core.config.max_body.saturating_sub(kept);
        let n = (bytes.len() as u64).min(room);
        // Nothing is kept after a hole.
        if n == 0 || kept != size {
            return;
        }
        if core.budget.take(n) {
            body.bytes
                .extend_from_slice(bytes.get(..n as usize).unwrap_or_default());
            self.charged += n;
        } else {
            self.body_missing(core, part, size, n, MissingReason::MemoryLimit);
            core.lose(MissingReason::MemoryLimit, n);
        }
    }

    /// Notes a hole in the body's next bytes.
    pub(super) fn body_gap(
        &mut self,
        core: &mut Core,
        part: Part,
        length: u64,
        reason: MissingReason,
    ) {
        self.watched_gap(core, part, length);
        let offset = self.body_size(part);
        self.body_missing(core, part, offset, length, reason);
        if let Some(body) = self.body(part) {
            body.encoded_size = offset.saturating_add(length);
        }
    }

    fn body_missing(
        &mut self,
        _core: &Core,
        part: Part,
        offset: u64,
        length: u64,
        reason: MissingReason,
    ) {
        /// Holes that are listed one by one.
        const LISTED: usize = 4096;
        self.exchange.lost_bytes = self.exchange.lost_bytes.saturating_add(length);
        let Some(body) = self.body(part) else { return };
        let full = body.missing.len() >= LISTED;
        match body.missing.last_mut() {
            Some(last)
                if full
                    || (last.reason == reason
                        && last.offset.saturating_add(last.length) == offset) =>
            {
                last.length = offset.saturating_add(length).saturating_sub(last.offset);
            }
            _ => body.missing.push(Missing {
                offset,
                length,
                reason,
            }),
        }
    }

    /// Settles what is said of a body that has ended.
    pub(super) fn body_end(&mut self, core: &mut Core, part: Part, truncated: bool) {
        self.watched_end(core, part);
        self.truncated |= truncated;
        let max_body = core.config.max_body;
        let decodes = core.wants.bodies && self.is_wanted();
        let Some(body) = self.body(part) else { return };
        let holes = !body.missing.is_empty();
        body.state = if holes || truncated {
            BodyState::Lost
        } else if body.encoded_size > max_body {
            BodyState::Cut
        } else {
            BodyState::Complete
        };
        body.size = (body.encodings.is_empty() && !holes).then_some(body.encoded_size);
        if body.encodings.is_empty() || body.encoded_size == 0 {
            return;
        }
        if !decodes {
            return;
        }
        let before = body.bytes.capacity();
        let note = undo_codings(body, max_body);
        let more = body.bytes.capacity().saturating_sub(before) as u64;
        core.budget.charge(more);
        self.charged += more;
        if let Some(note) = note {
            self.note(note);
        }
    }
}

/// Undoes the content codings of a body that has ended. Gives what is to be
/// said of it.
fn undo_codings(body: &mut Body, max_body: u64) -> Option<&'static str> {
    let whole = body.state == BodyState::Complete;
    let cap = usize::try_from(max_body).unwrap_or(usize::MAX);
    let Some(decoded) = decode(&body.encodings, &body.bytes, cap) else {
        body.state = BodyState::Undecodable;
        return Some("a body has a content coding that is not known");
    };
    let note = match decoded.outcome {
        Outcome::Whole if whole => {
            body.size = Some(decoded.bytes.len() as u64);
            None
        }
        Outcome::Whole => None,
        Outcome::Capped => {
            body.state = match body.state {
                BodyState::Complete => BodyState::Cut,
                state => state,
            };
            None
        }
        // Of a body that is cut the rest of the coding is not there.
        Outcome::Truncated if !whole => None,
        Outcome::Truncated | Outcome::Broken => {
            body.state = BodyState::Undecodable;
            if decoded.bytes.is_empty() {
                return Some("a body could not be decoded");
            }
            Some("of a body only the beginning could be decoded")
        }
    };
    body.bytes = decoded.bytes;
    note
}
