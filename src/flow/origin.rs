//! Who moved a piece of a stream, and when: borrowed from the event while the
//! bytes are, owned when they have to be held.

use std::sync::Arc;

use crate::event::{Event, Timestamp};
use crate::process::Process;

/// Longest thread name that is kept for held bytes; the kernel's are at most
/// 15 bytes.
const THREAD_LEN: usize = 23;

/// When bytes were moved and by whom.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// When (see [`Event::time`]).
    pub time: Timestamp,
    /// The process, if known.
    pub process: Option<&'a Arc<Process>>,
    /// Its thread, 0 when unknown.
    pub tid: u32,
    /// The thread's name.
    pub thread: &'a [u8],
}

impl<'a> Origin<'a> {
    /// That of an event.
    #[must_use]
    pub fn of(event: &Event<'a>) -> Self {
        Self {
            time: event.time,
            process: event.process,
            tid: event.tid,
            thread: event.thread,
        }
    }

    /// Nobody, at `time`: for what the engine itself decides.
    #[must_use]
    pub const fn nobody(time: Timestamp) -> Self {
        Self {
            time,
            process: None,
            tid: 0,
            thread: &[],
        }
    }

    /// A copy that outlives the event. No allocation.
    #[must_use]
    pub fn to_owned(&self) -> OwnedOrigin {
        let len = self.thread.len().min(THREAD_LEN);
        let mut thread = [0; THREAD_LEN];
        if let (Some(to), Some(from)) = (thread.get_mut(..len), self.thread.get(..len)) {
            to.copy_from_slice(from);
        }
        OwnedOrigin {
            time: self.time,
            process: self.process.cloned(),
            tid: self.tid,
            thread,
            thread_len: len as u8,
        }
    }
}

/// An [`Origin`] that owns what it names.
#[derive(Clone, Debug)]
pub struct OwnedOrigin {
    time: Timestamp,
    process: Option<Arc<Process>>,
    tid: u32,
    thread: [u8; THREAD_LEN],
    thread_len: u8,
}

impl OwnedOrigin {
    /// The borrowed form.
    #[must_use]
    pub fn get(&self) -> Origin<'_> {
        Origin {
            time: self.time,
            process: self.process.as_ref(),
            tid: self.tid,
            thread: self
                .thread
                .get(..usize::from(self.thread_len))
                .unwrap_or_default(),
        }
    }
}
