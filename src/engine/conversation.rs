//! A connection's two streams as a conversation: takes what reassembly gives
//! in order, reads messages out of it, and keeps the exchanges that are open.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::TlsFlows;
use super::core::Core;
use super::h2::H2;
use super::late::Late;
use super::open::Open;
use super::side::{Body, Side, State, Tunnel, Waiting};
use crate::event::{ConnectionInfo, Direction, MissingReason, Source, Timestamp};
use crate::exchange::{Role, State as Ending};
use crate::filter::Verdict;
use crate::flow::{Item, Origin, Piece};
use crate::http::start::Kind;

/// How long a response waits for its request, and a direction for an answer,
/// in nanoseconds.
pub(super) const PATIENCE: u64 = 200_000_000;

/// Bytes stored while a direction waits.
const WAITING_LIMIT: u64 = 256 << 10;

/// What a connection carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Not recognised yet.
    Unknown,
    /// HTTP/1.0 or 1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// TLS on a socket.
    Tls,
    /// None of these.
    Other,
}

impl Protocol {
    /// Whether the connection is left alone from now on.
    pub(super) fn is_muted(self) -> bool {
        matches!(self, Self::Tls | Self::Other)
    }
}

/// A conversation. Directions are those of the events; [`Self::outward`]
/// turns them into those that are shown.
pub(super) struct Conversation {
    pub(super) info: Arc<ConnectionInfo>,
    pub(super) protocol: Protocol,
    /// JSON `connection`; 0 before recognition.
    pub(super) number: u64,
    /// Local and peer were exchanged (see
    /// [`ConnectionInfo::perspective_unknown`]).
    pub(super) flipped: bool,
    /// The direction of the requests, once known.
    pub(super) requests: Option<Direction>,
    sides: [Side; 2],
    pub(super) queue: VecDeque<Open>,
    /// Reads both directions, once they are HTTP/2.
    pub(super) h2: Option<Box<H2>>,
    /// Its frames are written anew ([`crate::output::Http2::anew`]).
    pub(super) anew: bool,
    /// Events before recognition that look like frames of HTTP/2.
    pub(super) framed: u32,
    /// Frames of a WebSocket before recognition.
    pub(super) late: Option<Box<Late>>,
    /// It was one already when it was joined.
    pub(super) joined_websocket: bool,
    pub(super) ordinal: u64,
    /// The exchange after which the connection became something else.
    pub(super) tunnel: Option<u64>,
    pub(super) wire_given: bool,
    /// The capture was told to leave this connection alone.
    pub(super) muted: bool,
    /// How exchanges end that end now; `None` while the connection lasts.
    pub(super) ending: Option<Ending>,
    /// Bytes so far, in both directions.
    pub(super) bytes: u64,
    /// Bytes lost before recognition.
    early_lost: Vec<(MissingReason, u64)>,
}

/// A position in the bytes of an event.
pub(super) struct Cursor<'a> {
    /// Stream offset of `bytes`.
    pub(super) offset: u64,
    pub(super) origin: Origin<'a>,
    pub(super) bytes: &'a [u8],
    /// How far they were parsed.
    pub(super) pos: usize,
    /// How far they were handed over or need not be.
    pub(super) given: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.pos..).unwrap_or_default()
    }

    /// The next `n` bytes as an item.
    pub(super) fn item(&self, n: usize) -> Item<'a> {
        let rest = self.rest();
        Item {
            offset: self.offset.wrapping_add(self.pos as u64),
            origin: self.origin,
            piece: Piece::Bytes(rest.get(..n).unwrap_or(rest)),
        }
    }

    /// Passes over `n` bytes that are not handed over from here.
    pub(super) fn pass(&mut self, n: usize) {
        self.pos += n;
        self.given = self.pos;
    }
}

impl Conversation {
    pub(super) fn new(info: &ConnectionInfo) -> Self {
        Self {
            info: Arc::new(info.clone()),
            protocol: Protocol::Unknown,
            number: 0,
            flipped: false,
            requests: None,
            sides: [Side::new(info.from_start), Side::new(info.from_start)],
            queue: VecDeque::new(),
            h2: None,
            anew: false,
            framed: 0,
            late: None,
            joined_websocket: false,
            ordinal: 0,
            tunnel: None,
            wire_given: false,
            muted: false,
            ending: None,
            bytes: 0,
            early_lost: Vec::new(),
        }
    }

    pub(super) fn side(&mut self, direction: Direction) -> &mut Side {
        &mut self.sides[direction.index()]
    }

