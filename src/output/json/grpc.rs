//! `grpc` of an exchange, and `messages` of a body: in JSON, and in HAR where
//! their names begin with an underscore.

use super::value::Writer;
use crate::exchange::{Body, BodyMessages, Exchange};
use crate::output::call::Call;

/// Appends `key` and what is known of the call, if the exchange is one.
pub(in crate::output) fn push(w: &mut Writer, key: &str, exchange: &Exchange) {
    let Some(call) = Call::of(exchange) else {
        return;
    };
    w.raw(key);
    let (service, method) = call.method.unzip();
    for (key, value) in [("{\"service\":", service), (",\"method\":", method)] {
        w.raw(key);
        match value {
            Some(value) => w.bytes(value),
            None => w.raw("null"),
        }
    }
    w.raw(",\"status\":");
    w.number_or_null(call.status.map(u64::from));
    w.raw(",\"status_name\":");
    match call.status_name() {
        Some(name) => w.name(name),
        None => w.raw("null"),
    }
    if let Some(message) = &call.message {
        w.raw(",\"message\":");
        w.bytes(message);
    }
    w.raw("}");
}

/// Appends `messages`, if they were counted.
pub(super) fn push_messages(w: &mut Writer, body: &Body) {
    let Some(messages) = &body.messages else {
        return;
    };
    w.raw(",\"messages\":");
    list(w, messages);
    if messages.unlisted() > 0 {
        w.raw(",\"message_count\":");
        w.number(messages.count);
    }
    if let Some(trailers) = &messages.trailers {
        w.raw(",\"trailers\":");
        super::fields(w, trailers);
    }
}

/// Appends the list of messages.
pub(in crate::output) fn list(w: &mut Writer, messages: &BodyMessages) {
    w.list(messages.listed.iter(), |w, message| {
        w.raw("{\"size\":");
        w.number(message.size);
        w.raw(",\"compressed\":");
        w.raw(if message.compressed { "true" } else { "false" });
        w.raw(",\"state\":");
        w.name(if message.complete { "complete" } else { "lost" });
        w.raw("}");
    });
}
