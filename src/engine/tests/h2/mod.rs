//! HTTP/2: streams as exchanges, whatever is missing of the connection. Here is
//! what the tests write it with.

use super::support::Rig;
use crate::exchange::Exchange;
use crate::http::h2::{FrameHeader, PREFACE, flag, kind};
use crate::http::hpack::encode_literal;

mod filtered;
mod hostile;
mod partial;
mod protocols;
mod streams;

const END: u8 = flag::END_STREAM;
const WHOLE: u8 = flag::END_HEADERS;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        length: payload.len() as u32,
        kind,
        flags,
        stream,
    };
    [&header.encode()[..], payload].concat()
}

fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        encode_literal(name.as_bytes(), value.as_bytes(), false, &mut out);
    }
    out
}

/// A literal with incremental indexing (RFC 7541 6.2.1).
fn indexed(name: &str, value: &str) -> Vec<u8> {
    let mut out = vec![0x40, name.len() as u8];
    out.extend(name.as_bytes());
    out.push(value.len() as u8);
    out.extend(value.as_bytes());
    out
}

fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(kind::HEADERS, flags | WHOLE, stream, &block(fields))
}

fn get(stream: u32, path: &str) -> Vec<u8> {
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "a.test"),
        (":path", path),
    ];
    headers(stream, END, &fields)
}

fn ok(stream: u32, flags: u8) -> Vec<u8> {
    headers(stream, flags, &[(":status", "200"), ("x", "y")])
}

fn data(stream: u32, flags: u8, bytes: &[u8]) -> Vec<u8> {
    frame(kind::DATA, flags, stream, bytes)
}

fn settings() -> Vec<u8> {
    frame(kind::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])
}

fn preface() -> Vec<u8> {
    [PREFACE, &settings()[..]].concat()
}

fn targets(rig: &Rig) -> Vec<String> {
    let out = rig.out.borrow();
    let target = |x: &Exchange| {
        x.request
            .as_ref()
            .map(|r| String::from_utf8_lossy(&r.target).into_owned())
    };
    out.exchanges.iter().filter_map(target).collect()
}
