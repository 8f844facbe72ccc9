//! WebSockets that were there before the connection was joined.

use super::support::{Rig, info};
use crate::engine::Config;
use crate::event::Direction::{self, Receive, Send};
use crate::exchange::Role;

/// The masked `Hello` of RFC 6455 5.7.
const HELLO: &[u8] = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
const OLLEH: &[u8] = b"\x81\x85\x91\x02\xf0\x07\xfe\x6e\x9c\x62\xd9";

fn joined() -> Rig {
    Rig::with(Config::default(), info(1, false))
}

fn messages(rig: &Rig) -> Vec<String> {
    rig.out.borrow().told.clone()
}

#[test]
fn an_echo_is_recognised_and_read() {
    let mut rig = joined();
    rig.send(HELLO);
    rig.receive(b"\x81\x05Hello");
    assert!(messages(&rig).is_empty());
    rig.wait(10);
    rig.send(OLLEH);
    rig.receive(b"\x81\x05olleH");
    rig.receive(b"\x89\x00");
    // The first of each direction only vouches for the others.
    assert_eq!(
        messages(&rig),
        [
            "1.1",
            "1 Send text complete olleH",
            "2 Receive text complete olleH",
            "3 Receive ping complete ",
        ]
    );
    rig.close(false);
    rig.finish();
    assert_eq!(rig.lines(), ["- | - | complete websocket [22, 16]"]);
    let exchange = &rig.out.borrow().exchanges[0];
    assert_eq!(exchange.role, Role::Client);
    assert_eq!(exchange.messages, Some([1, 2]));
    assert_eq!(
        exchange.notes,
        [
            "joined in mid-connection",
            "request not seen",
            "WebSocket frames not found"
        ]
    );
    assert_eq!(rig.wire(Send), [HELLO, OLLEH].concat());
    assert_eq!(rig.wire(Receive), b"\x81\x05Hello\x81\x05olleH\x89\x00");
}

/// A frame as the client (masked) or the server sends it.
fn frame(first: u8, masked: bool, payload: &[u8], number: u32) -> Vec<u8> {
    let bit = if masked { 0x80 } else { 0 };
    let mut frame = vec![first];
    match payload.len() {
        n @ 0..=125 => frame.push(bit | n as u8),
        n @ 126..=0xffff => {
            frame.push(bit | 126);
            frame.extend((n as u16).to_be_bytes());
        }
        n => {
            frame.push(bit | 127);
            frame.extend((n as u64).to_be_bytes());
        }
    }
    if masked {
        let mask = number.wrapping_mul(0x9e37_79b9) ^ 0x5bd1_e995;
        let mask = mask.to_be_bytes();
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
    } else {
        frame.extend(payload);
    }
    frame
}

/// Who sends it, first byte, payload.
type Turn = (bool, u8, Vec<u8>);

/// A chat: texts, bytes, pings, a message in fragments.
fn chat() -> Vec<Turn> {
    let mut turns = Vec::new();
    for n in 0..6u8 {
        turns.push((true, 0x81, format!("question {n}").into_bytes()));
        turns.push((false, 0x81, format!("the answer to {n}").into_bytes()));
        turns.push((true, 0x82, vec![n; 5]));
        turns.push((false, 0x89, b"alive".to_vec()));
        turns.push((true, 0x8a, b"alive".to_vec()));
        turns.push((false, 0x82, vec![0x80 + n; 200]));
    }
    turns.push((false, 0x01, b"in ".to_vec()));
    turns.push((false, 0x80, b"two".to_vec()));
    turns.push((true, 0x88, b"\x03\xe8bye".to_vec()));
    turns.push((false, 0x88, b"\x03\xe8bye".to_vec()));
    turns
}

