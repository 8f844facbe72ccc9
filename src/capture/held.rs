//! Records of TLS objects whose socket is not known yet.
//!
//! A server that writes into memory hands over its answer before anybody sends
//! it. On a connection that httpsniff has joined late, that is also the moment
//! from which its socket can be known: so what such objects carry waits a
//! little, and then goes on with the addresses, as if they had been known.

use std::time::{Duration, Instant};

use rustc_hash::{FxHashMap, FxHashSet};

use super::bpf::types;
use super::connections::key_of;
use super::record::{Kind, Record};
use crate::event::{ConnectionKey, Direction};

/// How long a record waits for a socket at most.
const WAIT: Duration = Duration::from_millis(200);
/// Bytes that wait at most, in all.
const MAX_BYTES: usize = 4 << 20;
/// Objects that are remembered as having waited in vain.
const MAX_GIVEN_UP: usize = 1 << 16;

/// All records that wait.
#[derive(Default)]
pub(super) struct Held {
    objects: FxHashMap<ConnectionKey, Object>,
    bytes: usize,
    /// What was written by these has not been sent in time: their records
    /// wait no more.
    given_up: FxHashSet<ConnectionKey>,
    /// Their processes, since last asked.
    pids: Vec<u32>,
}

struct Object {
    until: Instant,
    records: Vec<Kept>,
}

/// A record, owned.
pub(super) struct Kept {
    kind: Kind,
    head: types::record,
    payload: Vec<u8>,
}

impl Kept {
    pub(super) fn record(&self) -> Record<'_> {
        Record {
            kind: self.kind,
            head: self.head,
            payload: &self.payload,
        }
    }

    /// Puts it on the socket of a later record of its object.
    pub(super) const fn put_on(&mut self, later: &types::record) {
        if later.socket == 0 {
            return;
        }
        self.head.socket = later.socket;
        self.head.socket_born = later.socket_born;
        self.head.netns = later.netns;
        self.head.family = later.family;
        self.head.local = later.local;
        self.head.peer = later.peer;
        self.head.local_port = later.local_port;
        self.head.peer_port = later.peer_port;
    }
}

impl Held {
    /// Keeps a data record that is to wait; `false` if it is not.
    pub(super) fn keep(&mut self, record: &Record<'_>) -> bool {
        let key = key_of(record);
        if record.head.socket != 0
            || !key.source.is_tls()
            || self.given_up.contains(&key)
            || self.bytes + record.payload.len() > MAX_BYTES
        {
            return false;
        }
        self.bytes += record.payload.len();
        let object = self.objects.entry(key).or_insert_with(|| Object {
            until: Instant::now() + WAIT,
            records: Vec::new(),
        });
        object.records.push(Kept {
            kind: record.kind,
            head: record.head,
            payload: record.payload.to_vec(),
        });
        true
    }

    /// What waits of an object, in its order.
    pub(super) fn take(&mut self, key: &ConnectionKey) -> Vec<Kept> {
        if self.objects.is_empty() {
            return Vec::new();
        }
        let records = self
            .objects
            .remove(key)
            .map_or_else(Vec::new, |object| object.records);
        self.bytes -= records.iter().map(|kept| kept.payload.len()).sum::<usize>();
        records
    }

    /// What has waited long enough, or everything.
    pub(super) fn take_due(&mut self, all: bool) -> Vec<Kept> {
        if self.objects.is_empty() {
            return Vec::new();
        }
        let now = Instant::now();
        let due: Vec<_> = self
            .objects
            .iter()
            .filter(|(_, object)| all || object.until <= now)
            .map(|(key, _)| *key)
            .collect();
        let mut records = Vec::new();
        for key in due {
            let of_object = self.take(&key);
            // One that has only read may yet write.
            let written = of_object
                .iter()
                .find(|kept| kept.record().direction() == Direction::Send);
            if let Some(written) = written {
                if !self.pids.contains(&written.head.pid) {
                    self.pids.push(written.head.pid);
                }
                if self.given_up.len() >= MAX_GIVEN_UP {
                    self.given_up.clear();
                }
                self.given_up.insert(key);
            }
            records.extend(of_object);
        }
        records
    }

    /// Processes that have waited in vain since the last call.
    pub(super) fn take_pids(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.pids)
    }

    /// What waits of a process, which has ended.
    pub(super) fn take_of_process(&mut self, pid: u32) -> Vec<Kept> {
        let of_process: Vec<_> = self
            .objects
            .iter()
            .filter(|(_, object)| object.records.iter().any(|kept| kept.head.pid == pid))
            .map(|(key, _)| *key)
            .collect();
        of_process.iter().flat_map(|key| self.take(key)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(object: u64, socket: u64, direction: types::record_direction) -> types::record {
        types::record {
            kind: 1,
            source: 2,
            object,
            socket,
            direction: u8::try_from(direction.0).unwrap(),
            pid: u32::try_from(object).unwrap(),
            ..types::record::default()
        }
    }

    fn keep(held: &mut Held, head: types::record, payload: &[u8]) -> bool {
        held.keep(&Record {
            kind: Kind::Data,
            head,
            payload,
        })
    }

    const SEND: types::record_direction = types::record_direction::DIRECTION_SEND;
    const RECEIVE: types::record_direction = types::record_direction::DIRECTION_RECEIVE;

    #[test]
    fn what_waits_goes_on_in_order_and_on_the_socket() {
        let mut held = Held::default();
        assert!(keep(&mut held, record(1, 0, RECEIVE), b"request"));
        assert!(keep(&mut held, record(2, 0, RECEIVE), b"other"));
        assert!(keep(&mut held, record(1, 0, SEND), b"response"));
        assert!(!keep(&mut held, record(1, 7, SEND), b"more"));
        let later = types::record {
            peer_port: 443,
            ..record(1, 7, SEND)
        };
        let mut kept = held.take(&key_of(&Record {
            kind: Kind::Data,
            head: later,
            payload: b"",
        }));
        for one in &mut kept {
            one.put_on(&later);
        }
        let seen: Vec<_> = kept
            .iter()
            .map(|one| (&one.payload[..], one.head.socket, one.head.peer_port))
            .collect();
        assert_eq!(seen, [(&b"request"[..], 7, 443), (b"response", 7, 443)]);
        assert_eq!(held.bytes, 5);
        assert_eq!(held.take_of_process(2).len(), 1);
        assert_eq!(held.bytes, 0);
    }

    #[test]
    fn only_what_has_written_in_vain_waits_no_more() {
        let mut held = Held::default();
        assert!(keep(&mut held, record(1, 0, RECEIVE), b"a"));
        assert!(keep(&mut held, record(2, 0, SEND), b"b"));
        assert!(held.take_due(false).is_empty(), "not yet");
        assert_eq!(held.take_due(true).len(), 2);
        assert!(keep(&mut held, record(1, 0, SEND), b"a"));
        assert!(!keep(&mut held, record(2, 0, SEND), b"b"));
    }

    #[test]
    fn no_more_waits_than_there_is_room_for() {
        let mut held = Held::default();
        assert!(keep(&mut held, record(1, 0, SEND), &vec![0; MAX_BYTES]));
        assert!(!keep(&mut held, record(2, 0, SEND), b"b"));
        assert_eq!(held.take_due(true).len(), 1);
        assert!(keep(&mut held, record(2, 0, SEND), b"b"));
    }
}
