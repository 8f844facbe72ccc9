//! The line of kind `tls`: a TLS connection that was not read.

use std::sync::Arc;

use super::value::Writer;
use super::{ends, who};
use crate::process::Process;
use crate::tls_flow::TlsFlow;
use crate::tls_hello::{Version, suite_name};

/// Appends it without the end of the line.
pub(super) fn push(w: &mut Writer, flow: &TlsFlow, facts: &mut Option<(Arc<Process>, Vec<u8>)>) {
    w.raw("{\"schema\":1,\"kind\":\"tls\",\"id\":\"");
    w.number(flow.connection);
    w.raw(".0\",\"ts\":");
    w.time(flow.start);
    w.raw(",\"role\":");
    match flow.role {
        Some(role) => w.name(role.name()),
        None => w.raw("null"),
    }
    w.raw(",\"state\":");
    w.name(flow.state.name());
    w.raw(",\"connection\":");
    w.number(flow.connection);
    who(w, flow.process.as_ref(), flow.tid, &flow.thread, facts);
    ends(w, &flow.info);
    tls(w, flow);
    w.raw(",\"sent_bytes\":");
    w.number_or_null(flow.sent);
    w.raw(",\"received_bytes\":");
    w.number_or_null(flow.received);
    w.raw(",\"timing\":{\"total_us\":");
    w.number(flow.end.micros_since(flow.start));
    w.raw("},\"notes\":");
    w.list(flow.notes(), |w, note| w.string(note));
    w.raw("}");
}

fn tls(w: &mut Writer, flow: &TlsFlow) {
    for (key, text) in [
        (",\"tls\":{\"library\":", &flow.unread.library),
        (",\"why\":", &flow.unread.why),
    ] {
        w.raw(key);
        match text {
            Some(text) => w.string(text),
            None => w.raw("null"),
        }
    }
    w.raw(",\"version\":");
    match &flow.server {
        Some(hello) => version(w, hello.version),
        None => w.raw("null"),
    }
    w.raw(",\"offered\":");
    match &flow.client {
        Some(hello) => w.list(hello.versions.iter(), |w, v| version(w, *v)),
        None => w.raw("null"),
    }
    w.raw(",\"sni\":");
    w.bytes_or_null(flow.sni().unwrap_or_default());
    w.raw(",\"alpn\":");
    match &flow.client {
        Some(hello) => w.list(hello.alpn.iter(), |w, protocol| w.bytes(protocol)),
        None => w.raw("null"),
    }
    w.raw(",\"alpn_selected\":");
    let selected = flow.server.as_ref().and_then(|hello| hello.alpn.as_deref());
    w.bytes_or_null(selected.unwrap_or_default());
    w.raw(",\"cipher\":");
    match flow.server.as_ref().map(|hello| hello.cipher) {
        Some(cipher) => match suite_name(cipher) {
            Some(name) => w.name(name),
            None => w.string(&format!("0x{cipher:04x}")),
        },
        None => w.raw("null"),
    }
    if let Some(alert) = flow.refused {
        w.raw(",\"alert\":");
        w.number(alert.into());
    }
    w.raw("}");
}

fn version(w: &mut Writer, version: Version) {
    w.string(&version.to_string());
}
