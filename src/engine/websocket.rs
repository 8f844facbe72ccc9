//! The messages of an exchange that became a WebSocket: bytes and gaps of both
//! directions in, messages out. It knows nothing of the connection beneath,
//! which may be an upgraded one or a stream of HTTP/2.

use std::io;

use super::core::Core;
use super::open::Open;
use crate::event::{Direction, MissingReason, Timestamp};
use crate::exchange::Exchange;
use crate::filter::Verdict;
use crate::http::websocket::{Deflate, Kind, Parser, Sender};
use crate::message::{Message, MessageKind};

/// What comes next in a direction.
#[derive(Clone, Copy, Debug)]
pub(super) enum Input<'a> {
    /// Bytes; where a call of the program, a packet or a record began, there
    /// they begin too.
    Bytes(&'a [u8]),
    /// So many bytes are missing.
    Gap(u64, MissingReason),
    /// Nothing.
    End,
}

/// Both directions of a WebSocket. Directions are those that are shown.
#[derive(Debug)]
pub(super) struct WebSocket {
    parsers: [Parser; 2],
    /// Why bytes were missing last.
    reasons: [Option<MissingReason>; 2],
    /// Bytes without frames so far.
    unframed: [u64; 2],
    number: u64,
    /// What is counted in the budget.
    charged: u64,
}

impl WebSocket {
    /// One that was begun before; how far away the next frame is in each
    /// direction, if that is known.
    fn joined(core: &Core, exchange: &Exchange, first: [Option<u64>; 2]) -> Self {
        let parser = |direction: Direction| {
            let skip = first.get(direction.index()).copied().flatten();
            Parser::joined(sender(exchange, direction), skip, core.config.max_body)
        };
        Self::with([Direction::Send, Direction::Receive].map(parser))
    }

    fn new(core: &Core, exchange: &Exchange) -> Self {
        let deflate = exchange.response.as_ref().and_then(|response| {
            Deflate::negotiated(response.headers.get_all("Sec-WebSocket-Extensions"))
        });
        let parser = |direction: Direction| {
            let sender = sender(exchange, direction);
            let mut parser = Parser::new(sender, deflate, core.config.max_body);
            // What went by before is unknown.
            let before = exchange.tunnel_bytes.get(direction.index());
            parser.lost(before.copied().unwrap_or_default());
            parser
        };
        Self::with([Direction::Send, Direction::Receive].map(parser))
    }

    fn with(parsers: [Parser; 2]) -> Self {
        Self {
            parsers,
            reasons: [None; 2],
            unframed: [0; 2],
            number: 0,
            charged: 0,
        }
    }

    fn input(
        &mut self,
        core: &mut Core,
        exchange: &mut Exchange,
        direction: Direction,
        time: Timestamp,
        input: Input<'_>,
    ) -> io::Result<()> {
        let at = direction.index();
        let (Some(parser), Some(reason)) = (self.parsers.get_mut(at), self.reasons.get_mut(at))
        else {
            return Ok(());
        };
        parser.set_room(core.budget.room());
        parser.set_stamp(time.0);
        let mut bytes: &[u8] = &[];
        match input {
            Input::Bytes(new) => bytes = new,
            Input::Gap(length, why) => {
                *reason = Some(why);
                parser.lost(length);
            }
            Input::End => parser.finish(),
        }
        while let Some(message) = parser.next(&mut bytes) {
            self.number += 1;
            let counts = exchange.messages.get_or_insert_default();
            if let Some(count) = counts.get_mut(at) {
                *count += 1;
            }
            core.message(
                exchange,
                &Message {
                    number: self.number,
                    direction,
                    time: Timestamp(message.stamp),
                    kind: kind(message.kind),
                    size: message.size,
                    wire_size: message.wire_size,
                    fragments: message.fragments,
                    compressed: message.compressed,
                    state: message.state,
                    data: message.data,
                    close: message
                        .close()
                        .and_then(|(code, reason)| Some((code?, reason))),
                    event: None,
                    event_id: None,
                },
            );
        }
        let unframed = parser.unframed();
        if let Some(before) = self.unframed.get_mut(at)
            && unframed > *before
        {
            let more = unframed - *before;
            *before = unframed;
            exchange.lost_bytes = exchange.lost_bytes.saturating_add(more);
            match reason {
                Some(reason) => core.lose(*reason, more),
                None => core.stats.other_bytes = core.stats.other_bytes.saturating_add(more),
            }
        }
        Ok(())
    }

