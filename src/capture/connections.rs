//! Records to events: connections by key, sequence numbers to offsets, and
//! which TLS object stands on which socket.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::bpf::types;
use super::record::{Kind, Record};
use crate::event::{Action, ConnectionInfo, ConnectionKey, Data, Direction, Source};

/// Where the 32-bit sequence numbers of a connection begin in 64 bits: bytes
/// before the first that was seen still have a place.
const BASE: u64 = 1 << 32;

/// A connection as user space knows it.
pub(super) struct Connection {
    pub(super) info: ConnectionInfo,
    /// For TLS objects, which end with their process.
    pid: u32,
    /// The last offset seen in each direction, to unwrap the next.
    last: [Option<u64>; 2],
    /// For TLS objects: the socket below, as in the table of sockets.
    socket: Option<(u64, u64)>,
    /// For sockets: they began with a TLS record.
    tls: bool,
    /// That socket was reset.
    reset: bool,
}

impl Connection {
    /// Takes the addresses and the socket from a record, if they are news.
    fn learn(&mut self, record: &Record<'_>, tls_of: &mut FxHashMap<(u64, u64), ConnectionKey>) {
        if self.info.local.is_none()
            && let Some((local, peer)) = record.addresses()
        {
            self.info.local = Some(local);
            self.info.peer = Some(peer);
            self.info.namespace = u64::from(record.head.netns);
            self.info.from_start |= record.has(types::record_flag::FLAG_FROM_START);
        }
        if record.head.socket != 0 && self.socket.is_none() {
            let socket = (record.head.socket, record.head.socket_born);
            self.socket = Some(socket);
            tls_of.insert(socket, self.info.key);
        }
    }

    /// The 64-bit offset next to the last one whose low half is `seq`.
    fn unwrap(&mut self, direction: Direction, seq: u64) -> u64 {
        if self.info.key.source != Source::Tcp {
            return seq;
        }
        let Some(slot) = self.last.get_mut(direction.index()) else {
            return seq;
        };
        let last = slot.unwrap_or(BASE | (seq & 0xffff_ffff));
        // The signed distance of the low halves, at most 2 GiB either way.
        let low = |n: u64| u32::try_from(n & 0xffff_ffff).unwrap_or(0);
        let distance = low(seq).wrapping_sub(low(last)).cast_signed();
        let offset = last.wrapping_add_signed(i64::from(distance));
        *slot = Some(offset);
        offset
    }
}

/// All connections of which a record has come and no end.
#[derive(Default)]
pub(super) struct Connections {
    by_key: FxHashMap<ConnectionKey, Connection>,
    /// Which TLS object uses a socket.
    tls_of: FxHashMap<(u64, u64), ConnectionKey>,
    /// Sockets on which a TLS object was read, until they close: also when the
    /// object is gone before.
    read: FxHashSet<(u64, u64)>,
}

/// More than these at once are not kept; the engine has its own bound.
const MAX: usize = 1 << 17;

/// The key, direction and library of a record's connection.
pub(super) fn key_of(record: &Record<'_>) -> ConnectionKey {
    ConnectionKey {
        source: record.source(),
        object: record.head.object,
        born: record.head.born,
    }
}

/// Whether bytes begin with a TLS record (RFC 8446 5.1).
pub(super) fn begins_with_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [0x14..=0x17, 3, 0..=4, ..])
}

