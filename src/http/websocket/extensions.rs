//! What both ends agreed upon in the upgrade (`Sec-WebSocket-Extensions` of
//! the response, RFC 6455 9.1, RFC 7692 7.1).

/// The parameters of `permessage-deflate` that decide how to inflate. The
/// sizes of the windows do not: one of 32 KiB serves them all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deflate {
    /// `client_no_context_takeover`: each message of the client is compressed
    /// on its own.
    pub client_alone: bool,
    /// `server_no_context_takeover`.
    pub server_alone: bool,
}

impl Deflate {
    /// What the response's fields say; `None` if messages are not compressed
    /// by `permessage-deflate`.
    pub fn negotiated<'a>(fields: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        fields
            .into_iter()
            .flat_map(|value| split(value, b','))
            .find_map(Self::parse)
    }

    fn parse(extension: &[u8]) -> Option<Self> {
        let mut parts = split(extension, b';').map(<[u8]>::trim_ascii);
        if !parts.next()?.eq_ignore_ascii_case(b"permessage-deflate") {
            return None;
        }
        let mut deflate = Self::default();
        for part in parts {
            let name = part
                .split(|b| *b == b'=')
                .next()
                .unwrap_or_default()
                .trim_ascii();
            deflate.client_alone |= name.eq_ignore_ascii_case(b"client_no_context_takeover");
            deflate.server_alone |= name.eq_ignore_ascii_case(b"server_no_context_takeover");
        }
        Some(deflate)
    }
}

/// The parts between separators; one within a quoted string is none.
fn split(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    value.split(move |b| {
        let is_separator = *b == separator && !quoted;
        quoted ^= *b == b'"' && !escaped;
        escaped = quoted && *b == b'\\' && !escaped;
        is_separator
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found() {
        let negotiated = |fields: &[&str]| Deflate::negotiated(fields.iter().map(|f| f.as_bytes()));
        let deflate = |client_alone, server_alone| {
            Some(Deflate {
                client_alone,
                server_alone,
            })
        };
        assert_eq!(negotiated(&[]), None);
        assert_eq!(negotiated(&["", "x-webkit-deflate-frame"]), None);
        assert_eq!(negotiated(&["permessage-deflate"]), deflate(false, false));
        assert_eq!(
            negotiated(&[
                "Permessage-Deflate ; Server_no_context_takeover;client_max_window_bits=\"12\""
            ]),
            deflate(false, true)
        );
        assert_eq!(
            negotiated(&[
                "a; b=\"x, permessage-deflate\"",
                "c, permessage-deflate; client_no_context_takeover; server_no_context_takeover"
            ]),
            deflate(true, true)
        );
        assert_eq!(negotiated(&["a; b=\"permessage-deflate"]), None);
    }
}
