//! gzip, zlib and raw deflate (RFC 1952, 1950, 1951).

use flate2::{Decompress, DecompressError, FlushDecompress, Status};

use super::{Step, Stop, reserve};

/// The largest window of deflate, as a power of two (RFC 1951 2).
const WINDOW_BITS: u8 = 15;

/// A decoder's window and tables, in bytes.
const MEMORY: usize = 48 << 10;

/// The first two bytes of a gzip member (RFC 1952 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What is around the deflate stream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrapper {
    /// gzip, possibly of several members.
    Gzip,
    /// What is called `deflate`: by its first two bytes zlib, gzip or nothing.
    Guess,
}

enum State {
    /// Nothing is known yet, or a gzip member has ended; the first byte of
    /// what comes, if there was but one.
    Start(Option<u8>),
    Between(Option<u8>),
    Running(Box<Decompress>),
    /// At the end. What follows is ignored.
    Done,
}

/// gzip, zlib or raw deflate.
pub(super) struct Inflate {
    wrapper: Wrapper,
    state: State,
}

impl Inflate {
    /// Holds no memory before the first bytes.
    pub(super) fn new(wrapper: Wrapper) -> Self {
        Self {
            wrapper,
            state: State::Start(None),
        }
    }

    pub(super) fn at_end(&self) -> bool {
        matches!(self.state, State::Between(_) | State::Done)
    }

    pub(super) fn memory(&self) -> usize {
        match self.state {
            State::Running(_) => MEMORY,
            _ => 0,
        }
    }

    pub(super) fn step(&mut self, input: &[u8], out: &mut Vec<u8>, room: usize) -> Step {
        if let State::Start(held) | State::Between(held) = &self.state {
            let (first, second) = match (held, input) {
                (Some(first), [second, ..]) => (*first, *second),
                (None, [first, second, ..]) => (*first, *second),
                (None, [first]) => {
                    let held = Some(*first);
                    self.state = match self.state {
                        State::Between(_) => State::Between(held),
                        _ => State::Start(held),
                    };
                    return Step::new(1, Stop::NeedsInput);
                }
                (_, []) => return Step::new(0, Stop::NeedsInput),
            };
            let held = held.is_some();
            self.begin(first, second);
            if held && let State::Running(decompress) = &mut self.state {
                // One byte is never enough for output: of a raw stream three
                // bits are the block's header, and no code has less than five.
                let _ = decompress.decompress(&[first], &mut [0], FlushDecompress::None);
            }
        }
        let State::Running(decompress) = &mut self.state else {
            return Step::new(input.len(), Stop::NeedsInput);
        };
        let usable = reserve(out, input.len(), room);
        let before = (decompress.total_in(), out.len());
        let result = inflate(decompress, input, out, usable);
        let taken = usize::try_from(decompress.total_in() - before.0).unwrap_or(input.len());
        let stop = match result {
            Ok(Status::StreamEnd) => {
                self.state = match self.wrapper {
                    Wrapper::Gzip => State::Between(None),
                    Wrapper::Guess => State::Done,
                };
                Stop::Again
            }
            Ok(_) if out.len() - before.1 >= usable => Stop::Again,
            Ok(_) if taken >= input.len() => Stop::NeedsInput,
            Ok(_) => Stop::Broken("deflate stream does not go on"),
            Err(_) => Stop::Broken("not a valid deflate stream"),
        };
        Step::new(taken, stop)
    }

    /// Chooses by the first two bytes how to go on.
    fn begin(&mut self, first: u8, second: u8) {
        let gzip = [first, second] == GZIP;
        self.state = match (self.wrapper, &self.state) {
            // RFC 1952 2.2: members follow each other. What is none is padding
            // or garbage, which everybody ignores.
            (_, State::Between(_)) if !gzip => State::Done,
            (Wrapper::Gzip, _) => State::Running(Box::new(Decompress::new_gzip(WINDOW_BITS))),
            (Wrapper::Guess, _) if gzip => {
                self.wrapper = Wrapper::Gzip;
                State::Running(Box::new(Decompress::new_gzip(WINDOW_BITS)))
            }
            (Wrapper::Guess, _) => {
                State::Running(Box::new(Decompress::new(is_zlib(first, second))))
            }
        };
    }
}

/// Appends at most `usable` bytes, for which there is space, to `out`.
fn inflate(
    decompress: &mut Decompress,
    input: &[u8],
    out: &mut Vec<u8>,
    usable: usize,
) -> Result<Status, DecompressError> {
    if out.capacity() - out.len() <= usable {
        return decompress.decompress_vec(input, out, FlushDecompress::None);
    }
    let (start, before) = (out.len(), decompress.total_out());
    out.resize(start + usable, 0);
    let space = out.get_mut(start..).unwrap_or_default();
    let result = decompress.decompress(input, space, FlushDecompress::None);
    let written = usize::try_from(decompress.total_out() - before).unwrap_or(usable);
    out.truncate(start + written.min(usable));
    result
}

/// Whether two bytes are a header of zlib without a preset dictionary (RFC 1950
/// 2.2). In a raw stream they would begin a stored block with padding that is
/// not zero, which no encoder writes.
fn is_zlib(first: u8, second: u8) -> bool {
    first & 0x0f == 8
        && first >> 4 <= 7
        && u16::from_be_bytes([first, second]).is_multiple_of(31)
        && second & 0x20 == 0
}
