//! Requests and responses.

use super::super::json::value::Writer;
use super::{body, cookie, entry, words};
use crate::event::Endpoint;
use crate::exchange::{Exchange, Fields, Request, State};

/// The authority of a URL of which nothing is known (RFC 6761 6.4).
const NOWHERE: &str = "unknown.invalid";

/// `request`. HAR wants one even if none was seen: then there is no method,
/// and the URL is that of the server.
pub(super) fn request(w: &mut Writer, exchange: &Exchange) {
    w.raw(",\"request\":{\"method\":");
    let request = exchange.request.as_ref();
    words::push(w, request.map_or(b"", |request| &request.method));
    let url = Url::of(exchange);
    w.raw(",\"url\":");
    w.string(&url.text);
    let version = request.map(|request| request.version);
    let version = version.or(exchange.response.as_ref().map(|response| response.version));
    w.raw(",\"httpVersion\":");
    w.name(version.map_or("", |version| version.name()));
    let none = Fields::default();
    let headers = request.map_or(&none, |request| &request.headers);
    w.raw(",\"cookies\":");
    cookie::sent(w, headers);
    w.raw(",\"headers\":");
    fields(w, headers);
    w.raw(",\"queryString\":");
    let query = request.map_or(&b""[..], |request| query_of(&request.target));
    parameters(w, query);
    if let Some(request) = request {
        body::post_data(w, request);
    }
    w.raw(",\"headersSize\":-1,\"bodySize\":");
    match request {
        Some(request) => w.number(request.body.encoded_size),
        None => w.raw("-1"),
    }
    if let Some(request) = request {
        if !url.tells_target {
            w.raw(",\"_target\":");
            words::push(w, &request.target);
        }
        trailers(w, &request.trailers);
    }
    if let Some(comment) = url.comment {
        w.raw(",\"comment\":");
        w.string(comment);
    }
    w.raw("}");
}

/// `response`. Without one it is as browsers write it: status 0, and why in
/// `_error`.
pub(super) fn response(w: &mut Writer, exchange: &Exchange) {
    w.raw(",\"response\":{\"status\":");
    let Some(response) = &exchange.response else {
        w.raw(concat!(
            "0,\"statusText\":\"\",\"httpVersion\":\"\",\"cookies\":[],\"headers\":[],",
            "\"content\":{\"size\":0,\"mimeType\":\"\"},\"redirectURL\":\"\",",
            "\"headersSize\":-1,\"bodySize\":-1,\"_error\":",
        ));
        w.string(match exchange.state {
            State::Complete => "no response was seen",
            State::Reset => "no response was seen: the connection was reset",
            State::Closed => "no response was seen: the connection ended",
            State::Open => "no response was seen: the capture ended first",
        });
        return w.raw("}");
    };
    w.number(response.status.into());
    w.raw(",\"statusText\":");
    words::push(w, &response.reason);
    w.raw(",\"httpVersion\":");
    w.name(response.version.name());
    w.raw(",\"cookies\":");
    let times = &exchange.times;
    cookie::set(
        w,
        &response.headers,
        times.response_start.or(times.response_end),
    );
    w.raw(",\"headers\":");
    fields(w, &response.headers);
    body::content(w, response);
    w.raw(",\"redirectURL\":");
    words::push(w, response.headers.get("location").unwrap_or_default());
    w.raw(",\"headersSize\":-1,\"bodySize\":");
    w.number(response.body.encoded_size);
    trailers(w, &response.trailers);
    w.raw("}");
}

/// A list of `{"name","value"}`.
pub(super) fn fields(w: &mut Writer, fields: &Fields) {
    w.list(fields.iter(), |w, (name, value)| {
        w.raw("{\"name\":");
        words::push(w, name);
        w.raw(",\"value\":");
        words::push(w, value);
        if [name, value]
            .iter()
            .any(|b| std::str::from_utf8(b).is_err())
        {
            w.raw(",\"comment\":\"not UTF-8: one character for each byte\"");
        }
        w.raw("}");
    });
}

/// A list of `{"name","value"}` of a query or a form.
pub(super) fn parameters(w: &mut Writer, query: &[u8]) {
    w.list(words::parameters(query), |w, (name, value)| {
        w.raw("{\"name\":");
        w.string(&name);
        w.raw(",\"value\":");
        w.string(&value);
        w.raw("}");
    });
}

fn trailers(w: &mut Writer, trailers: &Fields) {
    if !trailers.is_empty() {
        w.raw(",\"_trailers\":");
        fields(w, trailers);
    }
}

/// What is behind the question mark of a target.
fn query_of(target: &[u8]) -> &[u8] {
    let mut parts = target.splitn(2, |byte| *byte == b'?');
    let query = parts.nth(1).unwrap_or_default();
    query.split(|byte| *byte == b'#').next().unwrap_or_default()
}

/// A URL as HAR wants it: absolute, whatever was written.
struct Url {
    text: String,
    /// The target as it was written can be read from it.
    tells_target: bool,
    /// What of it was not said in the request.
    comment: Option<&'static str>,
}

impl Url {
    fn of(exchange: &Exchange) -> Self {
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
                url.comment = Some("the request names no host: the server's address stands for it");
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
    let scheme = target
        .split(|byte| *byte == b':')
        .next()
        .unwrap_or_default();
    let rest = target.get(scheme.len()..).unwrap_or_default();
    rest.starts_with(b"://")
        && scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b))
}

fn authority(request: &Request) -> Option<&[u8]> {
    request.host.as_deref().filter(|host| !host.is_empty())
}

/// The server's address as an authority.
fn address(exchange: &Exchange) -> String {
    match entry::server(exchange) {
        Some(Endpoint::Tcp(address)) => address.to_string(),
        Some(Endpoint::Unix(_)) => "localhost".to_owned(),
        None => NOWHERE.to_owned(),
    }
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
}
