//! HTTP/2 connections: frames in, exchanges out (RFC 9113).
//!
//! ```text
//! Conversation ─▶ Reader (one a direction) ─▶ Stream ─▶ Open (exchange) ─▶ Sink
//!   bytes, gaps    frames, HPACK               by id     filter, bodies
//! ```
//!
//! Neither end is believed: lengths allocate nothing ahead, flow control is
//! ignored, streams are bounded in number, header sections in size. What a
//! gap takes away is noticed where it matters: in a body, in a header section
//! (whose insertions into the table are then unknown), or between frames,
//! where the next frame is looked for.

mod heads;
mod reader;
mod streams;
mod wire;

use std::collections::VecDeque;
use std::io;

use rustc_hash::FxHashMap;

use self::reader::{Reader, State};
use self::streams::Stream;
use self::wire::Out;
use super::conversation::{Conversation, Protocol};
use super::core::Core;
use super::side;
use crate::event::{Direction, Timestamp};
use crate::exchange::{Exchange, Request, State as Ending};
use crate::filter::Verdict;
use crate::flow::{Item, Origin, Piece};
use crate::http::h2::{Found, PREFACE, Wanted, find};

/// Streams that have ended and are remembered, so that what comes late for
/// them does not look like a new one.
const REMEMBERED: usize = 128;

/// Bytes that are decoded in search of a header section, for each event.
const JOIN_WORK: usize = 16 << 10;

/// How a connection is known to be HTTP/2.
pub(super) enum Begin {
    /// By its first bytes.
    Start,
    /// By a header section in its midst.
    Midst,
    /// By an upgrade of HTTP/1.1; the request is the first stream's.
    Upgrade(Option<Box<Upgraded>>),
}

/// The exchange whose request was that of an upgrade.
pub(super) struct Upgraded {
    pub(super) exchange: Exchange,
    /// The request as it was before masking, while the filter needs it.
    pub(super) plain: Option<Box<Request>>,
}

/// The state of a connection.
pub(super) struct H2 {
    readers: [Reader; 2],
    streams: FxHashMap<u32, Box<Stream>>,
    /// Streams whose response is whole and whose request was not seen, and
    /// since when.
    lingering: VecDeque<(Timestamp, u32)>,
    /// The highest identifiers seen, of even and of odd streams.
    highest: [u32; 2],
    /// Streams may exist whose beginning was not seen.
    lossy: bool,
    ended: VecDeque<u32>,
    /// GOAWAY frames so far.
    go_aways: u32,
    out: Out,
}

impl H2 {
    fn new(begin: &Begin, requests: Direction, rewrite: bool, whole: bool) -> Self {
        let from_start = !matches!(begin, Begin::Midst);
        let reader = |direction: Direction| {
            Reader::new(match begin {
                Begin::Midst => State::Search,
                _ if direction == requests => State::Preface(0),
                _ => State::Frame,
            })
        };
        Self {
            readers: [reader(Direction::Send), reader(Direction::Receive)],
            streams: FxHashMap::default(),
            lingering: VecDeque::new(),
            highest: [0; 2],
            lossy: !from_start || !whole,
            ended: VecDeque::new(),
            go_aways: 0,
            out: Out::new(rewrite || !from_start),
        }
    }

    fn remember(&mut self, id: u32) {
        if self.ended.len() >= REMEMBERED {
            self.ended.pop_front();
        }
        self.ended.push_back(id);
    }

    /// Whether a stream that is not known may begin now.
    fn may_begin(&self, id: u32) -> bool {
        let newer = id > self.highest[(id & 1) as usize];
        newer || self.lossy && !self.ended.contains(&id)
    }

    /// The exchange of a stream, if it is wanted and has not ended.
    pub(super) fn pending(&self, id: u64) -> Option<&Exchange> {
        let stream = self.streams.get(&u32::try_from(id).ok()?)?;
        let open = &stream.open;
        // The identifier may be that of another stream by now, if some were lost.
        let asked = open.exchange.request.is_some();
        let wanted = open.verdict == Verdict::Keep && open.lasts() && asked;
        wanted.then_some(&open.exchange)
    }

