//! `--host`: a pattern for the authority of a request.
//!
//! Case and a trailing dot are ignored on both sides, and the port unless the
//! pattern has one. With a port, an authority without one counts as having
//! its scheme's, so that `example.com:443` finds `https://example.com/`.

use std::str::FromStr;

use super::parts::PatternError;
use crate::glob::Glob;

/// A pattern for hosts: `api.*`, `*:8443`, `[::1]:8080`, `::1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostGlob {
    host: Glob,
    port: Option<Glob>,
    /// The pattern is in brackets: only an IPv6 address matches.
    literal_v6: bool,
}

impl HostGlob {
    /// Whether an authority (`example.com`, `[::1]:8080`, user information
    /// allowed) matches; `scheme` gives the port it has when none is written.
    #[must_use]
    pub fn matches(&self, authority: &[u8], scheme: &str) -> bool {
        let parts = Authority::split(authority);
        if self.literal_v6 && !parts.is_v6 {
            return false;
        }
        self.host.matches(without_dot(parts.host))
            && self.port.as_ref().is_none_or(|glob| {
                let default: &[u8] = if scheme == "https" { b"443" } else { b"80" };
                glob.matches(parts.port.unwrap_or(default))
            })
    }
}

impl FromStr for HostGlob {
    type Err = PatternError;

    fn from_str(pattern: &str) -> Result<Self, PatternError> {
        if let Some((_, rest)) = pattern.split_once("://") {
            let host = rest.split('/').next().unwrap_or_default();
            return Err(PatternError::HostIsUrl(host.to_owned()));
        }
        if pattern.contains(['/', ' ', '@']) {
            return Err(PatternError::Host);
        }
        if pattern.starts_with('[') && !pattern.contains(']') {
            return Err(PatternError::HostBracket);
        }
        let parts = Authority::split(pattern.as_bytes());
        // Both halves are cut at ASCII characters, so they are UTF-8 still.
        let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
        let port = text(parts.port.unwrap_or(b"*"));
        if port.is_empty()
            || !port
                .bytes()
                .all(|b| b.is_ascii_digit() || b"*?".contains(&b))
        {
            return Err(PatternError::HostPort);
        }
        Ok(Self {
            host: Glob::ignoring_case(text(without_dot(parts.host)))?,
            port: parts.port.map(|_| Glob::new(port)).transpose()?,
            literal_v6: pattern.starts_with('[') && parts.is_v6,
        })
    }
}

/// An authority in its parts (RFC 3986 3.2).
struct Authority<'a> {
    /// Without brackets.
    host: &'a [u8],
    /// What follows the colon.
    port: Option<&'a [u8]>,
    /// An address in brackets, or one with several colons that lacks them.
    is_v6: bool,
}

impl<'a> Authority<'a> {
    fn split(authority: &'a [u8]) -> Self {
        let authority = match memchr::memrchr(b'@', authority) {
            Some(at) => authority.get(at + 1..).unwrap_or_default(),
            None => authority,
        };
        let part = |range: std::ops::Range<usize>| authority.get(range).unwrap_or_default();
        let end = authority.len();
        if authority.starts_with(b"[")
            && let Some(close) = memchr::memchr(b']', authority)
            && (close + 1 == end || authority.get(close + 1) == Some(&b':'))
        {
            return Self {
                host: part(1..close),
                port: (close + 1 < end).then(|| part(close + 2..end)),
                is_v6: true,
            };
        }
        let colon = memchr::memchr(b':', authority);
        if colon != memchr::memrchr(b':', authority) {
            return Self {
                host: authority,
                port: None,
                is_v6: true,
            };
        }
        Self {
            host: part(0..colon.unwrap_or(end)),
            port: colon.map(|colon| part(colon + 1..end)),
            is_v6: false,
        }
    }
}

/// A name without the dot that ends a fully qualified one.
fn without_dot(host: &[u8]) -> &[u8] {
    host.strip_suffix(b".").unwrap_or(host)
}
