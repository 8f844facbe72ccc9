//! Header sections as messages: pseudo-fields become method, scheme, host,
//! target and status (RFC 9113 8.3), the others stay fields.

use std::borrow::Cow;

use crate::engine::core::Core;
use crate::exchange::{Body, Fields, Request, Response, UNKNOWN, Version};
use crate::http::framing::Facts;
use crate::http::hpack::{Decoder, encode_literal};

/// Masks the password in `user:password@host`. Gives whether there is one.
fn mask_password(authority: &mut [u8]) -> bool {
    let at = memchr::memrchr(b'@', authority).unwrap_or(0);
    let user = authority.get_mut(..at).unwrap_or_default();
    let Some(colon) = memchr::memchr(b':', user) else {
        return false;
    };
    let password = user.get_mut(colon + 1..).unwrap_or_default();
    password.fill(b'*');
    !password.is_empty()
}

/// A decoded header or trailer section.
#[derive(Default)]
pub(super) struct Section {
    method: Option<Vec<u8>>,
    scheme: Option<Cow<'static, [u8]>>,
    authority: Option<Vec<u8>>,
    path: Option<Vec<u8>>,
    protocol: Option<Vec<u8>>,
    status: Option<u16>,
    fields: Fields,
    /// A field's name or value is a placeholder.
    unknown: bool,
    /// The block broke off or was not there.
    broken: bool,
}

impl Section {
    /// Decodes a block.
    pub(super) fn decode(hpack: &mut Decoder, block: &[u8]) -> Self {
        let mut section = Self {
            fields: Fields::with_capacity(16, block.len().saturating_mul(2).min(4096)),
            ..Self::default()
        };
        let decoded = hpack.decode(block, &mut |field| {
            section.unknown |= field.unknown;
            if field.name.first() == Some(&b':') {
                section.pseudo(field.name, field.value);
            } else {
                section.fields.push(field.name, field.value);
            }
        });
        section.broken = decoded.is_err();
        section
    }

    /// One whose block is not there.
    pub(super) fn lost() -> Self {
        Self {
            broken: true,
            ..Self::default()
        }
    }

    fn pseudo(&mut self, name: &[u8], value: &[u8]) {
        let place = match name {
            b":method" => &mut self.method,
            b":scheme" => {
                self.scheme.get_or_insert_with(|| match value {
                    b"https" => Cow::Borrowed(b"https"),
                    b"http" => Cow::Borrowed(b"http"),
                    _ => Cow::Owned(value.to_vec()),
                });
                return;
            }
            b":authority" => &mut self.authority,
            b":path" => &mut self.path,
            b":protocol" => &mut self.protocol,
            b":status" => {
                // Three digits (RFC 9110 15); a sign would be taken for one.
                let digits = value.len() == 3 && value.iter().all(u8::is_ascii_digit);
                let text = std::str::from_utf8(value).ok().filter(|_| digits);
                self.status = text.and_then(|v| v.parse().ok());
                return;
            }
            _ => return self.fields.push(name, value),
        };
        if place.is_none() {
            *place = Some(value.to_vec());
        }
    }

    /// Whether something in it is not what was sent.
    pub(super) const fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether there are placeholders in it.
    pub(super) const fn has_unknown(&self) -> bool {
        self.unknown
    }

    /// The status of a response.
    pub(super) const fn status(&self) -> Option<u16> {
        self.status
    }

    /// Whether it begins a request or a response.
    pub(super) const fn begins_message(&self) -> bool {
        self.method.is_some() || self.status.is_some()
    }

    /// Whether it can only be a trailer section: all is known of it, and
    /// there is no pseudo-field.
    pub(super) const fn is_trailers(&self) -> bool {
        let pseudo = self.begins_message()
            || self.scheme.is_some()
            || self.authority.is_some()
            || self.path.is_some();
        !pseudo && !self.unknown && !self.broken
    }

    /// Lets go of what takes memory.
    pub(super) fn forget(&mut self) {
        *self = Self {
            method: self.method.take().filter(|m| m.len() <= 64),
            status: self.status,
            unknown: self.unknown,
            broken: self.broken,
            ..Self::default()
        };
    }

