//! One raw record to what the run loop is given.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::Item;
use super::bpf::types;
use super::clock::Clock;
use super::connections::{Connections, begins_with_tls, key_of};
use super::containers::Change;
use super::held::{Held, Kept};
use super::processes::Processes;
use super::record::{Kind, Record};
use crate::event::{Action, ConnectionInfo, Direction, Event, Source, Timestamp};
use crate::process::Process;
use crate::redact::Redact;

/// The state that records are understood with.
pub(super) struct Decoder {
    clock: Clock,
    connections: Connections,
    held: Held,
    processes: Processes,
    /// Names of the attached files by number.
    libraries: Vec<Arc<str>>,
    malformed: u64,
    executed: Vec<u32>,
    seen_tls: Vec<u32>,
    cgroups: Vec<Change>,
    /// Processes on whose sockets TLS was seen, and that no record came from
    /// a TLS library of theirs.
    unhooked: FxHashMap<u32, Arc<Process>>,
    /// Reasons are wanted for all processes whose TLS was seen.
    flows: bool,
    hooked: FxHashSet<u32>,
}

impl Decoder {
    pub(super) fn new(redact: Option<Redact>, flows: bool) -> Self {
        Self {
            clock: Clock::new(),
            connections: Connections::default(),
            held: Held::default(),
            processes: Processes::new(redact),
            libraries: Vec::new(),
            malformed: 0,
            executed: Vec::new(),
            seen_tls: Vec::new(),
            cgroups: Vec::new(),
            unhooked: FxHashMap::default(),
            flows,
            hooked: FxHashSet::default(),
        }
    }

    pub(super) fn set_clock(&mut self) {
        self.clock = Clock::new();
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) const fn malformed(&self) -> u64 {
        self.malformed
    }

    /// A file was attached to; its records have its number, from 1.
    pub(super) fn add_library(&mut self, name: Arc<str>) {
        self.libraries.push(name);
    }

    /// Since the last call: processes with a new program, and processes that
    /// were seen to speak TLS.
    pub(super) fn take_requests(&mut self) -> (Vec<u32>, Vec<u32>) {
        (
            std::mem::take(&mut self.executed),
            std::mem::take(&mut self.seen_tls),
        )
    }

