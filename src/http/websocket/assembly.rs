//! A message that is being put together out of its frames.

use super::frame::{CONTINUATION, Header, RSV1, unmask};
use super::inflate::Inflater;
use super::{Kind, Message};
use crate::exchange::BodyState;

/// A buffer that is larger is not kept for another message.
const SPARE: usize = 64 << 10;

/// How the payload of a message is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Plain,
    Deflate,
    /// Compressed, or changed by an extension that is not known; and nothing
    /// more can be made of it.
    Opaque,
}

/// The message so far.
#[derive(Debug)]
pub(super) struct Assembly {
    kind: Kind,
    coding: Coding,
    compressed: bool,
    fragments: u32,
    wire_size: u64,
    /// Decoded bytes so far.
    size: u64,
    lost: u64,
    /// Its beginning or its end is missing.
    torn: bool,
    pub(super) stamp: u64,
    data: Vec<u8>,
}

impl Default for Assembly {
    fn default() -> Self {
        Self {
            kind: Kind::Continuation,
            coding: Coding::Plain,
            compressed: false,
            fragments: 0,
            wire_size: 0,
            size: 0,
            lost: 0,
            torn: false,
            stamp: 0,
            data: Vec::new(),
        }
    }
}

impl Assembly {
    /// Begins with this frame; `inflates` says whether RSV1 means compression.
    pub(super) fn begin(&mut self, header: &Header, inflates: bool) {
        let mut data = std::mem::take(&mut self.data);
        data.clear();
        let compressed = inflates && header.reserved == RSV1 && matches!(header.opcode, 1 | 2);
        // The start of a continued message was not seen, so neither was
        // whether it is compressed.
        let torn = header.opcode == CONTINUATION;
        *self = Self {
            kind: Kind::of(header.opcode),
            coding: if compressed {
                Coding::Deflate
            } else if header.reserved != 0 || torn && inflates {
                Coding::Opaque
            } else {
                Coding::Plain
            },
            compressed,
            fragments: 1,
            torn,
            data,
            ..Self::default()
        };
    }

    /// Goes on with this frame.
    pub(super) fn go_on(&mut self, header: &Header, inflater: &mut Option<Inflater>) {
        self.fragments = self.fragments.saturating_add(1);
        if header.reserved != 0 {
            self.coding = Coding::Opaque;
            if let Some(inflater) = inflater {
                inflater.forget();
            }
        }
    }

    pub(super) fn is_deflate(&self) -> bool {
        self.coding == Coding::Deflate
    }

    pub(super) fn is_opaque(&self) -> bool {
        self.coding == Coding::Opaque
    }

    /// Whether its buffer is worth keeping.
    pub(super) fn is_small(&self) -> bool {
        self.data.capacity() <= SPARE
    }

    /// Takes bytes of the payload, the first of them `at` bytes into its
    /// frame.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        mask: Option<[u8; 4]>,
        at: u64,
        keep: usize,
        inflater: &mut Option<Inflater>,
    ) {
        self.wire_size = self.wire_size.saturating_add(bytes.len() as u64);
        if self.lost > 0 {
            return;
        }
        match self.coding {
            Coding::Opaque => {}
            Coding::Plain => {
                let room = room_of(&mut self.size, &self.data, keep, bytes);
                let kept = bytes.get(..room).unwrap_or(bytes);
                unmask(&mut self.data, kept, mask, at);
            }
            Coding::Deflate => self.inflate(bytes, mask, at, keep, inflater),
        }
    }

    fn inflate(
        &mut self,
        bytes: &[u8],
        mask: Option<[u8; 4]>,
        at: u64,
        keep: usize,
        inflater: &mut Option<Inflater>,
    ) {
        let Some(inflater) = inflater else {
            self.coding = Coding::Opaque;
            return;
        };
        let (size, data) = (&mut self.size, &mut self.data);
        let mut each = |piece: &[u8]| keep_of(size, data, keep, piece);
        let mut failed = false;
        if mask.is_none() {
            failed = inflater.push(bytes, &mut each).is_err();
        } else {
            let mut plain = Vec::with_capacity(bytes.len().min(4096));
            let mut at = at;
            for chunk in bytes.chunks(4096) {
                plain.clear();
                unmask(&mut plain, chunk, mask, at);
                at = at.wrapping_add(chunk.len() as u64);
                failed = failed || inflater.push(&plain, &mut each).is_err();
            }
        }
        if failed {
            self.give_up(inflater);
        }
    }

    fn give_up(&mut self, inflater: &mut Inflater) {
        self.coding = Coding::Opaque;
        inflater.forget();
    }

    /// So many bytes of the payload are missing.
    pub(super) fn lost(&mut self, n: u64, inflater: &mut Option<Inflater>) {
        self.wire_size = self.wire_size.saturating_add(n);
        self.lost = self.lost.saturating_add(n);
        if self.coding == Coding::Deflate
            && let Some(inflater) = inflater
        {
            inflater.forget();
        }
    }

    /// What else belongs to it will not be known.
    pub(super) fn tear(&mut self) {
        self.torn = true;
    }

    /// Its last frame has ended.
    pub(super) fn end(&mut self, keep: usize, inflater: &mut Option<Inflater>) {
        if self.coding == Coding::Deflate
            && self.lost == 0
            && let Some(inflater) = inflater
        {
            let (size, data) = (&mut self.size, &mut self.data);
            let mut each = |piece: &[u8]| keep_of(size, data, keep, piece);
            match inflater.end(&mut each) {
                Ok(true) => {}
                Ok(false) => self.coding = Coding::Opaque,
                Err(_) => self.give_up(inflater),
            }
        }
    }

    pub(super) fn message(&self) -> Message<'_> {
        let state = if self.torn || self.lost > 0 {
            BodyState::Lost
        } else if self.coding == Coding::Opaque {
            BodyState::Undecodable
        } else if self.size > self.data.len() as u64 {
            BodyState::Cut
        } else {
            BodyState::Complete
        };
        Message {
            kind: self.kind,
            size: matches!(state, BodyState::Complete | BodyState::Cut).then_some(self.size),
            wire_size: self.wire_size,
            fragments: self.fragments,
            compressed: self.compressed,
            data: &self.data,
            lost: self.lost,
            state,
            stamp: self.stamp,
        }
    }

    pub(super) fn memory(&self) -> usize {
        self.data.capacity()
    }
}

/// Counts a piece; gives how much of it may be kept.
fn room_of(size: &mut u64, data: &[u8], keep: usize, piece: &[u8]) -> usize {
    let before = *size;
    *size = before.saturating_add(piece.len() as u64);
    // Nothing is kept after what was not.
    if before == data.len() as u64 {
        keep.saturating_sub(data.len())
    } else {
        0
    }
}

fn keep_of(size: &mut u64, data: &mut Vec<u8>, keep: usize, piece: &[u8]) {
    let room = room_of(size, data, keep, piece);
    data.extend_from_slice(piece.get(..room).unwrap_or(piece));
}
