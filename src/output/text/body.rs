//! `-vv`: a body, as text or as a hex dump, its first part only.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::style::{self, styled};
use super::units::push_size;
use crate::content::grpc::{GrpcEvent, GrpcForm, GrpcFrames, GrpcMessage};
use crate::content::media::MediaType;
use crate::content::multipart::{self, Multipart, Part};
use crate::content::{charset, coding, json_pretty};
use crate::exchange::{Body, BodyState, Fields};
use crate::message::{Message, MessageKind};
use crate::output::escape;

/// Bytes of text that are shown.
const TEXT: usize = 4 << 10;
/// Bytes that a hex dump shows.
const DUMP: usize = 256;
/// Parts of a multipart body that are shown.
const PARTS: usize = 20;

/// How bodies look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// With colours.
    pub(super) color: bool,
    /// JSON is indented.
    pub(super) indent_json: bool,
}

/// Appends a body, indented by two columns; nothing if it is empty.
pub(super) fn push(out: &mut String, body: &Body, headers: &Fields, look: Look) {
    if body.bytes.is_empty() && body.encoded_size == 0 {
        return;
    }
    if body.messages.is_some() && push_grpc(out, body, headers, look) {
        return;
    }
    let color = look.color;
    let kind = headers.get("Content-Type").unwrap_or_default();
    let decoding = Decoding::of(body);
    let entity = Entity {
        bytes: &body.bytes,
        kind,
        // An encoded body is of no type.
        media: MediaType::parse(kind).filter(|_| decoding != Decoding::None),
        cut: body.state != BodyState::Complete,
    };
    let mut described = false;
    let shown = match entity.multipart() {
        Some(multipart) => {
            push_parts(out, &entity, &multipart, look);
            body.bytes.len()
        }
        None => entity.push(out, look, |out| {
            described = true;
            remark(out, color, |out| describe(out, body, decoding, kind));
        }),
    };
    push_rest(out, body, decoding, shown, look);
    if !described && !body.encodings.is_empty() {
        remark(out, color, |out| push_amount(out, body, decoding));
    }
}

/// What was done about a body's content codings.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Decoding {
    /// There are some, and the bytes are as they were.
    None,
    /// The bytes are the beginning of what there is.
    Begun,
    /// All of it, or there are none.
    All,
}

impl Decoding {
    fn of(body: &Body) -> Self {
        let broken = body.state == BodyState::Undecodable;
        if broken && !coding::are_known(&body.encodings) {
            Self::None
        } else if body.encodings.is_empty() || body.size.is_some() {
            Self::All
        } else {
            Self::Begun
        }
    }
}

