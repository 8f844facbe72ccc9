//! Header sections out of HEADERS, PUSH_PROMISE and CONTINUATION frames
//! (RFC 9113 4.3).

use std::io;

use super::heads::Section;
use super::reader::Reader;
use super::streams::Streams;
use super::turn::Turn;
use crate::flow::OwnedOrigin;
use crate::http::h2::{FrameHeader, flag, fragment, kind};

/// Bytes of a compressed header section that are kept; a longer one is lost.
pub(super) const SECTION_LIMIT: usize = 256 << 10;

/// A header section that is not whole.
pub(super) struct Pending {
    pub(super) stream: u32,
    origin: OwnedOrigin,
    end_stream: bool,
    promised: Option<u32>,
    block: Vec<u8>,
    lost: bool,
}

impl Pending {
    fn new(header: &FrameHeader, origin: OwnedOrigin) -> Self {
        Self {
            stream: header.stream,
            origin,
            end_stream: header.kind == kind::HEADERS && header.has(flag::END_STREAM),
            promised: None,
            block: Vec::new(),
            lost: false,
        }
    }

    /// Bytes that are held.
    pub(super) fn memory(&self) -> usize {
        self.block.capacity()
    }

    fn lose(&mut self) {
        self.lost = true;
        self.block = Vec::new();
    }
}

impl Reader {
    /// A part of a header section. `first`: whose the frame's first byte was.
    pub(super) fn fragment(
        &mut self,
        streams: &mut Streams,
        turn: &mut Turn<'_>,
        first: OwnedOrigin,
        header: &FrameHeader,
        payload: &[u8],
    ) -> io::Result<()> {
        let (block, promised, broken) = match fragment(header, payload) {
            Ok(fragment) => (fragment.block, fragment.promised, false),
            Err(_) => (&[][..], None, true),
        };
        let whole = header.has(flag::END_HEADERS);
        if header.kind != kind::CONTINUATION {
            let pending = Pending {
                promised,
                lost: broken,
                ..Pending::new(header, first)
            };
            if whole {
                return self.section(streams, turn, pending, block);
            }
            self.pending = Some(pending);
        }
        let Some(pending) = &mut self.pending else {
            // The beginning was lost.
            turn.core.stats.malformed += 1;
            self.hpack.lost();
            return Ok(());
        };
        if pending.block.len() + block.len() > SECTION_LIMIT {
            pending.lose();
        } else if !pending.lost {
            pending.block.extend_from_slice(block);
        }
        if whole && let Some(mut pending) = self.pending.take() {
            let block = std::mem::take(&mut pending.block);
            return self.section(streams, turn, pending, &block);
        }
        Ok(())
    }

    /// A whole header section.
    fn section(
        &mut self,
        streams: &mut Streams,
        turn: &mut Turn<'_>,
        pending: Pending,
        block: &[u8],
    ) -> io::Result<()> {
        let section = if pending.lost {
            self.hpack.lost();
            Section::lost()
        } else {
            Section::decode(&mut self.hpack, block)
        };
        if section.is_broken() {
            turn.core.stats.malformed += 1;
            turn.out.leave(turn.direction);
        }
        let mut first = turn.of(turn.direction, pending.origin.get());
        if let Some(promised) = pending.promised {
            return streams.promise(&mut first, promised, section);
        }
        let (stream, end) = (pending.stream, pending.end_stream);
        streams.head(&mut first, stream, section, end)?;
        if end {
            streams.end_of_message(turn, stream, false)?;
        }
        Ok(())
    }

    /// A header section that broke off: what was inserted by it is unknown.
    pub(super) fn break_section(
        &mut self,
        streams: &mut Streams,
        turn: &mut Turn<'_>,
    ) -> io::Result<()> {
        let Some(mut pending) = self.pending.take() else {
            return Ok(());
        };
        pending.lost = true;
        let origin = pending.origin.clone();
        let mut turn = turn.of(turn.direction, origin.get());
        self.section(streams, &mut turn, pending, &[])
    }

    /// A frame that should have been kept is not there.
    pub(super) fn frame_lost(
        &mut self,
        streams: &mut Streams,
        turn: &mut Turn<'_>,
        header: &FrameHeader,
    ) -> io::Result<()> {
        let first = self.frame_origin(&turn.origin);
        let whole = header.has(flag::END_HEADERS);
        match header.kind {
            kind::HEADERS | kind::PUSH_PROMISE => {
                let pending = Pending {
                    // A promise that is not known is nobody's.
                    promised: (header.kind == kind::PUSH_PROMISE).then_some(0),
                    lost: true,
                    ..Pending::new(header, first)
                };
                if whole {
                    return self.section(streams, turn, pending, &[]);
                }
                self.pending = Some(pending);
            }
            kind::CONTINUATION => {
                if let Some(pending) = &mut self.pending {
                    pending.lose();
                }
                if whole {
                    return self.break_section(streams, turn);
                }
            }
            _ => {}
        }
        Ok(())
    }
}
