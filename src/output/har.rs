//! `-o har`, `-w FILE.har`: an HTTP Archive (HAR 1.2), for the network panels
//! of browsers and for whatever else imports it.
//!
//! The format is one JSON object, whose closing brackets a run that is killed
//! would never write. So they stand behind every batch of entries, written in
//! the same call, and the next batch replaces them: a file is whole at any
//! moment but within such a call. A pipe gets them once, at the end. Each entry
//! is one line, and the comma is at its beginning, so that what was torn can be
//! repaired by leaving out the lines that are no JSON (docs/OUTPUT.md).
//!
//! What HAR has no place for is in fields that begin with an underscore, as the
//! format wants it. Where it needs a value and there is none, docs/OUTPUT.md
//! says what stands there.

use std::io::{self, Write};

use super::json::value::Writer;
use super::{Sink, Wants};
use crate::event::Timestamp;
use crate::exchange::Exchange;
use crate::message::Message;

mod body;
mod cookie;
mod entry;
mod message;
mod socket;
mod url;
mod words;

/// What closes the document behind its last entry.
const ENDING: &str = "]}}\n";
/// Entries are collected up to so many bytes before they are written.
const ENOUGH: usize = 64 << 10;

/// A place to write a document to that has an ending.
pub trait Ending: Write {
    /// Writes `bytes`, of which the last `ending` are the document's ending:
    /// the next call writes over them. On an error the place holds what it
    /// held before, ending included, as far as that can be had.
    ///
    /// `false`: this place cannot be written over (a pipe). Then the ending
    /// has not been written and is the caller's to write at the end.
    fn write_with_ending(&mut self, bytes: &[u8], ending: usize) -> io::Result<bool>;
}

/// What may vary.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes of a WebSocket's messages that are held until it ends
    /// (`--max-body`).
    pub max_messages: u64,
}

/// Writes a HAR.
pub struct Har {
    out: Box<dyn Ending>,
    writer: Writer,
    options: Options,
    facts: entry::Facts,
    messages: socket::Messages,
    /// Entries so far.
    entries: u64,
    /// The ending is there.
    ended: bool,
}

impl Har {
    /// A sink that writes to `out`, from the first [`Sink::tick`] on.
    #[must_use]
    pub fn new(out: Box<dyn Ending>, options: Options) -> Self {
        let mut writer = Writer::default();
        writer.raw(concat!(
            "{\"log\":{\"version\":\"1.2\",\"creator\":{\"name\":\"httpsniff\",\"version\":\"",
            env!("CARGO_PKG_VERSION"),
            "\"},\"entries\":[\n"
        ));
        Self {
            out,
            writer,
            options,
            facts: entry::Facts::default(),
            messages: socket::Messages::default(),
            entries: 0,
            ended: false,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.writer.buffer.is_empty() {
            return Ok(());
        }
        self.writer.raw(ENDING);
        let ended = self
            .out
            .write_with_ending(&self.writer.buffer, ENDING.len());
        // Cleared after a failure too: what could not be written is not
        // written by the end of the run either.
        self.writer.buffer.clear();
        // One huge body must not be paid for during the rest of the run.
        self.writer.buffer.shrink_to(4 * ENOUGH);
        // After a failure nothing more is to be written.
        self.ended = true;
        self.ended = ended?;
        self.out.flush()
    }
}

impl Sink for Har {
    fn wants(&self) -> Wants {
        Wants {
            bodies: true,
            messages: true,
            ..Wants::default()
        }
    }

    fn message(&mut self, exchange: &Exchange, message: &Message<'_>) -> io::Result<()> {
        let limit = self.options.max_messages;
        self.messages.keep(exchange, message, limit);
        Ok(())
    }

    fn exchange(&mut self, exchange: &Exchange) -> io::Result<()> {
        if self.entries > 0 {
            self.writer.raw(",");
        }
        self.entries += 1;
        let w = &mut self.writer;
        entry::push(w, exchange, &mut self.facts);
        self.messages.push(w, exchange);
        w.raw("}\n");
        if self.writer.buffer.len() >= ENOUGH {
            self.flush()?;
        }
        Ok(())
    }

    fn tick(&mut self, _now: Timestamp) -> io::Result<()> {
        self.flush()
    }

    fn finish(&mut self, _now: Timestamp) -> io::Result<()> {
        self.flush()?;
        if !std::mem::replace(&mut self.ended, true) {
            self.out.write_all(ENDING.as_bytes())?;
            self.out.flush()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
