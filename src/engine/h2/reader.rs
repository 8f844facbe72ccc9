//! One direction's frames: bytes and gaps in, header sections, pieces of
//! bodies and what control frames say out to the streams.

use std::io;

use super::H2;
use super::heads::Section;
use super::wire::LOST_FRAME;
use crate::engine::conversation::Conversation;
use crate::engine::core::Core;
use crate::engine::open::Part;
use crate::event::{Direction, MissingReason};
use crate::flow::{Item, Origin, OwnedOrigin};
use crate::http::h2::{
    Found, FrameHeader, HEADER_LENGTH, PREFACE, Wanted, find, flag, fragment, kind, settings,
};
use crate::http::hpack::Decoder;

/// Bytes of a compressed header section that are kept; a longer one is lost.
const SECTION_LIMIT: usize = 256 << 10;

/// Bytes in which the next frame is looked for at once.
const SEARCH_WINDOW: usize = 64 << 10;

/// Bytes that a search may decode at once, and for each that comes.
const SEARCH_WORK: usize = 256 << 10;
const WORK_PER_BYTE: usize = 4;

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

/// How far a DATA frame was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct DataFrame {
    header: FrameHeader,
    /// The length of the padding is still to come.
    padded: bool,
    /// Bytes of body to come.
    body: u32,
    /// Bytes of padding to come.
    padding: u32,
}

/// A header section that is not whole.
pub(super) struct Pending {
    stream: u32,
    origin: OwnedOrigin,
    end_stream: bool,
    promised: Option<u32>,
    block: Vec<u8>,
    lost: bool,
}

/// One direction.
pub(super) struct Reader {
    pub(super) state: State,
    hpack: Decoder,
    store: Vec<u8>,
    /// Whose the first byte of the present frame was.
    first: Option<OwnedOrigin>,
    pending: Option<Pending>,
    /// Bytes to be read again, from a frame's beginning.
    again: Option<Vec<u8>>,
    /// Bytes that searches may still decode.
    work: usize,
    charged: u64,
    /// Of a DATA frame that is written anew, what there is as yet: its stream
    /// and bytes.
    pub(super) unwritten: Option<(u32, OwnedOrigin, Vec<u8>)>,
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
            charged: 0,
            unwritten: None,
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

    /// Bytes that are held.
    fn memory(&self) -> u64 {
        let pending = self.pending.as_ref().map_or(0, |p| p.block.capacity());
        let unwritten = self.unwritten.as_ref().map_or(0, |u| u.2.capacity());
        (self.store.capacity() + pending + unwritten + self.hpack.memory()) as u64
    }

    /// Whether more of the body of the present DATA frame is to come.
    pub(super) fn is_in_body(&self) -> bool {
        matches!(self.state, State::Data(frame) if frame.body > 0)
    }

    /// Gives back what is counted in the budget.
    pub(super) fn discharge(&mut self, core: &mut Core) {
        core.budget.give(std::mem::take(&mut self.charged));
    }

    fn charge(&mut self, core: &mut Core) {
        let now = self.memory();
        if now > self.charged {
            core.budget.charge(now - self.charged);
        } else {
            core.budget.give(self.charged - now);
        }
        self.charged = now;
    }

    /// The origin of the present frame's first byte.
    fn frame_origin(&mut self, origin: &Origin<'_>) -> OwnedOrigin {
        self.first.take().unwrap_or_else(|| origin.to_owned())
    }
}

impl H2 {
    fn reader(&mut self, direction: Direction) -> &mut Reader {
        &mut self.readers[direction.index()]
    }

