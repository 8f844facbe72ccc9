//! What an upgrade to WebSocket gives: messages of both directions, in order,
//! numbered, with their losses.

use super::support::{Rig, info};
use crate::engine::Config;
use crate::event::Direction::Receive;
use crate::exchange::Role;

const ASK: &[u8] =
    b"GET /chat HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const GRANT: &[u8] = b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\n\r\n";
const GRANT_DEFLATE: &[u8] = b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
/// The masked `Hello` of RFC 6455 5.7.
const HELLO: &[u8] = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";

fn messages(rig: &Rig) -> Vec<String> {
    rig.out.borrow().told.clone()
}

#[test]
fn messages_come_as_they_pass() {
    let mut rig = Rig::new();
    rig.send(ASK);
    rig.receive(&GRANT[..20]);
    assert!(messages(&rig).is_empty());
    rig.receive(&GRANT[20..]);
    assert_eq!(messages(&rig), ["1.1"], "the upgrade is told at once");
    assert!(rig.engine.take_muted().is_empty());
    rig.send(HELLO);
    rig.receive(b"\x01\x03Hel\x89\x00\x80\x02lo");
    rig.send(&HELLO[..8]);
    rig.receive(b"\x88\x05\x03\xe8bye");
    assert_eq!(
        messages(&rig)[1..],
        [
            "1 Send text complete Hello",
            "2 Receive ping complete ",
            "3 Receive text complete Hello",
            "4 Receive close complete \u{3}\u{fffd}bye",
        ]
    );
    rig.close(false);
    rig.finish();
    assert_eq!(messages(&rig)[5..], ["5 Send text lost He"]);
    assert_eq!(
        rig.lines(),
        ["GET /chat > Complete  | 101 < Complete  | complete websocket [19, 18]"]
    );
    let exchange = &rig.out.borrow().exchanges[0];
    assert_eq!(exchange.messages, Some([2, 3]));
    assert_eq!(exchange.lost_bytes, 0);
    assert_eq!(rig.engine.stats().tunnel_bytes, 0);
    assert_eq!(rig.wire(Receive).len(), GRANT.len() + 18);
}

#[test]
fn the_server_is_sent_masked_messages() {
    let mut rig = Rig::new();
    rig.receive(ASK);
    // All in one piece.
    rig.send([GRANT_DEFLATE, b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"].concat());
    rig.receive(HELLO);
    rig.finish();
    assert_eq!(
        messages(&rig)[1..],
        [
            "1 Send text complete Hello",
            "2 Receive text complete Hello"
        ]
    );
    assert_eq!(rig.out.borrow().exchanges[0].role, Role::Server);
}

#[test]
fn what_the_client_sends_too_early_waits_for_the_answer() {
    let mut rig = Rig::new();
    rig.send([ASK, HELLO].concat());
    rig.wait(50);
    rig.receive(GRANT);
    assert_eq!(messages(&rig), ["1.1", "1 Send text complete Hello"]);
    rig.finish();
}

#[test]
fn a_loss_is_counted_and_what_follows_is_found() {
    let mut rig = Rig::new();
    rig.send(ASK);
    rig.receive(GRANT);
    rig.receive(b"\x81\x05He");
    rig.lose(Receive, 2);
    rig.receive(b"o\x81\x02ok");
    rig.lose(Receive, 1000);
    for text in [
        &b"rest of a frame"[..],
        b"\x81\x01a",
        b"\x81\x01b",
        b"\x81\x01c",
    ] {
        rig.receive(text);
    }
    rig.finish();
    assert_eq!(
        messages(&rig)[1..],
        [
            "1 Receive text lost He",
            "2 Receive text complete ok",
            // The frame of "a" only shows that those after it are frames.
            "3 Receive text complete b",
            "4 Receive text complete c",
        ]
    );
    let exchange = &rig.out.borrow().exchanges[0];
    assert_eq!(exchange.lost_bytes, 1002 + 15 + 3);
    assert_eq!(rig.engine.stats().lost_bytes(), 1002 + 15 + 3);
    assert_eq!(exchange.notes, ["WebSocket frames not found"]);
}

#[test]
fn without_room_nothing_is_kept_and_all_is_counted() {
    let config = Config {
        memory_limit: 4000,
        ..Config::default()
    };
    let mut rig = Rig::with(config, info(1, true));
    rig.send(ASK);
    rig.receive(GRANT_DEFLATE);
    let long = [&b"\x82\x7e\x40\x00"[..], &[b'x'; 0x4000]].concat();
    rig.receive(long);
    // There is no room for the window.
    rig.receive(b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00");
    rig.receive(b"\x81\x02ok");
    rig.finish();
    let all = messages(&rig);
    assert!(all[1].starts_with("1 Receive binary cut xx"), "{all:?}");
    assert!(all[1].len() < 4100);
    assert_eq!(
        all[2..],
        ["2 Receive text undecodable ", "3 Receive text complete ok"]
    );
}

#[test]
fn what_the_filter_drops_has_no_messages_and_is_muted() {
    let mut rig = Rig::new();
    rig.engine.core.judge = Some(|_| crate::filter::Verdict::Drop);
    rig.send(ASK);
    rig.receive(GRANT);
    assert_eq!(rig.engine.take_muted().len(), 1);
    rig.send(HELLO);
    rig.finish();
    assert!(messages(&rig).is_empty());
}

#[test]
fn joined_at_the_answer_the_direction_of_the_requests_is_known() {
    let mut rig = Rig::with(Config::default(), info(1, false));
    rig.receive(GRANT);
    rig.wait(300);
    rig.receive(b"\x81\x02ok");
    rig.send(HELLO);
    rig.finish();
    assert_eq!(
        messages(&rig)[1..],
        ["1 Receive text complete ok", "2 Send text complete Hello"]
    );
}