    pub(super) fn kind(&self, direction: Direction) -> Kind {
        match self.requests {
            None => Kind::Any,
            Some(d) if d == direction => Kind::Request,
            Some(_) => Kind::Response,
        }
    }

    /// The direction as it is shown.
    pub(super) fn outward(&self, direction: Direction) -> Direction {
        if self.flipped {
            direction.other()
        } else {
            direction
        }
    }

    pub(super) fn role(&self) -> Role {
        match self.requests.map(|d| self.outward(d)) {
            Some(Direction::Receive) => Role::Server,
            _ => Role::Client,
        }
    }

    pub(super) fn open(&mut self, ordinal: u64) -> Option<&mut Open> {
        self.queue
            .iter_mut()
            .find(|open| open.exchange.ordinal == ordinal)
    }

    /// Takes over facts that were unknown before.
    pub(super) fn learn(&mut self, info: &ConnectionInfo) {
        let (local, peer) = if self.flipped {
            (&info.peer, &info.local)
        } else {
            (&info.local, &info.peer)
        };
        let known = &self.info;
        let news = known.local.is_none() && local.is_some()
            || known.peer.is_none() && peer.is_some()
            || known.tls_library.is_none() && info.tls_library.is_some()
            || known.namespace == 0 && info.namespace != 0;
        if news {
            let known = Arc::make_mut(&mut self.info);
            known.local = known.local.take().or_else(|| local.clone());
            known.peer = known.peer.take().or_else(|| peer.clone());
            known.tls_library = known
                .tls_library
                .take()
                .or_else(|| info.tls_library.clone());
            if known.namespace == 0 {
                known.namespace = info.namespace;
            }
        }
    }

    /// Takes the next piece of a direction.
    pub(super) fn item(
        &mut self,
        core: &mut Core,
        direction: Direction,
        item: Item<'_>,
    ) -> io::Result<()> {
        let length = match item.piece {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::Gap { length, .. } => length,
            Piece::End => 0,
        };
        if length > 0 {
            if self.bytes == 0 {
                core.stats.connections += 1;
            }
            self.bytes = self.bytes.saturating_add(length);
            core.stats.bytes = core.stats.bytes.saturating_add(length);
        }
        if let Piece::Bytes(_) = item.piece {
            self.side(direction).last_byte = Some(item.origin.time);
        }
        if let Piece::Gap { length, reason } = item.piece {
            // Ciphertext and what was muted is not copied on purpose.
            let wanted = !self.muted
                && !matches!(
                    self.side(direction).state,
                    State::Tunnel(super::side::Tunnel::Tls)
                );
            match self.protocol {
                Protocol::Http1 | Protocol::Http2 if wanted => core.lose(reason, length),
                Protocol::Unknown => self.early_lost.push((reason, length)),
                _ => {}
            }
        }
        self.dispatch(core, direction, item)?;
        self.resume(core)
    }

    fn dispatch(
        &mut self,
        core: &mut Core,
        direction: Direction,
        item: Item<'_>,
    ) -> io::Result<()> {
        if self.protocol.is_muted() {
            return Ok(());
        }
        core.at = item.origin.time;
        if self.h2.is_some() {
            return self.h2_item(core, direction, item);
        }
        let side = self.side(direction);
        if side.waiting.is_some() {
            return self.store(core, direction, &item);
        }
        match item.piece {
            Piece::Bytes(bytes) => self.bytes(
                core,
                direction,
                Cursor {
                    offset: item.offset,
                    origin: item.origin,
                    bytes,
                    pos: 0,
                    given: 0,
                },
            ),
            Piece::Gap { length, reason } => {
                self.gap(core, direction, item.offset, &item.origin, length, reason)
            }
            Piece::End => self.end(core, direction, item.offset, &item.origin),
        }
    }

    fn bytes(
        &mut self,
        core: &mut Core,
        direction: Direction,
        mut cur: Cursor<'_>,
    ) -> io::Result<()> {
        while !cur.rest().is_empty() && !self.protocol.is_muted() {
            if self.h2.is_some() {
                let item = cur.item(usize::MAX);
                cur.pass(cur.rest().len());
                return self.h2_item(core, direction, item);
            }
            let side = self.side(direction);
            if side.waiting.is_some() {
                let item = cur.item(usize::MAX);
                cur.pass(cur.rest().len());
                return self.store(core, direction, &item);
            }
            match side.state {
                State::Head => self.head_bytes(core, direction, &mut cur)?,
                State::Search => self.search_bytes(core, direction, &mut cur)?,
                State::Body(_) => self.body_bytes(core, direction, &mut cur)?,
                State::MaybeBody(rest) => self.maybe_body(core, direction, &mut cur, rest)?,
                State::Tunnel(_) => self.tunnel_bytes(core, direction, &mut cur)?,
                State::Frames | State::Ended => cur.pass(cur.rest().len()),
            }
        }
        self.hand_over(core, direction, &mut cur)
    }

