//! Bytes of strangers as the strings that HAR wants: there is no other form in
//! it for what is not UTF-8.

use std::borrow::Cow;

use super::super::json::value::Writer;

/// The text of `bytes`: UTF-8 if they are, else each byte the character of its
/// number (ISO 8859-1), which loses nothing. That is how browsers read header
/// fields.
pub(super) fn of(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.iter().map(|byte| char::from(*byte)).collect()),
    }
}

/// Appends a string of such text.
pub(super) fn push(w: &mut Writer, bytes: &[u8]) {
    match of(bytes) {
        // Finds by itself that most of it needs no escapes.
        Cow::Borrowed(_) => w.bytes(bytes),
        Cow::Owned(text) => w.string(&text),
    }
}

/// A URL has no bytes but those of printable ASCII: others become `%XX`, as a
/// browser writes them.
pub(super) fn push_url(url: &mut String, bytes: &[u8]) {
    for byte in bytes {
        match byte {
            0x21..=0x7e => url.push(char::from(*byte)),
            _ => {
                url.push('%');
                for digit in [byte >> 4, byte & 15] {
                    let digit = char::from_digit(u32::from(digit), 16).unwrap_or('0');
                    url.push(digit.to_ascii_uppercase());
                }
            }
        }
    }
}

/// Name and value of each parameter in a query or a form
/// (`application/x-www-form-urlencoded`), in order.
pub(super) fn parameters(query: &[u8]) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query
        .split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let mut parts = pair.splitn(2, |byte| *byte == b'=');
            let mut part = || decoded(parts.next().unwrap_or_default());
            (part(), part())
        })
}

/// `%41` and `+` undone, unless that gives no UTF-8: then as it is.
fn decoded(text: &[u8]) -> Cow<'_, str> {
    if !text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return of(text);
    }
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        let escaped = match (byte, digit(tail.first()), digit(tail.get(1))) {
            (b'%', Some(high), Some(low)) => u8::try_from(high * 16 + low).ok(),
            _ => None,
        };
        bytes.push(match (escaped, byte) {
            (Some(escaped), _) => {
                rest = tail.get(2..).unwrap_or_default();
                escaped
            }
            (None, b'+') => b' ',
            (None, byte) => *byte,
        });
    }
    String::from_utf8(bytes).map_or_else(|_| of(text), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(query: &str) -> Vec<(String, String)> {
        parameters(query.as_bytes())
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect()
    }

    #[test]
    fn a_query_is_decoded_as_forms_are() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            pairs("a=1&b=x%20y+z&&c&d=%C3%BC&e=%zz%4&f=a=b&=g"),
            [
                pair("a", "1"),
                pair("b", "x y z"),
                pair("c", ""),
                pair("d", "ü"),
                pair("e", "%zz%4"),
                pair("f", "a=b"),
                pair("", "g"),
            ]
        );
        // What would be no text stays as it was written.
        assert_eq!(pairs("a=%FF+b"), [pair("a", "%FF+b")]);
        assert_eq!(pairs(""), []);
    }

    #[test]
    fn what_is_no_utf8_is_text_by_byte() {
        assert_eq!(of("Grüße".as_bytes()), "Grüße");
        assert_eq!(of(b"Gr\xfc\xdfe"), "Grüße");
        let mut url = String::new();
        push_url(&mut url, b"/a b\xff\x1b?\xc3\xbc");
        assert_eq!(url, "/a%20b%FF%1B?%C3%BC");
    }
}
