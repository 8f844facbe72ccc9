//! Bytes of a stream that the view of its other end has yet to be given: they
//! are in the file once, and when that end had them is said later.

use std::collections::VecDeque;

/// A run of bytes, or of bytes that are not in the file.
struct Chunk {
    start: u64,
    length: u64,
    /// `None`: not there.
    bytes: Option<Vec<u8>>,
}

impl Chunk {
    const fn end(&self) -> u64 {
        self.start.saturating_add(self.length)
    }
}

/// The last bytes of a stream.
#[derive(Default)]
pub(super) struct Tail {
    chunks: VecDeque<Chunk>,
    kept: usize,
}

/// A part of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    Bytes(&'a [u8]),
    Missing(u64),
}

impl Tail {
    /// Appends bytes that begin at `start`.
    pub(super) fn push(&mut self, start: u64, bytes: &[u8]) {
        self.kept += bytes.len();
        self.chunks.push_back(Chunk {
            start,
            length: bytes.len() as u64,
            bytes: Some(bytes.to_vec()),
        });
    }

    /// Appends a hole.
    pub(super) fn push_hole(&mut self, start: u64, length: u64) {
        self.chunks.push_back(Chunk {
            start,
            length,
            bytes: None,
        });
    }

    /// Bytes kept.
    pub(super) fn kept(&self) -> usize {
        self.kept
    }

    /// Forgets what ends at `position` or before.
    pub(super) fn forget(&mut self, position: u64) {
        while let Some(chunk) = self.chunks.front()
            && chunk.end() <= position
        {
            self.kept -= chunk.bytes.as_ref().map_or(0, Vec::len);
            self.chunks.pop_front();
        }
    }

    /// Forgets the oldest until at most `limit` bytes are kept.
    pub(super) fn shrink(&mut self, limit: usize) {
        while self.kept > limit || self.chunks.len() > 4096 {
            let Some(chunk) = self.chunks.pop_front() else {
                return;
            };
            self.kept -= chunk.bytes.as_ref().map_or(0, Vec::len);
        }
    }

    /// The parts of `start..end`, in order and without omission: what was
    /// forgotten is missing.
    pub(super) fn parts(&self, start: u64, end: u64) -> Vec<Part<'_>> {
        let mut parts = Vec::new();
        let mut at = start;
        for chunk in &self.chunks {
            if at >= end {
                break;
            }
            if chunk.end() <= at {
                continue;
            }
            if chunk.start >= end {
                break;
            }
            if chunk.start > at {
                parts.push(Part::Missing(chunk.start - at));
                at = chunk.start;
            }
            let until = chunk.end().min(end);
            match &chunk.bytes {
                Some(bytes) => {
                    let range = (at - chunk.start, until - chunk.start);
                    let range = (usize::try_from(range.0), usize::try_from(range.1));
                    if let (Ok(from), Ok(to)) = range {
                        parts.push(Part::Bytes(bytes.get(from..to).unwrap_or_default()));
                    }
                }
                None => parts.push(Part::Missing(until - at)),
            }
            at = until;
        }
        if at < end {
            parts.push(Part::Missing(end - at));
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_leave_nothing_out() {
        let mut tail = Tail::default();
        tail.push(10, b"abc");
        tail.push_hole(13, 5);
        tail.push(18, b"de");
        assert_eq!(
            tail.parts(8, 22),
            [
                Part::Missing(2),
                Part::Bytes(b"abc"),
                Part::Missing(5),
                Part::Bytes(b"de"),
                Part::Missing(2),
            ]
        );
        assert_eq!(tail.parts(11, 12), [Part::Bytes(b"b")]);
        assert_eq!(tail.parts(12, 12), []);
        tail.forget(13);
        assert_eq!(tail.parts(12, 14), [Part::Missing(1), Part::Missing(1)]);
        assert_eq!(tail.kept(), 2);
        tail.shrink(0);
        assert_eq!(tail.kept(), 0);
    }
}
