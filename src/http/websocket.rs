//! WebSocket (RFC 6455) with compressed messages (RFC 7692): one direction of
//! a connection, its bytes given piece by piece, out of which messages come.
//!
//! No length that a frame claims is trusted: what is kept grows with the bytes
//! that come, and only up to a limit; the rest of a message is counted.

mod assembly;
mod chain;
mod extensions;
mod frame;
mod inflate;
mod search;

use std::collections::VecDeque;

use self::assembly::Assembly;
pub use self::chain::Evidence;
pub use self::extensions::Deflate;
use self::frame::{CONTINUATION, HEADER_LIMIT, Header};
use self::inflate::Inflater;
pub use self::search::Frames;
use self::search::{Found, Search};
use crate::exchange::BodyState;

/// Whose messages a direction carries. Those of the client are masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sender {
    /// The end that asked for the upgrade.
    Client,
    /// The end that granted it.
    Server,
}

/// What a message is (RFC 6455 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The end of a message whose beginning was not seen.
    Continuation,
    /// Text, in UTF-8.
    Text,
    /// Bytes.
    Binary,
    /// The sender closes the connection.
    Close,
    /// A question for a sign of life.
    Ping,
    /// The answer, or an unasked-for sign of life.
    Pong,
    /// A reserved opcode.
    Other(u8),
}

impl Kind {
    fn of(opcode: u8) -> Self {
        match opcode {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            other => Self::Other(other),
        }
    }

    /// The name in outputs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Continuation => "continuation",
            Self::Text => "text",
            Self::Binary => "binary",
            Self::Close => "close",
            Self::Ping => "ping",
            Self::Pong => "pong",
            Self::Other(_) => "other",
        }
    }
}

/// A message: its frames put together, their masks and compression undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its bytes, decompressed; `None` where they cannot be counted (a loss,
    /// or what cannot be decompressed).
    pub size: Option<u64>,
    /// Bytes of its frames' payloads on the wire, holes included.
    pub wire_size: u64,
    /// Frames that it came in.
    pub fragments: u32,
    /// It was compressed by `permessage-deflate`.
    pub compressed: bool,
    /// The beginning: as much as is kept, up to the first hole and to where
    /// it could not be decompressed.
    pub data: &'a [u8],
    /// Bytes on the wire that are missing in the middle of its frames.
    pub lost: u64,
    /// What became of it.
    pub state: BodyState,
    /// That of the piece in which it ended ([`Parser::set_stamp`]).
    pub stamp: u64,
}

impl<'a> Message<'a> {
    /// Code and reason of a [`Kind::Close`]; no code if it has none
    /// (RFC 6455 5.5.1).
    #[must_use]
    pub fn close(&self) -> Option<(Option<u16>, &'a [u8])> {
        if self.kind != Kind::Close {
            return None;
        }
        Some(match self.data.split_first_chunk::<2>() {
            Some((code, reason)) => (Some(u16::from_be_bytes(*code)), reason),
            None => (None, self.data),
        })
    }
}

/// Where in its frames a direction is.
#[derive(Clone, Copy, Debug)]
enum State {
    /// At a header or in one.
    Header,
    /// So many bytes of this frame's payload are still to come.
    Payload(Header, u64),
    /// So many bytes are passed over before the next header.
    Skip(u64),
    /// Framing is lost.
    Searching,
}

