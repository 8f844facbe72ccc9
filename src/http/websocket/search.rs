//! Finding frames again where framing was lost.
//!
//! A frame has no mark by which to know it, and compressed or masked payload
//! looks like anything. So a frame is looked for only where a call of the
//! program (a TLS record, a packet) began, because that is where frames begin;
//! and three headers in a row must be faultless, each where the length before
//! it says, their order possible, their text UTF-8.
//!
//! The first of the three only vouches for the others. Where a piece begins
//! inside a frame, two bytes that look like a header and whose length happens
//! to end with the frame are not that rare (some 1 in 5,000), and its message
//! would be made up.

use super::Sender;
use super::frame::{CONTINUATION, Header, unmask};

/// Bytes held while frames are looked for.
const LIMIT: usize = 64 << 10;

/// Pieces among them that are tried.
const STARTS: usize = 1024;

/// Headers in a row that convince.
const ENOUGH: u32 = 3;

/// Bytes in which frames may begin.
#[derive(Debug, Default)]
pub(super) struct Search {
    held: Vec<u8>,
    /// Where in `held` pieces began, the first of them at 0.
    starts: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The first frame is of so many bytes.
    Yes(usize),
    No,
    Maybe,
}

impl Search {
    /// Takes the next piece. Gives the bytes from the first sure frame on once
    /// it is found, and how many bytes were passed over.
    pub(super) fn push(
        &mut self,
        piece: &[u8],
        sender: Sender,
        deflate: bool,
    ) -> (Option<Vec<u8>>, u64) {
        if self.starts.len() < STARTS {
            self.starts.push(self.held.len());
        }
        self.held.extend_from_slice(piece);
        let mut verdict = Verdict::No;
        let mut index = 0;
        while let Some(start) = self.starts.get(index) {
            verdict = judge(self.held.get(*start..).unwrap_or_default(), sender, deflate);
            // A candidate that may need more than may be held is none.
            let room = self.held.len() - start <= LIMIT;
            if matches!(verdict, Verdict::Yes(_)) || verdict == Verdict::Maybe && room {
                break;
            }
            index += 1;
        }
        let mut passed = self.starts.get(index).copied().unwrap_or(self.held.len());
        if let Verdict::Yes(first) = verdict {
            passed = self.held.len().min(passed + first);
            self.held.drain(..passed);
            self.starts.clear();
            return (Some(std::mem::take(&mut self.held)), passed as u64);
        }
        self.held.drain(..passed);
        self.starts.drain(..index.min(self.starts.len()));
        for start in &mut self.starts {
            *start -= passed;
        }
        (None, passed as u64)
    }

    /// Bytes are missing here: nothing before them helps. Gives how many
    /// bytes that were.
    pub(super) fn lost(&mut self) -> u64 {
        self.starts.clear();
        let held = std::mem::take(&mut self.held);
        held.len() as u64
    }

    pub(super) fn memory(&self) -> usize {
        self.held.capacity() + self.starts.capacity() * size_of::<usize>()
    }
}

/// Whether frames begin at the start of `bytes`.
fn judge(mut bytes: &[u8], sender: Sender, deflate: bool) -> Verdict {
    // Whether a message is in fragments, once that is known.
    let mut within = None;
    let mut first = None;
    for _ in 0..ENOUGH {
        let header = match Header::parse(bytes) {
            Ok(Some(header)) => header,
            Ok(None) => return Verdict::Maybe,
            Err(_) => return Verdict::No,
        };
        if !faultless(&header, sender, deflate) {
            return Verdict::No;
        }
        let continues = header.opcode == CONTINUATION;
        if !header.is_control() {
            if within.is_some_and(|within| within != continues) {
                return Verdict::No;
            }
            within = Some(!header.fin);
        }
        let rest = bytes.get(header.size..).unwrap_or_default();
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        let Some((payload, rest)) = rest.split_at_checked(length) else {
            return if length > LIMIT {
                Verdict::No
            } else {
                Verdict::Maybe
            };
        };
        if !credible(&header, payload) {
            return Verdict::No;
        }
        first = first.or(Some(header.size + payload.len()));
        bytes = rest;
    }
    Verdict::Yes(first.unwrap_or(0))
}

/// What every implementation keeps to.
fn faultless(header: &Header, sender: Sender, deflate: bool) -> bool {
    let reserved = match header.opcode {
        1 | 2 if deflate => header.reserved & 3 == 0,
        _ => header.reserved == 0,
    };
    reserved
        && matches!(header.opcode, 0..=2 | 8..=10)
        && header.mask.is_some() == (sender == Sender::Client)
        && header.minimal
        // Nobody sends an empty fragment to be continued, and zeros are
        // frequent.
        && (header.fin || header.length > 0)
}

/// Whether a payload is one that such a frame may have.
fn credible(header: &Header, payload: &[u8]) -> bool {
    let mut plain = Vec::new();
    match header.opcode {
        1 if header.reserved == 0 => {
            unmask(&mut plain, payload, header.mask, 0);
            // The last character of a fragment may be continued.
            std::str::from_utf8(&plain)
                .map_or_else(|error| !header.fin && error.error_len().is_none(), |_| true)
        }
        8 => {
            unmask(&mut plain, payload, header.mask, 0);
            match plain.split_first_chunk::<2>() {
                Some((code, reason)) => {
                    (1000..5000).contains(&u16::from_be_bytes(*code))
                        && std::str::from_utf8(reason).is_ok()
                }
                None => plain.is_empty(),
            }
        }
        _ => true,
    }
}
