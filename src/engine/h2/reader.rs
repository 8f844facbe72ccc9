//! One direction's frames: bytes in, and out to whom their payload concerns.

use std::io;

use super::data::DataFrame;
use super::sections::{Pending, SECTION_LIMIT};
use super::streams::Streams;
use super::turn::Turn;
use super::wire::LOST_FRAME;
use crate::engine::core::Core;
use crate::flow::{Origin, OwnedOrigin};
use crate::http::h2::{FrameHeader, HEADER_LENGTH, PREFACE, flag, kind, settings};
use crate::http::hpack::Decoder;

/// Bytes that a search may decode at once, and for each that comes.
const SEARCH_WORK: usize = 256 << 10;
const WORK_PER_BYTE: usize = 4;

/// Memory for a payload that is kept for the next one, in bytes.
const STORE_KEPT: usize = 16 << 10;

/// The settings that matter to a reader (RFC 9113 6.5.2).
const HEADER_TABLE_SIZE: u16 = 1;

/// Where in its stream of frames a direction is.
#[derive(Debug)]
pub(super) enum State {
    /// So far into the client's preface.
    Preface(usize),
    /// In a frame's header; what there is of it is stored.
    Frame,
    /// In a payload that is stored until it is whole.
    Kept(FrameHeader),
    /// In a payload that nobody needs: so many bytes.
    Skip(u32),
    /// In what stands for frames that were lost, in a file of ours.
    Lost(u32),
    /// In a body's frame.
    Data(DataFrame),
    /// The way is lost: the next frame is looked for in what is stored.
    Search,
    /// Nothing more comes.
    Ended,
}

/// One direction.
pub(super) struct Reader {
    pub(super) state: State,
    pub(super) hpack: Decoder,
    pub(super) store: Vec<u8>,
    /// Whose the first byte of the present frame was.
    pub(super) first: Option<OwnedOrigin>,
    pub(super) pending: Option<Pending>,
    /// Bytes to be read again, from a frame's beginning.
    pub(super) again: Option<Vec<u8>>,
    /// Bytes that searches may still decode.
    pub(super) work: usize,
    /// The largest table that it has allowed the other direction's blocks and
    /// that is not told there yet.
    pub(super) table_size: Option<u32>,
    charged: u64,
}

impl Reader {
    pub(super) fn new(state: State) -> Self {
        let from_start = !matches!(state, State::Search);
        Self {
            state,
            hpack: Decoder::new(from_start),
            store: Vec::new(),
            first: None,
            pending: None,
            again: None,
            work: SEARCH_WORK,
            table_size: None,
            charged: 0,
        }
    }

    /// Bytes of a frame's header that are stored; `None` within a payload.
    pub(super) fn at_boundary(&self) -> Option<usize> {
        match self.state {
            State::Frame => Some(self.store.len()),
            State::Search | State::Ended => Some(0),
            _ => None,
        }
    }

    /// Gives back what is counted in the budget.
    pub(super) fn discharge(&mut self, core: &mut Core) {
        core.budget.give(std::mem::take(&mut self.charged));
    }

    /// Counts in the budget what is held of the direction.
    pub(super) fn charge(&mut self, turn: &mut Turn<'_>) {
        let pending = self.pending.as_ref().map_or(0, Pending::memory);
        let held = self.store.capacity() + pending + self.hpack.memory();
        let now = (held + turn.out.memory(turn.direction)) as u64;
        let budget = &mut turn.core.budget;
        if now > self.charged {
            budget.charge(now - self.charged);
        } else {
            budget.give(self.charged - now);
        }
        self.charged = now;
    }

    /// The origin of the present frame's first byte.
    pub(super) fn frame_origin(&mut self, origin: &Origin<'_>) -> OwnedOrigin {
        self.first.take().unwrap_or_else(|| origin.to_owned())
    }

