//! `-r`: the packets of a file instead of the kernel's records.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::outputs::Opened;
use super::say::say;
use super::signals::Stops;
use super::{config, end, warn_of_secrets};
use crate::caller::Caller;
use crate::engine::Engine;
use crate::event::{Event, Timestamp};
use crate::options::{Failure, Options};
use crate::output::file::open_input;
use crate::process::Process;
use crate::read::{self, Item, ReadError};
use crate::redact::Redact;

/// Reads the capture at `path` (`-` is stdin) to its end.
pub(super) fn run(options: &Options, path: &Path) -> Result<u8, Failure> {
    let caller = Caller::of_sudo();
    let input = open_input(path, caller.as_ref()).map_err(Failure::failed)?;
    let opened = Opened::open(options, Some(&input), caller.as_ref())?;
    warn_of_secrets(options);
    let stops = Stops::watch()
        .map_err(|error| Failure::failed(format!("cannot catch signals: {error}")))?;
    let begun = opened.begin(caller.as_ref())?;
    if begun.closed {
        return Ok(0);
    }
    let mut engine = Engine::new(config(options), begun.sinks);
    let mut masked = Masked::new(options.redact.clone());
    let mut last = Timestamp::default();
    let input = Interruptible {
        file: input,
        stops: stops.clone(),
    };
    let result = read::read(input, &mut |item| {
        match item {
            Item::Event(event) => {
                last = last.max(event.time);
                masked.with(event, |event| engine.event(event))?;
            }
            Item::Tick(now) => {
                last = last.max(now);
                engine.tick(now)?;
            }
        }
        Ok(!engine.is_done())
    });
    let (failed, notes) = match result {
        // Where Ctrl-C ended it, it is not the file's end that is wrong.
        Ok(_) if stops.count() > 0 => (false, Vec::new()),
        Ok(summary) => (false, summary.notes()),
        // That of an output is in its account, a closed pipe is none.
        Err(ReadError::Handler(_)) => (false, Vec::new()),
        Err(error) => (true, vec![error.to_string()]),
    };
    for note in notes {
        say(&format!("{}: {note}", path.display()));
    }
    let status = end(&mut engine, &begun.accounts, last);
    Ok(if failed { 1 } else { status })
}

/// `--redact` for the command lines of a file that was written without it.
struct Masked {
    redact: Option<Redact>,
    /// What was masked, by the address of the process it was made of, which
    /// is kept so that the address stays its own.
    known: FxHashMap<*const Process, (Arc<Process>, Arc<Process>)>,
}

impl Masked {
    fn new(redact: Option<Redact>) -> Self {
        Self {
            redact,
            known: FxHashMap::default(),
        }
    }

    /// Hands on the event with its process masked.
    fn with<T>(&mut self, event: &Event<'_>, act: impl FnOnce(&Event<'_>) -> T) -> T {
        let (Some(redact), Some(process)) = (&self.redact, event.process) else {
            return act(event);
        };
        let (_, masked) = self.known.entry(Arc::as_ptr(process)).or_insert_with(|| {
            let mut masked = Process::clone(process);
            redact.mask_cmdline(&mut masked.cmdline);
            (Arc::clone(process), Arc::new(masked))
        });
        act(&Event {
            process: Some(masked),
            ..*event
        })
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Action, ConnectionInfo, ConnectionKey, Source};

    #[test]
    fn command_lines_of_a_file_are_masked_too() {
        let process = Arc::new(Process {
            cmdline: ["curl", "-u", "ann:secret"].map(Vec::from).to_vec(),
            ..Process::default()
        });
        let connection = ConnectionInfo {
            from_start: true,
            ..ConnectionInfo::new(ConnectionKey {
                source: Source::Tcp,
                object: 1,
                born: 1,
            })
        };
        let event = Event {
            time: Timestamp(1),
            process: Some(&process),
            tid: 1,
            thread: b"",
            connection: &connection,
            action: Action::Open,
        };
        let argument = |redact: Option<Redact>| {
            Masked::new(redact).with(&event, |event| event.process.unwrap().cmdline[2].clone())
        };
        assert_eq!(argument(None), b"ann:secret");
        let masked = argument(Some(Redact::new(&[])));
        assert_eq!(masked.len(), b"ann:secret".len());
        assert!(!masked.ends_with(b"secret"));
    }
}