    /// The fields of a trailer section or an interim response, which it has no
    /// more.
    pub(super) fn take_fields(&mut self) -> Fields {
        std::mem::take(&mut self.fields)
    }

    /// Masks what is secret. Gives whether there was something.
    pub(super) fn mask(&mut self, core: &Core) -> bool {
        let Some(redact) = &core.config.redact else {
            return false;
        };
        let mut masked = false;
        if let Some(path) = &mut self.path {
            masked |= redact.mask_target(path);
        }
        if let Some(authority) = &mut self.authority {
            masked |= mask_password(authority);
        }
        self.fields.values_mut(|name, value| {
            // Of what the name is not known the value may be a password.
            if name.starts_with(b"<unknown:") && name != value {
                masked |= !value.is_empty();
                value.fill(b'*');
            }
            masked |= redact.mask_field(name.trim_ascii(), value);
        });
        masked
    }

    /// Appends the section as a block that needs no table (RFC 7541 6.2.2).
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        if let Some(status) = self.status {
            let digit = |of: u16| b'0' + (status / of % 10) as u8;
            let digits = [digit(100), digit(10), digit(1)];
            encode_literal(b":status", &digits, false, out);
        }
        let pseudo: [(&[u8], Option<&[u8]>); 5] = [
            (b":method", self.method.as_deref()),
            (b":scheme", self.scheme.as_deref()),
            (b":authority", self.authority.as_deref()),
            (b":path", self.path.as_deref()),
            (b":protocol", self.protocol.as_deref()),
        ];
        for (name, value) in pseudo {
            if let Some(value) = value {
                encode_literal(name, value, false, out);
            }
        }
        for (name, value) in self.fields.iter() {
            encode_literal(name, value, false, out);
        }
    }

    /// As a request. `scheme` is that of the connection; `keep`: the section
    /// is needed again.
    pub(super) fn request(&mut self, scheme: &'static str, keep: bool) -> Request {
        let text = |text: &mut Option<Vec<u8>>| if keep { text.clone() } else { text.take() };
        let mut facts = Facts::of(&self.fields);
        let scheme = match self.scheme.as_deref() {
            Some(b"https") => "https",
            Some(b"http") => "http",
            _ => scheme,
        };
        let method = text(&mut self.method).unwrap_or_else(|| UNKNOWN.to_vec());
        let host = text(&mut self.authority).or_else(|| facts.host.take());
        // CONNECT has an authority only (RFC 9113 8.5).
        let target = match text(&mut self.path) {
            Some(path) => path,
            None if method == b"CONNECT" => host.clone().unwrap_or_default(),
            None => UNKNOWN.to_vec(),
        };
        let mut headers = if keep {
            self.fields.clone()
        } else {
            self.take_fields()
        };
        if let Some(protocol) = &self.protocol {
            headers.push(b":protocol", protocol);
        }
        Request {
            method,
            target,
            scheme,
            host,
            version: Version::Http2,
            headers,
            trailers: Fields::default(),
            body: Body {
                encodings: std::mem::take(&mut facts.encodings),
                ..Body::default()
            },
        }
    }

    /// As a final response; the section has its fields no more.
    pub(super) fn response(&mut self) -> Response {
        let mut facts = Facts::of(&self.fields);
        Response {
            status: self.status.unwrap_or(0),
            reason: Vec::new(),
            version: Version::Http2,
            headers: self.take_fields(),
            trailers: Fields::default(),
            interim: Vec::new(),
            body: Body {
                encodings: std::mem::take(&mut facts.encodings),
                ..Body::default()
            },
        }
    }

    /// Whether the request asks for WebSocket over a stream (RFC 8441 4).
    pub(super) fn wants_websocket(&self) -> bool {
        self.protocol.as_deref() == Some(b"websocket")
    }

    /// Bytes that it stands for in the budget.
    pub(super) fn cost(&self) -> u64 {
        let fields: usize = self
            .fields
            .iter()
            .map(|(n, v)| n.len() + v.len() + 16)
            .sum();
        let pseudo = [&self.method, &self.authority, &self.path, &self.protocol];
        let pseudo: usize = pseudo.into_iter().flatten().map(Vec::len).sum();
        let pseudo = pseudo + self.scheme.as_ref().map_or(0, |s| s.len());
        (fields + pseudo + 64) as u64
    }
}
