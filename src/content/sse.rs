//! Server-sent events: `text/event-stream` (WHATWG HTML 9.2).

/// Bytes of one event that are kept; the rest is only counted.
const LIMIT: usize = 1 << 20;

/// An event: what stands between two empty lines. Comments and events without
/// data, which a browser does not dispatch, are handed over too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SseEvent<'a> {
    /// `event`: its type, if it names one.
    pub event: Option<&'a [u8]>,
    /// The lines of `data` joined by LF; `None` if there is no such line.
    pub data: Option<&'a [u8]>,
    /// `id`, if it has one.
    pub id: Option<&'a [u8]>,
    /// `retry` in milliseconds, if it has one that is a number.
    pub retry: Option<u64>,
    /// The comment lines joined by LF, if there are any.
    pub comment: Option<&'a [u8]>,
    /// Bytes of its lines in the body with their line ends, the empty line
    /// after them not counted.
    pub wire_size: u64,
    /// It is longer than is kept, or bytes of it are missing.
    pub cut: bool,
}

/// What has come of an event.
#[derive(Debug, Default)]
struct Pending {
    event: Option<Vec<u8>>,
    data: Option<Vec<u8>>,
    id: Option<Vec<u8>>,
    comment: Option<Vec<u8>>,
    retry: Option<u64>,
    /// Bytes kept in these.
    kept: usize,
    wire_size: u64,
    cut: bool,
}

/// Finds the events of a stream, piece by piece.
#[derive(Debug, Default)]
pub struct SseParser {
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    /// More of that line came than is kept.
    line_cut: bool,
    /// The last byte was a CR: an LF that follows belongs to it.
    after_cr: bool,
    /// A first line has ended: a byte order mark is none any more.
    begun: bool,
    pending: Pending,
}

impl SseParser {
    /// A parser at the beginning of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of memory that are held.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.line.capacity() + self.pending.kept
    }

    /// Reads the next bytes of the body.
    pub fn push(&mut self, mut bytes: &[u8], found: &mut dyn FnMut(SseEvent<'_>)) {
        if bytes.is_empty() {
            return;
        }
        if std::mem::take(&mut self.after_cr)
            && let Some(rest) = bytes.strip_prefix(b"\n")
        {
            // Of the empty line after an event, nothing is counted.
            self.pending.wire_size += u64::from(self.pending.wire_size > 0);
            bytes = rest;
        }
        while let Some(end) = memchr::memchr2(b'\r', b'\n', bytes) {
            let (line, rest) = bytes.split_at(end);
            let length = match rest {
                [b'\r', b'\n', ..] => 2,
                [b'\r'] => {
                    self.after_cr = true;
                    1
                }
                _ => 1,
            };
            if !line.is_empty() || !self.line.is_empty() || self.line_cut {
                self.pending.wire_size += (line.len() + length) as u64;
            }
            bytes = rest.get(length..).unwrap_or_default();
            self.line_end(line, found);
        }
        self.pending.wire_size += bytes.len() as u64;
        self.keep_line(bytes);
    }

    /// Bytes are missing. The event that they are of, and the line, are marked
    /// as cut.
    pub fn lost(&mut self) {
        self.after_cr = false;
        self.line_cut = true;
        self.pending.cut = true;
    }

    fn keep_line(&mut self, bytes: &[u8]) {
        let room = LIMIT.saturating_sub(self.line.len());
        if bytes.len() > room {
            self.line_cut = true;
        }
        // What comes after a hole is not of the same line for sure.
        if !self.line_cut || bytes.len() > room {
            let bytes = bytes.get(..room).unwrap_or(bytes);
            self.line.extend_from_slice(bytes);
        }
    }

    /// A line has ended, and `end` is the last of it.
    fn line_end(&mut self, end: &[u8], found: &mut dyn FnMut(SseEvent<'_>)) {
        if self.line.is_empty() && !self.line_cut {
            return self.whole_line(end, found);
        }
        self.keep_line(end);
        let line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.line_cut) {
            self.pending.cut = true;
            if line.is_empty() {
                // Not known to have been empty.
                return;
            }
        }
        self.whole_line(&line, found);
    }

    fn whole_line(&mut self, mut line: &[u8], found: &mut dyn FnMut(SseEvent<'_>)) {
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        if line.is_empty() {
            return self.dispatch(found);
        }
        let (name, value) = match memchr::memchr(b':', line) {
            Some(colon) => {
                let (name, value) = line.split_at(colon);
                let value = value.get(1..).unwrap_or_default();
                (name, value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &[][..]),
        };
        self.pending.field(name, value);
    }

    fn dispatch(&mut self, found: &mut dyn FnMut(SseEvent<'_>)) {
        let pending = std::mem::take(&mut self.pending);
        // Empty lines one after the other are no event.
        if pending.is_empty() {
            return;
        }
        found(SseEvent {
            event: pending.event.as_deref(),
            data: pending.data.as_deref(),
            id: pending.id.as_deref(),
            retry: pending.retry,
            comment: pending.comment.as_deref(),
            wire_size: pending.wire_size,
            cut: pending.cut,
        });
    }
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.event.is_none()
            && self.data.is_none()
            && self.id.is_none()
            && self.comment.is_none()
            && self.retry.is_none()
            && !self.cut
    }

    fn field(&mut self, name: &[u8], value: &[u8]) {
        let room = LIMIT.saturating_sub(self.kept);
        if value.len() >= room {
            self.cut = true;
        }
        let value = value.get(..room).unwrap_or(value);
        let joined = match name {
            b"data" => &mut self.data,
            b"" => &mut self.comment,
            b"event" => return self.event = Some(self.kept(value)),
            // A browser ignores an id with a NUL.
            b"id" if !value.contains(&0) => return self.id = Some(self.kept(value)),
            b"retry" => {
                let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
                let number = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
                return self.retry = number.filter(|_| digits).or(self.retry);
            }
            _ => return,
        };
        self.kept += value.len() + 1;
        match joined {
            None => *joined = Some(value.to_vec()),
            Some(lines) if room > 0 => {
                lines.push(b'\n');
                lines.extend_from_slice(value);
            }
            Some(_) => {}
        }
    }

    /// A value that takes the place of one before it.
    fn kept(&mut self, value: &[u8]) -> Vec<u8> {
        self.kept += value.len();
        value.to_vec()
    }
}

#[cfg(test)]
mod tests;
