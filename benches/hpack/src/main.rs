//! How fast header blocks are decoded, beside loona-hpack, the fastest crate
//! that does not panic on bad blocks.
//! `cargo run --release --manifest-path benches/hpack/Cargo.toml`

use std::hint::black_box;
use std::time::Instant;

use http::hpack::{Decoder, Field};

/// The decoder without the rest of the program, which takes minutes to build.
#[path = "../../../src/http"]
mod http {
    #[allow(dead_code, unreachable_pub, unused_imports)]
    pub mod hpack;
}

/// Runs of each decoder, and blocks in each.
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
fn measure(mut decode: impl FnMut() -> usize) -> (f64, usize) {
    let given = decode();
    let mut best = f64::MAX;
    for _ in 0..RUNS {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            black_box(decode());
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(ROUNDS));
    }
    (best, given)
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
    let (nanos, given) = measure(|| {
        let mut given = 0;
        let mut each = |field: Field<'_>| given += field.name.len() + field.value.len();
        let result = ours.decode(black_box(block), &mut each);
        assert_eq!(result, Ok(()));
        given
    });
    let (other, other_given) = measure(|| {
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
