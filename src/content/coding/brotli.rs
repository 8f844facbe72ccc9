//! Brotli (RFC 7932).

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};

use super::{Step, Stop, reserve};

/// Input that the decoder is given at a time, in bytes. Between two of these it
/// gives what it has decoded; what it has not given when it finds garbage is
/// gone.
const PIECE: usize = 4 << 10;

/// A decoder without its window: prefix codes and context maps, in bytes.
const MEMORY: usize = 64 << 10;

type State = BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>;

/// Brotli with its usual windows, of at most 16 MiB.
#[derive(Default)]
pub(super) struct Brotli {
    /// `None` before the first byte.
    state: Option<Box<State>>,
    done: bool,
}

impl Brotli {
    pub(super) fn at_end(&self) -> bool {
        self.done
    }

    pub(super) fn memory(&self) -> usize {
        self.state.as_ref().map_or(0, |state| {
            MEMORY + usize::try_from(state.ringbuffer_size).unwrap_or_default()
        })
    }

    pub(super) fn step(&mut self, input: &[u8], out: &mut Vec<u8>, room: usize) -> Step {
        if self.done || (input.is_empty() && self.state.is_none()) {
            return Step::new(input.len(), Stop::NeedsInput);
        }
        let state = self.state.get_or_insert_with(|| {
            Box::new(State::new_strict(
                StandardAlloc::default(),
                StandardAlloc::default(),
                StandardAlloc::default(),
            ))
        });
        // All of the space is written to once before it is decoded into: no
        // more than will be needed.
        let usable = reserve(out, input.len(), room)
            .min(input.len().saturating_mul(8).clamp(4 << 10, 256 << 10));
        let start = out.len();
        out.resize(start + usable, 0);
        let space = out.get_mut(start..).unwrap_or_default();
        let (mut taken, mut written) = (0, 0);
        let stop = loop {
            let mut piece = PIECE.min(input.len() - taken);
            let mut free = usable - written;
            let result = BrotliDecompressStream(
                &mut piece,
                &mut taken,
                input,
                &mut free,
                &mut written,
                space,
                &mut 0,
                state,
            );
            match result {
                BrotliResult::ResultSuccess => {
                    self.done = true;
                    break Stop::Again;
                }
                // Having used up its input it does not say that it has more.
                BrotliResult::NeedsMoreInput if written >= usable => break Stop::Again,
                BrotliResult::NeedsMoreOutput => break Stop::Again,
                BrotliResult::NeedsMoreInput if taken >= input.len() => break Stop::NeedsInput,
                BrotliResult::NeedsMoreInput => {}
                BrotliResult::ResultFailure => break Stop::Broken("not a valid brotli stream"),
            }
        };
        out.truncate(start + written);
        if self.done {
            // The window is not needed any more.
            self.state = None;
        }
        Step::new(taken, stop)
    }
}
