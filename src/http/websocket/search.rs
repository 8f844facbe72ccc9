//! Finding frames where framing was lost, or never known: pieces of a stream are
//! held from where a [`Chain`] of frames may begin until there is enough of it.
//!
//! The first frame only vouches for the others, unless it is a text that does it
//! alone. Where a piece begins inside a frame, two bytes that look like a header
//! and whose length happens to end with the frame are not that rare (some 1 in
//! 10,000), and its message would be made up.

use super::Sender;
use super::chain::{ALONE, Chain, Evidence, is_whole, may_begin};

/// Pieces among what is held at whose starts frames are looked for.
const STARTS: usize = 1024;

/// Frames that are looked at once more after a piece: what was held where no
/// frames began is looked through again from its next piece on.
const WORK: usize = 4096;

/// Frames in a row that convince where there are frames; fewer must be worth
/// [`ALONE`], as two that are pieces each are.
const ENOUGH: u32 = 3;

/// Where pieces began in what somebody else holds, and the frames in it.
#[derive(Debug, Default)]
pub struct Frames {
    /// With a stamp each.
    starts: Vec<(usize, u64)>,
    /// The frames from the first byte on.
    chain: Option<Chain>,
}

impl Frames {
    /// Whether a piece that begins so is to be held, if nothing is held yet:
    /// by a look at its first two bytes.
    #[must_use]
    pub fn may_begin(piece: &[u8]) -> bool {
        piece.first().is_some_and(|first| is_whole(*first)) && may_begin(piece, None, true)
    }

    /// A piece was appended to what is held: all of `held` from `from` on.
    /// Gives how many bytes at its start are of no use and to be dropped.
    /// `sender` is whose frames they are, if that is known; then they may
    /// begin with fragments.
    pub fn look(
        &mut self,
        held: &[u8],
        from: usize,
        stamp: u64,
        sender: Option<Sender>,
        deflate: bool,
    ) -> usize {
        if self.starts.len() < STARTS {
            self.starts.push((from, stamp));
        }
        let mut front = 0;
        let mut work = WORK;
        loop {
            if let Some(chain) = &mut self.chain {
                if chain.advance(held, front, &self.starts, sender, deflate) {
                    break;
                }
                work = work.saturating_sub(1 + chain.frames as usize);
                self.chain = None;
                front += 1;
            }
            let next = self.starts.partition_point(|(start, _)| *start < front);
            let begin = self.starts.get(next..).unwrap_or_default().iter();
            let mut begin = begin.filter(|(start, _)| {
                let rest = held.get(*start..).unwrap_or_default();
                let whole = || rest.first().is_some_and(|first| is_whole(*first));
                (sender.is_some() || whole()) && may_begin(rest, sender, deflate)
            });
            match begin.next() {
                Some((start, _)) if work > 0 => front = *start,
                _ => {
                    front = held.len();
                    break;
                }
            }
            self.chain = Some(Chain::default());
        }
        if let Some(chain) = &mut self.chain {
            front += chain.spare(held.len() - front);
        }
        self.drop_front(front, held.len());
        front
    }

    fn drop_front(&mut self, n: usize, held: usize) {
        if n >= held {
            self.starts.clear();
        } else if n > 0 {
            let gone = self.starts.partition_point(|(start, _)| *start <= n);
            // The one that is cut goes on.
            self.starts.drain(..gone.saturating_sub(1));
            for (start, _) in &mut self.starts {
                *start = start.saturating_sub(n);
            }
        }
    }

    /// Bytes are missing here, or what is held is not any more.
    pub fn clear(&mut self) {
        self.starts.clear();
        self.chain = None;
    }

    /// Whether something is held.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.chain.is_some()
    }

    /// Whether there is a frame already, or one that is too long to be held.
    #[must_use]
    pub fn is_promising(&self) -> bool {
        self.chain.as_ref().is_some_and(|chain| chain.frames > 0)
    }

    /// What the frames are worth.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        self.chain
            .as_ref()
            .map(|chain| chain.evidence)
            .unwrap_or_default()
    }

    /// How many bytes from the start of what is held on frames begin that are
    /// surely some, if it is known by now that there are frames; it may be
    /// more than are held.
    #[must_use]
    pub fn sure(&self) -> Option<usize> {
        let chain = self.chain.as_ref()?;
        let worth = chain.evidence;
        (worth.bits >= ALONE || chain.frames >= ENOUGH).then_some(chain.sure)
    }

    pub(super) fn memory(&self) -> usize {
        self.starts.capacity() * size_of::<(usize, u64)>()
    }
}

/// Bytes in which frames may begin.
#[derive(Debug, Default)]
pub(super) struct Search {
    held: Vec<u8>,
    frames: Frames,
}

/// What a search has found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The bytes from the first sure frame on ...
    pub(super) bytes: Vec<u8>,
    /// ... unless so many are still to come before it.
    pub(super) skip: u64,
    /// Where pieces begin in them, with their stamps.
    pub(super) starts: Vec<(usize, u64)>,
}

impl Found {
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity() + self.starts.capacity() * size_of::<(usize, u64)>()
    }
}

impl Search {
    /// Takes the next piece. Gives what is found, and how many bytes were
    /// passed over.
    pub(super) fn push(
        &mut self,
        piece: &[u8],
        stamp: u64,
        sender: Sender,
        deflate: bool,
    ) -> (Option<Found>, u64) {
        let from = self.held.len();
        self.held.extend_from_slice(piece);
        let useless = self
            .frames
            .look(&self.held, from, stamp, Some(sender), deflate);
        self.held.drain(..useless.min(self.held.len()));
        let Some(sure) = self.frames.sure() else {
            return (None, useless as u64);
        };
        let passed = sure.min(self.held.len());
        self.frames.drop_front(passed, self.held.len());
        self.held.drain(..passed);
        let found = Found {
            bytes: std::mem::take(&mut self.held),
            skip: (sure - passed) as u64,
            starts: std::mem::take(&mut self.frames.starts),
        };
        self.frames.clear();
        (Some(found), (useless + passed) as u64)
    }

    /// Bytes are missing here: nothing before them helps. Gives how many
    /// bytes that were.
    pub(super) fn lost(&mut self) -> u64 {
        self.frames.clear();
        let held = std::mem::take(&mut self.held);
        held.len() as u64
    }

    pub(super) fn memory(&self) -> usize {
        self.held.capacity() + self.frames.memory()
    }
}
