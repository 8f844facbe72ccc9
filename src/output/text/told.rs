//! What was said of an exchange before its end: so that nothing is shown
//! twice, and so that lines that belong together can be told from others.

use crate::event::Timestamp;
use crate::message::Message;

/// Lines a second that the events of one stream get without `-v`.
const EVENTS_A_SECOND: u32 = 5;

/// What was said of one exchange.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    /// A line before its last one has its number.
    pub(super) numbered: bool,
    /// An event stream's line has come, with its first event.
    pub(super) introduced: bool,
    /// The first of its messages that had a line.
    first: Option<u64>,
    /// Events so far, and those of them that had no line.
    pub(super) events: u64,
    pub(super) passed: u64,
    /// The present second of events, and the lines in it.
    second: Timestamp,
    lines: u32,
}

impl Told {
    /// An event has come: whether it gets a line. `all`: each of them does.
    pub(super) fn event(&mut self, message: &Message<'_>, all: bool) -> bool {
        self.events = message.number;
        if message.time.nanos_since(self.second) >= 1_000_000_000 {
            self.second = message.time;
            self.lines = 0;
        }
        self.lines = self.lines.saturating_add(1);
        let shown = all || self.lines <= EVENTS_A_SECOND;
        self.passed += u64::from(!shown);
        shown
    }

    /// A message gets a line.
    pub(super) fn message(&mut self, number: u64) {
        self.numbered = true;
        self.first.get_or_insert(number);
    }

    /// Whether each of its messages was shown. Those that came before the
    /// filter had decided were not.
    pub(super) fn has_all_messages(&self) -> bool {
        self.first == Some(1) && self.passed == 0
    }
}
