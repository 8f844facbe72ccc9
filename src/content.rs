//! What is in a body: content codings undone, media types, charsets and the
//! formats that outputs show by their parts. Pure functions and state machines
//! over bytes, like [`crate::http`]; no length that a body names is believed.

pub mod charset;
pub mod coding;
pub mod grpc;
pub mod json_pretty;
pub mod media;
pub mod multipart;
mod params;
pub mod sse;

use std::borrow::Cow;

/// The bytes with `%41` and the like decoded (RFC 3986 2.1). A percent sign
/// without two hex digits stays.
fn percent_decoded(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !bytes.contains(&b'%') {
        return Cow::Borrowed(bytes);
    }
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, after @ ..] = rest {
        let decoded = match after {
            [high, low, ..] if *first == b'%' => digit(*high).zip(digit(*low)),
            _ => None,
        };
        if let Some((high, low)) = decoded {
            out.push(high << 4 | low);
            rest = after.get(2..).unwrap_or_default();
        } else {
            out.push(*first);
            rest = after;
        }
    }
    Cow::Owned(out)
}
