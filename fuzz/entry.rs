//! What the fuzz targets run. `tests/fuzz` runs it too, without a fuzzer: on
//! random bytes, and on `fuzz/corpus`.
//!
//! Nothing may panic, the offsets of the wire only rise, and the counts agree
//! with what came out.
#![allow(dead_code, unused_imports, unreachable_pub, clippy::expect_used)]

#[path = "h2.rs"]
mod h2;
#[path = "hpack.rs"]
mod hpack;
#[path = "outputs.rs"]
mod outputs;

pub use h2::h2;
pub use hpack::hpack;
pub use outputs::outputs;

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use httpsniff::content::coding::{self, Decoder, Outcome};
use httpsniff::content::grpc::{GrpcEvent, GrpcForm, GrpcFrames};
use httpsniff::content::media::MediaType;
use httpsniff::content::sse::SseParser;
use httpsniff::content::{charset, json_pretty, multipart};
use httpsniff::engine::{Config, Engine};
use httpsniff::event::{
    Action, ConnectionInfo, ConnectionKey, Data, Direction, Event, MissingReason, Source, Timestamp,
};
use httpsniff::exchange::{BodyState, Exchange, State, Upgrade};
use httpsniff::http::chunked::{Chunked, Step};
use httpsniff::http::websocket::{self, Deflate, Sender};
use httpsniff::output::{Content, Sink, Wants, Wire};
use httpsniff::process::Process;
use httpsniff::redact::Redact;
use httpsniff::tls_hello::{self, Progress};

/// Pieces that make a conversation out of random choices more often than
/// random bytes do.
const PIECES: &[&[u8]] = &[
    b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\n",
    b"HEAD /2 HTTP/1.1\r\n\r\n",
    b"POST /3 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
    b"PUT /4 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"PUT /5 HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n",
    b"CONNECT h:443 HTTP/1.1\r\n\r\n",
    b"GET /6 HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\n",
    b"HTTP/1.1 204 No\r\n\r\n",
    b"3\r\nabc\r\n",
    b"ffffffffffffffff\r\nx",
    b"0\r\n\r\n",
    b"0\r\nT: 1\r\nCookie: a=b\r\n\r\n",
    b"\r\n",
    b"\n",
    b"GET /7?token=secret HTTP/1.1\r\nAuthorization: Basic eDp5\r\n folded\r\n\r\n",
    b"\x16\x03\x01\x00\x05hello",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"HTTP/1.1 ",
    b"GET ",
];

/// Frames of a WebSocket: of a client, then of a server.
const FRAMES: &[&[u8]] = &[
    b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
    b"\x81\x84\x91\x02\xf0\x07\xf5\x6d\x9e\x62",
    b"\x8a\x80\x01\x80\x02\x03",
    b"\xc1\x81\x99\x01\x02\x03\x99",
    b"\x81\x12a text of a server",
    b"\x89\x00",
    b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00",
    b"\x82\x7f\0\0\0\0\0\x08\0\0",
    b"\x01\x03Hel",
    b"\x88\x02\x03\xe8",
];

/// Checks what comes out.
#[derive(Default)]
struct Checked {
    offsets: HashMap<(u64, Direction), u64>,
    exchanges: u64,
}

struct Checker(Rc<RefCell<Checked>>);

impl Sink for Checker {
    fn wants(&self) -> Wants {
        Wants {
            bodies: true,
            wire: true,
            requests: true,
            pending: true,
            messages: true,
        }
    }

    fn request(&mut self, exchange: &Exchange) -> io::Result<()> {
        assert!(exchange.request.is_some() && exchange.response.is_none());
        Ok(())
    }

    fn exchange(&mut self, exchange: &Exchange) -> io::Result<()> {
        self.0.borrow_mut().exchanges += 1;
        let request = exchange.request.as_ref().map(|r| &r.body);
        let response = exchange.response.as_ref().map(|r| &r.body);
        // A WebSocket that was there before is complete without either.
        let joined = exchange.request.is_none() && exchange.upgraded_to == Some(Upgrade::WebSocket);
        assert!(exchange.state != State::Complete || response.is_some() || joined);
        for body in request.into_iter().chain(response) {
            let size = body.encoded_size;
            assert!(body.bytes.len() as u64 <= size);
            let whole = body.bytes.len() as u64 == size && body.missing.is_empty();
            assert!(body.state != BodyState::Complete || whole);
            assert!(body.missing.windows(2).all(|w| w[0].offset <= w[1].offset));
        }
        Ok(())
    }

