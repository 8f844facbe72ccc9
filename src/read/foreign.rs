//! TCP connections of other programs' captures.
//!
//! Segments are not put in order here: each byte is given its offset in the
//! stream, and the engine's reassembly does the rest, as for a live capture.

use std::net::SocketAddr;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::facts::Processes;
use super::segment::{ACK, FIN, RST, SYN, Segment};
use super::{Emit, Result};
use crate::event::{
    Action, ConnectionInfo, ConnectionKey, Data, Direction, Endpoint, Event, MissingReason, Source,
    Timestamp,
};
use crate::process::Process;

/// Where offsets begin: segments from before the first one seen have room.
const ORIGIN: u64 = 1 << 33;
/// Connections kept; beyond it the longest idle ones are forgotten.
const MAX_CONNECTIONS: usize = 1 << 20;

/// One direction of a connection.
#[derive(Default)]
struct Stream {
    /// A sequence number and its offset.
    anchor: Option<(u32, u64)>,
    /// The offset of the FIN.
    end: Option<u64>,
    /// What the other end has acknowledged.
    acknowledged: u64,
}

impl Stream {
    /// The offset of a sequence number, near to those before (RFC 1982).
    fn offset(&mut self, sequence: u32) -> u64 {
        let (known, offset) = *self.anchor.get_or_insert((sequence, ORIGIN));
        let distance = i64::from(sequence.wrapping_sub(known).cast_signed());
        let offset = offset.saturating_add_signed(distance);
        if distance > 0 {
            self.anchor = Some((sequence, offset));
        }
        offset
    }
}

struct Connection {
    info: ConnectionInfo,
    /// The end that is `local`.
    local: SocketAddr,
    /// By [`Direction::index`].
    streams: [Stream; 2],
    process: Option<Arc<Process>>,
    last: Timestamp,
    /// The first sequence number of the end that opened it.
    opening: Option<u32>,
}

/// All connections that are open.
#[derive(Default)]
pub(super) struct Foreign {
    connections: FxHashMap<(SocketAddr, SocketAddr), Connection>,
    count: u64,
}

/// A segment's circumstances.
pub(super) struct Seen<'a> {
    pub(super) time: Timestamp,
    /// epb_flags: 1 inbound, 2 outbound, 0 unknown.
    pub(super) direction: u32,
    pub(super) segment: Segment<'a>,
    pub(super) process: Option<Arc<Process>>,
}

impl Foreign {
    /// Takes a segment.
    pub(super) fn segment(&mut self, seen: &Seen<'_>, emit: &mut Emit<'_>) -> Result<bool> {
        let Seen { time, segment, .. } = seen;
        let (source, destination) = (segment.source, segment.destination);
        let key = if source <= destination {
            (source, destination)
        } else {
            (destination, source)
        };
        let opens = segment.has(SYN) && !segment.has(ACK);
        if opens
            && let Some(old) = self.connections.get(&key)
            && old.opening != Some(segment.sequence)
            && let Some(old) = self.connections.remove(&key)
            && !old.close(*time, false, emit)?
        {
            return Ok(false);
        }
        if !self.connections.contains_key(&key) {
            // The echo of a connection that is closed makes no new one.
            if segment.has(RST) || !segment.has(SYN) && segment.length == 0 {
                return Ok(true);
            }
            self.make_room(*time);
            self.count += 1;
            let connection = Connection::new(self.count, seen);
            let go_on = connection.tell(*time, Action::Open, emit)?;
            self.connections.insert(key, connection);
            if !go_on {
                return Ok(false);
            }
        }
        let Some(connection) = self.connections.get_mut(&key) else {
            return Ok(true);
        };
        connection.last = *time;
        if seen.process.is_some() {
            connection.process.clone_from(&seen.process);
        }
        let direction = if source == connection.local {
            Direction::Send
        } else {
            Direction::Receive
        };
        if !connection.segment(*time, direction, segment, emit)? {
            return Ok(false);
        }
        let reset = segment.has(RST);
        if (reset || connection.is_over())
            && let Some(connection) = self.connections.remove(&key)
        {
            return connection.close(*time, reset, emit);
        }
        Ok(true)
    }