    /// Hands over what was parsed as part of the present message.
    pub(super) fn hand_over(
        &mut self,
        core: &mut Core,
        direction: Direction,
        cur: &mut Cursor<'_>,
    ) -> io::Result<()> {
        let from = cur.given;
        cur.given = cur.pos;
        let (Some(ordinal), Some(bytes)) = (
            self.side(direction).current,
            cur.bytes.get(from..cur.pos).filter(|b| !b.is_empty()),
        ) else {
            return Ok(());
        };
        let offset = cur.offset.wrapping_add(from as u64);
        let content = crate::output::Content::Bytes(bytes);
        self.wire(core, direction, ordinal, offset, &cur.origin, content)
    }

    /// Stores a piece for later. When there is no room, the wait is over.
    pub(super) fn store(
        &mut self,
        core: &mut Core,
        direction: Direction,
        item: &Item<'_>,
    ) -> io::Result<()> {
        let now = core.now;
        let side = self.side(direction);
        if side.store.is_empty()
            && let Some((Waiting::ForResponse, since)) = &mut side.waiting
        {
            *since = now;
        }
        side.store.push(item);
        let cost = side.store.cost();
        let more = cost.saturating_sub(side.charged);
        side.charged = cost.max(side.charged);
        core.budget.charge(more);
        if side.store.cost() > WAITING_LIMIT || core.budget.room() == 0 {
            self.release(direction);
        }
        Ok(())
    }

    /// Ends a direction's wait.
    pub(super) fn release(&mut self, direction: Direction) {
        let side = self.side(direction);
        side.orphan_allowed |= matches!(side.waiting, Some((Waiting::ForRequest, _)));
        side.resume = side.waiting.is_some();
    }

    /// Ends the waits that have lasted too long.
    pub(super) fn expire(&mut self, core: &mut Core, now: Timestamp) -> io::Result<()> {
        for direction in [Direction::Send, Direction::Receive] {
            let side = self.side(direction);
            if side.waiting.is_some_and(|(_, since)| {
                now.nanos_since(since) >= PATIENCE && !side.store.is_empty()
            }) {
                self.release(direction);
            }
        }
        self.h2_expire(core)?;
        self.resume(core)
    }

    /// Gives out an exchange that has not ended, if it is wanted by now.
    pub(super) fn pending(&mut self, core: &mut Core, ordinal: u64) -> io::Result<()> {
        let key = self.info.key;
        let open = match &self.h2 {
            Some(h2) => h2.pending(ordinal),
            None => self.open(ordinal).map(|open| &*open),
        };
        let Some(open) = open.filter(|open| open.lasts()) else {
            return Ok(());
        };
        match open.verdict {
            Verdict::Keep => core.give_pending(&open.exchange)?,
            Verdict::Undecided => core.await_verdict(key, ordinal),
            Verdict::Drop | Verdict::Lacks => {}
        }
        Ok(())
    }

    /// Whether something waits for time to pass.
    pub(super) fn is_waiting(&self) -> bool {
        self.h2.as_ref().is_some_and(|h2| h2.is_waiting())
            || self
                .sides
                .iter()
                .any(|s| s.waiting.is_some() && !s.store.is_empty())
    }

    /// Looks again at what is stored in directions whose wait is over.
    pub(super) fn resume(&mut self, core: &mut Core) -> io::Result<()> {
        while let Some(direction) = [Direction::Send, Direction::Receive]
            .into_iter()
            .find(|d| self.sides[d.index()].resume)
        {
            let side = self.side(direction);
            side.resume = false;
            let waited = side.waiting.take();
            let mut store = std::mem::take(&mut side.store);
            core.budget.give(std::mem::take(&mut side.charged));
            side.scanned = 0;
            if let Some((Waiting::ForResponse, _)) = waited {
                self.guess_upgrade(&store.bytes, direction);
            }
            store.replay(|item| self.dispatch(core, direction, item))?;
            let side = self.side(direction);
            if side.store.is_empty() && side.store.bytes.is_empty() {
                store.clear();
                side.store = store;
            }
        }
        Ok(())
    }

