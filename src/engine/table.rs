//! The connections that are known, by key, and how long each may be idle.

use std::io;

use rustc_hash::{FxHashMap, FxHashSet};

use super::TlsFlows;
use super::conversation::{Conversation, PATIENCE, Protocol};
use super::core::Core;
use super::flows::{Flow, Flows};
use crate::event::{Action, ConnectionInfo, ConnectionKey, Data, Direction, Event, Timestamp};
use crate::exchange::State as Ending;
use crate::flow::{Item, Origin, Stream};

/// Connections known at once; the longest idle ones are forgotten past it.
const CONNECTIONS_LIMIT: usize = 65_536;

/// How often, by the time of events, it is looked at what waits, in
/// nanoseconds.
const CHECK_EVERY: u64 = 20_000_000;

/// A connection whose bytes are read.
struct Connection {
    streams: [Stream; 2],
    conversation: Conversation,
    /// Until it is known not to be TLS that nobody reads.
    flow: Option<Box<Flow>>,
    last: Timestamp,
    pid: u32,
    /// It is in [`Table::waiting`].
    waiting: bool,
}

/// What is kept of a connection.
enum Entry {
    Live(Box<Connection>),
    /// Left alone: only counted.
    Muted {
        tls: bool,
        last: Timestamp,
    },
    /// TLS that is not read: its hellos are known.
    Flow(Box<Flow>),
}

impl Entry {
    fn last(&self) -> Timestamp {
        match self {
            Self::Live(connection) => connection.last,
            Self::Muted { last, .. } => *last,
            Self::Flow(flow) => flow.last,
        }
    }
}

/// All connections.
#[derive(Default)]
pub(super) struct Table {
    entries: FxHashMap<ConnectionKey, Entry>,
    /// Those in which something waits for time to pass.
    waiting: FxHashSet<ConnectionKey>,
    /// Number of live TLS connections of each process.
    tls: FxHashMap<u32, u32>,
    checked: Timestamp,
    pub(super) flows: Flows,
}

impl Connection {
    fn new(core: &Core, info: &ConnectionInfo, first: &Origin<'_>) -> Self {
        let now = core.now;
        Self {
            streams: [Stream::default(), Stream::default()],
            conversation: Conversation::new(info),
            flow: Flow::candidate(&core.config, info, first),
            last: now,
            pid: 0,
            waiting: false,
        }
    }