    fn wire(&mut self, wire: &Wire<'_>) -> io::Result<()> {
        let length = match wire.content {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Gap { length, .. } => length,
            Content::End { .. } | Content::Reset => 0,
        };
        let key = (wire.connection, wire.direction);
        let next = wire.offset.wrapping_add(length);
        if let Some(before) = self.0.borrow_mut().offsets.insert(key, next) {
            assert!(
                wire.offset.wrapping_sub(before) as i64 >= 0,
                "offsets only rise: {before} {wire:?}"
            );
        }
        Ok(())
    }
}

struct Rig {
    engine: Engine,
    checked: Rc<RefCell<Checked>>,
    process: Arc<Process>,
    now: u64,
}

impl Rig {
    fn new(config: Config) -> Self {
        let checked = Rc::new(RefCell::new(Checked::default()));
        Self {
            engine: Engine::new(config, vec![Box::new(Checker(checked.clone()))]),
            checked,
            process: Arc::new(Process {
                pid: 1,
                ..Process::default()
            }),
            now: 1_000_000_000,
        }
    }

    fn act(&mut self, connection: &ConnectionInfo, action: Action<'_>) {
        let event = Event {
            time: Timestamp(self.now),
            process: Some(&self.process),
            tid: 1,
            thread: b"main",
            connection,
            action,
        };
        self.engine.event(&event).expect("the sink does not fail");
    }

    fn finish(mut self) {
        let now = Timestamp(self.now);
        self.engine.finish(now).expect("the sink does not fail");
        let stats = self.engine.stats();
        assert_eq!(stats.shown, self.checked.borrow().exchanges);
        let counted = stats.shown + stats.filtered + stats.lacking;
        assert!(stats.seen == counted || self.engine.is_done());
    }
}

fn info(object: u64, flags: u8) -> ConnectionInfo {
    ConnectionInfo {
        key: ConnectionKey {
            source: if flags & 1 == 0 {
                Source::Tcp
            } else {
                Source::OpenSsl
            },
            object,
            born: 0,
        },
        local: None,
        peer: None,
        namespace: 0,
        from_start: flags & 2 == 0,
        tls_library: None,
        perspective_unknown: flags & 4 != 0,
        number: None,
    }
}

/// `data` as one direction of one connection, in pieces of the size that its
/// first byte says, answered by fixed responses.
pub fn http1(data: &[u8]) {
    let Some((first, data)) = data.split_first() else {
        return;
    };
    let mut rig = Rig::new(Config::default());
    let connection = info(1, first >> 5);
    let size = usize::from(first & 31).max(1);
    let mut offset = 0;
    for bytes in data.chunks(if size == 31 { usize::MAX } else { size }) {
        rig.act(
            &connection,
            Action::Data(Data {
                direction: Direction::Receive,
                offset,
                bytes,
                missing: 0,
                reason: MissingReason::NotSeen,
            }),
        );
        offset += bytes.len() as u64;
    }
    rig.act(&connection, Action::Close { reset: false });
    rig.finish();
}

/// `data` as a chunked body, in pieces, and with some of its data missing: how
/// it was cut does not matter, and what is missing is made up for.
pub fn chunked(data: &[u8]) {
    let Some((first, data)) = data.split_first() else {
        return;
    };
    // Its length, the body that was there, the trailer section, and whether all
    // of it was right.
    let read = |size: usize, holes: bool| {
        let mut chunked = Chunked::default();
        let (mut length, mut body, mut trailer) = (0_u64, Vec::new(), Vec::new());
        let mut rest = data;
        while !rest.is_empty() {
            if let Some(left) = chunked.in_data().filter(|_| holes) {
                let n = left.min(rest.len() as u64);
                chunked.skip(n);
                length += n;
                rest = rest.get(n as usize..).unwrap_or_default();
                continue;
            }
            let piece = rest.get(..size).unwrap_or(rest);
            let part = match chunked.step(piece) {
                Ok(Step::Framing(n)) => n,
                Ok(Step::Data(n)) => {
                    assert!(n > 0 && n <= piece.len());
                    length += n as u64;
                    body.extend_from_slice(piece.get(..n).expect("it is there"));
                    n
                }
                Ok(Step::Trailer(n)) => {
                    trailer.extend_from_slice(piece.get(..n).expect("it is there"));
                    n
                }
                Ok(Step::End(n)) => {
                    trailer.extend_from_slice(piece.get(..n).expect("it is there"));
                    let left = rest.len() - n;
                    return (length, body, trailer, Some(left));
                }
                Err(_) => return (length, body, trailer, Some(usize::MAX)),
            };
            assert!(part > 0 && part <= piece.len());
            rest = rest.get(part..).expect("it is there");
        }
        (length, body, trailer, None)
    };
    let whole = read(usize::MAX, false);
    let size = usize::from(*first).max(1);
    assert_eq!(whole, read(size, false));
    let (length, _, trailer, end) = read(size, true);
    assert_eq!((whole.0, whole.2, whole.3), (length, trailer, end));
}

