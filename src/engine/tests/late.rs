//! WebSockets that were there before the connection was joined.

use super::support::{Rig, info};
use crate::engine::Config;
use crate::event::Direction::{Receive, Send};
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