    /// Runs `act` on a stream and accounts for what it holds.
    fn with_stream<F>(&mut self, core: &mut Core, direction: Direction, act: F) -> io::Result<()>
    where
        F: FnOnce(
            &mut Stream,
            &mut dyn FnMut(Item<'_>, &mut Core) -> io::Result<()>,
            &mut Core,
        ) -> io::Result<()>,
    {
        let stream = &mut self.streams[direction.index()];
        let before = stream.cost();
        let conversation = &mut self.conversation;
        let flow = &mut self.flow;
        let result = act(
            stream,
            &mut |item, core| {
                if let Some(flow) = flow {
                    flow.item(core, direction, &item);
                }
                conversation.item(core, direction, item)
            },
            core,
        );
        let after = stream.cost();
        if after >= before {
            core.budget.charge(after - before);
        } else {
            core.budget.give(before - after);
        }
        result
    }

    fn data(&mut self, core: &mut Core, data: &Data<'_>, origin: &Origin<'_>) -> io::Result<()> {
        let (now, room) = (core.now, core.budget.room());
        self.with_stream(core, data.direction, |stream, out, core| {
            stream.push(data, origin, now, room, &mut |item| out(item, core))
        })
    }

    fn end(
        &mut self,
        core: &mut Core,
        direction: Direction,
        offset: Option<u64>,
        origin: &Origin<'_>,
    ) -> io::Result<()> {
        let now = core.now;
        self.with_stream(core, direction, |stream, out, core| {
            stream.end(offset, origin, now, &mut |item| out(item, core))
        })
    }

    fn expire(&mut self, core: &mut Core) -> io::Result<()> {
        let since = Timestamp(core.now.0.saturating_sub(PATIENCE));
        let reason = core.config.gap_reason;
        for direction in [Direction::Send, Direction::Receive] {
            self.with_stream(core, direction, |stream, out, core| {
                stream.expire(since, reason, &mut |item| out(item, core))
            })?;
        }
        let now = core.now;
        self.conversation.expire(core, now)
    }

    fn close(&mut self, core: &mut Core, ending: Ending, origin: &Origin<'_>) -> io::Result<()> {
        let reason = core.config.gap_reason;
        for direction in [Direction::Send, Direction::Receive] {
            self.with_stream(core, direction, |stream, out, core| {
                stream.give_up(reason, &mut |item| out(item, core))
            })?;
        }
        let offsets = [self.streams[0].position(), self.streams[1].position()];
        if self.conversation.protocol.is_muted() {
            return Ok(());
        }
        self.conversation.close(core, ending, offsets, origin)
    }

    /// Settles what the connection is once that is known; `true` if it stays
    /// as it is.
    fn settle(&mut self, core: &mut Core) -> bool {
        let protocol = self.conversation.protocol;
        let Some(flow) = &mut self.flow else {
            return !protocol.is_muted();
        };
        match protocol {
            Protocol::Unknown => true,
            Protocol::Tls => {
                flow.settle(&self.conversation.info);
                let reading = flow.is_reading();
                if !reading {
                    flow.stop(core);
                    self.conversation.mute_capture(core);
                }
                reading
            }
            _ => {
                flow.stop(core);
                self.flow = None;
                !protocol.is_muted()
            }
        }
    }

    fn is_waiting(&self) -> bool {
        self.streams.iter().any(Stream::is_waiting) || self.conversation.is_waiting()
    }
}

impl Table {
    /// Takes one event.
    pub(super) fn event(&mut self, core: &mut Core, event: &Event<'_>) -> io::Result<()> {
        let key = event.connection.key;
        if let Action::Close { reset } = event.action {
            let ending = if reset { Ending::Reset } else { Ending::Closed };
            return self.close(core, key, ending, &Origin::of(event));
        }
        if let Action::Read = event.action {
            return self.give_way(core, key);
        }
        let now = core.now;
        let origin = Origin::of(event);
        if !self.entries.contains_key(&key) && self.entries.len() >= CONNECTIONS_LIMIT {
            self.evict(core)?;
        }
        let entry = self.entries.entry(key).or_insert_with(|| {
            Entry::Live(Box::new(Connection::new(core, event.connection, &origin)))
        });
        let connection = match entry {
            Entry::Live(connection) => connection,
            Entry::Muted { tls, last } => {
                *last = now;
                if let Action::Data(data) = &event.action {
                    count_muted(core, *tls, data);
                }
                return Ok(());
            }
            Entry::Flow(flow) => {
                flow.last = now;
                match &event.action {
                    Action::Data(data) => {
                        flow.see(data);
                        count_muted(core, true, data);
                    }
                    Action::End { direction, .. } => flow.end(*direction),
                    Action::Counted { sent, received } => flow.count(*sent, *received),
                    Action::Open | Action::Read | Action::Close { .. } => {}
                }
                return Ok(());
            }
        };
        connection.last = now;
        connection.conversation.learn(event.connection);
        if key.source.is_tls()
            && let Some(process) = event.process
            && process.pid != connection.pid
        {
            forget(&mut self.tls, connection.pid);
            connection.pid = process.pid;
            *self.tls.entry(process.pid).or_default() += 1;
        }
        if key.source.is_tls() && core.config.tls_flows == TlsFlows::Live {
            self.flows.see_read(event.connection, connection.pid);
        }
        match &event.action {
            Action::Data(data) => {
                if let Some(flow) = &mut connection.flow {
                    flow.see(data);
                }
                connection.data(core, data, &origin)?;
            }
            Action::End { direction, offset } => {
                if let Some(flow) = &mut connection.flow {
                    flow.end(*direction);
                }
                connection.end(core, *direction, *offset, &origin)?;
            }
            Action::Counted { sent, received } => {
                if let Some(flow) = &mut connection.flow {
                    flow.count(*sent, *received);
                }
            }
            Action::Open | Action::Read | Action::Close { .. } => {}
        }
        if !connection.settle(core) {
            self.mute(core, key);
        } else if connection.is_waiting() != connection.waiting {
            connection.waiting = !connection.waiting;
            if connection.waiting {
                self.waiting.insert(key);
            } else {
                self.waiting.remove(&key);
            }
        }
        Ok(())
    }

