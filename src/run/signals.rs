//! Ctrl-C and its kin, counted.
//!
//! A thread counts, so that a second signal ends httpsniff even while its
//! main thread is stuck in a write that nobody reads.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Exit status after a second signal: 128 + SIGINT.
pub(super) const INTERRUPTED: u8 = 130;

/// How long the main thread has to end by itself after a second signal.
const PATIENCE: Duration = Duration::from_millis(400);

/// The signals so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Stops {
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: AtomicU32,
    /// SIGTERM and SIGHUP: sent to httpsniff alone, where Ctrl-C reaches the
    /// whole foreground.
    terms: AtomicU32,
    hangups: AtomicU32,
}

impl Stops {
    /// Counts from now on, instead of ending at the first.
    pub(super) fn watch() -> io::Result<Self> {
        let mut wanted = vec![SIGINT, SIGTERM];
        // nohup has it ignored, and means it.
        if !is_ignored(SIGHUP) {
            wanted.push(SIGHUP);
        }
        let mut signals = Signals::new(wanted)?;
        let stops = Self::default();
        let counts = Arc::clone(&stops.counts);
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                for signal in signals.forever() {
                    match signal {
                        SIGTERM => counts.terms.fetch_add(1, Ordering::Relaxed),
                        SIGHUP => counts.hangups.fetch_add(1, Ordering::Relaxed),
                        _ => 0,
                    };
                    if counts.all.fetch_add(1, Ordering::Relaxed) >= 1 {
                        thread::sleep(PATIENCE);
                        std::process::exit(i32::from(INTERRUPTED));
                    }
                }
            })?;
        Ok(stops)
    }

    /// How many signals have come.
    #[must_use]
    pub(super) fn count(&self) -> u32 {
        self.counts.all.load(Ordering::Relaxed)
    }

    /// SIGTERMs since the last call.
    #[cfg(feature = "live")]
    #[must_use]
    pub(super) fn take_terms(&self) -> u32 {
        self.counts.terms.swap(0, Ordering::Relaxed)
    }

    /// SIGHUPs since the last call.
    #[cfg(feature = "live")]
    #[must_use]
    pub(super) fn take_hangups(&self) -> u32 {
        self.counts.hangups.swap(0, Ordering::Relaxed)
    }
}

/// Whether this process ignores a signal, by the kernel's account.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}
