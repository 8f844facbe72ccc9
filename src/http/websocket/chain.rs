//! Frames in a row, as evidence that there are frames at all.
//!
//! A frame has no mark by which to know it, and compressed or masked payload
//! looks like anything. So a chain begins only where a call of the program (a
//! TLS record, a packet) began, because that is where frames begin, and every
//! header must be faultless, where the length before it says, their order
//! possible, their text UTF-8.
//!
//! What that is worth is counted in bits: how much rarer it is among bytes
//! that are something else. A header byte that most frames have is one of six
//! in 256, the mask one bit, a length that ends with a piece of the stream up
//! to seven, printable text one for each byte.

use super::Sender;
use super::frame::{CONTINUATION, Header, unmask};

/// Bytes held of a chain.
pub(super) const LIMIT: usize = 256 << 10;

/// Longest payload that is waited for, without holding it.
const LONGEST: u64 = 16 << 20;

/// What a header is worth: FIN, opcode and reserved bits, and the mask.
const HEADER: u32 = 6;

/// What at most the end of a frame is worth that is a piece's end too.
const ENDING: u32 = 7;

/// Bytes of a text that a number is not taken for.
const LEGIBLE: usize = 4;

/// What text is worth at most.
const TEXT: u32 = 16;

/// What a first frame must be worth that needs nobody to vouch for it.
pub(super) const ALONE: u32 = 26;

/// Frames that follow each other without a fault.
#[derive(Clone, Debug, Default)]
pub(super) struct Chain {
    /// Where the next header is to be, from the start of what is held; it may
    /// be beyond its end.
    pub(super) at: usize,
    /// Where the frames of which the first one vouches begin.
    pub(super) sure: usize,
    /// All frames.
    pub(super) frames: u32,
    /// The end of the last one has not come: it is too long to be held.
    long: bool,
    /// Whether a message is in fragments, once that is known.
    within: Option<bool>,
    pub(super) evidence: Evidence,
}

/// What a chain is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Frames that count: whole messages, and those of control.
    pub frames: u32,
    /// How much rarer such bytes are elsewhere, as a power of two.
    pub bits: u32,
    /// Whether they are masked; `None` while there is no frame.
    pub masked: Option<bool>,
    /// The masks, one upon the other, and the last of them.
    all_masks: u32,
    last_mask: Option<u32>,
    /// Frames with another mask than the one before.
    fresh: u32,
    /// Printable texts, and bytes in them.
    texts: u32,
    text_bytes: u64,
    /// Messages that are no readable text.
    others: u32,
}

impl Evidence {
    /// A client makes up a mask for each frame. Where another protocol has
    /// something in its place, it is the same each time or a text.
    pub fn is_masked_at_random(&self) -> bool {
        self.masked == Some(true)
            && self.fresh > 0
            && self.all_masks & 0x8080_8080 != 0
            && (self.frames == 1 || self.fresh > 1)
    }

    /// Three texts and nothing but texts.
    pub fn is_text(&self) -> bool {
        self.texts >= 3 && self.text_bytes >= 16 && self.others == 0
    }

    /// Takes a frame that is no fragment: its mask, of how many bytes its
    /// text is if it is one that can be read, what else it is worth.
    fn frame(&mut self, header: &Header, text: Option<usize>, worth: u32) {
        let mask = header.mask.map(u32::from_be_bytes);
        let fresh = mask.is_none() || mask != self.last_mask;
        self.last_mask = mask;
        self.all_masks |= mask.unwrap_or_default();
        self.fresh = self.fresh.saturating_add(u32::from(fresh));
        let text = text.unwrap_or_default();
        if text >= LEGIBLE {
            self.texts = self.texts.saturating_add(1);
            self.text_bytes = self.text_bytes.saturating_add(text as u64);
        } else if text == 0 && !header.is_control() && header.length > 0 {
            self.others = self.others.saturating_add(1);
        }
        // A run of the same bytes can be a row of the same frames.
        if fresh || text > 0 {
            self.frames = self.frames.saturating_add(1);
            let text = TEXT.min(u32::try_from(text).unwrap_or(TEXT));
            self.bits = self.bits.saturating_add(worth + text);
        }
    }
}

impl Chain {
    /// Goes on with `held`, of which the first `base` bytes are not the
    /// chain's, and in which pieces began at `starts`. Whether it can be one.
    pub(super) fn advance(
        &mut self,
        held: &[u8],
        base: usize,
        starts: &[(usize, u64)],
        sender: Option<Sender>,
        deflate: bool,
    ) -> bool {
        let end = base + self.at;
        if self.long && end <= held.len() {
            self.long = false;
            let piece = |at: usize| starts.binary_search_by_key(&at, |(start, _)| *start);
            if end == held.len() || piece(end).is_ok() {
                self.evidence.bits = self.evidence.bits.saturating_add(ENDING - 2);
            }
        }
        let rest = |at: usize| held.get(base + at..).filter(|rest| !rest.is_empty());
        while let Some(rest) = rest(self.at) {
            if !may_begin(rest, sender, deflate) {
                return false;
            }
            let header = match Header::parse(rest) {
                Ok(Some(header)) => header,
                Ok(None) => return true,
                Err(_) => return false,
            };
            let masked = header.mask.is_some();
            if !faultless(&header, sender, deflate)
                || self.evidence.masked.is_some_and(|is| is != masked)
                || header.length > LONGEST
            {
                return false;
            }
            let continues = header.opcode == CONTINUATION;
            if !header.is_control() && self.within.is_some_and(|within| within != continues) {
                return false;
            }
            // No more than 16 MiB.
            let length = header.length as usize;
            let payload = rest.get(header.size..).and_then(|rest| rest.get(..length));
            if payload.is_none() && length <= LIMIT {
                return true;
            }
            let Some(text) = payload.map_or(Some(None), |payload| credible(&header, payload))
            else {
                return false;
            };
            if !header.is_control() {
                self.within = Some(!header.fin);
            }
            let end = self.at + header.size + length;
            self.evidence.masked = Some(masked);
            if header.fin && !continues {
                let ending = ending(base + self.at, base + end, held.len(), starts);
                self.evidence.frame(&header, text, HEADER + ending);
            } else if !header.is_control() {
                self.evidence.others = self.evidence.others.saturating_add(1);
            }
            self.frames = self.frames.saturating_add(1);
            self.long = payload.is_none();
            self.at = end;
            if self.frames == 1 && self.evidence.bits < ALONE {
                self.sure = end;
            }
        }
        true
    }