    /// Takes the next bytes.
    pub(super) fn bytes(
        &mut self,
        streams: &mut Streams,
        turn: &mut Turn<'_>,
        bytes: &[u8],
    ) -> io::Result<()> {
        let more = bytes.len().saturating_mul(WORK_PER_BYTE);
        self.work = self.work.saturating_add(more).min(SEARCH_WORK);
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = self.step(streams, turn, rest)?;
            // What a search found is read from where it is stored.
            while let Some(store) = self.again.take() {
                let mut inner = store.as_slice();
                while !inner.is_empty() && self.again.is_none() {
                    inner = self.step(streams, turn, inner)?;
                }
                if let Some(next) = &mut self.again {
                    next.extend_from_slice(inner);
                }
            }
        }
        Ok(())
    }

    /// Reads the next bytes; gives those after them.
    fn step<'b>(
        &mut self,
        streams: &mut Streams,
        turn: &mut Turn<'_>,
        bytes: &'b [u8],
    ) -> io::Result<&'b [u8]> {
        match &mut self.state {
            State::Preface(done) => {
                let want = PREFACE.get(*done..).unwrap_or_default();
                let n = want.len().min(bytes.len());
                let (head, rest) = bytes.split_at(n);
                if !want.starts_with(head) {
                    self.lose_way(streams, turn);
                    return Ok(bytes);
                }
                *done += n;
                if *done == PREFACE.len() {
                    self.state = State::Frame;
                }
                Ok(rest)
            }
            State::Frame => self.header(streams, turn, bytes),
            State::Kept(header) => {
                let header = *header;
                let want = (header.length as usize).saturating_sub(self.store.len());
                let (part, rest) = bytes.split_at(want.min(bytes.len()));
                self.store.extend_from_slice(part);
                if self.store.len() == header.length as usize {
                    let mut store = std::mem::take(&mut self.store);
                    self.state = State::Frame;
                    self.frame(streams, turn, &header, &store)?;
                    if store.capacity() <= STORE_KEPT {
                        store.clear();
                        self.store = store;
                    }
                }
                Ok(rest)
            }
            State::Skip(left) | State::Lost(left) => {
                let n = (*left as usize).min(bytes.len());
                *left -= n as u32;
                if *left == 0 {
                    self.state = State::Frame;
                }
                Ok(bytes.get(n..).unwrap_or_default())
            }
            State::Data(frame) => {
                let frame = *frame;
                self.data_bytes(streams, turn, frame, bytes)
            }
            State::Search => Ok(self.search(streams, turn, bytes)),
            State::Ended => Ok(&[]),
        }
    }

    /// Bytes in or before a frame's header.
    fn header<'b>(
        &mut self,
        streams: &mut Streams,
        turn: &mut Turn<'_>,
        bytes: &'b [u8],
    ) -> io::Result<&'b [u8]> {
        let stored = self.store.len();
        let want = HEADER_LENGTH.saturating_sub(stored);
        let (part, rest) = bytes.split_at(want.min(bytes.len()));
        let header = if stored == 0 {
            FrameHeader::parse(part)
        } else {
            self.store.extend_from_slice(part);
            FrameHeader::parse(&self.store)
        };
        let Some(header) = header else {
            if stored == 0 {
                self.store.extend_from_slice(part);
                self.first = Some(turn.origin.to_owned());
            }
            return Ok(rest);
        };
        if !header.is_sound() {
            turn.core.stats.malformed += 1;
            // Looked at again, but for the first byte.
            let again = if stored == 0 { part } else { &[] };
            let mut store = std::mem::take(&mut self.store);
            store.extend_from_slice(again);
            store.drain(..1.min(store.len()));
            self.lose_way(streams, turn);
            self.store = store;
            return Ok(rest);
        }
        self.store.clear();
        let open = self.pending.as_ref().map(|p| p.stream);
        if open.is_some_and(|s| header.kind != kind::CONTINUATION || header.stream != s) {
            // RFC 9113 6.10: nothing may come in between.
            turn.core.stats.malformed += 1;
            self.break_section(streams, turn)?;
        }
        self.payload(streams, turn, header, rest)
    }

    /// A frame's payload begins.
    fn payload<'b>(
        &mut self,
        streams: &mut Streams,
        turn: &mut Turn<'_>,
        header: FrameHeader,
        bytes: &'b [u8],
    ) -> io::Result<&'b [u8]> {
        let length = header.length as usize;
        match header.kind {
            kind::DATA => {
                self.state = State::Data(DataFrame::new(header));
                if header.length == 0 {
                    self.data_done(streams, turn, &header)?;
                }
                Ok(bytes)
            }
            kind::HEADERS
            | kind::PUSH_PROMISE
            | kind::CONTINUATION
            | kind::SETTINGS
            | kind::RST_STREAM
            | kind::GOAWAY => {
                if length > SECTION_LIMIT {
                    self.state = State::Skip(header.length);
                    self.frame_lost(streams, turn, &header)?;
                    return Ok(bytes);
                }
                if let Some((payload, rest)) = bytes.split_at_checked(length) {
                    self.state = State::Frame;
                    self.frame(streams, turn, &header, payload)?;
                    return Ok(rest);
                }
                self.state = State::Kept(header);
                if self.first.is_none() {
                    self.first = Some(turn.origin.to_owned());
                }
                Ok(bytes)
            }
            _ => {
                self.first = None;
                self.state = match header.length {
                    0 => State::Frame,
                    length if header.kind == LOST_FRAME => State::Lost(length),
                    length => State::Skip(length),
                };
                Ok(bytes)
            }
        }
    }

    /// A whole frame that was kept.
    fn frame(
        &mut self,
        streams: &mut Streams,
        turn: &mut Turn<'_>,
        header: &FrameHeader,
        payload: &[u8],
    ) -> io::Result<()> {
        let first = self.frame_origin(&turn.origin);
        let number = || payload.first_chunk().map_or(0, |c| u32::from_be_bytes(*c));
        match header.kind {
            kind::SETTINGS => {
                if !header.has(flag::ACK) {
                    // They bind the other end (RFC 7541 4.2).
                    let sizes = settings(payload).filter(|(id, _)| *id == HEADER_TABLE_SIZE);
                    self.table_size = self.table_size.max(sizes.map(|(_, size)| size).max());
                }
                Ok(())
            }
            kind::RST_STREAM => streams.reset(turn, header.stream, number()),
            kind::GOAWAY => {
                streams.go_away(turn, number() & 0x7fff_ffff)?;
                turn.write_go_away(payload)
            }
            _ => self.fragment(streams, turn, first, header, payload),
        }
    }

    /// The end of the direction.
    pub(super) fn end(&mut self, streams: &mut Streams, turn: &mut Turn<'_>) -> io::Result<()> {
        self.break_section(streams, turn)?;
        self.state = State::Ended;
        self.store = Vec::new();
        self.charge(turn);
        Ok(())
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }
}