    /// Cgroups that came or went since the last call.
    pub(super) fn take_cgroups(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.cgroups)
    }

    /// The process that was seen to speak TLS, unless what it said has been
    /// read since.
    pub(super) fn unhooked(&self, pid: u32) -> Option<Arc<Process>> {
        self.unhooked.get(&pid).cloned()
    }

    /// Hands what the record means to `handle`; what `handle` says is
    /// returned: whether to go on.
    pub(super) fn decode(&mut self, raw: &[u8], handle: &mut dyn FnMut(Item<'_>) -> bool) -> bool {
        let Some(record) = Record::parse(raw) else {
            self.malformed += 1;
            return true;
        };
        match record.kind {
            Kind::Data => {
                self.held.keep(&record)
                    || self.release_for(&record, handle) & self.data(&record, handle)
            }
            Kind::End | Kind::Close => {
                self.release_for(&record, handle) & self.end(&record, handle)
            }
            Kind::Bound => {
                let go_on = self.release_for(&record, handle);
                self.connections.bound(&record);
                go_on
            }
            Kind::Exe => {
                self.processes.executable(&record);
                true
            }
            Kind::Exec => {
                self.processes.exec(&record);
                self.hooked.remove(&record.head.pid);
                self.unhooked.remove(&record.head.pid);
                self.executed.push(record.head.pid);
                true
            }
            Kind::Fork => {
                self.processes.fork(&record);
                true
            }
            Kind::Exit => self.exit(&record, handle),
            Kind::Counts => match self.connections.counted(&record) {
                Some((info, action)) => self.tell(&record, &info, action, handle),
                None => true,
            },
            Kind::Cgroup | Kind::CgroupGone => {
                self.cgroup(&record);
                true
            }
        }
    }

    /// Hands on what waits of the object that this later record is of.
    fn release_for(
        &mut self,
        later: &Record<'_>,
        handle: &mut dyn FnMut(Item<'_>) -> bool,
    ) -> bool {
        let mut kept = self.held.take(&key_of(later));
        for one in &mut kept {
            one.put_on(&later.head);
        }
        self.hand_on(&kept, handle)
    }

    /// Hands on what has waited long enough for its socket, or all that waits.
    pub(super) fn release(&mut self, all: bool, handle: &mut dyn FnMut(Item<'_>) -> bool) -> bool {
        let kept = self.held.take_due(all);
        self.hand_on(&kept, handle)
    }

    /// Processes with TLS objects whose socket stays unknown, since the last
    /// call.
    pub(super) fn take_unplaced(&mut self) -> Vec<u32> {
        self.held.take_pids()
    }

    fn hand_on(&mut self, kept: &[Kept], handle: &mut dyn FnMut(Item<'_>) -> bool) -> bool {
        kept.iter()
            .fold(true, |go_on, one| self.data(&one.record(), handle) & go_on)
    }

    /// Hands on what concerns a connection and nobody in particular.
    fn tell(
        &self,
        record: &Record<'_>,
        info: &ConnectionInfo,
        action: Action<'_>,
        handle: &mut dyn FnMut(Item<'_>) -> bool,
    ) -> bool {
        handle(Item::Event(Event {
            time: self.clock.wall(record.head.return_ns),
            process: None,
            tid: 0,
            thread: b"",
            connection: info,
            action,
        }))
    }

    fn cgroup(&mut self, record: &Record<'_>) {
        let Ok(hierarchy) = u32::try_from(record.head.born) else {
            self.malformed += 1;
            return;
        };
        self.cgroups.push(Change {
            gone: record.kind == Kind::CgroupGone,
            hierarchy,
            id: record.head.object,
            path: String::from_utf8_lossy(record.payload).into_owned(),
            watched: record.has(types::record_flag::FLAG_WATCHED),
        });
    }

    fn data(&mut self, record: &Record<'_>, handle: &mut dyn FnMut(Item<'_>) -> bool) -> bool {
        if self.connections.is_read(record) {
            return true;
        }
        // Whatever `handle` says: what is in its hands now is not given again.
        let go_on = match self.connections.newly_read(record) {
            Some(info) => self.tell(record, &info, Action::Read, handle),
            None => true,
        };
        let process = self.processes.of(record);
        let libraries = &self.libraries;
        let (info, action) = self.connections.data(record, || {
            let index = usize::from(record.head.library).checked_sub(1)?;
            libraries.get(index).cloned()
        });
        if info.key.source.is_tls() {
            if self.hooked.insert(record.head.pid) && !self.flows {
                self.unhooked.remove(&record.head.pid);
            }
        } else if begins_with_tls(record.payload)
            && (self.flows || !self.hooked.contains(&record.head.pid))
            && let Some(process) = process
            && !self.unhooked.contains_key(&record.head.pid)
        {
            self.unhooked.insert(record.head.pid, Arc::clone(process));
            self.seen_tls.push(record.head.pid);
        }
        let Action::Data(data) = action else {
            return go_on;
        };
        // A send is put where its call began: nobody can have answered before.
        let time = match data.direction {
            Direction::Send => record.head.entry_ns,
            Direction::Receive => record.head.return_ns,
        };
        let (name, length) = record.thread();
        go_on
            & handle(Item::Event(Event {
                time: self.clock.wall(time),
                process,
                tid: record.head.tid,
                thread: name.get(..length).unwrap_or_default(),
                connection: info,
                action,
            }))
    }

    fn end(&mut self, record: &Record<'_>, handle: &mut dyn FnMut(Item<'_>) -> bool) -> bool {
        let Some((info, action)) = self.connections.end(record) else {
            return true;
        };
        // A socket's end runs in whatever context the packet came in.
        let process = match key_of(record).source {
            Source::Tcp => None,
            _ => self.processes.of(record),
        };
        handle(Item::Event(Event {
            time: self.clock.wall(record.head.return_ns),
            process,
            tid: if process.is_some() {
                record.head.tid
            } else {
                0
            },
            thread: b"",
            connection: &info,
            action,
        }))
    }

    fn exit(&mut self, record: &Record<'_>, handle: &mut dyn FnMut(Item<'_>) -> bool) -> bool {
        let pid = record.head.pid;
        let time = self.clock.wall(record.head.return_ns);
        let kept = self.held.take_of_process(pid);
        let mut go_on = self.hand_on(&kept, handle);
        for info in self.connections.process_ended(pid) {
            go_on &= handle(Item::Event(Event {
                time,
                process: None,
                tid: 0,
                thread: b"",
                connection: &info,
                action: Action::Close { reset: false },
            }));
        }
        self.hooked.remove(&pid);
        self.unhooked.remove(&pid);
        self.processes.exit(pid);
        go_on & handle(Item::ProcessEnded { pid, time })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_given_whole_though_the_one_who_takes_it_wants_no_more() {
        let mut decoder = Decoder::new(None, false);
        let record = Record {
            kind: Kind::Data,
            head: types::record {
                kind: 1,
                source: 2,
                object: 1,
                socket: 7,
                len: 1,
                ..types::record::default()
            },
            payload: b"x",
        };
        let mut given = Vec::new();
        let go_on = decoder.data(&record, &mut |item| {
            given.push(match item {
                Item::Event(event) => matches!(event.action, Action::Data(_)),
                Item::ProcessEnded { .. } => false,
            });
            false
        });
        // That the socket is read as TLS, and then the bytes.
        assert_eq!((go_on, given), (false, vec![false, true]));
    }
}
