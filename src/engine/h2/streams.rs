//! The streams of a connection: which one a frame is of, when they begin and
//! when they end (RFC 9113 5.1).

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::io;

use rustc_hash::FxHashMap;

use super::Upgraded;
use super::ended::Ended;
use super::heads::Section;
use super::stream::Stream;
use super::turn::Turn;
use crate::engine::conversation::PATIENCE;
use crate::engine::open::{Open, Part};
use crate::event::{MissingReason, Timestamp};
use crate::exchange::State as Ending;
use crate::flow::Origin;
use crate::http::h2::error_note;

/// Streams that are open at once on one connection; past it the oldest is
/// given out as it is.
const STREAMS_LIMIT: usize = 16_384;

/// What an exchange is counted for beside its bytes.
const STREAM_COST: u64 = 1024;

/// Streams given out without their request that are remembered.
const ORPHANS: usize = 128;

/// GOAWAY frames that are obeyed on one connection.
const GO_AWAYS: u32 = 16;

/// All streams of a connection.
#[derive(Default)]
pub(super) struct Streams {
    map: FxHashMap<u32, Box<Stream>>,
    /// Those whose response is whole and whose request was not seen, and
    /// since when.
    lingering: VecDeque<(Timestamp, u32)>,
    /// The highest identifiers seen, of even and of odd streams.
    highest: [u32; 2],
    /// Streams may exist whose beginning was not seen.
    pub(super) lossy: bool,
    ended: Ended,
    /// Those of them that were given out without their request.
    orphans: VecDeque<u32>,
    /// GOAWAY frames so far.
    go_aways: u32,
}

impl Streams {
    pub(super) fn new(lossy: bool) -> Self {
        Self {
            lossy,
            ..Self::default()
        }
    }

    /// Whether a stream has not ended.
    pub(super) fn is_open(&self, id: u32) -> bool {
        self.map.contains_key(&id)
    }

    /// Whether all have ended.
    pub(super) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Whether something waits for time to pass.
    pub(super) fn is_waiting(&self) -> bool {
        !self.lingering.is_empty()
    }

    /// What a stream shows, if it has asked for something.
    pub(super) fn pending(&self, id: u64) -> Option<&Open> {
        self.map.get(&u32::try_from(id).ok()?)?.pending()
    }

    /// Counts a request whose response could not wait for it any longer.
    fn late(&mut self, turn: &mut Turn<'_>, id: u32) {
        if turn.part() == Part::Request
            && let Some(at) = self.orphans.iter().position(|orphan| *orphan == id)
        {
            self.orphans.remove(at);
            turn.core.stats.late_requests += 1;
        }
    }

    /// Whether a stream that is not known may begin now.
    fn may_begin(&self, id: u32) -> bool {
        let newer = id > self.highest[(id & 1) as usize];
        newer || self.lossy && !self.ended.contains(id)
    }

    /// The stream, made if it may begin now.
    fn stream(&mut self, turn: &mut Turn<'_>, id: u32) -> io::Result<Option<&mut Stream>> {
        if !self.map.contains_key(&id) {
            if id == 0 || !self.may_begin(id) {
                return Ok(None);
            }
            self.make_room(turn)?;
            let highest = &mut self.highest[(id & 1) as usize];
            *highest = id.max(*highest);
            let mut open = turn.conv.new_open(&turn.origin);
            open.exchange.stream = Some(id);
            turn.core.budget.charge(STREAM_COST);
            open.charged += STREAM_COST;
            self.map.insert(id, Box::new(Stream::new(id, open)));
        }
        Ok(self.map.get_mut(&id).map(|s| &mut **s))
    }

    /// Makes room for a stream. The oldest are given out, a part of all at
    /// once: looking for them costs little per stream then.
    fn make_room(&mut self, turn: &mut Turn<'_>) -> io::Result<()> {
        let full = |turn: &Turn<'_>| turn.core.budget.room() < STREAM_COST;
        if self.map.len() < STREAMS_LIMIT && !full(turn) {
            return Ok(());
        }
        let ids = self.ids(|_| true);
        let least = ids.len().div_ceil(16);
        for (n, id) in ids.into_iter().enumerate() {
            if n >= least && !full(turn) {
                break;
            }
            self.finish(turn, id, "given out early: too many open streams", None)?;
        }
        Ok(())
    }

