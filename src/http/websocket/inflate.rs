//! Undoing `permessage-deflate` (RFC 7692): raw DEFLATE whose window is kept
//! from one message to the next.
//!
//! What refers to bytes that are not in the window is an error of the
//! decoder, never made up. So after a loss it is enough to begin with an empty
//! window: what comes out then is right, and what cannot come out is said so.

use flate2::{Decompress, FlushDecompress, Status};

/// What every sender leaves out at the end of a message (RFC 7692 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// What the decoder holds, in bytes: a window of 32 KiB and its tables.
pub(super) const MEMORY: usize = 48 << 10;

/// So many bytes of a message are decoded in any case; further ones only as
/// long as they are no more than [`RATIO`] times what came. DEFLATE can make a
/// thousandfold.
const FREE: u64 = 16 << 20;

const RATIO: u64 = 100;

/// A message cannot be decoded (any further).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Undecodable;

/// Inflates the messages of one direction.
#[derive(Debug)]
pub(super) struct Inflater {
    stream: Decompress,
    /// Every message is compressed on its own.
    alone: bool,
    /// A message has ended with a final block, and nothing came after it.
    ended: bool,
    /// Bytes of the present message, before and after.
    input: u64,
    output: u64,
}

impl Inflater {
    pub(super) fn new(alone: bool) -> Self {
        Self {
            stream: Decompress::new(false),
            alone,
            ended: false,
            input: 0,
            output: 0,
        }
    }

    /// Decodes further bytes of a message; gives the pieces to `each`.
    pub(super) fn push(
        &mut self,
        mut bytes: &[u8],
        each: &mut impl FnMut(&[u8]),
    ) -> Result<(), Undecodable> {
        let mut room = [0; 4096];
        self.input = self.input.saturating_add(bytes.len() as u64);
        loop {
            if self.ended {
                if bytes.is_empty() {
                    return Ok(());
                }
                // A sender that ends its stream with a message (7.2.3.4)
                // begins anew with the next bytes.
                self.stream.reset(false);
                self.ended = false;
            }
            let (before_in, before_out) = (self.stream.total_in(), self.stream.total_out());
            let status = self
                .stream
                .decompress(bytes, &mut room, FlushDecompress::None)
                .map_err(|_| Undecodable)?;
            let taken = self.stream.total_in().wrapping_sub(before_in) as usize;
            let made = self.stream.total_out().wrapping_sub(before_out) as usize;
            bytes = bytes.get(taken..).unwrap_or_default();
            self.output = self.output.saturating_add(made as u64);
            each(room.get(..made).unwrap_or_default());
            if self.output > FREE && self.output / RATIO > self.input {
                return Err(Undecodable);
            }
            self.ended = status == Status::StreamEnd;
            if self.ended {
                continue;
            }
            if bytes.is_empty() && made < room.len() {
                return Ok(());
            }
            if taken == 0 && made == 0 {
                return Err(Undecodable);
            }
        }
    }

    /// The message has ended.
    pub(super) fn end(&mut self, each: &mut impl FnMut(&[u8])) -> Result<(), Undecodable> {
        // Messages of no bytes at all occur, although they are no DEFLATE.
        if self.input > 0 && !self.ended {
            self.push(&TAIL, each)?;
        }
        self.input = 0;
        self.output = 0;
        if self.alone || self.ended {
            self.forget();
        }
        Ok(())
    }

    /// Begins anew with an empty window: what was before is not known any
    /// more.
    pub(super) fn forget(&mut self) {
        self.stream.reset(false);
        self.ended = false;
        self.input = 0;
        self.output = 0;
    }
}
