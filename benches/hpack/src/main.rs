//! How fast header blocks are decoded, beside loona-hpack, the fastest crate
//! that does not panic on bad blocks (hpack, fluke-hpack and httlib-hpack do;
//! that of h2 is private).
//! `cargo run --release --manifest-path benches/hpack/Cargo.toml`
//!
//! What encoders in use send is decoded about 200 times as fast, for all of
//! them use the Huffman code, and loona-hpack builds its table anew for every
//! string. Without a coded string there is no such gap: 2.6 times as fast where
//! all fields are new and plain, 1.3 times where all are in the tables (43 ns
//! for ten fields). There 5 times as fast is not reached: it would be a
//! nanosecond for a field that is found, checked and handed over, and 11 for
//! one that is copied into the table as well. Neither allocates.

use std::hint::black_box;
use std::time::Instant;

use http::hpack::{Decoder, Field};

/// The decoder without the rest of the program, which takes minutes to build.
#[path = "../../../src/http"]
mod http {
    #[allow(dead_code, unreachable_pub, unused_imports)]
    pub mod hpack;
}

/// Runs of each decoder, and the same block in each run.
const RUNS: u32 = 200;
const ROUNDS: u32 = 100;

/// A request as a browser repeats it: ten fields, eight of them from the
/// tables, a coded path that is inserted and a coded value that is not.
fn repeated() -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut first = vec![0x82, 0x87];
    for (name, value) in [
        (&b":authority"[..], &b"www.example.com"[..]),
        (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0)"),
        (b"accept", b"application/json"),
        (b"accept-language", b"en-US,en;q=0.5"),
        (b"cookie", b"session=0123456789abcdef"),
        (b"x-requested-with", b"XMLHttpRequest"),
    ] {
        first.push(0x40);
        for text in [name, value] {
            first.push(text.len() as u8);
            first.extend_from_slice(text);
        }
    }
    let mut block = vec![0x82, 0x87, 0xc3, 0xc2, 0xc1, 0xc0, 0xbf, 0xbe];
    // :path, not inserted so that the indices stay: "/sample/path", coded.
    block.extend_from_slice(b"\x04\x89\x61\x03\xa6\xba\x0a\xc5\x63\x4c\xff");
    // if-modified-since: "Mon, 21 Oct 2013 20:13:21 GMT", coded.
    block.extend_from_slice(&[0x0f, 0x19, 0x96]);
    block.extend_from_slice(&[
        0xd0, 0x7a, 0xbe, 0x94, 0x10, 0x54, 0xd4, 0x44, 0xa8, 0x20, 0x05, 0x95, 0x04, 0x0b, 0x81,
        0x66, 0xe0, 0x82, 0xa6, 0x2d, 0x1b, 0xff,
    ]);
    (vec![first], block)
}

/// A block in which every field is new: coded and inserted.
fn fresh() -> Vec<u8> {
    let mut block = Vec::new();
    for index in [4, 17, 19, 24, 28, 31, 33, 46, 53, 58] {
        block.push(0x40 | index);
        block.push(0x80 | 22);
        block.extend_from_slice(&[
            0xd0, 0x7a, 0xbe, 0x94, 0x10, 0x54, 0xd4, 0x44, 0xa8, 0x20, 0x05, 0x95, 0x04, 0x0b,
            0x81, 0x66, 0xe0, 0x82, 0xa6, 0x2d, 0x1b, 0xff,
        ]);
    }
    block
}

/// Nanoseconds that one call of `decode` takes, and the bytes that it said it
/// gave. The best of many short runs: a busy machine does not count.
fn measure(rounds: u32, mut decode: impl FnMut() -> usize) -> (f64, usize) {
    let given = decode();
    let mut best = f64::MAX;
    for _ in 0..RUNS {
        let start = Instant::now();
        for _ in 0..rounds {
            black_box(decode());
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(rounds));
    }
    (best, given)
}

