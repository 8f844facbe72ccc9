//! `--tls-flows`: what becomes a line, when, and what is in it.

use std::sync::Arc;

use super::support::{Rig, info};
use crate::engine::{Config, TlsFlows};
use crate::event::{Action, ConnectionInfo, ConnectionKey, Direction, Endpoint, Source};
use crate::exchange::{Role, State};
use crate::filter::Filter;
use crate::process::Process;
use crate::tls_flow::{TlsFlow, Unread};

/// The recorded bytes of a direction.
fn hello(name: &str, side: &str) -> Vec<u8> {
    let text = include_str!("../../../fixtures/hellos/hellos.txt");
    let prefix = format!("{name} {side} ");
    let hex = text.lines().find_map(|l| l.strip_prefix(&prefix)).unwrap();
    let byte = |i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap();
    (0..hex.len() / 2).map(byte).collect()
}

fn rig(tls_flows: TlsFlows, info: ConnectionInfo) -> Rig {
    let config = Config {
        tls_flows,
        ..Config::default()
    };
    let mut rig = Rig::with(config, info);
    rig.process = Some(Arc::new(Process {
        pid: 42,
        ..Process::default()
    }));
    rig
}

fn because(why: &str) -> Unread {
    Unread {
        library: Some("Java".into()),
        why: Some(why.into()),
    }
}

/// A handshake as a client sees it, in pieces.
fn handshake(rig: &mut Rig) {
    for piece in hello("java", "client").chunks(100) {
        rig.send(piece);
    }
    let answer = hello("java", "server");
    rig.receive(&answer[..5]);
    assert_eq!(rig.engine.take_muted(), [], "the rest is still wanted");
    rig.receive(&answer[5..]);
    assert_eq!(rig.engine.take_muted(), [rig.info.key]);
}

fn only(rig: &Rig) -> TlsFlow {
    let out = rig.out.borrow();
    assert_eq!(out.flows.len(), 1, "{:?}", out.flows);
    out.flows[0].clone()
}

#[test]
fn a_flow_has_its_hellos_counts_and_reason() {
    let mut rig = rig(TlsFlows::Live, info(1, true));
    handshake(&mut rig);
    rig.engine.explain(42, because("Java is not read"));
    rig.act(Action::Counted {
        sent: 1000,
        received: 5 << 32,
    });
    rig.close(false);
    assert_eq!(rig.out.borrow().flows.len(), 0, "it may yet have been read");
    rig.wait(300);
    let flow = only(&rig);
    assert_eq!(flow.role, Some(Role::Client));
    assert_eq!(flow.state, State::Complete);
    assert_eq!(flow.sni(), Some(&b"java.example"[..]));
    assert_eq!(flow.server.as_ref().unwrap().version.to_string(), "TLS 1.3");
    assert_eq!((flow.sent, flow.received), (Some(1000), Some(5 << 32)));
    assert_eq!(flow.unread, because("Java is not read"));
    assert_eq!(flow.connection, 1);
    rig.finish();
    assert_eq!(rig.engine.stats().flows, 1);
    assert_eq!(rig.engine.stats().seen, 0);
}

#[test]
fn nothing_is_kept_without_the_option() {
    let mut rig = rig(TlsFlows::No, info(1, true));
    rig.send(hello("java", "client"));
    assert_eq!(rig.engine.take_muted(), [rig.info.key]);
    rig.close(false);
    rig.finish();
    assert_eq!(rig.out.borrow().flows.len(), 0);
}

#[test]
fn a_reason_is_waited_for_but_not_for_long() {
    let mut rig = rig(TlsFlows::Live, info(1, true));
    handshake(&mut rig);
    rig.close(true);
    rig.wait(300);
    assert_eq!(rig.out.borrow().flows.len(), 0);
    rig.wait(300);
    let flow = only(&rig);
    assert_eq!(flow.unread, Unread::default());
    assert_eq!(flow.state, State::Reset);
    assert_eq!((flow.sent, flow.received), (None, None));
    rig.finish();
}

#[test]
fn a_process_that_ends_takes_its_reason_to_its_flows() {
    let mut rig = rig(TlsFlows::Live, info(1, true));
    handshake(&mut rig);
    rig.engine.explain(42, because("x"));
    let now = crate::event::Timestamp(rig.now);
    rig.engine.process_ended(42, now).unwrap();
    rig.engine
        .explain(42, because("of another process with this id"));
    rig.close(false);
    rig.finish();
    assert_eq!(only(&rig).unread, because("x"));
}

#[test]
fn what_is_read_is_no_flow_whenever_that_is_known() {
    // Before the end, after it, and after the hello was seen in part.
    for (whole, closed) in [(true, false), (true, true), (false, false)] {
        let mut rig = rig(TlsFlows::Live, info(1, true));
        if whole {
            handshake(&mut rig);
        } else {
            rig.send(&hello("java", "client")[..50]);
        }
        if closed {
            rig.close(false);
        }
        rig.act(Action::Read);
        if !closed {
            rig.close(false);
        }
        rig.wait(1000);
        rig.finish();
        assert_eq!(rig.out.borrow().flows.len(), 0);
    }
}