/// Feeds what comes `skip` bytes after the beginning, each turn in pieces of
/// at most `piece` bytes.
fn feed(turns: &[Turn], client: Direction, skip: usize, piece: usize) -> Rig {
    let mut rig = joined();
    let mut skip = skip;
    for (number, (by_client, first, payload)) in turns.iter().enumerate() {
        let direction = if *by_client { client } else { client.other() };
        let frame = frame(*first, *by_client, payload, number as u32);
        let gone = skip.min(frame.len());
        skip -= gone;
        for piece in frame[gone..].chunks(piece) {
            rig.bytes(direction, piece);
        }
        rig.wait(1);
    }
    rig.close(false);
    rig.finish();
    rig
}

/// What an endpoint would say of a direction.
fn told(turns: &[Turn], by_client: bool, way: Direction) -> Vec<String> {
    let mut all = Vec::new();
    let mut begun = String::new();
    for (_, first, payload) in turns.iter().filter(|turn| turn.0 == by_client) {
        let text = String::from_utf8_lossy(payload);
        let kind = match first & 0x0f {
            0 => "text",
            1 => "text",
            2 => "binary",
            8 => "close",
            9 => "ping",
            _ => "pong",
        };
        if first & 0x80 == 0 {
            begun = text.into_owned();
        } else {
            let text = std::mem::take(&mut begun) + &text;
            all.push(format!("{way:?} {kind} complete {text}"));
        }
    }
    all
}

/// The messages of a direction that were shown, without their numbers.
fn shown(rig: &Rig, way: Direction) -> Vec<String> {
    let all = messages(rig);
    let all = all
        .iter()
        .skip(1)
        .map(|line| line.split_once(' ').unwrap().1);
    let way = format!("{way:?} ");
    all.filter(|line| line.starts_with(&way))
        .map(str::to_owned)
        .collect()
}

#[test]
fn wherever_it_is_joined_what_is_shown_is_right() {
    let turns = chat();
    let length: usize = 40 + turns.iter().map(|turn| turn.2.len() + 3).sum::<usize>();
    for (piece, client, step) in [
        (usize::MAX, Send, 2),
        (usize::MAX, Receive, 7),
        (1, Receive, 5),
        (7, Send, 5),
        (100, Receive, 7),
    ] {
        {
            for skip in (0..length / 2).step_by(step) {
                let rig = feed(&turns, client, skip, piece);
                let view = format!("{client:?} {piece} {skip}: {:?}", messages(&rig));
                assert_eq!(rig.lines().len(), 1, "{view}");
                assert_eq!(
                    rig.out.borrow().exchanges[0].role.request_direction(),
                    client
                );
                for (by_client, way) in [(true, client), (false, client.other())] {
                    let (is, should) = (shown(&rig, way), told(&turns, by_client, way));
                    assert!(is.len() >= 5 && should.ends_with(&is), "{view}");
                }
            }
        }
    }
}

#[test]
fn of_whole_frames_two_in_a_direction_are_missed_at_most() {
    let turns = chat();
    for first in 0..turns.len() - 12 {
        let rig = feed(&turns[first..], Send, 0, usize::MAX);
        for (by_client, way) in [(true, Send), (false, Receive)] {
            let (is, should) = (shown(&rig, way), told(&turns[first..], by_client, way));
            assert!(is.len() + 1 >= should.len(), "{first}: {is:?}");
        }
    }
}

#[test]
fn long_messages_are_recognised_too() {
    for size in [1000, 20_000, 70_000, 300_000] {
        let mut turns = Vec::new();
        for n in 0..15u8 {
            let payload: Vec<u8> = (0..size).map(|i| (i as u8).wrapping_mul(n)).collect();
            turns.push((true, 0x82, payload.clone()));
            turns.push((false, 0x82, payload));
        }
        let rig = feed(&turns, Receive, 0, 16384);
        assert_eq!(rig.lines().len(), 1, "{size}");
        let missed = 30 - messages(&rig).len() + 1;
        let most = if size > 256 << 10 { 8 } else { 2 };
        assert!(missed <= most, "{size}: {missed}");
    }
}

