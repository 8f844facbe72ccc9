//! Reading heads: recognition, requests, responses.

use std::io;

use super::conversation::{Conversation, Cursor, Protocol};
use super::core::Core;
use super::h2::Begin;
use super::open::{Open, Part};
use super::side::{Body, State, Waiting};
use crate::event::{Direction, Timestamp};
use crate::exchange::{Exchange, Interim, Response, State as Ending, Times, Upgrade};
use crate::filter::Verdict;
use crate::flow::{Origin, Piece};
use crate::http::h2;
use crate::http::head::{self, HEAD_LIMIT, Head};
use crate::http::start::{self, Kind, Start};
use crate::output::Content as WireContent;

/// Requests without a response on one connection.
const PIPELINE_LIMIT: usize = 1024;

/// Bytes that are copied at a time where the end of what is sought is not
/// known.
pub(super) const STRIDE: usize = 4096;

/// What a whole head led to.
pub(super) enum Outcome {
    /// A message began; its head masked, if it was.
    Message(Option<Vec<u8>>),
    /// It has to wait.
    Wait,
    /// It is the preface of HTTP/2.
    Http2,
    /// It is no head.
    Malformed,
}

impl Conversation {
    /// Bytes between messages or in a head.
    pub(super) fn head_bytes(
        &mut self,
        core: &mut Core,
        direction: Direction,
        cur: &mut Cursor<'_>,
    ) -> io::Result<()> {
        let kind = self.kind(direction);
        let side = self.side(direction);
        if !side.store.is_empty() {
            return self.stored_head(core, direction, cur);
        }
        cur.pass(head::empty_lines(cur.rest()));
        let rest = cur.rest();
        if rest.is_empty() {
            return Ok(());
        }
        let mut scanned = 0;
        let Some(end) = head::find_end(rest, &mut scanned) else {
            if let Some(protocol) = judge_start(rest, kind) {
                return self.bad_start(core, direction, cur, protocol);
            }
            side.scanned = scanned;
            side.store.push(&cur.item(usize::MAX));
            cur.pass(rest.len());
            return self.charge(core, direction);
        };
        match self.head(
            core,
            direction,
            rest.get(..end).unwrap_or(rest),
            &cur.origin,
        )? {
            Outcome::Message(masked) => {
                if let Some(masked) = masked {
                    let offset = cur.offset.wrapping_add(cur.pos as u64);
                    self.wire_current(core, direction, offset, &cur.origin, &masked)?;
                    cur.pass(end);
                } else {
                    cur.pos += end;
                }
                self.after_head(core, direction, cur)
            }
            Outcome::Wait => Ok(()),
            Outcome::Http2 => self.begin_h2(core, direction, Begin::Start),
            Outcome::Malformed => self.bad_start(core, direction, cur, Protocol::Other),
        }
    }

