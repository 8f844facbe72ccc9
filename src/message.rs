//! Messages within an exchange that are of interest before it ends: those of
//! a WebSocket, the events of an event stream, the messages of a gRPC call.

use crate::event::{Direction, Timestamp};
use crate::exchange::BodyState;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// WebSocket, UTF-8 text (RFC 6455 5.6).
    Text,
    /// WebSocket, any bytes.
    Binary,
    /// WebSocket, the end of a message whose beginning was not seen.
    Continuation,
    /// WebSocket, the closing handshake (RFC 6455 5.5.1).
    Close,
    /// WebSocket (RFC 6455 5.5.2).
    Ping,
    /// WebSocket (RFC 6455 5.5.3).
    Pong,
    /// WebSocket, an opcode without a meaning.
    Reserved(u8),
    /// An event of `text/event-stream`.
    Event,
    /// A length-prefixed message of gRPC.
    Grpc,
}

impl MessageKind {
    /// The name in JSON (`type`) and in text.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Binary => "binary",
            Self::Continuation => "continuation",
            Self::Close => "close",
            Self::Ping => "ping",
            Self::Pong => "pong",
            Self::Reserved(_) => "reserved",
            Self::Event => "event",
            Self::Grpc => "grpc",
        }
    }
}

impl<'a> Message<'a> {
    /// [`Message::data`] as text, if it is UTF-8. What was cut or broken off
    /// within a character is text up to that character.
    #[must_use]
    pub fn text(&self) -> Option<&'a str> {
        match std::str::from_utf8(self.data) {
            Ok(text) => Some(text),
            Err(error) if error.error_len().is_none() && self.state != BodyState::Complete => {
                std::str::from_utf8(self.data.get(..error.valid_up_to())?).ok()
            }
            Err(_) => None,
        }
    }
}

/// One message, borrowed for the hand-over.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Counted from 1 in its exchange, both directions together.
    pub number: u64,
    /// Which way it went, seen from the process.
    pub direction: Direction,
    /// When its last byte was transferred.
    pub time: Timestamp,
    /// What it is.
    pub kind: MessageKind,
    /// Bytes of the message, decompressed; `None` when unknown.
    pub size: Option<u64>,
    /// Bytes of its payload on the wire.
    pub wire_size: u64,
    /// Frames that it came in (WebSocket), else 1.
    pub fragments: u32,
    /// It was compressed by itself (permessage-deflate, gRPC's flag).
    pub compressed: bool,
    /// What became of it.
    pub state: BodyState,
    /// Its beginning, up to `--max-body`: decompressed when that was possible.
    pub data: &'a [u8],
    /// WebSocket close: code and reason, if it has any.
    pub close: Option<(u16, &'a [u8])>,
    /// Event stream: the event's type, if it names one.
    pub event: Option<&'a [u8]>,
    /// Event stream: the event's id, if it has one.
    pub event_id: Option<&'a [u8]>,
}