    /// The identifiers of those that `wanted` is true for, the oldest first.
    fn ids(&self, wanted: impl Fn(u32) -> bool) -> Vec<u32> {
        let mut ids: Vec<u32> = self.map.keys().copied().filter(|id| wanted(*id)).collect();
        ids.sort_unstable();
        ids
    }

    /// A header or trailer section of a stream. `end`: the stream's direction
    /// ends with it.
    pub(super) fn head(
        &mut self,
        turn: &mut Turn<'_>,
        id: u32,
        section: Section,
        end: bool,
    ) -> io::Result<()> {
        // Clients open odd streams; even ones are promised (RFC 9113 5.1.1).
        if turn.part() == Part::Request && id & 1 == 0 {
            turn.core.stats.malformed += 1;
            return Ok(());
        }
        let lossy = self.lossy;
        if let Some(stream) = self.stream(turn, id)? {
            return stream.section(turn, section, end, lossy);
        }
        self.late(turn, id);
        Ok(())
    }

    /// A request that the server makes up (RFC 9113 8.4).
    pub(super) fn promise(
        &mut self,
        turn: &mut Turn<'_>,
        promised: u32,
        section: Section,
    ) -> io::Result<()> {
        // Of a server, and of a stream that is its own: a client's must not
        // get another's request (RFC 9113 8.4, 5.1.1).
        if turn.part() != Part::Response || promised & 1 != 0 {
            turn.core.stats.malformed += 1;
            return Ok(());
        }
        match self.stream(turn, promised)? {
            Some(stream) => stream.promised(turn, section),
            None => Ok(()),
        }
    }

    /// Bytes of a body. `more`: those that follow are of the same frame.
    pub(super) fn body(
        &mut self,
        turn: &mut Turn<'_>,
        id: u32,
        bytes: &[u8],
        more: bool,
    ) -> io::Result<()> {
        match self.map.get_mut(&id) {
            Some(stream) => stream.body(turn, bytes, more),
            None => {
                if self.lossy && !self.ended.contains(id) {
                    turn.pass_over(bytes.len());
                }
                Ok(())
            }
        }
    }

    /// Bytes of a body that are not there.
    pub(super) fn body_gap(
        &mut self,
        turn: &mut Turn<'_>,
        id: u32,
        length: u64,
        reason: MissingReason,
    ) -> io::Result<()> {
        match self.map.get_mut(&id) {
            Some(stream) => stream.body_gap(turn, length, reason),
            None => Ok(()),
        }
    }

    /// A gap in which frames may have been.
    pub(super) fn between(&mut self, turn: &Turn<'_>, length: u64) {
        self.lossy = true;
        let part = turn.part();
        let going = |stream: &Stream| !stream.has_ended(part);
        let count = self.map.values().filter(|s| going(s)).count();
        for stream in self.map.values_mut().filter(|s| going(s)) {
            stream.frames_missing(turn);
            if count == 1 {
                let lost = &mut stream.open.exchange.lost_bytes;
                *lost = lost.saturating_add(length);
            }
        }
    }

    /// A stream's direction ends (END_STREAM).
    pub(super) fn end_of_message(
        &mut self,
        turn: &mut Turn<'_>,
        id: u32,
        by_data: bool,
    ) -> io::Result<()> {
        let Entry::Occupied(mut entry) = self.map.entry(id) else {
            return Ok(());
        };
        let stream = entry.get_mut();
        if stream.has_ended(turn.part()) {
            return Ok(());
        }
        stream.end_of_message(turn, by_data)?;
        let open = &stream.open;
        if open.request_done && open.response_done {
            let stream = entry.remove();
            return self.give_out(turn, stream, None);
        }
        if open.response_done && open.exchange.request.is_none() {
            self.lingering.push_back((turn.core.now, id));
        }
        Ok(())
    }

