//! Bytes that are not there, and the way back to the frames after them.

use std::io;

use super::reader::{Reader, State};
use super::streams::Streams;
use super::turn::Turn;
use crate::engine::open::Part;
use crate::event::MissingReason;
use crate::http::h2::{Found, FrameHeader, Wanted, find};

/// Bytes in which the next frame is looked for at once.
const SEARCH_WINDOW: usize = 64 << 10;

impl Reader {
    /// Bytes that are not there, from `offset` on.
    pub(super) fn gap(
        &mut self,
        streams: &mut Streams,
        turn: &mut Turn<'_>,
        mut offset: u64,
        mut length: u64,
        reason: MissingReason,
    ) -> io::Result<()> {
        while length > 0 {
            let part = match &mut self.state {
                State::Kept(header) => {
                    let header = *header;
                    self.kept_gap(streams, turn, &header, length)?
                }
                State::Skip(left) | State::Lost(left) => {
                    let n = u64::from(*left).min(length);
                    *left -= n as u32;
                    let (done, lost) = (*left == 0, matches!(self.state, State::Lost(_)));
                    if done {
                        self.state = State::Frame;
                    }
                    if lost {
                        streams.between(turn, n);
                    }
                    n
                }
                State::Data(frame) => {
                    let frame = *frame;
                    self.data_gap(streams, turn, frame, length, reason)?
                }
                State::Ended => return Ok(()),
                State::Preface(_) | State::Frame | State::Search => {
                    self.break_section(streams, turn)?;
                    self.lose_way(streams, turn);
                    streams.between(turn, length);
                    return turn.copy_lost(length, reason);
                }
            };
            turn.copy_gap(offset, part, reason, self.at_boundary())?;
            offset = offset.wrapping_add(part);
            length -= part;
        }
        Ok(())
    }

    /// Bytes of a payload that should have been kept are not there. Gives how
    /// many of `length` are of the frame.
    fn kept_gap(
        &mut self,
        streams: &mut Streams,
        turn: &mut Turn<'_>,
        header: &FrameHeader,
        length: u64,
    ) -> io::Result<u64> {
        let left = u64::from(header.length).saturating_sub(self.store.len() as u64);
        let n = left.min(length);
        self.store = Vec::new();
        self.state = match left - n {
            0 => State::Frame,
            left => State::Skip(left as u32),
        };
        turn.out.leave(turn.direction);
        self.frame_lost(streams, turn, header)?;
        Ok(n)
    }

    /// Where the next frame begins is not known.
    pub(super) fn lose_way(&mut self, streams: &mut Streams, turn: &mut Turn<'_>) {
        streams.lossy = true;
        turn.out.leave(turn.direction);
        turn.pass_over(self.store.len());
        self.store.clear();
        self.first = None;
        self.state = State::Search;
        self.hpack.lost();
    }

    /// Stores the next bytes and looks for the next frame in what is stored;
    /// gives those that there is no room for.
    pub(super) fn search<'b>(
        &mut self,
        streams: &Streams,
        turn: &mut Turn<'_>,
        bytes: &'b [u8],
    ) -> &'b [u8] {
        let room = SEARCH_WINDOW.saturating_sub(self.store.len()).max(1);
        let (part, rest) = bytes.split_at(room.min(bytes.len()));
        self.store.extend_from_slice(part);
        let wanted = match turn.part() {
            Part::Request => Wanted::Requests,
            Part::Response => Wanted::Responses,
        };
        let is_open = |id| streams.is_open(id);
        let found = find(&self.store, wanted, &is_open, &mut self.work);
        let (at, good) = match found {
            Found::Frame(at) | Found::Request(at) | Found::Response(at) => (at, true),
            Found::Nothing(useless) if self.store.len() >= SEARCH_WINDOW => (useless.max(1), false),
            Found::Nothing(useless) => (useless, false),
        };
        let at = at.min(self.store.len());
        self.store.drain(..at);
        turn.pass_over(at);
        if good {
            self.state = State::Frame;
            self.again = Some(std::mem::take(&mut self.store));
        }
        rest
    }
}
