//! `-vv`: a body, as text or as a hex dump, its first part only.

use std::fmt::Write as _;

use super::style::{self, styled};
use super::units::push_size;
use crate::exchange::{Body, BodyState, Fields};
use crate::message::Message;
use crate::output::escape;

/// Bytes of text that are shown.
const TEXT: usize = 4 << 10;
/// Bytes that a hex dump shows.
const DUMP: usize = 256;

/// Appends a body, indented by two columns; nothing if it is empty.
pub(super) fn push(out: &mut String, body: &Body, headers: &Fields, color: bool) {
    let total = body.size.unwrap_or(body.encoded_size);
    if body.bytes.is_empty() && total == 0 {
        return;
    }
    let shown = match body.text() {
        Some(text) if looks_like_text(text) => push_text(out, text),
        _ => {
            remark(out, color, |out| describe(out, body, total, headers));
            push_dump(out, body.bytes.get(..DUMP).unwrap_or(&body.bytes))
        }
    };
    let missing: u64 = body.missing.iter().map(|missing| missing.length).sum();
    let more = total
        .saturating_sub(missing)
        .saturating_sub(u64::try_from(shown).unwrap_or(u64::MAX));
    if more > 0 {
        remark(out, color, |out| {
            out.push_str("… ");
            push_size(out, more);
            out.push_str(" more");
        });
    }
    for missing in &body.missing {
        remark(out, color, |out| {
            push_size(out, missing.length);
            let _ = write!(
                out,
                " missing at byte {} ({})",
                missing.offset,
                missing.reason.name()
            );
        });
    }
    if body.state == BodyState::Undecodable {
        remark(out, color, |out| out.push_str("could not be decoded"));
    }
}

/// Appends a message, indented by two columns.
pub(super) fn push_message(out: &mut String, message: &Message<'_>, color: bool) {
    let shown = match message.text() {
        Some(text) if looks_like_text(text) => push_text(out, text),
        _ => push_dump(out, message.data.get(..DUMP).unwrap_or(message.data)),
    };
    let total = message.size.unwrap_or(message.data.len() as u64);
    let more = total.saturating_sub(shown as u64);
    if more > 0 {
        remark(out, color, |out| {
            out.push_str("… ");
            push_size(out, more);
            out.push_str(" more");
        });
    }
}

/// A line in brackets that is not part of the body.
fn remark(out: &mut String, color: bool, write: impl FnOnce(&mut String)) {
    out.push_str("  ");
    styled(out, style::FAINT, color, |out| {
        out.push('[');
        write(out);
        out.push(']');
    });
    out.push('\n');
}

/// Whether text is for reading: few controls, no NUL.
pub(super) fn looks_like_text(text: &str) -> bool {
    let start = text.as_bytes().get(..TEXT).unwrap_or(text.as_bytes());
    let odd = start
        .iter()
        .filter(|b| b.is_ascii_control() && !b"\n\r\t".contains(b))
        .count();
    odd * 20 <= start.len() && !start.contains(&0)
}

/// Appends the first part of a text; returns the bytes of it.
fn push_text(out: &mut String, text: &str) -> usize {
    let text = text.get(..text.floor_char_boundary(TEXT)).unwrap_or(text);
    for line in text.split_inclusive('\n') {
        let line = line.strip_suffix('\n').unwrap_or(line);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if !line.is_empty() {
            out.push_str("  ");
            escape::push_body(out, line.as_bytes());
        }
        out.push('\n');
    }
    text.len()
}

/// Type, size and codings of what is not text.
fn describe(out: &mut String, body: &Body, total: u64, headers: &Fields) {
    let mut kind = String::new();
    escape::push(&mut kind, headers.get("Content-Type").unwrap_or_default());
    if kind.is_empty() {
        kind.push_str("unknown type");
    }
    escape::push_cut(out, &kind, 100);
    out.push_str(", ");
    push_size(out, total);
    for encoding in &body.encodings {
        out.push_str(", ");
        escape::push(out, encoding.as_bytes());
    }
}

/// Appends a dump like that of `hexdump -C`; returns the bytes of it.
fn push_dump(out: &mut String, bytes: &[u8]) -> usize {
    for (n, row) in bytes.chunks(16).enumerate() {
        let _ = write!(out, "  {:08x} ", n * 16);
        for column in 0..16 {
            if column == 8 {
                out.push(' ');
            }
            match row.get(column) {
                Some(byte) => drop(write!(out, " {byte:02x}")),
                None => out.push_str("   "),
            }
        }
        out.push_str("  |");
        for byte in row {
            let shown = if byte.is_ascii_graphic() || *byte == b' ' {
                *byte
            } else {
                b'.'
            };
            out.push(char::from(shown));
        }
        out.push_str("|\n");
    }
    bytes.len()
}
