//! The promise of schema 1, line by line.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::exchange::BodyState;
use crate::output::samples::{self, Shared};

fn lines(options: Options, give: impl FnOnce(&mut Json)) -> String {
    let shared = Shared::default();
    let mut sink = Json::new(Box::new(shared.clone()), options);
    give(&mut sink);
    sink.finish(Timestamp(0)).unwrap();
    shared.take_text()
}

fn line(exchange: &Exchange) -> String {
    lines(Options::default(), |sink| sink.exchange(exchange).unwrap())
}

fn value(exchange: &Exchange) -> Value {
    serde_json::from_str(&line(exchange)).unwrap()
}

#[test]
fn a_line_is_exactly_that_of_the_contract() {
    assert_eq!(
        line(&samples::plain()),
        concat!(
            r#"{"schema":1,"kind":"exchange","id":"7.1","ts":"2026-11-20T12:00:00.123456789Z","role":"client","state":"complete","protocol":"HTTP/1.1","source":"openssl","connection":7,"stream":null,"#,
            r#""process":{"pid":4242,"tid":4242,"comm":"curl","thread":"curl","exe":"/usr/bin/curl","cmdline":["curl","-s","https://example.com/x"],"uid":1000,"container":null},"#,
            r#""local":"127.0.0.1:50000","peer":"127.0.0.1:443","tls":{"library":"OpenSSL 3.0.22"},"#,
            r#""request":{"method":"GET","scheme":"https","host":"example.com","target":"/x","url":"https://example.com/x","version":"HTTP/1.1","headers":[["Host","example.com"]],"trailers":[],"#,
            r#""body":{"size":0,"encoded_size":0,"encodings":[],"state":"complete","text":""}},"#,
            r#""response":{"status":200,"reason":"OK","version":"HTTP/1.1","headers":[["Content-Type","text/plain"]],"trailers":[],"interim":[],"#,
            r#""body":{"size":5,"encoded_size":5,"encodings":[],"state":"complete","text":"hello"}},"#,
            r#""timing":{"request_us":12,"wait_us":830,"response_us":40,"total_us":882},"lost_bytes":0,"notes":[]}"#,
            "\n"
        )
    );
}

#[test]
fn all_kinds_of_exchange_give_the_golden_lines() {
    let text = lines(Options::default(), |sink| {
        for exchange in samples::all() {
            sink.exchange(&exchange).unwrap();
        }
    });
    for line in text.lines() {
        serde_json::from_str::<Value>(line).unwrap();
    }
    samples::compare_golden("exchanges.jsonl", text.as_bytes());
}

#[test]
fn lines_do_not_depend_on_those_before() {
    let (one, other) = (samples::plain(), samples::served());
    let text = lines(Options::default(), |sink| {
        for exchange in [&one, &one, &other, &other, &one] {
            sink.exchange(exchange).unwrap();
        }
    });
    let (one, other) = (line(&one), line(&other));
    assert_eq!(text, format!("{one}{one}{other}{other}{one}"));
}

#[test]
fn what_is_unknown_is_null_and_what_does_not_apply_is_absent() {
    let orphan = value(&samples::orphan());
    for field in ["process", "request", "stream"] {
        assert_eq!(orphan.get(field), Some(&Value::Null), "{field}");
    }
    for field in ["tls", "interim", "upgraded_to", "tunnel"] {
        assert_eq!(orphan.get(field), None, "{field}");
    }
    assert_eq!(
        orphan["timing"],
        json!({"request_us":null,"wait_us":null,"response_us":40,"total_us":null})
    );
    assert_eq!(orphan["ts"], "2026-11-20T12:00:00.124298789Z");
    assert_eq!(orphan["notes"], json!(["joined in mid-connection"]));

    let mut bare = samples::orphan();
    bare.response = None;
    bare.times = Times::default();
    assert_eq!(value(&bare)["ts"], Value::Null);
    assert_eq!(value(&bare)["protocol"], Value::Null);
}

#[test]
fn interim_responses_without_a_final_one_stand_beside_it() {
    let json = value(&samples::unanswered());
    assert_eq!(json["response"], Value::Null);
    assert_eq!(
        json["interim"],
        json!([{"status":103,"headers":[["Link","</a.css>; rel=preload"]]}])
    );
    assert_eq!(json["process"]["cmdline_cut"], true);
    assert_eq!(json["process"]["uid"], Value::Null);
    assert_eq!(json["process"]["container"], "0123456789abcdef");
    assert_eq!(json["process"]["container_name"], "web");
}

#[test]
fn an_upgrade_counts_what_follows() {
    let json = value(&samples::tunnel());
    assert_eq!(json["upgraded_to"], "tunnel");
    assert_eq!(json["tunnel"], json!({"sent":1234,"received":5_678_901}));
    assert_eq!(json["request"]["url"], "example.com:443");
}

fn message(message: &Message<'_>) -> Value {
    let line = lines(Options::default(), |sink| {
        sink.message(&samples::websocket(), message).unwrap();
    });
    serde_json::from_str(&line).unwrap()
}