/// `data` as the beginning of a direction with TLS: whatever its lengths say,
/// what is asked for comes nearer, and the end settles it.
pub fn hello(data: &[u8]) {
    match tls_hello::read(data) {
        Progress::More(needed) => assert!(needed > data.len() && data.len() < tls_hello::LIMIT),
        done => {
            let mut longer = data.to_vec();
            longer.push(0);
            assert!(data.len() >= tls_hello::LIMIT || done == tls_hello::read(&longer));
        }
    }
    let _settled = tls_hello::read_cut(data);
}

/// One direction of a WebSocket in pieces, with holes between some of them: what
/// comes out is no more than is kept, what is held is bounded, and every byte
/// is in a message, in a header or counted.
pub fn websocket(data: &[u8]) {
    const KEEP: u64 = 1000;
    let Some(([flags, size, hole], data)) = data.split_first_chunk::<3>() else {
        return;
    };
    let deflate = (flags & 2 != 0).then_some(Deflate {
        client_alone: flags & 4 != 0,
        server_alone: flags & 4 != 0,
    });
    let sender = if flags & 1 == 0 {
        Sender::Server
    } else {
        Sender::Client
    };
    let mut parser = if flags & 8 == 0 {
        websocket::Parser::new(sender, deflate, KEEP)
    } else {
        let skip = (flags & 16 != 0).then_some(u64::from(flags >> 5));
        websocket::Parser::joined(sender, skip, KEEP)
    };
    let mut seen = 0;
    let mut read = |parser: &mut websocket::Parser, mut bytes: &[u8]| {
        while let Some(message) = parser.next(&mut bytes) {
            assert!(message.data.len() as u64 <= KEEP);
            assert!(
                message
                    .size
                    .is_none_or(|size| size >= message.data.len() as u64)
            );
            seen += message.wire_size - message.lost;
        }
        assert!(bytes.is_empty());
    };
    for (i, piece) in data.chunks(usize::from(*size).max(1)).enumerate() {
        if *hole > 0 && i % usize::from(*hole) == 1 {
            parser.lost(u64::from(*hole));
        }
        read(&mut parser, piece);
        assert!(parser.memory() < 300 << 10);
    }
    parser.finish();
    read(&mut parser, &[]);
    assert!(seen + parser.unframed() <= data.len() as u64);
}

/// `data` as instructions: which connection, direction, offset, bytes, loss,
/// end, close, time.
pub fn engine(data: &[u8]) {
    let mut input = data.iter().copied();
    let Some(flags) = input.next() else { return };
    let mut rig = Rig::new(Config {
        redact: (flags & 1 != 0).then(|| Redact::new(&[])),
        max_body: u64::from(flags >> 4) * 4,
        memory_limit: if flags & 2 != 0 { 4096 } else { 1 << 20 },
        count: (flags & 4 != 0).then_some(3),
        ..Config::default()
    });
    let mut offsets: HashMap<(u8, usize), u64> = HashMap::new();
    while let Some(op) = input.next() {
        let (what, which) = (input.next().unwrap_or(0), input.next().unwrap_or(0));
        let connection = info(u64::from(op & 3), op >> 2 & 7);
        let direction = if op & 0x80 == 0 {
            Direction::Send
        } else {
            Direction::Receive
        };
        let next = offsets
            .entry((op & 31, direction.index()))
            .or_insert(u64::from(flags).wrapping_mul(u64::MAX / 200));
        let raw = [what, which];
        let (bytes, missing, leap): (&[u8], u64, i64) = match what {
            0..=169 => {
                let piece = PIECES.get(usize::from(which) % PIECES.len()).copied();
                let piece = piece.unwrap_or_default();
                // Mostly whole, some cut.
                let len = if what < 120 {
                    piece.len()
                } else {
                    usize::from(what - 120)
                };
                (piece.get(..len).unwrap_or(piece), 0, 0)
            }
            170..=179 => (&raw, 0, 0),
            180..=189 => {
                let frame = FRAMES.get(usize::from(which) % FRAMES.len()).copied();
                (frame.unwrap_or_default(), 0, 0)
            }
            190..=199 => (b"x", u64::from(which), 0),
            200..=219 => (b"GET /8 HTTP/1.1\r\n\r\n", 0, i64::from(which) - 128),
            220 => (b"y", 0, i64::MAX / 2),
            221 => (b"", u64::MAX, 0),
            222..=229 => {
                rig.now += u64::from(which) * 2_000_000;
                let now = Timestamp(rig.now);
                rig.engine.tick(now).expect("the sink does not fail");
                continue;
            }
            230..=239 => {
                let offset = (which & 1 == 0).then(|| next.wrapping_add(u64::from(which)));
                rig.act(&connection, Action::End { direction, offset });
                continue;
            }
            240..=249 => {
                rig.act(
                    &connection,
                    Action::Close {
                        reset: which & 1 == 0,
                    },
                );
                continue;
            }
            250..=252 => {
                let now = Timestamp(rig.now);
                let ended = rig.engine.process_ended(u32::from(which & 1), now);
                ended.expect("the sink does not fail");
                continue;
            }
            253..=255 => (b"z", 0, i64::from(which)),
        };
        let offset = next.wrapping_add_signed(leap);
        *next = next.wrapping_add(bytes.len() as u64).wrapping_add(missing);
        rig.act(
            &connection,
            Action::Data(Data {
                direction,
                offset,
                bytes,
                missing,
                reason: MissingReason::RingFull,
            }),
        );
    }
    rig.finish();
}

