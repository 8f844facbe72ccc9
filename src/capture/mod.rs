//! Everything that touches the kernel: loading, attaching, the ring buffer,
//! decoding records, process facts.

use std::time::Duration;

use anyhow::Result;

use crate::event::{ConnectionKey, Event, Timestamp};
use crate::redact::Redact;

/// Where plaintext sockets are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// The first that the kernel allows: kprobe, then socket.
    #[default]
    Auto,
    /// kprobes on `tcp_sendmsg` and `tcp_recvmsg`.
    Kprobe,
    /// Raw tracepoints on the socket layer (kernel 6.3 and later).
    Socket,
}

/// What to capture.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Where plaintext sockets are read.
    pub backend: Backend,
    /// Leave plaintext sockets alone (`--no-tcp`).
    pub no_tcp: bool,
    /// Leave TLS libraries alone (`--no-tls`).
    pub no_tls: bool,
    /// Files to attach to, from `--lib`.
    pub libraries: Vec<std::path::PathBuf>,
    /// Processes to watch, in the caller's pid namespace; empty: all.
    pub pids: Vec<u32>,
    /// Watch their descendants too, those that exist already included.
    pub follow: bool,
    /// Users to watch; empty: all. Applied in the kernel.
    pub uids: Vec<u32>,
    /// Masks command lines.
    pub redact: Option<Redact>,
    /// Size of the ring buffer in bytes (rounded up to a power of two).
    pub ring_bytes: u32,
    /// Executable whose TLS library is resolved and probed before the start
    /// (that of COMMAND).
    pub prepare: Option<std::path::PathBuf>,
}

/// A loaded and attached set of programs. Dropping it detaches everything.
pub struct Capture {}

/// Something for the run loop.
#[derive(Debug)]
pub enum Item<'a> {
    /// For the engine.
    Event(Event<'a>),
    /// A process ended: for [`crate::engine::Engine::process_ended`].
    ProcessEnded {
        /// Its id.
        pid: u32,
        /// When.
        time: Timestamp,
    },
}

/// Counts of the kernel side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Records that found no room in the ring buffer.
    pub records: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Records that user space could not understand.
    pub malformed: u64,
    /// Calls that a probe could not follow to their end.
    pub calls: u64,
}

impl Capture {
    /// Loads and attaches. When it returns, capturing has begun. Errors are
    /// sentences for the user.
    pub fn start(_settings: &Settings) -> Result<Self> {
        Ok(Self {})
    }

    /// Lines for the user since the last call (which backend and why, what
    /// could not be attached).
    pub fn take_notices(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Watches one more process, and its descendants if `follow` (COMMAND:
    /// called while it waits before its exec).
    pub fn watch(&mut self, _pid: u32, _follow: bool) -> Result<()> {
        Ok(())
    }

    /// Waits up to `timeout` for records and hands each to `handle` in the
    /// order of the ring. Returns early when `handle` returns `false`.
    pub fn poll(
        &mut self,
        _timeout: Duration,
        _handle: &mut dyn FnMut(Item<'_>) -> bool,
    ) -> Result<()> {
        Ok(())
    }

    /// These connections' bytes need not be copied any more; they are still
    /// counted.
    pub fn mute(&mut self, _keys: &[ConnectionKey]) {}

    /// Whether processes were named (`Settings::pids`, [`Self::watch`]) and
    /// all of them and, when followed, their descendants have ended.
    #[must_use]
    pub fn targets_ended(&self) -> bool {
        false
    }

    /// The wall-clock time in the clock of the events.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp::default()
    }

    /// What the kernel side lost so far.
    #[must_use]
    pub fn losses(&self) -> Losses {
        Losses::default()
    }

    /// Watched processes that have children and no socket of their own and
    /// are not followed (for the hint “add --follow”): pid and name.
    #[must_use]
    pub fn childbearing_targets(&self) -> Vec<(u32, String)> {
        Vec::new()
    }

    /// Programs whose connections were seen to be TLS and of which no TLS
    /// record came: name and why.
    #[must_use]
    pub fn unhooked_tls(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// The text of `--check`: what this machine allows, and which TLS libraries
/// would be attached.
pub fn check(_settings: &Settings) -> Result<String> {
    Ok(String::new())
}
