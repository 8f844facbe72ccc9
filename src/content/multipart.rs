//! Bodies of several parts (RFC 2046 5.1, RFC 7578 for forms).

use std::borrow::Cow;
use std::ops::Range;

use memchr::memmem;

use super::params;
use crate::exchange::Fields;
use crate::http::head;

/// Parts that are listed; those after them are counted.
const LISTED: usize = 1000;

/// The longest header section of a part that is looked for, in bytes.
const HEADER_LIMIT: usize = 64 << 10;

/// The longest boundary: RFC 2046 allows 70 characters, some write more.
const BOUNDARY_LIMIT: usize = 256;

/// What a multipart body is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Multipart {
    /// The first parts, in order.
    pub parts: Vec<Part>,
    /// How many there are in all, those that are not listed too.
    pub count: usize,
    /// The delimiter that ends the last part was there.
    pub complete: bool,
}

/// One part of a multipart body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Header fields.
    pub headers: Fields,
    /// `name` of Content-Disposition: the form's field.
    pub name: Option<Vec<u8>>,
    /// `filename` of Content-Disposition, or what `filename*` stands for.
    pub filename: Option<Vec<u8>>,
    /// Where in the multipart body this part's own is.
    pub range: Range<usize>,
    /// The delimiter after it was there; else its end is missing.
    pub complete: bool,
}

impl Part {
    /// The part's media type as written, if it names one.
    #[must_use]
    pub fn content_type(&self) -> Option<&[u8]> {
        self.headers.get("Content-Type")
    }
}

/// Takes a multipart body apart. `None` if there is no boundary, or none of its
/// delimiters in the body.
#[must_use]
pub fn parse(body: &[u8], boundary: &[u8]) -> Option<Multipart> {
    if boundary.is_empty() || boundary.len() > BOUNDARY_LIMIT {
        return None;
    }
    let mut found = Multipart::default();
    // Where the part that is open begins.
    let mut open: Option<usize> = None;
    let dashes = [b"--", boundary].concat();
    for at in memmem::find_iter(body, &dashes) {
        let Some(delimiter) = Delimiter::at(body, at, dashes.len()) else {
            continue;
        };
        if let Some(start) = open {
            found.add(body, start..delimiter.start.max(start), true);
        }
        if delimiter.last {
            found.complete = true;
            open = None;
            break;
        }
        open = Some(delimiter.end);
    }
    match open {
        Some(start) => found.add(body, start..body.len(), false),
        None if !found.complete => return None,
        None => {}
    }
    Some(found)
}

/// A line between parts.
struct Delimiter {
    /// Where the line end before it begins, which belongs to it.
    start: usize,
    /// Where the next part begins.
    end: usize,
    /// It ends the last part.
    last: bool,
}

impl Delimiter {
    /// The delimiter whose dashes and boundary, `length` bytes, are at `at`;
    /// `None` if what is there is none.
    fn at(body: &[u8], at: usize, length: usize) -> Option<Self> {
        let before = body.get(..at)?;
        let start = match before {
            [] => 0,
            [.., b'\r', b'\n'] => at - 2,
            [.., b'\n'] => at - 1,
            _ => return None,
        };
        let after = body.get(at + length..)?;
        if after.starts_with(b"--") {
            let end = at + length + 2;
            return Some(Self {
                start,
                end,
                last: true,
            });
        }
        // White space may have been added on the way (RFC 2046 5.1.1).
        let blank = after
            .iter()
            .take_while(|b| matches!(b, b' ' | b'\t'))
            .count();
        let line_end = match after.get(blank..)? {
            [b'\r', b'\n', ..] => 2,
            [b'\n', ..] => 1,
            _ => return None,
        };
        Some(Self {
            start,
            end: at + length + blank + line_end,
            last: false,
        })
    }
}

impl Multipart {
    fn add(&mut self, body: &[u8], range: Range<usize>, complete: bool) {
        self.count += 1;
        if self.parts.len() >= LISTED {
            return;
        }
        let part = body.get(range.clone()).unwrap_or_default();
        let header = header_length(part);
        let headers = head::trailers(part.get(..header).unwrap_or_default());
        let disposition = headers.get("Content-Disposition").unwrap_or_default();
        let params = memchr::memchr(b';', disposition).and_then(|at| disposition.get(at..));
        let params = params.unwrap_or_default();
        let name = params::find(params, "name").map(Cow::into_owned);
        let filename = params::find(params, "filename*")
            .and_then(|value| extended(&value))
            .or_else(|| params::find(params, "filename").map(Cow::into_owned));
        self.parts.push(Part {
            headers,
            name,
            filename,
            range: range.start + header..range.end,
            complete,
        });
    }
}

/// The length of a part's header section with the empty line that ends it; all
/// of a part that has no such line is its header section, if it is not long.
fn header_length(part: &[u8]) -> usize {
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', part) {
        if matches!(part.get(start..end), Some(b"" | b"\r")) {
            return end + 1;
        }
        if end > HEADER_LIMIT {
            return 0;
        }
        start = end + 1;
    }
    if part.len() > HEADER_LIMIT {
        0
    } else {
        part.len()
    }
}