#[test]
fn a_message_has_a_line() {
    let line = lines(Options::default(), |sink| {
        let message = samples::message(MessageKind::Text, b"Hello");
        sink.message(&samples::websocket(), &message).unwrap();
    });
    assert_eq!(
        line,
        concat!(
            r#"{"schema":1,"kind":"message","id":"7.1","message":3,"ts":"2026-11-20T12:00:00.123456789Z","#,
            r#""direction":"send","type":"text","size":5,"wire_size":5,"fragments":1,"compressed":false,"#,
            r#""state":"complete","text":"Hello"}"#,
            "\n"
        )
    );
    let exchange = value(&samples::websocket());
    assert_eq!(exchange["messages"], json!({"sent":12,"received":3}));
    assert_eq!(value(&samples::tunnel()).get("messages"), None);
}

#[test]
fn a_message_says_what_it_is_and_what_became_of_it() {
    let close = Message {
        close: Some((4001, b"bye\xff")),
        ..samples::message(MessageKind::Close, b"\x0f\xa1bye\xff")
    };
    let json = message(&close);
    assert_eq!(json["close_code"], 4001);
    assert_eq!(json["close_reason"], json!({"base64":"Ynll/w=="}));
    assert_eq!(json.get("base64"), None);
    let bare = message(&samples::message(MessageKind::Close, b""));
    assert_eq!(bare.get("close_code"), None);
    let odd = message(&samples::message(MessageKind::Reserved(11), b"\xff"));
    assert_eq!(
        (&odd["type"], &odd["opcode"]),
        (&json!("reserved"), &json!(11))
    );
    assert_eq!(odd["base64"], "/w==");
    let cut = Message {
        size: None,
        state: BodyState::Lost,
        ..samples::message(MessageKind::Text, "caf\u{e9}".as_bytes().split_at(4).0)
    };
    let json = message(&cut);
    assert_eq!(
        (&json["text"], &json["size"]),
        (&json!("caf"), &Value::Null)
    );
    assert_eq!(json["state"], "lost");
}

#[test]
fn a_hole_is_listed() {
    let json = value(&samples::broken());
    let body = &json["response"]["body"];
    assert_eq!(body["size"], Value::Null);
    assert_eq!(
        body["missing"],
        json!([{"offset":600,"length":12,"reason":"ring_full"}])
    );
    assert_eq!(body.get("text"), None);
    assert_eq!(
        STANDARD
            .decode(body["base64"].as_str().unwrap())
            .unwrap()
            .len(),
        600
    );
}

#[test]
fn what_is_no_utf8_is_base64_in_place() {
    let json = value(&samples::hostile());
    assert_eq!(json["request"]["host"], json!({"base64":"aP8="}));
    assert_eq!(
        json["process"]["cmdline"],
        json!(["a\nPID: 1", {"base64":"/w=="}])
    );
    assert_eq!(json["request"]["target"], "/\u{202e}gpj.\u{9b}31m\u{200b}");
    let line = line(&samples::hostile());
    assert!(
        !line
            .trim_end()
            .chars()
            .any(crate::output::escape::is_unsafe)
    );
}

#[test]
fn a_body_broken_off_within_a_character_is_text_up_to_it() {
    let cut = |state| Body {
        bytes: b"ab\xc3".to_vec(),
        state,
        ..Body::default()
    };
    assert_eq!(cut(BodyState::Cut).text(), Some("ab"));
    assert_eq!(cut(BodyState::Lost).text(), Some("ab"));
    assert_eq!(cut(BodyState::Complete).text(), None);
    let invalid = Body {
        bytes: b"a\xffb".to_vec(),
        state: BodyState::Cut,
        ..Body::default()
    };
    assert_eq!(invalid.text(), None);
}

#[test]
fn a_request_line_has_what_is_known_by_then() {
    let mut exchange = samples::plain();
    exchange.response = None;
    let partial = Options {
        partial: true,
        ..Options::default()
    };
    let text = lines(partial, |sink| {
        assert!(sink.wants().requests);
        sink.request(&exchange).unwrap();
    });
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["kind"], "request");
    assert_eq!(json["id"], "7.1");
    assert_eq!(json["state"], "open");
    assert_eq!(json["request"]["method"], "GET");
    assert_eq!(json["request"]["body"], Value::Null);
    for field in ["response", "timing"] {
        assert_eq!(json.get(field), None, "{field}");
    }
}

#[test]
fn lines_are_held_until_a_tick_unless_a_terminal_waits() {
    let shared = Shared::default();
    let mut sink = Json::new(Box::new(shared.clone()), Options::default());
    sink.exchange(&samples::plain()).unwrap();
    assert!(shared.take().is_empty());
    sink.tick(Timestamp(0)).unwrap();
    assert!(shared.take().ends_with(b"\n"));

    let options = Options {
        line_buffered: true,
        ..Options::default()
    };
    let mut sink = Json::new(Box::new(shared.clone()), options);
    sink.exchange(&samples::plain()).unwrap();
    assert!(shared.take().ends_with(b"\n"));
}

