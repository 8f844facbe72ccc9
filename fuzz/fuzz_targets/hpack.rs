//! Header blocks that the fuzzer makes up, decoded from the start, from a
//! point in the middle, and with blocks missing. Nothing may panic or grow;
//! what the late decoders give is what the first gives, or a placeholder.
#![no_main]

use httpsniff::http::hpack::{BLOCK_LIMIT, Decoder};

/// What `Decoder` says that it holds at most between blocks.
const MEMORY_LIMIT: usize = 192 << 10;

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

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((join, mut data)) = data.split_first() else {
        return;
    };
    let mut blocks = 0_usize;
    let mut whole = Decoder::new(true);
    let mut lossy = Decoder::new(true);
    let mut late = Decoder::new(false);
    let mut right = true;
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
                for decoder in [&mut whole, &mut lossy, &mut late] {
                    decoder.set_limit(u32::from(shift) << (4 * (shift - 248)));
                }
                continue;
            }
        };
        let (block, rest) = data.split_at(size.min(data.len()));
        data = rest;
        blocks += 1;
        let fields = decode(&mut whole, block);
        let from_lossy = decode(&mut lossy, block);
        let from_late = (blocks > usize::from(*join % 16)).then(|| decode(&mut late, block));
        match fields {
            Some(fields) if right => {
                compare(&fields, from_lossy);
                if let Some(late) = from_late {
                    compare(&fields, late);
                }
            }
            // After an error what was inserted is not known to any of them.
            _ => right = false,
        }
    }
});
