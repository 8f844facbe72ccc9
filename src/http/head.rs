//! The head of a message: where it ends, and what is in it (with httparse).

use std::borrow::Cow;
use std::mem::MaybeUninit;

use httparse::{Header, ParserConfig, Status};
use memchr::memchr;

use super::Malformed;
use super::framing::Facts;
use super::start::split_request_line;
use crate::exchange::{Body, Fields, Request, Response, Version};

/// Longest head that is parsed, in bytes.
pub const HEAD_LIMIT: usize = 256 << 10;

/// Most header fields that httparse is given room for; a head with more is
/// split without it.
pub const FIELDS_LIMIT: usize = 512;

/// Most fields for which no large array is set up.
const FIELDS_USUAL: usize = 64;

/// A parsed head.
#[derive(Clone, Debug)]
pub struct Head<T> {
    /// The message, its body empty.
    pub message: T,
    /// What its fields say.
    pub facts: Facts,
    /// Fields that are not of the form of a field were left out.
    pub lenient: bool,
}

/// The length of the head that `buf` begins with, its empty line included;
/// `None` if it is not whole. Lines end with CR LF or LF. `scanned` is how
/// far an earlier call on a shorter `buf` looked, 0 at first.
#[must_use]
pub fn find_end(buf: &[u8], scanned: &mut usize) -> Option<usize> {
    loop {
        let Some(found) = memchr(b'\n', buf.get(*scanned..)?) else {
            *scanned = buf.len();
            return None;
        };
        let at = *scanned + found;
        match (buf.get(at + 1), buf.get(at + 2)) {
            (Some(b'\n'), _) => return Some(at + 2),
            (Some(b'\r'), Some(b'\n')) => return Some(at + 3),
            (None, _) | (Some(b'\r'), None) => {
                *scanned = at;
                return None;
            }
            _ => *scanned = at + 1,
        }
    }
}

/// Parses a whole request head. `scheme` is that of the connection.
pub fn request(head: &[u8], scheme: &'static str) -> Result<Head<Request>, Malformed> {
    let line_end = memchr(b'\n', head).ok_or(Malformed)?;
    let line = head.get(..line_end).ok_or(Malformed)?;
    let (method, target, minor) = split_request_line(line).ok_or(Malformed)?;
    let mut head = unfold(head);
    // httparse wants a target of visible characters in UTF-8: where it is
    // not, another stands in for it.
    if target.iter().any(|b| !b.is_ascii_graphic()) {
        let mut plain = Vec::with_capacity(head.len());
        plain.extend_from_slice(b"GET / HTTP/1.1\n");
        let fields = memchr(b'\n', &head).map_or(head.len(), |i| i + 1);
        plain.extend_from_slice(head.get(fields..).unwrap_or_default());
        head = Cow::Owned(plain);
    }
    let (headers, lenient) = fields(&head, true)?;
    let mut facts = Facts::of(&headers);
    let (own_scheme, authority) = authority(method, target);
    let host = match authority {
        Some(authority) => Some(authority.to_vec()),
        None => facts.host.take(),
    };
    Ok(Head {
        message: Request {
            method: method.to_vec(),
            target: target.to_vec(),
            scheme: own_scheme.unwrap_or(scheme),
            host,
            version: version(minor),
            headers,
            trailers: Fields::default(),
            body: Body {
                encodings: std::mem::take(&mut facts.encodings),
                ..Body::default()
            },
        },
        facts,
        lenient,
    })
}

/// Parses a whole response head.
pub fn response(head: &[u8]) -> Result<Head<Response>, Malformed> {
    let line_end = memchr(b'\n', head).ok_or(Malformed)?;
    let line = head.get(..line_end).ok_or(Malformed)?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let minor = match line.get(7) {
        Some(b'0') => 0,
        Some(b'1') => 1,
        _ => return Err(Malformed),
    };
    let digits = line.get(9..12).ok_or(Malformed)?;
    let status = digits.iter().try_fold(0u16, |n, b| {
        b.is_ascii_digit()
            .then(|| n * 10 + u16::from(b - b'0'))
            .ok_or(Malformed)
    })?;
    if status < 100 {
        return Err(Malformed);
    }
    let reason = line.get(12..).unwrap_or_default().trim_ascii().to_vec();
    let (headers, lenient) = fields(&unfold(head), false)?;
    let mut facts = Facts::of(&headers);
    Ok(Head {
        message: Response {
            status,
            reason,
            version: version(minor),
            headers,
            trailers: Fields::default(),
            interim: Vec::new(),
            body: Body {
                encodings: std::mem::take(&mut facts.encodings),
                ..Body::default()
            },
        },
        facts,
        lenient,
    })
}

/// Parses a trailer section with its empty line. What is no field is left
/// out.
#[must_use]
pub fn trailers(section: &[u8]) -> Fields {
    if matches!(section, b"\r\n" | b"\n" | b"") {
        return Fields::default();
    }
    // As the head of a response, whose parser takes the lenient options.
    let mut head = Vec::with_capacity(section.len() + 16);
    head.extend_from_slice(b"HTTP/1.1 200\r\n");
    head.extend_from_slice(section);
    fields(&unfold(&head), false).map_or_else(|Malformed| Fields::default(), |(f, _)| f)
}

fn version(minor: u8) -> Version {
    if minor == 0 {
        Version::Http10
    } else {
        Version::Http11
    }
}