impl Connections {
    /// The connection of a data record, made or brought up to date, and its
    /// action. `library` is asked once for each TLS object.
    pub(super) fn data<'a>(
        &mut self,
        record: &Record<'a>,
        library: impl FnOnce() -> Option<Arc<str>>,
    ) -> (&ConnectionInfo, Action<'a>) {
        let key = key_of(record);
        if self.by_key.len() >= MAX && !self.by_key.contains_key(&key) {
            // Ends were missed: begin anew rather than grow.
            self.by_key.clear();
            self.tls_of.clear();
            self.read.clear();
        }
        let connection = self.by_key.entry(key).or_insert_with(|| Connection {
            info: ConnectionInfo {
                namespace: u64::from(record.head.netns),
                from_start: record.has(types::record_flag::FLAG_FROM_START),
                tls_library: if key.source.is_tls() { library() } else { None },
                ..ConnectionInfo::new(key)
            },
            pid: record.head.pid,
            last: [None; 2],
            socket: None,
            tls: begins_with_tls(record.payload),
            reset: false,
        });
        connection.learn(record, &mut self.tls_of);
        let direction = record.direction();
        let offset = connection.unwrap(direction, record.head.offset);
        let action = Action::Data(Data {
            direction,
            offset,
            bytes: record.payload,
            missing: u64::from(record.head.missing),
            reason: record.reason(),
        });
        (&connection.info, action)
    }

    /// The socket of a TLS object has become known.
    pub(super) fn bound(&mut self, record: &Record<'_>) {
        if let Some(connection) = self.by_key.get_mut(&key_of(record)) {
            connection.learn(record, &mut self.tls_of);
        }
    }

    /// Whether a record is of a socket whose TLS is read elsewhere: some of its
    /// ciphertext may still come (`--tls-flows`).
    pub(super) fn is_read(&self, record: &Record<'_>) -> bool {
        let socket = (record.head.object, record.head.born);
        record.source() == Source::Tcp && self.read.contains(&socket)
    }

    /// The socket below a TLS object, when this is the first record of the
    /// object that names it: what was seen of it was the object's ciphertext.
    pub(super) fn newly_read(&mut self, record: &Record<'_>) -> Option<ConnectionInfo> {
        let socket = (record.head.socket, record.head.socket_born);
        if socket.0 == 0 || !record.source().is_tls() {
            return None;
        }
        if self.read.len() >= MAX {
            // Ends were missed.
            self.read.clear();
        }
        if !self.read.insert(socket) {
            return None;
        }
        let (object, born) = socket;
        let key = ConnectionKey {
            source: Source::Tcp,
            object,
            born,
        };
        match self.by_key.get(&key) {
            // One that began otherwise (CONNECT) goes on.
            Some(connection) if !connection.tls => None,
            Some(_) => self.remove(&key).map(|connection| connection.info),
            // It may have been closed a moment ago.
            None => Some(ConnectionInfo::new(key)),
        }
    }

    /// The connection of a record that counts its bytes.
    pub(super) fn counted(&self, record: &Record<'_>) -> Option<(ConnectionInfo, Action<'static>)> {
        let (sent, received) = record.counts()?;
        let connection = self.by_key.get(&key_of(record))?;
        let action = Action::Counted { sent, received };
        Some((connection.info.clone(), action))
    }

    /// What the end of a direction or of a connection means: for the
    /// connection itself, or for the TLS object that stands on the socket.
    /// `None` when nothing of it was ever reported.
    pub(super) fn end(&mut self, record: &Record<'_>) -> Option<(ConnectionInfo, Action<'static>)> {
        let mut key = key_of(record);
        let mut of_socket = false;
        if record.kind == Kind::Close && key.source == Source::Tcp {
            self.read.remove(&(key.object, key.born));
        }
        if key.source == Source::Tcp
            && let Some(tls) = self.tls_of.get(&(key.object, key.born))
        {
            key = *tls;
            of_socket = true;
        }
        let reset = record.has(types::record_flag::FLAG_RESET);
        if of_socket && key.source == Source::Go {
            // What a goroutine reads, and what it writes before its socket is
            // known, is reported when its call returns. By then another may
            // have closed the socket; the object's own end comes when all
            // have returned.
            let connection = self.by_key.get_mut(&key)?;
            connection.reset |= reset && record.kind == Kind::Close;
            return None;
        }
        let direction = record.direction();
        if record.kind == Kind::End {
            let connection = self.by_key.get_mut(&key)?;
            // The socket counts ciphertext.
            let ciphertext = of_socket || record.has(types::record_flag::FLAG_BOUND);
            let offset = (!ciphertext).then(|| connection.unwrap(direction, record.head.offset));
            return Some((connection.info.clone(), Action::End { direction, offset }));
        }
        let connection = self.remove(&key)?;
        let reset = reset || connection.reset;
        Some((connection.info, Action::Close { reset }))
    }

    fn remove(&mut self, key: &ConnectionKey) -> Option<Connection> {
        let connection = self.by_key.remove(key)?;
        if let Some(socket) = connection.socket {
            self.tls_of.remove(&socket);
        }
        Some(connection)
    }

    /// Takes out the TLS objects of a process that has ended.
    pub(super) fn process_ended(&mut self, pid: u32) -> Vec<ConnectionInfo> {
        let keys: Vec<_> = self
            .by_key
            .iter()
            .filter(|(key, c)| key.source.is_tls() && c.pid == pid)
            .map(|(key, _)| *key)
            .collect();
        keys.iter()
            .filter_map(|key| self.remove(key))
            .map(|c| c.info)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> Connection {
        Connection {
            info: ConnectionInfo {
                from_start: true,
                ..ConnectionInfo::new(ConnectionKey {
                    source: Source::Tcp,
                    object: 1,
                    born: 1,
                })
            },
            pid: 1,
            last: [None; 2],
            socket: None,
            tls: false,
            reset: false,
        }
    }

    #[test]
    fn sequence_numbers_unwrap_over_their_end() {
        let mut c = connection();
        let a = c.unwrap(Direction::Send, 0xffff_fff0);
        let b = c.unwrap(Direction::Send, 0x10);
        assert_eq!(b - a, 0x20);
        // A late one goes back.
        assert_eq!(c.unwrap(Direction::Send, 0xffff_fff8), a + 8);
        // The other direction has its own.
        assert_eq!(c.unwrap(Direction::Receive, 7), BASE + 7);
    }
}