    /// As [`Self::expire`], if it was not done a moment ago.
    pub(super) fn expire_often(&mut self, core: &mut Core) -> io::Result<()> {
        if self.waiting.is_empty() || core.now.nanos_since(self.checked) < CHECK_EVERY {
            return Ok(());
        }
        self.expire(core)
    }

    /// Gives out requests that have gone unanswered for a second.
    pub(super) fn pending(&mut self, core: &mut Core) -> io::Result<()> {
        while let Some((key, ordinal)) = core.overdue() {
            if let Some(Entry::Live(connection)) = self.entries.get_mut(&key) {
                connection.conversation.pending(core, ordinal)?;
            }
        }
        Ok(())
    }

    /// Gives up on what has been waited for long enough.
    pub(super) fn expire(&mut self, core: &mut Core) -> io::Result<()> {
        self.checked = core.now;
        self.flows.give(core, false)?;
        let keys: Vec<_> = self.waiting.iter().copied().collect();
        for key in keys {
            let Some(Entry::Live(connection)) = self.entries.get_mut(&key) else {
                self.waiting.remove(&key);
                continue;
            };
            connection.expire(core)?;
            if !connection.settle(core) {
                self.mute(core, key);
            } else if !connection.is_waiting() {
                connection.waiting = false;
                self.waiting.remove(&key);
            }
        }
        Ok(())
    }

    /// Closes the TLS connections of a process.
    pub(super) fn process_ended(&mut self, core: &mut Core, pid: u32) -> io::Result<()> {
        if self.flows.knows(pid) {
            for entry in self.entries.values_mut() {
                match entry {
                    Entry::Flow(flow) => self.flows.complete(flow, pid),
                    Entry::Live(c) => {
                        if let Some(flow) = &mut c.flow {
                            self.flows.complete(flow, pid);
                        }
                    }
                    Entry::Muted { .. } => {}
                }
            }
            self.flows.forget(pid);
        }
        if pid == 0 || !self.tls.contains_key(&pid) {
            return Ok(());
        }
        let theirs = |entry: &Entry| matches!(entry, Entry::Live(c) if c.pid == pid);
        let mut keys: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| theirs(entry))
            .map(|(key, _)| *key)
            .collect();
        keys.sort_unstable();
        let origin = Origin::nobody(core.now);
        for key in keys {
            self.close(core, key, Ending::Closed, &origin)?;
        }
        Ok(())
    }

    /// Gives out everything that is open.
    pub(super) fn finish(&mut self, core: &mut Core) -> io::Result<()> {
        let mut keys: Vec<_> = self
            .entries
            .iter()
            .map(|(key, e)| (rank(e), *key))
            .collect();
        keys.sort_unstable();
        let origin = Origin::nobody(core.now);
        for (_, key) in keys {
            self.close(core, key, Ending::Open, &origin)?;
        }
        self.flows.give(core, true)
    }

    /// Forgets a socket whose TLS is read as a connection of its own. One that
    /// has been something else before stays (CONNECT).
    fn give_way(&mut self, core: &mut Core, key: ConnectionKey) -> io::Result<()> {
        self.flows.withdraw(key);
        match self.entries.get_mut(&key) {
            Some(Entry::Live(c)) if c.conversation.protocol == Protocol::Unknown => {
                c.conversation.mute(core, Protocol::Tls);
            }
            Some(Entry::Live(c)) if c.conversation.protocol != Protocol::Tls => return Ok(()),
            _ => {}
        }
        if let Some(Entry::Live(mut connection)) = self.drop_entry(core, key)
            && let Some(flow) = &mut connection.flow
        {
            flow.stop(core);
        }
        Ok(())
    }