/// The blocks of a story: what an encoder in use makes of the messages of one
/// connection (`fixtures/README.md`).
fn story(text: &str) -> Vec<Vec<u8>> {
    let blocks = text.split("\"wire\":\"").skip(1);
    blocks
        .map(|rest| {
            let hex = rest.split('"').next().unwrap_or_default().as_bytes();
            let digit = |at: u8| (at as char).to_digit(16).unwrap_or(0) as u8;
            hex.chunks_exact(2)
                .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
                .collect()
        })
        .collect()
}

/// Whole connections: both begin with an empty table.
fn compare_story(name: &str, blocks: &[Vec<u8>]) -> (f64, f64) {
    let (nanos, given) = measure(4, || {
        let (mut ours, mut given) = (Decoder::new(true), 0);
        let mut each = |field: Field<'_>| given += field.name.len() + field.value.len();
        for block in blocks {
            assert_eq!(ours.decode(black_box(block), &mut each), Ok(()));
        }
        given
    });
    let (other, other_given) = measure(1, || {
        let (mut theirs, mut given) = (loona_hpack::Decoder::new(), 0);
        for block in blocks {
            let each = |name: std::borrow::Cow<'_, [u8]>, value: std::borrow::Cow<'_, [u8]>| {
                given += name.len() + value.len();
            };
            assert!(theirs.decode_with_cb(black_box(block), each).is_ok());
        }
        given
    });
    assert_eq!(given, other_given, "both give the same");
    let count = blocks.len() as f64;
    let (nanos, other) = (nanos / count, other / count);
    println!(
        "{name}, {count} blocks: {nanos:.0} ns a block; loona-hpack {other:.0} ns: {:.1} times",
        other / nanos
    );
    (nanos, other)
}

/// What encoders in use send: the requests and responses of `fixtures/hpack`.
fn stories() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/hpack");
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .expect("fixtures/hpack is there")
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    names.sort();
    let (mut ours, mut theirs) = (0.0, 0.0);
    for path in names {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        if !name.ends_with("-sizes") {
            let text = std::fs::read_to_string(&path).expect("it can be read");
            let (nanos, other) = compare_story(&name, &story(&text));
            (ours, theirs) = (ours + nanos, theirs + other);
        }
    }
    println!("ALL OF THEM: {:.1} times", theirs / ours);
}

fn compare(name: &str, before: &[Vec<u8>], block: &[u8]) {
    let mut ours = Decoder::new(true);
    let mut theirs = loona_hpack::Decoder::new();
    for block in before {
        assert_eq!(ours.decode(block, &mut |_| ()), Ok(()));
        assert!(theirs.decode_with_cb(block, |_, _| ()).is_ok());
    }
    let mut fields = 0;
    assert_eq!(ours.decode(block, &mut |_| fields += 1), Ok(()));
    let (nanos, given) = measure(ROUNDS, || {
        let mut given = 0;
        let mut each = |field: Field<'_>| given += field.name.len() + field.value.len();
        let result = ours.decode(black_box(block), &mut each);
        assert_eq!(result, Ok(()));
        given
    });
    let (other, other_given) = measure(ROUNDS, || {
        let mut given = 0;
        let each = |name: std::borrow::Cow<'_, [u8]>, value: std::borrow::Cow<'_, [u8]>| {
            given += name.len() + value.len();
        };
        assert!(theirs.decode_with_cb(black_box(block), each).is_ok());
        given
    });
    assert_eq!(given, other_given, "both give the same");
    println!(
        "{name}, {fields} fields, {} bytes: {nanos:.0} ns; loona-hpack {other:.0} ns: {:.1} times",
        block.len(),
        other / nanos
    );
}

fn main() {
    stories();
    println!("Made up:");
    let (before, block) = repeated();
    compare("repeated request", &before, &block);
    compare("all fields new and coded", &[], &fresh());
    // Without the Huffman code, where loona-hpack builds no table.
    let mut plain = Vec::new();
    for index in 0..10 {
        plain.extend_from_slice(&[0x40, 4, b'x', b'-', b'a', b'a' + index, 20]);
        plain.extend_from_slice(b"01234567890123456789");
    }
    compare("all fields new and plain", &[], &plain);
    let indexed = [0x82, 0x84, 0x87, 0x88, 0x90, 0xbe, 0xbf, 0xc0, 0xc1, 0xc2];
    compare("all fields from the tables", &[plain], &indexed);
}