/// The scheme and authority in a target, if it has them (RFC 9112 3.2).
fn authority<'a>(method: &[u8], target: &'a [u8]) -> (Option<&'static str>, Option<&'a [u8]>) {
    if method == b"CONNECT" {
        return (None, Some(target));
    }
    for (scheme, prefix) in [
        ("http", &b"http://"[..]),
        ("https", b"https://"),
        ("http", b"ws://"),
        ("https", b"wss://"),
    ] {
        if let Some(start) = target.get(..prefix.len())
            && start.eq_ignore_ascii_case(prefix)
        {
            let rest = target.get(prefix.len()..).unwrap_or_default();
            let end = rest
                .iter()
                .position(|b| matches!(b, b'/' | b'?' | b'#'))
                .unwrap_or(rest.len());
            let authority = rest.get(..end).unwrap_or_default();
            let host = authority
                .iter()
                .rposition(|b| *b == b'@')
                .map_or(0, |i| i + 1);
            return (Some(scheme), authority.get(host..));
        }
    }
    (None, None)
}

/// Joins folded lines (RFC 9112 5.2) with one space. Heads without, nearly
/// all, are not copied.
fn unfold(head: &[u8]) -> Cow<'_, [u8]> {
    let folded = |at: usize| matches!(head.get(at + 1), Some(b' ' | b'\t'));
    if !memchr::memchr_iter(b'\n', head).any(folded) {
        return Cow::Borrowed(head);
    }
    let mut out = Vec::with_capacity(head.len());
    let mut at = 0;
    let mut first = true;
    while let Some(found) = head.get(at..).and_then(|rest| memchr(b'\n', rest)) {
        let end = at + found;
        let line = head.get(at..=end).unwrap_or_default();
        // The line after the start line belongs to no field.
        if folded(end) && !first {
            out.extend_from_slice(line.trim_ascii_end());
            out.push(b' ');
            at = end + 1;
            while matches!(head.get(at), Some(b' ' | b'\t')) {
                at += 1;
            }
        } else {
            out.extend_from_slice(line);
            at = end + 1;
        }
        first = false;
    }
    out.extend_from_slice(head.get(at..).unwrap_or_default());
    Cow::Owned(out)
}

/// The fields of a head, and whether lines were left out that are none.
///
/// What httparse refuses (control characters in a value, a space before the
/// colon, more than 512 fields) was on the wire all the same and is shown: it
/// is split at line ends and colons.
fn fields(head: &[u8], request: bool) -> Result<(Fields, bool), Malformed> {
    let mut few = [const { MaybeUninit::uninit() }; FIELDS_USUAL];
    match parse(head, request, &mut few) {
        Ok(fields) => return Ok((fields, false)),
        Err(httparse::Error::TooManyHeaders) => {
            let mut many = [const { MaybeUninit::uninit() }; FIELDS_LIMIT];
            if let Ok(fields) = parse(head, request, &mut many) {
                return Ok((fields, false));
            }
        }
        Err(_) => {}
    }
    split(head).ok_or(Malformed)
}

/// The fields of a head by line ends and colons; `None` if most lines are no
/// fields.
fn split(head: &[u8]) -> Option<(Fields, bool)> {
    let mut fields = Fields::with_capacity(FIELDS_USUAL, head.len());
    let mut others = 0;
    for line in head.split(|b| *b == b'\n').skip(1) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        match memchr(b':', line) {
            Some(colon) if colon > 0 => {
                let (name, value) = line.split_at(colon);
                fields.push(name.trim_ascii(), value.get(1..)?.trim_ascii());
            }
            _ => others += 1,
        }
    }
    (others <= fields.len()).then_some((fields, others > 0))
}

fn parse<'h, 'b: 'h>(
    head: &'b [u8],
    request: bool,
    slots: &'h mut [MaybeUninit<Header<'b>>],
) -> Result<Fields, httparse::Error> {
    let mut config = ParserConfig::default();
    config
        .allow_spaces_after_header_name_in_responses(true)
        .allow_multiple_spaces_in_response_status_delimiters(true)
        .allow_multiple_spaces_in_request_line_delimiters(true);
    let (status, headers) = if request {
        let mut parsed = httparse::Request::new(&mut []);
        let status = config.parse_request_with_uninit_headers(&mut parsed, head, slots)?;
        (status, parsed.headers)
    } else {
        let mut parsed = httparse::Response::new(&mut []);
        let status = config.parse_response_with_uninit_headers(&mut parsed, head, slots)?;
        (status, parsed.headers)
    };
    if status == Status::Partial {
        return Err(httparse::Error::NewLine);
    }
    let mut fields = Fields::with_capacity(headers.len(), head.len());
    for header in headers.iter() {
        fields.push(header.name.as_bytes(), header.value.trim_ascii());
    }
    Ok(fields)
}

/// How many CR and LF `buf` begins with: empty lines before a message, which
/// RFC 9112 2.2 wants ignored.
#[must_use]
pub fn empty_lines(buf: &[u8]) -> usize {
    buf.iter()
        .position(|b| !matches!(b, b'\r' | b'\n'))
        .unwrap_or(buf.len())
}

/// Whether the last whole lines of a head that is not whole look like
/// fields. The first line is not looked at.
#[must_use]
pub fn lines_plausible(head: &[u8]) -> bool {
    /// Earlier lines were looked at when there were fewer.
    const LOOK_BACK: usize = 8 << 10;
    let from = head.len().saturating_sub(LOOK_BACK);
    let skip = |at: usize| memchr(b'\n', head.get(at..)?).map(|i| at + i + 1);
    let Some(mut at) = skip(from) else {
        return true;
    };
    while let Some(next) = skip(at) {
        let line = head.get(at..next).unwrap_or_default();
        let folded = matches!(line.first(), Some(b' ' | b'\t'));
        if !folded && memchr(b':', line).is_none_or(|i| i == 0) {
            return false;
        }
        at = next;
    }
    true
}

#[cfg(test)]
mod tests;
