//! Parameters of a field's value: `; name=value; name="quoted value"`
//! (RFC 9110 5.6.6), as Content-Type and Content-Disposition have them.

use std::borrow::Cow;

/// The value of a parameter, ignoring the case of its name. `list` is what
/// follows the value proper, from its first semicolon on. Of a quoted value
/// the quotes are gone, and the backslashes before a quote or a backslash:
/// others are part of what some browsers send as a path.
pub(super) fn find<'a>(list: &'a [u8], name: &str) -> Option<Cow<'a, [u8]>> {
    let mut rest = list;
    loop {
        let start = memchr::memchr(b';', rest)?;
        rest = rest.get(start + 1..)?.trim_ascii_start();
        let end = memchr::memchr2(b'=', b';', rest)?;
        let (found, after) = rest.split_at(end);
        let Some(value) = after.strip_prefix(b"=") else {
            // A name without a value.
            continue;
        };
        let (value, after) = split_value(value.trim_ascii_start());
        if found.trim_ascii_end().eq_ignore_ascii_case(name.as_bytes()) {
            return Some(value);
        }
        rest = after;
    }
}

/// A value, and what follows it.
fn split_value(input: &[u8]) -> (Cow<'_, [u8]>, &[u8]) {
    let Some(quoted) = input.strip_prefix(b"\"") else {
        let end = memchr::memchr(b';', input).unwrap_or(input.len());
        let (value, after) = input.split_at(end);
        return (Cow::Borrowed(value.trim_ascii_end()), after);
    };
    let mut value = Cow::Borrowed(&[][..]);
    let mut rest = quoted;
    while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
        let (before, special) = rest.split_at(at);
        let (take, next) = match special {
            [b'\\', b'"' | b'\\', next @ ..] => (special.get(1..2), next),
            [b'\\', next @ ..] => (special.get(..1), next),
            [_, next @ ..] => return (append(value, before), next),
            [] => (None, special),
        };
        value = append(append(value, before), take.unwrap_or_default());
        rest = next;
    }
    // The closing quote is missing: all the rest is the value.
    (append(value, rest), &[])
}

fn append<'a>(value: Cow<'a, [u8]>, more: &'a [u8]) -> Cow<'a, [u8]> {
    if value.is_empty() {
        return Cow::Borrowed(more);
    }
    let mut value = value.into_owned();
    value.extend_from_slice(more);
    Cow::Owned(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(list: &str, name: &str) -> Option<String> {
        find(list.as_bytes(), name).map(|value| String::from_utf8_lossy(&value).into_owned())
    }

    #[test]
    fn tokens_and_quoted_strings() {
        for (list, name, wanted) in [
            ("; charset=utf-8", "charset", Some("utf-8")),
            (";Charset = \"utf-8\" ; x=y", "CHARSET", Some("utf-8")),
            ("; a=1;charset=x ", "charset", Some("x")),
            ("; a=\"; charset=no\"; charset=yes", "charset", Some("yes")),
            (r#"; f="a\"b\\c.txt""#, "f", Some(r#"a"b\c.txt"#)),
            (r#"; f="C:\dir\file.txt""#, "f", Some(r"C:\dir\file.txt")),
            ("; f=\"open", "f", Some("open")),
            ("; flag; f=1", "f", Some("1")),
            ("; f=", "f", Some("")),
            (";;; f=1", "f", Some("1")),
            ("; f", "f", None),
            ("f=1", "f", None),
            ("", "f", None),
        ] {
            assert_eq!(value(list, name).as_deref(), wanted, "{list}");
        }
    }
}
