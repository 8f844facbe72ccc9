//! The Huffman code of HPACK (RFC 7541 5.2 and appendix B).
//!
//! The code is canonical: shorter codes are smaller, and those of one length
//! count up with the symbols. So the lengths alone say everything, and the
//! tables are made of them at compile time.

/// Bits of the code of every byte.
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, //
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, //
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, //
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, //
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, //
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, //
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, //
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, //
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, //
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, //
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, //
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, //
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, //
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, //
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, //
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/// Longest code, in bits: that of the end of a string and three others.
const LONGEST: usize = 30;

/// Shortest code, in bits: a string grows to 8/5 at most.
const SHORTEST: usize = 5;

/// Codes of at most so many bits are found by one look-up.
const FAST_BITS: u32 = 8;

/// The codes of one length.
#[derive(Clone, Copy)]
struct Row {
    /// Bits of each.
    length: u32,
    /// The first of them, as a number.
    first: u32,
    /// The code after the last of them, its first bit the first of 32.
    end: u32,
    /// The place of the first one's byte in [`Tables::bytes`].
    at: u32,
}

struct Tables {
    /// By the first 8 bits: the byte and the bits of its code, 0 for a longer
    /// one.
    fast: [(u8, u8); 1 << FAST_BITS],
    /// By length.
    rows: [Row; LONGEST + 1],
    /// All bytes by their code.
    bytes: [u8; 256],
}

static TABLES: Tables = tables();

const fn tables() -> Tables {
    let empty = Row {
        length: 0,
        first: 0,
        end: 0,
        at: 0,
    };
    let mut tables = Tables {
        fast: [(0, 0); 1 << FAST_BITS],
        rows: [empty; LONGEST + 1],
        bytes: [0; 256],
    };
    let (mut code, mut at, mut length) = (0_u32, 0, 1);
    while length <= LONGEST {
        let (first, from) = (code, at);
        let mut byte = 0;
        while byte < 256 {
            if LENGTHS[byte] as usize == length {
                tables.bytes[at] = byte as u8;
                at += 1;
                if length <= FAST_BITS as usize {
                    let shift = FAST_BITS as usize - length;
                    let mut i = (code as usize) << shift;
                    while i < (code as usize + 1) << shift {
                        tables.fast[i] = (byte as u8, length as u8);
                        i += 1;
                    }
                }
                code += 1;
            }
            byte += 1;
        }
        tables.rows[length] = Row {
            length: length as u32,
            first,
            end: code << (32 - length),
            at: from as u32,
        };
        code <<= 1;
        length += 1;
    }
    // What is left is the end of a string: 30 ones.
    assert!(at == 256 && code == (1 << (LONGEST + 1)) - 2);
    tables
}

/// Why a string is not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It has the code for its end, or wrong padding.
    Code,
    /// It is longer than asked for.
    Long,
}

/// Decodes `input` into the beginning of `out`, which grows to 8/5 of the
/// input at most, and says how many bytes that gave: at most `room`.
pub(super) fn decode(input: &[u8], room: usize, out: &mut Vec<u8>) -> Result<usize, Fault> {
    let most = (input.len().saturating_mul(8) / SHORTEST).min(room);
    if out.len() < most {
        out.resize(most, 0);
    }
    let slots = out.get_mut(..most).unwrap_or_default();
    Ok(most - fill(input, slots)?)
}

/// Decodes into `slots` and says how many of them are left.
fn fill(mut input: &[u8], slots: &mut [u8]) -> Result<usize, Fault> {
    let mut slots = slots.iter_mut();
    // The next bits, from the highest on, and how many of them there are.
    let (mut window, mut bits) = (0_u64, 0_u32);
    loop {
        if let Some((next, _)) = input.split_first_chunk::<8>() {
            window |= u64::from_be_bytes(*next) >> bits;
            let taken = (63 - bits) >> 3;
            input = input.get(taken as usize..).unwrap_or_default();
            bits += taken << 3;
        } else {
            while bits <= 56
                && let Some((next, rest)) = input.split_first()
            {
                window |= u64::from(*next) << (56 - bits);
                bits += 8;
                input = rest;
            }
            if bits == 0 {
                return Ok(slots.len());
            }
        }
        // As long as any code is whole, or to the end of the string.
        let enough = if input.is_empty() { 1 } else { LONGEST as u32 };
        while bits >= enough {
            let (byte, length) = next(window)?;
            if length > bits {
                break;
            }
            *slots.next().ok_or(Fault::Long)? = byte;
            window <<= length;
            bits -= length;
        }
        if input.is_empty() && bits > 0 {
            // Less than a code: the padding, less than a byte of ones.
            let padding = u64::MAX << (64 - bits);
            if bits >= 8 || window & padding != padding {
                return Err(Fault::Code);
            }
            return Ok(slots.len());
        }
    }
}

