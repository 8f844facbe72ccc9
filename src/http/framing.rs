//! What the header fields of a message say about its body: where it ends
//! (RFC 9112 6.3), what it is encoded with, what follows it.

use crate::exchange::{Fields, Upgrade};

/// Where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// After so many bytes.
    Length(u64),
    /// Where the chunked coding says.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// The Content-Length of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Length {
    #[default]
    None,
    Known(u64),
    /// Not a number, or several that differ.
    Invalid,
}

/// The Transfer-Encoding of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Transfer {
    #[default]
    None,
    /// The last coding is chunked.
    Chunked,
    /// It is another: the body ends with the connection.
    Other,
}

/// What one pass over the header fields finds.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    length: Length,
    transfer: Transfer,
    /// Content codings, first applied first, lower case, without `identity`.
    /// [`super::head`] moves them, and `host`, into the message.
    pub encodings: Vec<String>,
    /// The first Host field.
    pub host: Option<Vec<u8>>,
    /// What the Upgrade field names.
    pub upgrade: Option<Upgrade>,
    /// `Expect: 100-continue`.
    pub expects_continue: bool,
}

impl Facts {
    /// Looks at `fields` once.
    #[must_use]
    pub fn of(fields: &Fields) -> Self {
        let mut facts = Self::default();
        for (name, value) in fields.iter() {
            // The length decides first: most fields are none of these.
            match name.len() {
                4 if name.eq_ignore_ascii_case(b"host") => {
                    facts.host.get_or_insert_with(|| value.to_vec());
                }
                6 if name.eq_ignore_ascii_case(b"expect") => {
                    facts.expects_continue |= value.eq_ignore_ascii_case(b"100-continue");
                }
                7 if name.eq_ignore_ascii_case(b"upgrade") => facts.upgrade(value),
                14 if name.eq_ignore_ascii_case(b"content-length") => facts.length(value),
                16 if name.eq_ignore_ascii_case(b"content-encoding") => facts.encoding(value),
                17 if name.eq_ignore_ascii_case(b"transfer-encoding") => facts.transfer(value),
                _ => {}
            }
        }
        facts
    }

    fn length(&mut self, value: &[u8]) {
        for part in value.split(|b| *b == b',') {
            let new = number(part.trim_ascii()).map_or(Length::Invalid, Length::Known);
            self.length = match self.length {
                Length::None => new,
                old if old == new => old,
                _ => Length::Invalid,
            };
        }
    }

    fn transfer(&mut self, value: &[u8]) {
        for part in list(value) {
            let coding = part.split(|b| *b == b';').next().unwrap_or_default();
            self.transfer = if coding.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                Transfer::Chunked
            } else {
                Transfer::Other
            };
        }
    }

    fn encoding(&mut self, value: &[u8]) {
        for part in list(value) {
            if !part.eq_ignore_ascii_case(b"identity") {
                let name = String::from_utf8_lossy(part).to_ascii_lowercase();
                self.encodings.push(name);
            }
        }
    }

    fn upgrade(&mut self, value: &[u8]) {
        for part in list(value) {
            self.upgrade
                .get_or_insert(if part.eq_ignore_ascii_case(b"websocket") {
                    Upgrade::WebSocket
                } else if part.eq_ignore_ascii_case(b"h2c") {
                    Upgrade::H2c
                } else {
                    Upgrade::Tunnel
                });
        }
    }

    /// Where a request's body ends, and whether its fields contradict each
    /// other.
    #[must_use]
    pub fn request_framing(&self) -> (Framing, bool) {
        match (self.transfer, self.length) {
            (Transfer::Chunked, length) => (Framing::Chunked, length == Length::Invalid),
            // The server cannot know the length and must answer 400.
            (Transfer::Other, _) => (Framing::UntilClose, true),
            (Transfer::None, Length::Known(n)) => (Framing::Length(n), false),
            (Transfer::None, Length::None) => (Framing::Length(0), false),
            (Transfer::None, Length::Invalid) => (Framing::UntilClose, true),
        }
    }

    /// Where the body of a response with `status` to a request with `method`
    /// (if known) ends, and whether its fields contradict each other.
    #[must_use]
    pub fn response_framing(&self, status: u16, method: Option<&[u8]>) -> (Framing, bool) {
        if method == Some(b"HEAD") || matches!(status, 100..=199 | 204 | 304) {
            return (Framing::Length(0), false);
        }
        match (self.transfer, self.length) {
            (Transfer::Chunked, length) => (Framing::Chunked, length == Length::Invalid),
            (Transfer::Other, _) => (Framing::UntilClose, false),
            (Transfer::None, Length::Known(n)) => (Framing::Length(n), false),
            // RFC 9110 15.3.6: a 205 has no content.
            (Transfer::None, Length::None) if status == 205 => (Framing::Length(0), false),
            (Transfer::None, Length::None) => (Framing::UntilClose, false),
            (Transfer::None, Length::Invalid) => (Framing::UntilClose, true),
        }
    }
}

fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|b| *b == b',')
        .map(|part| part.trim_ascii())
        .filter(|part| !part.is_empty())
}

/// Decimal digits only, as RFC 9110 8.6 has it.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |n, b| {
        let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
        n.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(fields: &[(&str, &str)]) -> Facts {
        let mut list = Fields::default();
        for (name, value) in fields {
            list.push(name.as_bytes(), value.as_bytes());
        }
        Facts::of(&list)
    }

    #[test]
    fn a_length_is_decimal_digits_and_only_one_value() {
        for (value, framing) in [
            ("0", Framing::Length(0)),
            ("18446744073709551615", Framing::Length(u64::MAX)),
            ("5, 5", Framing::Length(5)),
            ("18446744073709551616", Framing::UntilClose),
            ("5, 6", Framing::UntilClose),
            ("+5", Framing::UntilClose),
            ("-1", Framing::UntilClose),
            ("", Framing::UntilClose),
            ("0x5", Framing::UntilClose),
        ] {
            let got = facts(&[("content-length", value)]).response_framing(200, None);
            assert_eq!(got.0, framing, "{value}");
        }
        let two = facts(&[("Content-Length", "5"), ("content-length", "6")]);
        assert_eq!(two.request_framing(), (Framing::UntilClose, true));
    }

    #[test]
    fn transfer_encoding_wins_and_its_last_coding_counts() {
        let f = facts(&[
            ("Content-Length", "5"),
            ("Transfer-Encoding", "gzip, Chunked"),
        ]);
        assert_eq!(f.request_framing().0, Framing::Chunked);
        let f = facts(&[("Transfer-Encoding", "chunked, gzip")]);
        assert_eq!(f.response_framing(200, None).0, Framing::UntilClose);
        let f = facts(&[
            ("Transfer-Encoding", "gzip"),
            ("Transfer-Encoding", "chunked"),
        ]);
        assert_eq!(f.response_framing(200, None).0, Framing::Chunked);
    }

    #[test]
    fn some_responses_have_no_body_whatever_their_fields_say() {
        let f = facts(&[("Content-Length", "5")]);
        assert_eq!(f.response_framing(200, Some(b"HEAD")).0, Framing::Length(0));
        for status in [100, 103, 204, 304] {
            assert_eq!(f.response_framing(status, None).0, Framing::Length(0));
        }
        assert_eq!(facts(&[]).response_framing(205, None).0, Framing::Length(0));
    }
}
