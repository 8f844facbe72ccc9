//! One stream of the file: a socket or a layer on it, with the views of one
//! or both of its ends.

use std::rc::Rc;
use std::sync::Arc;

use super::address::Pair;
use super::comment::Who;
use super::feed::{Body, Feed};
use crate::event::ConnectionInfo;

/// What one process saw.
pub(super) struct View {
    /// The engine's number.
    pub(super) connection: u64,
    pub(super) info: Arc<ConnectionInfo>,
    /// Its facts are in the file.
    pub(super) announced: bool,
    /// Who did what was queued last.
    pub(super) queued: Rc<Who>,
    /// Who did what was written last.
    pub(super) latest: Rc<Who>,
    /// Who does something as far as the file says.
    pub(super) told: Option<Rc<Who>>,
}

/// One direction: the bytes that one end sends.
#[derive(Default)]
pub(super) struct Flow {
    /// Pieces by the end whose view they are: the sender's is that with the
    /// flow's own number.
    pub(super) feeds: [Feed; 2],
    /// The end whose view is written, once there was a byte.
    pub(super) writer: Option<usize>,
    /// The position from which on it is written.
    pub(super) first: u64,
    /// The position up to which it is written.
    pub(super) written: u64,
    /// The next TCP sequence number.
    pub(super) sequence: u32,
    /// Bytes since the other end last acknowledged.
    pub(super) unacknowledged: u64,
    /// The FIN is written.
    pub(super) ended: bool,
}

/// One stream of the file. End 0 is the one that opens it.
pub(super) struct Conversation {
    pub(super) pair: Pair,
    pub(super) views: [Option<View>; 2],
    /// By the end that sends.
    pub(super) flows: [Flow; 2],
    /// It is HTTP/2 from its first byte on.
    pub(super) http2: bool,
    /// It was a WebSocket already when it was joined.
    pub(super) websocket: bool,
    /// One of its views has frames that were written anew.
    pub(super) anew: bool,
    /// The SYN is written.
    pub(super) open: bool,
    /// The time of its last packet.
    pub(super) last: u64,
    /// It was reset.
    pub(super) reset: bool,
    /// A hole was too long to be written: what follows is the rest of some
    /// message.
    pub(super) broken: bool,
}

impl Conversation {
    pub(super) fn new(pair: Pair, http2: bool) -> Self {
        Self {
            pair,
            views: [None, None],
            flows: [Flow::default(), Flow::default()],
            http2,
            websocket: false,
            anew: false,
            open: false,
            last: 0,
            reset: false,
            broken: false,
        }
    }

    /// Nothing more is expected of it.
    pub(super) fn is_over(&self) -> bool {
        self.reset || self.flows.iter().all(|flow| flow.ended)
    }
}

impl Flow {
    /// The end whose view is written: chosen now if need be, `candidate`
    /// being one that has something, the sender's where it has something too.
    pub(super) fn choose(&mut self, sender: usize, candidate: usize) -> usize {
        *self.writer.get_or_insert_with(|| {
            let has = self.feeds[sender]
                .queue
                .iter()
                .any(|piece| piece.body.length() > 0 || matches!(piece.body, Body::End { .. }));
            let writer = if has { sender } else { candidate };
            if let Some(front) = self.feeds[writer].queue.front() {
                self.first = front.position;
                self.written = front.position;
            }
            writer
        })
    }
}
