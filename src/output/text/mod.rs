//! `-o text`: one line per exchange for people, `-v` with headers in the
//! manner of `curl -v`, `-vv` with bodies.
//!
//! Nothing that came off the wire or out of a process is printed but through
//! [`super::escape`], whether a terminal reads it or not. Lines are cut to
//! the terminal's width, headers and bodies are not.

use std::io::{self, Write};

use super::{Sink, Wants};
use rustc_hash::FxHashMap;

use crate::event::Timestamp;
use crate::exchange::Exchange;
use crate::message::{Message, MessageKind};
use crate::tls_flow::TlsFlow;

mod body;
mod flow;
mod line;
mod message;
mod style;
mod told;
mod units;
mod verbose;

use line::{Layout, Progress};
use told::Told;
use units::Clock;
use verbose::Bodies;

/// Text is collected up to so many bytes before it is written.
const ENOUGH: usize = 64 << 10;

/// What may vary.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// 0: lines, 1: headers too, 2: and bodies.
    pub verbosity: u8,
    /// Use colours.
    pub color: bool,
    /// Times of day in UTC, not in the machine's zone.
    pub utc: bool,
    /// Columns of the terminal to cut lines to; `None` does not cut.
    pub width: Option<usize>,
    /// A line as soon as a request's header is there.
    pub partial: bool,
    /// All processes are of one container: no need to say which.
    pub one_container: bool,
    /// Write after every exchange (a terminal), not only when enough has been
    /// collected or time has passed.
    pub line_buffered: bool,
    /// Indent JSON bodies (a terminal).
    pub indent_json: bool,
}

/// Writes text.
pub struct Text {
    out: Box<dyn Write>,
    options: Options,
    buffer: String,
    clock: Clock,
    layout: Layout,
    /// By connection and ordinal: exchanges that have not ended and of which
    /// something was said.
    told: FxHashMap<(u64, u64), Told>,
}

impl Text {
    /// A sink that writes to `out`.
    #[must_use]
    pub fn new(out: Box<dyn Write>, options: Options) -> Self {
        Self {
            out,
            options,
            buffer: String::new(),
            clock: Clock::new(options.utc),
            layout: Layout::new(options.width, options.color, !options.one_container),
            told: FxHashMap::default(),
        }
    }

    fn line(&mut self, exchange: &Exchange, progress: Progress, told: &Told) {
        let times = &exchange.times;
        let time = times.request_start.or(times.response_start);
        self.layout.time(&mut self.buffer, |out| match time {
            Some(time) => self.clock.push(out, time),
            None => out.push_str("--:--:--.---"),
        });
        self.layout.rest(&mut self.buffer, exchange, progress, told);
    }

    /// The line of an exchange that goes on.
    fn so_far(&mut self, exchange: &Exchange) {
        self.told(exchange).numbered = true;
        self.line(exchange, Progress::Pending, &Told::default());
    }

    fn told(&mut self, exchange: &Exchange) -> &mut Told {
        self.told
            .entry((exchange.connection, exchange.ordinal))
            .or_default()
    }

    fn look(&self) -> body::Look {
        body::Look {
            color: self.options.color,
            indent_json: self.options.indent_json,
        }
    }

    fn written(&mut self) -> io::Result<()> {
        if self.options.line_buffered || self.buffer.len() >= ENOUGH {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let written = self.out.write_all(self.buffer.as_bytes());
        // Cleared after a failure too, so that the end of the run does not
        // write a second time what may have been written in part.
        self.buffer.clear();
        written?;
        self.out.flush()
    }
}

impl Sink for Text {
    fn wants(&self) -> Wants {
        Wants {
            bodies: self.options.verbosity >= 2,
            wire: false,
            requests: self.options.partial,
            pending: true,
            messages: true,
        }
    }

    fn request(&mut self, exchange: &Exchange) -> io::Result<()> {
        self.so_far(exchange);
        self.written()
    }

    fn pending(&mut self, exchange: &Exchange) -> io::Result<()> {
        // The line of its request was written when that came.
        let asked = self.options.partial && exchange.response.is_none();
        // And so was that of an event stream.
        if asked || self.told(exchange).introduced {
            return Ok(());
        }
        self.so_far(exchange);
        self.written()
    }

    fn upgraded(&mut self, exchange: &Exchange) -> io::Result<()> {
        self.line(exchange, Progress::Upgraded, &Told::default());
        if self.options.verbosity >= 1 {
            let look = self.look();
            verbose::push(&mut self.buffer, exchange, look, Bodies::None);
        }
        self.written()
    }

    fn message(&mut self, exchange: &Exchange, message: &Message<'_>) -> io::Result<()> {
        let verbosity = self.options.verbosity;
        // Those of gRPC are many, and none is readable.
        if message.kind == MessageKind::Grpc && verbosity < 2 {
            return Ok(());
        }
        if message.kind == MessageKind::Event {
            let introduced = &mut self.told(exchange).introduced;
            if !std::mem::replace(introduced, true) {
                self.so_far(exchange);
            }
        }
        let told = self.told(exchange);
        if message.kind == MessageKind::Event && !told.event(message, verbosity >= 1) {
            return Ok(());
        }
        told.message(message.number);
        let clock = &mut self.clock;
        self.layout
            .time(&mut self.buffer, |out| clock.push(out, message.time));
        self.layout
            .message(&mut self.buffer, exchange, message, verbosity);
        if verbosity >= 2 {
            let look = self.look();
            message::push(&mut self.buffer, message, look);
        }
        self.written()
    }

    fn exchange(&mut self, exchange: &Exchange) -> io::Result<()> {
        let key = (exchange.connection, exchange.ordinal);
        let told = self.told.remove(&key).unwrap_or_default();
        self.line(exchange, Progress::Ended, &told);
        let look = self.look();
        match self.options.verbosity {
            0 => {}
            // All else was said at the upgrade.
            _ if exchange.messages.is_some() => {
                verbose::notes(&mut self.buffer, exchange, look.color);
            }
            level => {
                let bodies = match level {
                    1 => Bodies::None,
                    _ if told.has_all_messages() => Bodies::WithoutMessages(told.events),
                    _ => Bodies::All,
                };
                verbose::push(&mut self.buffer, exchange, look, bodies);
            }
        }
        self.written()
    }

    fn tls(&mut self, flow: &TlsFlow) -> io::Result<()> {
        let clock = &mut self.clock;
        self.layout
            .time(&mut self.buffer, |out| clock.push(out, flow.start));
        self.layout.flow(&mut self.buffer, flow);
        self.written()
    }

    fn tick(&mut self, _now: Timestamp) -> io::Result<()> {
        self.flush()
    }

    fn finish(&mut self, _now: Timestamp) -> io::Result<()> {
        self.flush()
    }
}

#[cfg(test)]
mod tests;