    /// Leaves a connection alone from now on, but for what `--tls-flows`
    /// counts.
    fn mute(&mut self, core: &mut Core, key: ConnectionKey) {
        if let Some(Entry::Live(mut connection)) = self.drop_entry(core, key) {
            let entry = match connection.flow.take() {
                Some(flow) => Entry::Flow(flow),
                None => Entry::Muted {
                    tls: connection.conversation.protocol == Protocol::Tls,
                    last: connection.last,
                },
            };
            self.entries.insert(key, entry);
        }
    }

    fn close(
        &mut self,
        core: &mut Core,
        key: ConnectionKey,
        ending: Ending,
        origin: &Origin<'_>,
    ) -> io::Result<()> {
        let Some(entry) = self.drop_entry(core, key) else {
            return Ok(());
        };
        match entry {
            Entry::Live(mut connection) => match connection.flow.take() {
                Some(mut flow) if connection.conversation.protocol == Protocol::Tls => {
                    flow.stop(core);
                    self.flows.end(core, flow, ending);
                    Ok(())
                }
                flow => {
                    if let Some(mut flow) = flow {
                        flow.stop(core);
                    }
                    connection.close(core, ending, origin)
                }
            },
            Entry::Muted { .. } => Ok(()),
            Entry::Flow(flow) => {
                self.flows.end(core, flow, ending);
                Ok(())
            }
        }
    }

    /// Takes an entry out of all tables.
    fn drop_entry(&mut self, core: &mut Core, key: ConnectionKey) -> Option<Entry> {
        let entry = self.entries.remove(&key)?;
        self.waiting.remove(&key);
        if let Entry::Live(connection) = &entry {
            forget(&mut self.tls, connection.pid);
            if connection.conversation.protocol.is_muted() {
                let held = connection.streams.iter().map(Stream::cost).sum();
                core.budget.give(held);
            }
        }
        Some(entry)
    }

    /// Makes room by closing the connections that were idle longest: a part
    /// of them at once, so that looking for them costs little per connection.
    fn evict(&mut self, core: &mut Core) -> io::Result<()> {
        let mut idle: Vec<_> = self
            .entries
            .iter()
            .map(|(key, e)| (e.last(), *key))
            .collect();
        let Some(most) = idle.len().checked_sub(1) else {
            return Ok(());
        };
        let count = (idle.len() / 16).max(1);
        idle.select_nth_unstable(count.min(most));
        idle.truncate(count);
        let origin = Origin::nobody(core.now);
        for (_, key) in idle {
            core.stats.evicted_connections += 1;
            self.close(core, key, Ending::Closed, &origin)?;
        }
        Ok(())
    }
}

/// The order in which connections end with the run: by number.
fn rank(entry: &Entry) -> (u64, Timestamp) {
    match entry {
        Entry::Live(connection) => (connection.conversation.number, Timestamp(0)),
        Entry::Muted { .. } => (0, Timestamp(0)),
        Entry::Flow(flow) => (u64::MAX, flow.start()),
    }
}

fn forget(tls: &mut FxHashMap<u32, u32>, pid: u32) {
    if let Some(count) = tls.get_mut(&pid) {
        *count -= 1;
        if *count == 0 {
            tls.remove(&pid);
        }
    }
}

fn count_muted(core: &mut Core, tls: bool, data: &Data<'_>) {
    let bytes = (data.bytes.len() as u64).saturating_add(data.missing);
    core.stats.bytes = core.stats.bytes.saturating_add(bytes);
    if !tls {
        core.stats.other_bytes = core.stats.other_bytes.saturating_add(bytes);
    }
}
