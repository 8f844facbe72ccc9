//! An exchange as a gRPC call: what its path, its fields and its bodies say.

use std::borrow::Cow;

use crate::content::grpc;
use crate::content::media::MediaType;
use crate::event::Direction;
use crate::exchange::{Body, BodyMessages, Exchange, Fields};

/// What is known of a call.
pub(super) struct Call<'a> {
    /// Service and method, if the path is of that form.
    pub(super) method: Option<(&'a [u8], &'a [u8])>,
    /// `grpc-status`; `None` when it was not seen (yet).
    pub(super) status: Option<u32>,
    /// `grpc-message`, its percent-encoding undone.
    pub(super) message: Option<Cow<'a, [u8]>>,
    /// Messages of the request and of the response, where they were counted.
    bodies: [Option<&'a Body>; 2],
    requests: Direction,
}

impl<'a> Call<'a> {
    /// `None` if neither message is of gRPC or gRPC-Web.
    pub(super) fn of(exchange: &'a Exchange) -> Option<Self> {
        let request = exchange.request.as_ref();
        let response = exchange.response.as_ref();
        let headers = [request.map(|r| &r.headers), response.map(|r| &r.headers)];
        if !headers.into_iter().flatten().any(is_grpc) {
            return None;
        }
        // Those of a response without a body are its header fields.
        let places = response.map(|response| {
            let messages = response.body.messages.as_ref();
            [
                Some(&response.trailers),
                messages.and_then(|messages| messages.trailers.as_ref()),
                Some(&response.headers),
            ]
        });
        let place = places
            .into_iter()
            .flatten()
            .flatten()
            .find(|fields| fields.get("grpc-status").is_some());
        Some(Self {
            method: request.and_then(|request| grpc::method(&request.target)),
            status: place.and_then(status),
            message: place
                .and_then(|fields| fields.get("grpc-message"))
                .map(grpc::message),
            bodies: [request.map(|r| &r.body), response.map(|r| &r.body)],
            requests: exchange.role.request_direction(),
        })
    }

    /// The name of its status, if it has one that the protocol knows.
    pub(super) fn status_name(&self) -> Option<&'static str> {
        self.status.and_then(grpc::status_name)
    }

    /// Whether it is known to have failed.
    pub(super) fn has_failed(&self) -> bool {
        self.status.is_some_and(|status| status != 0)
    }

    /// The messages that went in a direction, seen from the process.
    pub(super) fn messages(&self, direction: Direction) -> Option<&'a BodyMessages> {
        let [request, response] = self.bodies;
        let body = if direction == self.requests {
            request
        } else {
            response
        };
        body?.messages.as_deref()
    }
}

fn is_grpc(headers: &Fields) -> bool {
    headers
        .get("content-type")
        .and_then(MediaType::parse)
        .is_some_and(|media| media.is_grpc() || media.is_grpc_web() || media.is_grpc_web_text())
}

fn status(fields: &Fields) -> Option<u32> {
    std::str::from_utf8(fields.get("grpc-status")?)
        .ok()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::samples::{fields, grpc, plain};

    #[test]
    fn the_status_is_where_the_form_of_the_response_has_it() {
        let exchange = grpc();
        let call = Call::of(&exchange).unwrap();
        assert_eq!(call.method, Some((&b"shop.Stock"[..], &b"Find"[..])));
        assert_eq!(
            (call.status, call.status_name()),
            (Some(5), Some("NOT_FOUND"))
        );
        assert_eq!(call.message.as_deref(), Some("no such thing: é".as_bytes()));
        assert!(call.has_failed());
        assert_eq!(call.messages(Direction::Send).unwrap().count, 3);

        // A response of trailers only has them in its header.
        let mut only = grpc();
        let response = only.response.as_mut().unwrap();
        response.headers = std::mem::take(&mut response.trailers);
        assert_eq!(Call::of(&only).unwrap().status, Some(5));

        // gRPC-Web has them in the body.
        let response = only.response.as_mut().unwrap();
        response.headers = Fields::default();
        response.body.messages.as_mut().unwrap().trailers = Some(fields(&[("grpc-status", "0")]));
        let call = Call::of(&only).unwrap();
        assert_eq!((call.status, call.has_failed()), (Some(0), false));
    }

    #[test]
    fn what_was_not_seen_is_unknown() {
        assert!(Call::of(&plain()).is_none());
        let mut exchange = grpc();
        exchange.response = None;
        let call = Call::of(&exchange).unwrap();
        assert_eq!((call.status, call.status_name()), (None, None));
        let mut exchange = grpc();
        exchange.response.as_mut().unwrap().trailers = fields(&[("grpc-status", "77")]);
        let call = Call::of(&exchange).unwrap();
        assert_eq!((call.status, call.status_name()), (Some(77), None));
    }
}
