//! Events in, exchanges out: connections, reassembly, parsing, pairing,
//! filtering, and the hand-over to the outputs.
//!
//! ```text
//! Event ─▶ Table ─▶ flow::Stream ─▶ Conversation ─▶ Open (exchange) ─▶ Sink
//!          by key   order, gaps     messages        filter, bodies
//! ```
//!
//! All memory is bounded: per stream, per head, per undecided exchange, and
//! all of it together by [`Config::memory_limit`]. Where a bound is hit, what
//! is lost is counted.

mod bodies;
mod conversation;
mod core;
mod ends;
mod flows;
mod h2;
mod late;
mod messages;
mod open;
mod pairing;
mod search;
mod side;
mod table;
mod tunnel;
mod watch;
mod websocket;
mod wire;

use std::io;

use self::core::Core;
use self::table::Table;
use crate::event::{ConnectionKey, Event, MissingReason, Timestamp};
use crate::filter::Filter;
use crate::output::Sink;
use crate::redact::Redact;
use crate::stats::Stats;
use crate::tls_flow::Unread;

/// Whether TLS connections that are not read are shown (`--tls-flows`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsFlows {
    /// They are not.
    #[default]
    No,
    /// They are; their bytes are counted by [`crate::event::Action::Counted`],
    /// and [`Engine::explain`] says why they are not read.
    Live,
    /// They are; all their bytes come as events.
    File,
}

/// What the engine is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which exchanges are wanted.
    pub filter: Filter,
    /// What to mask, if anything.
    pub redact: Option<Redact>,
    /// Bytes kept of each body.
    pub max_body: u64,
    /// Stop showing after so many exchanges (`--count`).
    pub count: Option<u64>,
    /// Bytes held for reordering, heads, bodies and undecided exchanges, in
    /// total.
    pub memory_limit: u64,
    /// Whether to show TLS connections that are not read.
    pub tls_flows: TlsFlows,
    /// Why bytes that did not come are missing: [`MissingReason::NotSeen`],
    /// or [`MissingReason::CaptureFile`] for a reader of files.
    pub gap_reason: MissingReason,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            filter: Filter::default(),
            redact: None,
            max_body: 1 << 20,
            count: None,
            memory_limit: 256 << 20,
            tls_flows: TlsFlows::No,
            gap_reason: MissingReason::NotSeen,
        }
    }
}

/// The engine. It owns the sinks.
pub struct Engine {
    core: Core,
    table: Table,
}

impl Engine {
    /// An engine that gives what `config` lets through to each of `sinks`.
    #[must_use]
    pub fn new(config: Config, sinks: Vec<Box<dyn Sink>>) -> Self {
        Self {
            core: Core::new(config, sinks),
            table: Table::default(),
        }
    }

    /// Takes one event. An error is a sink's.
    pub fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        self.core.now = self.core.now.max(event.time);
        self.core.at = event.time;
        self.table.event(&mut self.core, event)?;
        self.table.expire_often(&mut self.core)
    }

    /// Lets time pass: gives up on holes, on requests that do not come;
    /// flushes the sinks. To be called at least every 100 ms.
    pub fn tick(&mut self, now: Timestamp) -> io::Result<()> {
        self.core.pass(now);
        self.table.expire(&mut self.core)?;
        self.table.pending(&mut self.core)?;
        self.core.tick()
    }

    /// A process has ended: closes what only it could close (TLS objects).
    pub fn process_ended(&mut self, pid: u32, now: Timestamp) -> io::Result<()> {
        self.core.pass(now);
        self.table.process_ended(&mut self.core, pid)
    }

    /// Says why the TLS of a process is not read, for its connections that are
    /// shown by [`Config::tls_flows`].
    pub fn explain(&mut self, pid: u32, unread: Unread) {
        if self.core.config.tls_flows != TlsFlows::No {
            self.table.flows.explain(pid, unread);
        }
    }

    /// Ends the run: gives out every open exchange with its state and
    /// finishes the sinks.
    pub fn finish(&mut self, now: Timestamp) -> io::Result<()> {
        self.core.pass(now);
        let result = self.table.finish(&mut self.core);
        debug_assert!(result.is_err() || self.core.budget.used() == 0);
        result.and(self.core.finish())
    }

    /// Whether `count` exchanges have been shown.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.core.is_done()
    }

    /// The counts so far.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.core.stats
    }

    /// Connections found to be of no interest since the last call (not HTTP,
    /// or a tunnel): their bytes need not be copied any more.
    pub fn take_muted(&mut self) -> Vec<ConnectionKey> {
        std::mem::take(&mut self.core.muted)
    }

    /// The sinks' remarks for the summary.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        self.core.remarks()
    }
}

#[cfg(test)]
mod tests;
