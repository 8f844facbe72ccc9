//! The messages of WebSockets, held until their exchange ends:
//! `_webSocketMessages`, in the form that Chromium's DevTools write and read.

use rustc_hash::FxHashMap;

use super::super::json::value::Writer;
use super::words;
use crate::exchange::{BodyState, Exchange};
use crate::message::{Message, MessageKind};

/// Bytes that the messages of all exchanges together may take, as JSON.
const HELD: usize = 64 << 20;

/// Messages of exchanges that have not ended.
#[derive(Default)]
pub(super) struct Messages {
    /// By connection and ordinal.
    of: FxHashMap<(u64, u64), Held>,
    /// Bytes in all of them.
    total: usize,
    writer: Writer,
}

#[derive(Default)]
struct Held {
    /// Objects with commas between them.
    json: Vec<u8>,
    /// Messages for which there was no room.
    left_out: u64,
}

impl Messages {
    /// Keeps a message, if it is one of a WebSocket, unless those of its
    /// exchange then took more than `limit` bytes.
    pub(super) fn keep(&mut self, exchange: &Exchange, message: &Message<'_>, limit: u64) {
        let Some(opcode) = opcode(message.kind) else {
            return;
        };
        let held = self
            .of
            .entry((exchange.connection, exchange.ordinal))
            .or_default();
        let room = usize::try_from(limit)
            .unwrap_or(usize::MAX)
            .saturating_sub(held.json.len())
            .min(HELD.saturating_sub(self.total));
        if message.data.len() >= room {
            held.left_out += 1;
            return;
        }
        let w = &mut self.writer;
        if !held.json.is_empty() {
            w.raw(",");
        }
        push(w, exchange, message, opcode);
        self.total += w.buffer.len();
        held.json.append(&mut w.buffer);
    }

    /// Appends those of an exchange that has ended, if there are any.
    pub(super) fn push(&mut self, w: &mut Writer, exchange: &Exchange) {
        let Some(held) = self.of.remove(&(exchange.connection, exchange.ordinal)) else {
            return;
        };
        self.total = self.total.saturating_sub(held.json.len());
        w.raw(",\"_webSocketMessages\":[");
        w.buffer.extend_from_slice(&held.json);
        w.raw("]");
        if held.left_out > 0 {
            w.raw(",\"_webSocketMessagesLeftOut\":");
            w.number(held.left_out);
        }
    }
}

/// RFC 6455 5.2.
const fn opcode(kind: MessageKind) -> Option<u8> {
    match kind {
        MessageKind::Text => Some(1),
        MessageKind::Binary => Some(2),
        MessageKind::Close => Some(8),
        MessageKind::Ping => Some(9),
        MessageKind::Pong => Some(10),
        MessageKind::Reserved(opcode) => Some(opcode),
        MessageKind::Continuation => Some(0),
        // They are in the body.
        MessageKind::Event | MessageKind::Grpc => None,
    }
}

fn push(w: &mut Writer, exchange: &Exchange, message: &Message<'_>, opcode: u8) {
    // A HAR is told from the client's side, whoever's view it is.
    let sent = message.direction == exchange.role.request_direction();
    w.raw(if sent {
        "{\"type\":\"send\",\"time\":"
    } else {
        "{\"type\":\"receive\",\"time\":"
    });
    // Seconds since 1970.
    w.number(message.time.0 / 1_000_000_000);
    w.raw(&format!(".{:06}", message.time.0 / 1000 % 1_000_000));
    w.raw(",\"opcode\":");
    w.number(opcode.into());
    w.raw(",\"data\":");
    match (message.kind, message.close) {
        (MessageKind::Close, Some((code, reason))) => {
            words::push(w, reason);
            w.raw(",\"_code\":");
            w.number(code.into());
        }
        // That binary is base64 is known by the opcode.
        _ if opcode == 1 && message.state != BodyState::Undecodable => text(w, message),
        (MessageKind::Binary, _) => w.base64(message.data),
        (MessageKind::Text, _) => {
            w.base64(message.data);
            w.raw(",\"_encoding\":\"base64\"");
        }
        _ => words::push(w, message.data),
    }
    if message.state != BodyState::Complete {
        w.raw(",\"_state\":");
        w.name(message.state.name());
        if let Some(size) = message.size {
            w.raw(",\"_size\":");
            w.number(size);
        }
    }
    w.raw("}");
}

