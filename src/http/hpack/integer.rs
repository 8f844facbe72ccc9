//! The block read from its beginning to its end, and its integers (RFC 7541
//! 5.1).

use super::Error;

/// Most bytes of an integer after its prefix: what 32 bits can need. RFC 7541
/// 5.1 lets a decoder refuse more.
const MORE_LIMIT: u32 = 5;

/// What is left of a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input<'b> {
    rest: &'b [u8],
    size: usize,
}

impl<'b> Input<'b> {
    pub(super) fn new(block: &'b [u8]) -> Self {
        Self {
            rest: block,
            size: block.len(),
        }
    }

    /// Offset in the block of what comes next, in bytes.
    pub(super) fn offset(&self) -> usize {
        self.size - self.rest.len()
    }

    /// The next byte; `None` at the end.
    #[inline]
    pub(super) fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// The next byte, that must be there.
    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, Error> {
        self.next().ok_or(Error::Truncated(self.size))
    }

    /// The next `n` bytes, that must be there.
    #[inline]
    pub(super) fn take(&mut self, n: u32) -> Result<&'b [u8], Error> {
        let n = usize::try_from(n).unwrap_or(usize::MAX);
        let (taken, rest) = self
            .rest
            .split_at_checked(n)
            .ok_or(Error::Truncated(self.size))?;
        self.rest = rest;
        Ok(taken)
    }

    /// The integer whose prefix is what `mask` (low bits set) leaves of
    /// `first`, the byte just read.
    #[inline]
    pub(super) fn integer(&mut self, first: u8, mask: u8) -> Result<u32, Error> {
        let prefix = first & mask;
        if prefix < mask {
            return Ok(u32::from(prefix));
        }
        self.long_integer(mask)
    }

    fn long_integer(&mut self, mask: u8) -> Result<u32, Error> {
        let offset = self.offset();
        let mut value = u64::from(mask);
        for i in 0..MORE_LIMIT {
            let b = self.byte()?;
            value += u64::from(b & 0x7f) << (7 * i);
            if b & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| Error::Integer(offset));
            }
        }
        Err(Error::Integer(offset))
    }
}

/// Appends `value` as an integer after a prefix of which `mask` (low bits
/// set) is free and whose other bits are `high`.
pub(super) fn encode(high: u8, mask: u8, value: usize, out: &mut Vec<u8>) {
    let limit = usize::from(mask);
    if value < limit {
        out.push(high | value.to_le_bytes()[0]);
        return;
    }
    out.push(high | mask);
    let mut rest = value - limit;
    while rest >= 0x80 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8], mask: u8) -> Result<u32, Error> {
        let mut input = Input::new(bytes);
        let first = input.byte()?;
        let value = input.integer(first, mask)?;
        assert_eq!(input.offset(), bytes.len());
        Ok(value)
    }

    #[test]
    fn the_examples_of_the_rfc() {
        // RFC 7541 C.1.1 to C.1.3.
        assert_eq!(decode(&[0b1110_1010], 31), Ok(10));
        assert_eq!(
            decode(&[0b0001_1111, 0b1001_1010, 0b0000_1010], 31),
            Ok(1337)
        );
        assert_eq!(decode(&[42], 255), Ok(42));
        let mut out = Vec::new();
        encode(0, 31, 1337, &mut out);
        assert_eq!(out, [31, 154, 10]);
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        for bits in 4..=8 {
            let mask = u8::MAX >> (8 - bits);
            for shift in 0..32 {
                for value in [0_u32, 1, 2, 0x7f].map(|v| (1_u32 << shift).wrapping_sub(v)) {
                    let mut out = Vec::new();
                    encode(0, mask, value as usize, &mut out);
                    assert_eq!(decode(&out, mask), Ok(value));
                }
            }
        }
    }

    #[test]
    fn too_large_or_too_long_is_an_error() {
        let max = [0xff, 0x80, 0xfe, 0xff, 0xff, 0x0f];
        assert_eq!(decode(&max, 255), Ok(u32::MAX));
        let over = [0xff, 0x81, 0xfe, 0xff, 0xff, 0x0f];
        assert_eq!(decode(&over, 255), Err(Error::Integer(1)));
        let long = [0xff, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00];
        assert_eq!(decode(&long, 255), Err(Error::Integer(1)));
        assert_eq!(decode(&[0xff, 0x80], 255), Err(Error::Truncated(2)));
    }
}
