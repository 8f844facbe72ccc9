//! Cookies: those of `Cookie` and those of `Set-Cookie` with their attributes
//! (RFC 6265).

use super::super::json::value::Writer;
use super::words;
use crate::event::Timestamp;
use crate::exchange::Fields;

/// The cookies that a request sends.
pub(super) fn sent(w: &mut Writer, headers: &Fields) {
    let pairs = headers
        .get_all("cookie")
        .flat_map(|value| value.split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty());
    w.list(pairs, |w, pair| {
        w.raw("{");
        name_and_value(w, pair);
        w.raw("}");
    });
}

/// The cookies that a response sets. `now` is its time, from which `Max-Age`
/// counts.
pub(super) fn set(w: &mut Writer, headers: &Fields, now: Option<Timestamp>) {
    w.list(headers.get_all("set-cookie"), |w, value| {
        let mut parts = value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        w.raw("{");
        name_and_value(w, parts.next().unwrap_or_default());
        attributes(w, parts, now);
        w.raw("}");
    });
}

/// Name and value; what has no equals sign is a value without a name, as
/// browsers have it.
fn name_and_value(w: &mut Writer, pair: &[u8]) {
    let (name, value) = split(pair).unwrap_or((b"", pair));
    w.raw("\"name\":");
    words::push(w, name);
    w.raw(",\"value\":");
    words::push(w, value);
}

fn split(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(b'=', pair)?;
    let (name, value) = (pair.get(..at)?, pair.get(at + 1..)?);
    Some((name.trim_ascii(), value.trim_ascii()))
}

/// Of each attribute the last one counts (RFC 6265 5.3).
fn attributes<'a>(w: &mut Writer, parts: impl Iterator<Item = &'a [u8]>, now: Option<Timestamp>) {
    let (mut path, mut domain, mut expires, mut age, mut same_site) =
        (None, None, None, None, None);
    let (mut http_only, mut secure) = (false, false);
    for part in parts {
        let (name, value) = split(part).unwrap_or((part, b""));
        match name.to_ascii_lowercase().as_slice() {
            b"path" => path = Some(value),
            b"domain" => domain = Some(value),
            b"expires" => expires = date(value).or(expires),
            b"max-age" => age = seconds(value).or(age),
            b"samesite" => same_site = Some(value),
            b"httponly" => http_only = true,
            b"secure" => secure = true,
            _ => {}
        }
    }
    for (key, value) in [
        (",\"path\":", path),
        (",\"domain\":", domain),
        (",\"_sameSite\":", same_site),
    ] {
        if let Some(value) = value {
            w.raw(key);
            words::push(w, value);
        }
    }
    // Max-Age has precedence.
    match (age, now, expires) {
        (Some(0), _, _) => w.raw(",\"expires\":\"1970-01-01T00:00:00.000Z\""),
        (Some(age), Some(now), _) => {
            w.raw(",\"expires\":");
            let age = age.saturating_mul(1_000_000_000);
            w.time(Timestamp(now.0.saturating_add(age)));
        }
        (Some(_), None, _) | (None, _, None) => {}
        (None, _, Some(expires)) => {
            w.raw(",\"expires\":");
            w.string(&expires);
        }
    }
    w.raw(if http_only {
        ",\"httpOnly\":true"
    } else {
        ",\"httpOnly\":false"
    });
    w.raw(if secure {
        ",\"secure\":true"
    } else {
        ",\"secure\":false"
    });
}

/// Seconds of a Max-Age; 0 for what is over already.
fn seconds(text: &[u8]) -> Option<u64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    if digits.len() < text.len() {
        return Some(0);
    }
    // Longer than a u64 is longer than anything.
    std::str::from_utf8(digits)
        .ok()
        .map(|digits| digits.parse().unwrap_or(u64::MAX))
}

