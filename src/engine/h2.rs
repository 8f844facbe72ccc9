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

mod anew;
mod data;
mod ended;
mod gaps;
mod heads;
mod reader;
mod sections;
mod stream;
mod streams;
mod turn;
mod wire;

use std::io;

use self::reader::{Reader, State};
use self::streams::Streams;
use self::turn::Turn;
use self::wire::Out;
use super::conversation::{Conversation, Protocol};
use super::core::Core;
use super::open::Open;
use super::side;
use crate::event::Direction;
use crate::exchange::{Exchange, Request, State as Ending};
use crate::flow::{Item, Origin, Piece};
use crate::http::h2::{Found, PREFACE, Wanted, find};

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
    streams: Streams,
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
            streams: Streams::new(!from_start || !whole),
            out: Out::new(rewrite || !from_start),
        }
    }

    /// The exchange of a stream that has asked for something.
    pub(super) fn pending(&self, id: u64) -> Option<&Open> {
        self.streams.pending(id)
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.streams.is_waiting()
    }

    /// Takes the next piece of a direction.
    fn item(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        item: &Item<'_>,
    ) -> io::Result<()> {
        let streams = &mut self.streams;
        let reader = &mut self.readers[direction.index()];
        let mut turn = Turn::new(conv, core, &mut self.out, direction, item.origin);
        match item.piece {
            Piece::Bytes(bytes) => {
                turn.out.arrive(direction, item.offset);
                reader.bytes(streams, &mut turn, bytes)?;
                turn.copy_bytes(item.offset, bytes, reader.at_boundary())?;
                reader.charge(&mut turn);
                if let Some(size) = reader.table_size.take() {
                    let other = &mut self.readers[direction.other().index()];
                    other.hpack.set_limit(size);
                }
                Ok(())
            }
            Piece::Gap { length, reason } => {
                reader.gap(streams, &mut turn, item.offset, length, reason)
            }
            Piece::End => {
                reader.end(streams, &mut turn)?;
                self.end(conv, core, direction, item)
            }
        }
    }

    /// A direction has ended.
    fn end(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        item: &Item<'_>,
    ) -> io::Result<()> {
        let side = conv.side(direction);
        side.state = side::State::Ended;
        let offset = self.out.offset_at(direction, item.offset);
        side.end = Some((offset, item.origin.to_owned()));
        if self.readers.iter().all(Reader::has_ended) {
            self.finish_all(conv, core, &item.origin)?;
        }
        if self.streams.is_empty() {
            self.move_ends(conv);
            conv.give_ends(core)?;
        }
        Ok(())
    }

    /// A turn of what nobody sent.
    fn turn<'a>(
        out: &'a mut Out,
        conv: &'a mut Conversation,
        core: &'a mut Core,
        origin: Origin<'a>,
    ) -> Turn<'a> {
        let direction = conv.requests.unwrap_or(Direction::Send);
        Turn::new(conv, core, out, direction, origin)
    }

    /// Gives out all exchanges, and what the readers hold.
    fn finish_all(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        origin: &Origin<'_>,
    ) -> io::Result<()> {
        let mut turn = Self::turn(&mut self.out, conv, core, *origin);
        self.streams.finish_all(&mut turn)?;
        for reader in &mut self.readers {
            reader.discharge(core);
        }
        Ok(())
    }

    /// Ends that are not handed over yet come after all that was written anew.
    fn move_ends(&self, conv: &mut Conversation) {
        for direction in [Direction::Send, Direction::Receive] {
            if let Some((offset, _)) = &mut conv.side(direction).end {
                *offset = self.out.offset_at(direction, *offset);
            }
        }
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
            let origin = Origin::nobody(core.now);
            let mut turn = H2::turn(&mut h2.out, self, core, origin);
            h2.streams.upgraded(&mut turn, *request)?;
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
        let result = h2.item(self, core, direction, &item);
        self.h2 = Some(h2);
        result
    }

    /// Ends the waits of HTTP/2 that have lasted too long.
    pub(super) fn h2_expire(&mut self, core: &mut Core) -> io::Result<()> {
        let Some(mut h2) = self.h2.take() else {
            return Ok(());
        };
        let origin = Origin::nobody(core.now);
        let mut turn = H2::turn(&mut h2.out, self, core, origin);
        let result = h2.streams.expire(&mut turn);
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
        h2.finish_all(self, core, origin)?;
        h2.move_ends(self);
        let offsets = h2.out.offsets_or(positions);
        if ending == Ending::Reset {
            self.give_reset(core, offsets, origin)
        } else {
            self.give_all_ends(core, offsets, origin, ending == Ending::Open)
        }
    }
}
