//! How fast the engine is without a kernel: one large body, and small
//! exchanges. `cargo bench --no-default-features --bench engine`

use std::io;
use std::time::Instant;

use httpsniff::engine::{Config, Engine};
use httpsniff::event::{
    Action, ConnectionInfo, ConnectionKey, Data, Direction, Event, MissingReason, Source, Timestamp,
};
use httpsniff::exchange::Exchange;
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
    }
}
