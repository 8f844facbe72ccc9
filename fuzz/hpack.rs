//! Header blocks that the fuzzer makes up, decoded from the start, from every
//! point in the middle, and with blocks missing.
//!
//! Nothing may panic or grow; what the late decoders give is what the first
//! gives, or a placeholder; and what was given is the same after it was encoded
//! and decoded again.

use httpsniff::http::hpack::{BLOCK_LIMIT, Decoder, encode_literal};

/// What `Decoder` says that it holds at most between blocks.
const MEMORY_LIMIT: usize = 192 << 10;

/// As many decoders join in the middle, one at each block.
const JOINS: usize = 8;

struct Given {
    name: Vec<u8>,
    value: Vec<u8>,
    never_indexed: bool,
    unknown: bool,
}

/// The fields of a block; `None` if it is bad.
fn decode(decoder: &mut Decoder, block: &[u8]) -> Option<Vec<Given>> {
    let (mut fields, mut size) = (Vec::new(), 0);
    let result = decoder.decode(block, &mut |field| {
        size += 32 + field.name.len() + field.value.len();
        fields.push(Given {
            name: field.name.to_vec(),
            value: field.value.to_vec(),
            never_indexed: field.never_indexed,
            unknown: field.unknown,
        });
    });
    assert!(size <= BLOCK_LIMIT);
    assert!(decoder.memory() <= MEMORY_LIMIT);
    result.ok().map(|()| fields)
}

/// Every field of `late` is that of `whole`, or a placeholder for it.
fn compare(whole: &[Given], late: Option<Vec<Given>>) {
    let late = late.expect("what is right is right for one that came late, too");
    assert_eq!(whole.len(), late.len());
    for (whole, late) in whole.iter().zip(&late) {
        assert_eq!(whole.never_indexed, late.never_indexed);
        if whole.unknown || !late.unknown {
            assert_eq!(whole.name, late.name);
            assert_eq!(whole.value, late.value);
        } else {
            assert!(late.name.starts_with(b"<unknown:") && late.name.ends_with(b">"));
            assert!(late.value == whole.value || late.value == late.name);
        }
    }
}

/// Our own encoding needs no table and gives the same fields.
fn encode_again(fields: &[Given]) {
    let mut block = Vec::new();
    for field in fields {
        encode_literal(&field.name, &field.value, field.never_indexed, &mut block);
    }
    let again = decode(&mut Decoder::new(false), &block).expect("our own encoding is right");
    assert_eq!(again.len(), fields.len());
    for (field, again) in fields.iter().zip(&again) {
        assert_eq!(field.name, again.name);
        assert_eq!(field.value, again.value);
        assert_eq!(field.never_indexed, again.never_indexed);
        assert!(!again.unknown);
    }
}

/// `data` as blocks, with losses and changes of the table's size between them.
pub fn hpack(data: &[u8]) {
    let Some((join, mut data)) = data.split_first() else {
        return;
    };
    let first = usize::from(*join % 16);
    let mut blocks = 0;
    let mut whole = Decoder::new(true);
    let mut lossy = Decoder::new(true);
    let mut late: Vec<Decoder> = Vec::new();
    let mut right = true;
    let mut limit = None;
    while let Some((op, rest)) = data.split_first() {
        data = rest;
        let size = match *op {
            size @ 0..=219 => usize::from(size),
            size @ 220..=239 => usize::from(size - 219) * 200,
            240..=247 => {
                lossy.lost();
                continue;
            }
            shift => {
                let size = u32::from(shift) << (4 * (shift - 248));
                limit = Some(size);
                for decoder in [&mut whole, &mut lossy].into_iter().chain(&mut late) {
                    decoder.set_limit(size);
                }
                continue;
            }
        };
        let (block, rest) = data.split_at(size.min(data.len()));
        data = rest;
        if blocks >= first && late.len() < JOINS {
            let mut decoder = Decoder::new(false);
            if let Some(size) = limit {
                decoder.set_limit(size);
            }
            late.push(decoder);
        }
        blocks += 1;
        let fields = decode(&mut whole, block);
        let others: Vec<_> = [&mut lossy]
            .into_iter()
            .chain(&mut late)
            .map(|decoder| decode(decoder, block))
            .collect();
        match fields {
            Some(fields) if right => {
                for other in others {
                    compare(&fields, other);
                }
                encode_again(&fields);
            }
            // After an error what was inserted is not known to any of them.
            _ => right = false,
        }
    }
}