/// Appends what there is to say of bytes that are not shown. `shown`: how many
/// of those that are there need no more telling.
fn push_rest(out: &mut String, body: &Body, decoding: Decoding, shown: usize, look: Look) {
    let color = look.color;
    let missing: u64 = body.missing.iter().map(|missing| missing.length).sum();
    let total = match decoding {
        Decoding::All => body.size.unwrap_or(body.encoded_size),
        // Of holes in what was encoded nothing is known here.
        Decoding::Begun => (body.bytes.len() as u64).saturating_add(missing),
        Decoding::None => body.encoded_size,
    };
    let more = total
        .saturating_sub(missing)
        .saturating_sub(u64::try_from(shown).unwrap_or(u64::MAX));
    let beyond = body.state == BodyState::Cut && decoding == Decoding::Begun;
    if more > 0 || beyond {
        remark(out, color, |out| {
            out.push_str("… ");
            if more > 0 {
                push_size(out, more);
                out.push_str(" more");
            }
            if beyond {
                out.push_str(if more > 0 { ", and " } else { "" });
                out.push_str("what is beyond --max-body");
            }
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
    let word = match body.state {
        BodyState::Undecodable if decoding == Decoding::Begun && !body.bytes.is_empty() => {
            "the rest could not be decoded"
        }
        BodyState::Undecodable => "could not be decoded",
        BodyState::Lost if body.missing.is_empty() => "its end did not come",
        _ => return,
    };
    remark(out, color, |out| out.push_str(word));
}

/// Messages of a gRPC body that are shown.
const MESSAGES: u64 = 20;

/// Appends a gRPC body by message. Gives false if it cannot be read so.
fn push_grpc(out: &mut String, body: &Body, headers: &Fields, look: Look) -> bool {
    let media = headers.get("Content-Type").and_then(MediaType::parse);
    let Some(media) = media.filter(|_| body.state != BodyState::Undecodable) else {
        return false;
    };
    let form = if media.is_grpc_web_text() {
        GrpcForm::WebText
    } else if media.is_grpc_web() {
        GrpcForm::Web
    } else {
        GrpcForm::Http2
    };
    let mut frames = GrpcFrames::new(form, DUMP);
    let mut each = |event: GrpcEvent<'_>| match event {
        GrpcEvent::Message(message) if message.index <= MESSAGES => {
            push_grpc_message(out, &message, look);
        }
        _ => {}
    };
    frames.push(&body.bytes, &mut each);
    frames.finish(&mut each);
    let count = body.messages.as_ref().map_or(0, |m| m.count);
    let more = count.saturating_sub(MESSAGES.min(frames.count()));
    if more > 0 {
        remark(out, look.color, |out| {
            let _ = write!(out, "… {more} more messages");
        });
    }
    true
}

fn push_grpc_message(out: &mut String, message: &GrpcMessage<'_>, look: Look) {
    remark(out, look.color, |out| {
        let _ = write!(out, "message {}: ", message.index);
        push_size(out, message.length.into());
        if message.compressed {
            out.push_str(", compressed");
        }
        if !message.complete {
            out.push_str(", its end is missing");
        }
    });
    let data = message.data.get(..DUMP).unwrap_or(message.data);
    let shown = push_dump(out, data) as u64;
    let more = u64::from(message.length).saturating_sub(shown);
    if more > 0 {
        remark(out, look.color, |out| {
            out.push_str("… ");
            push_size(out, more);
            out.push_str(" more");
        });
    }
}

/// Appends a word on events that were shown when they came.
pub(super) fn push_events(out: &mut String, events: u64, look: Look) {
    remark(out, look.color, |out| {
        let _ = write!(out, "{events} events, above");
    });
}

/// Appends a message, indented by two columns.
pub(super) fn push_message(out: &mut String, message: &Message<'_>, look: Look) {
    let shown = match message.text() {
        Some(text) if is_readable(message.kind, text) => {
            let start = text.get(..text.floor_char_boundary(TEXT)).unwrap_or(text);
            let json = look.indent_json && start.starts_with(['{', '[']);
            let cut = start.len() as u64 != message.size.unwrap_or_default();
            let indented = json.then(|| json_pretty::indent(start, cut)).flatten();
            push_text(out, indented.as_deref().unwrap_or(start));
            start.len()
        }
        _ => push_dump(out, message.data.get(..DUMP).unwrap_or(message.data)),
    };
    let total = message.size.unwrap_or(message.data.len() as u64);
    let more = total.saturating_sub(shown as u64);
    if more > 0 {
        remark(out, look.color, |out| {
            out.push_str("… ");
            push_size(out, more);
            out.push_str(" more");
        });
    }
}

/// A body, or a part of one.
struct Entity<'a> {
    bytes: &'a [u8],
    /// Content-Type as written.
    kind: &'a [u8],
    media: Option<MediaType<'a>>,
    /// Its end is not there.
    cut: bool,
}

impl Entity<'_> {
    /// Appends text, or `describe` and a hex dump. Returns how many of the
    /// bytes need no more telling.
    fn push(&self, out: &mut String, look: Look, describe: impl FnOnce(&mut String)) -> usize {
        let media = self.media;
        if media.is_some_and(|media| media.is_media()) {
            describe(out);
            // Nobody reads an image in hex.
            return usize::MAX;
        }
        if let Some((text, bytes)) = self.text() {
            let cut = self.cut || bytes < self.bytes.len();
            let json = look.indent_json && media.is_some_and(|media| media.is_json());
            let indented = json.then(|| json_pretty::indent(&text, cut)).flatten();
            push_text(out, indented.as_deref().unwrap_or(&text));
            return bytes;
        }
        describe(out);
        push_dump(out, self.bytes.get(..DUMP).unwrap_or(self.bytes))
    }

    /// The first part of a text, and how many bytes it stands for. `None` if it
    /// is not text as a whole.
    fn text(&self) -> Option<(Cow<'_, str>, usize)> {
        let label = self.media.and_then(|media| media.charset());
        let label = label.as_deref();
        let text = charset::decode(self.bytes, label, self.cut)?;
        if !looks_like_text(&text) {
            return None;
        }
        if self.bytes.len() <= TEXT {
            return Some((text, self.bytes.len()));
        }
        let start = self.bytes.get(..TEXT)?;
        let first = charset::decode(start, label, true)?;
        // A character that did not fit is still to come.
        let bytes = match std::str::from_utf8(start) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => TEXT,
        };
        Some((first, bytes))
    }

    fn multipart(&self) -> Option<Multipart> {
        let boundary = self.media?.boundary()?;
        multipart::parse(self.bytes, &boundary)
    }
}

