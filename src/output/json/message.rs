//! The line of kind `message`: one message of an exchange that lasts.

use super::value::Writer;
use crate::event::Direction;
use crate::exchange::Exchange;
use crate::message::{Message, MessageKind};

/// Appends it without the end of the line.
pub(super) fn push(w: &mut Writer, exchange: &Exchange, message: &Message<'_>) {
    w.raw("{\"schema\":1,\"kind\":\"message\",\"id\":\"");
    w.number(exchange.connection);
    w.raw(".");
    w.number(exchange.ordinal);
    w.raw("\",\"message\":");
    w.number(message.number);
    w.raw(",\"ts\":");
    w.time(message.time);
    w.raw(",\"direction\":");
    w.name(match message.direction {
        Direction::Send => "send",
        Direction::Receive => "receive",
    });
    w.raw(",\"type\":");
    w.name(message.kind.name());
    if let MessageKind::Reserved(opcode) = message.kind {
        w.raw(",\"opcode\":");
        w.number(opcode.into());
    }
    w.raw(",\"size\":");
    w.number_or_null(message.size);
    w.raw(",\"wire_size\":");
    w.number(message.wire_size);
    w.raw(",\"fragments\":");
    w.number(message.fragments.into());
    w.raw(",\"compressed\":");
    w.raw(if message.compressed { "true" } else { "false" });
    w.raw(",\"state\":");
    w.name(message.state.name());
    for (key, value) in [
        (",\"event\":", message.event),
        (",\"event_id\":", message.event_id),
    ] {
        if let Some(value) = value {
            w.raw(key);
            w.bytes(value);
        }
    }
    match (message.kind, message.close) {
        (MessageKind::Close, Some((code, reason))) => {
            w.raw(",\"close_code\":");
            w.number(code.into());
            w.raw(",\"close_reason\":");
            w.bytes(reason);
        }
        (MessageKind::Close, None) if message.data.is_empty() => {}
        _ => match message.text() {
            Some(text) => {
                w.raw(",\"text\":");
                w.string(text);
            }
            None => {
                w.raw(",\"base64\":");
                w.base64(message.data);
            }
        },
    }
    w.raw("}");
}