/// Bodies: their codings, and the formats that are shown by their parts. In
/// pieces they give what they give whole, and never more than the cap.
pub fn content(data: &[u8]) {
    const CODINGS: [&[&str]; 7] = [
        &["gzip"],
        &["deflate"],
        &["br"],
        &["zstd"],
        &["gzip", "gzip"],
        &["br", "deflate"],
        &["zstd", "gzip", "identity"],
    ];
    let [which, size, cap, body @ ..] = data else {
        return;
    };
    let codings = CODINGS[usize::from(*which) % CODINGS.len()];
    let size = usize::from(*size) + 1;
    let cap = usize::from(*cap) << (which / 16);

    let whole = coding::decode(codings, body, cap).expect("known codings");
    assert!(whole.bytes.len() <= cap && whole.bytes.capacity() <= cap);
    let mut decoder = Decoder::new(codings).expect("known codings");
    let mut pieces = Vec::new();
    let mut progress = coding::Progress::More;
    for piece in body.chunks(size) {
        progress = decoder.push(piece, &mut pieces, cap);
        assert!(pieces.len() <= cap);
    }
    assert!(decoder.memory() < codings.len() * (18 << 20));
    match whole.outcome {
        // How much comes before garbage depends on the pieces.
        Outcome::Broken | Outcome::Capped => assert!(matches!(
            progress,
            coding::Progress::Broken | coding::Progress::Capped
        )),
        Outcome::Whole | Outcome::Truncated => {
            assert_eq!(whole.bytes, pieces);
            let end = progress == coding::Progress::End;
            assert!(body.is_empty() || end == (whole.outcome == Outcome::Whole));
        }
    }

    for form in [GrpcForm::Http2, GrpcForm::Web, GrpcForm::WebText] {
        let read = |size: usize| {
            let mut frames = GrpcFrames::new(form, cap);
            let mut found = Vec::new();
            let mut keep = |event: GrpcEvent<'_>| found.push(format!("{event:?}"));
            for piece in body.chunks(size) {
                frames.push(piece, &mut keep);
            }
            frames.finish(&mut keep);
            found
        };
        assert_eq!(read(size), read(usize::MAX));
    }
    let events = |size: usize| {
        let mut parser = SseParser::new();
        let mut found = Vec::new();
        for piece in body.chunks(size) {
            parser.push(piece, &mut |event| found.push(format!("{event:?}")));
        }
        found
    };
    assert_eq!(events(size), events(usize::MAX));

    let cut = which & 1 == 0;
    let label = data
        .get(..12)
        .and_then(|label| std::str::from_utf8(label).ok());
    for label in [
        label,
        Some("shift_jis"),
        Some("iso-2022-jp"),
        Some("utf-16le"),
    ] {
        let _ = charset::decode(body, label, cut);
    }
    if let Some(text) = charset::decode(body, None, cut)
        && let Some(indented) = json_pretty::indent(&text, cut)
    {
        let bare = |text: &str| text.replace([' ', '\t', '\r', '\n'], "");
        assert_eq!(bare(&indented), bare(&text));
    }
    if let Some(media) = MediaType::parse(body) {
        let _ = (media.charset(), media.boundary(), media.is_text());
    }
    if let Some((boundary, body)) = body.split_at_checked(size % 4) {
        for part in multipart::parse(body, boundary)
            .iter()
            .flat_map(|m| &m.parts)
        {
            assert!(body.get(part.range.clone()).is_some());
        }
    }
}
