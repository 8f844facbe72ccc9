//! What all connections share: the configuration, the sinks, the counts, the
//! bound on memory.

use std::collections::VecDeque;
use std::io;

use super::Config;
use crate::event::{ConnectionKey, MissingReason, Timestamp};
use crate::exchange::Exchange;
use crate::filter::{Subject, Verdict};
use crate::message::Message;
use crate::output::{Sink, Wants, Wire};
use crate::stats::Stats;
use crate::tls_flow::TlsFlow;

/// How long an exchange may last before it is shown, in nanoseconds.
const PENDING_AFTER: u64 = 1_000_000_000;

/// Requests that are looked at again at once; further ones are shown when they
/// end.
const PENDING_LIMIT: usize = 65_536;

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
    /// When what is looked at happened: bytes may have waited for others.
    pub(super) at: Timestamp,
    pub(super) muted: Vec<ConnectionKey>,
    /// Exchanges that were given a second to end: when that is over, and which
    /// they are.
    pending: VecDeque<(Timestamp, ConnectionKey, u64)>,
    /// A frame of HTTP/2 that is being written anew, or the memory for one.
    pub(super) scratch: Vec<u8>,
    /// What went wrong where it could not be said.
    failed: Option<io::Error>,
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
            at: Timestamp::default(),
            muted: Vec::new(),
            pending: VecDeque::new(),
            scratch: Vec::new(),
            failed: None,
            numbers: 0,
            sinks,
            #[cfg(test)]
            judge: None,
            config,
        }
    }

    /// It is `now`, or later.
    pub(super) fn pass(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        self.at = self.now;
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

    /// Looks at an exchange, whose request is being read, again when it has
    /// had time to end.
    pub(super) fn await_response(&mut self, key: ConnectionKey, ordinal: u64) {
        self.look_again(key, ordinal, self.at);
    }

    /// Looks at it once more, as the filter has not decided yet.
    pub(super) fn await_verdict(&mut self, key: ConnectionKey, ordinal: u64) {
        self.look_again(key, ordinal, self.now);
    }

    fn look_again(&mut self, key: ConnectionKey, ordinal: u64, since: Timestamp) {
        if self.wants.pending && self.pending.len() < PENDING_LIMIT {
            let due = Timestamp(since.0.saturating_add(PENDING_AFTER));
            self.pending.push_back((due, key, ordinal));
        }
    }

    /// The next exchange whose time to end is over.
    pub(super) fn overdue(&mut self) -> Option<(ConnectionKey, u64)> {
        let now = self.now;
        let (_, key, ordinal) = self.pending.pop_front_if(|(due, ..)| *due <= now)?;
        Some((key, ordinal))
    }

    /// Gives out an exchange that has not ended yet.
    pub(super) fn give_pending(&mut self, exchange: &Exchange) -> io::Result<()> {
        if !self.is_done() {
            for (wants, sink) in &mut self.sinks {
                if wants.pending {
                    sink.pending(exchange)?;
                }
            }
        }
        Ok(())
    }

    /// Gives out an exchange whose messages follow.
    pub(super) fn upgraded(&mut self, exchange: &Exchange) -> io::Result<()> {
        if !self.is_done() {
            self.stats.upgraded += 1;
            for (wants, sink) in &mut self.sinks {
                if wants.messages {
                    sink.upgraded(exchange)?;
                }
            }
        }
        Ok(())
    }

    /// Gives out a message of an exchange that is wanted. A sink's error ends
    /// the run with the next tick.
    pub(super) fn message(&mut self, exchange: &Exchange, message: &Message<'_>) {
        if self.is_done() || self.failed.is_some() {
            return;
        }
        self.stats.messages += 1;
        for (wants, sink) in &mut self.sinks {
            if wants.messages
                && let Err(error) = sink.message(exchange, message)
            {
                self.failed = Some(error);
                return;
            }
        }
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
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let now = self.now;
        self.sinks.iter_mut().try_for_each(|(_, s)| s.tick(now))
    }

    /// Finishes every sink, even if one fails; gives the first error.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        let now = self.now;
        let mut result = self.failed.take().map_or(Ok(()), Err);
        for (_, sink) in &mut self.sinks {
            result = result.and(sink.finish(now));
        }
        result
    }

    pub(super) fn remarks(&self) -> Vec<String> {
        self.sinks.iter().flat_map(|(_, s)| s.remarks()).collect()
    }
}
