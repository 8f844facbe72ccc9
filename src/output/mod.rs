//! Where exchanges go: one file per format, behind one trait.

use std::io;
use std::sync::Arc;

use crate::event::{ConnectionInfo, Direction, MissingReason, Timestamp};
use crate::exchange::{Exchange, Role};
use crate::message::Message;
use crate::process::Process;
use crate::tls_flow::TlsFlow;

mod call;
pub mod escape;
pub mod file;
pub mod har;
pub mod json;
pub mod pcapng;
pub mod text;

#[cfg(test)]
pub(crate) mod samples;

/// What a sink wants to be given; the engine does no work for what nobody
/// wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// [`Sink::exchange`] with bodies (the bytes; sizes are always there).
    pub bodies: bool,
    /// [`Sink::wire`].
    pub wire: bool,
    /// [`Sink::request`].
    pub requests: bool,
    /// [`Sink::pending`].
    pub pending: bool,
    /// [`Sink::message`] and [`Sink::upgraded`].
    pub messages: bool,
}

impl Wants {
    /// What either wants.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self {
            bodies: self.bodies || other.bodies,
            wire: self.wire || other.wire,
            requests: self.requests || other.requests,
            pending: self.pending || other.pending,
            messages: self.messages || other.messages,
        }
    }
}

/// Consecutive bytes of one direction of a connection, as they were on the
/// wire (chunk framing and content codings untouched), that belong to an
/// exchange which the filter let through.
#[derive(Clone, Copy, Debug)]
pub struct Wire<'a> {
    /// The engine's number of the connection (JSON `connection`).
    pub connection: u64,
    /// Its facts.
    pub info: &'a Arc<ConnectionInfo>,
    /// Which way.
    pub direction: Direction,
    /// When (see [`crate::event::Event::time`]).
    pub time: Timestamp,
    /// The process of this piece, if known.
    pub process: Option<&'a Arc<Process>>,
    /// Its thread, 0 when unknown.
    pub tid: u32,
    /// The thread's name.
    pub thread: &'a [u8],
    /// Position in the stream, in the numbering of
    /// [`crate::event::Data::offset`]. Rises; leaps where the filter dropped
    /// something.
    pub offset: u64,
    /// For a connection that is HTTP/2, from its first byte on or after an
    /// upgrade.
    pub http2: Option<Http2>,
    /// For a connection that was a WebSocket already when it was joined: what
    /// the process is.
    pub websocket: Option<Role>,
    /// The bytes or the hole.
    pub content: Content<'a>,
}

/// What is to be known of an HTTP/2 connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2 {
    /// What the process is.
    pub role: Role,
    /// Its frames are written anew: offsets are not those of
    /// [`crate::event::Data::offset`], and what the other end's view holds may
    /// come in another order.
    pub anew: bool,
}

/// What a [`Wire`] carries.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// Bytes, never empty.
    Bytes(&'a [u8]),
    /// Bytes that were transferred and are not there.
    Gap {
        /// How many.
        length: u64,
        /// Why.
        reason: MissingReason,
    },
    /// The direction ended here (FIN), really or because the capture ended.
    End {
        /// Nothing on the wire said so: the capture or the filter ended it.
        synthetic: bool,
    },
    /// The connection was reset: nothing more comes in either direction.
    Reset,
}

/// An output. Errors end the run, but for a broken pipe, which ends it well.
pub trait Sink {
    /// What this sink wants.
    fn wants(&self) -> Wants;

    /// A request's header is there (`--partial`). `exchange.response` is
    /// `None`, the request's body is empty as yet.
    fn request(&mut self, _exchange: &Exchange) -> io::Result<()> {
        Ok(())
    }

    /// An exchange that is wanted has lasted for a second. Its response's head
    /// may be there, its bodies are not whole. Called once for an exchange, and
    /// not if it ends before or becomes a WebSocket.
    fn pending(&mut self, _exchange: &Exchange) -> io::Result<()> {
        Ok(())
    }

    /// An exchange that is wanted became a WebSocket: there is its response,
    /// its messages follow, and it ends with its connection.
    fn upgraded(&mut self, _exchange: &Exchange) -> io::Result<()> {
        Ok(())
    }

    /// A message of an exchange that is wanted and has not ended.
    fn message(&mut self, _exchange: &Exchange, _message: &Message<'_>) -> io::Result<()> {
        Ok(())
    }

    /// An exchange has ended.
    fn exchange(&mut self, _exchange: &Exchange) -> io::Result<()> {
        Ok(())
    }

    /// A TLS connection that was not read has ended (`--tls-flows`).
    fn tls(&mut self, _flow: &TlsFlow) -> io::Result<()> {
        Ok(())
    }

    /// Bytes of an exchange that is wanted.
    fn wire(&mut self, _wire: &Wire<'_>) -> io::Result<()> {
        Ok(())
    }

    /// Called at least every 100 ms with the present time (in a capture file:
    /// the packets' time): flush, release what was held for order.
    fn tick(&mut self, _now: Timestamp) -> io::Result<()> {
        Ok(())
    }

    /// The capture has ended: write what is held, flush.
    fn finish(&mut self, _now: Timestamp) -> io::Result<()> {
        Ok(())
    }

    /// Remarks for the summary on stderr, one line each (such as the `-d`
    /// option that Wireshark needs). Asked after [`Sink::finish`].
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }
}
