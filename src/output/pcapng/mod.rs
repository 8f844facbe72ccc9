//! pcapng: what was read in the processes as packets that Wireshark decodes.
//!
//! A piece of the wire is held up to 50 ms (`desk`), so that packets come in
//! the order of their times and so that, where both ends of a connection are
//! watched, the sender's view can be preferred. Then `stream` writes it as
//! TCP segments, `packet` makes their headers, `comment`, `note` and `said`
//! what is said of them, `block` the file. docs/PCAPNG.md describes the result.

use std::io::{self, Write};

use super::{Sink, Wants, Wire};
use crate::event::Timestamp;

mod address;
mod block;
mod comment;
mod conversation;
mod desk;
mod feed;
pub(crate) mod note;
mod packet;
mod remarks;
mod said;
mod store;
mod stream;

use desk::Desk;

/// Writes a pcapng file.
pub struct Pcapng {
    desk: Desk,
}

impl Pcapng {
    /// A sink that writes to `out`, whole blocks at a time: the file's head at
    /// once, packets at each [`Sink::tick`] or when 256 KiB of them are there.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(out: Box<dyn Write>) -> io::Result<Self> {
        Ok(Self {
            desk: Desk::new(out)?,
        })
    }
}

impl Sink for Pcapng {
    fn wants(&self) -> Wants {
        Wants {
            wire: true,
            ..Wants::default()
        }
    }

    fn wire(&mut self, wire: &Wire<'_>) -> io::Result<()> {
        self.desk.take(wire)
    }

    fn tick(&mut self, now: Timestamp) -> io::Result<()> {
        self.desk.tick(now.0)
    }

    fn finish(&mut self, now: Timestamp) -> io::Result<()> {
        self.desk.finish(now.0)
    }

    fn remarks(&self) -> Vec<String> {
        self.desk.remarks()
    }
}