    /// As [`Self::head_bytes`], when the first part of the head is stored.
    pub(super) fn stored_head(
        &mut self,
        core: &mut Core,
        direction: Direction,
        cur: &mut Cursor<'_>,
    ) -> io::Result<()> {
        let kind = self.kind(direction);
        while !cur.rest().is_empty() {
            let side = self.side(direction);
            let before = side.store.bytes.len();
            let item = cur.item(STRIDE);
            let Piece::Bytes(added) = item.piece else {
                return Ok(());
            };
            side.store.bytes.extend_from_slice(added);
            if let Some(end) = head::find_end(&side.store.bytes, &mut side.scanned) {
                return self.stored_head_end(core, direction, cur, before, end);
            }
            side.store.mark(&item);
            cur.pass(added.len());
            let bad = if before < 64 || added.contains(&b'\n') {
                judge_start(&side.store.bytes, kind)
            } else {
                None
            };
            if bad.is_some() || side.store.bytes.len() > HEAD_LIMIT {
                let protocol = bad.unwrap_or(Protocol::Other);
                return self.bad_start(core, direction, cur, protocol);
            }
            self.charge(core, direction)?;
            if self.side(direction).store.is_empty() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The head ends at `end` of what is stored, of which all but the first
    /// `before` bytes are the next of this event and not marked yet.
    pub(super) fn stored_head_end(
        &mut self,
        core: &mut Core,
        direction: Direction,
        cur: &mut Cursor<'_>,
        before: usize,
        end: usize,
    ) -> io::Result<()> {
        let mut store = std::mem::take(&mut self.side(direction).store);
        store.bytes.truncate(end);
        let used = end.saturating_sub(before);
        let first = store.segments.first().map(|s| s.origin.clone());
        let origin = first.as_ref().map_or(cur.origin, |o| o.get());
        let outcome = self.head(core, direction, &store.bytes, &origin)?;
        let Outcome::Message(masked) = outcome else {
            if self.protocol.is_muted() {
                return Ok(());
            }
            store.mark(&cur.item(used));
            cur.pass(used);
            self.side(direction).store = store;
            return match outcome {
                Outcome::Http2 => self.begin_h2(core, direction, Begin::Start),
                Outcome::Malformed => self.bad_start(core, direction, cur, Protocol::Other),
                _ => self.charge(core, direction),
            };
        };
        let is_masked = masked.is_some();
        if let Some(masked) = masked {
            store.bytes = masked;
        }
        store.replay(|item| match item.piece {
            Piece::Bytes(bytes) => {
                self.wire_current(core, direction, item.offset, &item.origin, bytes)
            }
            _ => Ok(()),
        })?;
        // This event's part goes by borrow with what follows the head.
        if is_masked {
            let offset = cur.offset.wrapping_add(cur.pos as u64);
            let part = store.bytes.get(before..).unwrap_or_default();
            self.wire_current(core, direction, offset, &cur.origin, part)?;
            cur.pass(used);
        } else {
            cur.pos += used;
        }
        self.recycle(core, direction, store);
        self.after_head(core, direction, cur)
    }

    /// Empties a store, keeping its memory for the next.
    pub(super) fn recycle(
        &mut self,
        core: &mut Core,
        direction: Direction,
        mut store: super::side::Store,
    ) {
        store.clear();
        let side = self.side(direction);
        side.scanned = 0;
        side.store = store;
        core.budget.give(std::mem::take(&mut side.charged));
    }

    /// Counts what is stored against the bound; without room for it, it is
    /// passed over.
    pub(super) fn charge(&mut self, core: &mut Core, direction: Direction) -> io::Result<()> {
        let side = self.side(direction);
        let cost = side.store.cost();
        let more = cost.saturating_sub(side.charged);
        if core.budget.take(more) {
            side.charged += more;
            return Ok(());
        }
        let lost = side.store.bytes.len() as u64;
        let store = std::mem::take(&mut side.store);
        side.state = State::Search;
        side.lossy = true;
        side.waiting = None;
        self.recycle(core, direction, store);
        core.lose(crate::event::MissingReason::MemoryLimit, lost);
        Ok(())
    }

    pub(super) fn wire_current(
        &mut self,
        core: &mut Core,
        direction: Direction,
        offset: u64,
        origin: &Origin<'_>,
        bytes: &[u8],
    ) -> io::Result<()> {
        match self.side(direction).current {
            Some(ordinal) => self.wire(
                core,
                direction,
                ordinal,
                offset,
                origin,
                WireContent::Bytes(bytes),
            ),
            None => Ok(()),
        }
    }

    pub(super) fn after_head(
        &mut self,
        core: &mut Core,
        direction: Direction,
        cur: &mut Cursor<'_>,
    ) -> io::Result<()> {
        if matches!(self.side(direction).state, State::Body(Body::Length(0))) {
            self.hand_over(core, direction, cur)?;
            self.message_done(core, direction, cur.origin.time)?;
        }
        Ok(())
    }

    /// A whole head.
    pub(super) fn head(
        &mut self,
        core: &mut Core,
        direction: Direction,
        bytes: &[u8],
        origin: &Origin<'_>,
    ) -> io::Result<Outcome> {
        match start::classify(bytes, self.kind(direction)) {
            Start::Request => self.request_head(core, direction, bytes, origin),
            Start::Response => self.response_head(core, direction, bytes, origin),
            Start::Http2 => {
                // Whoever called has what came before.
                Ok(Outcome::Http2)
            }
            _ => Ok(Outcome::Malformed),
        }
    }

    pub(super) fn new_open(&mut self, origin: &Origin<'_>) -> Open {
        self.ordinal += 1;
        let mut open = Open::new(Exchange {
            connection: self.number,
            ordinal: self.ordinal,
            stream: None,
            role: self.role(),
            state: Ending::Open,
            process: origin.process.cloned(),
            tid: origin.tid,
            thread: origin.thread.to_vec(),
            info: self.info.clone(),
            request: None,
            response: None,
            interim: Vec::new(),
            times: Times::default(),
            lost_bytes: 0,
            upgraded_to: None,
            tunnel_bytes: [0; 2],
            messages: None,
            notes: Vec::new(),
        });
        if self.ordinal == 1 && !self.info.from_start {
            open.note("joined in mid-connection");
        }
        open
    }

    pub(super) fn request_head(
        &mut self,
        core: &mut Core,
        direction: Direction,
        bytes: &[u8],
        origin: &Origin<'_>,
    ) -> io::Result<Outcome> {
        let scheme = self.scheme();
        let Ok(parsed) = head::request(bytes, scheme) else {
            return Ok(Outcome::Malformed);
        };
        self.recognise(core, direction);
        while self.queue.len() >= PIPELINE_LIMIT {
            if let Some(open) = self.queue.front_mut() {
                open.note("response not seen");
            }
            self.finish(core, 0)?;
        }
        let Head {
            message,
            facts,
            lenient,
        } = parsed;
        let (framing, contradictory) = facts.request_framing();
        let connect = message.method == b"CONNECT";
        let mut open = self.new_open(origin);
        // Joined within a call that receives, its bytes are missing too.
        open.after_loss = self.side(direction).lossy || !self.info.from_start;
        open.expects_continue = facts.expects_continue;
        open.may_upgrade = connect || facts.upgrade.is_some();
        open.exchange.times.request_start = Some(origin.time);
        if contradictory {
            open.note("contradictory message length");
        }
        if lenient {
            open.note("malformed header fields left out");
        }
        open.exchange.request = Some(message);
        open.judge(core, false);
        let masked = mask(core, bytes, true);
        if let Some(masked) = &masked
            && let Ok(Head { message, .. }) = head::request(masked, scheme)
        {
            let plain = open.exchange.request.replace(message);
            if open.verdict == Verdict::Undecided {
                open.plain = plain.map(Box::new);
            }
        }
        open.watch(core, Part::Request);
        let cost = bytes.len() as u64 + 512;
        core.budget.charge(cost);
        open.charged += cost;
        let framing = if connect {
            Body::Length(0)
        } else {
            framing.into()
        };
        let ordinal = open.exchange.ordinal;
        let keep = open.verdict == Verdict::Keep;
        self.queue.push_back(open);
        let side = self.side(direction);
        side.current = Some(ordinal);
        side.state = State::Body(framing);
        side.lossy = false;
        let other = self.side(direction.other());
        if matches!(other.waiting, Some((Waiting::ForRequest, _))) {
            other.resume = true;
        }
        if keep && let Some(open) = self.queue.back() {
            core.request(&open.exchange)?;
        }
        if open_is_wanted(self.queue.back()) {
            core.await_response(self.info.key, ordinal);
        }
        Ok(Outcome::Message(masked))
    }

    pub(super) fn response_head(
        &mut self,
        core: &mut Core,
        direction: Direction,
        bytes: &[u8],
        origin: &Origin<'_>,
    ) -> io::Result<Outcome> {
        let Ok(Head {
            message,
            facts,
            lenient,
        }) = head::response(bytes)
        else {
            return Ok(Outcome::Malformed);
        };
        self.recognise(core, direction.other());
        let Some(index) = self.partner(core, direction, origin)? else {
            let now = core.now;
            self.side(direction).waiting = Some((Waiting::ForRequest, now));
            return Ok(Outcome::Wait);
        };
        let masked = mask(core, bytes, true);
        let message = match masked.as_deref().map(head::response) {
            Some(Ok(parsed)) => parsed.message,
            _ => message,
        };
        let cost = bytes.len() as u64 + 256;
        core.budget.charge(cost);
        let Some(open) = self.queue.get_mut(index) else {
            return Ok(Outcome::Malformed);
        };
        open.charged += cost;
        if lenient {
            open.note("malformed header fields left out");
        }
        let ordinal = open.exchange.ordinal;
        let status = message.status;
        let method = open.exchange.request.as_ref().map(|r| r.method.as_slice());
        let connected = method == Some(b"CONNECT") && (200..300).contains(&status);
        let (framing, contradictory) = facts.response_framing(status, method);
        if contradictory {
            open.note("contradictory message length");
        }
        if status == 100 {
            open.expects_continue = false;
        }
        let mut framing = framing;
        if status < 200 && status != 101 {
            add_interim(open, message);
        } else {
            if connected || status == 101 {
                framing = crate::http::framing::Framing::Length(0);
                let upgrade = if connected {
                    Some(Upgrade::Tunnel)
                } else {
                    facts.upgrade
                };
                open.exchange.upgraded_to = Some(upgrade.unwrap_or(Upgrade::Tunnel));
                self.tunnel = Some(ordinal);
            }
            set_response(open, message, origin.time);
            let orphan = open.exchange.request.is_none();
            open.exchange.info = self.info.clone();
            open.judge(core, orphan);
            open.watch(core, Part::Response);
            self.flush_wire(core)?;
        }
        let side = self.side(direction);
        side.current = Some(ordinal);
        side.state = State::Body(framing.into());
        side.lossy = false;
        side.orphan_allowed = false;
        Ok(Outcome::Message(masked))
    }

    /// The place in the queue of the exchange that a response belongs to.
    pub(super) fn partner(
        &mut self,
        core: &mut Core,
        direction: Direction,
        origin: &Origin<'_>,
    ) -> io::Result<Option<usize>> {
        // One that was begun by an interim response goes on.
        let begun =
            |open: &Open| open.exchange.request.is_none() && open.exchange.response.is_none();
        if let Some(index) = self.queue.iter().position(begun) {
            return Ok(Some(index));
        }
        let lossy = self.side(direction).lossy;
        let fits = |open: &Open| {
            !open.response_done
                && open.exchange.response.is_none()
                && !(open.after_loss && open.exchange.times.request_start > Some(origin.time))
        };
        if lossy {
            // Responses may have been lost: without pipelining this one is
            // that of the last request before it.
            let before = |o: &Open| fits(o) && o.exchange.times.request_start <= Some(origin.time);
            if let Some(last) = self.queue.iter().rposition(before) {
                let mut left = last;
                while left > 0 {
                    if let Some(open) = self.queue.front_mut() {
                        open.note("response not seen");
                    }
                    self.finish(core, 0)?;
                    left -= 1;
                }
                return Ok(Some(0));
            }
        }
        if let Some(index) = self.queue.iter().position(fits) {
            return Ok(Some(index));
        }
        if !self.side(direction).orphan_allowed {
            return Ok(None);
        }
        let mut open = self.new_open(origin);
        open.request_done = true;
        open.note("request not seen");
        // Those that still wait for a response get a later one.
        let index = self
            .queue
            .iter()
            .position(|open| open.exchange.response.is_none())
            .unwrap_or(self.queue.len());
        self.queue.insert(index, open);
        Ok(Some(index))
    }
}

fn open_is_wanted(open: Option<&Open>) -> bool {
    open.is_some_and(Open::is_wanted)
}

fn add_interim(open: &mut Open, message: Response) {
    /// Interim responses kept of one exchange.
    const LIMIT: usize = 64;
    if open.exchange.interim.len() < LIMIT {
        open.exchange.interim.push(Interim {
            status: message.status,
            headers: message.headers,
        });
    }
}

fn set_response(open: &mut Open, mut message: Response, start: Timestamp) {
    message.interim = std::mem::take(&mut open.exchange.interim);
    open.exchange.times.response_start = Some(start);
    open.exchange.response = Some(message);
}

/// What a connection is whose direction begins so, if that is no HTTP/1.
fn judge_start(bytes: &[u8], kind: Kind) -> Option<Protocol> {
    match start::classify(bytes, kind) {
        Start::No if kind == Kind::Any => match h2::server_start(bytes) {
            Some(false) => Some(Protocol::Other),
            Some(true) => Some(Protocol::Http2),
            None => None,
        },
        Start::No => Some(Protocol::Other),
        Start::Tls => Some(Protocol::Tls),
        Start::Http2 => Some(Protocol::Http2),
        Start::Maybe | Start::Request | Start::Response => None,
    }
}

/// A copy of `head` with its secrets masked; `None` if there are none.
pub(super) fn mask(core: &Core, head: &[u8], start_line: bool) -> Option<Vec<u8>> {
    let redact = core.config.redact.as_ref()?;
    let spans = redact.spans(head, start_line);
    if spans.is_empty() {
        return None;
    }
    let mut masked = head.to_vec();
    for span in spans {
        if let Some(secret) = masked.get_mut(span) {
            secret.fill(b'*');
        }
    }
    Some(masked)
}
