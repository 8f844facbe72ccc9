//! How fast the engine is without a kernel: large bodies, and small exchanges.
//! `cargo bench --no-default-features --bench engine [-- PART-OF-A-NAME]`
//!
//! Every figure is the best of many short batches: what else the machine does
//! counts little then.

use std::io;
use std::time::Instant;

use httpsniff::engine::{Config, Engine};
use httpsniff::event::{
    Action, ConnectionInfo, ConnectionKey, Data, Direction, Event, MissingReason, Source, Timestamp,
};
use httpsniff::exchange::Exchange;
use httpsniff::http::h2::{FrameHeader, PREFACE, flag, kind};
use httpsniff::http::hpack::encode_literal;
use httpsniff::output::{Sink, Wants, Wire};
use httpsniff::redact::Redact;

/// Takes everything and keeps nothing.
struct Null(Wants);

impl Sink for Null {
    fn wants(&self) -> Wants {
        self.0
    }
    fn exchange(&mut self, exchange: &Exchange) -> io::Result<()> {
        std::hint::black_box(exchange);
        Ok(())
    }
    fn wire(&mut self, wire: &Wire<'_>) -> io::Result<()> {
        std::hint::black_box(wire);
        Ok(())
    }
}

/// What an engine is asked for.
#[derive(Clone)]
struct Setup {
    name: &'static str,
    wants: Wants,
    config: Config,
}

/// The best batch's nanoseconds for each thing that `batch` says it did.
fn best(batches: u32, mut batch: impl FnMut() -> u64) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..batches {
        let start = Instant::now();
        let count = batch();
        best = best.min(start.elapsed().as_nanos() as f64 / count as f64);
    }
    best
}

struct Feed {
    engine: Engine,
    info: ConnectionInfo,
    offsets: [u64; 2],
}

impl Feed {
    fn new(setup: &Setup) -> Self {
        Self {
            engine: Engine::new(setup.config.clone(), vec![Box::new(Null(setup.wants))]),
            info: ConnectionInfo {
                from_start: true,
                ..ConnectionInfo::new(ConnectionKey {
                    source: Source::Tcp,
                    object: 1,
                    born: 1,
                })
            },
            offsets: [0; 2],
        }
    }

    fn bytes(&mut self, direction: Direction, bytes: &[u8]) {
        let Some(offset) = self.offsets.get_mut(direction.index()) else {
            return;
        };
        let event = Event {
            time: Timestamp(1),
            process: None,
            tid: 1,
            thread: b"main",
            connection: &self.info,
            action: Action::Data(Data {
                direction,
                offset: *offset,
                bytes,
                missing: 0,
                reason: MissingReason::NotSeen,
            }),
        };
        *offset += bytes.len() as u64;
        let _ = self.engine.event(&event);
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        length: u32::try_from(payload.len()).unwrap_or(0),
        kind,
        flags,
        stream,
    };
    [&header.encode()[..], payload].concat()
}

/// Changes the stream of a frame.
fn set_stream(frame: &mut [u8], stream: u32) {
    if let Some(place) = frame.get_mut(5..9) {
        place.copy_from_slice(&stream.to_be_bytes());
    }
}

/// A block as encoders send it once their table is filled: names and most
/// values by index, one literal.
fn block(indexed: &[u8], literals: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = indexed.to_vec();
    for (name, value) in literals {
        encode_literal(name, value, false, &mut block);
    }
    block
}

/// A request and the head of its response: the same as in HTTP/1.1 below.
fn heads() -> (Vec<u8>, Vec<u8>) {
    // :method GET, :scheme https, accept-encoding gzip; :status 200.
    let request = block(
        &[0x82, 0x87, 0x90],
        &[
            (b":path", b"/index.html"),
            (b":authority", b"localhost:8443"),
            (b"user-agent", b"h2load nghttp2/1.52.0"),
            (b"accept", b"*/*"),
        ],
    );
    let response = block(
        &[0x88],
        &[
            (b"server", b"nginx/1.22.1"),
            (b"date", b"Sat, 21 Nov 2026 08:00:00 GMT"),
            (b"content-type", b"text/html"),
            (b"content-length", b"1024"),
        ],
    );
    (request, response)
}

impl Feed {
    /// A connection of HTTP/2.
    fn http2(setup: &Setup) -> Self {
        let mut feed = Self::new(setup);
        let settings = frame(kind::SETTINGS, 0, 0, &[]);
        feed.bytes(Direction::Send, &[PREFACE, &settings].concat());
        feed.bytes(Direction::Receive, &settings);
        feed
    }
}

