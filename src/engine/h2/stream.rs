//! A stream as an exchange (RFC 9113 8.1): what a header section, a piece of
//! a body, an end or a reset means for the request and its response.

use std::io;

use super::anew::Block;
use super::heads::Section;
use super::turn::Turn;
use crate::engine::open::{Open, Part};
use crate::engine::websocket::Input;
use crate::event::{Direction, MissingReason};
use crate::exchange::{Exchange, Interim, State as Ending, Upgrade};
use crate::filter::Verdict;

/// Interim responses kept of one exchange.
const INTERIM_LIMIT: usize = 64;

/// A stream that has not ended.
pub(super) struct Stream {
    pub(super) id: u32,
    pub(super) open: Open,
    /// Frames of it may be missing, by direction.
    uncertain: [bool; 2],
    /// Its body is somebody else's bytes (CONNECT).
    tunnel: bool,
    /// The request asked for WebSocket.
    websocket: bool,
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

impl Stream {
    pub(super) const fn new(id: u32, open: Open) -> Self {
        Self {
            id,
            open,
            uncertain: [false; 2],
            tunnel: false,
            websocket: false,
        }
    }

    /// Whether a message was seen to its end, or will not be.
    pub(super) const fn has_ended(&self, part: Part) -> bool {
        match part {
            Part::Request => self.open.request_done,
            Part::Response => self.open.response_done,
        }
    }

    /// Whether it is a response whose request was not seen.
    pub(super) const fn is_orphan(&self) -> bool {
        self.open.exchange.request.is_none() && self.open.response_done
    }

    /// What it shows, if it has asked for something.
    pub(super) fn pending(&self) -> Option<&Open> {
        // The identifier may be that of another stream by now, if some were lost.
        self.open.exchange.request.is_some().then_some(&self.open)
    }

