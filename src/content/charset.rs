//! Text in its charset.

use std::borrow::Cow;

use encoding_rs::{DecoderResult, Encoding, REPLACEMENT, UTF_8};

/// The bytes as text, in the charset that `label` names (the labels of the
/// WHATWG Encoding Standard), without a byte order mark. A mark wins over the
/// label, as in browsers. Without a label, or with one that is not known, it is
/// UTF-8. `None` if the bytes are not of that charset: nothing is guessed or
/// replaced. With `cut`, a last character that is not whole is left out.
#[must_use]
pub fn decode<'a>(bytes: &'a [u8], label: Option<&str>, cut: bool) -> Option<Cow<'a, str>> {
    let (encoding, bytes) = match Encoding::for_bom(bytes) {
        Some((encoding, length)) => (encoding, bytes.get(length..)?),
        None => (by_label(label), bytes),
    };
    if encoding == UTF_8 {
        return utf8(bytes, cut).map(Cow::Borrowed);
    }
    // Nearly all charsets have ASCII in them, and nearly all text is of it.
    if encoding.is_ascii_compatible() && bytes.is_ascii() {
        return std::str::from_utf8(bytes).ok().map(Cow::Borrowed);
    }
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let mut text = String::new();
    let mut rest = bytes;
    loop {
        // A piece at a time, for the space to be near what the text needs.
        const PIECE: usize = 64 << 10;
        let piece = rest.get(..PIECE).unwrap_or(rest);
        let last = piece.len() == rest.len() && !cut;
        text.reserve(decoder.max_utf8_buffer_length_without_replacement(piece.len())?);
        let (result, read) = decoder.decode_to_string_without_replacement(piece, &mut text, last);
        rest = rest.get(read..)?;
        match result {
            DecoderResult::InputEmpty if rest.is_empty() => return Some(Cow::Owned(text)),
            DecoderResult::InputEmpty | DecoderResult::OutputFull => {}
            DecoderResult::Malformed(..) => return None,
        }
    }
}

/// The name of the charset that text is in, in lower case (`shift_jis`), if
/// `label` names one that is not UTF-8.
#[must_use]
pub fn name(label: Option<&str>) -> Option<String> {
    let encoding = by_label(label);
    (encoding != UTF_8).then(|| encoding.name().to_ascii_lowercase())
}

fn by_label(label: Option<&str>) -> &'static Encoding {
    let known = label
        // Some write the quotes of another language.
        .map(|label| label.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\''))
        .and_then(|label| Encoding::for_label(label.as_bytes()));
    match known {
        // What the standard puts in the place of charsets that are not safe.
        Some(encoding) if encoding != REPLACEMENT => encoding,
        _ => UTF_8,
    }
}

fn utf8(bytes: &[u8], cut: bool) -> Option<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) if cut && error.error_len().is_none() => {
            std::str::from_utf8(bytes.get(..error.valid_up_to())?).ok()
        }
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes by python's codecs.
    const TEXTS: &[(&str, &[u8], &str)] = &[
        ("iso-8859-1", b"Stra\xdfe", "Straße"),
        ("windows-1252", b"\x80 5", "€ 5"),
        ("Shift_JIS", b"\x93\x8c\x8b\x9e", "東京"),
        ("euc-jp", b"\xc5\xec\xb5\xfe", "東京"),
        ("iso-2022-jp", b"\x1b$BEl5~\x1b(B", "東京"),
        ("gb2312", b"\xb1\xb1\xbe\xa9", "北京"),
        ("big5", b"\xa5_\xa8\xca", "北京"),
        ("euc-kr", b"\xbc\xad\xbf\xef", "서울"),
        ("koi8-r", b"\xed\xcf\xd3\xcb\xd7\xc1", "Москва"),
        ("utf-16le", b"h\0i\0", "hi"),
        ("utf-8", "h\u{e9}".as_bytes(), "hé"),
    ];

    #[test]
    fn charsets() {
        for (label, bytes, text) in TEXTS {
            let got = decode(bytes, Some(label), false);
            assert_eq!(got.as_deref(), Some(*text), "{label}");
        }
    }

    #[test]
    fn marks_win() {
        assert_eq!(
            decode(b"\xef\xbb\xbfhi", Some("utf-16le"), false).as_deref(),
            Some("hi")
        );
        assert_eq!(
            decode(b"\xff\xfeh\0i\0", None, false).as_deref(),
            Some("hi")
        );
        assert_eq!(
            decode(b"\xfe\xff\0h\0i", Some("utf-8"), false).as_deref(),
            Some("hi")
        );
    }

    #[test]
    fn nothing_is_guessed() {
        assert_eq!(decode(b"Stra\xdfe", None, false), None);
        assert_eq!(decode(b"Stra\xdfe", Some("utf-8"), true), None);
        assert_eq!(decode(b"Stra\xdfe", Some("no such"), false), None);
        assert_eq!(decode(b"\x93", Some("shift_jis"), false), None);
        assert_eq!(decode(b"h\0i", Some("utf-16le"), false), None);
        assert_eq!(
            decode(b"plain", Some("iso-2022-kr"), false).as_deref(),
            Some("plain")
        );
        let odd = decode(b"quoted", Some(" 'utf-8' "), false);
        assert!(matches!(odd, Some(Cow::Borrowed("quoted"))));
    }

    #[test]
    fn what_was_cut_ends_before_the_character() {
        assert_eq!(
            decode(b"a\x93\x8c\x8b", Some("shift_jis"), true).as_deref(),
            Some("a東")
        );
        assert_eq!(
            decode(b"h\0i", Some("utf-16le"), true).as_deref(),
            Some("h")
        );
        assert_eq!(decode(b"h\xc3", None, true).as_deref(), Some("h"));
        assert_eq!(decode(b"h\xc3", None, false), None);
    }

    #[test]
    fn long_texts_come_whole() {
        let bytes = [b"\x93\x8c".as_slice(); 100_000].concat();
        let text = decode(&bytes, Some("shift_jis"), false).unwrap();
        assert!(text.chars().count() == 100_000 && text.chars().all(|c| c == '東'));
    }

    #[test]
    fn names() {
        assert_eq!(name(Some("latin1")).as_deref(), Some("windows-1252"));
        assert_eq!(name(Some("UTF8")), None);
        assert_eq!(name(None), None);
    }
}
