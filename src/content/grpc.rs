//! gRPC in a body: length-prefixed messages, and what its fields say
//! (the protocol's PROTOCOL-HTTP2.md and PROTOCOL-WEB.md).

mod text;

pub use text::{message, method, status_name, timeout};

use crate::exchange::Fields;
use crate::http::head;

/// Longest trailer section of gRPC-Web that is kept, in bytes.
const TRAILERS: usize = 64 << 10;

/// The prefix of a message: a byte of flags, four of length.
const PREFIX: usize = 5;

/// Flag: the message is compressed by itself.
const COMPRESSED: u8 = 0x01;

/// Flag of gRPC-Web: not a message but the trailer section.
const IS_TRAILERS: u8 = 0x80;

/// A message, borrowed for the hand-over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrpcMessage<'a> {
    /// Counted from 1.
    pub index: u64,
    /// It is compressed, by the coding of `grpc-encoding`.
    pub compressed: bool,
    /// Bytes, as its prefix says.
    pub length: u32,
    /// Its beginning, up to the cap and the first missing byte.
    pub data: &'a [u8],
    /// It was seen to its end and no byte of it is missing.
    pub complete: bool,
}

/// What is found in a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrpcEvent<'a> {
    /// A message has ended.
    Message(GrpcMessage<'a>),
    /// The trailer section that gRPC-Web puts into the body.
    Trailers(Fields),
}

/// How messages are put into the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrpcForm {
    /// gRPC: messages alone.
    Http2,
    /// gRPC-Web: messages, then trailer fields.
    Web,
    /// gRPC-Web in base64 (`application/grpc-web-text`), of which each piece
    /// may be padded.
    WebText,
}

/// The message that is being read.
#[derive(Clone, Copy, Debug)]
struct Open {
    flags: u8,
    length: u32,
    /// Bytes that are still to come.
    left: u32,
    /// A byte of it is missing.
    damaged: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Prefix([u8; PREFIX], usize),
    Open(Open),
    /// Where the next message begins is not known.
    Lost,
}

/// Finds the messages of one direction of a call, piece by piece. What a
/// prefix says of the length is not believed: space is taken for what came.
#[derive(Debug)]
pub struct GrpcFrames {
    form: GrpcForm,
    state: State,
    base64: Base64,
    kept: Vec<u8>,
    cap: usize,
    count: u64,
}

impl GrpcFrames {
    /// Of each message at most `cap` bytes are kept.
    #[must_use]
    pub const fn new(form: GrpcForm, cap: usize) -> Self {
        Self {
            form,
            state: State::Prefix([0; PREFIX], 0),
            base64: Base64 {
                bits: 0,
                digits: 0,
                padded: false,
            },
            kept: Vec::new(),
            cap,
            count: 0,
        }
    }

