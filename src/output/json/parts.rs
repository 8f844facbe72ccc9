//! What a body holds beyond its bytes: text of another charset, and the parts
//! of a multipart body.

use super::value::Writer;
use crate::content::media::MediaType;
use crate::content::multipart::{self, Part};
use crate::content::{charset, coding};
use crate::exchange::{Body, BodyState, Fields};

/// Bytes of a part up to which they are written again; those of longer ones
/// are in the body, at the part's offset.
const SMALL: usize = 4 << 10;

/// Appends `charset` with `text`, and `parts`, if the body has them.
pub(super) fn push(w: &mut Writer, body: &Body, headers: &Fields) {
    let broken = body.state == BodyState::Undecodable;
    // An encoded body is of no type.
    if body.bytes.is_empty() || broken && !coding::are_known(&body.encodings) {
        return;
    }
    let Some(media) = headers.get("Content-Type").and_then(MediaType::parse) else {
        return;
    };
    let cut = body.state != BodyState::Complete;
    if body.text().is_none()
        && let Some(label) = media.charset()
        && let Some(name) = charset::name(Some(&label))
        && let Some(text) = charset::decode(&body.bytes, Some(&label), cut)
    {
        w.raw(",\"charset\":");
        w.string(&name);
        w.raw(",\"text\":");
        w.string(&text);
    }
    let multipart = media
        .boundary()
        .and_then(|boundary| multipart::parse(&body.bytes, &boundary));
    if let Some(multipart) = multipart {
        w.raw(",\"parts\":");
        w.list(multipart.parts.iter(), |w, part| {
            let bytes = body.bytes.get(part.range.clone()).unwrap_or_default();
            self::part(w, part, bytes);
        });
        if multipart.count > multipart.parts.len() {
            w.raw(",\"part_count\":");
            w.number(multipart.count as u64);
        }
    }
}

fn part(w: &mut Writer, part: &Part, bytes: &[u8]) {
    let mut optional = |name: &str, value: Option<&[u8]>| {
        w.raw(name);
        match value {
            Some(value) => w.bytes(value),
            None => w.raw("null"),
        }
    };
    optional("{\"name\":", part.name.as_deref());
    optional(",\"filename\":", part.filename.as_deref());
    optional(",\"content_type\":", part.content_type());
    w.raw(",\"offset\":");
    w.number(part.range.start as u64);
    w.raw(",\"size\":");
    w.number(bytes.len() as u64);
    w.raw(",\"complete\":");
    w.raw(if part.complete { "true" } else { "false" });
    if bytes.len() <= SMALL {
        match std::str::from_utf8(bytes) {
            Ok(text) => {
                w.raw(",\"text\":");
                w.string(text);
            }
            Err(_) => {
                w.raw(",\"base64\":");
                w.base64(bytes);
            }
        }
    }
    w.raw("}");
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::exchange::BodyState;
    use crate::output::Sink as _;
    use crate::output::json::{Json, Options};
    use crate::output::samples::{self, Shared};

    /// The body of a response, as JSON.
    fn body(kind: &str, bytes: &[u8], state: BodyState) -> Value {
        let mut exchange = samples::plain();
        let mut response = samples::response(200, "OK", kind, bytes);
        response.body.state = state;
        exchange.response = Some(response);
        let shared = Shared::default();
        let mut sink = Json::new(Box::new(shared.clone()), Options::default());
        sink.exchange(&exchange).unwrap();
        sink.finish(crate::event::Timestamp(0)).unwrap();
        let line: Value = serde_json::from_str(&shared.take_text()).unwrap();
        line["response"]["body"].clone()
    }

    #[test]
    fn another_charset_is_given_as_text_too() {
        let body = |kind| body(kind, b"Stra\xdfe", BodyState::Complete);
        let german = body("text/plain; charset=ISO-8859-1");
        assert_eq!(german["base64"], "U3RyYd9l");
        assert_eq!(german["text"], "Straße");
        assert_eq!(german["charset"], "windows-1252");
        for kind in [
            "text/plain",
            "text/plain; charset=utf-8",
            "text/plain; charset=euc-jp",
        ] {
            let none = body(kind);
            assert_eq!(
                (none.get("text"), none.get("charset")),
                (None, None),
                "{kind}"
            );
        }
    }

    #[test]
    fn parts_of_a_form() {
        let form = [
            b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n".to_vec(),
            b"--b\r\nContent-Disposition: form-data; name=f; filename=x\r\nContent-Type: image/png\r\n\r\n\xff\r\n".to_vec(),
            [b"--b\r\n\r\n", &[b'x'; 5000][..]].concat(),
        ]
        .concat();
        let parsed = body("multipart/form-data; boundary=b", &form, BodyState::Cut);
        assert_eq!(
            parsed["parts"],
            json!([
                {"name":"a","filename":null,"content_type":null,"offset":49,"size":1,"complete":true,"text":"1"},
                {"name":"f","filename":"x","content_type":"image/png","offset":136,"size":1,"complete":true,"base64":"/w=="},
                {"name":null,"filename":null,"content_type":null,"offset":146,"size":5000,"complete":false},
            ])
        );
        let encoded = body(
            "multipart/form-data; boundary=b",
            &form,
            BodyState::Undecodable,
        );
        assert_eq!(encoded.get("parts"), None);
        let many = body(
            "multipart/mixed; boundary=b",
            &b"--b\r\n\r\n\r\n".repeat(1500),
            BodyState::Complete,
        );
        assert_eq!(many["part_count"], 1500);
        assert_eq!(many["parts"].as_array().unwrap().len(), 1000);
    }
}
