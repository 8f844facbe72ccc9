//! A request and its response, as they are handed to the outputs.

use std::sync::Arc;

use crate::event::{ConnectionInfo, Direction, MissingReason, Timestamp};
use crate::process::Process;

/// Whose view an exchange is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The process sent the request.
    Client,
    /// The process received the request.
    Server,
}

impl Role {
    /// The name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }

    /// The direction in which this role's requests go.
    #[must_use]
    pub const fn request_direction(self) -> Direction {
        match self {
            Self::Client => Direction::Send,
            Self::Server => Direction::Receive,
        }
    }
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Request and response were seen to their ends.
    Complete,
    /// The connection was reset.
    Reset,
    /// The connection ended early.
    Closed,
    /// It was still running when the capture ended.
    Open,
}

impl State {
    /// The name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Open => "open",
        }
    }
}

/// What a connection turned into after this exchange (CONNECT, 101).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Upgrade {
    /// Bytes that are somebody else's (CONNECT, an unknown protocol).
    Tunnel,
    /// WebSocket (RFC 6455).
    WebSocket,
    /// HTTP/2 in clear (RFC 7540 3.2).
    H2c,
}

impl Upgrade {
    /// The name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tunnel => "tunnel",
            Self::WebSocket => "websocket",
            Self::H2c => "h2c",
        }
    }
}

/// HTTP version of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    Http2,
}

impl Version {
    /// `HTTP/1.1` and the like.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }
}

/// A half-open range of a [`Fields`] buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    start: u32,
    end: u32,
}

/// Header or trailer fields in the order of the wire: one buffer, no
/// allocation per field. Names as written, values without surrounding white
/// space; neither need be UTF-8.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    bytes: Vec<u8>,
    spans: Vec<(Span, Span)>,
}

impl Fields {
    /// An empty list with room for `fields` fields of `bytes` bytes in all.
    #[must_use]
    pub fn with_capacity(fields: usize, bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            spans: Vec::with_capacity(fields),
        }
    }

    /// Appends a field.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let name = self.append(name);
        let value = self.append(value);
        self.spans.push((name, value));
    }

    fn append(&mut self, part: &[u8]) -> Span {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(part);
        // A header is at most 256 KiB, far below 4 GiB.
        Span {
            start: u32::try_from(start).unwrap_or(u32::MAX),
            end: u32::try_from(self.bytes.len()).unwrap_or(u32::MAX),
        }
    }

    fn slice(&self, span: Span) -> &[u8] {
        self.bytes
            .get(span.start as usize..span.end as usize)
            .unwrap_or_default()
    }

    /// Name and value of each field, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> + '_ {
        self.spans
            .iter()
            .map(|(name, value)| (self.slice(*name), self.slice(*value)))
    }

    /// Lets `each` change the values in place, given each name beside them.
    pub fn values_mut(&mut self, mut each: impl FnMut(&[u8], &mut [u8])) {
        for (name, value) in &self.spans {
            // A name stands before its value.
            let split = self.bytes.split_at_mut_checked(value.start as usize);
            let Some((before, after)) = split else {
                continue;
            };
            let name = before.get(name.start as usize..name.end as usize);
            let length = value.end.saturating_sub(value.start) as usize;
            each(
                name.unwrap_or_default(),
                after.get_mut(..length).unwrap_or_default(),
            );
        }
    }

    /// The value of the first field with this name, ignoring ASCII case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// The values of all fields with this name, ignoring ASCII case.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + 'a {
        self.iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// Number of fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }
}

/// What became of a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BodyState {
    /// Whole, and kept whole.
    #[default]
    Complete,
    /// More than `--max-body`: the rest is only counted.
    Cut,
    /// Bytes are missing, or the message ended before its body did.
    Lost,
    /// The content coding could not be undone.
    Undecodable,
}

impl BodyState {
    /// The name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Cut => "cut",
            Self::Lost => "lost",
            Self::Undecodable => "undecodable",
        }
    }
}

/// A hole in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Where it begins, in bytes from the body's start (without chunk
    /// framing).
    pub offset: u64,
    /// How long it is, in bytes.
    pub length: u64,
    /// Why.
    pub reason: MissingReason,
}

