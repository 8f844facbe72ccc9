//! Capture files in place of the kernel: pcapng and classic pcap, from
//! httpsniff or from any other program.
//!
//! `blocks` gives packets, `link` and `segment` take
//! them apart, `ours` rebuilds the events of a live run from the notes
//! in a file of our own, `foreign` makes events of other programs' TCP
//! connections.

use std::io::Read;

use rustc_hash::FxHashMap;

use crate::event::{Event, Timestamp};

mod blocks;
mod error;
mod facts;
mod foreign;
mod link;
mod ours;
mod segment;
mod tail;

pub use error::ReadError;

use blocks::{End, Packet, Skipped};
use facts::{Note, Processes};
use foreign::{Foreign, Seen};
use link::Other;
use ours::Ours;

type Result<T> = std::result::Result<T, ReadError>;
/// Hands an event on; `false` means stop.
type Emit<'a> = dyn FnMut(&Event<'_>) -> Result<bool> + 'a;

/// Nanoseconds of packet time between two [`Item::Tick`]s.
const TICK: u64 = 100_000_000;

/// Something for the run loop.
#[derive(Debug)]
pub enum Item<'a> {
    /// For [`crate::engine::Engine::event`].
    Event(&'a Event<'a>),
    /// The packets' time has gone on by 100 ms or more: for
    /// [`crate::engine::Engine::tick`].
    Tick(Timestamp),
}

/// What a file held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Packets.
    pub packets: u64,
    /// Of them: TCP segments that were read.
    pub segments: u64,
    /// Of them: other protocols.
    pub other: u64,
    /// Pieces of fragmented IP packets, which are not put together.
    pub fragments: u64,
    /// Packets whose headers could not be read.
    pub malformed: u64,
    /// Packets by link types that are not read (LINKTYPE_ number, count).
    pub unread_links: Vec<(u32, u64)>,
    /// The file ends within a block, as that of a killed run may.
    pub truncated: bool,
    /// The time of the last packet: that of
    /// [`crate::engine::Engine::finish`].
    pub last: Timestamp,
}

impl Summary {
    /// Lines for the user about what was not read, and why.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.truncated {
            notes.push("the capture ends in the middle of a packet; all before it was read".into());
        }
        for (link, count) in &self.unread_links {
            notes.push(format!(
                "{count} packets have link type {link}, which is not read \
                 (Ethernet, Linux cooked, raw IP and loopback are)"
            ));
        }
        if self.fragments > 0 {
            notes.push(format!(
                "{} fragments of IP packets were left out; their bytes are missing",
                self.fragments
            ));
        }
        if self.malformed > 0 {
            notes.push(format!("{} packets could not be read", self.malformed));
        }
        notes
    }
}

/// Reads a capture and hands what it holds to `handle`, in the order of the
/// file, until that answers `false`.
///
/// Needs no seeking: `input` may be a pipe, and packets are handed over as
/// they come. Memory stays below 150 MiB whatever the file claims.
///
/// # Errors
/// [`ReadError`], whose text is for the user. What comes before the damage has
/// been handed over by then.
pub fn read(
    input: impl Read,
    handle: &mut dyn FnMut(Item<'_>) -> anyhow::Result<bool>,
) -> Result<Summary> {
    let mut reader = Reader::default();
    let mut skipped = Skipped::default();
    let mut stopped = false;
    let end = blocks::packets(input, &mut skipped, &mut |packet| {
        let go_on = reader.packet(&packet, handle)?;
        stopped = !go_on;
        Ok(go_on)
    });
    let mut emit = |event: &Event<'_>| handle(Item::Event(event)).map_err(ReadError::Handler);
    if !stopped && !matches!(end, Err(ReadError::Handler(_))) {
        let _ = reader.ours.finish(reader.summary.last, &mut emit)?
            && reader.foreign.finish(&mut emit)?;
    }
    let mut summary = reader.summary;
    summary.truncated = end? == End::Truncated;
    summary.malformed += skipped.malformed;
    summary.unread_links = reader.unread.into_iter().collect();
    summary.unread_links.sort_unstable();
    Ok(summary)
}

/// The state between two packets.
#[derive(Default)]
struct Reader {
    ours: Ours,
    foreign: Foreign,
    processes: Processes,
    summary: Summary,
    unread: FxHashMap<u32, u64>,
    ticked: Option<Timestamp>,
}

impl Reader {
    fn packet(
        &mut self,
        packet: &Packet<'_>,
        handle: &mut dyn FnMut(Item<'_>) -> anyhow::Result<bool>,
    ) -> Result<bool> {
        self.summary.packets += 1;
        let time = packet.time.max(Timestamp::default());
        self.summary.last = self.summary.last.max(time);
        let ticked = *self.ticked.get_or_insert(time);
        if time.nanos_since(ticked) >= TICK {
            self.ticked = Some(time);
            if !handle(Item::Tick(time)).map_err(ReadError::Handler)? {
                return Ok(false);
            }
        }
        let segment = link::ip_packet(packet.link, &packet.data).and_then(|ip| {
            let before = packet.data.len() - ip.len();
            segment::parse(ip, packet.original.saturating_sub(before))
        });
        let segment = match segment {
            Ok(segment) => segment,
            Err(other) => {
                match other {
                    Other::Protocol => self.summary.other += 1,
                    Other::Fragment => self.summary.fragments += 1,
                    Other::Malformed => self.summary.malformed += 1,
                    Other::LinkType => {
                        if self.unread.len() < 1000 {
                            *self.unread.entry(packet.link).or_default() += 1;
                        }
                    }
                }
                return Ok(true);
            }
        };
        self.summary.segments += 1;
        let notes: Vec<Note> = packet
            .comments
            .iter()
            .filter_map(|c| Note::parse(c))
            .collect();
        let mut emit = |event: &Event<'_>| handle(Item::Event(event)).map_err(ReadError::Handler);
        if self.ours.knows(&segment, &notes) {
            let outbound = packet.direction == 2;
            return self.ours.segment(
                time,
                &segment,
                outbound,
                &notes,
                &mut self.processes,
                &mut emit,
            );
        }
        let process = foreign::process_of(&packet.comments, &mut self.processes);
        let seen = Seen {
            time,
            direction: packet.direction,
            segment,
            process,
        };
        self.foreign.segment(&seen, &mut emit)
    }
}
