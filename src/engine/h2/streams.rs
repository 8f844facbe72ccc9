//! Streams as exchanges (RFC 9113 8.1): what a header section, a piece of a
//! body, an end or a reset means for the request and its response.

use std::io;

use super::heads::Section;
use super::{H2, Upgraded};
use crate::engine::conversation::{Conversation, PATIENCE};
use crate::engine::core::Core;
use crate::engine::open::{Open, Part};
use crate::engine::websocket::Input;
use crate::event::{Direction, MissingReason, Timestamp};
use crate::exchange::{Exchange, Interim, State as Ending, Upgrade};
use crate::filter::Verdict;
use crate::flow::Origin;
use crate::http::h2::error_note;

/// Streams that are open at once on one connection; past it the oldest is
/// given out as it is.
const STREAMS_LIMIT: usize = 16_384;

/// What an exchange is counted for beside its bytes.
const STREAM_COST: u64 = 1024;

/// Interim responses kept of one exchange.
const INTERIM_LIMIT: usize = 64;

/// GOAWAY frames that are obeyed on one connection.
const GO_AWAYS: u32 = 16;

/// A stream that has not ended.
pub(super) struct Stream {
    pub(super) open: Open,
    /// Frames of it may be missing, by direction.
    uncertain: [bool; 2],
    /// Its body is somebody else's bytes (CONNECT).
    tunnel: bool,
    /// The request asked for WebSocket.
    websocket: bool,
}

impl Stream {
    /// Becomes a tunnel if its request was CONNECT and has been agreed to.
    fn connect(&mut self) {
        let exchange = &mut self.open.exchange;
        let request = exchange.request.as_ref();
        let response = exchange.response.as_ref();
        if request.is_some_and(|r| r.method == b"CONNECT")
            && response.is_some_and(|r| (200..300).contains(&r.status))
        {
            self.tunnel = true;
            exchange.upgraded_to = Some(if self.websocket {
                Upgrade::WebSocket
            } else {
                Upgrade::Tunnel
            });
        }
    }

    /// As [`connect`](Self::connect), when the response was read before its
    /// request: what was taken for its body was sent in the tunnel, `way`.
    fn connect_late(
        &mut self,
        core: &mut Core,
        way: Direction,
        origin: &Origin<'_>,
    ) -> io::Result<()> {
        self.connect();
        let open = &mut self.open;
        let Some(response) = open.exchange.response.as_mut().filter(|_| self.tunnel) else {
            return Ok(());
        };
        let body = std::mem::take(&mut response.body);
        let whole = body.bytes.len() as u64 == body.encoded_size;
        if self.websocket && whole {
            open.begin_websocket(core)?;
        }
        count_tunnel(core, open, way.index(), body.encoded_size);
        if self.websocket && !whole {
            // From the next frame on.
            open.begin_websocket(core)?;
        }
        if whole {
            open.websocket_input(core, way, origin.time, Input::Bytes(&body.bytes))?;
        }
        if open.response_done {
            open.websocket_input(core, way, origin.time, Input::End)?;
        }
        Ok(())
    }
}

/// What a header section is to its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Head,
    Interim,
    Trailers,
    /// It should not have come.
    None,
}

/// What a section is that comes next on a stream. `end`: with the end of the
/// stream's direction. `lossy`: frames may be missing before it.
fn role(open: &Open, part: Part, section: &Section, end: bool, lossy: bool) -> Place {
    let exchange = &open.exchange;
    let (done, begun) = match part {
        Part::Request => (open.request_done, exchange.request.is_some()),
        Part::Response => (open.response_done, exchange.response.is_some()),
    };
    let status = section.status().filter(|_| part == Part::Response);
    if done {
        return Place::None;
    }
    if !begun {
        let interim = status.is_some_and(|s| s < 200) && !end;
        return if interim && exchange.interim.len() >= INTERIM_LIMIT {
            Place::None
        } else if interim {
            Place::Interim
        } else if end && lossy && section.is_trailers() {
            // Those of a message whose beginning was lost.
            Place::Trailers
        } else {
            Place::Head
        };
    }
    // What was lost instead of a response may have been an interim one.
    let unread = exchange.response.as_ref();
    let unread = unread.is_some_and(|r| r.status == 0 && r.body.encoded_size == 0);
    if status.is_some_and(|s| s >= 200) && unread {
        return Place::Head;
    }
    let again = section.begins_message();
    if end && !again {
        Place::Trailers
    } else {
        Place::None
    }
}