/// A message's body, its chunk framing undone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// Bytes on the wire without chunk framing, holes included.
    pub encoded_size: u64,
    /// Bytes after the content codings were undone; `None` when unknown
    /// (codings that are not undone, or a hole).
    pub size: Option<u64>,
    /// Content codings, first applied first (`gzip`). Lower case.
    pub encodings: Vec<String>,
    /// The beginning, up to `--max-body` and to the first hole, the codings
    /// undone. Still encoded if `state` is [`BodyState::Undecodable`].
    pub bytes: Vec<u8>,
    /// What became of it.
    pub state: BodyState,
    /// Holes, in order.
    pub missing: Vec<Missing>,
    /// gRPC: the length-prefixed messages in it, in order.
    pub messages: Option<Box<BodyMessages>>,
}

/// The length-prefixed messages of a gRPC body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BodyMessages {
    /// How many began.
    pub count: u64,
    /// The first of them (the rest is counted).
    pub listed: Vec<BodyMessage>,
    /// Trailer fields that gRPC-Web puts into the body.
    pub trailers: Option<Fields>,
}

/// One of [`BodyMessages`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyMessage {
    /// Bytes, as its prefix says, compressed or not.
    pub size: u64,
    /// Its prefix says that it is compressed.
    pub compressed: bool,
    /// It was seen to its end.
    pub complete: bool,
}

impl Body {
    /// [`Body::bytes`] as text, if they are UTF-8. What was cut or broken off
    /// within a character is text up to that character.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match std::str::from_utf8(&self.bytes) {
            Ok(text) => Some(text),
            Err(error)
                if error.error_len().is_none()
                    && matches!(self.state, BodyState::Cut | BodyState::Lost) =>
            {
                let whole = self.bytes.get(..error.valid_up_to())?;
                std::str::from_utf8(whole).ok()
            }
            Err(_) => None,
        }
    }
}

/// A response with a 1xx status before the final one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interim {
    /// Status code.
    pub status: u16,
    /// Header fields.
    pub headers: Fields,
}

/// Stands for the method or the target of a request of HTTP/2 that is not known,
/// because it refers to what was said before the connection was joined.
pub const UNKNOWN: &[u8] = b"<unknown>";

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Method as written.
    pub method: Vec<u8>,
    /// Request target as written (origin-form, absolute-form, authority-form
    /// or `*`; RFC 9112 3.2). With `--redact` secrets are masked.
    pub target: Vec<u8>,
    /// `http` or `https`: the absolute-form's, else by TLS.
    pub scheme: &'static str,
    /// The authority that `--host` looks at: that of an absolute-form or
    /// CONNECT target, else Host, with the port if there was one. `None` when
    /// there was none.
    pub host: Option<Vec<u8>>,
    /// Version.
    pub version: Version,
    /// Header fields.
    pub headers: Fields,
    /// Trailer fields.
    pub trailers: Fields,
    /// Body.
    pub body: Body,
}

impl Request {
    /// `https://example.com/x`: scheme, authority and path, with the target
    /// as it is if it is in absolute-form; for CONNECT the authority alone (but
    /// for one that asks for a protocol, which has a path). What is not known
    /// of it (HTTP/2 joined late) is `<unknown>`.
    #[must_use]
    pub fn url(&self) -> Vec<u8> {
        self.url_parts().concat()
    }

    /// The pieces that make up [`Request::url`], for outputs that need no
    /// copy of it.
    #[must_use]
    pub fn url_parts(&self) -> [&[u8]; 5] {
        let unknown = self.target == UNKNOWN && self.version == Version::Http2;
        let origin = self.target.starts_with(b"/");
        let connect = self.method == b"CONNECT" && !self.is_extended_connect();
        if connect || !origin && self.target != b"*" && !unknown {
            return [&[], &[], &[], &[], &self.target];
        }
        let (slash, path): (&[u8], &[u8]) = match self.target.as_slice() {
            b"*" => (b"", b""),
            // A path it is.
            target if unknown => (b"/", target),
            target => (b"", target),
        };
        let host = match &self.host {
            Some(host) => host,
            None if self.has_unknown_fields() => UNKNOWN,
            None => b"",
        };
        [self.scheme.as_bytes(), b"://", host, slash, path]
    }

