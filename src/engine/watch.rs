//! Bodies whose messages are of interest before they end: event streams and
//! gRPC. Their framing is followed as the bytes come.

use super::core::Core;
use super::open::{Open, Part};
use crate::content::coding::Decoder;
use crate::content::grpc::{GrpcEvent, GrpcForm, GrpcFrames};
use crate::content::media::MediaType;
use crate::content::sse::SseParser;
use crate::event::Direction;
use crate::exchange::{BodyMessage, BodyMessages, BodyState, Exchange, Fields};
use crate::filter::Verdict;
use crate::message::{Message, MessageKind};

/// Messages of a body that are listed one by one.
const LISTED: usize = 1000;

/// Decoded bytes of an event stream that are looked at, at a time.
const STRIDE: usize = 64 << 10;

/// Follows one body.
#[derive(Debug)]
pub(super) enum Watch {
    Events {
        decoder: Option<Box<Decoder>>,
        parser: Box<SseParser>,
    },
    Grpc(Box<GrpcFrames>),
}

impl Watch {
    /// What to follow in a body with these header fields.
    fn of(core: &Core, headers: &Fields, encodings: &[String]) -> Option<Self> {
        if !core.wants.bodies && !core.wants.messages {
            return None;
        }
        let media = MediaType::parse(headers.get("content-type")?)?;
        if media.is_event_stream() {
            let decoder = match encodings {
                [] => None,
                _ => Some(Box::new(Decoder::new(encodings)?)),
            };
            let parser = Box::new(SseParser::new());
            return Some(Self::Events { decoder, parser });
        }
        let form = if media.is_grpc_web_text() {
            GrpcForm::WebText
        } else if media.is_grpc_web() {
            GrpcForm::Web
        } else if media.is_grpc() {
            GrpcForm::Http2
        } else {
            return None;
        };
        let cap = usize::try_from(core.config.max_body).unwrap_or(usize::MAX);
        Some(Self::Grpc(Box::new(GrpcFrames::new(form, cap))))
    }

    fn memory(&self) -> u64 {
        let bytes = match self {
            Self::Events { decoder, parser } => {
                parser.memory() + decoder.as_ref().map_or(0, |d| d.memory())
            }
            Self::Grpc(frames) => frames.memory(),
        };
        bytes as u64
    }
}

/// What is known of the messages of an exchange.
#[derive(Debug, Default)]
pub(super) struct Watches {
    parts: [Option<Watch>; 2],
    /// Bytes of each that are counted in the budget.
    charged: [u64; 2],
    /// Messages so far, in both directions.
    pub(super) messages: u64,
}

const fn index(part: Part) -> usize {
    match part {
        Part::Request => 0,
        Part::Response => 1,
    }
}

/// Which way a part goes, seen from the process.
fn direction(exchange: &Exchange, part: Part) -> Direction {
    let requests = exchange.role.request_direction();
    match part {
        Part::Request => requests,
        Part::Response => requests.other(),
    }
}

impl Open {
    /// A message's head is there: says whether its body is to be followed.
    pub(super) fn watch(&mut self, core: &Core, part: Part) {
        if !self.is_wanted() {
            return;
        }
        let (headers, encodings) = match part {
            Part::Request => match &self.exchange.request {
                Some(request) => (&request.headers, &request.body.encodings),
                None => return,
            },
            Part::Response => match &self.exchange.response {
                Some(response) => (&response.headers, &response.body.encodings),
                None => return,
            },
        };
        let watch = Watch::of(core, headers, encodings);
        let grpc = matches!(watch, Some(Watch::Grpc(_)));
        self.watches.parts[index(part)] = watch;
        if grpc && let Some(body) = self.body(part) {
            body.messages = Some(Box::default());
        }
    }

    /// Bytes of a body that is followed.
    pub(super) fn watched(&mut self, core: &mut Core, part: Part, bytes: &[u8]) {
        let Some(mut watch) = self.watches.parts[index(part)].take() else {
            return;
        };
        match &mut watch {
            Watch::Events { decoder, parser } => {
                self.events(core, part, decoder.as_deref_mut(), parser, bytes);
            }
            Watch::Grpc(frames) => {
                let mut found = Vec::new();
                frames.push(bytes, &mut |event| self.grpc(core, part, event, &mut found));
                self.listed(part, frames.count(), found);
            }
        }
        let memory = watch.memory();
        let charged = &mut self.watches.charged[index(part)];
        let more = memory.saturating_sub(*charged);
        if !core.budget.take(more) {
            // A decoder takes up to 18 MiB, and streams are many.
            self.note("messages not followed: memory limit");
            return;
        }
        *charged += more;
        self.charged += more;
        self.watches.parts[index(part)] = Some(watch);
    }