/// What is recognised where nothing is held is read from the next frame on.
#[test]
fn it_may_be_recognised_within_a_long_message() {
    let mut rig = joined();
    for n in 0..9 {
        let frame = frame(0x82, true, &vec![n; 300_000], n.into());
        frame.chunks(65_536).for_each(|piece| rig.send(piece));
        let back = super::late::frame(0x82, false, &vec![n; 300_000], 0);
        back.chunks(65_536).for_each(|piece| rig.receive(piece));
    }
    rig.send(HELLO);
    rig.finish();
    assert!(messages(&rig).len() > 8, "{:?}", messages(&rig).len());
    assert!(messages(&rig).iter().any(|m| m.ends_with("Hello")));
}

#[test]
fn texts_of_the_server_alone_are_enough() {
    let mut rig = joined();
    for text in ["price: 10", "price: 11", "price: 12"] {
        rig.send(frame(0x81, false, text.as_bytes(), 0));
    }
    rig.finish();
    assert_eq!(
        messages(&rig),
        [
            "1.1",
            "1 Send text complete price: 11",
            "2 Send text complete price: 12"
        ]
    );
    assert_eq!(rig.out.borrow().exchanges[0].role, Role::Server);
}

#[test]
fn messages_of_the_client_alone_are_enough() {
    let mut rig = joined();
    for n in 0..3 {
        rig.send(frame(0x82, true, &[n, 200], n.into()));
    }
    rig.finish();
    assert_eq!(messages(&rig).len(), 3, "{:?}", messages(&rig));
}

#[test]
fn what_nobody_wants_is_muted() {
    let mut rig = joined();
    rig.engine.core.judge = Some(|_| crate::filter::Verdict::Lacks);
    for n in 0..5 {
        rig.send(frame(0x81, true, b"a text of the client", n));
    }
    assert_eq!(rig.engine.take_muted().len(), 1);
    rig.close(false);
    rig.finish();
    assert!(messages(&rig).is_empty() && rig.lines().is_empty());
    assert_eq!(rig.engine.stats().lacking, 1);
    assert!(rig.wire(Send).is_empty());
}

#[test]
fn a_loss_before_it_is_recognised_begins_anew() {
    let mut rig = joined();
    rig.send(frame(0x81, true, b"one", 1));
    rig.lose(Send, 50);
    for (n, text) in [(2, "two"), (3, "three"), (4, "four")] {
        rig.send(frame(0x81, true, text.as_bytes(), n));
    }
    rig.finish();
    let all = messages(&rig);
    assert_eq!(
        all[1..],
        ["1 Send text complete three", "2 Send text complete four"]
    );
}

#[test]
fn without_room_nothing_is_held() {
    let config = Config {
        memory_limit: 2000,
        ..Config::default()
    };
    let mut rig = Rig::with(config, info(1, false));
    let long = frame(0x82, true, &[7; 60_000], 1);
    for piece in long.chunks(1000) {
        rig.send(piece);
        assert!(rig.engine.core.budget.used() <= 2000 + 1200);
    }
    rig.finish();
}

#[test]
fn http_is_found_after_what_looked_like_frames() {
    let mut rig = joined();
    rig.send(HELLO);
    rig.send(OLLEH);
    rig.send("GET /x HTTP/1.1\r\n\r\n");
    rig.receive("HTTP/1.1 204 No\r\n\r\n");
    rig.finish();
    assert_eq!(
        rig.lines(),
        ["GET /x > Complete  | 204 < Complete  | complete"]
    );
    assert!(messages(&rig).is_empty());
}

/// Who sends what.
type Pieces = Vec<(Direction, Vec<u8>)>;

