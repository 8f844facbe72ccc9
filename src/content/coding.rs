//! Content codings (RFC 9110 8.4), undone piece by piece.
//!
//! What is decoded comes out at once: a stream that its sender flushed now and
//! then gives after each piece what was flushed. A body that ends early, or
//! turns into garbage, keeps what was decoded before. Memory is bounded by the
//! output's cap and the window of each coding, whatever the body says.

mod brotli;
mod inflate;
#[cfg(test)]
mod tests;
mod zstd;

use brotli::Brotli;
use inflate::{Inflate, Wrapper};
use zstd::Zstd;

/// Codings in a row that are undone; nobody applies more in earnest, and each
/// multiplies what a bomb makes of its bytes.
const MOST: usize = 4;

/// What one coding hands to the next at a time, in bytes.
const BETWEEN: usize = 32 << 10;

/// A content coding (RFC 9110 8.4.1, RFC 7932, RFC 8878).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// `gzip`, `x-gzip` (RFC 1952).
    Gzip,
    /// `deflate`: zlib (RFC 1950), and the raw form (RFC 1951) that some send
    /// under that name.
    Deflate,
    /// `br` (RFC 7932).
    Brotli,
    /// `zstd` (RFC 8878, with the window of RFC 9659).
    Zstd,
    /// `identity`: none.
    Identity,
}

impl Coding {
    /// The coding of a name, ignoring ASCII case and white space around it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        const NAMES: [(&str, Coding); 6] = [
            ("gzip", Coding::Gzip),
            ("x-gzip", Coding::Gzip),
            ("deflate", Coding::Deflate),
            ("br", Coding::Brotli),
            ("zstd", Coding::Zstd),
            ("identity", Coding::Identity),
        ];
        let name = name.trim_ascii();
        NAMES
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, coding)| *coding)
    }
}

/// How far a [`Decoder`] has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Progress {
    /// What there was is decoded; the coding's end has not come.
    More,
    /// The coding has come to its end. Further members (gzip) or frames (zstd)
    /// may follow; what follows a gzip stream and is none is ignored.
    End,
    /// There is more than the cap allows: decoding is over.
    Capped,
    /// The bytes cannot be decoded further: [`Decoder::reason`].
    Broken,
}

/// Why one coding stopped taking input.
enum Stop {
    /// It has taken all of it and has nothing left to give.
    NeedsInput,
    /// It may have more to give: the room is full, or one member has ended.
    Again,
    /// It cannot go on.
    Broken(&'static str),
}

/// What a coding did with its input.
struct Step {
    /// Bytes of the input that it took.
    taken: usize,
    stop: Stop,
}

impl Step {
    const fn new(taken: usize, stop: Stop) -> Self {
        Self { taken, stop }
    }
}

/// One coding at work.
enum Stage {
    Inflate(Inflate),
    Brotli(Brotli),
    Zstd(Zstd),
}

impl Stage {
    /// `None` for a coding that does nothing.
    fn new(coding: Coding) -> Option<Self> {
        match coding {
            Coding::Gzip => Some(Self::Inflate(Inflate::new(Wrapper::Gzip))),
            Coding::Deflate => Some(Self::Inflate(Inflate::new(Wrapper::Guess))),
            Coding::Brotli => Some(Self::Brotli(Brotli::default())),
            Coding::Zstd => Some(Self::Zstd(Zstd::default())),
            Coding::Identity => None,
        }
    }

    /// Decodes `input` and appends at most `room` bytes to `out`.
    fn step(&mut self, input: &[u8], out: &mut Vec<u8>, room: usize) -> Step {
        match self {
            Self::Inflate(inflate) => inflate.step(input, out, room),
            Self::Brotli(brotli) => brotli.step(input, out, room),
            Self::Zstd(zstd) => zstd.step(input, out, room),
        }
    }

    /// Whether what came so far could be all.
    fn at_end(&self) -> bool {
        match self {
            Self::Inflate(inflate) => inflate.at_end(),
            Self::Brotli(brotli) => brotli.at_end(),
            Self::Zstd(zstd) => zstd.at_end(),
        }
    }

    fn memory(&self) -> usize {
        match self {
            Self::Inflate(inflate) => inflate.memory(),
            Self::Brotli(brotli) => brotli.memory(),
            Self::Zstd(zstd) => zstd.memory(),
        }
    }
}

/// A streaming decoder of one body: several codings in a row, the last applied
/// undone first.
pub struct Decoder {
    /// In the order in which they are undone.
    stages: Vec<Stage>,
    /// What goes from each stage to the next.
    between: Vec<Vec<u8>>,
    /// Why it is over, if it is.
    over: Option<Over>,
}

#[derive(Clone, Copy)]
enum Over {
    Capped,
    Broken(&'static str),
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}

impl Decoder {
    /// A decoder of the codings of Content-Encoding, first applied first.
    /// `None` if one is not known, or if there are more than four.
    pub fn new<S: AsRef<str>>(encodings: &[S]) -> Option<Self> {
        if encodings.len() > MOST {
            return None;
        }
        let mut stages = Vec::with_capacity(encodings.len());
        for name in encodings.iter().rev() {
            stages.extend(Stage::new(Coding::from_name(name.as_ref())?));
        }
        let between = stages.iter().skip(1).map(|_| Vec::new()).collect();
        Some(Self {
            stages,
            between,
            over: None,
        })
    }

