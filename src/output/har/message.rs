//! Requests and responses.

use super::super::json::value::Writer;
use super::url::{Url, query_of};
use super::{body, cookie, entry, words};
use crate::exchange::{Exchange, Fields, State};

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
            State::Reset if entry::has_reset_stream(exchange) => {
                "no response was seen: the stream was reset"
            }
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