/// What programs say to each other in other protocols, some of it made so that
/// it looks like frames as much as it can.
fn others() -> Vec<(&'static str, Pieces)> {
    let mut all = Vec::new();
    let mut add = |name, turns: Pieces| all.push((name, turns));
    let many = |ask: &dyn Fn(u8) -> Vec<u8>, answer: &dyn Fn(u8) -> Vec<u8>| {
        let both = |n| [(Send, ask(n)), (Receive, answer(n))];
        (0..100).flat_map(both).collect::<Pieces>()
    };
    let mqtt = |n: u8| [&b"\x82\x0a\x00"[..], &[n], b"\x00\x05topic\x01"].concat();
    add("MQTT subscribe", many(&mqtt, &|n| vec![0x90, 3, 0, n, 1]));
    add("MQTT ping", many(&|_| vec![0xc0, 0], &|_| vec![0xd0, 0]));
    // A topic of 128 bytes: the length has a second byte.
    let long = |n: u8| {
        [
            &b"\x82\x85\x01\x00"[..],
            &[n, 0, 128],
            &[b't'; 128],
            b"\x01",
        ]
        .concat()
    };
    add("MQTT long", many(&long, &|n| vec![0x90, 3, 0, n, 1]));
    let publish = |n: u8| [&b"\x30\x0c\x00\x05topic"[..], &[n; 5]].concat();
    add("MQTT publish", many(&publish, &|n| vec![0x40, 2, 0, n]));
    add(
        "redis",
        many(
            &|n| format!("*2\r\n$3\r\nGET\r\n$2\r\n{n:02}\r\n").into_bytes(),
            &|n| format!("$4\r\nab{n:02}\r\n").into_bytes(),
        ),
    );
    let row = b"T\x00\x00\x00\x1a\x00\x01a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x17\x00\x04\xff\xff\xff\xff\x00\x00D\x00\x00\x00\x0b\x00\x01\x00\x00\x00\x011C\x00\x00\x00\x0dSELECT 1\x00Z\x00\x00\x00\x05I";
    add(
        "postgres",
        many(&|_| b"Q\x00\x00\x00\x0dSELECT 1\x00".to_vec(), &|_| {
            row.to_vec()
        }),
    );
    add(
        "mysql",
        many(
            &|n| [&[0x82, 0x01, 0x00, 0x00, 0x03][..], &[n; 0x181]].concat(),
            &|n| [&[0x81, 0x00, 0x00, 0x01][..], &[n; 0x81]].concat(),
        ),
    );
    let get = |n: u8| {
        [
            &[0x80, 0x0a, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2, n, n, n, n][..],
            &[0; 8],
            b"ab",
        ]
        .concat()
    };
    let got = |n: u8| {
        [
            &[0x81, 0x0a, 0, 0, 4, 0, 0, 0, 0, 0, 0, 6, n, n, n, n][..],
            &[0; 8],
            b"\0\0\0\0ab",
        ]
        .concat()
    };
    add("memcached", many(&get, &got));
    add(
        "TLS",
        many(
            &|n| [&[0x17, 3, 3, 0, 90][..], &[n.wrapping_mul(37); 90]].concat(),
            &|n| [&[0x17, 3, 3, 0, 90][..], &[n.wrapping_mul(91); 90]].concat(),
        ),
    );
    // {"name": …} and {"type": …}, of fixed length.
    let pack = |n: u8| [&b"\x82\xa4name\xd9\x20"[..], &[b'a' + n % 26; 32], b"\xa1b"].concat();
    add("msgpack", many(&pack, &|n| vec![0x81, 0x01, 0x40 + n % 64]));
    let zmtp = |n: u8| [&b"\x00\x05"[..], &[n; 5]].concat();
    add(
        "ZMTP",
        many(&zmtp, &|n| [&b"\x01\x01a\x00\x02"[..], &[n; 2]].concat()),
    );
    let thrift = b"\x80\x01\x00\x01\x00\x00\x00\x04ping\x00\x00\x00\x00\x00";
    add("thrift", many(&|_| thrift.to_vec(), &|_| thrift.to_vec()));
    add(
        "amqp",
        many(&|_| b"\x08\x00\x00\x00\x00\x00\x00\xce".to_vec(), &|n| {
            [&b"\x01\x00\x01\x00\x00\x00\x05"[..], &[n; 5], b"\xce"].concat()
        }),
    );
    add("heartbeat", many(&|_| vec![0x89, 0], &|_| vec![0x8a, 0]));
    add(
        "tags",
        many(&|n| vec![0x82, 2, n, 7], &|n| vec![0x81, 2, n, 1]),
    );
    add(
        "masked tags",
        many(&|n| [&[0x82, 0x84][..], b"type", &[n; 4]].concat(), &|n| {
            [&[0x82, 0x84][..], b"type", &[n; 4]].concat()
        }),
    );
    add(
        "texts both ways",
        many(
            &|n| frame(0x81, false, format!("text number {n}").as_bytes(), 0),
            &|n| frame(0x81, false, format!("text number {n}").as_bytes(), 0),
        ),
    );
    all
}

