//! `grpc` of an exchange, and `messages` of a body.

use super::value::Writer;
use crate::exchange::{Body, Exchange};
use crate::output::call::Call;

/// Appends `grpc`, if the exchange is a call.
pub(super) fn push(w: &mut Writer, exchange: &Exchange) {
    let Some(call) = Call::of(exchange) else {
        return;
    };
    let (service, method) = call.method.unzip();
    for (key, value) in [
        (",\"grpc\":{\"service\":", service),
        (",\"method\":", method),
    ] {
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
    w.list(messages.listed.iter(), |w, message| {
        w.raw("{\"size\":");
        w.number(message.size);
        w.raw(",\"compressed\":");
        w.raw(if message.compressed { "true" } else { "false" });
        w.raw(",\"state\":");
        w.name(if message.complete { "complete" } else { "lost" });
        w.raw("}");
    });
    if messages.unlisted() > 0 {
        w.raw(",\"message_count\":");
        w.number(messages.count);
    }
    if let Some(trailers) = &messages.trailers {
        w.raw(",\"trailers\":");
        super::fields(w, trailers);
    }
}
