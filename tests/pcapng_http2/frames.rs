//! Frames and header sections of HTTP/2 as tests write them.

use httpsniff::http::h2::{FrameHeader, PREFACE, flag, kind};
use httpsniff::http::hpack::encode_literal;

pub(crate) const END: u8 = flag::END_STREAM;
pub(crate) const WHOLE: u8 = flag::END_HEADERS;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        length: u32::try_from(payload.len()).unwrap(),
        kind,
        flags,
        stream,
    };
    [&header.encode()[..], payload].concat()
}

pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        encode_literal(name.as_bytes(), value.as_bytes(), false, &mut out);
    }
    out
}

pub(crate) fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(kind::HEADERS, flags | WHOLE, stream, &block(fields))
}

pub(crate) fn ask(stream: u32, method: &str, path: &str, flags: u8) -> Vec<u8> {
    let fields = [
        (":method", method),
        (":scheme", "https"),
        (":authority", "a.test"),
        (":path", path),
    ];
    headers(stream, flags, &fields)
}

pub(crate) fn get2(stream: u32, path: &str) -> Vec<u8> {
    ask(stream, "GET", path, END)
}

pub(crate) fn ok2(stream: u32, flags: u8) -> Vec<u8> {
    let fields = [(":status", "200"), ("content-type", "application/x-y")];
    headers(stream, flags, &fields)
}

pub(crate) fn data(stream: u32, flags: u8, bytes: &[u8]) -> Vec<u8> {
    frame(kind::DATA, flags, stream, bytes)
}

pub(crate) fn settings() -> Vec<u8> {
    frame(kind::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])
}

pub(crate) fn preface() -> Vec<u8> {
    [PREFACE, &settings()[..]].concat()
}
