//! Media types: what Content-Type says (RFC 9110 8.3.1).

use std::borrow::Cow;

use super::params;

/// A media type, borrowed from a field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaType<'a> {
    kind: &'a str,
    subtype: &'a str,
    params: &'a [u8],
}

impl<'a> MediaType<'a> {
    /// Parses a field's value; `None` if it does not begin with a type and a
    /// subtype. What follows may be anything.
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let end = memchr::memchr2(b';', b',', value).unwrap_or(value.len());
        let (essence, params) = value.split_at(end);
        let essence = std::str::from_utf8(essence).ok()?;
        let (kind, subtype) = essence.split_once('/')?;
        let (kind, subtype) = (kind.trim_ascii(), subtype.trim_ascii());
        let token = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic());
        (token(kind) && token(subtype)).then_some(Self {
            kind,
            subtype,
            params,
        })
    }

    /// The type, `text`, in the case in which it was written.
    #[must_use]
    pub const fn kind(&self) -> &'a str {
        self.kind
    }

    /// The subtype, `html`, in the case in which it was written.
    #[must_use]
    pub const fn subtype(&self) -> &'a str {
        self.subtype
    }

    /// A parameter's value, ignoring the case of its name.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        params::find(self.params, name)
    }

    /// The charset's label, if there is one.
    #[must_use]
    pub fn charset(&self) -> Option<Cow<'a, str>> {
        match self.param("charset")? {
            Cow::Borrowed(label) => std::str::from_utf8(label).ok().map(Cow::Borrowed),
            Cow::Owned(label) => String::from_utf8(label).ok().map(Cow::Owned),
        }
    }

    /// The boundary of a multipart type.
    #[must_use]
    pub fn boundary(&self) -> Option<Cow<'a, [u8]>> {
        if self.is_multipart() {
            self.param("boundary")
        } else {
            None
        }
    }

    fn is(&self, kind: &str, subtypes: &[&str]) -> bool {
        self.kind.eq_ignore_ascii_case(kind)
            && subtypes
                .iter()
                .any(|s| self.subtype.eq_ignore_ascii_case(s))
    }

    /// Whether the subtype ends like this (RFC 6838 4.2.8).
    fn has_suffix(&self, suffix: &str) -> bool {
        let at = self.subtype.len().wrapping_sub(suffix.len());
        self.subtype
            .get(at..)
            .is_some_and(|end| end.eq_ignore_ascii_case(suffix))
    }

    /// `application/json`, `text/json` and whatever ends in `+json`.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.is("application", &["json"]) || self.is("text", &["json"]) || self.has_suffix("+json")
    }

    /// Whether it is for reading as text.
    #[must_use]
    pub fn is_text(&self) -> bool {
        const TEXTS: &[&str] = &[
            "ecmascript",
            "graphql",
            "javascript",
            "json-seq",
            "ld-json",
            "ndjson",
            "sql",
            "toml",
            "x-javascript",
            "x-ndjson",
            "x-sh",
            "x-www-form-urlencoded",
            "x-yaml",
            "xml",
            "xml-dtd",
            "yaml",
        ];
        self.kind.eq_ignore_ascii_case("text")
            || self.is("application", TEXTS)
            || self.is_json()
            || self.has_suffix("+xml")
            || self.has_suffix("+yaml")
    }

    /// Images, sound, video and fonts, but not those that are text (SVG).
    #[must_use]
    pub fn is_media(&self) -> bool {
        ["image", "audio", "video", "font"]
            .iter()
            .any(|kind| self.kind.eq_ignore_ascii_case(kind))
            && !self.is_text()
    }

    /// `multipart/…` (RFC 2046 5.1).
    #[must_use]
    pub const fn is_multipart(&self) -> bool {
        self.kind.eq_ignore_ascii_case("multipart")
    }

    /// `text/event-stream`.
    #[must_use]
    pub fn is_event_stream(&self) -> bool {
        self.is("text", &["event-stream"])
    }

    /// `application/grpc`, with `+proto` and the like, but not gRPC-Web.
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        self.is_named("grpc")
    }

    /// `application/grpc-web`, with `+proto` and the like; not its text form.
    #[must_use]
    pub fn is_grpc_web(&self) -> bool {
        self.is_named("grpc-web")
    }

    /// `application/grpc-web-text`: gRPC-Web in base64.
    #[must_use]
    pub fn is_grpc_web_text(&self) -> bool {
        self.is_named("grpc-web-text")
    }

    /// `application/NAME` or `application/NAME+…`.
    fn is_named(&self, name: &str) -> bool {
        let base = self
            .subtype
            .split_once('+')
            .map_or(self.subtype, |(b, _)| b);
        self.kind.eq_ignore_ascii_case("application") && base.eq_ignore_ascii_case(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(value: &str) -> MediaType<'_> {
        MediaType::parse(value.as_bytes()).unwrap()
    }

    #[test]
    fn types_and_parameters() {
        let html = parsed("Text/HTML ; Charset=\"ISO-8859-1\"");
        assert_eq!((html.kind(), html.subtype()), ("Text", "HTML"));
        assert_eq!(html.charset().as_deref(), Some("ISO-8859-1"));
        assert!(html.is_text() && !html.is_json() && html.boundary().is_none());
        let form = parsed("multipart/form-data; boundary=\"a b;c\"");
        assert_eq!(form.boundary().as_deref(), Some(&b"a b;c"[..]));
        for none in [
            "",
            "text",
            "/",
            "text/",
            "/html",
            "te xt/html",
            ";",
            "\u{e9}/x",
        ] {
            assert_eq!(MediaType::parse(none.as_bytes()), None, "{none}");
        }
        assert_eq!(MediaType::parse(b"text/\xff"), None);
        assert_eq!(
            parsed("text/plain; charset=\u{fe}").charset().as_deref(),
            Some("\u{fe}")
        );
    }

    #[test]
    fn what_it_is() {
        for json in [
            "application/json",
            "APPLICATION/JSON;x",
            "text/json",
            "application/problem+JSON",
        ] {
            assert!(parsed(json).is_json() && parsed(json).is_text(), "{json}");
        }
        for not in [
            "application/jsonx",
            "application/json5x",
            "json/application",
        ] {
            assert!(!parsed(not).is_json(), "{not}");
        }
        for text in [
            "text/x",
            "image/svg+xml",
            "application/x-www-form-urlencoded",
            "application/xml",
        ] {
            assert!(parsed(text).is_text() && !parsed(text).is_media(), "{text}");
        }
        for media in ["image/png", "audio/ogg", "Video/MP4", "font/woff2"] {
            assert!(
                parsed(media).is_media() && !parsed(media).is_text(),
                "{media}"
            );
        }
        assert!(parsed("text/event-stream;charset=utf-8").is_event_stream());
        for (grpc, is) in [
            ("application/grpc", [true, false, false]),
            ("application/grpc+proto", [true, false, false]),
            ("application/grpc-web+json; x", [false, true, false]),
            ("application/grpc-web-text", [false, false, true]),
            ("application/grpc-web-text+proto", [false, false, true]),
            ("application/grpcx", [false; 3]),
        ] {
            let media = parsed(grpc);
            let got = [
                media.is_grpc(),
                media.is_grpc_web(),
                media.is_grpc_web_text(),
            ];
            assert_eq!(got, is, "{grpc}");
        }
    }
}
