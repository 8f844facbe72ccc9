//! The URL of a request, as something that every importer can read: one that it
//! cannot would cost it the whole file.

use std::net::Ipv6Addr;

use super::{entry, words};
use crate::event::Endpoint;
use crate::exchange::{Exchange, Request};

/// The authority of a URL of which nothing is known (RFC 6761 6.4).
const NOWHERE: &str = "unknown.invalid";

/// A URL as HAR wants it: absolute, whatever was written.
pub(super) struct Url {
    pub(super) text: String,
    /// The target as it was written can be read from it.
    pub(super) tells_target: bool,
    /// What of it was not said in the request.
    pub(super) comment: Option<&'static str>,
}

impl Url {
    pub(super) fn of(exchange: &Exchange) -> Self {
        let Some(request) = &exchange.request else {
            let scheme = if exchange.info.key.source.is_tls() {
                "https"
            } else {
                "http"
            };
            return Self {
                text: format!("{scheme}://{}/", address(exchange)),
                tells_target: true,
                comment: Some("the request was not seen: the URL is the server's address"),
            };
        };
        let target = request.target.as_slice();
        let origin = target.starts_with(b"/");
        if !origin && is_absolute(target) {
            let mut text = String::with_capacity(target.len());
            words::push_url(&mut text, target);
            return Self {
                tells_target: text.as_bytes() == target,
                text,
                comment: None,
            };
        }
        let mut url = Self {
            text: format!("{}://", request.scheme),
            tells_target: false,
            comment: None,
        };
        match authority(request) {
            Some(authority) => words::push_url(&mut url.text, authority),
            None => {
                url.text.push_str(&address(exchange));
                url.comment =
                    Some("no host that a URL can have: the server's address stands for it");
            }
        }
        // CONNECT names an authority alone, OPTIONS * none at all.
        if origin {
            let start = url.text.len();
            words::push_url(&mut url.text, target);
            url.tells_target = url.text.get(start..).map(str::as_bytes) == Some(target);
        }
        url
    }
}

/// `http://…` and the like, but not `example.com:443`.
fn is_absolute(target: &[u8]) -> bool {
    let scheme = before(target, b":");
    let rest = target.get(scheme.len()..).unwrap_or_default();
    let Some(rest) = rest.strip_prefix(b"://") else {
        return false;
    };
    let authority = before(rest, b"/?#");
    let host = match memchr::memrchr(b'@', authority) {
        Some(at) => authority.get(at + 1..).unwrap_or_default(),
        None => authority,
    };
    scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b))
        && is_authority(host)
}

/// The beginning, up to one of `marks`.
fn before<'a>(bytes: &'a [u8], marks: &[u8]) -> &'a [u8] {
    let end = bytes.iter().position(|byte| marks.contains(byte));
    bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default()
}

fn authority(request: &Request) -> Option<&[u8]> {
    request.host.as_deref().filter(|host| is_authority(host))
}

/// Whether it is a name or an address, with or without a port.
fn is_authority(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let (host, port) = match text.strip_prefix('[').and_then(|t| t.split_once(']')) {
        Some((address, rest)) if address.parse::<Ipv6Addr>().is_ok() => (None, rest),
        Some(_) => return false,
        None => {
            let end = text.find(':').unwrap_or(text.len());
            let (host, rest) = text.split_at(end);
            (Some(host), rest)
        }
    };
    let is_port = match port.strip_prefix(':') {
        Some("") => true,
        Some(port) => port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok(),
        None => port.is_empty(),
    };
    // RFC 1123 2.1, and the underscore that is about.
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let is_name = |name: &str| {
        let name = name.strip_suffix('.').unwrap_or(name);
        name.len() <= 253 && name.split('.').all(is_label)
    };
    is_port && host.is_none_or(is_name)
}

/// The server's address as an authority.
fn address(exchange: &Exchange) -> String {
    match entry::server(exchange) {
        Some(Endpoint::Tcp(address)) => address.to_string(),
        Some(Endpoint::Unix(_)) => "localhost".to_owned(),
        None => NOWHERE.to_owned(),
    }
}

/// What is behind the question mark of a target.
pub(super) fn query_of(target: &[u8]) -> &[u8] {
    let mut parts = target.splitn(2, |byte| *byte == b'?');
    let query = parts.nth(1).unwrap_or_default();
    query.split(|byte| *byte == b'#').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::samples;

    fn url(method: &str, host: Option<&str>, target: &str) -> (String, bool) {
        let mut exchange = samples::plain();
        let mut request = samples::request(method, "http", "", target);
        request.host = host.map(Into::into);
        exchange.request = Some(request);
        let url = Url::of(&exchange);
        (url.text, url.tells_target)
    }

    #[test]
    fn every_url_is_absolute() {
        for (method, host, target, text, tells_target) in [
            ("GET", Some("a:8080"), "/x?y=1", "http://a:8080/x?y=1", true),
            ("GET", Some("a"), "http://b/x", "http://b/x", true),
            ("GET", None, "/x", "http://127.0.0.1:443/x", true),
            ("GET", Some(""), "/", "http://127.0.0.1:443/", true),
            (
                "GET",
                Some("a"),
                "/\u{fc} \"",
                "http://a/%C3%BC%20\"",
                false,
            ),
            ("CONNECT", Some("a:443"), "a:443", "http://a:443", false),
            ("OPTIONS", Some("a"), "*", "http://a", false),
            ("GET", Some("a"), "://", "http://a", false),
            ("GET", Some("a"), "http://b:70000/", "http://a", false),
            (
                "GET",
                Some("a"),
                "http://u:p@[::1]:80?q",
                "http://u:p@[::1]:80?q",
                true,
            ),
            ("GET", Some("a b"), "/", "http://127.0.0.1:443/", true),
        ] {
            assert_eq!(url(method, host, target), (text.to_owned(), tells_target));
        }
        let orphan = Url::of(&samples::orphan());
        assert_eq!(orphan.text, "http://10.0.0.2:80/");
        assert!(orphan.comment.is_some());
    }

    #[test]
    fn a_query_ends_at_the_fragment() {
        assert_eq!(query_of(b"/a?b=c?d#e"), b"b=c?d");
        assert_eq!(query_of(b"/a#?b"), b"b");
        assert_eq!(query_of(b"/a"), b"");
    }

    #[test]
    fn a_host_is_a_name_or_an_address() {
        for host in [
            "a",
            "a.b-c.example_x.",
            "1.2.3.4:80",
            "[::1]",
            "[::1]:65535",
            "a:",
        ] {
            assert!(is_authority(host.as_bytes()), "{host}");
        }
        for host in [
            "", ":80", "a b", "a:65536", "a:-1", "a:+1", "a:b:c", "[a]", "[::1", "::1", "a..b",
            "\u{fc}", "a@b", "a/b", ".",
        ] {
            assert!(!is_authority(host.as_bytes()), "{host}");
        }
        assert!(!is_authority(b"\xff"));
        assert!(!is_authority("a".repeat(64).as_bytes()));
    }
}
