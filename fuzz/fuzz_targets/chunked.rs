//! Runs `entry::chunked` on what the fuzzer makes up.
#![no_main]

#[path = "../entry.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entry::chunked(data));