#[test]
fn a_failed_write_is_reported_and_not_repeated() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut sink = Json::new(Box::new(Full), Options::default());
    sink.exchange(&samples::plain()).unwrap();
    let error = sink.finish(Timestamp(0)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(sink.finish(Timestamp(0)).is_ok());
}

proptest! {
    #[test]
    fn any_bytes_make_one_valid_line(
        bytes: Vec<u8>, name: Vec<u8>, text: String, state in 0..4_usize,
    ) {
        let mut exchange = samples::served();
        let request = exchange.request.as_mut().unwrap();
        request.target.clone_from(&bytes);
        request.method.clone_from(&name);
        request.headers.push(&name, &bytes);
        request.body.bytes.clone_from(&bytes);
        request.body.state = [
            BodyState::Complete, BodyState::Cut, BodyState::Lost, BodyState::Undecodable,
        ][state];
        let response = exchange.response.as_mut().unwrap();
        response.reason.clone_from(&name);
        response.body = samples::body(text.as_bytes());
        exchange.thread = bytes;
        let line = line(&exchange);
        prop_assert_eq!(line.matches('\n').count(), 1);
        let json: Value = serde_json::from_str(&line).unwrap();
        prop_assert_eq!(&json["response"]["body"]["text"], &Value::from(text));
    }
}

#[test]
fn a_tls_connection_that_was_not_read_has_a_line() {
    let flows = samples::flows();
    let text = lines(Options::default(), |sink| {
        flows.iter().for_each(|flow| sink.tls(flow).unwrap());
    });
    let mut lines = text.lines();
    assert_eq!(
        lines.next().unwrap(),
        concat!(
            r#"{"schema":1,"kind":"tls","id":"7.0","ts":"2026-11-20T12:00:00.123456789Z","role":"client","state":"complete","connection":7,"#,
            r#""process":{"pid":4242,"tid":4243,"comm":"java","thread":"http-1","exe":"/usr/bin/java","cmdline":["java","-jar","x.jar"],"uid":1000,"container":null},"#,
            r#""local":"10.0.0.2:50000","peer":"10.0.0.1:443","tls":{"library":"Java","why":"Java is not read","version":"TLS 1.3","offered":["TLS 1.3","TLS 1.2"],"#,
            r#""sni":"example.com","alpn":["h2","http/1.1"],"alpn_selected":null,"cipher":"TLS_AES_128_GCM_SHA256"},"#,
            r#""sent_bytes":1234,"received_bytes":34816,"timing":{"total_us":120000},"notes":[]}"#,
        )
    );
    let little: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    for unknown in [
        "/process",
        "/role",
        "/sent_bytes",
        "/tls/why",
        "/tls/sni",
        "/tls/alpn",
    ] {
        assert_eq!(little.pointer(unknown), Some(&Value::Null), "{unknown}");
    }
    let hostile: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    assert_eq!(hostile["tls"]["sni"], json!({"base64": "YRtbMkoK/w=="}));
    assert_eq!(hostile["tls"]["alert"], 40);
    assert_eq!(
        hostile["notes"],
        json!(["the server refused the handshake"])
    );
}

#[test]
fn an_unknown_status_is_null() {
    let mut exchange = samples::h2();
    exchange.response.as_mut().unwrap().status = 0;
    let line = value(&exchange);
    assert_eq!(line["response"]["status"], Value::Null);
    assert_eq!(line["stream"], 5);
}

#[test]
fn a_call_of_grpc_is_told_with_what_is_known() {
    let mut exchange = samples::grpc();
    let line = value(&exchange);
    assert_eq!(line["request"]["body"]["messages"][1]["size"], 3);
    assert_eq!(line["request"]["body"].get("message_count"), None);
    exchange.request.as_mut().unwrap().target = b"/".to_vec();
    let body = &mut exchange.request.as_mut().unwrap().body;
    body.messages.as_mut().unwrap().count = 5000;
    exchange.response = None;
    let line = value(&exchange);
    assert_eq!(
        line["grpc"],
        json!({"service": null, "method": null, "status": null, "status_name": null})
    );
    assert_eq!(line["request"]["body"]["message_count"], 5000);
}

#[test]
fn events_have_lines_and_messages_of_grpc_have_none() {
    let text = lines(Options::default(), |sink| {
        let event = Message {
            event: Some(b"tick"),
            event_id: Some(b"7"),
            ..samples::message(MessageKind::Event, b"one\ntwo")
        };
        sink.message(&samples::plain(), &event).unwrap();
        let call = samples::message(MessageKind::Grpc, b"\x0a");
        sink.message(&samples::grpc(), &call).unwrap();
    });
    assert_eq!(text.lines().count(), 1, "{text}");
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["type"], "event");
    assert_eq!(line["event"], "tick");
    assert_eq!(line["event_id"], "7");
    assert_eq!(line["text"], "one\ntwo");
    assert_eq!(line["id"], "7.1");
}