    /// Bytes of a body that is followed are missing.
    pub(super) fn watched_gap(&mut self, core: &mut Core, part: Part, length: u64) {
        let Some(mut watch) = self.watches.parts[index(part)].take() else {
            return;
        };
        match &mut watch {
            Watch::Events { decoder, parser } => {
                // A coding cannot be undone across a hole.
                if decoder.is_some() {
                    return;
                }
                parser.lost();
            }
            Watch::Grpc(frames) => {
                let mut found = Vec::new();
                frames.missing(length, &mut |event| {
                    self.grpc(core, part, event, &mut found);
                });
                self.listed(part, frames.count(), found);
            }
        }
        self.watches.parts[index(part)] = Some(watch);
    }

    /// A body that is followed has ended.
    pub(super) fn watched_end(&mut self, core: &mut Core, part: Part) {
        if let Some(Watch::Grpc(mut frames)) = self.watches.parts[index(part)].take() {
            let mut found = Vec::new();
            frames.finish(&mut |event| self.grpc(core, part, event, &mut found));
            self.listed(part, frames.count(), found);
            if frames.is_lost() {
                self.note("gRPC framing lost");
            }
        }
    }

    fn events(
        &mut self,
        core: &mut Core,
        part: Part,
        decoder: Option<&mut Decoder>,
        parser: &mut SseParser,
        bytes: &[u8],
    ) {
        let mut each = |events: &[u8]| {
            parser.push(events, &mut |event| {
                self.message(core, part, &|number, direction| Message {
                    number,
                    direction,
                    time: Default::default(),
                    kind: MessageKind::Event,
                    size: (!event.cut).then_some(event.data.map_or(0, <[u8]>::len) as u64),
                    wire_size: event.wire_size,
                    fragments: 1,
                    compressed: false,
                    state: if event.cut {
                        BodyState::Cut
                    } else {
                        BodyState::Complete
                    },
                    data: event.data.unwrap_or_default(),
                    close: None,
                    event: event.event,
                    event_id: event.id,
                });
            });
        };
        let Some(decoder) = decoder else {
            return each(bytes);
        };
        let mut decoded = Vec::new();
        for piece in bytes.chunks(4096) {
            decoded.clear();
            decoder.push(piece, &mut decoded, STRIDE * 16);
            each(&decoded);
        }
    }

    fn grpc(
        &mut self,
        core: &mut Core,
        part: Part,
        event: GrpcEvent<'_>,
        found: &mut Vec<BodyMessage>,
    ) {
        match event {
            GrpcEvent::Message(message) => {
                found.push(BodyMessage {
                    size: u64::from(message.length),
                    compressed: message.compressed,
                    complete: message.complete,
                });
                let whole = message.data.len() as u64 == u64::from(message.length);
                self.message(core, part, &|number, direction| Message {
                    number,
                    direction,
                    time: Default::default(),
                    kind: MessageKind::Grpc,
                    size: Some(u64::from(message.length)),
                    wire_size: u64::from(message.length),
                    fragments: 1,
                    compressed: message.compressed,
                    state: match (message.complete, whole) {
                        (true, true) => BodyState::Complete,
                        (true, false) => BodyState::Cut,
                        (false, _) => BodyState::Lost,
                    },
                    data: message.data,
                    close: None,
                    event: None,
                    event_id: None,
                });
            }
            GrpcEvent::Trailers(fields) => {
                if let Some(messages) = self.body(part).and_then(|b| b.messages.as_mut()) {
                    messages.trailers = Some(fields);
                }
            }
        }
    }

    fn listed(&mut self, part: Part, count: u64, found: Vec<BodyMessage>) {
        if let Some(messages) = self.body(part).and_then(|b| b.messages.as_mut()) {
            let room = LISTED.saturating_sub(messages.listed.len());
            messages.listed.extend(found.into_iter().take(room));
            messages.count = count;
        }
    }

    /// Hands a message over, if the exchange is wanted by now.
    fn message<'m>(
        &mut self,
        core: &mut Core,
        part: Part,
        make: &dyn Fn(u64, Direction) -> Message<'m>,
    ) {
        self.watches.messages += 1;
        if self.verdict != Verdict::Keep || !core.wants.messages {
            return;
        }
        let way = direction(&self.exchange, part);
        let mut message = make(self.watches.messages, way);
        message.time = core.at;
        core.message(&self.exchange, &message);
    }
}

impl BodyMessages {
    /// Messages that are counted and not listed.
    #[must_use]
    pub fn unlisted(&self) -> u64 {
        self.count.saturating_sub(self.listed.len() as u64)
    }
}
