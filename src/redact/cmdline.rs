//! Secrets in command lines, by `*` of equal length.
//!
//! Programs differ in what their options mean. What follows `-u` and `-H` is
//! masked for all of them, because a wrong mask costs less than a shown
//! password; bundled short options (`-sSu me:secret`) are taken apart for
//! curl alone.

use std::ops::Range;

use super::names::{self, Names};
use super::url;

/// Options whose argument is secret as a whole, beside those with names that
/// promise it.
const LONG: [&str; 10] = [
    "user",
    "proxy-user",
    "oauth2-bearer",
    "proxy-pass",
    "cookie",
    "tlsuser",
    "http-user",
    "ftp-user",
    "user-pass",
    "userpass",
];

/// Options whose argument is a header field.
const HEADERS: [&str; 2] = ["header", "proxy-header"];

/// Options that begin like `-u` with a value and are something else, in
/// programs that write long options with one dash.
const NOT_USER: [&[u8]; 2] = [b"url", b"uri"];

/// curl's short options without an argument.
const CURL_FLAGS: &[u8] = b"#:0123469BGIJLMNORSVZafgijklnpqsv";

/// What of a value is secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    /// All of it.
    Whole,
    /// It is a header field, whose name may stay.
    Header,
}

/// What an argument says as an option.
#[derive(Clone, Copy, Debug, Default)]
struct Meaning {
    /// From this byte on it is its own value.
    own: Option<(Value, usize)>,
    /// The next argument is its value.
    next: Option<Value>,
}

/// Masks in place.
pub(super) fn mask(names: &Names, arguments: &mut [Vec<u8>]) {
    let curl = arguments.iter().any(|argument| base(argument) == b"curl");
    let python = arguments
        .first()
        .is_some_and(|program| base(program).starts_with(b"python"));
    // `python -u script`: not an option with an argument, up to the script.
    let mut interpreter = python;
    let mut expected = None;
    for (n, argument) in arguments.iter_mut().enumerate() {
        interpreter &= n == 0 || argument.starts_with(b"-");
        // What follows an option can look like an option: it counts as both.
        let meaning = if n == 0 || interpreter {
            Meaning::default()
        } else {
            meaning(names, argument, curl)
        };
        let end = argument.len();
        match (expected, meaning.own) {
            (Some(Value::Whole), _) => fill(argument, 0..end),
            (Some(Value::Header), _) => {
                let value = header(argument, 0);
                fill(argument, value);
            }
            (None, Some((Value::Whole, from))) => fill(argument, from..end),
            (None, Some((Value::Header, from))) => {
                let value = header(argument, from);
                fill(argument, value);
            }
            (None, None) => {
                for span in ordinary(names, argument) {
                    fill(argument, span);
                }
            }
        }
        expected = meaning.next;
    }
}

fn meaning(names: &Names, argument: &[u8], curl: bool) -> Meaning {
    let Some(option) = argument.strip_prefix(b"-") else {
        return Meaning::default();
    };
    let dashes = if option.starts_with(b"-") { 2 } else { 1 };
    let long = long_option(names, argument, dashes);
    let name = option.split(|b| *b == b'=').next().unwrap_or_default();
    if dashes == 2 || NOT_USER.contains(&name) {
        return long;
    }
    let flags = if curl {
        option.iter().take_while(|b| CURL_FLAGS.contains(b)).count()
    } else {
        0
    };
    let value = match option.get(flags) {
        Some(b'H') => Value::Header,
        Some(b'u') => Value::Whole,
        Some(b'U' | b'b') if curl => Value::Whole,
        _ => return long,
    };
    if option.len() == flags + 1 {
        return Meaning {
            own: None,
            next: Some(value),
        };
    }
    Meaning {
        own: Some((value, flags + 2)),
        // `-user me:secret` with one dash.
        next: long.next,
    }
}

/// `--name`, `--name=value`, and the same with one dash.
fn long_option(names: &Names, argument: &[u8], dashes: usize) -> Meaning {
    let option = argument.get(dashes..).unwrap_or_default();
    let end = memchr::memchr(b'=', option).unwrap_or(option.len());
    let name = option.get(..end).unwrap_or_default();
    let is = |list: &[&str]| list.iter().any(|l| l.as_bytes().eq_ignore_ascii_case(name));
    let letter = |b: &u8| b.is_ascii_alphanumeric() || b"-_.".contains(b);
    let value = if is(&HEADERS) {
        Value::Header
    } else if is(&LONG) || (name.iter().all(letter) && names.is_secret_parameter(name)) {
        Value::Whole
    } else {
        return Meaning::default();
    };
    if end < option.len() {
        Meaning {
            own: Some((value, dashes + end + 1)),
            next: None,
        }
    } else {
        Meaning {
            own: None,
            next: Some(value),
        }
    }
}

/// What to mask of a header field in an argument: its name stays, and the
/// scheme.
fn header(argument: &[u8], from: usize) -> Range<usize> {
    let field = argument.get(from..).unwrap_or_default();
    let Some(colon) = memchr::memchr(b':', field) else {
        return from..argument.len();
    };
    let value = field.get(colon + 1..).unwrap_or_default();
    let name = field.get(..colon).unwrap_or_default();
    let mut skip = value.len() - value.trim_ascii_start().len();
    if names::has_scheme(name) {
        let scheme = names::scheme_length(value);
        let rest = value.get(scheme..).unwrap_or_default();
        skip = scheme + rest.len() - rest.trim_ascii_start().len();
    }
    from + colon + 1 + skip..argument.len()
}

/// Everything else: URLs and `NAME=value`; if it is a command of its own
/// (`sh -c "curl -u …"`), its words too.
fn ordinary(names: &Names, argument: &[u8]) -> Vec<Range<usize>> {
    let mut spans = url::spans(argument, names, url::In::Argument);
    let words = words(argument);
    if words.len() > 1 {
        let mut masked: Vec<Vec<u8>> = words
            .iter()
            .filter_map(|word| argument.get(word.clone()).map(<[u8]>::to_vec))
            .collect();
        // The first word is the program's name to `mask`, but not surely here.
        masked.insert(0, b"sh".to_vec());
        mask(names, &mut masked);
        for (word, masked) in words.iter().zip(masked.iter().skip(1)) {
            let plain = argument.get(word.clone()).unwrap_or_default();
            let differs = |n: &usize| plain.get(*n) != masked.get(*n);
            let changed = (0..plain.len()).filter(differs);
            spans.extend(changed.map(|n| word.start + n..word.start + n + 1));
        }
    }
    url::merge(spans)
}

/// The words of a shell's command, without the quotes around them.
fn words(text: &[u8]) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let rest = text.get(at + 1..).unwrap_or_default();
        if byte == b'"' || byte == b'\'' {
            let end = memchr::memchr(byte, rest).unwrap_or(rest.len());
            words.push(at + 1..at + 1 + end);
            at += end + 2;
        } else if byte.is_ascii_whitespace() {
            at += 1;
        } else {
            let stop = |b: &u8| b.is_ascii_whitespace();
            let end = rest.iter().position(stop).unwrap_or(rest.len());
            words.push(at..at + 1 + end);
            at += 1 + end;
        }
    }
    words
}

fn fill(argument: &mut [u8], span: Range<usize>) {
    if let Some(secret) = argument.get_mut(span) {
        secret.fill(b'*');
    }
}

/// The name of a program without its folder.
fn base(path: &[u8]) -> &[u8] {
    let start = memchr::memrchr(b'/', path).map_or(0, |slash| slash + 1);
    path.get(start..).unwrap_or_default()
}