#[test]
fn http_before_tls_goes_on_when_the_tls_is_read() {
    let mut rig = rig(TlsFlows::Live, info(1, true));
    rig.send("CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n");
    rig.receive("HTTP/1.1 200 OK\r\n\r\n");
    rig.send(hello("java", "client"));
    rig.act(Action::Read);
    rig.close(false);
    rig.finish();
    assert_eq!(rig.lines().len(), 1);
    assert_eq!(rig.out.borrow().flows.len(), 0);
}

#[test]
fn where_an_object_has_no_socket_no_flow_of_its_process_is_sure() {
    let mut rig = rig(TlsFlows::Live, info(1, true));
    handshake(&mut rig);
    let socket = rig.info.clone();
    rig.info = ConnectionInfo::new(ConnectionKey {
        source: Source::OpenSsl,
        object: 7,
        born: 7,
    });
    rig.send("GET / HTTP/1.1\r\n\r\n");
    rig.info = socket;
    rig.close(false);
    rig.wait(1000);
    assert_eq!(rig.out.borrow().flows.len(), 0);
    assert_eq!(rig.engine.stats().unsure_flows, 1);
    rig.finish();
}

#[test]
fn a_file_is_counted_by_its_bytes_and_shown_as_the_client_sees_it() {
    let mut unknown = info(1, true);
    unknown.perspective_unknown = true;
    let mut rig = rig(TlsFlows::File, unknown);
    rig.process = None;
    let (client, server) = (hello("curl-1.2", "client"), hello("curl-1.2", "server"));
    rig.receive(&client);
    rig.send(&server);
    rig.send([23, 3, 3, 0, 1, 0]);
    // Sent once more.
    let again = rig.offsets[0] - 6;
    rig.at(Direction::Send, again, &[23, 3, 3, 0, 1, 0]);
    rig.lose(Direction::Receive, 1 << 20);
    rig.close(false);
    rig.finish();
    let flow = only(&rig);
    assert_eq!(flow.role, Some(Role::Client));
    assert_eq!(
        flow.info.peer.as_ref().and_then(Endpoint::port),
        Some(50000)
    );
    assert_eq!(flow.sent, Some(client.len() as u64 + (1 << 20)));
    assert_eq!(flow.received, Some(server.len() as u64 + 6));
    assert_eq!(flow.server.unwrap().alpn.as_deref(), Some(&b"h2"[..]));
    assert!(flow.unread.why.unwrap().contains("capture file"));
}

#[test]
fn one_that_is_open_or_was_joined_says_so() {
    let mut rig = rig(TlsFlows::Live, info(1, false));
    rig.send(b"\x17\x03\x03\x00\x10");
    assert_eq!(rig.engine.take_muted(), [rig.info.key]);
    rig.act(Action::Counted {
        sent: 21,
        received: 0,
    });
    rig.finish();
    let flow = only(&rig);
    assert_eq!((flow.role, flow.state), (None, State::Open));
    assert!(flow.notes().any(|note| note.contains("joined")));
    // What the process itself has ended only waits for the other end.
    let mut rig = self::rig(TlsFlows::Live, info(1, true));
    handshake(&mut rig);
    rig.end(Direction::Send);
    rig.finish();
    assert_eq!(only(&rig).state, State::Complete);
}

#[test]
fn a_refusal_and_a_client_that_leaves_are_flows_too() {
    let mut rig = rig(TlsFlows::Live, info(1, true));
    rig.send(hello("s_client-1.0", "client"));
    rig.receive(hello("s_client-1.0", "server"));
    rig.close(false);
    rig.finish();
    assert_eq!(only(&rig).refused, Some(80));
    let mut rig = self::rig(TlsFlows::Live, info(1, true));
    rig.send(&hello("go", "client")[..200]);
    rig.close(false);
    rig.finish();
    assert_eq!(only(&rig).sni(), Some(&b"go.example"[..]));
}

#[test]
fn the_filter_takes_the_server_name_for_the_host() {
    for (host, port, method, shown) in [
        (Some("*.EXAMPLE"), None, None, true),
        (Some("java.example:80"), None, None, true),
        (Some("java.example:443"), None, None, false),
        (Some("go.example"), None, None, false),
        (None, Some(50000), None, true),
        (None, Some(443), None, false),
        (None, None, Some("GET"), false),
    ] {
        let mut rig = rig(TlsFlows::Live, info(1, true));
        rig.engine.core.config.filter = Filter {
            hosts: host.iter().map(|h| h.parse().unwrap()).collect(),
            ports: port.into_iter().collect(),
            methods: method.iter().map(|m| m.parse().unwrap()).collect(),
            ..Filter::default()
        };
        handshake(&mut rig);
        rig.close(false);
        rig.finish();
        let flows = rig.out.borrow().flows.len();
        assert_eq!(flows, usize::from(shown), "{host:?} {port:?} {method:?}");
        assert_eq!(rig.engine.stats().filtered_flows, u64::from(!shown));
    }
}
