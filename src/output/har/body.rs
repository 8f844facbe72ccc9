//! Bodies: `postData` and `content`, with what JSON's `body` says beside them.

use super::super::json::grpc;
use super::super::json::value::Writer;
use super::{message, words};
use crate::content::coding;
use crate::content::media::MediaType;
use crate::content::multipart;
use crate::exchange::{Body, BodyState, Fields, Request, Response};

/// Forms up to so many bytes are listed by parameter too: a parameter takes
/// far more room in the list than in the form.
const FORM: usize = 64 << 10;

/// `,"postData":…` if the request has a body.
pub(super) fn post_data(w: &mut Writer, request: &Request) {
    let body = &request.body;
    if body.encoded_size == 0 {
        return;
    }
    let mime = mime(&request.headers);
    w.raw(",\"postData\":{\"mimeType\":");
    words::push(w, mime);
    let is_form = essence(mime).eq_ignore_ascii_case(b"application/x-www-form-urlencoded");
    if body.state == BodyState::Complete && body.bytes.len() <= FORM {
        if is_form {
            w.raw(",\"params\":");
            message::parameters(w, &body.bytes);
        } else {
            parts(w, body, mime);
        }
    }
    // HAR 1.2 has no encoding here. One that is left out would be taken for
    // the text itself, so the name says that it is our own.
    text(w, body, mime, ",\"_encoding\":\"base64\"");
    rest(w, body);
    w.raw("}");
}

/// `,"params":…` of a form of several parts: what is in files is in the text
/// alone.
fn parts(w: &mut Writer, body: &Body, mime: &[u8]) {
    let boundary = MediaType::parse(mime).and_then(|media| media.boundary());
    let form = boundary.and_then(|boundary| multipart::parse(&body.bytes, &boundary));
    let Some(form) = form else {
        return;
    };
    w.raw(",\"params\":");
    w.list(form.parts.iter(), |w, part| {
        w.raw("{\"name\":");
        words::push(w, part.name.as_deref().unwrap_or_default());
        match &part.filename {
            Some(filename) => {
                w.raw(",\"fileName\":");
                words::push(w, filename);
            }
            None => {
                w.raw(",\"value\":");
                words::push(w, body.bytes.get(part.range.clone()).unwrap_or_default());
            }
        }
        if let Some(kind) = part.content_type() {
            w.raw(",\"contentType\":");
            words::push(w, kind);
        }
        w.raw("}");
    });
}

/// `,"content":…`.
pub(super) fn content(w: &mut Writer, response: &Response) {
    let body = &response.body;
    w.raw(",\"content\":{\"size\":");
    // Without codings it is known in spite of holes.
    let size = body
        .size
        .or_else(|| body.encodings.is_empty().then_some(body.encoded_size));
    match size {
        Some(size) => w.number(size),
        None => w.raw("-1"),
    }
    if let Some(size) = body.size
        && !body.encodings.is_empty()
    {
        w.raw(",\"compression\":");
        if size < body.encoded_size {
            w.raw("-");
        }
        w.number(size.abs_diff(body.encoded_size));
    }
    let mime = mime(&response.headers);
    w.raw(",\"mimeType\":");
    words::push(w, mime);
    if body.encoded_size > 0 {
        text(w, body, mime, ",\"encoding\":\"base64\"");
    }
    rest(w, body);
    w.raw("}");
}

/// The bytes that were kept: as text if they are that, else as base64 with
/// `encoding` behind it.
fn text(w: &mut Writer, body: &Body, mime: &[u8], encoding: &str) {
    w.raw(",\"text\":");
    match readable(body, mime) {
        Some(text) => w.string(text),
        None => {
            w.base64(&body.bytes);
            w.raw(encoding);
        }
    }
}

/// The text of a body, if writing it as text keeps its bytes: an importer
/// writes it in the charset that the type names, and some stop at controls.
fn readable<'a>(body: &'a Body, mime: &[u8]) -> Option<&'a str> {
    let text = body.text()?;
    let is_plain = |byte: u8| byte >= 0x20 || matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c);
    if !text.bytes().all(is_plain) {
        return None;
    }
    let is_unicode = charset(mime).is_none_or(|charset| {
        [&b"utf-8"[..], b"utf8"]
            .iter()
            .any(|name| charset.eq_ignore_ascii_case(name))
    });
    (is_unicode || text.is_ascii()).then_some(text)
}