    /// Bytes of a direction.
    pub(super) fn bytes(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        item: &Item<'_>,
        bytes: &[u8],
    ) -> io::Result<()> {
        self.out.arrive(direction, item.offset);
        let reader = self.reader(direction);
        let more = bytes.len().saturating_mul(WORK_PER_BYTE);
        reader.work = reader.work.saturating_add(more).min(SEARCH_WORK);
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = self.step(conv, core, direction, &item.origin, rest)?;
            // What a search found is read from where it is stored.
            while let Some(store) = self.reader(direction).again.take() {
                let mut inner = store.as_slice();
                while !inner.is_empty() && self.reader(direction).again.is_none() {
                    inner = self.step(conv, core, direction, &item.origin, inner)?;
                }
                if let Some(next) = &mut self.reader(direction).again {
                    next.extend_from_slice(inner);
                }
            }
        }
        self.copy_bytes(conv, core, direction, item, bytes)?;
        self.reader(direction).charge(core);
        Ok(())
    }

    /// Reads the next bytes; gives those after them.
    fn step<'b>(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        origin: &Origin<'_>,
        bytes: &'b [u8],
    ) -> io::Result<&'b [u8]> {
        let reader = self.reader(direction);
        match &mut reader.state {
            State::Preface(done) => {
                let want = PREFACE.get(*done..).unwrap_or_default();
                let n = want.len().min(bytes.len());
                let (head, rest) = bytes.split_at(n);
                if !want.starts_with(head) {
                    self.lose_way(core, direction);
                    return Ok(bytes);
                }
                *done += n;
                if *done == PREFACE.len() {
                    reader.state = State::Frame;
                }
                Ok(rest)
            }
            State::Frame => self.header(conv, core, direction, origin, bytes),
            State::Kept(header) => {
                let header = *header;
                let want = (header.length as usize).saturating_sub(reader.store.len());
                let (part, rest) = bytes.split_at(want.min(bytes.len()));
                reader.store.extend_from_slice(part);
                if reader.store.len() == header.length as usize {
                    let mut store = std::mem::take(&mut reader.store);
                    reader.state = State::Frame;
                    self.frame(conv, core, direction, origin, &header, &store)?;
                    if store.capacity() <= 16 << 10 {
                        store.clear();
                        self.reader(direction).store = store;
                    }
                }
                Ok(rest)
            }
            State::Skip(left) | State::Lost(left) => {
                let n = (*left as usize).min(bytes.len());
                *left -= n as u32;
                if *left == 0 {
                    reader.state = State::Frame;
                }
                Ok(bytes.get(n..).unwrap_or_default())
            }
            State::Data(frame) => {
                let frame = *frame;
                self.data_bytes(conv, core, direction, origin, frame, bytes)
            }
            State::Search => {
                let room = SEARCH_WINDOW.saturating_sub(reader.store.len()).max(1);
                let (part, rest) = bytes.split_at(room.min(bytes.len()));
                reader.store.extend_from_slice(part);
                self.search(conv, core, direction);
                Ok(rest)
            }
            State::Ended => Ok(&[]),
        }
    }

    /// Bytes in or before a frame's header.
    fn header<'b>(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        origin: &Origin<'_>,
        bytes: &'b [u8],
    ) -> io::Result<&'b [u8]> {
        let reader = self.reader(direction);
        let stored = reader.store.len();
        let want = HEADER_LENGTH.saturating_sub(stored);
        let (part, rest) = bytes.split_at(want.min(bytes.len()));
        let header = if stored == 0 {
            FrameHeader::parse(part)
        } else {
            reader.store.extend_from_slice(part);
            FrameHeader::parse(&reader.store)
        };
        let Some(header) = header else {
            if stored == 0 {
                reader.store.extend_from_slice(part);
                reader.first = Some(origin.to_owned());
            }
            return Ok(rest);
        };
        if !header.is_sound() {
            core.stats.malformed += 1;
            // Looked at again, but for the first byte.
            let again = if stored == 0 { part } else { &[] };
            let mut store = std::mem::take(&mut reader.store);
            store.extend_from_slice(again);
            store.drain(..1.min(store.len()));
            self.lose_way(core, direction);
            self.reader(direction).store = store;
            return Ok(rest);
        }
        reader.store.clear();
        let open = reader.pending.as_ref().map(|p| p.stream);
        if open.is_some_and(|s| header.kind != kind::CONTINUATION || header.stream != s) {
            // RFC 9113 6.10: nothing may come in between.
            core.stats.malformed += 1;
            self.break_section(conv, core, direction)?;
        }
        self.payload(conv, core, direction, origin, header, rest)
    }

    /// A frame's payload begins.
    fn payload<'b>(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        origin: &Origin<'_>,
        header: FrameHeader,
        bytes: &'b [u8],
    ) -> io::Result<&'b [u8]> {
        let reader = self.reader(direction);
        let length = header.length as usize;
        match header.kind {
            kind::DATA => {
                let padded = header.has(flag::PADDED);
                let frame = DataFrame {
                    header,
                    padded,
                    body: header.length,
                    padding: 0,
                };
                reader.state = State::Data(frame);
                if header.length == 0 {
                    self.data_done(conv, core, direction, origin, &header)?;
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
                    reader.state = State::Skip(header.length);
                    self.frame_lost(conv, core, direction, origin, &header)?;
                    return Ok(bytes);
                }
                if let Some(payload) = bytes.get(..length) {
                    reader.state = State::Frame;
                    self.frame(conv, core, direction, origin, &header, payload)?;
                    return Ok(bytes.get(length..).unwrap_or_default());
                }
                reader.state = State::Kept(header);
                if reader.first.is_none() {
                    reader.first = Some(origin.to_owned());
                }
                Ok(bytes)
            }
            _ => {
                reader.first = None;
                reader.state = match header.length {
                    0 => State::Frame,
                    length if header.kind == LOST_FRAME => State::Lost(length),
                    length => State::Skip(length),
                };
                Ok(bytes)
            }
        }
    }

    /// Bytes of a DATA frame.
    fn data_bytes<'b>(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        origin: &Origin<'_>,
        mut frame: DataFrame,
        mut bytes: &'b [u8],
    ) -> io::Result<&'b [u8]> {
        if frame.padded {
            let Some((padding, rest)) = bytes.split_first() else {
                return Ok(bytes);
            };
            bytes = rest;
            frame.padded = false;
            frame.padding = u32::from(*padding).min(frame.body.saturating_sub(1));
            frame.body = frame.body.saturating_sub(1 + frame.padding);
        }
        let n = (frame.body as usize).min(bytes.len());
        let (body, rest) = bytes.split_at(n);
        frame.body -= n as u32;
        let pad = (frame.padding as usize).min(if frame.body == 0 { rest.len() } else { 0 });
        frame.padding -= pad as u32;
        let rest = rest.get(pad..).unwrap_or_default();
        let last = frame.body == 0 && frame.padding == 0;
        self.reader(direction).state = State::Data(frame);
        if !body.is_empty() {
            self.body(conv, core, direction, origin, frame.header.stream, body)?;
        }
        if last {
            self.data_done(conv, core, direction, origin, &frame.header)?;
        }
        Ok(rest)
    }

    /// A DATA frame has ended.
    fn data_done(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        origin: &Origin<'_>,
        header: &FrameHeader,
    ) -> io::Result<()> {
        let reader = self.reader(direction);
        reader.state = State::Frame;
        reader.first = None;
        if header.has(flag::END_STREAM) {
            self.end_of_message(conv, core, direction, origin, header.stream, true)?;
        }
        Ok(())
    }

    /// A whole frame that was kept.
    fn frame(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        origin: &Origin<'_>,
        header: &FrameHeader,
        payload: &[u8],
    ) -> io::Result<()> {
        let first = self.reader(direction).frame_origin(origin);
        match header.kind {
            kind::SETTINGS => {
                if !header.has(flag::ACK) {
                    for (id, value) in settings(payload) {
                        // They bind the other end (RFC 7541 4.2).
                        if id == HEADER_TABLE_SIZE {
                            self.reader(direction.other()).hpack.set_limit(value);
                        }
                    }
                }
                Ok(())
            }
            kind::RST_STREAM => {
                let code = payload.first_chunk().map_or(0, |c| u32::from_be_bytes(*c));
                self.reset(conv, core, direction, origin, header.stream, code)
            }
            kind::GOAWAY => {
                let last = payload.first_chunk().map_or(0, |c| u32::from_be_bytes(*c));
                self.go_away(conv, core, direction, last & 0x7fff_ffff)?;
                self.write_go_away(conv, core, direction, origin, payload)
            }
            _ => self.fragment(conv, core, direction, origin, first, header, payload),
        }
    }

    /// A part of a header section.
    #[allow(clippy::too_many_arguments)]
    fn fragment(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        origin: &Origin<'_>,
        first: OwnedOrigin,
        header: &FrameHeader,
        payload: &[u8],
    ) -> io::Result<()> {
        let reader = self.reader(direction);
        let (block, promised, broken) = match fragment(header, payload) {
            Ok(fragment) => (fragment.block, fragment.promised, false),
            Err(_) => (&[][..], None, true),
        };
        let whole = header.has(flag::END_HEADERS);
        if header.kind != kind::CONTINUATION {
            let pending = Pending {
                stream: header.stream,
                origin: first,
                end_stream: header.kind == kind::HEADERS && header.has(flag::END_STREAM),
                promised,
                block: Vec::new(),
                lost: broken,
            };
            if whole {
                return self.section(conv, core, direction, origin, pending, block);
            }
            reader.pending = Some(pending);
        }
        let Some(pending) = &mut reader.pending else {
            // The beginning was lost.
            core.stats.malformed += 1;
            reader.hpack.lost();
            return Ok(());
        };
        if pending.block.len() + block.len() > SECTION_LIMIT {
            pending.lost = true;
            pending.block = Vec::new();
        } else if !pending.lost {
            pending.block.extend_from_slice(block);
        }
        if !whole {
            return Ok(());
        }
        let Some(mut pending) = reader.pending.take() else {
            return Ok(());
        };
        let block = std::mem::take(&mut pending.block);
        self.section(conv, core, direction, origin, pending, &block)
    }

    /// A whole header section.
    fn section(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        origin: &Origin<'_>,
        pending: Pending,
        block: &[u8],
    ) -> io::Result<()> {
        let reader = self.reader(direction);
        let section = if pending.lost {
            reader.hpack.lost();
            Section::lost()
        } else {
            Section::decode(&mut reader.hpack, block)
        };
        if section.is_broken() {
            core.stats.malformed += 1;
            self.out.leave(direction);
        }
        let first = pending.origin.get();
        match pending.promised {
            Some(promised) => {
                self.promise(conv, core, direction, &first, promised, section)?;
            }
            None => {
                let (stream, end) = (pending.stream, pending.end_stream);
                self.head(conv, core, direction, &first, stream, section, end)?;
                if end {
                    self.end_of_message(conv, core, direction, origin, stream, false)?;
                }
            }
        }
        Ok(())
    }

    /// A header section that broke off: what was inserted by it is unknown.
    fn break_section(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
    ) -> io::Result<()> {
        let Some(mut pending) = self.reader(direction).pending.take() else {
            return Ok(());
        };
        pending.lost = true;
        let origin = pending.origin.clone();
        self.section(conv, core, direction, &origin.get(), pending, &[])
    }

    /// A frame that should have been kept is not there.
    fn frame_lost(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        origin: &Origin<'_>,
        header: &FrameHeader,
    ) -> io::Result<()> {
        let first = self.reader(direction).frame_origin(origin);
        let reader = self.reader(direction);
        match header.kind {
            kind::HEADERS | kind::PUSH_PROMISE => {
                let pending = Pending {
                    stream: header.stream,
                    origin: first,
                    end_stream: header.kind == kind::HEADERS && header.has(flag::END_STREAM),
                    // A promise that is not known is nobody's.
                    promised: (header.kind == kind::PUSH_PROMISE).then_some(0),
                    block: Vec::new(),
                    lost: true,
                };
                if header.has(flag::END_HEADERS) {
                    return self.section(conv, core, direction, origin, pending, &[]);
                }
                reader.pending = Some(pending);
            }
            kind::CONTINUATION => {
                if let Some(pending) = &mut reader.pending {
                    pending.lost = true;
                    pending.block = Vec::new();
                }
                if header.has(flag::END_HEADERS) {
                    return self.break_section(conv, core, direction);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Bytes that are not there.
    pub(super) fn gap(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        item: &Item<'_>,
        mut length: u64,
        reason: MissingReason,
    ) -> io::Result<()> {
        let origin = &item.origin;
        let mut offset = item.offset;
        while length > 0 {
            let reader = self.reader(direction);
            let part = match &mut reader.state {
                State::Kept(header) => {
                    let header = *header;
                    let left = u64::from(header.length).saturating_sub(reader.store.len() as u64);
                    let n = left.min(length);
                    reader.store = Vec::new();
                    reader.state = match left - n {
                        0 => State::Frame,
                        left => State::Skip(left as u32),
                    };
                    self.out.leave(direction);
                    self.frame_lost(conv, core, direction, origin, &header)?;
                    n
                }
                State::Skip(left) => {
                    let n = u64::from(*left).min(length);
                    *left -= n as u32;
                    if *left == 0 {
                        reader.state = State::Frame;
                    }
                    n
                }
                State::Lost(left) => {
                    let n = u64::from(*left).min(length);
                    *left -= n as u32;
                    if *left == 0 {
                        reader.state = State::Frame;
                    }
                    self.lossy = true;
                    self.between(conv, direction, n);
                    n
                }
                State::Data(frame) => {
                    // Of padding whose length is not there nothing is known.
                    frame.padded = false;
                    let body = u64::from(frame.body).min(length);
                    frame.body -= body as u32;
                    let padding = u64::from(frame.padding).min(length - body);
                    frame.padding -= padding as u32;
                    let (header, last) = (frame.header, frame.body == 0 && frame.padding == 0);
                    if body > 0 {
                        self.body_gap(conv, core, direction, origin, header.stream, body, reason)?;
                    }
                    if last {
                        self.data_done(conv, core, direction, origin, &header)?;
                    }
                    body + padding
                }
                State::Ended => return Ok(()),
                State::Preface(_) | State::Frame | State::Search => {
                    self.break_section(conv, core, direction)?;
                    self.lose_way(core, direction);
                    self.between(conv, direction, length);
                    return self.copy_lost(conv, core, direction, origin, length, reason);
                }
            };
            self.copy_gap(conv, core, direction, offset, origin, part, reason)?;
            offset = offset.wrapping_add(part);
            length -= part;
        }
        Ok(())
    }

    /// Where the next frame begins is not known.
    fn lose_way(&mut self, core: &mut Core, direction: Direction) {
        self.lossy = true;
        self.out.leave(direction);
        let reader = self.reader(direction);
        core.stats.other_bytes = core
            .stats
            .other_bytes
            .saturating_add(reader.store.len() as u64);
        reader.store.clear();
        reader.first = None;
        reader.state = State::Search;
        reader.hpack.lost();
    }

    /// Looks for the next frame in what is stored.
    fn search(&mut self, conv: &Conversation, core: &mut Core, direction: Direction) {
        let wanted = match conv.part(direction) {
            Part::Request => Wanted::Requests,
            Part::Response => Wanted::Responses,
        };
        let streams = &self.streams;
        let reader = &mut self.readers[direction.index()];
        let is_open = |id| streams.contains_key(&id);
        let found = find(&reader.store, wanted, &is_open, &mut reader.work);
        let (at, good) = match found {
            Found::Frame(at) | Found::Request(at) | Found::Response(at) => (at, true),
            Found::Nothing(useless) if reader.store.len() >= SEARCH_WINDOW => {
                (useless.max(1), false)
            }
            Found::Nothing(useless) => (useless, false),
        };
        let at = at.min(reader.store.len());
        reader.store.drain(..at);
        core.stats.other_bytes = core.stats.other_bytes.saturating_add(at as u64);
        if !good {
            return;
        }
        reader.state = State::Frame;
        reader.again = Some(std::mem::take(&mut reader.store));
    }

    /// The end of a direction.
    pub(super) fn end(
        &mut self,
        conv: &mut Conversation,
        core: &mut Core,
        direction: Direction,
        item: &Item<'_>,
    ) -> io::Result<()> {
        self.break_section(conv, core, direction)?;
        let reader = self.reader(direction);
        reader.state = State::Ended;
        reader.store = Vec::new();
        reader.pending = None;
        reader.charge(core);
        let both = self.readers.iter().all(|r| matches!(r.state, State::Ended));
        let side = conv.side(direction);
        side.state = crate::engine::side::State::Ended;
        let offset = self.out.offset_at(direction, item.offset);
        side.end = Some((offset, item.origin.to_owned()));
        if both {
            self.finish_all(conv, core)?;
        }
        if self.streams.is_empty() {
            self.move_ends(conv);
            conv.give_ends(core)?;
        }
        Ok(())
    }
}
