//! HTTP/1 as pure functions and state machines over bytes: no input, no
//! output, no connection. What they find is put together by the engine.

pub mod chunked;
pub mod framing;
pub mod h2;
pub mod head;
pub mod hpack;
pub mod start;
pub mod websocket;

/// Bytes that are not what they should be (RFC 9112).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;
