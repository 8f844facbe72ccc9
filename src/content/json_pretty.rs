//! JSON for reading: indented, and nothing else changed. Numbers, strings and
//! the order of members stay as they are written, because nothing is parsed
//! into values.

use std::fmt::Write as _;

/// Nesting from which on it is not for reading any more.
const DEPTH: usize = 64;

/// Indents JSON text (RFC 8259) by two columns for each level, or several such
/// texts one after the other, each on a line of its own. `None` if it is no
/// JSON. With `cut` the text may end anywhere.
#[must_use]
pub fn indent(text: &str, cut: bool) -> Option<String> {
    let mut writer = Writer {
        out: String::with_capacity(text.len() + text.len() / 2),
        open: Vec::new(),
        next: Next::Value,
    };
    let mut rest = text.trim_start_matches(BLANKS);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let token = token(rest, cut)?;
        writer.token(token)?;
        rest = rest.get(token.len()..)?.trim_start_matches(BLANKS);
    }
    let whole = writer.open.is_empty() && matches!(writer.next, Next::Value | Next::AfterValue);
    (whole || cut).then_some(writer.out)
}

/// White space of JSON.
const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];

/// What may come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Value,
    /// A value, or the end of the array that was just opened.
    ValueOrEnd,
    Name,
    /// A name, or the end of the object that was just opened.
    NameOrEnd,
    Colon,
    /// A comma or an end; at the top another value.
    AfterValue,
}

struct Writer {
    out: String,
    /// The brackets that are open: `{` and `[`.
    open: Vec<u8>,
    next: Next,
}

impl Writer {
    fn token(&mut self, token: &str) -> Option<()> {
        let first = *token.as_bytes().first()?;
        if self.next == Next::AfterValue && self.open.is_empty() {
            // One text after the other (application/x-ndjson).
            self.out.push('\n');
            self.next = Next::Value;
        }
        match (first, self.next) {
            (b'"', Next::Name | Next::NameOrEnd) => {
                self.line_if(self.next == Next::NameOrEnd);
                self.out.push_str(token);
                self.next = Next::Colon;
            }
            (b':', Next::Colon) => {
                self.out.push_str(": ");
                self.next = Next::Value;
            }
            (b',', Next::AfterValue) => {
                self.out.push(',');
                self.line();
                self.next = match self.open.last()? {
                    b'{' => Next::Name,
                    _ => Next::Value,
                };
            }
            (b'}', Next::NameOrEnd | Next::AfterValue) => self.close(b'{')?,
            (b']', Next::ValueOrEnd | Next::AfterValue) => self.close(b'[')?,
            (b'}' | b']' | b',' | b':', _) => return None,
            (b'{' | b'[', Next::Value | Next::ValueOrEnd) => {
                self.line_if(self.next == Next::ValueOrEnd);
                if self.open.len() >= DEPTH {
                    return None;
                }
                self.out.push_str(token);
                self.open.push(first);
                self.next = if first == b'{' {
                    Next::NameOrEnd
                } else {
                    Next::ValueOrEnd
                };
            }
            (_, Next::Value | Next::ValueOrEnd) => {
                self.line_if(self.next == Next::ValueOrEnd);
                self.out.push_str(token);
                self.next = Next::AfterValue;
            }
            _ => return None,
        }
        Some(())
    }

    fn close(&mut self, bracket: u8) -> Option<()> {
        if self.open.pop()? != bracket {
            return None;
        }
        self.line_if(self.next == Next::AfterValue);
        self.out.push(if bracket == b'{' { '}' } else { ']' });
        self.next = Next::AfterValue;
        Some(())
    }

    fn line_if(&mut self, condition: bool) {
        if condition {
            self.line();
        }
    }

    fn line(&mut self) {
        let _ = write!(self.out, "\n{:1$}", "", self.open.len() * 2);
    }
}

/// The token that a text which is not empty begins with; `None` if there is
/// none. With `cut` the last one may be the beginning of one.
fn token(text: &str, cut: bool) -> Option<&str> {
    let bytes = text.as_bytes();
    match bytes.first()? {
        b'{' | b'}' | b'[' | b']' | b',' | b':' => text.get(..1),
        b'"' => match string_length(bytes)? {
            length if length > bytes.len() => cut.then_some(text),
            length => text.get(..length),
        },
        _ => {
            let end = bytes
                .iter()
                .position(|b| !(b.is_ascii_alphanumeric() || b"+-.".contains(b)))
                .unwrap_or(bytes.len());
            let word = text.get(..end)?;
            let literal = ["true", "false", "null"];
            let whole = literal.contains(&word) || is_number(word.as_bytes());
            let begun = cut
                && end == bytes.len()
                && (literal.iter().any(|literal| literal.starts_with(word))
                    || is_number([word, "0"].concat().as_bytes()));
            ((whole || begun) && end > 0).then_some(word)
        }
    }
}

