//! The run: from validated options to the exit status.

#[cfg(feature = "live")]
mod descriptors;
mod file;
#[cfg(feature = "live")]
mod live;
mod outputs;
#[cfg(feature = "live")]
mod permission;
mod report;
mod say;
mod signals;
#[cfg(feature = "live")]
mod silence;
#[cfg(feature = "live")]
mod unread;
mod writer;

use std::ffi::OsString;
use std::io::{self, Write};

use crate::cli::{self, Stop};
use crate::engine::{Config, Engine, TlsFlows};
use crate::event::{MissingReason, Timestamp};
use crate::options::{Failure, Options, Source, Surroundings};
use writer::Account;

pub use say::say;

/// Bytes held for reordering and undecided exchanges, in total.
const MEMORY_LIMIT: u64 = 256 << 20;

/// Does what the arguments (the program's name first) ask for and gives the
/// exit status. Errors have been said on stderr.
#[must_use]
pub fn run(arguments: Vec<OsString>) -> u8 {
    match attempt(arguments) {
        Ok(status) => status,
        Err(failure) => {
            say(&failure.message);
            failure.status
        }
    }
}

fn attempt(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let cli = match cli::parse(arguments) {
        Ok(cli) => cli,
        Err(Stop::Usage(sentence)) => return Err(Failure::usage(sentence)),
        Err(Stop::Print(text)) => {
            // `httpsniff --help | head` is no error.
            let _closed_pipe = io::stdout().write_all(text.as_bytes());
            return Ok(0);
        }
    };
    let options = Options::new(cli, &Surroundings::of_process())?;
    for note in &options.notes {
        say(note);
    }
    match options.source.clone() {
        Source::File(path) => file::run(&options, &path),
        #[cfg(feature = "live")]
        Source::Live(live) => live::run(&options, &live),
        #[cfg(not(feature = "live"))]
        Source::Live(_) => Err(Failure::failed(
            "this httpsniff was built without live capturing: it can only read files (-r FILE)",
        )),
    }
}

/// What the engine is told.
fn config(options: &Options) -> Config {
    Config {
        filter: options.filter.clone(),
        redact: options.redact.clone(),
        max_body: options.max_body,
        count: options.count,
        tls_flows: match (options.tls_flows, &options.source) {
            (false, _) => TlsFlows::No,
            (true, Source::Live(_)) => TlsFlows::Live,
            (true, Source::File(_)) => TlsFlows::File,
        },
        memory_limit: MEMORY_LIMIT,
        gap_reason: match options.source {
            Source::Live(_) => MissingReason::NotSeen,
            Source::File(_) => MissingReason::CaptureFile,
        },
    }
}

/// Says that what is written holds secrets.
fn warn_of_secrets(options: &Options) {
    if let Some(place) = options.pcapng.as_ref().or(options.har.as_ref())
        && options.redact.is_none()
    {
        say(&format!(
            "what is written to {} holds passwords and tokens: keep it private, or mask them with --redact",
            place.name()
        ));
    }
}

/// Ends a run: gives out what is open, says what went wrong with an output,
/// and the summary. Gives the exit status.
fn end(engine: &mut Engine, accounts: &[Account], now: Timestamp) -> u8 {
    // A failure is in the account of its output, a closed pipe is none.
    let other = engine.finish(now).err();
    let mut failed = false;
    for sentence in accounts.iter().filter_map(Account::failure) {
        failed = true;
        say(&sentence);
    }
    if let Some(error) = other
        && !failed
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        failed = true;
        say(&format!("the outputs could not be finished: {error}"));
    }
    for line in report::summary(engine.stats()) {
        say(&line);
    }
    for remark in engine.remarks() {
        say(&remark);
    }
    u8::from(failed)
}