#[test]
fn other_protocols_are_not_taken_for_it() {
    for (name, turns) in others() {
        for piece in [usize::MAX, 1, 3, 64] {
            let mut rig = joined();
            for (direction, bytes) in &turns {
                for bytes in bytes.chunks(piece) {
                    rig.bytes(*direction, bytes);
                }
            }
            rig.close(false);
            rig.finish();
            let found = (messages(&rig), rig.lines());
            assert_eq!(found, Default::default(), "{name}, {piece}");
        }
    }
}

/// Random bytes in pieces of random lengths, each of which begins as frames
/// often do.
#[test]
fn chance_is_not_taken_for_it() {
    let mut random = numbers(1);
    for _ in 0..300 {
        let mut rig = joined();
        let longest = 1 + random() % 200;
        for _ in 0..200 {
            let length = 1 + random() % longest;
            let mut bytes: Vec<u8> = (0..length).map(|_| random() as u8).collect();
            if random().is_multiple_of(2) {
                bytes[0] = [0x81, 0x82, 0x89, 0x8a, 0xc1][random() % 5];
            }
            let direction = [Send, Receive][random() % 2];
            rig.bytes(direction, &bytes);
        }
        rig.finish();
        assert!(messages(&rig).is_empty());
    }
}

/// Numbers that are the same in every run.
fn numbers(mut state: u64) -> impl FnMut() -> usize {
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as usize
    }
}

/// Joined anywhere, cut anywhere, with losses that are known and others.
#[test]
fn of_what_is_left_nothing_is_made_up() {
    let mut random = numbers(0x9e37_79b9_7f4a_7c15);
    let mut complete = 0;
    for _ in 0..150 {
        let turns: Vec<_> = (0..3).flat_map(|_| chat()).collect();
        let turns = &turns[random() % 20..];
        let longest = [4, 30, 300][random() % 3];
        let mut rig = joined();
        for (number, (by_client, first, payload)) in turns.iter().enumerate() {
            let direction = if *by_client { Receive } else { Send };
            let frame = frame(*first, *by_client, payload, number as u32);
            let mut rest = &frame[..];
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rest.len().min(1 + random() % longest));
                rest = after;
                match random() % 60 {
                    0 => rig.lose(direction, piece.len() as u64),
                    1 => rig.skip(direction, piece.len() as u64),
                    _ => rig.bytes(direction, piece),
                }
            }
            rig.wait((random() % 300) as u64);
        }
        rig.close(false);
        rig.finish();
        for (by_client, way) in [(true, Receive), (false, Send)] {
            let should = told(turns, by_client, way);
            for is in shown(&rig, way) {
                // An empty one has nothing that could be wrong.
                let whole = is.contains(" complete ") && !is.ends_with(' ');
                assert!(!whole || should.contains(&is), "{is:?}");
                complete += usize::from(whole);
            }
        }
    }
    assert!(complete > 2000, "{complete}");
}