/// What was cut within a character ends before it.
fn text(w: &mut Writer, message: &Message<'_>) {
    let whole = match std::str::from_utf8(message.data) {
        Err(error) if error.error_len().is_none() && message.state != BodyState::Complete => {
            message.data.get(..error.valid_up_to())
        }
        _ => None,
    };
    words::push(w, whole.unwrap_or(message.data));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Direction, Timestamp};
    use crate::output::samples::{self, NOON};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::{Value, json};

    fn message(kind: MessageKind, data: &[u8]) -> Message<'_> {
        Message {
            number: 1,
            direction: Direction::Send,
            time: Timestamp(NOON),
            kind,
            size: Some(data.len() as u64),
            wire_size: data.len() as u64,
            fragments: 1,
            compressed: false,
            state: BodyState::Complete,
            data,
            close: None,
            event: None,
            event_id: None,
        }
    }

    fn pushed(messages: &mut Messages, exchange: &Exchange) -> Value {
        let mut w = Writer::default();
        messages.push(&mut w, exchange);
        let text = String::from_utf8(w.buffer).unwrap();
        serde_json::from_str(&format!("{{\"_\":0{text}}}")).unwrap()
    }

    #[test]
    fn messages_are_as_devtools_have_them() {
        let mut messages = Messages::default();
        let (client, server) = (samples::plain(), samples::served());
        let mut all = vec![
            message(MessageKind::Text, "hellö".as_bytes()),
            message(MessageKind::Binary, b"\xff\0"),
            message(MessageKind::Close, b"\x03\xe8bye"),
            message(MessageKind::Event, b"not here"),
        ];
        all[2].direction = Direction::Receive;
        all[2].close = Some((1000, b"bye"));
        for message in &all {
            messages.keep(&client, message, 1 << 20);
        }
        messages.keep(&server, &all[0], 1 << 20);
        let time = json!(NOON as f64 / 1e9);
        let seen = pushed(&mut messages, &client);
        let list = &seen["_webSocketMessages"];
        let difference = list[0]["time"].as_f64().unwrap() - time.as_f64().unwrap();
        assert!(difference.abs() < 1e-5);
        let without_time = |value: &Value| {
            let mut value = value.clone();
            value.as_object_mut().unwrap().remove("time");
            value
        };
        let list: Vec<Value> = list.as_array().unwrap().iter().map(without_time).collect();
        assert_eq!(
            list,
            [
                json!({"type": "send", "opcode": 1, "data": "hellö"}),
                json!({"type": "send", "opcode": 2, "data": "/wA="}),
                json!({"type": "receive", "opcode": 8, "data": "bye", "_code": 1000}),
            ]
        );
        // What a server sends, its client receives.
        let seen = pushed(&mut messages, &server);
        assert_eq!(seen["_webSocketMessages"][0]["type"], "receive");
        assert_eq!(messages.total, 0);
        assert_eq!(pushed(&mut messages, &client), json!({"_": 0}));
    }

    #[test]
    fn no_more_is_held_than_allowed() {
        let mut messages = Messages::default();
        let mut exchange = samples::plain();
        let data = vec![b'x'; 300];
        for _ in 0..10 {
            messages.keep(&exchange, &message(MessageKind::Text, &data), 1000);
        }
        let seen = pushed(&mut messages, &exchange);
        assert_eq!(seen["_webSocketMessages"].as_array().unwrap().len(), 2);
        assert_eq!(seen["_webSocketMessagesLeftOut"], 8);

        let data = vec![b'x'; 1 << 20];
        for n in 0..100 {
            exchange.connection = n;
            messages.keep(&exchange, &message(MessageKind::Text, &data), 1 << 30);
        }
        assert!(messages.total <= HELD + 1024, "{}", messages.total);
        assert!(messages.total > HELD / 2);
    }

    #[test]
    fn what_was_cut_is_said() {
        let mut messages = Messages::default();
        let exchange = samples::plain();
        let mut cut = message(MessageKind::Text, b"a\xc3");
        cut.state = BodyState::Cut;
        cut.size = Some(7);
        messages.keep(&exchange, &cut, 1000);
        let mut compressed = message(MessageKind::Text, b"\xff");
        compressed.state = BodyState::Undecodable;
        compressed.size = None;
        messages.keep(&exchange, &compressed, 1000);
        let seen = pushed(&mut messages, &exchange);
        let list = &seen["_webSocketMessages"];
        assert_eq!(
            (&list[0]["data"], &list[0]["_size"]),
            (&"a".into(), &7.into())
        );
        assert_eq!(list[1]["data"], STANDARD.encode(b"\xff"));
        assert_eq!(list[1]["_encoding"], "base64");
    }
}