/// The text in a value like `UTF-8''na%c3%afve.txt` (RFC 8187 3.2), if it is in
/// UTF-8.
fn extended(value: &[u8]) -> Option<Vec<u8>> {
    let mut pieces = value.splitn(3, |b| *b == b'\'');
    let charset = pieces.next()?;
    let text = pieces.nth(1)?;
    charset
        .eq_ignore_ascii_case(b"utf-8")
        .then(|| super::percent_decoded(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `curl -F a=1 -F 'f=@x.txt;type=text/plain'` sends.
    const CURL: &[u8] = b"--------------------------d74496d66958873e\r\n\
        Content-Disposition: form-data; name=\"a\"\r\n\r\n\
        1\r\n\
        --------------------------d74496d66958873e\r\n\
        Content-Disposition: form-data; name=\"f\"; filename=\"x\\\"y.txt\"\r\n\
        Content-Type: text/plain\r\n\r\n\
        line 1\r\n--not it\r\n\r\n\
        --------------------------d74496d66958873e--\r\n";
    const BOUNDARY: &[u8] = b"------------------------d74496d66958873e";

    fn bodies<'a>(body: &'a [u8], multipart: &Multipart) -> Vec<&'a [u8]> {
        multipart
            .parts
            .iter()
            .map(|part| &body[part.range.clone()])
            .collect()
    }

    #[test]
    fn a_form_of_curl() {
        let form = parse(CURL, BOUNDARY).unwrap();
        assert!(form.complete && form.count == 2);
        assert_eq!(bodies(CURL, &form), [&b"1"[..], b"line 1\r\n--not it\r\n"]);
        assert_eq!(form.parts[0].name.as_deref(), Some(&b"a"[..]));
        assert_eq!(form.parts[0].filename, None);
        assert_eq!(form.parts[1].name.as_deref(), Some(&b"f"[..]));
        assert_eq!(form.parts[1].filename.as_deref(), Some(&b"x\"y.txt"[..]));
        assert_eq!(form.parts[1].content_type(), Some(&b"text/plain"[..]));
        assert_eq!(form.parts[1].headers.len(), 2);
    }

    #[test]
    fn cut_anywhere_it_gives_what_is_there() {
        for end in 0..CURL.len() {
            let Some(form) = parse(&CURL[..end], BOUNDARY) else {
                assert!(end < BOUNDARY.len() + 4, "{end}");
                continue;
            };
            // The two dashes of the last delimiter are its end.
            assert_eq!(form.complete, end >= CURL.len() - 2, "{end}");
            assert_eq!(form.complete, form.parts.iter().all(|part| part.complete));
            assert!(form.parts.iter().all(|part| part.range.end <= end));
        }
    }

    #[test]
    fn preamble_epilogue_and_blanks() {
        let body = b"preamble\r\n--b \t\r\n\r\none\r\n--b\r\nX: y\r\n\r\n--b\n\ntwo\n--b--\r\nepilogue --b\r\n";
        let multipart = parse(body, b"b").unwrap();
        assert!(multipart.complete);
        assert_eq!(bodies(body, &multipart), [&b"one"[..], b"", b"two"]);
        assert_eq!(multipart.parts[1].headers.get("x"), Some(&b"y"[..]));
    }

    #[test]
    fn a_boundary_that_begins_another_is_not_it() {
        let body = b"--a\r\n\r\n--ab\r\nx--a\r\n--a--";
        let multipart = parse(body, b"a").unwrap();
        assert_eq!(bodies(body, &multipart), [&b"--ab\r\nx--a"[..]]);
    }

    #[test]
    fn names_in_other_forms() {
        let body = b"--b\r\nContent-Disposition: attachment; filename=x; filename*=utf-8'en'na%C3%AFve%2.txt\r\n\r\n--b--";
        let multipart = parse(body, b"b").unwrap();
        let filename = multipart.parts[0].filename.clone().unwrap();
        assert_eq!(String::from_utf8(filename).unwrap(), "naïve%2.txt");
        assert_eq!(multipart.parts[0].name, None);
    }

    #[test]
    fn what_is_none() {
        for (body, boundary) in [
            (&b"--b--"[..], &b""[..]),
            (b"", b"b"),
            (b"x--b\r\n\r\n", b"b"),
            (b"--bc\r\n", b"b"),
        ] {
            assert_eq!(parse(body, boundary), None);
        }
        assert_eq!(parse(b"--b--", b"b").unwrap().count, 0);
        assert_eq!(parse(CURL, &[b'x'; 300]), None);
    }

    #[test]
    fn many_parts_are_counted() {
        let body = b"--b\r\n\r\nx\r\n".repeat(5000);
        let multipart = parse(&body, b"b").unwrap();
        assert_eq!((multipart.count, multipart.parts.len()), (5000, LISTED));
        assert!(!multipart.complete);
    }
}