    /// How many bytes at the start of `held` need not be held any more,
    /// because there are too many or they are none that can be sure.
    pub(super) fn spare(&mut self, held: usize) -> usize {
        let spare = if held > LIMIT { self.at.min(held) } else { 0 };
        self.at -= spare;
        self.sure = match self.sure.checked_sub(spare) {
            Some(left) => left,
            None => self.at,
        };
        spare
    }
}

/// What it is worth that a frame from `from` to `to` ends with a piece, of
/// `held` bytes in pieces that began at `starts`.
fn ending(from: usize, to: usize, held: usize, starts: &[(usize, u64)]) -> u32 {
    let index = |at: usize| starts.binary_search_by_key(&at, |(start, _)| *start);
    let (Ok(last) | Err(last)) = index(to);
    if to != held && index(to).is_err() {
        return 0;
    }
    let first = index(from).map_or_else(|next| next, |same| same + 1);
    // Each number of pieces is as likely as the others if the length is made
    // up. A header of its own is usual, more is not where frames are small.
    match last.saturating_sub(first) + 1 {
        1 => ENDING,
        2 => ENDING - 2,
        n if n <= 4 || (to - from) / n >= 256 => ENDING - 4,
        _ => 0,
    }
}

/// Whether a frame can begin so, as far as the first two bytes tell.
pub(super) fn may_begin(bytes: &[u8], sender: Option<Sender>, deflate: bool) -> bool {
    let Some(&first) = bytes.first() else {
        return true;
    };
    let reserved = match first & 0x0f {
        1 | 2 if deflate => first & 0x30,
        0..=2 => first & 0x70,
        8..=10 if first & 0x80 != 0 => first & 0x70,
        _ => return false,
    };
    let masked = sender.map(|sender| sender == Sender::Client);
    let fits = |second: &u8| {
        masked.is_none_or(|masked| masked == (second & 0x80 != 0))
            && (first & 0x08 == 0 || second & 0x7f <= 125)
    };
    reserved == 0 && bytes.get(1).is_none_or(fits)
}

/// Whether it is no fragment: such a frame most messages have, and few other
/// protocols.
pub(super) fn is_whole(first: u8) -> bool {
    first & 0x80 != 0 && first & 0x0f != CONTINUATION
}

/// What every implementation keeps to.
fn faultless(header: &Header, sender: Option<Sender>, deflate: bool) -> bool {
    let reserved = match header.opcode {
        1 | 2 if deflate => header.reserved & 3 == 0,
        _ => header.reserved == 0,
    };
    reserved
        && matches!(header.opcode, 0..=2 | 8..=10)
        && sender.is_none_or(|sender| header.mask.is_some() == (sender == Sender::Client))
        && header.minimal
        // Nobody sends an empty fragment to be continued, and zeros are
        // frequent.
        && (header.fin || header.length > 0)
}

/// Whether a payload is one that such a frame may have; if it is text that can
/// be read, of how many bytes.
fn credible(header: &Header, payload: &[u8]) -> Option<Option<usize>> {
    let mut plain = Vec::new();
    match header.opcode {
        1 if header.reserved == 0 => {
            unmask(&mut plain, payload, header.mask, 0);
            match std::str::from_utf8(&plain) {
                Ok(text) => Some(is_printable(text).then_some(text.len())),
                // The last character of a fragment may be continued.
                Err(error) => (!header.fin && error.error_len().is_none()).then_some(None),
            }
        }
        8 => {
            unmask(&mut plain, payload, header.mask, 0);
            let good = match plain.split_first_chunk::<2>() {
                Some((code, reason)) => {
                    (1000..5000).contains(&u16::from_be_bytes(*code))
                        && std::str::from_utf8(reason).is_ok()
                }
                None => plain.is_empty(),
            };
            good.then_some(None)
        }
        _ => Some(None),
    }
}

/// Without control characters but white space and one at the end (STOMP ends
/// frames with NUL, SignalR with RS).
fn is_printable(text: &str) -> bool {
    let mut chars = text.chars();
    let last = chars.next_back();
    let printable = |c: char| !c.is_control() || matches!(c, '\t' | '\n' | '\r');
    chars.all(printable) && last.is_none_or(|c| printable(c) || text.len() > 1)
}
