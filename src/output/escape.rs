//! Makes bytes of strangers safe to print, and measures them.
//!
//! What comes off the wire or out of another process's arguments can hold
//! terminal commands, marks that reverse the order of what is read, characters
//! that cannot be seen, and bytes that are no text. All of them are written
//! out: `\x1b`, `\u{202e}`, `\xff`. A backslash stays as it is, for the sake
//! of reading; the form is for eyes, not for parsing back.

use unicode_width::UnicodeWidthChar;

/// Whether a byte begins some character that is not ASCII and that
/// [`is_unsafe`] names.
static LEAD: [bool; 256] = {
    let mut lead = [false; 256];
    let leads = [0xc2, 0xcd, 0xd8, 0xe1, 0xe2, 0xe3, 0xef, 0xf0, 0xf3];
    let mut i = 0;
    while i < leads.len() {
        lead[leads[i]] = true;
        i += 1;
    }
    lead
};

/// Whether a character must never be printed as it is: controls (C0, DEL,
/// C1), bidirectional controls and marks, line and paragraph separators, and
/// whatever takes no place on the screen without being a combining accent
/// (zero-width spaces and joiners, the byte order mark, variation selectors,
/// fillers, tags).
#[must_use]
pub const fn is_unsafe(c: char) -> bool {
    matches!(c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}'
        | '\u{ad}' | '\u{34f}' | '\u{61c}'
        | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// The kinds of character that a writer wants to be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// Everything unsafe: for one line of text.
    Line,
    /// Everything unsafe but line feeds and tabs: for bodies.
    Body,
    /// Everything unsafe, quotes and backslashes: for JSON.
    Json,
}

/// How many of the first bytes are ASCII that can be written as it is.
pub(super) fn plain_length(bytes: &[u8], want: Want) -> usize {
    match want {
        Want::Line => length_until(bytes, |b| !(0x20..0x7f).contains(&b)),
        Want::Body => length_until(bytes, |b| {
            ((b < 0x20) & (b != b'\n') & (b != b'\t')) | (b >= 0x7f)
        }),
        Want::Json => length_until(bytes, |b| {
            !(0x20..0x7f).contains(&b) | (b == b'"') | (b == b'\\')
        }),
    }
}

/// How many of the first bytes are not `odd`. Sixteen at a time without a
/// branch, which the compiler turns into vector instructions.
fn length_until(bytes: &[u8], odd: impl Fn(u8) -> bool + Copy) -> usize {
    let (chunks, _) = bytes.as_chunks::<16>();
    let whole = chunks
        .iter()
        .take_while(|chunk| !chunk.iter().fold(false, |any, b| any | odd(*b)))
        .count()
        * 16;
    let rest = bytes.get(whole..).unwrap_or_default();
    whole + rest.iter().take_while(|b| !odd(**b)).count()
}

/// Splits `text` into a beginning that can be written as it is, the first
/// character that cannot, and the rest.
pub(super) fn find_special(text: &str, want: Want) -> (&str, Option<(char, &str)>) {
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        at += plain_length(rest, want);
        let Some(&byte) = bytes.get(at) else {
            return (text, None);
        };
        if byte >= 0x80 && !LEAD.get(usize::from(byte)).is_some_and(|lead| *lead) {
            // Other characters are passed byte by byte: those that follow
            // the first are not ASCII and lead nothing either.
            at += 1;
            continue;
        }
        // Here a character begins, so the cut is a clean one.
        let Some((plain, tail)) = text.split_at_checked(at) else {
            return (text, None);
        };
        let mut chars = tail.chars();
        match chars.next() {
            Some(c) if c.is_ascii() || is_unsafe(c) => return (plain, Some((c, chars.as_str()))),
            Some(c) => at += c.len_utf8(),
            None => return (text, None),
        }
    }
}

/// Appends `bytes` to `out` as one line of safe text.
pub fn push(out: &mut String, bytes: &[u8]) {
    push_as(out, bytes, Want::Line);
}

/// Appends `bytes` to `out` as safe text that keeps its line feeds and tabs.
pub fn push_body(out: &mut String, bytes: &[u8]) {
    push_as(out, bytes, Want::Body);
}

fn push_as(out: &mut String, bytes: &[u8], want: Want) {
    if plain_length(bytes, want) == bytes.len()
        && let Ok(text) = std::str::from_utf8(bytes)
    {
        // Nearly always.
        out.push_str(text);
        return;
    }
    for chunk in bytes.utf8_chunks() {
        let mut text = chunk.valid();
        loop {
            let (plain, special) = find_special(text, want);
            out.push_str(plain);
            let Some((c, rest)) = special else { break };
            push_char(out, c);
            text = rest;
        }
        for byte in chunk.invalid() {
            push_hex(out, *byte);
        }
    }
}

/// `\x1b` for what fits a byte, `\u{202e}` for the rest.
fn push_char(out: &mut String, c: char) {
    match u8::try_from(u32::from(c)) {
        Ok(byte) if byte.is_ascii() => push_hex(out, byte),
        // A C1 control is not the invalid byte of the same number.
        _ => out.extend(c.escape_unicode()),
    }
}