/// Reads one direction.
///
/// ```
/// use httpsniff::http::websocket::{Kind, Parser, Sender};
///
/// let mut parser = Parser::new(Sender::Server, None, 1 << 20);
/// let mut input: &[u8] = b"\x81\x05Hello\x89\x00";
/// let message = parser.next(&mut input).unwrap();
/// assert_eq!((message.kind, message.data), (Kind::Text, &b"Hello"[..]));
/// assert_eq!(parser.next(&mut input).unwrap().kind, Kind::Ping);
/// assert_eq!(parser.next(&mut input), None);
/// ```
#[derive(Debug)]
pub struct Parser {
    sender: Sender,
    keep: usize,
    /// Bytes that may be held yet.
    room: usize,
    state: State,
    head: [u8; HEADER_LIMIT],
    head_len: usize,
    /// The text or binary message that is in the making: between frames too.
    data: Option<Assembly>,
    /// The control frame in the making, which may stand between them.
    control: Option<Assembly>,
    /// What is to be given out: the first is lent to the caller.
    done: VecDeque<Assembly>,
    lent: bool,
    /// A used one, for its buffer.
    spare: Option<Assembly>,
    deflate: bool,
    alone: bool,
    inflater: Option<Inflater>,
    /// Compressed messages may have been missed.
    forgot: bool,
    search: Search,
    /// Found by the search and still to be parsed, from there on.
    replay: (Found, usize),
    unframed: u64,
    stamp: u64,
}

impl Parser {
    /// A parser of the messages of `sender`, from the first byte after the
    /// upgrade, that keeps at most `keep` bytes of each. `deflate` is what
    /// both ends agreed upon.
    #[must_use]
    pub fn new(sender: Sender, deflate: Option<Deflate>, keep: u64) -> Self {
        Self {
            sender,
            keep: usize::try_from(keep).unwrap_or(usize::MAX),
            room: usize::MAX,
            state: State::Header,
            head: [0; HEADER_LIMIT],
            head_len: 0,
            data: None,
            control: None,
            done: VecDeque::new(),
            lent: false,
            spare: None,
            deflate: deflate.is_some(),
            alone: deflate.is_some_and(|deflate| match sender {
                Sender::Client => deflate.client_alone,
                Sender::Server => deflate.server_alone,
            }),
            inflater: None,
            forgot: false,
            search: Search::default(),
            replay: Default::default(),
            unframed: 0,
            stamp: 0,
        }
    }

    /// A parser of what was begun before: nothing is known of what the ends
    /// agreed upon. The first frame is `skip` bytes away; without that, frames
    /// are looked for.
    #[must_use]
    pub fn joined(sender: Sender, skip: Option<u64>, keep: u64) -> Self {
        let deflate = Some(Deflate::default());
        Self {
            state: skip.map_or(State::Searching, State::Skip),
            forgot: true,
            ..Self::new(sender, deflate, keep)
        }
    }

    /// What is noted of the next input's messages: its time.
    pub fn set_stamp(&mut self, stamp: u64) {
        self.stamp = stamp;
    }

    /// Bounds what may be held from here on, whatever is wanted.
    pub fn set_room(&mut self, room: u64) {
        self.room = usize::try_from(room).unwrap_or(usize::MAX);
    }

