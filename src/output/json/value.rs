//! JSON values written straight into a buffer: no tree, no allocation.

use std::io::Write as _;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::event::{Endpoint, Timestamp};
use crate::exchange::Missing;
use crate::output::escape::{Want, find_special, plain_length};

/// A buffer that knows how JSON values look. Punctuation and keys are the
/// caller's, as literal text.
#[derive(Debug, Default)]
pub(in crate::output) struct Writer {
    pub(in crate::output) buffer: Vec<u8>,
    /// The second that `calendar` was worked out for.
    second: u64,
    calendar: [u8; 19],
}

impl Writer {
    /// Text that is JSON already.
    pub(in crate::output) fn raw(&mut self, json: &str) {
        self.buffer.extend_from_slice(json.as_bytes());
    }

    pub(in crate::output) fn number(&mut self, number: u64) {
        let mut digits = itoa::Buffer::new();
        self.raw(digits.format(number));
    }

    /// A number, or `null`.
    pub(in crate::output) fn number_or_null(&mut self, number: Option<u64>) {
        match number {
            Some(number) => self.number(number),
            None => self.raw("null"),
        }
    }

    /// A string that needs no escapes.
    pub(in crate::output) fn name(&mut self, name: &str) {
        self.quoted(name.as_bytes());
    }

    fn quoted(&mut self, plain: &[u8]) {
        self.buffer.reserve(plain.len() + 2);
        self.buffer.push(b'"');
        self.buffer.extend_from_slice(plain);
        self.buffer.push(b'"');
    }

    /// Any string.
    pub(in crate::output) fn string(&mut self, text: &str) {
        self.raw("\"");
        self.escaped(text);
        self.raw("\"");
    }

    /// An address, as it prints.
    pub(in crate::output) fn endpoint(&mut self, endpoint: &Endpoint) {
        self.raw("\"");
        match endpoint {
            // By hand, because formatting costs as much as the rest of the
            // connection's facts.
            Endpoint::Tcp(SocketAddr::V4(address)) => {
                for (octet, mark) in address.ip().octets().into_iter().zip(["", ".", ".", "."]) {
                    self.raw(mark);
                    self.number(octet.into());
                }
                self.raw(":");
                self.number(address.port().into());
            }
            // Nothing in it needs an escape; writing to a buffer does not
            // fail.
            Endpoint::Tcp(address) => drop(write!(self.buffer, "{address}")),
            Endpoint::Unix(path) => {
                self.raw("unix:");
                self.escaped(path);
            }
        }
        self.raw("\"");
    }

    /// Bytes of strangers: a string if they are UTF-8, else
    /// `{"base64":"…"}`.
    pub(in crate::output) fn bytes(&mut self, bytes: &[u8]) {
        if plain_length(bytes, Want::Json) == bytes.len() {
            // Nearly always; ASCII is UTF-8.
            return self.quoted(bytes);
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => self.string(text),
            Err(_) => {
                self.raw("{\"base64\":");
                self.base64(bytes);
                self.raw("}");
            }
        }
    }

    /// [`Writer::bytes`] of several pieces that make up one string.
    pub(in crate::output) fn bytes_of(&mut self, pieces: &[&[u8]]) {
        let start = self.buffer.len();
        self.raw("\"");
        for piece in pieces {
            match std::str::from_utf8(piece) {
                Ok(text) => self.escaped(text),
                Err(_) => {
                    self.buffer.truncate(start);
                    return self.bytes(&pieces.concat());
                }
            }
        }
        self.raw("\"");
    }

    /// Bytes, or `null` if there are none.
    pub(in crate::output) fn bytes_or_null(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            self.raw("null");
        } else {
            self.bytes(bytes);
        }
    }

    /// A string of base64 (RFC 4648 4, with padding).
    pub(in crate::output) fn base64(&mut self, bytes: &[u8]) {
        self.raw("\"");
        let start = self.buffer.len();
        let room = bytes.len().div_ceil(3) * 4;
        self.buffer.resize(start + room, 0);
        if let Some(space) = self.buffer.get_mut(start..) {
            // There is room for all of it, so this does not fail.
            let _ = STANDARD.encode_slice(bytes, space);
        }
        self.raw("\"");
    }

    /// `[a,b,…]`, each item written by `item`.
    pub(in crate::output) fn list<T>(
        &mut self,
        items: impl Iterator<Item = T>,
        mut item: impl FnMut(&mut Self, T),
    ) {
        self.raw("[");
        for (n, value) in items.enumerate() {
            if n > 0 {
                self.raw(",");
            }
            item(self, value);
        }
        self.raw("]");
    }

    /// The holes of a body.
    pub(in crate::output) fn missing(&mut self, holes: &[Missing]) {
        self.list(holes.iter(), |w, missing| {
            w.raw("{\"offset\":");
            w.number(missing.offset);
            w.raw(",\"length\":");
            w.number(missing.length);
            w.raw(",\"reason\":");
            w.name(missing.reason.name());
            w.raw("}");
        });
    }

    /// A time as RFC 3339 in UTC with nanoseconds.
    pub(in crate::output) fn time(&mut self, time: Timestamp) {
        let second = time.0 / 1_000_000_000;
        if self.second != second || second == 0 {
            self.second = second;
            self.calendar = calendar(second);
        }
        self.raw("\"");
        self.buffer.extend_from_slice(&self.calendar);
        let mut fraction = *b".000000000Z\"";
        let mut rest = time.0 % 1_000_000_000;
        for digit in fraction.iter_mut().skip(1).take(9).rev() {
            *digit += u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
        self.buffer.extend_from_slice(&fraction);
    }

    fn escaped(&mut self, mut text: &str) {
        loop {
            let (plain, special) = find_special(text, Want::Json);
            self.raw(plain);
            let Some((c, rest)) = special else { return };
            match c {
                '"' => self.raw("\\\""),
                '\\' => self.raw("\\\\"),
                '\n' => self.raw("\\n"),
                '\r' => self.raw("\\r"),
                '\t' => self.raw("\\t"),
                c => {
                    // Above U+FFFF: two surrogates.
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        self.raw("\\u");
                        for shift in [12, 8, 4, 0] {
                            let digit = u32::from(*unit >> shift) & 15;
                            let digit = char::from_digit(digit, 16).unwrap_or('0');
                            self.buffer.push(u8::try_from(digit).unwrap_or(b'0'));
                        }
                    }
                }
            }
            text = rest;
        }
    }
}

