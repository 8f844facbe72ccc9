//! Claims about any input: no bytes make the reader panic, no calls make the
//! writer's file unreadable, and what two views saw comes back.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod pcapng_support;

use httpsniff::event::{Direction, MissingReason, Source};
use httpsniff::output::Content;
use pcapng_support::*;
use proptest::prelude::*;

fn read_any(bytes: &[u8]) {
    let mut events = 0_u64;
    let _ = httpsniff::read::read(bytes, &mut |_| {
        events += 1;
        Ok(true)
    });
}

/// A file with both kinds of notes in it.
fn sample() -> Vec<u8> {
    let mut run = Run::new();
    let mut client = View::new(
        1,
        Source::Tcp,
        "127.0.0.1:50000",
        "127.0.0.1:80",
        Some(curl()),
    );
    let mut server = View::new(
        2,
        Source::Tcp,
        "127.0.0.1:80",
        "127.0.0.1:50000",
        Some(nginx()),
    );
    client.send(&mut run, &get("/"));
    server.receive(&mut run, &get("/"));
    server.send(&mut run, &ok(b"hello"));
    client.receive(&mut run, &ok(b"hello"));
    client.gap(&mut run, Direction::Send, 100);
    client.close(&mut run);
    run.finish()
}

/// One call of the engine, in small numbers.
#[derive(Clone, Debug)]
struct Call {
    view: usize,
    receive: bool,
    kind: u8,
    length: u16,
    pause: u32,
}

fn call() -> impl Strategy<Value = Call> {
    (
        0..6_usize,
        any::<bool>(),
        0..20_u8,
        0..2000_u16,
        0..80_000_000_u32,
    )
        .prop_map(|(view, receive, kind, length, pause)| Call {
            view,
            receive,
            kind,
            length,
            pause,
        })
}

fn views() -> Vec<View> {
    let (a, b) = ("127.0.0.1:50000", "127.0.0.1:80");
    vec![
        View::new(1, Source::Tcp, a, b, Some(curl())),
        View::new(2, Source::Tcp, b, a, Some(nginx())),
        View::new(3, Source::OpenSsl, a, b, None),
        View::new(4, Source::Tcp, a, b, Some(curl())).with(|i| i.namespace = 7),
        View::new(5, Source::Tcp, "", "unix:/x", Some(nginx())),
        View::new(6, Source::Tcp, a, b, Some(curl())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_the_reader_panic(
        magic in 0..6_usize,
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        let heads: [&[u8]; 6] = [
            b"",
            b"\x0a\x0d\x0d\x0a\x1c\0\0\0\x4d\x3c\x2b\x1a\x01\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\x1c\0\0\0",
            b"\x0a\x0d\x0d\x0a\0\0\0\x1c\x1a\x2b\x3c\x4d\0\x01\0\0\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\x1c",
            b"\xd4\xc3\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0\xff\xff\0\0\x65\0\0\0",
            b"\xa1\xb2\xc3\xd4\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\xff\xff\0\0\0\x01",
            b"\x4d\x3c\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0\xff\xff\0\0\x14\x01\0\0",
        ];
        read_any(&[heads[magic], &bytes].concat());
    }

    #[test]
    fn no_damage_makes_the_reader_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        ours in any::<bool>(),
    ) {
        let mut bytes = if ours {
            sample()
        } else {
            std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/cooked2.pcap")).unwrap()
        };
        for (at, value) in changes {
            let length = bytes.len();
            bytes[at.index(length)] = value;
        }
        read_any(&bytes);
    }

    #[test]
    fn any_calls_give_a_file_that_pcap_file_reads(calls in proptest::collection::vec(call(), 0..60)) {
        let mut run = Run::new();
        let mut views = views();
        let bytes = noise(2000);
        for call in calls {
            run.now += u64::from(call.pause);
            let direction = if call.receive { Direction::Receive } else { Direction::Send };
            let content = match call.kind {
                0 => Content::Gap { length: 1 + (u64::from(call.length) << 16), reason: MissingReason::RingFull },
                1 => Content::Gap { length: 1 + u64::from(call.length), reason: MissingReason::NoBuffer },
                2 => Content::End { synthetic: call.length % 2 == 0 },
                3 if call.length < 100 => Content::Reset,
                4 => {
                    run.tick();
                    continue;
                }
                _ => Content::Bytes(&bytes[..usize::from(call.length).max(1)]),
            };
            let time = run.now - u64::from(call.pause % 7_000);
            views[call.view].put_at(&mut run, time, direction, content);
        }
        let file = run.finish();
        let mut reader = pcap_file::pcapng::PcapNgReader::new(&file[..]).unwrap();
        while let Some(block) = reader.next_block() {
            prop_assert!(block.is_ok());
        }
        // And our own reads it whole.
        let summary = httpsniff::read::read(&file[..], &mut |_| Ok(true)).unwrap();
        prop_assert!(!summary.truncated);
        prop_assert_eq!(summary.packets, summary.segments);
    }

    #[test]
    fn two_views_come_back_however_they_are_cut_and_delayed(
        exchanges in proptest::collection::vec((1..3000_usize, 1..100_000_usize), 1..4),
        cuts in proptest::collection::vec(1..40_000_usize, 1..8),
        delays in proptest::collection::vec(0..70_000_000_u64, 1..8),
        first in proptest::collection::vec(any::<bool>(), 1..8),
        tls in any::<bool>(),
    ) {
        let mut run = Run::new();
        let source = if tls { Source::OpenSsl } else { Source::Tcp };
        let mut client = View::new(1, source, "127.0.0.1:50000", "127.0.0.1:80", Some(curl()));
        let mut server = View::new(2, source, "127.0.0.1:80", "127.0.0.1:50000", Some(nginx()));
        let mut turn = 0;
        let bytes = noise(110_000);
        for (request, response) in exchanges {
            for (from_client, length) in [(true, request), (false, response)] {
                let (sender, receiver) = if from_client {
                    (&mut client, &mut server)
                } else {
                    (&mut server, &mut client)
                };
                let mut left = &bytes[..length];
                while !left.is_empty() {
                    turn += 1;
                    let (now, rest) = left.split_at(left.len().min(cuts[turn % cuts.len()]));
                    left = rest;
                    let sent = run.now + 10;
                    run.now += 1000;
                    let received = run.now;
                    if first[turn % first.len()] {
                        // Its record comes first, and close by.
                        receiver.put_at(&mut run, received, Direction::Receive, Content::Bytes(now));
                        sender.put_at(&mut run, sent, Direction::Send, Content::Bytes(now));
                    } else {
                        sender.put_at(&mut run, sent, Direction::Send, Content::Bytes(now));
                        run.now += delays[turn % delays.len()];
                        let at = now.len() / 2;
                        for part in [&now[..at], &now[at..]] {
                            if !part.is_empty() {
                                receiver.receive(&mut run, part);
                            }
                        }
                    }
                }
            }
        }
        client.end(&mut run, Direction::Send, false);
        server.end(&mut run, Direction::Receive, false);
        let log = run.log.clone();
        let (read, _) = read_back(&run.finish());
        prop_assert_eq!(log, read);
    }
}
