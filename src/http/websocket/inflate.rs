//! Undoing `permessage-deflate` (RFC 7692): raw DEFLATE whose window is kept
//! from one message to the next.
//!
//! What was in the window at a loss, or when the connection was joined, is not
//! known, but where references to it lead is. So there are two decoders from
//! then on, whose windows have no byte in common: where they agree, what comes
//! out is right, wherever it was copied from; where they do not, it is unknown.
//! Once the last 32 KiB are known, one is enough again.

use flate2::{Decompress, FlushDecompress, Status};

/// What every sender leaves out at the end of a message (RFC 7692 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// What the decoder holds, in bytes: a window of 32 KiB and its tables.
pub(super) const MEMORY: usize = 48 << 10;

/// The largest window, in bytes.
const WINDOW: usize = 32 << 10;

/// Bytes that are decoded at a time.
const ROOM: usize = 4096;

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
    /// The other one, and how many bytes they have agreed on since they last
    /// did not.
    twin: Option<(Decompress, usize)>,
    /// They did not in the present message.
    unknown: bool,
    /// Nothing was decoded since what was before was forgotten.
    forgot: bool,
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
            twin: None,
            unknown: false,
            forgot: false,
            alone,
            ended: false,
            input: 0,
            output: 0,
        }
    }

    /// Bytes that it holds.
    pub(super) fn memory(&self) -> usize {
        MEMORY * (1 + usize::from(self.twin.is_some()))
    }

    /// Decodes further bytes of a message; gives the pieces to `each`, up to
    /// the first byte that is not known.
    pub(super) fn push(
        &mut self,
        mut bytes: &[u8],
        each: &mut impl FnMut(&[u8]),
    ) -> Result<(), Undecodable> {
        let mut room = [0; ROOM];
        self.forgot = false;
        self.input = self.input.saturating_add(bytes.len() as u64);
        loop {
            if self.ended {
                if bytes.is_empty() {
                    return Ok(());
                }
                // A sender that ends its stream with a message (7.2.3.4)
                // begins anew with the next bytes.
                self.reset();
            }
            let (before_in, before_out) = (self.stream.total_in(), self.stream.total_out());
            let status = self
                .stream
                .decompress(bytes, &mut room, FlushDecompress::None)
                .map_err(|_| Undecodable)?;
            let taken = self.stream.total_in().wrapping_sub(before_in) as usize;
            let made = self.stream.total_out().wrapping_sub(before_out) as usize;
            let out = room.get(..made).unwrap_or_default();
            let known = self.agreement(bytes, taken, out)?;
            bytes = bytes.get(taken..).unwrap_or_default();
            self.output = self.output.saturating_add(made as u64);
            if !self.unknown {
                each(out.get(..known).unwrap_or_default());
                self.unknown = known < made;
            }
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

    /// How many bytes of `out`, for which `taken` of `bytes` were needed, are
    /// known.
    fn agreement(&mut self, bytes: &[u8], taken: usize, out: &[u8]) -> Result<usize, Undecodable> {
        let Some((twin, agreed)) = &mut self.twin else {
            return Ok(out.len());
        };
        let mut room = [0; ROOM];
        let (before_in, before_out) = (twin.total_in(), twin.total_out());
        twin.decompress(bytes, &mut room, FlushDecompress::None)
            .map_err(|_| Undecodable)?;
        let twins = twin.total_in().wrapping_sub(before_in) as usize;
        let made = twin.total_out().wrapping_sub(before_out) as usize;
        // What the windows hold does not change where codes end.
        if (twins, made) != (taken, out.len()) {
            return Err(Undecodable);
        }
        let pairs = || out.iter().zip(&room);
        let known = pairs().take_while(|(a, b)| a == b).count();
        let last = pairs().rev().take_while(|(a, b)| a == b).count();
        *agreed = if last == made { *agreed + made } else { last };
        if *agreed >= WINDOW {
            self.twin = None;
        }
        Ok(known)
    }

    /// The message has ended. Whether all of it is known.
    pub(super) fn end(&mut self, each: &mut impl FnMut(&[u8])) -> Result<bool, Undecodable> {
        // Messages of no bytes at all occur, although they are no DEFLATE.
        if self.input > 0 && !self.ended {
            self.push(&TAIL, each)?;
        }
        let known = !self.unknown;
        self.input = 0;
        self.output = 0;
        self.unknown = false;
        if self.alone || self.ended {
            self.reset();
        }
        Ok(known)
    }

    /// Begins anew with an empty window, as the sender does.
    fn reset(&mut self) {
        self.stream.reset(false);
        self.ended = false;
        self.twin = None;
    }

    /// Begins anew: what was before is not known any more.
    pub(super) fn forget(&mut self) {
        // Two windows to fill are too much for each of many messages that
        // nobody can read.
        if std::mem::replace(&mut self.forgot, true) {
            return;
        }
        self.reset();
        self.input = 0;
        self.output = 0;
        self.unknown = false;
        if !self.alone {
            let mut twin = Decompress::new(false);
            fill(&mut self.stream, 0);
            fill(&mut twin, 0xff);
            self.twin = Some((twin, 0));
        }
    }
}

/// Fills the window of a decoder that has just begun.
fn fill(stream: &mut Decompress, byte: u8) {
    // A block that is not compressed (RFC 1951 3.2.4).
    let length = (WINDOW as u16).to_le_bytes();
    let mut input = vec![0, length[0], length[1], !length[0], !length[1]];
    input.resize(input.len() + WINDOW, byte);
    let mut room = vec![0; WINDOW];
    // A valid block that has room is taken whole.
    drop(stream.decompress(&input, &mut room, FlushDecompress::None));
}
