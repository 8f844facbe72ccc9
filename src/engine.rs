//! Events in, exchanges out: connections, reassembly, parsing, pairing,
//! filtering, and the hand-over to the outputs.

use std::io;

use crate::event::{ConnectionKey, Event, Timestamp};
use crate::filter::Filter;
use crate::output::Sink;
use crate::redact::Redact;
use crate::stats::Stats;

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
    /// Bytes held for reordering and undecided exchanges, in total.
    pub memory_limit: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            filter: Filter::default(),
            redact: None,
            max_body: 1 << 20,
            count: None,
            memory_limit: 256 << 20,
        }
    }
}

/// The engine. It owns the sinks.
pub struct Engine {
    sinks: Vec<Box<dyn Sink>>,
    stats: Stats,
}

impl Engine {
    /// An engine that gives what `config` lets through to each of `sinks`.
    #[must_use]
    pub fn new(_config: Config, sinks: Vec<Box<dyn Sink>>) -> Self {
        Self {
            sinks,
            stats: Stats::default(),
        }
    }

    /// Takes one event. An error is a sink's.
    pub fn event(&mut self, _event: &Event<'_>) -> io::Result<()> {
        Ok(())
    }

    /// Lets time pass: gives up on holes, on requests that do not come;
    /// flushes the sinks. To be called at least every 100 ms.
    pub fn tick(&mut self, _now: Timestamp) -> io::Result<()> {
        Ok(())
    }

    /// A process has ended: closes what only it could close (TLS objects).
    pub fn process_ended(&mut self, _pid: u32, _now: Timestamp) -> io::Result<()> {
        Ok(())
    }

    /// Ends the run: gives out every open exchange with its state and
    /// finishes the sinks.
    pub fn finish(&mut self, _now: Timestamp) -> io::Result<()> {
        Ok(())
    }

    /// Whether `count` exchanges have been shown.
    #[must_use]
    pub fn is_done(&self) -> bool {
        false
    }

    /// The counts so far.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Connections found to be of no interest since the last call (not HTTP,
    /// or a tunnel): their bytes need not be copied any more.
    pub fn take_muted(&mut self) -> Vec<ConnectionKey> {
        Vec::new()
    }

    /// The sinks' remarks for the summary.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        self.sinks.iter().flat_map(|s| s.remarks()).collect()
    }
}
