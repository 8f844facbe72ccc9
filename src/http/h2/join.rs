//! Where frames begin in a direction that is joined in the middle, or whose
//! way was lost in a gap.
//!
//! Nine bytes are soon mistaken for a frame's header, so more is asked for: a
//! header section that decodes to a method or a status, or frames of streams
//! that are open, one behind the other.

use super::{FrameHeader, HEADER_LENGTH, flag, fragment, kind};
use crate::http::hpack::{Decoder, Error};

/// What a search may find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Either direction: nothing is known of the connection.
    Any,
    /// The direction of requests.
    Requests,
    /// The direction of responses.
    Responses,
}

/// What a search has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A frame begins here; nothing tells which direction it is of.
    Frame(usize),
    /// A request's header section is in the frame that begins here.
    Request(usize),
    /// A response's.
    Response(usize),
    /// Nothing, and what comes before this place is of no use.
    Nothing(usize),
}

/// Frames that have to follow each other where none is known by its content.
const CHAIN: usize = 3;

/// Bytes of a header section that are decoded to see what it is: pseudo-fields
/// come first (RFC 9113 8.3).
const LOOK: usize = 1024;

/// Looks for the first frame in `bytes`. `is_open` knows the streams that are
/// open.
///
/// Bytes that are made to look like header sections everywhere would be
/// decoded over and over: `work` is what may be decoded, in bytes, and what is
/// left of it afterwards. When it is used up no header section is found.
pub fn find(
    bytes: &[u8],
    wanted: Wanted,
    is_open: &dyn Fn(u32) -> bool,
    work: &mut usize,
) -> Found {
    let mut useless = bytes.len().saturating_sub(HEADER_LENGTH - 1);
    let mut next = 0;
    loop {
        if wanted == Wanted::Any {
            // Nothing but a header section tells what it is.
            let kinds = bytes.get(next + 3..).unwrap_or_default();
            let Some(skip) = memchr::memchr(kind::HEADERS, kinds) else {
                break;
            };
            next += skip;
        }
        let at = next;
        next += 1;
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(header) = FrameHeader::parse(rest) else {
            break;
        };
        if !header.is_plausible() || header.length == 0 && header.kind == kind::DATA {
            continue;
        }
        match judge(rest, &header, wanted, is_open, work) {
            Verdict::Frame => return Found::Frame(at),
            Verdict::Request => return Found::Request(at),
            Verdict::Response => return Found::Response(at),
            Verdict::Maybe => useless = useless.min(at),
            Verdict::No => {}
        }
    }
    Found::Nothing(useless)
}

/// Whether `bytes` are nothing but frames, the last of them perhaps cut off.
#[must_use]
pub fn looks_framed(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(header) = FrameHeader::parse(rest) {
        if !header.is_plausible() {
            return false;
        }
        rest = rest
            .get(HEADER_LENGTH + header.length as usize..)
            .unwrap_or_default();
        if rest.is_empty() {
            return true;
        }
    }
    false
}

enum Verdict {
    No,
    /// More bytes would tell.
    Maybe,
    Frame,
    Request,
    Response,
}

fn judge(
    bytes: &[u8],
    header: &FrameHeader,
    wanted: Wanted,
    is_open: &dyn Fn(u32) -> bool,
    work: &mut usize,
) -> Verdict {
    let whole = HEADER_LENGTH + header.length as usize;
    if header.kind == kind::HEADERS && header.has(flag::END_HEADERS) {
        let Some(payload) = bytes.get(HEADER_LENGTH..whole) else {
            return Verdict::Maybe;
        };
        let follows = bytes.get(whole..).unwrap_or_default();
        if FrameHeader::parse(follows).is_some_and(|next| !next.is_sound()) {
            return Verdict::No;
        }
        let verdict = section(header, payload, work);
        match (&verdict, wanted) {
            (Verdict::Request, Wanted::Any | Wanted::Requests)
            | (Verdict::Response, Wanted::Any | Wanted::Responses) => return verdict,
            _ => {}
        }
    }
    if wanted == Wanted::Any {
        return Verdict::No;
    }
    chain(bytes, is_open)
}

/// Whether a header section decodes to a request's or a response's.
fn section(header: &FrameHeader, payload: &[u8], work: &mut usize) -> Verdict {
    let Ok(fragment) = fragment(header, payload) else {
        return Verdict::No;
    };
    let block = fragment.block.get(..LOOK).unwrap_or(fragment.block);
    let Some(left) = work.checked_sub(block.len()) else {
        return Verdict::No;
    };
    *work = left;
    let mut verdict = Verdict::No;
    let mut fields = 0;
    let mut wrong = false;
    let decoded = Decoder::new(false).decode(block, &mut |field| {
        fields += 1;
        match field.name {
            b":method" if !field.unknown => {
                wrong |= field.value.is_empty() || !field.value.iter().all(u8::is_ascii_graphic);
                verdict = Verdict::Request;
            }
            b":status" if !field.unknown => {
                wrong |= field.value.len() != 3 || !field.value.iter().all(u8::is_ascii_digit);
                verdict = Verdict::Response;
            }
            name => wrong |= name.is_empty(),
        }
    });
    // One byte alone is soon taken for `:status: 200`.
    let short = fields < 2 && payload.len() < 2 && !header.has(flag::END_STREAM);
    let cut = block.len() < fragment.block.len();
    let sound = decoded.is_ok() || cut && matches!(decoded, Err(Error::Truncated(_)));
    if !sound || wrong || short {
        return Verdict::No;
    }
    verdict
}

/// Whether frames follow each other from here, the first of an open stream or
/// of the connection.
fn chain(bytes: &[u8], is_open: &dyn Fn(u32) -> bool) -> Verdict {
    let mut at = 0usize;
    let mut open = 0;
    for n in 0..CHAIN {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(header) = FrameHeader::parse(rest) else {
            return Verdict::Maybe;
        };
        if !header.is_plausible() {
            return Verdict::No;
        }
        if header.stream != 0 && is_open(header.stream) {
            open += 1;
        }
        // Two of open streams are as good as three of any.
        if open >= 2 || n + 1 == CHAIN {
            return Verdict::Frame;
        }
        at = at.saturating_add(HEADER_LENGTH + header.length as usize);
    }
    Verdict::No
}