    /// The answer to a request that may upgrade the connection did not come
    /// before more bytes did: they are the next request if they look so.
    fn guess_upgrade(&mut self, bytes: &[u8], direction: Direction) {
        use crate::http::start::{Start, classify};
        if self.tunnel.is_none() && classify(bytes, Kind::Request) == Start::No {
            self.side(direction).state = State::Tunnel(Tunnel::New);
            self.tunnel = self.queue.back().map(|open| open.exchange.ordinal);
        }
    }

    /// The connection turned out to be no HTTP.
    pub(super) fn mute(&mut self, core: &mut Core, protocol: Protocol) {
        self.protocol = protocol;
        if protocol != Protocol::Tls || core.config.tls_flows == TlsFlows::No {
            self.mute_capture(core);
        }
        self.drop_late(core);
        for side in &mut self.sides {
            core.budget.give(std::mem::take(&mut side.charged));
            side.store = Default::default();
        }
        if protocol == Protocol::Tls {
            // What is read of it comes as a connection of its own.
            core.stats.tls_connections += 1;
            core.stats.connections = core.stats.connections.saturating_sub(1);
        } else {
            core.stats.other_bytes = core.stats.other_bytes.saturating_add(self.bytes);
        }
    }

    /// Tells the capture that no more bytes of this connection are needed.
    pub(super) fn mute_capture(&mut self, core: &mut Core) {
        if !self.muted {
            self.muted = true;
            core.muted.push(self.info.key);
        }
    }

    /// A first whole head was seen, with requests going in `requests`.
    pub(super) fn recognise(&mut self, core: &mut Core, requests: Direction) {
        if self.protocol != Protocol::Unknown {
            return;
        }
        self.protocol = Protocol::Http1;
        self.drop_late(core);
        self.requests = Some(requests);
        core.stats.http_connections += 1;
        self.number = core.number(self.info.number);
        if self.info.perspective_unknown && requests == Direction::Receive {
            self.flipped = true;
            let info = Arc::make_mut(&mut self.info);
            std::mem::swap(&mut info.local, &mut info.peer);
        }
        for (reason, bytes) in std::mem::take(&mut self.early_lost) {
            core.lose(reason, bytes);
        }
        let passed: u64 = self.sides.iter().map(|s| s.passed).sum();
        core.stats.other_bytes = core.stats.other_bytes.saturating_add(passed);
    }

    /// Counts bytes that are passed over in a search.
    pub(super) fn pass_over(&mut self, core: &mut Core, direction: Direction, bytes: u64) {
        let known = self.protocol != Protocol::Unknown;
        let side = self.side(direction);
        match side.search_reason {
            _ if !known => side.passed = side.passed.saturating_add(bytes),
            Some(reason) => core.lose(reason, bytes),
            None => core.stats.other_bytes = core.stats.other_bytes.saturating_add(bytes),
        }
    }

    /// The scheme that a request has if it does not say.
    pub(super) fn scheme(&self) -> &'static str {
        if self.info.key.source.is_tls() {
            "https"
        } else {
            "http"
        }
    }

    /// Whether TLS on this connection would be a socket's.
    pub(super) fn is_socket(&self) -> bool {
        self.info.key.source == Source::Tcp
    }

    /// Ends everything: no more pieces come. `offsets` are the positions that
    /// the two streams have reached.
    pub(super) fn close(
        &mut self,
        core: &mut Core,
        ending: Ending,
        offsets: [u64; 2],
        origin: &Origin<'_>,
    ) -> io::Result<()> {
        self.ending = Some(ending);
        if self.h2.is_some() {
            return self.h2_close(core, ending, offsets, origin);
        }
        // Each round reads at least one message of what is stored.
        while self.sides.iter().any(|s| s.waiting.is_some()) {
            for direction in [Direction::Send, Direction::Receive] {
                self.release(direction);
            }
            self.resume(core)?;
        }
        if self.protocol == Protocol::Unknown {
            core.stats.other_bytes = core.stats.other_bytes.saturating_add(self.bytes);
        }
        for direction in [Direction::Send, Direction::Receive] {
            let until_close = matches!(self.side(direction).state, State::Body(Body::UntilClose));
            if until_close && ending == Ending::Closed {
                self.message_done(core, direction, origin.time)?;
            }
            self.abandon(core, direction, origin.time)?;
        }
        while !self.queue.is_empty() {
            self.finish(core, 0)?;
        }
        if ending == Ending::Reset {
            self.give_reset(core, offsets, origin)?;
        } else {
            self.give_all_ends(core, offsets, origin, ending == Ending::Open)?;
        }
        self.drop_late(core);
        for side in &mut self.sides {
            core.budget.give(std::mem::take(&mut side.charged));
        }
        Ok(())
    }
}
