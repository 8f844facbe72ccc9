//! How fast the engine is without a kernel: one large body, and small
//! exchanges. `cargo bench --no-default-features --bench engine`

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

struct Feed {
    engine: Engine,
    info: ConnectionInfo,
    offsets: [u64; 2],
}

impl Feed {
    fn new(wants: Wants) -> Self {
        Self {
            engine: Engine::new(Config::default(), vec![Box::new(Null(wants))]),
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

/// A block as encoders send it once their table is filled: names and most
/// values by index, one literal.
fn block(indexed: &[u8], literal: (&[u8], &[u8])) -> Vec<u8> {
    let mut block = indexed.to_vec();
    encode_literal(literal.0, literal.1, false, &mut block);
    block
}

fn http2(name: &str, wants: Wants) {
    let settings = frame(kind::SETTINGS, 0, 0, &[]);
    let begin = |feed: &mut Feed| {
        feed.bytes(Direction::Send, &[PREFACE, &settings].concat());
        feed.bytes(Direction::Receive, &settings);
    };
    // :method GET, :scheme https, accept-encoding gzip; :status 200.
    let mut request = block(&[0x82, 0x87, 0x90], (b":path", b"/index.html"));
    for (name, value) in [
        (&b":authority"[..], &b"localhost:8443"[..]),
        (b"user-agent", b"h2load nghttp2/1.52.0"),
        (b"accept", b"*/*"),
    ] {
        encode_literal(name, value, false, &mut request);
    }
    let mut response = block(&[0x88], (b"server", b"nginx/1.22.1"));
    for (name, value) in [
        (&b"date"[..], &b"Sat, 21 Nov 2026 08:00:00 GMT"[..]),
        (b"content-type", b"text/html"),
        (b"content-length", b"1024"),
    ] {
        encode_literal(name, value, false, &mut response);
    }
    let mut feed = Feed::new(wants);
    begin(&mut feed);
    let (mut next, rounds, streams) = (1, 10_000, 100);
    let body = [b'x'; 1024];
    let start = Instant::now();
    for _ in 0..rounds {
        let ids = (next..).step_by(2).take(streams);
        next += 2 * streams as u32;
        for id in ids.clone() {
            let headers = flag::END_HEADERS | flag::END_STREAM;
            feed.bytes(
                Direction::Send,
                &frame(kind::HEADERS, headers, id, &request),
            );
        }
        for id in ids {
            let mut bytes = frame(kind::HEADERS, flag::END_HEADERS, id, &response);
            bytes.extend(frame(kind::DATA, flag::END_STREAM, id, &body));
            feed.bytes(Direction::Receive, &bytes);
        }
    }
    let count = rounds * streams as u64;
    let nanos = start.elapsed().as_nanos() as f64 / count as f64;
    assert_eq!(feed.engine.stats().shown, count);
    println!("HTTP/2, small exchange of 100 streams, {name}: {nanos:.0} ns");

    let mut feed = Feed::new(wants);
    begin(&mut feed);
    feed.bytes(
        Direction::Send,
        &frame(kind::HEADERS, flag::END_HEADERS, 1, &request),
    );
    feed.bytes(
        Direction::Receive,
        &frame(kind::HEADERS, flag::END_HEADERS, 1, &response),
    );
    let piece = frame(kind::DATA, 0, 1, &[b'x'; 16 << 10]);
    let count = 1_u32 << 20;
    let start = Instant::now();
    for _ in 0..count {
        feed.bytes(Direction::Receive, &piece);
    }
    let seconds = start.elapsed().as_secs_f64();
    let bytes = f64::from(count) * piece.len() as f64;
    println!(
        "HTTP/2, large body, {name}: {:.1} GB/s",
        bytes / 1e9 / seconds
    );
}

fn main() {
    let all = Wants {
        bodies: true,
        wire: true,
        ..Wants::default()
    };
    for (name, wants) in [("sizes only", Wants::default()), ("bodies and wire", all)] {
        let mut feed = Feed::new(wants);
        feed.bytes(Direction::Send, b"GET /1 HTTP/1.1\r\n\r\n");
        let size: u64 = 16 << 30;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
        feed.bytes(Direction::Receive, head.as_bytes());
        let piece = vec![b'x'; 16 << 10];
        let start = Instant::now();
        for _ in 0..size / piece.len() as u64 {
            feed.bytes(Direction::Receive, &piece);
        }
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "large body, {name}: {:.1} GB/s",
            size as f64 / 1e9 / seconds
        );

        let mut chunked = Vec::new();
        for _ in 0..256 {
            chunked.extend_from_slice(b"1000\r\n");
            chunked.resize(chunked.len() + 4096, b'x');
            chunked.extend_from_slice(b"\r\n");
        }
        let mut feed = Feed::new(wants);
        feed.bytes(Direction::Send, b"GET /1 HTTP/1.1\r\n\r\n");
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        feed.bytes(Direction::Receive, head);
        let start = Instant::now();
        for _ in 0..2000 {
            for piece in chunked.chunks(16 << 10) {
                feed.bytes(Direction::Receive, piece);
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        let bytes = 2000.0 * chunked.len() as f64;
        println!("chunked body, {name}: {:.1} GB/s", bytes / 1e9 / seconds);

        let mut feed = Feed::new(wants);
        let request = b"GET /index.html HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: wrk\r\nAccept: */*\r\n\r\n";
        let response = b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 08:00:00 GMT\r\nContent-Type: text/html\r\nContent-Length: 35\r\nConnection: keep-alive\r\nETag: \"1234-5678\"\r\nAccept-Ranges: bytes\r\n\r\n01234567890123456789012345678901234";
        let count = 1_000_000;
        let start = Instant::now();
        for _ in 0..count {
            feed.bytes(Direction::Send, request);
            feed.bytes(Direction::Receive, response);
        }
        let nanos = start.elapsed().as_nanos() as f64 / f64::from(count);
        assert_eq!(feed.engine.stats().shown, u64::from(count as u32));
        println!("small exchange, {name}: {nanos:.0} ns");
        http2(name, wants);
    }
}
