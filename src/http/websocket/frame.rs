//! The header of a frame (RFC 6455 5.2) and the mask of its payload.

use crate::http::Malformed;

/// Longest frame header in bytes: two, a length of eight, a mask of four.
pub(super) const HEADER_LIMIT: usize = 14;

/// Longest payload of a control frame (RFC 6455 5.5).
const CONTROL_LIMIT: u64 = 125;

/// Opcode of a frame that goes on with a message.
pub(super) const CONTINUATION: u8 = 0;

/// In [`Header::reserved`]: the message is compressed, if that was agreed upon.
pub(super) const RSV1: u8 = 4;

/// What stands before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The last frame of its message.
    pub(super) fin: bool,
    /// The reserved bits, RSV1 as 4, RSV2 as 2, RSV3 as 1.
    pub(super) reserved: u8,
    pub(super) opcode: u8,
    /// What the payload is masked with, if it is.
    pub(super) mask: Option<[u8; 4]>,
    /// Bytes of the payload: what the frame says, at most 2^63 - 1.
    pub(super) length: u64,
    /// Bytes of the header itself.
    pub(super) size: usize,
    /// The length has the shortest form there is, as it must.
    pub(super) minimal: bool,
}

impl Header {
    /// The header at the start of `bytes`; `None` if it is not whole yet.
    /// Lengths of 2^63 and more, and control frames that are long or in
    /// fragments, are errors: what follows cannot be trusted to be a frame.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, Malformed> {
        let [first, second, rest @ ..] = bytes else {
            return Ok(None);
        };
        let (fin, opcode) = (first & 0x80 != 0, first & 0x0f);
        let short = second & 0x7f;
        let control = opcode & 0x08 != 0;
        if control && (!fin || u64::from(short) > CONTROL_LIMIT) {
            return Err(Malformed);
        }
        let (length, rest, minimal) = match short {
            126 => match rest {
                [a, b, rest @ ..] => {
                    let length = u64::from(u16::from_be_bytes([*a, *b]));
                    (length, rest, length > 125)
                }
                _ => return Ok(None),
            },
            127 => {
                if rest.first().is_some_and(|b| b & 0x80 != 0) {
                    return Err(Malformed);
                }
                match rest.split_first_chunk::<8>() {
                    Some((length, rest)) => {
                        let length = u64::from_be_bytes(*length);
                        (length, rest, length > 0xffff)
                    }
                    None => return Ok(None),
                }
            }
            n => (u64::from(n), rest, true),
        };
        let (mask, rest) = if second & 0x80 == 0 {
            (None, rest)
        } else {
            match rest.split_first_chunk::<4>() {
                Some((mask, rest)) => (Some(*mask), rest),
                None => return Ok(None),
            }
        };
        Ok(Some(Self {
            fin,
            reserved: first >> 4 & 7,
            opcode,
            mask,
            length,
            size: bytes.len() - rest.len(),
            minimal,
        }))
    }

    /// Close, ping, pong and what is reserved for further ones.
    pub(super) fn is_control(&self) -> bool {
        self.opcode & 0x08 != 0
    }
}

/// Appends `bytes`, which begin `at` bytes into a payload, without their mask.
pub(super) fn unmask(to: &mut Vec<u8>, bytes: &[u8], mask: Option<[u8; 4]>, at: u64) {
    let start = to.len();
    to.extend_from_slice(bytes);
    if let Some(mut mask) = mask
        && mask != [0; 4]
    {
        mask.rotate_left((at % 4) as usize);
        let new = to.get_mut(start..).unwrap_or_default();
        let (words, tail) = new.as_chunks_mut::<4>();
        let word = u32::from_ne_bytes(mask);
        for four in words {
            *four = (u32::from_ne_bytes(*four) ^ word).to_ne_bytes();
        }
        for (byte, mask) in tail.iter_mut().zip(mask) {
            *byte ^= mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_whole_at_its_last_byte() {
        for (bytes, length, masked) in [
            (&[0x81, 0x05][..], 5, false),
            (&[0x81, 0x85, 1, 2, 3, 4], 5, true),
            (&[0x82, 0x7e, 0x01, 0x00], 256, false),
            (&[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0], 65536, false),
            (
                &[
                    0x82, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4,
                ],
                i64::MAX as u64,
                true,
            ),
        ] {
            for end in 0..bytes.len() {
                assert_eq!(Header::parse(&bytes[..end]), Ok(None), "{bytes:x?}");
            }
            let header = Header::parse(bytes).unwrap().unwrap();
            assert_eq!(header.length, length);
            assert_eq!(header.mask.is_some(), masked);
            assert_eq!(header.size, bytes.len());
            assert!(header.minimal);
        }
    }

    #[test]
    fn what_cannot_be_a_frame_is_an_error() {
        for bytes in [
            // A length of 2^63.
            &[0x82, 0x7f, 0x80][..],
            // A ping in fragments, and ones of 126 bytes and more.
            &[0x09, 0x00],
            &[0x89, 0x7e],
            &[0x89, 0xff],
        ] {
            assert_eq!(Header::parse(bytes), Err(Malformed), "{bytes:x?}");
        }
        let long = Header::parse(&[0x81, 0x7e, 0, 5]).unwrap().unwrap();
        assert!(!long.minimal);
        assert_eq!(long.length, 5);
    }

    #[test]
    fn a_mask_goes_on_where_it_stopped() {
        let mask = Some([1, 2, 3, 4]);
        let plain: Vec<u8> = (0..23).collect();
        let mut masked = Vec::new();
        unmask(&mut masked, &plain, mask, 0);
        assert_eq!(masked[4], 4 ^ 1);
        for cut in 0..plain.len() {
            let mut back = Vec::new();
            unmask(&mut back, &masked[..cut], mask, 0);
            unmask(&mut back, &masked[cut..], mask, cut as u64);
            assert_eq!(back, plain);
        }
    }
}
