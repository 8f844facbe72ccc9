//! Patterns with `*` and `?`; everything else is literal, brackets too: in a
//! tool for addresses `[::1]` is a host and not a set of characters.
//!
//! Patterns work on bytes, because names of processes, paths and hosts off
//! the wire need not be UTF-8. Matching takes no memory, and time of at most
//! the product of the two lengths, whatever the pattern.

use thiserror::Error;

/// Why a pattern cannot be used. The text is one sentence for the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum GlobError {
    /// Nothing was given; it could never match.
    #[error("the pattern is empty: write * to match everything")]
    Empty,
    /// A control character, most likely pasted by mistake.
    #[error(
        "the pattern has a control character (0x{0:02x}): write ? in its place, as in api.?.example.com"
    )]
    Control(u8),
}

/// One step of a compiled pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    /// `*`: any number of bytes, none too.
    Many,
    /// `?`: one byte.
    One,
    /// This byte (in lower case, if case is ignored).
    Byte(u8),
}

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    tokens: Vec<Token>,
    ignore_case: bool,
}

impl Glob {
    /// A pattern that distinguishes upper and lower case.
    ///
    /// # Errors
    /// The pattern is empty or holds control characters.
    pub fn new(pattern: &str) -> Result<Self, GlobError> {
        Self::compile(pattern, false, false)
    }

    /// A pattern that ignores the case of ASCII letters.
    ///
    /// # Errors
    /// As [`Glob::new`].
    pub fn ignoring_case(pattern: &str) -> Result<Self, GlobError> {
        Self::compile(pattern, true, false)
    }

    /// A pattern in which `\?` is a question mark (`--path`).
    ///
    /// # Errors
    /// As [`Glob::new`].
    pub fn with_escaped_question_mark(pattern: &str) -> Result<Self, GlobError> {
        Self::compile(pattern, false, true)
    }

    fn compile(pattern: &str, ignore_case: bool, escapes: bool) -> Result<Self, GlobError> {
        if pattern.is_empty() {
            return Err(GlobError::Empty);
        }
        let mut tokens = Vec::with_capacity(pattern.len());
        let mut bytes = pattern.bytes().peekable();
        while let Some(byte) = bytes.next() {
            let token = match byte {
                b'*' if tokens.last() == Some(&Token::Many) => continue,
                b'*' => Token::Many,
                b'?' => Token::One,
                b'\\' if escapes && bytes.next_if_eq(&b'?').is_some() => Token::Byte(b'?'),
                byte if byte.is_ascii_control() => return Err(GlobError::Control(byte)),
                byte if ignore_case => Token::Byte(byte.to_ascii_lowercase()),
                byte => Token::Byte(byte),
            };
            tokens.push(token);
        }
        Ok(Self {
            tokens,
            ignore_case,
        })
    }

    /// Whether the pattern holds this byte literally.
    #[must_use]
    pub fn has_literal(&self, byte: u8) -> bool {
        self.tokens.contains(&Token::Byte(byte))
    }

    /// Whether the whole of `text` matches.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        let (mut t, mut p) = (0, 0);
        // After the last `*`: where the pattern goes on, and from where in
        // the text. An earlier `*` need never be reconsidered: whatever it
        // could take more, the last one can take instead.
        let mut retry: Option<(usize, usize)> = None;
        while let Some(&byte) = text.get(t) {
            let token = self.tokens.get(p).copied();
            if token == Some(Token::Many) {
                p += 1;
                retry = Some((p, t));
            } else if token.is_some_and(|token| self.takes(token, byte)) {
                p += 1;
                t += 1;
            } else if let Some((after, from)) = retry {
                p = after;
                t = from + 1;
                retry = Some((after, t));
            } else {
                return false;
            }
        }
        self.tokens
            .get(p..)
            .unwrap_or_default()
            .iter()
            .all(|token| *token == Token::Many)
    }

    fn takes(&self, token: Token, byte: u8) -> bool {
        match token {
            Token::Many => false,
            Token::One => true,
            Token::Byte(literal) if self.ignore_case => literal == byte.to_ascii_lowercase(),
            Token::Byte(literal) => literal == byte,
        }
    }
}

impl std::str::FromStr for Glob {
    type Err = GlobError;

    fn from_str(pattern: &str) -> Result<Self, GlobError> {
        Self::new(pattern)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Glob::new(pattern).unwrap().matches(text.as_bytes())
    }

    #[test]
    fn star_takes_any_number_of_bytes_and_question_mark_one() {
        assert!(matches("*", ""));
        assert!(matches("*", "anything"));
        assert!(matches("a*c", "ac"));
        assert!(matches("a*c", "abcbc"));
        assert!(!matches("a*c", "abcb"));
        assert!(matches("a?c", "abc"));
        assert!(!matches("a?c", "ac"));
        assert!(matches("**a**", "bab"));
        assert!(matches("*.example.com", "api.example.com"));
        assert!(!matches("*.example.com", "example.com"));
    }

    #[test]
    fn everything_else_is_literal() {
        assert!(matches("[::1]", "[::1]"));
        assert!(!matches("[::1]", ":"));
        assert!(matches("{a,b}", "{a,b}"));
        assert!(matches(r"a\b", r"a\b"));
        assert!(matches(r"a\?", r"a\b"));
        assert!(matches("!a^$.+", "!a^$.+"));
    }

    #[test]
    fn a_question_mark_can_be_escaped_in_paths_only() {
        let glob = Glob::with_escaped_question_mark(r"/a\?b=*").unwrap();
        assert!(glob.matches(b"/a?b=1"));
        assert!(!glob.matches(b"/axb=1"));
        assert!(glob.has_literal(b'?'));
        assert!(!Glob::new(r"/a\?").unwrap().has_literal(b'?'));
    }

    #[test]
    fn case_is_ignored_on_demand_and_bytes_need_not_be_utf8() {
        assert!(Glob::ignoring_case("API.*").unwrap().matches(b"api.X"));
        assert!(!matches("API.*", "api.X"));
        assert!(Glob::new("a?c").unwrap().matches(b"a\xffc"));
    }

    #[test]
    fn what_can_never_match_is_an_error() {
        assert_eq!(Glob::new(""), Err(GlobError::Empty));
        assert_eq!(Glob::new("a\nb"), Err(GlobError::Control(10)));
        assert_eq!(Glob::new("a\x7f"), Err(GlobError::Control(127)));
    }

    #[test]
    fn a_hostile_text_costs_the_product_of_the_lengths() {
        let glob = Glob::new(&"a*".repeat(1000)).unwrap();
        let text = vec![b'a'; 10_000];
        assert!(glob.matches(&text));
        assert!(
            !Glob::new(&("a*".repeat(1000) + "b"))
                .unwrap()
                .matches(&text)
        );
    }

    fn slow(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', p)), t) => slow(p, text) || t.is_some_and(|(_, rest)| slow(pattern, rest)),
            (Some((c, p)), Some((b, t))) if *c == b'?' || c == b => slow(p, t),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_definition(pattern in "[ab*?]{1,8}", text in "[ab]{0,10}") {
            prop_assert_eq!(
                matches(&pattern, &text),
                slow(pattern.as_bytes(), text.as_bytes())
            );
        }
    }
}