    /// Takes bytes off `input` up to the end of a message, and gives that.
    /// `None` once `input` is used up. To be called until then, also after
    /// [`Self::lost`] and [`Self::finish`]; `input` should begin where the
    /// program's call did, a packet, a record: there frames are looked for
    /// after a loss.
    pub fn next(&mut self, input: &mut &[u8]) -> Option<Message<'_>> {
        if std::mem::take(&mut self.lent) {
            self.spare = self.done.pop_front().filter(Assembly::is_small);
        }
        while self.done.is_empty() {
            if self.replay.0.bytes.is_empty() {
                if input.is_empty() {
                    return None;
                }
                let taken = self.step(input);
                *input = input.get(taken..).unwrap_or_default();
            } else {
                self.again();
            }
        }
        self.lent = true;
        self.done.front().map(Assembly::message)
    }

    /// Takes some of what is to be parsed once more: not beyond its piece.
    fn again(&mut self) {
        let (found, at) = std::mem::take(&mut self.replay);
        let next = found.starts.partition_point(|(start, _)| *start <= at);
        let end = found.starts.get(next).map_or(found.bytes.len(), |s| s.0);
        let now = self.stamp;
        let this = next.checked_sub(1).and_then(|this| found.starts.get(this));
        self.stamp = this.map_or(now, |(_, stamp)| *stamp);
        let at = at + self.step(found.bytes.get(at..end).unwrap_or_default());
        self.stamp = now;
        if at < found.bytes.len() {
            // Where the frames ended too early, others may have been found.
            if self.replay.0.bytes.is_empty() {
                self.replay = (found, at);
            } else {
                let rest = found.bytes.get(at..).unwrap_or_default();
                let added = self.replay.0.bytes.len();
                self.replay.0.bytes.extend_from_slice(rest);
                let starts = found.starts.iter().filter(|(start, _)| *start >= at);
                let starts = starts.map(|(start, stamp)| (start - at + added, *stamp));
                self.replay.0.starts.extend(starts);
            }
        }
    }

    /// `n` bytes are missing here. If they all are of one frame's payload,
    /// only its message suffers; else messages may be missing, and what comes
    /// is [`Self::unframed`] until frames are found again.
    pub fn lost(&mut self, n: u64) {
        if n == 0 {
            return;
        }
        match &mut self.state {
            State::Skip(left) if *left >= n => *left -= n,
            State::Payload(header, left) if *left >= n && self.replay.0.bytes.is_empty() => {
                *left -= n;
                let (header, left) = (*header, *left);
                let target = if header.is_control() {
                    &mut self.control
                } else {
                    &mut self.data
                };
                if let Some(message) = target {
                    message.lost(n, &mut self.inflater);
                }
                if left == 0 {
                    self.frame_ends(&header);
                }
            }
            _ => self.lose_framing(),
        }
    }

    /// The direction has ended: what is unfinished is to be given out by
    /// [`Self::next`].
    pub fn finish(&mut self) {
        // The beginning of a header is no message.
        self.head_len = 0;
        if !matches!(self.state, State::Header) || self.data.is_some() {
            self.lose_framing();
        }
    }

    /// Bytes in which no frames were found, after a loss or something that is
    /// no frame.
    #[must_use]
    pub fn unframed(&self) -> u64 {
        self.unframed
    }

    /// Bytes that are held.
    #[must_use]
    pub fn memory(&self) -> usize {
        let messages = [&self.data, &self.control, &self.spare];
        messages
            .into_iter()
            .flatten()
            .chain(&self.done)
            .map(Assembly::memory)
            .sum::<usize>()
            + self.replay.0.memory()
            + self.search.memory()
            + self.inflater.as_ref().map_or(0, Inflater::memory)
    }

    /// Takes some of `bytes`, which are not empty, and says how many.
    fn step(&mut self, bytes: &[u8]) -> usize {
        match self.state {
            State::Header => self.header(bytes),
            State::Payload(header, left) => {
                let n = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                let now = bytes.get(..n).unwrap_or(bytes);
                let at = header.length - left;
                let target = if header.is_control() {
                    &mut self.control
                } else {
                    &mut self.data
                };
                if let Some(message) = target {
                    let keep = self.keep.min(message.memory().saturating_add(self.room));
                    message.push(now, header.mask, at, keep, &mut self.inflater);
                }
                let left = left - n as u64;
                self.state = State::Payload(header, left);
                if left == 0 {
                    self.frame_ends(&header);
                }
                n
            }
            State::Skip(left) => {
                let n = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                self.unframed = self.unframed.saturating_add(n as u64);
                self.state = match left - n as u64 {
                    0 => State::Header,
                    left => State::Skip(left),
                };
                n
            }
            State::Searching if bytes.len() > self.room => {
                let passed = self.search.lost() + bytes.len() as u64;
                self.unframed = self.unframed.saturating_add(passed);
                bytes.len()
            }
            State::Searching => {
                let (found, passed) =
                    self.search
                        .push(bytes, self.stamp, self.sender, self.deflate);
                self.unframed = self.unframed.saturating_add(passed);
                if let Some(found) = found {
                    self.state = match found.skip {
                        0 => State::Header,
                        left => State::Skip(left),
                    };
                    self.replay = (found, 0);
                }
                bytes.len()
            }
        }
    }

    fn header(&mut self, bytes: &[u8]) -> usize {
        let parsed = if self.head_len == 0 {
            Header::parse(bytes)
        } else {
            Ok(None)
        };
        match parsed {
            Ok(Some(header)) => {
                self.frame_begins(header);
                return header.size;
            }
            Ok(None) => {}
            Err(_) => return self.no_frame(bytes),
        }
        let before = self.head_len;
        for (i, byte) in bytes.iter().enumerate() {
            let Some(place) = self.head.get_mut(self.head_len) else {
                break;
            };
            *place = *byte;
            self.head_len += 1;
            match Header::parse(self.head.get(..self.head_len).unwrap_or_default()) {
                Ok(None) => {}
                Ok(Some(header)) => {
                    self.head_len = 0;
                    self.frame_begins(header);
                    return i + 1;
                }
                Err(_) => {
                    self.head_len = before;
                    return self.no_frame(bytes);
                }
            }
        }
        bytes.len()
    }

    /// `bytes` are passed over: they are no frame, and no call of the program
    /// begins within them.
    fn no_frame(&mut self, bytes: &[u8]) -> usize {
        self.unframed = self.unframed.saturating_add(bytes.len() as u64);
        self.lose_framing();
        bytes.len()
    }

    fn frame_begins(&mut self, header: Header) {
        if header.is_control() {
            let mut message = self.spare.take().unwrap_or_default();
            message.begin(&header, self.deflate);
            self.control = Some(message);
        } else {
            if header.opcode != CONTINUATION || self.data.is_none() {
                // A message that is not finished before the next one begins
                // breaks the rules; it is shown as far as it came.
                self.give_torn();
                let mut message = self.spare.take().unwrap_or_default();
                message.begin(&header, self.deflate);
                if message.is_deflate() && self.room >= inflate::MEMORY {
                    let inflater = &mut self.inflater;
                    let inflater = inflater.get_or_insert_with(|| Inflater::new(self.alone));
                    if std::mem::take(&mut self.forgot) {
                        inflater.forget();
                    }
                } else if message.is_opaque() {
                    // Whether it is in the sender's window is not known.
                    self.forget();
                }
                self.data = Some(message);
            } else if let Some(message) = &mut self.data {
                message.go_on(&header, &mut self.inflater);
            }
        }
        self.state = State::Payload(header, header.length);
        if header.length == 0 {
            self.frame_ends(&header);
        }
    }

    fn frame_ends(&mut self, header: &Header) {
        self.state = State::Header;
        if header.is_control() {
            self.done.extend(self.control.take());
            self.stamped();
        } else if header.fin
            && let Some(mut message) = self.data.take()
        {
            message.end(self.keep, &mut self.inflater);
            self.done.push_back(message);
            self.stamped();
        }
    }

    /// The last message that is done is so by now.
    fn stamped(&mut self) {
        if let Some(message) = self.done.back_mut() {
            message.stamp = self.stamp;
        }
    }

    /// Gives out a message whose end will not be known.
    fn give_torn(&mut self) {
        if let Some(mut message) = self.data.take() {
            message.tear();
            self.done.push_back(message);
            self.stamped();
            self.forget();
        }
    }

    fn lose_framing(&mut self) {
        if let Some(mut message) = self.control.take() {
            message.tear();
            self.done.push_back(message);
            self.stamped();
        }
        self.give_torn();
        self.forget();
        let (replay, at) = std::mem::take(&mut self.replay);
        let held = self.head_len + replay.bytes.len().saturating_sub(at);
        self.head_len = 0;
        self.unframed = self
            .unframed
            .saturating_add(held as u64)
            .saturating_add(self.search.lost());
        self.state = State::Searching;
    }

    /// What was compressed before is not known any more.
    fn forget(&mut self) {
        match &mut self.inflater {
            Some(inflater) => inflater.forget(),
            None => self.forgot = true,
        }
    }
}

#[cfg(test)]
mod tests;