fn note_section(open: &mut Open, section: &Section) {
    if section.is_broken() {
        open.note("header section lost");
    } else if section.has_unknown() {
        open.note("header fields from before the capture are unknown");
    }
}

impl H2 {
    /// The stream, made if it may begin now.
    fn stream(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        id: u32,
        origin: &Origin<'_>,
    ) -> io::Result<Option<&mut Stream>> {
        if !self.streams.contains_key(&id) {
            if id == 0 || !self.may_begin(id) {
                return Ok(None);
            }
            self.make_room(conv, core)?;
            let highest = &mut self.highest[(id & 1) as usize];
            *highest = id.max(*highest);
            let mut open = conv.new_open(origin);
            open.exchange.stream = Some(id);
            core.budget.charge(STREAM_COST);
            open.charged += STREAM_COST;
            let stream = Stream {
                open,
                uncertain: [false; 2],
                tunnel: false,
                websocket: false,
            };
            self.streams.insert(id, Box::new(stream));
        }
        Ok(self.streams.get_mut(&id).map(|s| &mut **s))
    }

    /// Makes room for a stream. The oldest are given out, a part of all at
    /// once: looking for them costs little per stream then.
    fn make_room(&mut self, conv: &mut Conversation, core: &mut Core) -> io::Result<()> {
        let full = |core: &Core| core.budget.room() < STREAM_COST;
        if self.streams.len() < STREAMS_LIMIT && !full(core) {
            return Ok(());
        }
        let mut ids: Vec<u32> = self.streams.keys().copied().collect();
        ids.sort_unstable();
        let least = ids.len().div_ceil(16);
        for (n, id) in ids.into_iter().enumerate() {
            if n >= least && !full(core) {
                break;
            }
            self.note(id, "given out early: too many open streams");
            self.finish(conv, core, id, None)?;
        }
        Ok(())
    }

