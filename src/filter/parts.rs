//! What the filter options take: each parsed once, with an error that says
//! in one sentence what is wrong and gives an example that is right.

use std::str::FromStr;

use thiserror::Error;

use crate::glob::{Glob, GlobError};

/// Why a filter option's value cannot be used. The text is one sentence for
/// the user, without the value: the command line's message names it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PatternError {
    /// Not a usable pattern at all.
    #[error(transparent)]
    Glob(#[from] GlobError),
    /// A URL in place of a host.
    #[error("a host is wanted, not a URL: write --host '{0}', and --path for the rest")]
    HostIsUrl(String),
    /// Characters that no host has.
    #[error("no host has a slash, a space or an @ in it: write --host 'api.*' or '*:8443'")]
    Host,
    /// `[` without `]`.
    #[error("the bracket is not closed: write an IPv6 address as [::1] or [::1]:8080")]
    HostBracket,
    /// What follows the colon is no port.
    #[error("what follows the colon is not a port: write example.com:8443 or '*:8443'")]
    HostPort,
    /// A path that cannot match.
    #[error("a path begins with a slash: write '/api/*', or '*/login' for one further down")]
    Path,
    /// Not a status, a class or a range.
    #[error("a status is three digits, a class (1xx to 5xx) or a range: write 404, 5xx or 400-499")]
    Status,
    /// A range whose end is before its beginning.
    #[error("the range ends before it begins: write the lower status first, as in 400-499")]
    StatusOrder,
    /// Not a method.
    #[error("a method is one word: write GET, and repeat -m for several")]
    Method,
    /// Not a port.
    #[error("a port is a number from 1 to 65535: write 8443")]
    Port,
}

/// Reads a TCP port.
///
/// # Errors
/// Not a number from 1 to 65535.
pub fn parse_port(text: &str) -> Result<u16, PatternError> {
    match text.parse() {
        Ok(0) | Err(_) => Err(PatternError::Port),
        Ok(port) => Ok(port),
    }
}

/// `--method`: compared without regard to case, because people type `get`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method(String);

impl Method {
    /// Whether a request's method is this one.
    #[must_use]
    pub fn matches(&self, method: &[u8]) -> bool {
        self.0.as_bytes().eq_ignore_ascii_case(method)
    }
}

impl FromStr for Method {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        // A token (RFC 9110 5.6.2).
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if text.is_empty() || !text.bytes().all(token) {
            return Err(PatternError::Method);
        }
        Ok(Self(text.to_owned()))
    }
}

/// `--status`: one status, a class such as `5xx`, or a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRange {
    low: u16,
    high: u16,
}

impl StatusRange {
    /// Whether a status is in it.
    #[must_use]
    pub const fn contains(self, status: u16) -> bool {
        self.low <= status && status <= self.high
    }
}

impl FromStr for StatusRange {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        let (low, high) = (bounds(low)?.0, bounds(high)?.1);
        if low > high {
            return Err(PatternError::StatusOrder);
        }
        Ok(Self { low, high })
    }
}

/// First and last status of `404` or `4xx`. There are no further classes
/// (RFC 9110 15), but single statuses that servers have made up (999).
fn bounds(text: &str) -> Result<(u16, u16), PatternError> {
    match text.as_bytes() {
        [class @ b'1'..=b'5', b'x' | b'X', b'x' | b'X'] => {
            let low = u16::from(class - b'0') * 100;
            Ok((low, low + 99))
        }
        [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9'] => {
            let status = text.parse().map_err(|_| PatternError::Status)?;
            Ok((status, status))
        }
        _ => Err(PatternError::Status),
    }
}

/// `--path`: compared with the path alone, or with path and query if the
/// pattern has a literal question mark (`\?`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathGlob {
    glob: Glob,
    with_query: bool,
}

impl PathGlob {
    /// Whether a request's target matches: the path of an origin-form or
    /// absolute-form, or `*`. CONNECT has no path and never matches, but for one
    /// that asks for a protocol (RFC 8441 4).
    #[must_use]
    pub fn matches(&self, method: &[u8], target: &[u8]) -> bool {
        if method == b"CONNECT" && !target.starts_with(b"/") {
            return false;
        }
        let target = without_authority(target);
        let path = match memchr::memchr(b'?', target) {
            Some(query) if !self.with_query => target.get(..query).unwrap_or_default(),
            _ => target,
        };
        self.glob.matches(if path.is_empty() { b"/" } else { path })
    }
}

impl FromStr for PathGlob {
    type Err = PatternError;

    fn from_str(pattern: &str) -> Result<Self, PatternError> {
        let glob = Glob::with_escaped_question_mark(pattern)?;
        if !pattern.starts_with(['/', '*', '?']) {
            return Err(PatternError::Path);
        }
        Ok(Self {
            with_query: glob.has_literal(b'?'),
            glob,
        })
    }
}

/// The path and query of a target: what follows the authority of an
/// absolute-form (RFC 9112 3.2.2), else the whole.
fn without_authority(target: &[u8]) -> &[u8] {
    if target.starts_with(b"/") {
        return target;
    }
    let Some(scheme) = memchr::memmem::find(target, b"://") else {
        return target;
    };
    let rest = target.get(scheme + 3..).unwrap_or_default();
    let path = memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len());
    rest.get(path..).unwrap_or_default()
}

/// `--exe`: a pattern with a slash is compared with the whole path, one
/// without with the file's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExeGlob {
    glob: Glob,
    whole: bool,
}

impl ExeGlob {
    /// Whether the path of an executable matches; the mark that the kernel
    /// puts on a deleted one is ignored.
    #[must_use]
    pub fn matches(&self, exe: &[u8]) -> bool {
        let path = exe.strip_suffix(b" (deleted)").unwrap_or(exe);
        let name = memchr::memrchr(b'/', path).map_or(0, |slash| slash + 1);
        self.glob.matches(if self.whole {
            path
        } else {
            path.get(name..).unwrap_or_default()
        })
    }
}

impl FromStr for ExeGlob {
    type Err = PatternError;

    fn from_str(pattern: &str) -> Result<Self, PatternError> {
        Ok(Self {
            glob: Glob::new(pattern)?,
            whole: pattern.contains('/'),
        })
    }
}
