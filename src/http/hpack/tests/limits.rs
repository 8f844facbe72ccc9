//! Bad blocks, and blocks that ask for much.

use super::super::{BLOCK_LIMIT, TABLE_LIMIT, encode_literal};
use super::*;

/// Where a decoder fails, and that it goes on with placeholders.
#[track_caller]
fn fails(block: &[u8], error: Error) {
    for from_start in [true, false] {
        let mut decoder = Decoder::new(from_start);
        assert_eq!(
            decode(&mut decoder, &indexing(b"a", b"b")),
            known(&[("a", "b")])
        );
        assert_eq!(decode_all(&mut decoder, block).1, Err(error), "{block:?}");
        let after = decode(&mut decoder, &[0xbe, 0x82]);
        assert!(after[0].3, "nothing inserted before is indexed: {after:?}");
        assert_eq!(after[1..], known(&[(":method", "GET")]));
    }
}

#[test]
fn bad_blocks_are_errors() {
    fails(
        &[0x82, 0x80],
        Error::Index {
            index: 0,
            offset: 1,
        },
    );
    fails(&[0x82, 0x40], Error::Truncated(2));
    fails(&[0x82, 0x41, 0x03, b'a'], Error::Truncated(4));
    fails(
        &[0x40, 0xff, 0xff, 0xff, 0xff, 0x07, b'a'],
        Error::Truncated(7),
    );
    fails(&[0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], Error::Integer(1));
    fails(&[0x82, 0x20], Error::SizeUpdate(1));
    fails(&[0x41, 0x81, 0x00], Error::Huffman(1));
    fails(&[0x41, 0x84, 0xff, 0xff, 0xff, 0xff], Error::Huffman(1));
}

#[test]
fn an_index_beyond_the_table_is_an_error_when_all_was_seen() {
    let error = |index| Err(Error::Index { index, offset: 0 });
    assert_eq!(decode_all(&mut Decoder::new(true), &[0xbe]).1, error(62));
    // 4096 bytes are 128 entries at most: after a change of size that is
    // known in a joined connection, too.
    let mut joined = Decoder::new(false);
    assert_eq!(decode(&mut joined, &[0x3f, 0xe1, 0x1f]), []);
    assert!(decode(&mut joined, &[0xff, 62])[0].3);
    assert_eq!(decode_all(&mut joined, &[0xff, 63]).1, error(190));
}

#[test]
fn size_updates_before_the_first_field_are_followed() {
    let mut decoder = Decoder::new(true);
    decode(&mut decoder, &indexing(b"a", b"b"));
    // To 0 and back: the table is empty.
    assert_eq!(
        decode(&mut decoder, &[0x20, 0x3f, 0xe1, 0x1f, 0x82]),
        known(&[(":method", "GET")])
    );
    assert!(decode_all(&mut decoder.clone(), &[0xbe]).1.is_err());
    // A block of nothing else, and an empty one.
    decode(&mut decoder, &indexing(b"c", b"d"));
    assert_eq!(decode(&mut decoder, &[0x3f, 0x03]), []);
    assert_eq!(decode(&mut decoder, &[]), []);
    assert_eq!(decode(&mut decoder, &[0xbe]), known(&[("c", "d")]));
    assert_eq!(decode(&mut decoder, &[0x3f, 0x02]), []);
    assert!(decode_all(&mut decoder, &[0xbe]).1.is_err());
}

#[test]
fn an_entry_larger_than_the_table_empties_it() {
    let mut decoder = Decoder::new(true);
    decode(&mut decoder, &indexing(b"a", b"b"));
    let large = vec![b'x'; 4096 - 32];
    assert_eq!(decode(&mut decoder, &indexing(b"n", &large)).len(), 1);
    assert!(decode_all(&mut decoder.clone(), &[0xbe]).1.is_err());
    decode(&mut decoder, &indexing(b"c", b"d"));
    assert_eq!(decode(&mut decoder, &[0xbe]), known(&[("c", "d")]));
    // One byte less fits.
    decode(&mut decoder, &indexing(b"", &large));
    assert_eq!(decode(&mut decoder, &[0xbe])[0].1.len(), large.len());
    assert!(decode_all(&mut decoder, &[0xbf]).1.is_err());
}

