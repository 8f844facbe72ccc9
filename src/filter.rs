//! What the user asked for: which exchanges are shown.

use crate::event::ConnectionInfo;
use crate::exchange::Request;
use crate::process::Process;

/// What is known of an exchange when it is judged.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its process, if known.
    pub process: Option<&'a Process>,
    /// The thread's name.
    pub thread: &'a [u8],
    /// The connection.
    pub info: &'a ConnectionInfo,
    /// The request's head; `None` when not seen (yet).
    pub request: Option<&'a Request>,
    /// The final response's status; `None` when not seen (yet).
    pub status: Option<u16>,
    /// Nothing more will come: what is missing now stays missing.
    pub last: bool,
}

/// What the filter says of a [`Subject`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Wanted, whatever comes.
    Keep,
    /// Not wanted, whatever comes.
    Drop,
    /// Depends on what has not been seen yet. Never with `last`.
    Undecided,
    /// Not wanted because it lacks what the filter asks for (joined too late).
    Lacks,
}

/// All conditions of a run. The default lets everything through.
#[derive(Clone, Debug, Default)]
pub struct Filter {}

impl Filter {
    /// Judges by what is known so far.
    #[must_use]
    pub fn judge(&self, _subject: &Subject<'_>) -> Verdict {
        Verdict::Keep
    }
}
