//! What the filter and masking do to the bytes that are handed over.

use super::support::{Rig, info};
use crate::engine::Config;
use crate::event::Direction::{Receive, Send};
use crate::event::MissingReason;
use crate::filter::{Subject, Verdict};
use crate::redact::Redact;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const NO: &[u8] = b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno";

fn target_has(subject: &Subject<'_>, byte: u8) -> bool {
    subject.request.is_some_and(|r| r.target.contains(&byte))
}

/// As `--path '*k*'`.
fn by_path(subject: &Subject<'_>) -> Verdict {
    match subject.request {
        Some(_) if target_has(subject, b'k') => Verdict::Keep,
        Some(_) => Verdict::Drop,
        None if subject.last => Verdict::Lacks,
        None => Verdict::Undecided,
    }
}

/// As `--status 200`.
fn by_status(subject: &Subject<'_>) -> Verdict {
    match subject.status {
        Some(200) => Verdict::Keep,
        Some(_) => Verdict::Drop,
        None if subject.last => Verdict::Lacks,
        None => Verdict::Undecided,
    }
}

fn rig(judge: fn(&Subject<'_>) -> Verdict) -> Rig {
    let mut rig = Rig::new();
    rig.engine.core.judge = Some(judge);
    rig
}

#[test]
fn only_what_is_wanted_is_in_any_output() {
    let mut rig = rig(by_path);
    for path in ["/drop", "/keep", "/drop", "/k2"] {
        rig.send(format!("GET {path} HTTP/1.1\r\n\r\n"));
        rig.receive(OK);
    }
    rig.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    rig.close(false);
    rig.finish();
    assert_eq!(rig.lines().len(), 2);
    assert_eq!(rig.out.borrow().requests.len(), 2);
    assert_eq!(
        rig.wire(Send),
        b"GET /keep HTTP/1.1\r\n\r\nGET /k2 HTTP/1.1\r\n\r\n"
    );
    assert_eq!(rig.wire(Receive), [OK, OK].concat());
    let stats = rig.engine.stats();
    assert_eq!(
        (stats.seen, stats.shown, stats.filtered, stats.lacking),
        (5, 2, 2, 1)
    );
    assert_eq!(rig.out.borrow().ends, [(Send, false), (Receive, false)]);
}

#[test]
fn bytes_wait_for_a_verdict_that_needs_the_response() {
    let mut rig = rig(by_status);
    rig.send(b"PUT /1 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc");
    assert!(rig.wire(Send).is_empty());
    rig.receive(&OK[..20]);
    assert!(rig.wire(Send).is_empty());
    rig.receive(&OK[20..OK.len() - 1]);
    assert!(rig.wire(Send).ends_with(b"abc"));
    rig.receive(&OK[OK.len() - 1..]);
    rig.send(b"GET /2 HTTP/1.1\r\n\r\n");
    rig.receive(NO);
    rig.finish();
    assert_eq!(rig.lines().len(), 1);
    assert_eq!(rig.wire(Receive), OK);
    assert!(rig.out.borrow().requests.is_empty());
    assert_eq!(rig.out.borrow().ends, [(Send, true), (Receive, true)]);
}

#[test]
fn pipelined_bytes_stay_in_order_while_an_earlier_verdict_is_open() {
    fn judge(subject: &Subject<'_>) -> Verdict {
        if target_has(subject, b'k') {
            Verdict::Keep
        } else {
            by_status(subject)
        }
    }
    let mut rig = rig(judge);
    rig.send(b"GET /1 HTTP/1.1\r\n\r\nGET /k HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\n\r\n");
    assert!(rig.wire(Send).is_empty());
    rig.receive(OK);
    assert_eq!(
        rig.wire(Send),
        b"GET /1 HTTP/1.1\r\n\r\nGET /k HTTP/1.1\r\n\r\n"
    );
    rig.receive(NO);
    rig.receive(NO);
    rig.finish();
    assert_eq!(rig.lines().len(), 2);
    assert_eq!(rig.wire(Receive), [OK, NO].concat());
}

#[test]
fn a_verdict_may_wait_for_the_very_end() {
    let mut rig = rig(by_status);
    rig.send(b"GET /1 HTTP/1.1\r\n\r\n");
    rig.close(false);
    rig.finish();
    assert!(rig.wire(Send).is_empty());
    assert!(rig.out.borrow().ends.is_empty());
    assert_eq!(rig.engine.stats().lacking, 1);
}

#[test]
fn what_is_held_for_a_verdict_is_bounded() {
    let mut rig = rig(by_status);
    rig.send(b"PUT /1 HTTP/1.1\r\nContent-Length: 16777216\r\n\r\n");
    for _ in 0..1024 {
        rig.send([b'x'; 16_384]);
    }
    rig.receive(OK);
    rig.finish();
    let out = rig.out.borrow();
    let gap = out.gaps[0];
    assert_eq!(out.gaps.len(), 1);
    assert_eq!(gap.3, MissingReason::MemoryLimit);
    let head = b"PUT /1 HTTP/1.1\r\nContent-Length: 16777216\r\n\r\n".len();
    drop(out);
    assert_eq!(
        rig.wire(Send).len() as u64 + gap.2,
        head as u64 + 16_777_216
    );
    assert_eq!(rig.engine.stats().lost_bytes(), gap.2);
}

#[test]
fn gaps_that_are_held_are_counted() {
    let mut rig = rig(by_status);
    rig.send(b"PUT /1 HTTP/1.1\r\nContent-Length: 2000\r\n\r\n");
    let before = rig.engine.core.budget.used();
    for _ in 0..100 {
        rig.lose(Send, 10);
        rig.send(b"x");
    }
    let used = rig.engine.core.budget.used() - before;
    assert!(used >= 100 * 2 * 128, "{used}");
    rig.finish();
}

#[test]
fn ends_come_as_they_are() {
    let mut rig = Rig::new();
    rig.send(b"GET /1 HTTP/1.0\r\n\r\n");
    rig.end(Send);
    rig.receive(b"HTTP/1.0 200 OK\r\n\r\nx");
    assert_eq!(rig.out.borrow().ends, [(Send, false)]);
    rig.finish();
    assert_eq!(rig.out.borrow().ends, [(Send, false), (Receive, true)]);
    assert_eq!(rig.lines(), ["GET /1 > Complete  | 200 < Lost x | open"]);
}

#[test]
fn secrets_are_masked_in_every_output() {
    let redact = Redact::new(&["x-mine".into()]);
    let request: &[u8] = b"PUT /1?token=abc HTTP/1.1\r\nAuthorization: Bearer xyz\r\nX-Mine: 1234\r\nTransfer-Encoding: chunked\r\n\r\n";
    let trailer: &[u8] = b"X-Mine: 5678\r\nOther: 1\r\n\r\n";
    let response: &[u8] =
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 2\r\n\r\n";
    let masked = |bytes: &[u8], start: bool| {
        let mut bytes = bytes.to_vec();
        for span in redact.spans(&bytes.clone(), start) {
            bytes[span].fill(b'*');
        }
        bytes
    };
    let sent = [request, b"1\r\nx\r\n0\r\n", trailer].concat();
    let received = [response, b"ok"].concat();
    for size in [1, 7, 50, 1000] {
        let config = Config {
            redact: Some(redact.clone()),
            ..Config::default()
        };
        let mut rig = Rig::with(config, info(1, true));
        sent.chunks(size).for_each(|piece| rig.send(piece));
        received.chunks(size).for_each(|piece| rig.receive(piece));
        rig.finish();
        let wanted = [
            &masked(request, true)[..],
            b"1\r\nx\r\n0\r\n",
            &masked(trailer, false),
        ]
        .concat();
        assert_eq!(rig.wire(Send), wanted);
        assert_eq!(
            rig.wire(Receive),
            [&masked(response, true)[..], b"ok"].concat()
        );
        let out = rig.out.borrow();
        let request = out.exchanges[0].request.as_ref().unwrap();
        let line = [b"PUT ", &request.target[..], b" HTTP"].concat();
        assert!(wanted.starts_with(&line));
        assert_eq!(request.headers.len(), 3);
        assert_eq!(request.trailers.len(), 2);
        assert_eq!(request.body.bytes, b"x");
    }
}

#[test]
fn the_filter_sees_what_is_masked() {
    fn judge(subject: &Subject<'_>) -> Verdict {
        match (subject.request, subject.status) {
            (_, None) => Verdict::Undecided,
            (Some(r), _) if r.target == b"/1?token=abc" => Verdict::Keep,
            _ => Verdict::Drop,
        }
    }
    let config = Config {
        redact: Some(Redact::new(&[])),
        ..Config::default()
    };
    let mut rig = Rig::with(config, info(1, true));
    rig.engine.core.judge = Some(judge);
    rig.send(b"GET /1?token=abc HTTP/1.1\r\n\r\n");
    rig.receive(OK);
    assert_eq!(rig.lines().len(), 1);
}