fn push_hex(out: &mut String, byte: u8) {
    out.push_str("\\x");
    for digit in [byte >> 4, byte & 15] {
        out.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
    }
}

/// Columns that safe text takes on a terminal.
#[must_use]
pub fn width(text: &str) -> usize {
    if text.is_ascii() {
        return text.len();
    }
    text.chars().map(char_width).sum()
}

fn char_width(c: char) -> usize {
    c.width().unwrap_or(0)
}

/// The longest beginning of `text` that takes at most `columns`, and how many
/// it takes.
#[must_use]
pub fn prefix(text: &str, columns: usize) -> (&str, usize) {
    if text.is_ascii() {
        let end = text.len().min(columns);
        return (text.get(..end).unwrap_or(text), end);
    }
    let mut used = 0;
    for (at, c) in text.char_indices() {
        let next = used + char_width(c);
        if next > columns {
            return (text.get(..at).unwrap_or_default(), used);
        }
        used = next;
    }
    (text, used)
}

/// The longest end of `text` that takes at most `columns`, and how many it
/// takes.
#[must_use]
pub fn suffix(text: &str, columns: usize) -> (&str, usize) {
    let mut used = 0;
    for (at, c) in text.char_indices().rev() {
        let next = used + char_width(c);
        if next > columns {
            return (text.get(at + c.len_utf8()..).unwrap_or_default(), used);
        }
        used = next;
    }
    (text, used)
}

/// Appends safe text cut to `columns` with `…` at its end if it is longer;
/// returns the columns taken.
pub fn push_cut(out: &mut String, text: &str, columns: usize) -> usize {
    let (whole, used) = prefix(text, columns);
    if whole.len() == text.len() {
        out.push_str(text);
        return used;
    }
    let Some(room) = columns.checked_sub(1) else {
        return 0;
    };
    let (start, used) = prefix(text, room);
    out.push_str(start);
    out.push('…');
    used + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(bytes: &[u8]) -> String {
        let mut out = String::new();
        push(&mut out, bytes);
        out
    }

    #[test]
    fn terminal_commands_are_written_out() {
        assert_eq!(
            line(b"\x1b[31m\r\n\t\x7f\0"),
            r"\x1b[31m\x0d\x0a\x09\x7f\x00"
        );
        assert_eq!(line("\u{9b}31m".as_bytes()), r"\u{9b}31m");
    }

    #[test]
    fn marks_that_cannot_be_seen_are_written_out() {
        let marks = "\u{202e}\u{200b}\u{200f}\u{2066}\u{feff}\u{2028}\u{61c}\u{e0041}\u{ad}";
        assert_eq!(
            line(marks.as_bytes()),
            r"\u{202e}\u{200b}\u{200f}\u{2066}\u{feff}\u{2028}\u{61c}\u{e0041}\u{ad}"
        );
    }

    #[test]
    fn what_is_no_utf8_is_written_out_by_byte() {
        assert_eq!(line(b"a\xffb\xc3"), r"a\xffb\xc3");
        assert_eq!(line(b"\xed\xa0\x80"), r"\xed\xa0\x80");
        assert_eq!(line(b"\xe2\x82"), r"\xe2\x82");
    }

    #[test]
    fn text_stays_as_it_is() {
        let text = r#"Grüße, 世界! 😀 é ½ ∑ "quoted" C:\path | « »"#;
        assert_eq!(line(text.as_bytes()), text);
    }

    #[test]
    fn a_body_keeps_line_feeds_and_tabs() {
        let mut out = String::new();
        push_body(&mut out, b"a\n\tb\r\n\x1b");
        assert_eq!(out, "a\n\tb\\x0d\n\\x1b");
    }

    #[test]
    fn every_unsafe_character_is_found() {
        for c in '\0'..=char::MAX {
            let text = format!("a{c}b");
            let found = find_special(&text, Want::Line).1.map(|(c, _)| c);
            assert_eq!(found, is_unsafe(c).then_some(c), "{c:?}");
        }
    }

    #[test]
    fn width_counts_columns_not_bytes() {
        assert_eq!(width("abc"), 3);
        assert_eq!(width("世界"), 4);
        assert_eq!(width("e\u{301}"), 1);
    }

    #[test]
    fn a_cut_never_exceeds_its_columns() {
        let cut = |text: &str, columns| {
            let mut out = String::new();
            let used = push_cut(&mut out, text, columns);
            assert_eq!(used, width(&out));
            out
        };
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("世界人", 5), "世界…");
        assert_eq!(cut("世界人", 4), "世…");
        assert_eq!(cut("abc", 1), "…");
        assert_eq!(cut("abc", 0), "");
        assert_eq!(suffix("ab世", 3), ("b世", 3));
        assert_eq!(suffix("ab世", 1), ("", 0));
    }

    proptest! {
        #[test]
        fn any_bytes_become_safe_text(bytes: Vec<u8>) {
            let text = line(&bytes);
            prop_assert!(!text.chars().any(is_unsafe));
        }

        #[test]
        fn any_text_becomes_safe_text(text: String) {
            let text = line(text.as_bytes());
            prop_assert!(!text.chars().any(is_unsafe));
        }
    }
}