/// Appends the parts of a multipart body, each with a line that says what it
/// is.
fn push_parts(out: &mut String, whole: &Entity<'_>, multipart: &Multipart, look: Look) {
    for (n, part) in multipart.parts.iter().take(PARTS).enumerate() {
        let kind = part.content_type().unwrap_or_default();
        let entity = Entity {
            bytes: whole.bytes.get(part.range.clone()).unwrap_or_default(),
            kind,
            media: MediaType::parse(kind),
            cut: !part.complete,
        };
        remark(out, look.color, |out| {
            let _ = write!(out, "part {}: ", n + 1);
            describe_part(out, part, &entity);
        });
        if entity.bytes.is_empty() {
            continue;
        }
        // The line before says what it is.
        let shown = entity.push(out, look, |_| {});
        let more = entity.bytes.len().saturating_sub(shown);
        if more > 0 {
            remark(out, look.color, |out| {
                out.push_str("… ");
                push_size(out, more as u64);
                out.push_str(" more");
            });
        }
    }
    let more = multipart.count.saturating_sub(PARTS);
    if more > 0 {
        remark(out, look.color, |out| {
            let _ = write!(out, "… {more} more parts");
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

/// Whether a message is shown as the text that it may be taken for.
pub(super) fn is_readable(kind: MessageKind, text: &str) -> bool {
    match kind {
        // Binary by nature.
        MessageKind::Grpc => false,
        // Text by what its sender says.
        MessageKind::Text | MessageKind::Event => true,
        _ => looks_like_text(text),
    }
}

/// Whether text is for reading: few controls, no NUL.
fn looks_like_text(text: &str) -> bool {
    let start = text.as_bytes().get(..TEXT).unwrap_or(text.as_bytes());
    let odd = start
        .iter()
        .filter(|b| b.is_ascii_control() && !b"\n\r\t".contains(b))
        .count();
    odd * 20 <= start.len() && !start.contains(&0)
}

/// Appends text, each line indented.
fn push_text(out: &mut String, text: &str) {
    for line in text.split_inclusive('\n') {
        let line = line.strip_suffix('\n').unwrap_or(line);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if !line.is_empty() {
            out.push_str("  ");
            escape::push_body(out, line.as_bytes());
        }
        out.push('\n');
    }
}

/// Names, type and size of a part.
fn describe_part(out: &mut String, part: &Part, entity: &Entity<'_>) {
    let mut quoted = |label: &str, value: &Option<Vec<u8>>| {
        if let Some(value) = value {
            out.push_str(label);
            let mut name = String::new();
            escape::push(&mut name, value);
            escape::push_cut(out, &name, 100);
            out.push_str(", ");
        }
    };
    quoted("", &part.name);
    quoted("file ", &part.filename);
    if !entity.kind.is_empty() {
        push_kind(out, entity.kind);
        out.push_str(", ");
    }
    push_size(out, entity.bytes.len() as u64);
    if !part.complete {
        out.push_str(", its end is missing");
    }
}

fn push_kind(out: &mut String, kind: &[u8]) {
    let mut escaped = String::new();
    escape::push(&mut escaped, kind);
    if escaped.is_empty() {
        escaped.push_str("unknown type");
    }
    escape::push_cut(out, &escaped, 100);
}

/// Type, size and codings of what is not text.
fn describe(out: &mut String, body: &Body, decoding: Decoding, kind: &[u8]) {
    push_kind(out, kind);
    out.push_str(", ");
    push_amount(out, body, decoding);
}

/// How much it is, and how much it was encoded: `571 B from 160 B of gzip`.
fn push_amount(out: &mut String, body: &Body, decoding: Decoding) {
    match decoding {
        Decoding::All => push_size(out, body.size.unwrap_or(body.encoded_size)),
        Decoding::Begun => {
            out.push_str("at least ");
            push_size(out, body.bytes.len() as u64);
        }
        Decoding::None => {}
    }
    if body.encodings.is_empty() && decoding != Decoding::None {
        return;
    }
    if decoding != Decoding::None {
        out.push_str(" from ");
    }
    push_size(out, body.encoded_size);
    for (n, encoding) in body.encodings.iter().enumerate() {
        out.push_str(if n == 0 { " of " } else { ", " });
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

#[cfg(test)]
mod tests;
