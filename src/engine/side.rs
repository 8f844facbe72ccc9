//! One direction of a conversation: where in a message it is, and the bytes
//! that cannot be parsed yet.

use crate::event::{MissingReason, Timestamp};
use crate::flow::{Item, OwnedOrigin, Piece};
use crate::http::chunked::Chunked;
use crate::http::framing::Framing;

/// What a stored piece costs beyond its bytes.
const SEGMENT_COST: u64 = 96;

/// Past so many pieces, further ones are joined to the last: their times are
/// then those of the first.
const SEGMENTS_LIMIT: usize = 1024;

/// Where in its stream of messages a direction is.
#[derive(Debug)]
pub(super) enum State {
    /// Between messages or in a head, which is stored until it is whole.
    Head,
    /// Looking for the next message start, after a loss or on joining in the
    /// middle.
    Search,
    /// In a body.
    Body(Body),
    /// The request expects `100 Continue` and has its final response: what
    /// comes is its body of so many bytes, or the next request.
    MaybeBody(u64),
    /// After an upgrade.
    Tunnel(Tunnel),
    /// HTTP/2 reads it.
    Frames,
    /// Nothing more comes.
    Ended,
}

/// Where in a body.
#[derive(Debug)]
pub(super) enum Body {
    Length(u64),
    Chunked(Chunked),
    UntilClose,
}

impl From<Framing> for Body {
    fn from(framing: Framing) -> Self {
        match framing {
            Framing::Length(n) => Self::Length(n),
            Framing::Chunked => Self::Chunked(Chunked::default()),
            Framing::UntilClose => Self::UntilClose,
        }
    }
}

/// What is known of a tunnel's direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tunnel {
    /// Too few bytes to tell.
    New,
    /// TLS: counted only, its plaintext is read elsewhere.
    Tls,
    /// Anything else.
    Other,
}

/// Why a direction stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// A response came before its request.
    ForRequest,
    /// After a request that may turn the connection into something else.
    ForResponse,
    /// What is stored is to be looked at again at once.
    Replay,
}

/// A piece in a [`Store`].
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) offset: u64,
    pub(super) origin: OwnedOrigin,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    /// So many bytes of the store's buffer.
    Bytes(usize),
    Gap {
        length: u64,
        reason: MissingReason,
    },
    End,
}

/// Pieces of a stream that cannot be parsed yet.
#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) bytes: Vec<u8>,
    pub(super) segments: Vec<Segment>,
    /// In the first so many bytes a search found nothing; it goes on from
    /// there.
    pub(super) searched: usize,
}

impl Store {
    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Memory that it counts for.
    pub(super) fn cost(&self) -> u64 {
        self.bytes.len() as u64 + SEGMENT_COST * self.segments.len() as u64
    }

    /// Appends a copy.
    pub(super) fn push(&mut self, item: &Item<'_>) {
        if let Piece::Bytes(bytes) = item.piece {
            self.bytes.extend_from_slice(bytes);
        }
        self.mark(item);
    }

    /// Notes where the last bytes came from; they were appended before.
    pub(super) fn mark(&mut self, item: &Item<'_>) {
        if let Piece::Bytes(bytes) = item.piece
            && self.segments.len() >= SEGMENTS_LIMIT
            && let Some(last) = self.segments.last_mut()
            && let Content::Bytes(len) = &mut last.content
        {
            *len += bytes.len();
            return;
        }
        self.segments.push(Segment {
            offset: item.offset,
            origin: item.origin.to_owned(),
            content: match item.piece {
                Piece::Bytes(bytes) => Content::Bytes(bytes.len()),
                Piece::Gap { length, reason } => Content::Gap { length, reason },
                Piece::End => Content::End,
            },
        });
    }

    /// Calls `each` for every piece in order.
    pub(super) fn replay<F, E>(&self, each: F) -> Result<(), E>
    where
        F: FnMut(Item<'_>) -> Result<(), E>,
    {
        self.items().try_for_each(each)
    }

    /// The pieces in order.
    pub(super) fn items(&self) -> impl Iterator<Item = Item<'_>> {
        let mut rest = self.bytes.as_slice();
        self.segments.iter().map(move |segment| {
            let piece = match segment.content {
                Content::Bytes(len) => {
                    let (bytes, after) = rest.split_at(len.min(rest.len()));
                    rest = after;
                    Piece::Bytes(bytes)
                }
                Content::Gap { length, reason } => Piece::Gap { length, reason },
                Content::End => Piece::End,
            };
            Item {
                offset: segment.offset,
                origin: segment.origin.get(),
                piece,
            }
        })
    }

    /// Forgets the first `n` bytes.
    pub(super) fn drop_front(&mut self, n: usize) {
        let mut rest = n.min(self.bytes.len());
        self.bytes.drain(..rest);
        self.searched = self.searched.saturating_sub(rest);
        let mut whole = 0;
        for segment in &mut self.segments {
            match &mut segment.content {
                Content::Bytes(len) if *len > rest => {
                    *len -= rest;
                    segment.offset = segment.offset.wrapping_add(rest as u64);
                    break;
                }
                Content::Bytes(len) => {
                    rest -= *len;
                    whole += 1;
                }
                _ => break,
            }
            if rest == 0 {
                break;
            }
        }
        self.segments.drain(..whole);
    }

    pub(super) fn clear(&mut self) {
        // One long head must not keep its buffer for the connection's life.
        if self.bytes.capacity() > 16 << 10 {
            self.bytes = Vec::new();
            self.segments = Vec::new();
        }
        self.bytes.clear();
        self.segments.clear();
        self.searched = 0;
    }
}

/// One direction.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) state: State,
    pub(super) store: Store,
    /// What of `store` is counted in the budget.
    pub(super) charged: u64,
    /// How far `store` was looked at for the end of the head.
    pub(super) scanned: usize,
    /// The exchange whose message is being read.
    pub(super) current: Option<u64>,
    pub(super) waiting: Option<(Waiting, Timestamp)>,
    /// The wait is over.
    pub(super) resume: bool,
    /// The next response is shown without a request if there is none.
    pub(super) orphan_allowed: bool,
    /// Why bytes that are passed over in a search count as lost; `None`: they
    /// count as something else than HTTP.
    pub(super) search_reason: Option<MissingReason>,
    /// A message may have been lost since the last one that was seen.
    pub(super) lossy: bool,
    /// Bytes seen before recognition.
    pub(super) looked: u64,
    /// Of them: passed over.
    pub(super) passed: u64,
    /// The end, as it is to be handed over.
    pub(super) end: Option<(u64, OwnedOrigin)>,
    pub(super) end_given: bool,
    /// When the last bytes came.
    pub(super) last_byte: Option<Timestamp>,
}

impl Side {
    pub(super) fn new(from_start: bool) -> Self {
        Self {
            state: if from_start {
                State::Head
            } else {
                State::Search
            },
            store: Store::default(),
            charged: 0,
            scanned: 0,
            current: None,
            waiting: None,
            resume: false,
            orphan_allowed: false,
            search_reason: None,
            lossy: false,
            looked: 0,
            passed: 0,
            end: None,
            end_given: false,
            last_byte: None,
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }
}
