//! Captures of other programs: their connections come out as events.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

use std::collections::BTreeMap;

use httpsniff::event::{Action, Direction, MissingReason};
use httpsniff::read::{Item, ReadError, Summary, read};

/// What a capture holds.
#[derive(Debug, Default)]
struct Found {
    /// By connection and direction: bytes by offset, the first of each kept.
    bytes: BTreeMap<(u64, usize), BTreeMap<u64, u8>>,
    missing: u64,
    ends: usize,
    closes: usize,
    resets: usize,
    ticks: usize,
    guesses: usize,
    from_start: usize,
    pids: Vec<u32>,
    peers: Vec<String>,
    last: u64,
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn run(bytes: &[u8]) -> (Found, Summary) {
    let mut found = Found::default();
    let summary = read(bytes, &mut |item| {
        let event = match item {
            Item::Event(event) => event,
            Item::Tick(_) => {
                found.ticks += 1;
                return Ok(true);
            }
        };
        found.last = event.time.0;
        match event.action {
            Action::Open => {
                found.guesses += usize::from(event.connection.perspective_unknown);
                found.from_start += usize::from(event.connection.from_start);
                found
                    .peers
                    .push(event.connection.peer.as_ref().unwrap().to_string());
                found.pids.extend(event.process.map(|p| p.pid));
            }
            Action::Data(data) => {
                assert!(data.missing == 0 || data.reason == MissingReason::CaptureFile);
                found.missing += data.missing;
                let key = (event.connection.key.object, data.direction.index());
                let stream = found.bytes.entry(key).or_default();
                for (i, byte) in data.bytes.iter().enumerate() {
                    stream.entry(data.offset + i as u64).or_insert(*byte);
                }
            }
            Action::End { .. } => found.ends += 1,
            Action::Counted { .. } | Action::Read => panic!("a file has neither"),
            Action::Close { reset } => {
                found.closes += 1;
                found.resets += usize::from(reset);
            }
        }
        Ok(true)
    })
    .unwrap();
    (found, summary)
}

impl Found {
    fn text(&self, connection: u64, direction: Direction) -> String {
        let stream = &self.bytes[&(connection, direction.index())];
        let first = *stream.keys().next().unwrap();
        assert_eq!(
            *stream.keys().last().unwrap() - first + 1,
            stream.len() as u64,
            "no hole"
        );
        String::from_utf8_lossy(&stream.values().copied().collect::<Vec<u8>>()).into_owned()
    }
}

fn check(bytes: &[u8]) {
    let (found, summary) = run(bytes);
    assert!(!summary.truncated);
    assert_eq!(summary.notes(), [""; 0]);
    assert_eq!((found.closes, found.resets, found.ends), (3, 0, 6));
    assert_eq!((found.guesses, found.from_start), (3, 3));
    assert_eq!(
        found.peers,
        ["127.0.0.1:18080", "127.0.0.1:18080", "[::1]:18081"]
    );
    let sent = found.text(1, Direction::Send);
    assert!(sent.starts_with("POST /a HTTP/1.1\r\n") && sent.contains("POST /b HTTP/1.1\r\n"));
    assert_eq!(
        found
            .text(1, Direction::Receive)
            .matches("HTTP/1.1 204")
            .count(),
        2
    );
    assert!(
        found
            .text(2, Direction::Send)
            .starts_with("GET /get HTTP/1.1\r\n")
    );
    assert!(
        found
            .text(2, Direction::Receive)
            .ends_with("hello /get\nhello /get\nhello /get\n")
    );
    assert!(found.text(3, Direction::Receive).ends_with("hello /six\n"));
    let year_2026 = 1_767_225_600_000_000_000;
    assert!(found.last > year_2026, "{}", found.last);
}

#[test]
fn every_form_that_tcpdump_and_tshark_write() {
    for name in [
        "ethernet.pcap",
        "nanoseconds.pcap",
        "cooked1.pcap",
        "cooked2.pcap",
        "ethernet.pcapng",
    ] {
        println!("{name}");
        check(&fixture(name));
    }
}

/// The packets of a classic little-endian capture: header and bytes.
fn packets(bytes: &[u8]) -> Vec<([u8; 16], Vec<u8>)> {
    let mut rest = &bytes[24..];
    let mut packets = Vec::new();
    while rest.len() >= 16 {
        let head: [u8; 16] = rest[..16].try_into().unwrap();
        let length = u32::from_le_bytes(head[8..12].try_into().unwrap()) as usize;
        packets.push((head, rest[16..16 + length].to_vec()));
        rest = &rest[16 + length..];
    }
    packets
}

/// A classic capture of the same packets under another link type.
fn rewrite(link: u32, big: bool, change: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let number = |n: u32| {
        if big {
            n.to_be_bytes()
        } else {
            n.to_le_bytes()
        }
    };
    let short = |n: u16| {
        if big {
            n.to_be_bytes()
        } else {
            n.to_le_bytes()
        }
    };
    let mut out = Vec::new();
    out.extend(number(0xa1b2_c3d4));
    out.extend(short(2));
    out.extend(short(4));
    out.extend([0; 8]);
    out.extend(number(262_144));
    out.extend(number(link));
    for (head, packet) in packets(&fixture("ethernet.pcap")) {
        let packet = change(&packet);
        let field = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
        out.extend(number(field(0)));
        out.extend(number(field(4)));
        out.extend(number(packet.len() as u32));
        out.extend(number(packet.len() as u32));
        out.extend(packet);
    }
    out
}

#[test]
fn both_byte_orders_and_every_link_type() {
    check(&rewrite(1, true, <[u8]>::to_vec));
    for link in [12, 14, 101, 228, 229] {
        check(&rewrite(link, false, |p| p[14..].to_vec()));
    }
    for (link, family) in [(0, [2, 0, 0, 0]), (108, [0, 0, 0, 2])] {
        check(&rewrite(link, false, |p| [&family, &p[14..]].concat()));
    }
    // 802.1Q, and QinQ.
    check(&rewrite(1, false, |p| {
        [&p[..12], &[0x81, 0, 0, 5], &p[12..]].concat()
    }));
    check(&rewrite(1, false, |p| {
        [&p[..12], &[0x88, 0xa8, 0, 7, 0x81, 0, 0, 5], &p[12..]].concat()
    }));
}

#[test]
fn out_of_order_repeated_and_overlapping_segments_are_the_same_bytes() {
    let original = fixture("ethernet.pcap");
    let mut all = packets(&original);
    // Each pair of neighbours changes places within the middle of the first
    // connection, and every packet comes twice.
    for i in (4..10).step_by(2) {
        all.swap(i, i + 1);
    }
    let mut out = original[..24].to_vec();
    for (head, packet) in &all {
        for _ in 0..2 {
            out.extend(head);
            out.extend(packet);
        }
    }
    let (plain, _) = run(&original);
    let (twice, _) = run(&out);
    for connection in 1..=3 {
        for direction in [Direction::Send, Direction::Receive] {
            assert_eq!(
                twice.text(connection, direction),
                plain.text(connection, direction)
            );
        }
    }
}

#[test]
fn what_a_snap_length_cuts_is_missing() {
    let (found, summary) = run(&fixture("snaplen.pcap"));
    assert!(found.missing > 100);
    assert_eq!(summary.malformed, 0);
}

#[test]
fn a_capture_that_begins_in_mid_connection() {
    let original = fixture("ethernet.pcap");
    let mut out = original[..24].to_vec();
    for (head, packet) in packets(&original).into_iter().skip(3) {
        out.extend(head);
        out.extend(packet);
    }
    let (found, _) = run(&out);
    assert_eq!(found.from_start, 2);
    assert!(found.text(1, Direction::Send).starts_with("POST /a"));
}

#[test]
fn what_is_no_capture_is_said_to_be_none() {
    let text = |bytes: &[u8]| match read(bytes, &mut |_| Ok(true)) {
        Err(error) => error.to_string(),
        Ok(summary) => panic!("{summary:?}"),
    };
    assert!(text(b"").contains("empty"));
    assert!(text(b"GET / HTTP/1.1\r\n\r\n").contains("not a pcapng or pcap file"));
    assert!(text(&[0x1f, 0x8b, 8, 0, 0]).contains("zcat"));
    let mut damaged = fixture("ethernet.pcapng");
    let last = damaged.len() - 200;
    damaged[last..].fill(0xff);
    assert!(
        text(&damaged).contains("damaged at byte"),
        "{}",
        text(&damaged)
    );
}

#[test]
fn a_handlers_error_and_its_no_end_the_reading() {
    let bytes = fixture("ethernet.pcap");
    let mut calls = 0;
    let error = read(&bytes[..], &mut |_| {
        calls += 1;
        anyhow::bail!("full")
    });
    assert!(matches!(error, Err(ReadError::Handler(e)) if e.to_string() == "full"));
    assert_eq!(calls, 1);
    calls = 0;
    read(&bytes[..], &mut |_| {
        calls += 1;
        Ok(calls < 5)
    })
    .unwrap();
    assert_eq!(calls, 5);
}