/// The byte that `window` begins with and the bits of its code.
#[inline]
fn next(window: u64) -> Result<(u8, u32), Fault> {
    let (byte, length) = TABLES.fast[usize::from((window >> 56) as u8)];
    if length != 0 {
        return Ok((byte, u32::from(length)));
    }
    long(window)
}

/// The same for a code of more than 8 bits.
fn long(window: u64) -> Result<(u8, u32), Fault> {
    let high = (window >> 32) as u32;
    let row = TABLES
        .rows
        .iter()
        .skip(FAST_BITS as usize + 1)
        .find(|row| high < row.end);
    // After the last code is the end of a string, that must not be sent.
    let row = row.ok_or(Fault::Code)?;
    let place = row.at + ((high >> (32 - row.length)) - row.first);
    let byte = TABLES.bytes.get(place as usize).ok_or(Fault::Code)?;
    Ok((*byte, row.length))
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::OnceLock;

    use super::*;

    fn codes() -> &'static [(u32, u8)] {
        static CODES: OnceLock<Vec<(u32, u8)>> = OnceLock::new();
        CODES.get_or_init(count_codes)
    }

    /// The code of every byte, counted up as the RFC's canonical code is.
    fn count_codes() -> Vec<(u32, u8)> {
        let mut order: Vec<usize> = (0..256).collect();
        order.sort_by_key(|byte| (LENGTHS[*byte], *byte));
        let mut codes = vec![(0, 0); 256];
        let (mut code, mut before) = (0_u32, LENGTHS[order[0]]);
        for byte in order {
            code <<= LENGTHS[byte] - before;
            before = LENGTHS[byte];
            codes[byte] = (code, before);
            code += 1;
        }
        codes
    }

    pub(in crate::http::hpack) fn encode(text: &[u8], out: &mut Vec<u8>) {
        let codes = codes();
        let (mut window, mut bits) = (0_u64, 0_u32);
        for byte in text {
            let (code, length) = codes[usize::from(*byte)];
            window = window << length | u64::from(code);
            bits += u32::from(length);
            while bits >= 8 {
                bits -= 8;
                out.push((window >> bits) as u8);
            }
        }
        if bits > 0 {
            out.push((window << (8 - bits)) as u8 | 0xff >> bits);
        }
    }

    fn decoded(input: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut out = vec![b'?'; 7];
        let n = decode(input, usize::MAX, &mut out)?;
        out.truncate(n);
        Ok(out)
    }

    #[test]
    fn some_codes_of_the_rfc() {
        // RFC 7541 appendix B.
        let codes = codes();
        for (byte, code, length) in [
            (b'0', 0, 5),
            (b'&', 0xf8, 8),
            (b'!', 0x3f8, 10),
            (b'\\', 0x7fff0, 19),
            (255, 0x3ff_ffee, 26),
            (b'\n', 0x3fff_fffc, 30),
            (22, 0x3fff_fffe, 30),
        ] {
            assert_eq!(codes[usize::from(byte)], (code, length), "{byte}");
        }
    }

    #[test]
    fn every_byte_at_every_place() {
        for lead in 0..9 {
            for byte in 0..=255 {
                for tail in 0..10 {
                    let mut text = vec![b'0'; lead];
                    text.push(byte);
                    text.extend(std::iter::repeat_n(b'~', tail));
                    let mut code = Vec::new();
                    encode(&text, &mut code);
                    assert_eq!(decoded(&code), Ok(text));
                }
            }
        }
    }

    #[test]
    fn padding_is_ones_and_less_than_a_byte() {
        assert_eq!(decoded(b""), Ok(vec![]));
        assert_eq!(decoded(&[0b0000_0111]), Ok(b"0".to_vec()));
        assert_eq!(decoded(&[0b0000_0110]), Err(Fault::Code));
        assert_eq!(decoded(&[0b0000_0000]), Err(Fault::Code));
        assert_eq!(decoded(&[0xff]), Err(Fault::Code));
        assert_eq!(decoded(&[0b0000_0111, 0xff]), Err(Fault::Code));
        // The code for the end, alone and after a symbol.
        assert_eq!(decoded(&[0xff; 4]), Err(Fault::Code));
        assert_eq!(
            decoded(&[0b0000_0111, 255, 255, 255, 255, 0]),
            Err(Fault::Code)
        );
    }

    #[test]
    fn no_more_than_the_room_is_filled() {
        let mut code = Vec::new();
        encode(&[b'a'; 100], &mut code);
        let mut out = Vec::new();
        assert_eq!(decode(&code, 99, &mut out), Err(Fault::Long));
        assert!(out.len() <= 99);
        assert_eq!(decode(&code, 100, &mut out), Ok(100));
    }
}