fn http2_exchanges(setup: &Setup) -> f64 {
    let (request, response) = heads();
    let mut feed = Feed::http2(setup);
    let (mut next, streams) = (1, 100);
    let headers = flag::END_HEADERS | flag::END_STREAM;
    let mut ask = frame(kind::HEADERS, headers, 0, &request);
    let mut answer = frame(kind::HEADERS, flag::END_HEADERS, 0, &response);
    let data = answer.len();
    answer.extend(frame(kind::DATA, flag::END_STREAM, 0, &[b'x'; 1024]));
    let nanos = best(2000, || {
        let ids = (next..).step_by(2).take(streams);
        next += 2 * streams as u32;
        for id in ids.clone() {
            set_stream(&mut ask, id);
            feed.bytes(Direction::Send, &ask);
        }
        for id in ids {
            set_stream(&mut answer, id);
            set_stream(answer.get_mut(data..).unwrap_or_default(), id);
            feed.bytes(Direction::Receive, &answer);
        }
        streams as u64
    });
    let stats = feed.engine.stats();
    assert_eq!(stats.shown + stats.filtered, 2000 * streams as u64);
    nanos
}

/// A body in frames of `size` bytes, as many of them in an event as 16 KiB
/// take.
fn http2_body(setup: &Setup, size: usize) -> f64 {
    let (request, response) = heads();
    let mut feed = Feed::http2(setup);
    let head = |block| frame(kind::HEADERS, flag::END_HEADERS, 1, block);
    feed.bytes(Direction::Send, &head(&request));
    feed.bytes(Direction::Receive, &head(&response));
    let piece = frame(kind::DATA, 0, 1, &vec![b'x'; size]).repeat((16 << 10) / size);
    best(400, || {
        for _ in 0..100 {
            feed.bytes(Direction::Receive, &piece);
        }
        100 * piece.len() as u64
    })
}

fn http1_exchanges(setup: &Setup) -> f64 {
    let mut feed = Feed::new(setup);
    let request = b"GET /index.html HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: wrk\r\nAccept: */*\r\n\r\n";
    let mut response = b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 08:00:00 GMT\r\nContent-Type: text/html\r\nContent-Length: 1024\r\n\r\n".to_vec();
    response.extend_from_slice(&[b'x'; 1024]);
    best(2000, || {
        for _ in 0..100 {
            feed.bytes(Direction::Send, request);
            feed.bytes(Direction::Receive, &response);
        }
        100
    })
}

fn http1_body(setup: &Setup) -> f64 {
    let mut feed = Feed::new(setup);
    feed.bytes(Direction::Send, b"GET /1 HTTP/1.1\r\n\r\n");
    let size: u64 = 16 << 30;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
    feed.bytes(Direction::Receive, head.as_bytes());
    let piece = vec![b'x'; 16 << 10];
    best(400, || {
        for _ in 0..100 {
            feed.bytes(Direction::Receive, &piece);
        }
        100 * piece.len() as u64
    })
}

fn http1_chunks(setup: &Setup) -> f64 {
    let mut chunked = Vec::new();
    for _ in 0..256 {
        chunked.extend_from_slice(b"1000\r\n");
        chunked.resize(chunked.len() + 4096, b'x');
        chunked.extend_from_slice(b"\r\n");
    }
    let mut feed = Feed::new(setup);
    feed.bytes(Direction::Send, b"GET /1 HTTP/1.1\r\n\r\n");
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    feed.bytes(Direction::Receive, head);
    best(400, || {
        for piece in chunked.chunks(16 << 10) {
            feed.bytes(Direction::Receive, piece);
        }
        chunked.len() as u64
    })
}

fn main() {
    let wanted = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    let wanted = |name: &str| wanted.as_ref().is_none_or(|part| name.contains(part));
    let sizes = Setup {
        name: "sizes only",
        wants: Wants::default(),
        config: Config::default(),
    };
    let all = Setup {
        name: "bodies and wire",
        wants: Wants {
            bodies: true,
            wire: true,
            ..Wants::default()
        },
        ..sizes.clone()
    };
    let mut setups = vec![sizes, all.clone()];
    let mut masked = Setup {
        name: "the same, masked",
        ..all.clone()
    };
    masked.config.redact = Some(Redact::new(&[]));
    setups.push(masked);
    let mut dropped = Setup {
        name: "the same, filtered out",
        ..all
    };
    dropped.config.filter.methods.extend("POST".parse());
    setups.push(dropped);
    for setup in &setups {
        let show = |what: &str, unit: &str, run: &dyn Fn() -> f64| {
            let name = format!("{what}, {}", setup.name);
            if wanted(&name) {
                let nanos = run();
                let (figure, unit) = match unit {
                    "GB/s" => (1.0 / nanos, "GB/s"),
                    _ => (nanos, "ns"),
                };
                println!("{name}: {figure:.1} {unit}");
            }
        };
        show("HTTP/1, exchange", "ns", &|| http1_exchanges(setup));
        show("HTTP/2, exchange", "ns", &|| http2_exchanges(setup));
        show("HTTP/1, body", "GB/s", &|| http1_body(setup));
        show("HTTP/1, body in chunks of 4 KiB", "GB/s", &|| {
            http1_chunks(setup)
        });
        show("HTTP/2, body in frames of 16 KiB", "GB/s", &|| {
            http2_body(setup, 16 << 10)
        });
        show("HTTP/2, body in frames of 256 bytes", "GB/s", &|| {
            http2_body(setup, 256)
        });
    }
}