    fn note(&mut self, id: u32, note: &'static str) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.open.note(note);
        }
    }

    /// A header or trailer section of a stream. `end`: the stream's direction
    /// ends with it.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn head(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        origin: &Origin<'_>,
        id: u32,
        mut section: Section,
        end: bool,
    ) -> io::Result<()> {
        let part = conv.part(direction);
        // Clients open odd streams; even ones are promised (RFC 9113 5.1.1).
        if part == Part::Request && id & 1 == 0 {
            core.stats.malformed += 1;
            return Ok(());
        }
        let (lossy, writes) = (self.lossy, self.writes(core));
        let Some(stream) = self.stream(conv, core, id, origin)? else {
            return Ok(());
        };
        let open = &mut stream.open;
        let role = role(open, part, &section, end, lossy);
        if role == Place::None {
            // Kept, they would let a stream grow without end.
            core.stats.malformed += 1;
            return Ok(());
        }
        note_section(open, &section);
        let cost = section.cost();
        if core.budget.take(cost) {
            open.charged += cost;
        } else {
            core.lose(MissingReason::MemoryLimit, cost);
            section.forget();
            open.note("header fields not kept: memory limit");
        }
        match (role, part) {
            (Place::Head, Part::Request) => {
                self.request(conv, core, origin, id, &mut section)?;
            }
            (Place::Head, Part::Response) => {
                section.mask(core);
                self.response(conv, core, origin, id, &mut section)?;
            }
            (Place::Interim, _) => {
                section.mask(core);
                open.exchange.interim.push(Interim {
                    status: section.status().unwrap_or(0),
                    headers: section.plain_fields(writes),
                });
            }
            (Place::Trailers | Place::None, _) => {
                section.mask(core);
                if open.body(part).is_none() {
                    self.lost_head(conv, core, direction, origin, id)?;
                }
                let Some(open) = self.streams.get_mut(&id).map(|s| &mut s.open) else {
                    return Ok(());
                };
                let place = match part {
                    Part::Request => open.exchange.request.as_mut().map(|r| &mut r.trailers),
                    Part::Response => open.exchange.response.as_mut().map(|r| &mut r.trailers),
                };
                if let Some(place) = place {
                    *place = section.plain_fields(writes);
                }
            }
        }
        self.write_section(conv, core, direction, origin, id, &section, end)
    }

    /// The beginning of a message was lost; what comes is more of it.
    fn lost_head(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        origin: &Origin<'_>,
        id: u32,
    ) -> io::Result<()> {
        let mut section = Section::lost();
        let part = conv.part(direction);
        match part {
            Part::Request => self.request(conv, core, origin, id, &mut section)?,
            Part::Response => self.response(conv, core, origin, id, &mut section)?,
        }
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.uncertain[direction.index()] = true;
            stream.open.note("header section lost");
        }
        self.write_section(conv, core, direction, origin, id, &section, false)
    }

    /// A request's header section; masked when it comes back.
    fn request(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        origin: &Origin<'_>,
        id: u32,
        section: &mut Section,
    ) -> io::Result<()> {
        let writes = self.writes(core);
        let Some(stream) = self.streams.get_mut(&id) else {
            return Ok(());
        };
        let scheme = conv.scheme();
        let open = &mut stream.open;
        stream.websocket = section.wants_websocket();
        open.exchange.times.request_start = Some(origin.time);
        if open.exchange.process.is_none() {
            open.exchange.process = origin.process.cloned();
            open.exchange.tid = origin.tid;
            open.exchange.thread = origin.thread.to_vec();
        }
        let masks = core.config.redact.is_some();
        open.exchange.request = Some(section.request(scheme, writes || masks));
        open.judge(core, false);
        if section.mask(core) {
            let plain = open
                .exchange
                .request
                .replace(section.request(scheme, writes));
            if open.verdict == Verdict::Undecided {
                open.plain = plain.map(Box::new);
            }
        }
        open.watch(core, Part::Request);
        if open.verdict == Verdict::Keep {
            core.request(&open.exchange)?;
        }
        let responses = conv.requests.unwrap_or(Direction::Send).other();
        stream.connect_late(core, conv.outward(responses), origin)?;
        let open = &stream.open;
        if open.is_wanted() && open.exchange.response.is_none() {
            core.await_response(conv.info.key, u64::from(id));
        }
        self.flush(conv, core, id)
    }

    /// A final response's header section, masked.
    fn response(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        origin: &Origin<'_>,
        id: u32,
        section: &mut Section,
    ) -> io::Result<()> {
        let writes = self.writes(core);
        let Some(stream) = self.streams.get_mut(&id) else {
            return Ok(());
        };
        // What was lost before it began was not of it.
        if let Some(requests) = conv.requests {
            stream.uncertain[requests.other().index()] = false;
        }
        let open = &mut stream.open;
        let mut response = section.response(writes);
        response.interim = match open.exchange.response.take() {
            Some(unread) => unread.interim,
            None => std::mem::take(&mut open.exchange.interim),
        };
        open.exchange.times.response_start = Some(origin.time);
        open.exchange.response = Some(response);
        open.exchange.info = conv.info.clone();
        stream.connect();
        let open = &mut stream.open;
        open.judge(core, false);
        if !stream.tunnel {
            open.watch(core, Part::Response);
        } else if stream.websocket {
            open.begin_websocket(core)?;
        }
        self.flush(conv, core, id)
    }

    /// A request that the server makes up (RFC 9113 8.4).
    pub(super) fn promise(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        origin: &Origin<'_>,
        promised: u32,
        mut section: Section,
    ) -> io::Result<()> {
        // Of a server, and of a stream that is its own: a client's must not
        // get another's request (RFC 9113 8.4, 5.1.1).
        if conv.part(direction) != Part::Response || promised & 1 != 0 {
            core.stats.malformed += 1;
            return Ok(());
        }
        let Some(stream) = self.stream(conv, core, promised, origin)? else {
            return Ok(());
        };
        let open = &mut stream.open;
        if open.exchange.request.is_some() {
            return Ok(());
        }
        note_section(open, &section);
        let cost = section.cost();
        if core.budget.take(cost) {
            open.charged += cost;
        } else {
            core.lose(MissingReason::MemoryLimit, cost);
            section.forget();
            open.note("header fields not kept: memory limit");
        }
        open.note("pushed by the server");
        open.request_done = true;
        open.exchange.times.request_end = Some(origin.time);
        self.request(conv, core, origin, promised, &mut section)?;
        self.write_promise(conv, core, direction, origin, promised, &section)
    }

    /// Bytes of a body.
    pub(super) fn body(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        origin: &Origin<'_>,
        id: u32,
        bytes: &[u8],
    ) -> io::Result<()> {
        let part = conv.part(direction);
        let outward = conv.outward(direction).index();
        let Some(stream) = self.streams.get_mut(&id) else {
            if self.lossy && !self.ended.contains(id) {
                let n = bytes.len() as u64;
                core.stats.other_bytes = core.stats.other_bytes.saturating_add(n);
            }
            return Ok(());
        };
        if stream.tunnel {
            let way = conv.outward(direction);
            count_tunnel(core, &mut stream.open, outward, bytes.len() as u64);
            let input = Input::Bytes(bytes);
            stream.open.websocket_input(core, way, origin.time, input)?;
            return self.write_data(conv, core, direction, origin, id, bytes);
        }
        if stream.open.body(part).is_none() && stream.uncertain[direction.index()] {
            self.lost_head(conv, core, direction, origin, id)?;
        }
        let Some(stream) = self.streams.get_mut(&id) else {
            return Ok(());
        };
        let done = match part {
            Part::Request => stream.open.request_done,
            Part::Response => stream.open.response_done,
        };
        if done || stream.open.body(part).is_none() {
            // Before the message, or after its end.
            let n = bytes.len() as u64;
            core.stats.other_bytes = core.stats.other_bytes.saturating_add(n);
            return Ok(());
        }
        stream.open.body_bytes(core, part, bytes);
        self.write_data(conv, core, direction, origin, id, bytes)
    }

    /// Bytes of a body that are not there.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn body_gap(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        origin: &Origin<'_>,
        id: u32,
        length: u64,
        reason: MissingReason,
    ) -> io::Result<()> {
        let part = conv.part(direction);
        let outward = conv.outward(direction).index();
        let Some(stream) = self.streams.get_mut(&id) else {
            return Ok(());
        };
        let done = match part {
            Part::Request => stream.open.request_done,
            Part::Response => stream.open.response_done,
        };
        if done && !stream.tunnel {
            return Ok(());
        }
        if stream.tunnel {
            count_tunnel(core, &mut stream.open, outward, length);
            let lost = &mut stream.open.exchange.lost_bytes;
            *lost = lost.saturating_add(length);
            let (way, input) = (conv.outward(direction), Input::Gap(length, reason));
            stream.open.websocket_input(core, way, origin.time, input)?;
        } else {
            stream.open.body_gap(core, part, length, reason);
        }
        self.write_gap(conv, core, direction, origin, id, length, reason)
    }

    /// A gap in which frames may have been.
    pub(super) fn between(&mut self, conv: &Conversation, direction: Direction, length: u64) {
        let part = conv.part(direction);
        let going = |stream: &Stream| match part {
            Part::Request => !stream.open.request_done,
            Part::Response => !stream.open.response_done,
        };
        let count = self.streams.values().filter(|s| going(s)).count();
        for stream in self.streams.values_mut().filter(|s| going(s)) {
            stream.uncertain[direction.index()] = true;
            stream.open.websocket_hole(conv.outward(direction));
            stream.open.note("frames of the connection are missing");
            if count == 1 {
                let lost = &mut stream.open.exchange.lost_bytes;
                *lost = lost.saturating_add(length);
            }
        }
    }

    /// A stream's direction ends (END_STREAM).
    pub(super) fn end_of_message(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        origin: &Origin<'_>,
        id: u32,
        by_data: bool,
    ) -> io::Result<()> {
        let part = conv.part(direction);
        let now = core.now;
        let done = self.streams.get(&id).is_none_or(|s| match part {
            Part::Request => s.open.request_done,
            Part::Response => s.open.response_done,
        });
        if done {
            return Ok(());
        }
        if by_data {
            self.write_end(conv, core, direction, origin, id)?;
        }
        let Some(stream) = self.streams.get_mut(&id) else {
            return Ok(());
        };
        let uncertain = stream.uncertain[direction.index()];
        let open = &mut stream.open;
        open.websocket_input(core, conv.outward(direction), origin.time, Input::End)?;
        match part {
            Part::Request => {
                open.body_end(core, part, uncertain);
                open.request_done = true;
                open.exchange.times.request_end = Some(origin.time);
            }
            Part::Response => {
                open.body_end(core, part, uncertain);
                open.response_done = true;
                open.exchange.times.response_end = Some(origin.time);
            }
        }
        if open.request_done && open.response_done {
            return self.finish(conv, core, id, None);
        }
        if open.response_done && open.exchange.request.is_none() {
            self.lingering.push_back((now, id));
        }
        Ok(())
    }

    /// RST_STREAM.
    pub(super) fn reset(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        origin: &Origin<'_>,
        id: u32,
        code: u32,
    ) -> io::Result<()> {
        if !self.streams.contains_key(&id) {
            return Ok(());
        }
        self.note(id, error_note(code));
        self.write_reset(conv, core, direction, origin, id, code)?;
        let by_client = conv.part(direction) == Part::Request;
        let ending = self.streams.get(&id).and_then(|stream| {
            let open = &stream.open;
            if by_client && open.request_done && has_all(&open.exchange) {
                // It did not wait for the frame that ends the stream.
                return None;
            }
            // A server that has answered may refuse the rest of the request
            // (RFC 9113 8.1).
            let refused = open.response_done && code == 0;
            Some(if refused {
                Ending::Closed
            } else {
                Ending::Reset
            })
        });
        self.finish(conv, core, id, ending)
    }

    /// GOAWAY: streams of the other end above `last` are not processed.
    pub(super) fn go_away(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        last: u32,
    ) -> io::Result<()> {
        // Each looks at all streams; an end that means it says it twice.
        if self.go_aways >= GO_AWAYS {
            return Ok(());
        }
        self.go_aways += 1;
        let odd = u32::from(conv.part(direction) == Part::Response);
        let refused = |id: &&u32| **id > last && **id & 1 == odd;
        let mut ids: Vec<u32> = self.streams.keys().filter(refused).copied().collect();
        ids.sort_unstable();
        for id in ids {
            self.note(id, "not processed: GOAWAY");
            self.finish(conv, core, id, Some(Ending::Closed))?;
        }
        Ok(())
    }

    /// The first stream after an upgrade: its request was one of HTTP/1.1.
    pub(super) fn upgraded(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        upgraded: Upgraded,
    ) -> io::Result<()> {
        let Upgraded { exchange, plain } = upgraded;
        let origin = Origin {
            time: exchange.start(),
            process: exchange.process.as_ref(),
            tid: exchange.tid,
            thread: &exchange.thread,
        };
        let Some(stream) = self.stream(conv, core, 1, &origin)? else {
            return Ok(());
        };
        let open = &mut stream.open;
        open.exchange.request = exchange.request;
        open.exchange.times.request_start = exchange.times.request_start;
        open.exchange.times.request_end = exchange.times.request_end;
        open.plain = plain;
        open.request_done = true;
        open.note("the request was that of the upgrade");
        open.judge(core, false);
        if open.is_wanted() {
            core.await_response(conv.info.key, 1);
        }
        Ok(())
    }

    /// Gives out the exchange of a stream, as it is.
    fn finish(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        id: u32,
        ending: Option<Ending>,
    ) -> io::Result<()> {
        self.write_rest(conv, core, id)?;
        let Some(mut stream) = self.streams.remove(&id) else {
            return Ok(());
        };
        self.ended.insert(id);
        let open = &mut stream.open;
        open.exchange.info = conv.info.clone();
        if open.exchange.request.is_none() {
            open.note("request not seen");
            open.request_done = true;
        }
        open.judge(core, true);
        for direction in [Direction::Send, Direction::Receive] {
            open.websocket_input(core, direction, core.now, Input::End)?;
        }
        if !open.request_done {
            open.body_end(core, Part::Request, true);
        }
        if !open.response_done && open.exchange.response.is_some() {
            // A client that has all that Content-Length says may go before it
            // reads the frame that ends the stream.
            let whole = ending.is_none() && has_all(&open.exchange);
            open.response_done = whole;
            open.body_end(core, Part::Response, !whole);
        }
        let answered = open.response_done && open.exchange.response.is_some();
        let whole = open.request_done && answered && !open.truncated;
        open.exchange.state = match ending {
            None if whole => Ending::Complete,
            None => conv.ending.unwrap_or(Ending::Closed),
            Some(ending) => ending,
        };
        self.out.flush(conv, core, id, open)?;
        core.budget.give(open.charged + open.held_bytes);
        core.exchange(&open.exchange, open.verdict)
    }

    /// Gives out the exchanges of all streams, and what readers hold.
    pub(super) fn finish_all(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
    ) -> io::Result<()> {
        let mut ids: Vec<u32> = self.streams.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            self.finish(conv, core, id, None)?;
        }
        self.lingering.clear();
        for reader in &mut self.readers {
            reader.discharge(core);
        }
        Ok(())
    }

    /// Gives out responses whose requests have not come for too long.
    pub(super) fn expire(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        now: Timestamp,
    ) -> io::Result<()> {
        let patient = |(since, _): &mut (Timestamp, u32)| now.nanos_since(*since) >= PATIENCE;
        while let Some((_, id)) = self.lingering.pop_front_if(patient) {
            let orphan = |s: &Stream| s.open.exchange.request.is_none() && s.open.response_done;
            if self.streams.get(&id).is_some_and(|s| orphan(s)) {
                self.finish(conv, core, id, None)?;
            }
        }
        Ok(())
    }
}

/// Whether a response's body has the length that its head says.
fn has_all(exchange: &Exchange) -> bool {
    let Some(response) = &exchange.response else {
        return false;
    };
    let said = response.headers.get("content-length");
    let said: Option<u64> = said.and_then(|v| std::str::from_utf8(v).ok()?.parse().ok());
    said == Some(response.body.encoded_size) && response.body.missing.is_empty()
}

fn count_tunnel(core: &mut Core, open: &mut Open, outward: usize, bytes: u64) {
    if open.websocket.is_none() {
        core.stats.tunnel_bytes = core.stats.tunnel_bytes.saturating_add(bytes);
    }
    if let Some(count) = open.exchange.tunnel_bytes.get_mut(outward) {
        *count = count.saturating_add(bytes);
    }
}