    /// Decodes the next bytes of the body and appends what they give to `out`,
    /// until `out` has `cap` bytes in all.
    ///
    /// After [`Progress::Capped`] and [`Progress::Broken`] nothing more comes.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>, cap: usize) -> Progress {
        if self.over.is_none() {
            // A coding that gives much, of which the next makes little, would
            // be work without end and without output.
            let mut budget = cap.saturating_add(BETWEEN).saturating_mul(2);
            self.over = run(
                &mut self.stages,
                &mut self.between,
                bytes,
                &mut Target { out, cap },
                &mut budget,
            )
            .err();
        }
        match self.over {
            Some(Over::Capped) => Progress::Capped,
            Some(Over::Broken(_)) => Progress::Broken,
            None if self.stages.iter().all(Stage::at_end) => Progress::End,
            None => Progress::More,
        }
    }

    /// Why it is [`Progress::Broken`]: `window larger than 8 MiB`.
    #[must_use]
    pub fn reason(&self) -> Option<&'static str> {
        match self.over {
            Some(Over::Broken(reason)) => Some(reason),
            _ => None,
        }
    }

    /// About how many bytes of memory it holds.
    #[must_use]
    pub fn memory(&self) -> usize {
        let stages: usize = self.stages.iter().map(Stage::memory).sum();
        let between: usize = self.between.iter().map(Vec::capacity).sum();
        size_of::<Self>() + stages + between
    }
}

/// Where the last coding writes.
struct Target<'a> {
    out: &'a mut Vec<u8>,
    cap: usize,
}

impl Target<'_> {
    fn room(&self) -> usize {
        self.cap.saturating_sub(self.out.len())
    }
}

/// Sends `input` through the stages into `target`.
fn run(
    stages: &mut [Stage],
    between: &mut [Vec<u8>],
    mut input: &[u8],
    target: &mut Target<'_>,
    budget: &mut usize,
) -> Result<(), Over> {
    let Some((stage, later)) = stages.split_first_mut() else {
        return copy(input, target);
    };
    let Some((buffer, between)) = between.split_first_mut() else {
        return finish(stage, input, target);
    };
    loop {
        buffer.clear();
        let step = stage.step(input, buffer, BETWEEN);
        input = input.get(step.taken..).unwrap_or_default();
        run(later, between, buffer, target, budget)?;
        match step.stop {
            Stop::NeedsInput => return Ok(()),
            Stop::Broken(reason) => return Err(Over::Broken(reason)),
            Stop::Again => {}
        }
        *budget = budget.checked_sub(buffer.len()).ok_or(Over::Capped)?;
    }
}

/// The last stage, whose output is the body.
fn finish(stage: &mut Stage, mut input: &[u8], target: &mut Target<'_>) -> Result<(), Over> {
    loop {
        let room = target.room();
        let step = if room > 0 {
            stage.step(input, target.out, room)
        } else {
            // Full, which is no loss if only the coding's end is missing.
            let mut probe = Vec::new();
            let step = stage.step(input, &mut probe, 1);
            if !probe.is_empty() {
                return Err(Over::Capped);
            }
            step
        };
        input = input.get(step.taken..).unwrap_or_default();
        match step.stop {
            Stop::NeedsInput => return Ok(()),
            Stop::Broken(reason) => return Err(Over::Broken(reason)),
            Stop::Again => {}
        }
    }
}

/// No coding at all.
fn copy(input: &[u8], target: &mut Target<'_>) -> Result<(), Over> {
    match input.get(..target.room()) {
        Some(fits) if fits.len() < input.len() => {
            target.out.extend_from_slice(fits);
            Err(Over::Capped)
        }
        _ => {
            target.out.extend_from_slice(input);
            Ok(())
        }
    }
}

/// Reserves space for the next output of a stage and says how much of it may
/// be used, never more than `room`. `input` is how many bytes are to be
/// decoded.
fn reserve(out: &mut Vec<u8>, input: usize, room: usize) -> usize {
    /// The least that is worth a call, and the most that is reserved for the
    /// input's sake.
    const LEAST: usize = 4 << 10;
    const MOST: usize = 1 << 20;
    let spare = (out.capacity() - out.len()).min(room);
    if spare >= LEAST.min(room) {
        return spare;
    }
    // Text shrinks to a quarter or so; what grows on is doubled.
    let wanted = input
        .saturating_mul(4)
        .clamp(LEAST, MOST)
        .max(out.len())
        .min(room);
    out.reserve_exact(wanted);
    wanted
}

/// How a body that was decoded in one go came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// To its end. (No bytes at all are the whole of nothing.)
    Whole,
    /// The body ended before its coding did.
    Truncated,
    /// There is more than the cap allows.
    Capped,
    /// What follows the decoded bytes cannot be decoded.
    Broken,
}

/// Whether there are codings and all of them can be undone: of a body that is
/// broken all the same the bytes are what came before that.
#[must_use]
pub fn are_known<S: AsRef<str>>(encodings: &[S]) -> bool {
    let is_known = |name: &S| Coding::from_name(name.as_ref()).is_some();
    (1..=MOST).contains(&encodings.len()) && encodings.iter().all(is_known)
}

/// What a body gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// All that could be decoded.
    pub bytes: Vec<u8>,
    /// How it came out.
    pub outcome: Outcome,
    /// Why it is [`Outcome::Broken`].
    pub reason: Option<&'static str>,
}

/// Undoes the codings (first applied first) of a body that is kept, up to
/// `cap` bytes. `None` if a coding is not known.
pub fn decode<S: AsRef<str>>(encodings: &[S], bytes: &[u8], cap: usize) -> Option<Decoded> {
    let mut decoder = Decoder::new(encodings)?;
    let mut out = Vec::new();
    let outcome = match decoder.push(bytes, &mut out, cap) {
        Progress::End => Outcome::Whole,
        Progress::More if bytes.is_empty() => Outcome::Whole,
        Progress::More => Outcome::Truncated,
        Progress::Capped => Outcome::Capped,
        Progress::Broken => Outcome::Broken,
    };
    Some(Decoded {
        bytes: out,
        outcome,
        reason: decoder.reason(),
    })
}