#[test]
fn a_name_may_be_that_of_the_entry_it_evicts() {
    let mut decoder = Decoder::new(true);
    let value = vec![b'x'; 4000];
    decode(&mut decoder, &indexing(b"name", &value));
    let mut block = vec![0x7e, 0x7f, 0xa1, 0x1e];
    block.extend_from_slice(&value);
    assert_eq!(decode(&mut decoder, &block)[0].0, "name");
    assert_eq!(decode(&mut decoder, &[0xbe])[0].0, "name");
    assert!(decode_all(&mut decoder, &[0xbf]).1.is_err());
}

#[test]
fn a_lowered_limit_waits_for_the_encoder() {
    let mut decoder = Decoder::new(true);
    decode(&mut decoder, &indexing(b"a", b"b"));
    decoder.set_limit(0);
    assert_eq!(decode(&mut decoder, &[0xbe]), known(&[("a", "b")]));
}

#[test]
fn a_raised_limit_counts_at_once() {
    let mut decoder = Decoder::new(true);
    decoder.set_limit(8192);
    decode(&mut decoder, &indexing(b"a", b"b"));
    decode(&mut decoder, &indexing(b"c", &[b'x'; 5000]));
    assert_eq!(decode(&mut decoder, &[0xbf]), known(&[("a", "b")]));
}

#[test]
fn what_a_block_gives_is_bounded() {
    let mut decoder = Decoder::new(true);
    decode(&mut decoder, &indexing(b"bomb", &[b'x'; 4000]));
    let mut given = 0;
    let result = decoder.decode(&[0xbe; 100_000], &mut |field| {
        given += 32 + field.name.len() + field.value.len();
    });
    assert!(matches!(result, Err(Error::TooLarge(_))), "{result:?}");
    assert!(given <= BLOCK_LIMIT && given > BLOCK_LIMIT - 5000);

    // Coded strings stop there too.
    let mut block = vec![0, 1, b'n', 0xff];
    let code = vec![0x18; BLOCK_LIMIT];
    super::super::integer::encode(0x80, 0x7f, code.len(), &mut Vec::new());
    block.pop();
    super::super::integer::encode(0x80, 0x7f, code.len(), &mut block);
    block.extend_from_slice(&code);
    assert_eq!(decode_all(&mut decoder, &block).1, Err(Error::TooLarge(3)));
    assert!(decoder.memory() < 16 << 10);
}

#[test]
fn memory_is_bounded_whatever_is_announced() {
    let mut decoder = Decoder::new(true);
    decoder.set_limit(u32::MAX);
    decode(&mut decoder, &[0x3f, 0xe0, 0xff, 0xff, 0xff, 0x0f]);
    let mut most = 0;
    for i in 0..3000_usize {
        let value = vec![b'x'; i * 7919 % [40, 5000, 70_000][i / 100 % 3]];
        decode(&mut decoder, &indexing(b"n", &value));
        most = most.max(decoder.memory());
        assert!(decode(&mut decoder, &[0xbe])[0].1.len() >= 10 || value.len() < 10);
    }
    for _ in 0..3000 {
        decode(&mut decoder, &indexing(b"", b""));
        most = most.max(decoder.memory());
    }
    assert!(most <= 192 << 10, "{most}");
    // What was too much here is unknown, not wrong.
    let last = TABLE_LIMIT / 32;
    let mut index = Vec::new();
    super::super::integer::encode(0x80, 0x7f, 61 + last as usize, &mut index);
    assert!(!decode(&mut decoder, &index)[0].3);
    index.clear();
    super::super::integer::encode(0x80, 0x7f, 62 + last as usize, &mut index);
    assert!(decode(&mut decoder, &index)[0].3);
}

#[test]
fn what_is_encoded_is_decoded() {
    let mut block = Vec::new();
    let long = "x".repeat(70_000);
    encode_literal(b":path", b"/", false, &mut block);
    encode_literal(b"www-authenticate", long.as_bytes(), false, &mut block);
    encode_literal(b"authorization", b"[redacted]", true, &mut block);
    encode_literal(long.as_bytes(), b"", true, &mut block);
    let fields = decode(&mut Decoder::new(true), &block);
    assert_eq!(
        fields[..2],
        known(&[(":path", "/"), ("www-authenticate", &long)])
    );
    assert_eq!(
        fields[2],
        ("authorization".into(), "[redacted]".into(), true, false)
    );
    assert_eq!(fields[3], (long, String::new(), true, false));
    assert_eq!(fields.len(), 4);
}