    /// Ends that are not handed over yet come after all that was written anew.
    fn move_ends(&self, conv: &mut Conversation) {
        for direction in [Direction::Send, Direction::Receive] {
            if let Some((offset, _)) = &mut conv.side(direction).end {
                *offset = self.out.offset_at(direction, *offset);
            }
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.lingering.is_empty()
    }
}

impl Conversation {
    /// From here on both directions are HTTP/2. What is stored of them is read
    /// as that.
    pub(super) fn begin_h2(
        &mut self,
        core: &mut Core,
        requests: Direction,
        begin: Begin,
    ) -> io::Result<()> {
        if self.h2.is_some() {
            return Ok(());
        }
        core.stats.http2_connections += 1;
        self.recognise(core, requests);
        self.protocol = Protocol::Http2;
        let rewrite = core.config.redact.is_some() || !core.config.filter.is_empty();
        // In a file of ours there is a preface even where the run joined late,
        // and streams begin in the order in which the filter decided.
        let whole = self.info.from_start && self.info.number.is_none();
        self.anew = rewrite || matches!(begin, Begin::Midst);
        let mut h2 = H2::new(&begin, requests, rewrite, whole);
        if let Begin::Upgrade(Some(request)) = begin {
            h2.upgraded(self, core, *request)?;
        }
        self.h2 = Some(Box::new(h2));
        for direction in [requests, requests.other()] {
            let side = self.side(direction);
            side.waiting = None;
            side.resume = false;
            side.scanned = 0;
            side.current = None;
            let store = std::mem::take(&mut side.store);
            let ended = side.has_ended();
            if !ended {
                side.state = side::State::Frames;
            }
            core.budget.give(std::mem::take(&mut side.charged));
            store.replay(|item| self.h2_item(core, direction, item))?;
        }
        Ok(())
    }

    /// Looks for HTTP/2 in what is stored of a connection that was joined in
    /// its midst, from the byte `from` on. Gives how many of the bytes are of
    /// no use, or `None` when it has begun.
    pub(super) fn join_h2(
        &mut self,
        core: &mut Core,
        direction: Direction,
        from: usize,
    ) -> io::Result<Option<usize>> {
        let side = self.side(direction);
        let bytes = side.store.bytes.get(from..).unwrap_or_default();
        let (at, requests, begin) = match memchr::memmem::find(bytes, PREFACE) {
            Some(at) => (at, direction, Begin::Start),
            None => match find(bytes, Wanted::Any, &|_| false, &mut { JOIN_WORK }) {
                Found::Request(at) => (at, direction, Begin::Midst),
                Found::Response(at) => (at, direction.other(), Begin::Midst),
                Found::Frame(useless) | Found::Nothing(useless) => {
                    return Ok(Some(from + useless));
                }
            },
        };
        let at = from + at;
        side.store.drop_front(at);
        self.pass_over(core, direction, at as u64);
        self.begin_h2(core, requests, begin)?;
        Ok(None)
    }

    /// Takes the next piece of a direction.
    pub(super) fn h2_item(
        &mut self,
        core: &mut Core,
        direction: Direction,
        item: Item<'_>,
    ) -> io::Result<()> {
        let Some(mut h2) = self.h2.take() else {
            return Ok(());
        };
        let result = match item.piece {
            Piece::Bytes(bytes) => h2.bytes(self, core, direction, &item, bytes),
            Piece::Gap { length, reason } => h2.gap(self, core, direction, &item, length, reason),
            Piece::End => h2.end(self, core, direction, &item),
        };
        self.h2 = Some(h2);
        result
    }

    /// Ends the waits of HTTP/2 that have lasted too long.
    pub(super) fn h2_expire(&mut self, core: &mut Core, now: Timestamp) -> io::Result<()> {
        let Some(mut h2) = self.h2.take() else {
            return Ok(());
        };
        let result = h2.expire(self, core, now);
        self.h2 = Some(h2);
        result
    }

    /// Ends all streams; no more pieces come.
    pub(super) fn h2_close(
        &mut self,
        core: &mut Core,
        ending: Ending,
        positions: [u64; 2],
        origin: &Origin<'_>,
    ) -> io::Result<()> {
        let Some(mut h2) = self.h2.take() else {
            return Ok(());
        };
        h2.finish_all(self, core)?;
        h2.move_ends(self);
        let offsets = h2.out.offsets_or(positions);
        if ending == Ending::Reset {
            self.give_reset(core, offsets, origin)
        } else {
            self.give_all_ends(core, offsets, origin, ending == Ending::Open)
        }
    }
}