    /// Counts what is held; gives by how much it has grown.
    fn memory(&mut self, core: &mut Core) -> u64 {
        let now: usize = self.parsers.iter().map(Parser::memory).sum();
        let before = std::mem::replace(&mut self.charged, now as u64);
        core.budget.charge(self.charged.saturating_sub(before));
        core.budget.give(before.saturating_sub(self.charged));
        self.charged
    }
}

impl Open {
    /// Request and response have agreed on a WebSocket: its messages are read
    /// if anybody wants them.
    pub(super) fn begin_websocket(&mut self, core: &mut Core) -> io::Result<()> {
        // Nothing that the filter looks at will be known later.
        self.judge(core, true);
        if self.websocket.is_some() || !core.wants.messages || self.verdict != Verdict::Keep {
            return Ok(());
        }
        self.websocket = Some(Box::new(WebSocket::new(core, &self.exchange)));
        self.exchange.messages = Some([0; 2]);
        core.upgraded(&self.exchange)
    }

    /// Frames were recognised: its messages are read if anybody wants them.
    /// `first` is how far away the next frame is in each direction, as it is
    /// shown, if that is known.
    pub(super) fn join_websocket(
        &mut self,
        core: &mut Core,
        first: [Option<u64>; 2],
    ) -> io::Result<()> {
        self.judge(core, true);
        if !core.wants.messages || self.verdict != Verdict::Keep {
            return Ok(());
        }
        let socket = WebSocket::joined(core, &self.exchange, first);
        self.websocket = Some(Box::new(socket));
        self.exchange.messages = Some([0; 2]);
        core.upgraded(&self.exchange)
    }

    /// Takes what comes next in `direction`, as it is shown.
    pub(super) fn websocket_input(
        &mut self,
        core: &mut Core,
        direction: Direction,
        time: Timestamp,
        input: Input<'_>,
    ) -> io::Result<()> {
        let Some(socket) = &mut self.websocket else {
            return Ok(());
        };
        socket.input(core, &mut self.exchange, direction, time, input)?;
        let before = socket.charged;
        let now = socket.memory(core);
        self.charged = (self.charged + now).saturating_sub(before);
        if socket.unframed != [0; 2] {
            self.note("WebSocket frames not found");
        }
        Ok(())
    }
}

impl Open {
    /// Frames of the connection beneath are missing, and perhaps some of this
    /// exchange in `direction`, as it is shown.
    pub(super) fn websocket_hole(&mut self, direction: Direction) {
        if let Some(socket) = &mut self.websocket
            && let Some(parser) = socket.parsers.get_mut(direction.index())
        {
            parser.lost(u64::MAX);
        }
    }
}

/// Whose messages go in a direction.
fn sender(exchange: &Exchange, direction: Direction) -> Sender {
    if direction == exchange.role.request_direction() {
        Sender::Client
    } else {
        Sender::Server
    }
}

fn kind(kind: Kind) -> MessageKind {
    match kind {
        Kind::Continuation => MessageKind::Continuation,
        Kind::Text => MessageKind::Text,
        Kind::Binary => MessageKind::Binary,
        Kind::Close => MessageKind::Close,
        Kind::Ping => MessageKind::Ping,
        Kind::Pong => MessageKind::Pong,
        Kind::Other(opcode) => MessageKind::Reserved(opcode),
    }
}