/// `2026-11-20T12:00:00` for a second since 1970.
fn calendar(second: u64) -> [u8; 19] {
    // Civil date from days in the proleptic Gregorian calendar, in eras of
    // 400 years that begin on 1 March (Howard Hinnant, "chrono-compatible
    // low-level date algorithms", civil_from_days).
    let days = second / 86_400 + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let clock = second % 86_400;
    let mut text = *b"0000-00-00T00:00:00";
    for (at, number) in [
        (0, year / 100),
        (2, year % 100),
        (5, month),
        (8, day),
        (11, clock / 3600),
        (14, clock / 60 % 60),
        (17, clock % 60),
    ] {
        if let Some([tens, ones]) = text.get_mut(at..at + 2) {
            *tens += u8::try_from(number / 10 % 10).unwrap_or(0);
            *ones += u8::try_from(number % 10).unwrap_or(0);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn written(write: impl FnOnce(&mut Writer)) -> String {
        let mut writer = Writer::default();
        write(&mut writer);
        String::from_utf8(writer.buffer).unwrap()
    }

    #[test]
    fn times_are_those_of_a_calendar() {
        for (nanos, text) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_400_000_000_001, "2000-02-29T00:00:00.000000001Z"),
            (1_763_640_000_123_456_789, "2025-11-20T12:00:00.123456789Z"),
            (4_107_542_399_999_999_999, "2100-02-28T23:59:59.999999999Z"),
            (u64::MAX, "2554-07-21T23:34:33.709551615Z"),
        ] {
            assert_eq!(written(|w| w.time(Timestamp(nanos))), format!("\"{text}\""));
        }
    }

    #[test]
    fn the_second_is_remembered_without_harm() {
        let text = written(|w| {
            for nanos in [
                1_500_000_000,
                1_600_000_000,
                2_000_000_000,
                1_000_000_000,
                0,
            ] {
                w.time(Timestamp(nanos));
            }
        });
        let seconds: Vec<&str> = text.split('"').filter(|s| !s.is_empty()).collect();
        assert_eq!(
            seconds.iter().map(|s| &s[17..21]).collect::<Vec<_>>(),
            ["01.5", "01.6", "02.0", "01.0", "00.0"]
        );
    }

    #[test]
    fn controls_and_marks_are_escaped() {
        assert_eq!(
            written(|w| w.string("a\"\\\n\r\t\0\x1b\u{7f}\u{9b}\u{2028}\u{202e}\u{e0041}é😀")),
            r#""a\"\\\n\r\t\u0000\u001b\u007f\u009b\u2028\u202e\udb40\udc41é😀""#
        );
    }

    #[test]
    fn an_address_is_written_as_it_prints() {
        for text in [
            "0.0.0.0:0",
            "127.0.0.1:443",
            "255.255.255.255:65535",
            "[::1]:80",
        ] {
            let end = Endpoint::Tcp(text.parse().unwrap());
            assert_eq!(written(|w| w.endpoint(&end)), format!("\"{end}\""));
        }
        let end = Endpoint::Unix("@a\"b".into());
        assert_eq!(written(|w| w.endpoint(&end)), r#""unix:@a\"b""#);
    }

    #[test]
    fn pieces_make_one_string_or_one_base64() {
        assert_eq!(written(|w| w.bytes_of(&[b"a", b"\n", b"b"])), r#""a\nb""#);
        assert_eq!(
            written(|w| w.bytes_of(&[b"a", b"\xff"])),
            r#"{"base64":"Yf8="}"#
        );
    }

    proptest! {
        #[test]
        fn any_string_comes_back(text: String) {
            let json = written(|w| w.string(&text));
            prop_assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), Value::from(text));
        }

        #[test]
        fn any_bytes_come_back(bytes: Vec<u8>) {
            let json = written(|w| w.bytes(&bytes));
            let back = match serde_json::from_str::<Value>(&json).unwrap() {
                Value::String(text) => text.into_bytes(),
                value => STANDARD.decode(value["base64"].as_str().unwrap()).unwrap(),
            };
            prop_assert_eq!(back, bytes);
        }
    }
}