    /// RST_STREAM.
    pub(super) fn reset(&mut self, turn: &mut Turn<'_>, id: u32, code: u32) -> io::Result<()> {
        let Some(mut stream) = self.map.remove(&id) else {
            return Ok(());
        };
        stream.open.note(error_note(code));
        turn.write_reset(&mut stream, code)?;
        let ending = stream.reset_ending(turn.part(), code);
        self.give_out(turn, stream, ending)
    }

    /// GOAWAY: streams of the other end above `last` are not processed.
    pub(super) fn go_away(&mut self, turn: &mut Turn<'_>, last: u32) -> io::Result<()> {
        // Each looks at all streams; an end that means it says it twice.
        if self.go_aways >= GO_AWAYS {
            return Ok(());
        }
        self.go_aways += 1;
        let odd = u32::from(turn.part() == Part::Response);
        for id in self.ids(|id| id > last && id & 1 == odd) {
            self.finish(turn, id, "not processed: GOAWAY", Some(Ending::Closed))?;
        }
        Ok(())
    }

    /// The first stream after an upgrade: its request was one of HTTP/1.1.
    pub(super) fn upgraded(&mut self, turn: &mut Turn<'_>, upgraded: Upgraded) -> io::Result<()> {
        let Upgraded { exchange, plain } = upgraded;
        let origin = Origin {
            time: exchange.start(),
            process: exchange.process.as_ref(),
            tid: exchange.tid,
            thread: &exchange.thread,
        };
        let mut turn = turn.of(turn.direction, origin);
        let Some(stream) = self.stream(&mut turn, 1)? else {
            return Ok(());
        };
        let open = &mut stream.open;
        open.exchange.times.request_start = exchange.times.request_start;
        open.exchange.times.request_end = exchange.times.request_end;
        open.plain = plain;
        open.request_done = true;
        open.note("the request was that of the upgrade");
        open.exchange.request = exchange.request;
        open.judge(turn.core, false);
        if open.is_wanted() {
            turn.core.await_response(turn.conv.info.key, 1);
        }
        Ok(())
    }

    /// Gives out the exchange of a stream that nothing more comes for.
    fn finish(
        &mut self,
        turn: &mut Turn<'_>,
        id: u32,
        note: &'static str,
        ending: Option<Ending>,
    ) -> io::Result<()> {
        let Some(mut stream) = self.map.remove(&id) else {
            return Ok(());
        };
        stream.open.note(note);
        self.give_out(turn, stream, ending)
    }

    /// Gives out the exchange of a stream, as it is.
    fn give_out(
        &mut self,
        turn: &mut Turn<'_>,
        stream: Box<Stream>,
        ending: Option<Ending>,
    ) -> io::Result<()> {
        self.ended.insert(stream.id);
        stream.finish(turn, ending)
    }

    /// Gives out the exchanges of all streams.
    pub(super) fn finish_all(&mut self, turn: &mut Turn<'_>) -> io::Result<()> {
        for id in self.ids(|_| true) {
            if let Some(stream) = self.map.remove(&id) {
                self.give_out(turn, stream, None)?;
            }
        }
        self.lingering.clear();
        Ok(())
    }

    /// Gives out responses whose requests have not come for too long.
    pub(super) fn expire(&mut self, turn: &mut Turn<'_>) -> io::Result<()> {
        let now = turn.core.now;
        let patient = |(since, _): &mut (Timestamp, u32)| now.nanos_since(*since) >= PATIENCE;
        while let Some((_, id)) = self.lingering.pop_front_if(patient) {
            if let Entry::Occupied(entry) = self.map.entry(id)
                && entry.get().is_orphan()
            {
                let stream = entry.remove();
                if self.orphans.len() >= ORPHANS {
                    self.orphans.pop_front();
                }
                self.orphans.push_back(id);
                self.give_out(turn, stream, None)?;
            }
        }
        Ok(())
    }
}