/// What became of a body that is not all there.
fn rest(w: &mut Writer, body: &Body) {
    if !body.encodings.is_empty() {
        w.raw(",\"_encodings\":");
        w.list(body.encodings.iter(), |w, encoding| w.string(encoding));
    }
    if body.state != BodyState::Complete {
        w.raw(",\"_state\":");
        w.name(body.state.name());
    }
    if !body.missing.is_empty() {
        w.raw(",\"_missing\":");
        w.missing(&body.missing);
    }
    if let Some(messages) = &body.messages {
        w.raw(",\"_messages\":");
        grpc::list(w, messages);
        if messages.unlisted() > 0 {
            w.raw(",\"_message_count\":");
            w.number(messages.count);
        }
        if let Some(trailers) = &messages.trailers {
            w.raw(",\"_trailers\":");
            message::fields(w, trailers);
        }
    }
    let kept = body.bytes.len();
    let comment = match body.state {
        BodyState::Complete if body.size.is_none() && !body.encodings.is_empty() => {
            format!("still encoded: {}", body.encodings.join(", "))
        }
        BodyState::Complete => return,
        BodyState::Cut => format!("the first {kept} bytes (--max-body)"),
        BodyState::Lost if body.missing.is_empty() => {
            format!("the first {kept} bytes: it ended before all of it had come")
        }
        BodyState::Lost => format!("the first {kept} bytes, the rest is lost"),
        BodyState::Undecodable if kept > 0 && coding::are_known(&body.encodings) => {
            let codings = body.encodings.join(", ");
            format!("the first {kept} bytes, the rest could not be decoded: {codings}")
        }
        BodyState::Undecodable => format!("could not be decoded: {}", body.encodings.join(", ")),
    };
    w.raw(",\"comment\":");
    w.string(&comment);
}

fn mime(headers: &Fields) -> &[u8] {
    headers.get("content-type").unwrap_or_default()
}

/// A media type without its parameters.
fn essence(mime: &[u8]) -> &[u8] {
    let essence = mime.split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii()
}

/// The charset that a media type names.
fn charset(mime: &[u8]) -> Option<&[u8]> {
    mime.split(|byte| *byte == b';').skip(1).find_map(|pair| {
        let mut parts = pair.splitn(2, |byte| *byte == b'=');
        let name = parts.next()?.trim_ascii();
        let value = parts.next()?.trim_ascii();
        let quoted = value
            .strip_prefix(b"\"")
            .and_then(|v| v.strip_suffix(b"\""));
        name.eq_ignore_ascii_case(b"charset")
            .then_some(quoted.unwrap_or(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::samples::body;

    #[test]
    fn text_is_what_comes_back_as_the_same_bytes() {
        let is_text = |bytes: &[u8], mime: &str| readable(&body(bytes), mime.as_bytes()).is_some();
        assert!(is_text("Grüße\r\n\t".as_bytes(), "text/plain"));
        assert!(is_text("Grüße".as_bytes(), "text/plain;charset=\"UTF-8\""));
        assert!(is_text(b"plain", "text/plain; charset=iso-8859-1"));
        // Valid UTF-8, which the type says they are not.
        assert!(!is_text("Grüße".as_bytes(), "text/plain; Charset=latin1"));
        assert!(!is_text(b"h\0e\0", "text/plain; charset=utf-16le"));
        assert!(!is_text(b"\x1b$B", "text/plain; charset=iso-2022-jp"));
        assert!(!is_text(b"\xff", "text/plain"));
    }

    #[test]
    fn a_media_type_has_parts() {
        assert_eq!(essence(b"a/b ; c=d"), b"a/b");
        assert_eq!(charset(b"a/b; x=y; charset=z"), Some(&b"z"[..]));
        assert_eq!(charset(b"a/b; x=y; charset"), None);
        assert_eq!(charset(b"charset=x"), None);
    }
}