    /// How many messages have begun.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Whether it is unknown where messages begin: bytes are missing, or what
    /// came is not gRPC.
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        matches!(self.state, State::Lost)
    }

    /// Bytes of memory that are held.
    #[must_use]
    pub const fn memory(&self) -> usize {
        self.kept.capacity()
    }

    /// Reads the next bytes of the body.
    pub fn push(&mut self, bytes: &[u8], found: &mut dyn FnMut(GrpcEvent<'_>)) {
        if self.form != GrpcForm::WebText {
            return self.read(bytes, found);
        }
        for piece in bytes.chunks(4096) {
            let mut decoded = Vec::with_capacity(piece.len() / 4 * 3 + 3);
            let good = self.base64.decode(piece, &mut decoded);
            self.read(&decoded, found);
            if !good {
                self.state = State::Lost;
            }
        }
    }

    fn read(&mut self, mut bytes: &[u8], found: &mut dyn FnMut(GrpcEvent<'_>)) {
        loop {
            match &mut self.state {
                State::Lost => return,
                State::Prefix(prefix, have) => {
                    let Some((byte, rest)) = bytes.split_first() else {
                        return;
                    };
                    if let Some(slot) = prefix.get_mut(*have) {
                        *slot = *byte;
                    }
                    *have += 1;
                    bytes = rest;
                    if *have == PREFIX {
                        let prefix = *prefix;
                        self.state = self.begin(prefix);
                    }
                }
                State::Open(open) => {
                    let take = bytes.len().min(open.left as usize);
                    let (data, rest) = bytes.split_at(take);
                    // At most `left`, which is 32 bits wide.
                    open.left -= u32::try_from(take).unwrap_or(open.left);
                    let open = *open;
                    if open.left > 0 {
                        self.keep(data, open);
                        return;
                    }
                    bytes = rest;
                    self.end(data, open, found);
                }
            }
        }
    }

    /// What a whole prefix begins.
    fn begin(&mut self, prefix: [u8; PREFIX]) -> State {
        let [flags, length @ ..] = prefix;
        let allowed = match self.form {
            GrpcForm::Http2 => COMPRESSED,
            GrpcForm::Web | GrpcForm::WebText => COMPRESSED | IS_TRAILERS,
        };
        if flags & !allowed != 0 {
            return State::Lost;
        }
        if flags & IS_TRAILERS == 0 {
            self.count += 1;
        }
        let length = u32::from_be_bytes(length);
        State::Open(Open {
            flags,
            length,
            left: length,
            damaged: false,
        })
    }

    /// Keeps bytes of a message that has not ended.
    fn keep(&mut self, data: &[u8], open: Open) {
        if open.damaged {
            return;
        }
        let room = self.cap_of(open).saturating_sub(self.kept.len());
        let data = data.get(..room).unwrap_or(data);
        self.kept.extend_from_slice(data);
    }

    fn cap_of(&self, open: Open) -> usize {
        if open.flags & IS_TRAILERS == 0 {
            self.cap
        } else {
            TRAILERS
        }
    }

    /// A message has ended, and `data` is the last of it.
    fn end(&mut self, data: &[u8], open: Open, found: &mut dyn FnMut(GrpcEvent<'_>)) {
        self.state = State::Prefix([0; PREFIX], 0);
        let whole = if self.kept.is_empty() && !open.damaged {
            data.get(..self.cap_of(open)).unwrap_or(data)
        } else {
            self.keep(data, open);
            &self.kept
        };
        if open.flags & IS_TRAILERS == 0 {
            found(GrpcEvent::Message(message_of(self.count, open, whole)));
        } else if open.flags & COMPRESSED == 0 && !open.damaged {
            let mut section = whole.to_vec();
            section.extend_from_slice(b"\r\n");
            found(GrpcEvent::Trailers(head::trailers(&section)));
        }
        // One huge message must not be paid for during the rest of the call.
        self.kept.clear();
        self.kept.shrink_to(16 << 10);
    }

    /// Bytes are missing, nobody knows how many: what follows cannot be told
    /// apart any more. The message that was being read is handed over.
    pub fn lost(&mut self, found: &mut dyn FnMut(GrpcEvent<'_>)) {
        self.finish(found);
        self.state = State::Lost;
    }

    /// So many bytes of the body are missing. If all of them are of one
    /// message, those after it are still found.
    pub fn missing(&mut self, length: u64, found: &mut dyn FnMut(GrpcEvent<'_>)) {
        match &mut self.state {
            State::Open(open)
                if length <= u64::from(open.left) && self.form != GrpcForm::WebText =>
            {
                open.left -= u32::try_from(length).unwrap_or(open.left);
                open.damaged |= length > 0;
                let open = *open;
                if open.left == 0 {
                    self.end(&[], open, found);
                }
            }
            _ => self.lost(found),
        }
    }

    /// The body has ended: a message that has not is handed over as far as it
    /// came.
    pub fn finish(&mut self, found: &mut dyn FnMut(GrpcEvent<'_>)) {
        if let State::Open(open) = self.state
            && open.flags & IS_TRAILERS == 0
        {
            let open = Open {
                damaged: true,
                ..open
            };
            found(GrpcEvent::Message(message_of(self.count, open, &self.kept)));
        }
        self.kept = Vec::new();
        self.state = State::Prefix([0; PREFIX], 0);
    }
}

fn message_of(index: u64, open: Open, data: &[u8]) -> GrpcMessage<'_> {
    GrpcMessage {
        index,
        compressed: open.flags & COMPRESSED != 0,
        length: open.length,
        data,
        complete: !open.damaged,
    }
}

/// Base64 in pieces, of which each may end with padding.
#[derive(Debug)]
struct Base64 {
    bits: u32,
    digits: u8,
    /// Padding has begun, and what of it is still to come is passed over.
    padded: bool,
}

impl Base64 {
    /// Decodes what can be; `false` if something is no base64.
    fn decode(&mut self, piece: &[u8], out: &mut Vec<u8>) -> bool {
        for byte in piece {
            let digit = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' | b'-' => 62,
                b'/' | b'_' => 63,
                b'\r' | b'\n' | b' ' => continue,
                b'=' => {
                    if !self.pad(out) {
                        return false;
                    }
                    continue;
                }
                _ => return false,
            };
            self.padded = false;
            self.bits = self.bits << 6 | u32::from(digit);
            self.digits += 1;
            if self.digits == 4 {
                let [_, group @ ..] = self.bits.to_be_bytes();
                out.extend_from_slice(&group);
                (self.bits, self.digits) = (0, 0);
            }
        }
        true
    }

    /// One `=`: the first of a group ends it.
    fn pad(&mut self, out: &mut Vec<u8>) -> bool {
        let group = match self.digits {
            0 => return self.padded,
            2 => self.bits << 4,
            3 => self.bits >> 2,
            _ => return false,
        };
        let [_, _, first, second] = group.to_be_bytes();
        out.push(first);
        if self.digits == 3 {
            out.push(second);
        }
        (self.bits, self.digits, self.padded) = (0, 0, true);
        true
    }
}

#[cfg(test)]
mod tests;