/// A cookie's date in ISO 8601. Whatever order and marks it is written in
/// (RFC 6265 5.1.1).
fn date(text: &[u8]) -> Option<String> {
    let is_delimiter = |byte: &u8| !byte.is_ascii_alphanumeric() && *byte != b':' && *byte < 0x80;
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    for token in text.split(is_delimiter).filter(|token| !token.is_empty()) {
        if time.is_none()
            && let Some(found) = clock(token)
        {
            time = Some(found);
        } else if day.is_none()
            && let Some(found) = number(token, 1..=2)
        {
            day = Some(found);
        } else if month.is_none()
            && let Some(found) = month_of(token)
        {
            month = Some(found);
        } else if year.is_none()
            && let Some(found) = number(token, 2..=4)
        {
            year = Some(found);
        }
    }
    let year = match year? {
        short @ 70..=99 => 1900 + short,
        short @ 0..=69 => 2000 + short,
        year => year,
    };
    let ((hour, minute, second), day, month) = (time?, day?, month?);
    let days = match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let is_valid =
        year >= 1601 && (1..=days).contains(&day) && hour <= 23 && minute <= 59 && second <= 59;
    is_valid
        .then(|| format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.000Z"))
}

/// `hh:mm:ss`.
fn clock(token: &[u8]) -> Option<(u32, u32, u32)> {
    let mut parts = token.split(|byte| *byte == b':');
    let mut part = || number(parts.next()?, 1..=2);
    let time = (part()?, part()?, part()?);
    parts.next().is_none().then_some(time)
}

/// The number that a token begins with, if it has so many digits; what follows
/// them does not count.
fn number(token: &[u8], digits: std::ops::RangeInclusive<usize>) -> Option<u32> {
    let end = token
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(token.len());
    let number = token.get(..end).filter(|_| digits.contains(&end))?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

fn month_of(token: &[u8]) -> Option<u32> {
    const NAMES: &[u8] = b"janfebmaraprmayjunjulaugsepoctnovdec";
    let name = token.get(..3)?.to_ascii_lowercase();
    let at = NAMES.chunks(3).position(|month| month == name)?;
    u32::try_from(at + 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::samples::{NOON, fields};
    use serde_json::{Value, json};

    fn cookies(name: &str, values: &[&str]) -> Value {
        let list: Vec<(&str, &str)> = values.iter().map(|value| (name, *value)).collect();
        let mut w = Writer::default();
        if name == "Cookie" {
            sent(&mut w, &fields(&list));
        } else {
            set(&mut w, &fields(&list), Some(Timestamp(NOON)));
        }
        serde_json::from_slice(&w.buffer).unwrap()
    }

    #[test]
    fn sent_cookies_are_pairs() {
        assert_eq!(
            cookies("Cookie", &["a=1; b=x=y;c=\"q\"; ;d", "e="]),
            json!([
                {"name":"a","value":"1"}, {"name":"b","value":"x=y"}, {"name":"c","value":"\"q\""},
                {"name":"","value":"d"}, {"name":"e","value":""},
            ])
        );
        assert_eq!(cookies("Cookie", &[]), json!([]));
    }

    #[test]
    fn set_cookies_have_their_attributes() {
        assert_eq!(
            cookies(
                "Set-Cookie",
                &[
                    "sid=1; Path=/; Domain=example.com; Expires=Wed, 21 Oct 2026 07:28:00 GMT; HttpOnly; SECURE; SameSite=Lax",
                    "a=b",
                    "a=b; expires=Wed, 21 Oct 2026 07:28:00 GMT; max-age=60",
                    "a=b; max-age=-1",
                    "a=b; max-age=soon; expires=never",
                    "a=b; max-age=99999999999999999999999",
                ]
            ),
            json!([
                {"name":"sid","value":"1","path":"/","domain":"example.com","_sameSite":"Lax",
                 "expires":"2026-10-21T07:28:00.000Z","httpOnly":true,"secure":true},
                {"name":"a","value":"b","httpOnly":false,"secure":false},
                {"name":"a","value":"b","expires":"2026-11-20T12:01:00.123456789Z","httpOnly":false,"secure":false},
                {"name":"a","value":"b","expires":"1970-01-01T00:00:00.000Z","httpOnly":false,"secure":false},
                {"name":"a","value":"b","httpOnly":false,"secure":false},
                {"name":"a","value":"b","expires":"2554-07-21T23:34:33.709551615Z","httpOnly":false,"secure":false},
            ])
        );
    }

    #[test]
    fn dates_are_read_as_browsers_read_them() {
        for (text, iso) in [
            (
                "Wed, 21 Oct 2026 07:28:00 GMT",
                Some("2026-10-21T07:28:00.000Z"),
            ),
            (
                "Wed, 21-Oct-26 07:28:00 GMT",
                Some("2026-10-21T07:28:00.000Z"),
            ),
            (
                "Sunday, 06-Nov-94 08:49:37 GMT",
                Some("1994-11-06T08:49:37.000Z"),
            ),
            ("Sun Nov  6 8:49:37 1994", Some("1994-11-06T08:49:37.000Z")),
            ("29 Feb 2023 00:00:00", None),
            ("29 Feb 2024 00:00:00", Some("2024-02-29T00:00:00.000Z")),
            ("1 Jan 1600 00:00:00", None),
            ("1 Jan 2026 24:00:00", None),
            ("1 Jan 2026", None),
            ("\u{ff}:\u{ff}", None),
            ("", None),
        ] {
            assert_eq!(date(text.as_bytes()).as_deref(), iso, "{text}");
        }
    }
}
