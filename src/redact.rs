//! `--redact`: masks secrets by `*` of equal length.
//!
//! What is masked: the values of fields such as Authorization and Cookie,
//! those of query parameters such as `token` in the target and in fields that
//! hold URLs, the user information of URLs, and what follows `-u`, `--user`,
//! `-H` and the like in command lines. What is not: bodies. In doubt it masks
//! too much; it works on the bytes of the wire as they are, well-formed or
//! not, so that a parser that is more lenient than this one finds nothing.

use std::ops::Range;

mod cmdline;
mod names;
mod url;

use names::Names;

/// The names of what is secret.
#[derive(Clone, Debug, Default)]
pub struct Redact {
    names: Names,
}

impl Redact {
    /// The usual names and `extra` ones (header fields and query parameters,
    /// ASCII case ignored). Fields that say where a message ends or how it is
    /// coded (Content-Length and the like) are never masked, even if named:
    /// nothing could be read after them.
    #[must_use]
    pub fn new(extra: &[String]) -> Self {
        Self {
            names: Names::new(extra),
        }
    }

    /// The ranges to mask in a whole HTTP/1 head (start line to empty line)
    /// or a trailer section (`start_line` false), in order, not overlapping:
    /// values of secret fields, values of secret query parameters in the
    /// target and in Referer and Location.
    #[must_use]
    pub fn spans(&self, head: &[u8], start_line: bool) -> Vec<Range<usize>> {
        let mut spans: Vec<Range<usize>> = Vec::new();
        let mut start_line = start_line;
        let mut field = Field::Plain;
        let mut previous_end = 0;
        for line in (Lines { head, at: 0 }) {
            let text = head.get(line.range.clone()).unwrap_or_default();
            if text.is_empty() {
                continue;
            }
            let end_before = std::mem::replace(&mut previous_end, line.range.end);
            if std::mem::take(&mut start_line) {
                self.start_line(head, line.range, &mut spans);
                continue;
            }
            // A line that continues the value above (obs-fold, RFC 9112 5.2)
            // is a field of its own to some: it is looked at as both.
            let folded = line.after_bare_cr || text.starts_with(b" ") || text.starts_with(b"\t");
            let open = spans.last().is_some_and(|span| span.end == end_before);
            if folded && (field != Field::Plain || open) {
                mask_trimmed(head, line.range, &mut spans);
                continue;
            }
            let (own, value) = self.field(text).unwrap_or((Field::Plain, 0));
            field = own;
            let value = line.range.start + value..line.range.end;
            self.value(head, value, field, &mut spans);
        }
        spans
    }

    /// What a line is as a field, and where its value begins.
    fn field(&self, line: &[u8]) -> Option<(Field, usize)> {
        let colon = memchr::memchr(b':', line)?;
        let name = line.get(..colon)?.trim_ascii();
        let kind = if !self.names.is_secret_field(name) {
            Field::Plain
        } else if names::has_scheme(name) {
            Field::Credentials
        } else {
            Field::Secret
        };
        Some((kind, colon + 1))
    }

    fn value(&self, head: &[u8], value: Range<usize>, field: Field, spans: &mut Vec<Range<usize>>) {
        match field {
            Field::Secret => mask_trimmed(head, value, spans),
            Field::Credentials => {
                let text = head.get(value.clone()).unwrap_or_default();
                let start = value.start + names::scheme_length(text);
                mask_trimmed(head, start..value.end, spans);
            }
            Field::Plain => {
                let text = head.get(value.clone()).unwrap_or_default();
                // Any field may hold a URL (Referer, Location, Link,
                // Origin, Forwarded …); without one there is nothing to do.
                if url::may_have_secrets(text) {
                    let found = url::spans(text, &self.names, url::In::Field);
                    shift(found, value.start, spans);
                }
            }
        }
    }

    /// The request line; a status line has no secrets.
    fn start_line(&self, head: &[u8], line: Range<usize>, spans: &mut Vec<Range<usize>>) {
        let text = head.get(line.clone()).unwrap_or_default();
        if text.starts_with(b"HTTP/") {
            return;
        }
        let from = text
            .iter()
            .position(u8::is_ascii_whitespace)
            .unwrap_or_default();
        let to = memchr::memmem::rfind(text, b" HTTP/").map_or(text.len(), |at| at.max(from));
        let target = text.get(from..to).unwrap_or_default();
        let found = url::spans(target, &self.names, url::In::Target);
        shift(found, line.start + from, spans);
    }

    /// Masks a header field's value (of HTTP/2, where it stands by itself).
    /// Gives whether there was something to mask.
    pub fn mask_field(&self, name: &[u8], value: &mut [u8]) -> bool {
        let mut spans = Vec::new();
        if !self.names.is_secret_field(name) {
            if url::may_have_secrets(value) {
                spans = url::spans(value, &self.names, url::In::Field);
            }
        } else if names::has_scheme(name) {
            mask_trimmed(value, names::scheme_length(value)..value.len(), &mut spans);
        } else {
            spans.push(0..value.len());
        }
        fill(value, &spans)
    }

    /// Masks secret query parameters in a request's target. Gives whether
    /// there were any.
    pub fn mask_target(&self, target: &mut [u8]) -> bool {
        let spans = url::spans(target, &self.names, url::In::Target);
        fill(target, &spans)
    }

    /// Masks what follows `-u`, `--user`, `-H` and the like, and secret query
    /// parameters in URLs.
    pub fn mask_cmdline(&self, arguments: &mut [Vec<u8>]) {
        cmdline::mask(&self.names, arguments);
    }
}

/// Masks ranges. Gives whether there was one.
fn fill(bytes: &mut [u8], spans: &[Range<usize>]) -> bool {
    let mut masked = false;
    for span in spans {
        if let Some(secret) = bytes.get_mut(span.clone()) {
            masked |= !secret.is_empty();
            secret.fill(b'*');
        }
    }
    masked
}

/// What a field's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    /// Nothing secret but what URLs in it may hold.
    Plain,
    /// All of it is secret.
    Secret,
    /// What follows the name of the scheme is secret (`Basic …`).
    Credentials,
}

/// Adds ranges that were found in a piece that begins at `by`.
fn shift(found: Vec<Range<usize>>, by: usize, spans: &mut Vec<Range<usize>>) {
    spans.extend(found.into_iter().map(|r| r.start + by..r.end + by));
}

/// A line without its end.
struct Line {
    range: Range<usize>,
    /// What stands before it is CR without LF, which ends a line to some.
    after_bare_cr: bool,
}

/// The lines of a head.
struct Lines<'a> {
    head: &'a [u8],
    at: usize,
}

impl Iterator for Lines<'_> {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        let rest = self.head.get(self.at..).filter(|rest| !rest.is_empty())?;
        let start = self.at;
        let length = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        self.at = start + length + 1;
        if rest
            .get(length..)
            .is_some_and(|end| end.starts_with(b"\r\n"))
        {
            self.at += 1;
        }
        let before = start.checked_sub(1).and_then(|at| self.head.get(at));
        Some(Line {
            range: start..start + length,
            after_bare_cr: before == Some(&b'\r'),
        })
    }
}

/// Adds a range without the white space around it.
fn mask_trimmed(head: &[u8], range: Range<usize>, spans: &mut Vec<Range<usize>>) {
    let text = head.get(range.clone()).unwrap_or_default();
    let start = range.start + text.len() - text.trim_ascii_start().len();
    let end = start + text.trim_ascii().len();
    if start < end {
        spans.push(start..end);
    }
}

#[cfg(test)]
mod tests;
