//! The search for the next message where the way was lost, or never known.

use std::io;

use super::conversation::{Conversation, Cursor, Protocol};
use super::core::Core;
use super::h2::Begin;
use super::messages::STRIDE;
use super::side::{State, Waiting};
use crate::event::Direction;
use crate::flow::Piece;
use crate::http::h2;
use crate::http::head::{self, HEAD_LIMIT};
use crate::http::start::{self, Kind, Start};

/// Bytes searched before a connection that was joined in the middle is taken
/// for something else than HTTP, when both directions were seen ...
const LOOK_BOTH: u64 = 32 << 10;

/// Events that look like frames of HTTP/2 after which it is looked at longer:
/// long bodies with nothing but flow control in the other direction ...
const FRAMED: u32 = 4;

/// ... up to so many bytes.
const LOOK_FRAMED: u64 = 1 << 30;

/// ... and when only one was: a long body may be under way.
const LOOK_ONE: u64 = 16 << 20;

/// Bytes at the end of what was searched that may be the beginning of what is
/// looked for: the preface of HTTP/2 is the longest.
const UNDECIDED: usize = h2::PREFACE.len();

impl Conversation {
    /// What comes is no message. Before recognition that settles it; after
    /// it, the next message is looked for.
    pub(super) fn bad_start(
        &mut self,
        core: &mut Core,
        direction: Direction,
        cur: &mut Cursor<'_>,
        protocol: Protocol,
    ) -> io::Result<()> {
        if self.protocol == Protocol::Unknown {
            if protocol == Protocol::Http2 {
                // A client's preface, or a server's SETTINGS.
                let side = self.side(direction);
                let first = side.store.bytes.first().or(cur.rest().first());
                let requests = match first {
                    Some(b'P') => direction,
                    _ => direction.other(),
                };
                return self.begin_h2(core, requests, Begin::Start);
            }
            let protocol = match protocol {
                Protocol::Tls if !self.is_socket() => Protocol::Other,
                p => p,
            };
            self.mute(core, protocol);
            return Ok(());
        }
        core.stats.malformed += 1;
        let side = self.side(direction);
        side.state = State::Search;
        side.search_reason = None;
        side.lossy = true;
        side.scanned = 0;
        // The first byte is no start: look behind it.
        if side.store.is_empty() {
            cur.pass(1);
        } else {
            side.store.drop_front(1);
        }
        self.pass_over(core, direction, 1);
        self.search(core, direction)
    }

    /// Bytes in which a message start is looked for.
    pub(super) fn search_bytes(
        &mut self,
        core: &mut Core,
        direction: Direction,
        cur: &mut Cursor<'_>,
    ) -> io::Result<()> {
        let unknown = self.protocol == Protocol::Unknown;
        if unknown && self.is_socket() && start::tls_record(cur.rest()) == Start::Tls {
            self.mute(core, Protocol::Tls);
            return Ok(());
        }
        if unknown && h2::looks_framed(cur.rest()) {
            self.framed += 1;
        }
        let whole = cur.item(usize::MAX);
        while !cur.rest().is_empty() {
            let item = cur.item(STRIDE);
            let n = match item.piece {
                Piece::Bytes(bytes) => bytes.len(),
                _ => 0,
            };
            let side = self.side(direction);
            side.store.push(&item);
            side.looked = side.looked.saturating_add(n as u64);
            cur.pass(n);
            self.search(core, direction)?;
            self.charge(core, direction)?;
            let waits = self.side(direction).waiting.is_some();
            if waits || self.protocol.is_muted() || self.h2.is_some() {
                return Ok(());
            }
        }
        if self.protocol == Protocol::Unknown {
            if self.join_websocket(core, direction, &whole)? {
                return Ok(());
            }
            let (a, b) = (
                self.side(Direction::Send).looked,
                self.side(Direction::Receive).looked,
            );
            let both = a.min(b) >= 1024 && a + b >= LOOK_BOTH;
            let framed = self.framed >= FRAMED && a + b < LOOK_FRAMED
                || self.late.as_ref().is_some_and(|late| late.is_promising()) && a + b < LOOK_ONE;
            if !framed && (both || a + b >= LOOK_ONE) {
                self.mute(core, Protocol::Other);
            }
        }
        Ok(())
    }

    /// Looks for a whole head in what is stored; when there is one, it is
    /// read from there at once.
    pub(super) fn search(&mut self, core: &mut Core, direction: Direction) -> io::Result<()> {
        let kind = self.kind(direction);
        // Small pieces must not cost a look at all that came before them.
        let mut from = std::mem::take(&mut self.side(direction).store.searched);
        let first = from;
        loop {
            let now = core.now;
            let side = self.side(direction);
            let bytes = &side.store.bytes;
            let Some((start, version)) = start::find(bytes, from, kind) else {
                let mut useless = start::useless(bytes);
                let mut searched = bytes.len().saturating_sub(UNDECIDED);
                if self.protocol == Protocol::Unknown {
                    match self.join_h2(core, direction, first)? {
                        Some(n) => {
                            useless = useless.min(n);
                            searched = searched.min(n);
                        }
                        None => return Ok(()),
                    }
                }
                let side = self.side(direction);
                side.store.searched = searched;
                side.store.drop_front(useless);
                side.scanned = 0;
                self.pass_over(core, direction, useless as u64);
                return Ok(());
            };
            from = version + 1;
            let candidate = bytes.get(start..).unwrap_or_default();
            // Only one that is first can have been looked at before.
            let mut scanned = if start == 0 { side.scanned } else { 0 };
            let good = match head::find_end(candidate, &mut scanned) {
                Some(end) => is_head(candidate.get(..end).unwrap_or_default(), kind),
                None if candidate.len() <= HEAD_LIMIT && head::lines_plausible(candidate) => {
                    side.scanned = scanned;
                    if start > 0 {
                        side.store.drop_front(start);
                        self.pass_over(core, direction, start as u64);
                    }
                    return Ok(());
                }
                None => false,
            };
            if good {
                side.store.drop_front(start);
                side.state = State::Head;
                side.scanned = 0;
                side.waiting = Some((Waiting::Replay, now));
                side.resume = true;
                self.pass_over(core, direction, start as u64);
                return Ok(());
            }
            self.side(direction).scanned = 0;
        }
    }
}

/// Whether `bytes` are a head that can be parsed.
fn is_head(bytes: &[u8], kind: Kind) -> bool {
    match start::classify(bytes, kind) {
        Start::Request => head::request(bytes, "http").is_ok(),
        Start::Response => head::response(bytes).is_ok(),
        _ => false,
    }
}
