//! Any bytes as a capture file: the reader must not panic, and must not take
//! memory by a length that the file merely claims.

#![no_main]

use httpsniff::read::{Item, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = read(bytes, &mut |item| {
        if let Item::Event(event) = item {
            std::hint::black_box(event.time);
        }
        Ok(true)
    });
});
