//! What all connections share: the configuration, the sinks, the counts, the
//! bound on memory.

use std::io;

use super::Config;
use crate::event::{ConnectionKey, MissingReason, Timestamp};
use crate::exchange::Exchange;
use crate::filter::{Subject, Verdict};
use crate::output::{Sink, Wants, Wire};
use crate::stats::Stats;
use crate::tls_flow::TlsFlow;

/// Counts the memory that is held against its bound.
#[derive(Debug)]
pub(super) struct Budget {
    used: u64,
    limit: u64,
}

impl Budget {
    pub(super) fn new(limit: u64) -> Self {
        Self { used: 0, limit }
    }

    /// Takes `bytes` if there is room for them.
    pub(super) fn take(&mut self, bytes: u64) -> bool {
        let fits = bytes <= self.room();
        if fits {
            self.used += bytes;
        }
        fits
    }

    /// Takes what is held already.
    pub(super) fn charge(&mut self, bytes: u64) {
        self.used = self.used.saturating_add(bytes);
    }

    pub(super) fn give(&mut self, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
    }

    pub(super) fn room(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }

    pub(super) fn used(&self) -> u64 {
        self.used
    }
}

/// Shared by all connections of an engine.
pub(super) struct Core {
    pub(super) config: Config,
    pub(super) wants: Wants,
    pub(super) stats: Stats,
    pub(super) budget: Budget,
    /// The latest time of any event or tick.
    pub(super) now: Timestamp,
    pub(super) muted: Vec<ConnectionKey>,
    numbers: u64,
    sinks: Vec<(Wants, Box<dyn Sink>)>,
    /// Stands in for the filter.
    #[cfg(test)]
    pub(super) judge: Option<fn(&Subject<'_>) -> Verdict>,
}

impl Core {
    pub(super) fn new(config: Config, sinks: Vec<Box<dyn Sink>>) -> Self {
        let sinks: Vec<_> = sinks.into_iter().map(|s| (s.wants(), s)).collect();
        Self {
            wants: sinks
                .iter()
                .fold(Wants::default(), |all, (wants, _)| all.union(*wants)),
            stats: Stats::default(),
            budget: Budget::new(config.memory_limit),
            now: Timestamp::default(),
            muted: Vec::new(),
            numbers: 0,
            sinks,
            #[cfg(test)]
            judge: None,
            config,
        }
    }

    /// What the filter says.
    pub(super) fn judge(&self, subject: &Subject<'_>) -> Verdict {
        #[cfg(test)]
        if let Some(judge) = self.judge {
            return judge(subject);
        }
        self.config.filter.judge(subject)
    }

    /// Whether as many exchanges as wanted were shown.
    pub(super) fn is_done(&self) -> bool {
        self.config
            .count
            .is_some_and(|count| self.stats.shown >= count)
    }

    /// The number of a connection that has just been recognised.
    pub(super) fn number(&mut self, earlier: Option<u64>) -> u64 {
        let number = earlier.unwrap_or(self.numbers + 1);
        self.numbers = self.numbers.max(number);
        number
    }

    /// Gives out a request whose response is still to come.
    pub(super) fn request(&mut self, exchange: &Exchange) -> io::Result<()> {
        if self.wants.requests && !self.is_done() {
            for (wants, sink) in &mut self.sinks {
                if wants.requests {
                    sink.request(exchange)?;
                }
            }
        }
        Ok(())
    }

    /// Counts an exchange that has ended and gives it out if it is wanted.
    pub(super) fn exchange(&mut self, exchange: &Exchange, verdict: Verdict) -> io::Result<()> {
        self.stats.seen += 1;
        match verdict {
            Verdict::Drop => self.stats.filtered += 1,
            Verdict::Lacks | Verdict::Undecided => self.stats.lacking += 1,
            Verdict::Keep if self.is_done() => {}
            Verdict::Keep => {
                self.stats.shown += 1;
                for (_, sink) in &mut self.sinks {
                    sink.exchange(exchange)?;
                }
            }
        }
        Ok(())
    }

    /// Gives out a TLS connection that was not read.
    pub(super) fn give_flow(&mut self, flow: &TlsFlow) -> io::Result<()> {
        self.sinks.iter_mut().try_for_each(|(_, s)| s.tls(flow))
    }

    /// Hands bytes to those that want them.
    pub(super) fn wire(&mut self, wire: &Wire<'_>) -> io::Result<()> {
        for (wants, sink) in &mut self.sinks {
            if wants.wire {
                sink.wire(wire)?;
            }
        }
        Ok(())
    }

    pub(super) fn lose(&mut self, reason: MissingReason, bytes: u64) {
        self.stats.lose(reason, bytes);
    }

    pub(super) fn tick(&mut self) -> io::Result<()> {
        let now = self.now;
        self.sinks.iter_mut().try_for_each(|(_, s)| s.tick(now))
    }

    /// Finishes every sink, even if one fails; gives the first error.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        let now = self.now;
        let mut result = Ok(());
        for (_, sink) in &mut self.sinks {
            result = result.and(sink.finish(now));
        }
        result
    }

    pub(super) fn remarks(&self) -> Vec<String> {
        self.sinks.iter().flat_map(|(_, s)| s.remarks()).collect()
    }
}