    /// CONNECT for a protocol, which has a path (RFC 8441 4).
    fn is_extended_connect(&self) -> bool {
        let asks = self.version == Version::Http2 && self.method == b"CONNECT";
        asks && self.target.starts_with(b"/")
    }

    /// Whether one of its fields has a name that is not known: any may be it.
    fn has_unknown_fields(&self) -> bool {
        let mut names = self.headers.iter().map(|(name, _)| name);
        self.version == Version::Http2 && names.any(|name| name.starts_with(b"<unknown:"))
    }
}

/// A final response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Reason phrase as written, possibly empty.
    pub reason: Vec<u8>,
    /// Version.
    pub version: Version,
    /// Header fields.
    pub headers: Fields,
    /// Trailer fields.
    pub trailers: Fields,
    /// The 1xx responses before it.
    pub interim: Vec<Interim>,
    /// Body.
    pub body: Body,
}

/// First and last byte of each message; `None` where it was not seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// First byte of the request.
    pub request_start: Option<Timestamp>,
    /// Last byte of the request.
    pub request_end: Option<Timestamp>,
    /// First byte of the (final) response.
    pub response_start: Option<Timestamp>,
    /// Last byte of the response.
    pub response_end: Option<Timestamp>,
}

/// A request and its response on one connection, as one process saw them.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The connection's number, counted from 1 in a run. JSON `connection`.
    pub connection: u64,
    /// The exchange's number in its connection, counted from 1. JSON `id` is
    /// `connection.ordinal`.
    pub ordinal: u64,
    /// HTTP/2: the stream's identifier (RFC 9113 5.1.1).
    pub stream: Option<u32>,
    /// Whose view this is.
    pub role: Role,
    /// How it ended.
    pub state: State,
    /// The process (that of the record with the first byte), if known.
    pub process: Option<Arc<Process>>,
    /// Its thread, 0 when unknown.
    pub tid: u32,
    /// The thread's name.
    pub thread: Vec<u8>,
    /// Addresses, source and TLS library.
    pub info: Arc<ConnectionInfo>,
    /// The request; `None` when none was seen.
    pub request: Option<Request>,
    /// The response; `None` when none was seen. One with `status` 0 and only
    /// `interim` does not occur: interim responses without a final one are in
    /// [`Exchange::interim`].
    pub response: Option<Response>,
    /// 1xx responses while there is no final one.
    pub interim: Vec<Interim>,
    /// When.
    pub times: Times,
    /// Bytes of this exchange that were transferred and are not there.
    pub lost_bytes: u64,
    /// What the connection turned into after it.
    pub upgraded_to: Option<Upgrade>,
    /// Bytes after the upgrade, sent and received (index by
    /// [`Direction::index`]).
    pub tunnel_bytes: [u64; 2],
    /// WebSocket: messages after the upgrade, sent and received; `None` if they
    /// were not read.
    pub messages: Option<[u64; 2]>,
    /// Remarks for the user, such as `joined in mid-connection`.
    pub notes: Vec<&'static str>,
}

impl Exchange {
    /// The first time that is known: first byte of the request, else of the
    /// response.
    #[must_use]
    pub fn start(&self) -> Timestamp {
        self.times
            .request_start
            .or(self.times.response_start)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::samples;

    #[test]
    fn a_url_says_what_is_not_known_of_it() {
        let mut request = samples::request("GET", "https", "a:1", "/x");
        let url = |request: &Request| String::from_utf8(request.url()).unwrap();
        assert_eq!(url(&request), "https://a:1/x");
        request.version = Version::Http2;
        request.target = UNKNOWN.to_vec();
        assert_eq!(url(&request), "https://a:1/<unknown>");
        request.host = None;
        assert_eq!(url(&request), "https:///<unknown>");
        request.headers.push(b"<unknown:62>", b"<unknown:62>");
        assert_eq!(url(&request), "https://<unknown>/<unknown>");
        request.target = b"/x".to_vec();
        assert_eq!(url(&request), "https://<unknown>/x");
        request.target = b"*".to_vec();
        request.host = Some(b"a".to_vec());
        assert_eq!(url(&request), "https://a");
        request.method = b"CONNECT".to_vec();
        request.target = b"a:1".to_vec();
        assert_eq!(url(&request), "a:1");
        request.target = b"/chat".to_vec();
        assert_eq!(url(&request), "https://a/chat");
    }
}
