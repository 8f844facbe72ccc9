//! HTTP/2 frames (RFC 9113 4 and 6) as pure functions over bytes: what a
//! frame's header says, whether it can be one, what is left of a payload
//! without its padding. The engine puts together what they carry.

mod join;
mod payload;

pub use join::{Found, Wanted, find, looks_framed};
pub use payload::{Fragment, data_length, fragment, settings};

/// What a client begins a connection with (RFC 9113 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of a frame's header.
pub const HEADER_LENGTH: usize = 9;

/// The largest payload that needs no announcement (SETTINGS_MAX_FRAME_SIZE).
pub const FRAME_SIZE: u32 = 16_384;

/// Types of frames.
pub mod kind {
    /// Bytes of a body.
    pub const DATA: u8 = 0;
    /// The beginning of a header or trailer section.
    pub const HEADERS: u8 = 1;
    /// Deprecated by RFC 9113.
    pub const PRIORITY: u8 = 2;
    /// The stream ends here.
    pub const RST_STREAM: u8 = 3;
    /// Settings of the sender.
    pub const SETTINGS: u8 = 4;
    /// A request that the server makes up.
    pub const PUSH_PROMISE: u8 = 5;
    /// Is the peer there?
    pub const PING: u8 = 6;
    /// No further streams.
    pub const GOAWAY: u8 = 7;
    /// Flow control.
    pub const WINDOW_UPDATE: u8 = 8;
    /// More of a header section.
    pub const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub mod flag {
    /// DATA, HEADERS: nothing follows on the stream.
    pub const END_STREAM: u8 = 0x01;
    /// SETTINGS, PING: an acknowledgement.
    pub const ACK: u8 = 0x01;
    /// HEADERS, PUSH_PROMISE, CONTINUATION: the section ends here.
    pub const END_HEADERS: u8 = 0x04;
    /// DATA, HEADERS, PUSH_PROMISE: a length of padding comes first.
    pub const PADDED: u8 = 0x08;
    /// HEADERS: five bytes of priority come first.
    pub const PRIORITY: u8 = 0x20;
}

/// A frame's header (RFC 9113 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Bytes of payload, below 2^24.
    pub length: u32,
    /// One of [`kind`], or another.
    pub kind: u8,
    /// Of [`flag`], and others that mean nothing.
    pub flags: u8,
    /// The stream; 0 is the connection.
    pub stream: u32,
}

impl FrameHeader {
    /// Reads the first nine bytes of `bytes`; `None` if there are fewer. The
    /// reserved bit is ignored, as RFC 9113 4.1 says.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let &[a, b, c, kind, flags, s0, s1, s2, s3, ..] = bytes else {
            return None;
        };
        Some(Self {
            length: u32::from_be_bytes([0, a, b, c]),
            kind,
            flags,
            stream: u32::from_be_bytes([s0, s1, s2, s3]) & 0x7fff_ffff,
        })
    }

    /// The nine bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LENGTH] {
        let [_, a, b, c] = self.length.to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        [a, b, c, self.kind, self.flags, s0, s1, s2, s3]
    }

    /// Whether a flag is set.
    #[must_use]
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether RFC 9113 6 allows it: the stream that its type wants, and the
    /// length where that is fixed. A type that is not known is sound.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        let length = self.length;
        match self.kind {
            kind::DATA | kind::HEADERS | kind::CONTINUATION => self.stream != 0,
            kind::PUSH_PROMISE => self.stream != 0 && length >= 4,
            kind::PRIORITY => self.stream != 0 && length == 5,
            kind::RST_STREAM => self.stream != 0 && length == 4,
            kind::SETTINGS => {
                self.stream == 0
                    && length.is_multiple_of(6)
                    && (!self.has(flag::ACK) || length == 0)
            }
            kind::PING => self.stream == 0 && length == 8,
            kind::GOAWAY => self.stream == 0 && length >= 8,
            kind::WINDOW_UPDATE => length == 4,
            _ => true,
        }
    }

    /// Whether a search should believe it: sound, of a type that is in use,
    /// not larger than without announcement, with no flag that means nothing.
    #[must_use]
    pub const fn is_plausible(&self) -> bool {
        let flags = match self.kind {
            kind::DATA => flag::END_STREAM | flag::PADDED,
            kind::HEADERS => flag::END_STREAM | flag::END_HEADERS | flag::PADDED | flag::PRIORITY,
            kind::SETTINGS | kind::PING => flag::ACK,
            kind::PUSH_PROMISE => flag::END_HEADERS | flag::PADDED,
            kind::CONTINUATION => flag::END_HEADERS,
            kind::PRIORITY | kind::RST_STREAM | kind::GOAWAY | kind::WINDOW_UPDATE => 0,
            _ => return false,
        };
        self.is_sound() && self.flags & !flags == 0 && self.length <= FRAME_SIZE
    }
}

/// Whether a server's direction begins here: with SETTINGS that are no
/// acknowledgement (RFC 9113 3.4). `None`: too short to say.
#[must_use]
pub fn server_start(bytes: &[u8]) -> Option<bool> {
    let Some(header) = FrameHeader::parse(bytes) else {
        // The usual first byte of text is no 0.
        let fixed = [
            (0, 0),
            (3, kind::SETTINGS),
            (4, 0),
            (5, 0),
            (6, 0),
            (7, 0),
            (8, 0),
        ];
        let fits = |(at, value): (usize, u8)| bytes.get(at).is_none_or(|b| *b == value);
        return if fixed.into_iter().all(fits) {
            None
        } else {
            Some(false)
        };
    };
    let first = bytes.get(5).is_some_and(|b| *b == 0);
    Some(header.kind == kind::SETTINGS && header.flags == 0 && header.is_plausible() && first)
}

/// Why a stream or a connection was ended (RFC 9113 7), as a note.
#[must_use]
pub const fn error_note(code: u32) -> &'static str {
    match code {
        0x0 => "stream reset: NO_ERROR",
        0x1 => "stream reset: PROTOCOL_ERROR",
        0x2 => "stream reset: INTERNAL_ERROR",
        0x3 => "stream reset: FLOW_CONTROL_ERROR",
        0x4 => "stream reset: SETTINGS_TIMEOUT",
        0x5 => "stream reset: STREAM_CLOSED",
        0x6 => "stream reset: FRAME_SIZE_ERROR",
        0x7 => "stream reset: REFUSED_STREAM",
        0x8 => "stream reset: CANCEL",
        0x9 => "stream reset: COMPRESSION_ERROR",
        0xa => "stream reset: CONNECT_ERROR",
        0xb => "stream reset: ENHANCE_YOUR_CALM",
        0xc => "stream reset: INADEQUATE_SECURITY",
        0xd => "stream reset: HTTP_1_1_REQUIRED",
        _ => "stream reset: unknown code",
    }
}

#[cfg(test)]
mod tests;
