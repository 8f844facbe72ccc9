//! Recognition: whether bytes can be the start of an HTTP message, and where
//! in a stream that is joined in the middle the first one is.

use memchr::{memchr, memmem, memrchr};

/// Longest method that is believed, in bytes.
const METHOD_LIMIT: usize = 32;

/// Bytes before a start line's end that are held while looking for a start.
pub const SEARCH_WINDOW: usize = 16 << 10;

/// Which messages a direction may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Not known yet.
    Any,
    /// Requests only.
    Request,
    /// Responses only.
    Response,
}

impl Kind {
    fn requests(self) -> bool {
        self != Self::Response
    }

    fn responses(self) -> bool {
        self != Self::Request
    }
}

/// What the beginning of a direction may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Not a message of HTTP/1, and nothing else that is known.
    No,
    /// Too short to say.
    Maybe,
    /// A whole request line.
    Request,
    /// A whole status line.
    Response,
    /// The preface of HTTP/2 (RFC 9113 3.4).
    Http2,
    /// A TLS record (RFC 8446 5.1).
    Tls,
}

/// What may stand in a method (RFC 9110 5.6.2), as a table: it is asked for
/// every byte.
const TOKEN: [bool; 256] = {
    let marks = b"!#$%&'*+-.^_`|~";
    let mut table = [false; 256];
    let mut b = 0;
    while b < 256 {
        table[b] = (b as u8).is_ascii_alphanumeric();
        b += 1;
    }
    let mut i = 0;
    while i < marks.len() {
        table[marks[i] as usize] = true;
        i += 1;
    }
    table
};

/// Whether `b` may stand in a method.
fn is_token(b: u8) -> bool {
    TOKEN[usize::from(b)]
}

/// The methods that are recognised even when no line end is before them.
const METHODS: [&[u8]; 24] = [
    b"GET",
    b"POST",
    b"PUT",
    b"DELETE",
    b"HEAD",
    b"OPTIONS",
    b"PATCH",
    b"CONNECT",
    b"TRACE",
    b"PROPFIND",
    b"PROPPATCH",
    b"MKCOL",
    b"COPY",
    b"MOVE",
    b"LOCK",
    b"UNLOCK",
    b"REPORT",
    b"SEARCH",
    b"PURGE",
    b"NOTIFY",
    b"SUBSCRIBE",
    b"UNSUBSCRIBE",
    b"M-SEARCH",
    b"QUERY",
];

/// Judges the first bytes of a direction or of what follows a message.
#[must_use]
pub fn classify(buf: &[u8], kind: Kind) -> Start {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";
    if kind == Kind::Any {
        if buf.len() >= PREFACE.len() && buf.starts_with(PREFACE) {
            return Start::Http2;
        }
        if PREFACE.starts_with(buf) {
            return Start::Maybe;
        }
        match tls_record(buf) {
            Start::No => {}
            tls => return tls,
        }
    }
    if kind.responses() {
        match status_line(buf) {
            Start::No => {}
            start => return start,
        }
    }
    if kind.requests() {
        return request_line(buf);
    }
    Start::No
}

/// Whether a TLS record begins here: type, version 3.x, a length that is
/// allowed.
#[must_use]
pub fn tls_record(buf: &[u8]) -> Start {
    let ok = |i: usize, test: fn(u8) -> bool| buf.get(i).is_none_or(|b| test(*b));
    if buf.is_empty() {
        return Start::Maybe;
    }
    if !ok(0, |b| (0x14..=0x17).contains(&b)) || !ok(1, |b| b == 3) || !ok(2, |b| b <= 4) {
        return Start::No;
    }
    match (buf.get(3), buf.get(4)) {
        (Some(high), Some(low)) => {
            let length = u16::from_be_bytes([*high, *low]);
            // 2^14 and at most 2048 of expansion (RFC 5246 6.2.3).
            if (1..=16384 + 2048).contains(&length) {
                Start::Tls
            } else {
                Start::No
            }
        }
        _ => Start::Maybe,
    }
}

fn status_line(buf: &[u8]) -> Start {
    const PATTERN: &[u8; 12] = b"HTTP/1.v ddd";
    for (b, p) in buf.iter().zip(PATTERN) {
        let fits = match p {
            b'v' => matches!(b, b'0' | b'1'),
            b'd' => b.is_ascii_digit(),
            p => b == p,
        };
        if !fits {
            return Start::No;
        }
    }
    match buf.get(PATTERN.len()) {
        None => Start::Maybe,
        Some(b' ' | b'\r' | b'\n') if matches!(buf.get(9), Some(b'1'..=b'9')) => {
            match memchr(b'\n', buf) {
                Some(_) => Start::Response,
                None => Start::Maybe,
            }
        }
        Some(_) => Start::No,
    }
}

fn request_line(buf: &[u8]) -> Start {
    let method = buf.iter().position(|b| !is_token(*b)).unwrap_or(buf.len());
    if method > METHOD_LIMIT {
        return Start::No;
    }
    if method == buf.len() {
        return Start::Maybe;
    }
    if method == 0 || buf.get(method) != Some(&b' ') {
        return Start::No;
    }
    let Some(line_end) = memchr(b'\n', buf) else {
        // A target has no control characters.
        return match buf.iter().skip(method).find(|b| breaks_line(**b)) {
            Some(b'\r') if buf.last() == Some(&b'\r') => Start::Maybe,
            Some(_) => Start::No,
            None => Start::Maybe,
        };
    };
    let line = buf.get(..line_end).unwrap_or_default();
    if split_request_line(line).is_some() {
        Start::Request
    } else {
        Start::No
    }
}

fn breaks_line(b: u8) -> bool {
    matches!(b, 0 | b'\r' | b'\n')
}