    /// What a section is that comes next. `end`: with the end of the stream's
    /// direction. `lossy`: frames may be missing before it.
    fn place(&self, part: Part, section: &Section, end: bool, lossy: bool) -> Place {
        let exchange = &self.open.exchange;
        let begun = match part {
            Part::Request => exchange.request.is_some(),
            Part::Response => exchange.response.is_some(),
        };
        let status = section.status().filter(|_| part == Part::Response);
        if self.has_ended(part) {
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
        if end && !section.begins_message() {
            Place::Trailers
        } else {
            Place::None
        }
    }

    /// A header or trailer section.
    pub(super) fn section(
        &mut self,
        turn: &mut Turn<'_>,
        mut section: Section,
        end: bool,
        lossy: bool,
    ) -> io::Result<()> {
        let part = turn.part();
        let place = self.place(part, &section, end, lossy);
        if place == Place::None {
            // Kept, they would let a stream grow without end.
            turn.core.stats.malformed += 1;
            return Ok(());
        }
        self.take_in(turn, &mut section);
        let block = match (place, part) {
            (Place::Head, Part::Request) => self.request(turn, section)?,
            (Place::Head, Part::Response) => self.response(turn, section)?,
            (Place::Interim, _) => {
                section.mask(turn.core);
                let block = turn.encode(self, &section);
                self.open.exchange.interim.push(Interim {
                    status: section.status().unwrap_or(0),
                    headers: section.take_fields(),
                });
                block
            }
            (Place::Trailers | Place::None, _) => self.trailers(turn, section)?,
        };
        turn.write_section(self, block, end)
    }

    /// Says what is wrong with a section, and counts its fields in the
    /// budget; without room for them they are forgotten.
    fn take_in(&mut self, turn: &mut Turn<'_>, section: &mut Section) {
        let open = &mut self.open;
        if section.is_broken() {
            open.note("header section lost");
        } else if section.has_unknown() {
            open.note("header fields from before the capture are unknown");
        }
        let cost = section.cost();
        if turn.core.budget.take(cost) {
            open.charged += cost;
        } else {
            turn.core.lose(MissingReason::MemoryLimit, cost);
            section.forget();
            open.note("header fields not kept: memory limit");
        }
    }

    /// A trailer section. Gives it back encoded, as the others do.
    fn trailers(&mut self, turn: &mut Turn<'_>, mut section: Section) -> io::Result<Block> {
        let part = turn.part();
        section.mask(turn.core);
        if self.open.body(part).is_none() {
            self.lost_head(turn)?;
        }
        let block = turn.encode(self, &section);
        let exchange = &mut self.open.exchange;
        let place = match part {
            Part::Request => exchange.request.as_mut().map(|r| &mut r.trailers),
            Part::Response => exchange.response.as_mut().map(|r| &mut r.trailers),
        };
        if let Some(place) = place {
            *place = section.take_fields();
        }
        Ok(block)
    }

    /// The beginning of a message was lost; what comes is more of it.
    fn lost_head(&mut self, turn: &mut Turn<'_>) -> io::Result<()> {
        let section = Section::lost();
        let block = match turn.part() {
            Part::Request => self.request(turn, section)?,
            Part::Response => self.response(turn, section)?,
        };
        self.uncertain[turn.direction.index()] = true;
        self.open.note("header section lost");
        turn.write_section(self, block, false)
    }

    /// A request's header section.
    fn request(&mut self, turn: &mut Turn<'_>, mut section: Section) -> io::Result<Block> {
        let scheme = turn.conv.scheme();
        self.websocket = section.wants_websocket();
        let exchange = &mut self.open.exchange;
        exchange.times.request_start = Some(turn.origin.time);
        if exchange.process.is_none() {
            exchange.process = turn.origin.process.cloned();
            exchange.tid = turn.origin.tid;
            exchange.thread = turn.origin.thread.to_vec();
        }
        // The filter sees what is masked.
        let masks = turn.core.config.redact.is_some();
        let plain = masks.then(|| section.request(scheme, true));
        let masked = section.mask(turn.core);
        let block = turn.encode(self, &section);
        let (open, core) = (&mut self.open, &mut *turn.core);
        match plain {
            Some(plain) if !masked => open.exchange.request = Some(plain),
            plain => {
                open.exchange.request = Some(section.request(scheme, false));
                open.plain = plain.map(Box::new);
            }
        }
        open.judge(core, false);
        open.watch(core, Part::Request);
        if open.verdict == Verdict::Keep {
            core.request(&open.exchange)?;
        }
        self.connect_late(turn)?;
        let (open, core) = (&self.open, &mut *turn.core);
        if open.is_wanted() && open.exchange.response.is_none() {
            core.await_response(turn.conv.info.key, u64::from(self.id));
        }
        turn.flush(self)?;
        Ok(block)
    }

    /// A final response's header section.
    fn response(&mut self, turn: &mut Turn<'_>, mut section: Section) -> io::Result<Block> {
        section.mask(turn.core);
        let block = turn.encode(self, &section);
        // What was lost before it began was not of it.
        if let Some(requests) = turn.conv.requests {
            self.uncertain[requests.other().index()] = false;
        }
        let open = &mut self.open;
        let mut response = section.response();
        response.interim = match open.exchange.response.take() {
            Some(unread) => unread.interim,
            None => std::mem::take(&mut open.exchange.interim),
        };
        open.exchange.times.response_start = Some(turn.origin.time);
        open.exchange.response = Some(response);
        open.learn(&turn.conv.info);
        self.connect();
        let open = &mut self.open;
        open.judge(turn.core, false);
        if !self.tunnel {
            open.watch(turn.core, Part::Response);
        } else if self.websocket {
            open.begin_websocket(turn.core)?;
        }
        turn.flush(self)?;
        Ok(block)
    }

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
    /// request: what was taken for its body was sent in the tunnel.
    fn connect_late(&mut self, turn: &mut Turn<'_>) -> io::Result<()> {
        self.connect();
        let response = self.open.exchange.response.as_mut();
        let Some(response) = response.filter(|_| self.tunnel) else {
            return Ok(());
        };
        let body = std::mem::take(&mut response.body);
        let responses = turn.conv.requests.unwrap_or(Direction::Send).other();
        let origin = turn.origin;
        let mut turn = turn.of(responses, origin);
        let whole = body.bytes.len() as u64 == body.encoded_size;
        if self.websocket && whole {
            self.open.begin_websocket(turn.core)?;
        }
        if whole {
            self.tunnelled(&mut turn, body.encoded_size, Input::Bytes(&body.bytes))?;
        } else {
            self.count_tunnel(&mut turn, body.encoded_size);
            if self.websocket {
                // From the next frame on.
                self.open.begin_websocket(turn.core)?;
            }
        }
        if self.open.response_done {
            let (way, time) = (turn.outward(), turn.origin.time);
            self.open
                .websocket_input(turn.core, way, time, Input::End)?;
        }
        Ok(())
    }

    /// The request that a server makes up for its stream.
    pub(super) fn promised(&mut self, turn: &mut Turn<'_>, mut section: Section) -> io::Result<()> {
        if self.open.exchange.request.is_some() {
            return Ok(());
        }
        self.take_in(turn, &mut section);
        self.open.note("pushed by the server");
        self.open.request_done = true;
        self.open.exchange.times.request_end = Some(turn.origin.time);
        let block = self.request(turn, section)?;
        turn.write_promise(self, block)
    }

    /// Bytes of a body. `more`: those that follow are of the same frame.
    pub(super) fn body(&mut self, turn: &mut Turn<'_>, bytes: &[u8], more: bool) -> io::Result<()> {
        let part = turn.part();
        if self.tunnel {
            self.tunnelled(turn, bytes.len() as u64, Input::Bytes(bytes))?;
            return turn.write_data(self, bytes, more);
        }
        if self.open.body(part).is_none() && self.uncertain[turn.direction.index()] {
            self.lost_head(turn)?;
        }
        if self.has_ended(part) || self.open.body(part).is_none() {
            // Before the message, or after its end.
            turn.pass_over(bytes.len());
            return Ok(());
        }
        self.open.body_bytes(turn.core, part, bytes);
        turn.write_data(self, bytes, more)
    }

    /// Bytes of a body that are not there.
    pub(super) fn body_gap(
        &mut self,
        turn: &mut Turn<'_>,
        length: u64,
        reason: MissingReason,
    ) -> io::Result<()> {
        let part = turn.part();
        if self.tunnel {
            let lost = &mut self.open.exchange.lost_bytes;
            *lost = lost.saturating_add(length);
            self.tunnelled(turn, length, Input::Gap(length, reason))?;
        } else if self.has_ended(part) {
            return Ok(());
        } else {
            self.open.body_gap(turn.core, part, length, reason);
        }
        turn.write_gap(self, length, reason)
    }

    /// Bytes of somebody else, or missing ones of them.
    fn tunnelled(&mut self, turn: &mut Turn<'_>, length: u64, input: Input<'_>) -> io::Result<()> {
        self.count_tunnel(turn, length);
        let (way, time) = (turn.outward(), turn.origin.time);
        self.open.websocket_input(turn.core, way, time, input)
    }

    fn count_tunnel(&mut self, turn: &mut Turn<'_>, length: u64) {
        let open = &mut self.open;
        if open.websocket.is_none() {
            let count = &mut turn.core.stats.tunnel_bytes;
            *count = count.saturating_add(length);
        }
        let outward = turn.outward().index();
        if let Some(count) = open.exchange.tunnel_bytes.get_mut(outward) {
            *count = count.saturating_add(length);
        }
    }

    /// Frames of the connection are missing that may have been of this stream.
    pub(super) fn frames_missing(&mut self, turn: &Turn<'_>) {
        self.uncertain[turn.direction.index()] = true;
        self.open.websocket_hole(turn.outward());
        self.open.note("frames of the connection are missing");
    }

    /// The end of a message, by a DATA frame or with a header section.
    pub(super) fn end_of_message(&mut self, turn: &mut Turn<'_>, by_data: bool) -> io::Result<()> {
        if by_data {
            turn.write_end(self)?;
        }
        let (part, time) = (turn.part(), turn.origin.time);
        let uncertain = self.uncertain[turn.direction.index()];
        let open = &mut self.open;
        open.websocket_input(turn.core, turn.outward(), time, Input::End)?;
        open.body_end(turn.core, part, uncertain);
        let times = &mut open.exchange.times;
        match part {
            Part::Request => {
                open.request_done = true;
                times.request_end = Some(time);
            }
            Part::Response => {
                open.response_done = true;
                times.response_end = Some(time);
            }
        }
        Ok(())
    }

    /// How it ends by a reset from the end that sends `part`.
    pub(super) fn reset_ending(&self, part: Part, code: u32) -> Option<Ending> {
        let open = &self.open;
        if part == Part::Request && open.request_done && has_all(&open.exchange) {
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
    }

    /// Gives out the exchange, as it is.
    pub(super) fn finish(
        mut self: Box<Self>,
        turn: &mut Turn<'_>,
        ending: Option<Ending>,
    ) -> io::Result<()> {
        turn.write_rest(&mut self)?;
        let open = &mut self.open;
        open.learn(&turn.conv.info);
        if open.exchange.request.is_none() {
            open.note("request not seen");
            open.request_done = true;
        }
        open.judge(turn.core, true);
        for direction in [Direction::Send, Direction::Receive] {
            open.websocket_input(turn.core, direction, turn.core.now, Input::End)?;
        }
        if !open.request_done {
            open.body_end(turn.core, Part::Request, true);
        }
        if !open.response_done && open.exchange.response.is_some() {
            // A client that has all that Content-Length says may go before it
            // reads the frame that ends the stream.
            let whole = ending.is_none() && has_all(&open.exchange);
            open.response_done = whole;
            open.body_end(turn.core, Part::Response, !whole);
        }
        let answered = open.response_done && open.exchange.response.is_some();
        let whole = open.request_done && answered && !open.truncated;
        open.exchange.state = match ending {
            None if whole => Ending::Complete,
            None => turn.conv.ending.unwrap_or(Ending::Closed),
            Some(ending) => ending,
        };
        turn.flush(&mut self)?;
        let open = &self.open;
        turn.core.budget.give(open.charged + open.held_bytes);
        turn.core.exchange(&open.exchange, open.verdict)
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
