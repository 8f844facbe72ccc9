//! Zstandard (RFC 8878).

use zstd_safe::{
    DCtx, DParameter, InBuffer, OutBuffer, ResetDirective, SafeResult, find_frame_compressed_size,
    get_error_name, get_frame_content_size,
};

use super::{Step, Stop, reserve};

/// The largest window as a power of two: 8 MiB, all that the coding may ask for
/// in HTTP (RFC 9659 3).
const WINDOW_LOG: u32 = 23;

/// The shortest beginning of a frame from which its header's length shows, in
/// bytes (RFC 8878 3.1.1).
const FIRST: usize = 5;

/// Frames one after the other, skippable ones among them.
#[derive(Default)]
pub(super) struct Zstd {
    /// `None` before the first byte.
    context: Option<DCtx<'static>>,
    /// Whether a frame has ended and none has begun since.
    done: bool,
    /// Bytes up to the end of the present block; 0 before the first.
    wanted: usize,
    /// A frame was broken that was given as a whole.
    broken: bool,
}

impl Zstd {
    pub(super) fn at_end(&self) -> bool {
        self.done
    }

    pub(super) fn memory(&self) -> usize {
        self.context.as_ref().map_or(0, DCtx::sizeof)
    }

    pub(super) fn step(&mut self, input: &[u8], out: &mut Vec<u8>, room: usize) -> Step {
        if input.is_empty() && (self.done || self.context.is_none()) {
            return Step::new(0, Stop::NeedsInput);
        }
        if self.context.is_none() {
            self.context = new_context();
        }
        let Some(context) = &mut self.context else {
            return Step::new(0, Stop::Broken("no memory for zstd"));
        };
        let start = out.len();
        let mut taken = 0;
        // A frame that is there as a whole takes half the time at once.
        if (self.done || self.wanted == 0)
            && !self.broken
            && let Some((length, content)) = whole_frame(input, room)
        {
            if reserve(out, length, room) < content {
                out.reserve_exact(content.max(out.len()).min(room));
            }
            let frame = input.get(..length).unwrap_or_default();
            let (more, result) = decompress(context, frame, out, content);
            if result == Ok(0) && more == length {
                self.done = true;
                self.wanted = FIRST;
                return Step::new(length, Stop::Again);
            }
            // What can be decoded of it comes block by block.
            self.broken = true;
            out.truncate(start);
            let _ = context.reset(ResetDirective::SessionOnly);
        }
        let usable = reserve(out, input.len(), room);
        let stop = loop {
            // A block at a time: what one call has decoded before it finds
            // garbage is gone.
            let piece = input.get(taken..).unwrap_or_default();
            let piece = piece.get(..self.wanted.max(1)).unwrap_or(piece);
            let before = out.len();
            let free = usable - (before - start);
            let (more, result) = decompress(context, piece, out, free);
            taken += more;
            let full = out.len() - start >= usable;
            match result {
                Ok(hint) => {
                    self.done = hint == 0;
                    self.wanted = if self.done { FIRST } else { hint };
                    if full {
                        break Stop::Again;
                    } else if taken >= input.len() {
                        break Stop::NeedsInput;
                    } else if more == 0 && out.len() == before {
                        break Stop::Broken("zstd frame does not go on");
                    }
                }
                Err(code) => break Stop::Broken(reason(code)),
            }
        };
        Step::new(taken, stop)
    }
}

/// The length of the frame that `input` begins with, and of what it gives, if
/// all of it is there and gives at most `room` bytes. Its window must be as
/// small as [`WINDOW_LOG`] says: for that nobody looks when it is decoded at
/// once.
fn whole_frame(input: &[u8], room: usize) -> Option<(usize, usize)> {
    let content = usize::try_from(get_frame_content_size(input).ok()??).ok()?;
    // RFC 8878 3.1.1.1: without the flag Single_Segment the window follows.
    let (flags, window) = (*input.get(4)?, *input.get(5)?);
    let largest = ((WINDOW_LOG - 10) << 3) as u8;
    let usual = if flags & 0x20 != 0 {
        content <= 1 << WINDOW_LOG
    } else {
        window <= largest
    };
    let length = find_frame_compressed_size(input).ok()?;
    (usual && (1..=room).contains(&content) && length <= input.len()).then_some((length, content))
}

fn new_context() -> Option<DCtx<'static>> {
    let mut context = DCtx::try_create()?;
    context
        .set_parameter(DParameter::WindowLogMax(WINDOW_LOG))
        .ok()?;
    Some(context)
}

/// Appends at most `usable` bytes, for which there is space, to `out`. Returns
/// how much of the input was taken, and the library's wish for the next.
fn decompress(
    context: &mut DCtx<'static>,
    input: &[u8],
    out: &mut Vec<u8>,
    usable: usize,
) -> (usize, SafeResult) {
    let start = out.len();
    let mut from = InBuffer::around(input);
    if out.capacity() - start <= usable {
        let result = context.decompress_stream(&mut OutBuffer::around_pos(out, start), &mut from);
        return (from.pos(), result);
    }
    out.resize(start + usable, 0);
    let mut to = OutBuffer::around(out.get_mut(start..).unwrap_or_default());
    let result = context.decompress_stream(&mut to, &mut from);
    let written = to.pos();
    out.truncate(start + written);
    (from.pos(), result)
}

/// What the library says, but for the one thing that is our own limit.
fn reason(code: usize) -> &'static str {
    let name = get_error_name(code);
    if name.contains("too much memory") {
        "zstd window larger than 8 MiB"
    } else {
        "not a valid zstd frame"
    }
}