    /// The capture has ended: connections of which both ends were seen to end
    /// are closed, though the last acknowledgement was not seen.
    pub(super) fn finish(&mut self, emit: &mut Emit<'_>) -> Result<bool> {
        let mut ended: Vec<Connection> = self
            .connections
            .drain()
            .map(|(_, connection)| connection)
            .filter(|c| c.streams.iter().all(|s| s.end.is_some()))
            .collect();
        ended.sort_by_key(|c| c.info.key.object);
        for connection in ended {
            if !connection.close(connection.last, false, emit)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn make_room(&mut self, now: Timestamp) {
        if self.connections.len() >= MAX_CONNECTIONS {
            let mut idle = 60_000_000_000;
            while self.connections.len() > MAX_CONNECTIONS / 2 {
                self.connections
                    .retain(|_, c| now.nanos_since(c.last) < idle);
                idle /= 2;
                if idle == 0 {
                    self.connections.clear();
                }
            }
        }
    }
}

impl Connection {
    fn new(number: u64, seen: &Seen<'_>) -> Self {
        let segment = &seen.segment;
        let opens = segment.has(SYN) && !segment.has(ACK);
        let answers = segment.has(SYN) && segment.has(ACK);
        let by_process = seen.process.is_some() && seen.direction != 0;
        // The process's end where it is known, else that of the client.
        let local_is_source = if by_process {
            seen.direction == 2
        } else {
            !answers
        };
        let (local, peer) = if local_is_source {
            (segment.source, segment.destination)
        } else {
            (segment.destination, segment.source)
        };
        Self {
            info: ConnectionInfo {
                key: ConnectionKey {
                    source: Source::Tcp,
                    object: number,
                    born: 0,
                },
                local: Some(Endpoint::from_socket(local)),
                peer: Some(Endpoint::from_socket(peer)),
                namespace: 0,
                from_start: opens || answers,
                tls_library: None,
                perspective_unknown: !by_process,
                number: None,
            },
            local,
            streams: [Stream::default(), Stream::default()],
            process: seen.process.clone(),
            last: seen.time,
            opening: opens.then_some(segment.sequence),
        }
    }

    fn segment(
        &mut self,
        time: Timestamp,
        direction: Direction,
        segment: &Segment<'_>,
        emit: &mut Emit<'_>,
    ) -> Result<bool> {
        let other = &mut self.streams[direction.other().index()];
        if segment.has(ACK) && other.anchor.is_some() {
            // Does not move the anchor: an acknowledgement may be far ahead of
            // what was captured.
            let anchor = other.anchor;
            other.acknowledged = other.acknowledged.max(other.offset(segment.acknowledge));
            other.anchor = anchor;
        }
        let stream = &mut self.streams[direction.index()];
        let syn = u32::from(segment.has(SYN));
        let offset = stream.offset(segment.sequence.wrapping_add(syn));
        let captured = segment.payload.len().min(segment.length);
        if segment.length > 0 && !segment.has(RST) {
            let data = Data {
                direction,
                offset,
                bytes: segment.payload.get(..captured).unwrap_or_default(),
                missing: (segment.length - captured) as u64,
                reason: MissingReason::CaptureFile,
            };
            if !self.tell(time, Action::Data(data), emit)? {
                return Ok(false);
            }
        }
        let stream = &mut self.streams[direction.index()];
        if segment.has(FIN) && stream.end.is_none() {
            let end = offset.saturating_add(segment.length as u64);
            stream.end = Some(end);
            let action = Action::End {
                direction,
                offset: Some(end),
            };
            return self.tell(time, action, emit);
        }
        Ok(true)
    }

    /// Both ends have ended and know it of each other.
    fn is_over(&self) -> bool {
        self.streams
            .iter()
            .all(|stream| stream.end.is_some_and(|end| stream.acknowledged > end))
    }

    fn close(&self, time: Timestamp, reset: bool, emit: &mut Emit<'_>) -> Result<bool> {
        self.tell(time, Action::Close { reset }, emit)
    }

    fn tell(&self, time: Timestamp, action: Action<'_>, emit: &mut Emit<'_>) -> Result<bool> {
        emit(&Event {
            time,
            process: self.process.as_ref(),
            tid: 0,
            thread: b"",
            connection: &self.info,
            action,
        })
    }
}

/// The process that a packet's comments name.
pub(super) fn process_of(
    comments: &[std::borrow::Cow<'_, str>],
    processes: &mut Processes,
) -> Option<Arc<Process>> {
    comments.iter().find_map(|c| processes.named_by(c))
}