/// The length of a string with its quotes; more than there is if its end is
/// not there. `None` if it is none (RFC 8259 7).
fn string_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match bytes.get(at) {
            None => return Some(bytes.len() + 1),
            Some(b'"') => return Some(at + 1),
            Some(b'\\') => at += 2,
            Some(..0x20) => return None,
            Some(_) => at += 1,
        }
    }
}

/// RFC 8259 6.
fn is_number(word: &[u8]) -> bool {
    fn digits(text: &[u8]) -> Option<&[u8]> {
        let count = text.iter().take_while(|b| b.is_ascii_digit()).count();
        if count == 0 { None } else { text.get(count..) }
    }
    let number = || {
        let word = word.strip_prefix(b"-").unwrap_or(word);
        let mut rest = match word {
            [b'0', rest @ ..] => rest,
            _ => digits(word)?,
        };
        if let Some(fraction) = rest.strip_prefix(b".") {
            rest = digits(fraction)?;
        }
        if let [b'e' | b'E', exponent @ ..] = rest {
            let exponent = match exponent {
                [b'+' | b'-', exponent @ ..] => exponent,
                _ => exponent,
            };
            rest = digits(exponent)?;
        }
        rest.is_empty().then_some(())
    };
    number().is_some()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_is_indented_and_nothing_else() {
        let text = r#" {"b":1.0e+2,"a":[true,null,{}, []],"c":{"d":"x\"y\u00e9 {"},"b":-0} "#;
        let wanted = "{
  \"b\": 1.0e+2,
  \"a\": [
    true,
    null,
    {},
    []
  ],
  \"c\": {
    \"d\": \"x\\\"y\\u00e9 {\"
  },
  \"b\": -0
}";
        assert_eq!(indent(text, false).as_deref(), Some(wanted));
        assert_eq!(
            indent("12345678901234567890.10", false).as_deref(),
            Some("12345678901234567890.10")
        );
        assert_eq!(
            indent("{}\n{\"a\":1}\n", false).as_deref(),
            Some("{}\n{\n  \"a\": 1\n}")
        );
    }

    #[test]
    fn what_is_no_json() {
        for text in [
            "",
            " ",
            "{",
            "[1",
            "{a:1}",
            "{'a':1}",
            "[1,]",
            "{\"a\":1,}",
            "{\"a\"}",
            "[1 2]",
            "01",
            "+1",
            "1.",
            ".5",
            "1e",
            "--1",
            "NaN",
            "tru",
            "truex",
            "\"a\nb\"",
            "\"a",
            "]",
            ",",
            "{]",
            "[}",
            "1,2",
            "<html>",
            "\u{feff}{}",
            "{\"a\":}",
            "é",
            "[1]]",
            "1true",
        ] {
            assert_eq!(indent(text, false), None, "{text}");
        }
        assert_eq!(indent(&"[".repeat(1000), true), None);
    }

    #[test]
    fn what_is_cut_is_indented_as_far_as_it_goes() {
        let text = r#"{"a":[1,-2.5e3,"x\\y"],"b":true}"#;
        let whole = indent(text, false).unwrap();
        for end in 1..=text.len() {
            let got = indent(&text[..end], true).unwrap();
            let kept: String = got.split_whitespace().collect();
            assert!(
                text[..end].starts_with(&kept) && kept.len() == end,
                "{end} {got}"
            );
            assert!(whole.starts_with(got.trim_end()), "{end} {got}");
        }
        assert_eq!(indent("[1,x", true), None);
        assert_eq!(indent("<html", true), None);
    }

    fn value() -> impl Strategy<Value = serde_json::Value> {
        use serde_json::Value;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 50, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_is_what_serde_writes(value in value()) {
            let compact = value.to_string();
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(indent(&compact, false), Some(pretty.clone()));
            prop_assert_eq!(indent(&pretty, false), Some(pretty));
        }

        #[test]
        fn anything_else_is_refused(text in "[\\[\\]{}:,\"\\\\ 01e.a-]{0,12}") {
            let mut texts = serde_json::Deserializer::from_str(&text).into_iter::<serde_json::Value>();
            let json = !text.trim().is_empty() && texts.all(|value| value.is_ok());
            // serde_json looks into escapes, which are of no matter here.
            if json {
                prop_assert!(indent(&text, false).is_some(), "{}", text);
            } else if !text.contains('\\') && !text.contains('"') {
                prop_assert!(indent(&text, false).is_none(), "{}", text);
            }
        }
    }
}