/// Method, target and minor version of a request line without its line end,
/// or with the CR of it. The target may hold spaces and bytes that are not
/// ASCII, as some clients send them.
#[must_use]
pub fn split_request_line(line: &[u8]) -> Option<(&[u8], &[u8], u8)> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let method_end = memchr(b' ', line)?;
    let (method, rest) = line.split_at(method_end);
    let minor = match rest.last()? {
        b'0' => 0,
        b'1' => 1,
        _ => return None,
    };
    let target = rest
        .strip_suffix(b" HTTP/1.0")
        .or_else(|| rest.strip_suffix(b" HTTP/1.1"))?
        .trim_ascii();
    let good = !method.is_empty()
        && method.len() <= METHOD_LIMIT
        && method.iter().all(|b| is_token(*b))
        && !target.is_empty()
        && !target.iter().any(|b| breaks_line(*b));
    good.then_some((method, target, minor))
}

/// Where in `buf`, at `from` or after, a start line may begin: one that is
/// whole up to its version (a request line) or its status. `from` is a
/// position of the version, not of the line.
///
/// Gives the start of the line and the position of its version, from which
/// plus 1 the search goes on when it was not one.
#[must_use]
pub fn find(buf: &[u8], from: usize, kind: Kind) -> Option<(usize, usize)> {
    let tail = buf.get(from..)?;
    for at in memmem::find_iter(tail, b"HTTP/1.") {
        let at = at + from;
        let rest = buf.get(at..).unwrap_or_default();
        if kind.responses() && status_line_begins(rest) {
            return Some((at, at));
        }
        if kind.requests()
            && matches!(rest.get(7), Some(b'0' | b'1'))
            && matches!(
                (rest.get(8), rest.get(9)),
                (Some(b'\n'), _) | (Some(b'\r'), Some(b'\n'))
            )
            && let Some(start) = request_start(buf, at)
        {
            return Some((start, at));
        }
    }
    None
}

fn status_line_begins(rest: &[u8]) -> bool {
    rest.len() > 12 && matches!(status_line(rest), Start::Response | Start::Maybe)
}

/// The start of the request line whose version is at `version`.
fn request_start(buf: &[u8], version: usize) -> Option<usize> {
    let before = buf.get(..version)?.strip_suffix(b" ")?;
    let line_start = memrchr(b'\n', before).map_or(0, |i| i + 1);
    let line = before.get(line_start..)?;
    let space = memrchr(b' ', line)?;
    let target = line.get(space + 1..)?;
    let method = line.get(..space)?;
    if target.is_empty() || target.iter().any(|b| breaks_line(*b)) {
        return None;
    }
    if !method.is_empty()
        && method.len() <= METHOD_LIMIT
        && method.iter().all(|b| b.is_ascii_uppercase() || *b == b'-')
    {
        return Some(line_start);
    }
    // A body need not end with a line end, so a method may follow anything.
    METHODS
        .iter()
        .filter(|m| method.ends_with(m))
        .map(|m| line_start + space - m.len())
        .min()
}

/// How much of the front of `buf` no start line can begin in, when [`find`]
/// found none: all but the last line, and of that no more than
/// [`SEARCH_WINDOW`].
#[must_use]
pub fn useless(buf: &[u8]) -> usize {
    // A lone CR LF at the very end may end a request line: the search needs
    // the line before it no more, as `find` has looked at it.
    let line = memrchr(b'\n', buf).map_or(0, |i| i + 1);
    if buf.len() - line > SEARCH_WINDOW {
        buf.len() - SEARCH_WINDOW / 2
    } else {
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_of_a_start_line_is_never_refused() {
        for line in [
            &b"GET /x?y=z HTTP/1.1\r\n"[..],
            b"M-SEARCH * HTTP/1.0\n",
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.0 404\r\n",
            b"get /a b\xff HTTP/1.1\r\n",
        ] {
            for end in 0..line.len() {
                assert_eq!(classify(&line[..end], Kind::Any), Start::Maybe, "{end}");
            }
            assert!(matches!(
                classify(line, Kind::Any),
                Start::Request | Start::Response
            ));
        }
    }

    #[test]
    fn other_protocols_are_refused() {
        for bytes in [
            &b"*1\r\n$4\r\nPING\r\n"[..],
            b"EHLO there\r\n",
            b"SSH-2.0-OpenSSH\r\n",
            b"\0\0\0\x10",
            b"GET /x HTTP/2.0\r\n",
            b"GET /x\r\n",
            b"HTTP/1.1 20x\r\n",
        ] {
            assert_eq!(classify(bytes, Kind::Any), Start::No, "{bytes:?}");
        }
        assert_eq!(classify(b"\x16\x03\x01\x02\x00\x01", Kind::Any), Start::Tls);
        assert_eq!(classify(b"\x16\x03", Kind::Any), Start::Maybe);
        assert_eq!(
            classify(b"PRI * HTTP/2.0\r\n\r\nSM", Kind::Any),
            Start::Http2
        );
    }

    #[test]
    fn a_start_is_found_after_anything() {
        let buf = b"tail of a body}GET /x HTTP/1.1\r\n";
        assert_eq!(find(buf, 0, Kind::Any), Some((15, 22)));
        let buf = b"junk\nFROB /x HTTP/1.1\r\n";
        assert_eq!(find(buf, 0, Kind::Request).map(|f| f.0), Some(5));
        let buf = b"xxHTTP/1.1 200 OK\r\n";
        assert_eq!(find(buf, 0, Kind::Response), Some((2, 2)));
        assert_eq!(find(buf, 0, Kind::Request), None);
        assert_eq!(find(b"HTTP/1.1 is a protocol", 0, Kind::Any), None);
    }
}
