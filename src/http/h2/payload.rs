//! What is in a frame's payload.

use super::{FrameHeader, flag, kind};
use crate::http::Malformed;

/// A part of a header section (HEADERS, PUSH_PROMISE, CONTINUATION).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// The part of the compressed section.
    pub block: &'a [u8],
    /// PUSH_PROMISE: the stream that is promised.
    pub promised: Option<u32>,
}

/// The part of a header section that is in `payload`, without padding and
/// priority. `payload` is whole.
///
/// # Errors
/// The padding is longer than the payload, or a fixed part is cut off.
pub fn fragment<'a>(header: &FrameHeader, payload: &'a [u8]) -> Result<Fragment<'a>, Malformed> {
    let mut rest = payload;
    let mut padding = 0;
    let may_pad = matches!(header.kind, kind::HEADERS | kind::PUSH_PROMISE);
    if may_pad && header.has(flag::PADDED) {
        let (length, after) = rest.split_first().ok_or(Malformed)?;
        padding = usize::from(*length);
        rest = after;
    }
    if header.kind == kind::HEADERS && header.has(flag::PRIORITY) {
        rest = rest.get(5..).ok_or(Malformed)?;
    }
    let mut promised = None;
    if header.kind == kind::PUSH_PROMISE {
        let (id, after) = rest.split_first_chunk::<4>().ok_or(Malformed)?;
        promised = Some(u32::from_be_bytes(*id) & 0x7fff_ffff);
        rest = after;
    }
    let length = rest.len().checked_sub(padding).ok_or(Malformed)?;
    Ok(Fragment {
        block: rest.get(..length).unwrap_or_default(),
        promised,
    })
}

/// Bytes of body in a DATA frame whose padding is `padding` bytes long, as
/// its first byte says; `None` if it has the flag and the padding does not fit.
#[must_use]
pub const fn data_length(header: &FrameHeader, padding: Option<u8>) -> Option<u32> {
    match padding {
        Some(padding) => header.length.checked_sub(1 + padding as u32),
        None => Some(header.length),
    }
}

/// The settings in a payload, in order: identifier and value.
pub fn settings(payload: &[u8]) -> impl Iterator<Item = (u16, u32)> + '_ {
    payload.chunks_exact(6).filter_map(|setting| {
        let &[i0, i1, v0, v1, v2, v3] = setting else {
            return None;
        };
        Some((
            u16::from_be_bytes([i0, i1]),
            u32::from_be_bytes([v0, v1, v2, v3]),
        ))
    })
}
