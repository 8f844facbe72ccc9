//! `-r`: the packets of a file instead of the kernel's records.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::outputs::Opened;
use super::signals::Stops;
use super::{config, end, warn_of_secrets};
use crate::caller::Caller;
use crate::engine::Engine;
use crate::event::Timestamp;
use crate::options::{Failure, Options};
use crate::output::file::open_input;

/// Reads the capture at `path` (`-` is stdin) to its end.
pub(super) fn run(options: &Options, path: &Path) -> Result<u8, Failure> {
    let caller = Caller::of_sudo();
    let input = open_input(path, caller.as_ref()).map_err(Failure::failed)?;
    let opened = Opened::open(options, Some(&input), caller.as_ref())?;
    warn_of_secrets(options);
    let stops =
        Stops::watch().map_err(|e| Failure::failed(format!("cannot catch signals: {e}")))?;
    let begun = opened.begin(caller.as_ref())?;
    if begun.closed {
        return Ok(0);
    }
    let mut engine = Engine::new(config(options), begun.sinks);
    let _reader = Interruptible { file: input, stops };
    Ok(end(&mut engine, &begun.accounts, Timestamp::default()))
}

/// A file that ends at Ctrl-C, even while nothing comes out of a pipe.
struct Interruptible {
    file: File,
    stops: Stops,
}

impl Read for Interruptible {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        const LOOK: Timespec = Timespec {
            tv_sec: 0,
            tv_nsec: 50_000_000,
        };
        loop {
            if self.stops.count() > 0 {
                return Ok(0);
            }
            let mut wait = [PollFd::new(&self.file, PollFlags::IN)];
            match poll(&mut wait, Some(&LOOK)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return self.file.read(buffer),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
