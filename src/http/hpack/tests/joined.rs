//! Joining in the middle, and losing a block.

use super::*;

fn unknown(name: &str, value: &str) -> Owned {
    (name.into(), value.into(), false, true)
}

#[test]
fn what_was_inserted_before_is_a_placeholder() {
    let mut decoder = Decoder::new(false);
    assert_eq!(
        decode(&mut decoder, &[0x82, 0xbe, 0xc0]),
        [
            (":method".into(), "GET".into(), false, false),
            unknown("<unknown:62>", "<unknown:62>"),
            unknown("<unknown:64>", "<unknown:64>"),
        ]
    );
    // What is inserted since resolves, and moves the others.
    decode(&mut decoder, &indexing(b"a", b"b"));
    assert_eq!(
        decode(&mut decoder, &[0xbe, 0xbf]),
        [
            ("a".into(), "b".into(), false, false),
            unknown("<unknown:63>", "<unknown:63>"),
        ]
    );
}

#[test]
fn a_literal_with_an_unknown_name_keeps_its_value() {
    let mut decoder = Decoder::new(false);
    let field = unknown("<unknown:63>", "v");
    // With indexing, without, and never; then from the table.
    assert_eq!(
        decode(&mut decoder, &[0x7f, 0x00, 1, b'v']),
        std::slice::from_ref(&field)
    );
    assert_eq!(
        decode(&mut decoder, &[0x0f, 0x31, 1, b'v']),
        [unknown("<unknown:64>", "v")]
    );
    let never = ("<unknown:64>".into(), "v".into(), true, true);
    assert_eq!(decode(&mut decoder, &[0x1f, 0x31, 1, b'v']), [never]);
    assert_eq!(decode(&mut decoder, &[0xbe]), [field]);
    // Its name once more: the same placeholder, at whatever index it is now.
    decode(&mut decoder, &indexing(b"a", b"b"));
    assert_eq!(
        decode(&mut decoder, &[0x7f, 0x00, 1, b'w']),
        [unknown("<unknown:63>", "w")]
    );
    assert_eq!(
        decode(&mut decoder, &[0xbe, 0xbf, 0xc0]),
        [
            unknown("<unknown:63>", "w"),
            ("a".into(), "b".into(), false, false),
            unknown("<unknown:63>", "v"),
        ]
    );
}

#[test]
fn a_lost_block_makes_all_before_it_unknown() {
    let mut decoder = Decoder::new(true);
    decode(&mut decoder, &indexing(b"a", b"b"));
    decoder.lost();
    assert_eq!(
        decode(&mut decoder, &[0xbe]),
        [unknown("<unknown:62>", "<unknown:62>")]
    );
    decode(&mut decoder, &indexing(b"c", b"d"));
    assert_eq!(decode(&mut decoder, &[0xbe]), known(&[("c", "d")]));
}

#[test]
fn entries_of_unknown_size_evict_none_too_early() {
    // The encoder's table has 4096 bytes: 63 entries of 65 fit. The names of
    // one byte are unknown; they count nothing here, never 12.
    let mut decoder = Decoder::new(false);
    assert_eq!(decode(&mut decoder, &[0x3f, 0xe1, 0x1f]), []);
    for i in 0..63_u8 {
        let mut block = vec![0x7f, 0x40, 32];
        block.extend_from_slice(&[b'a' + i % 26; 32]);
        assert!(decode(&mut decoder, &block)[0].3);
    }
    for i in 0..63_u8 {
        let field = &decode(&mut decoder, &[0xbe + 62 - i])[0];
        assert_eq!(field.1.as_bytes(), [b'a' + i % 26; 32]);
    }
}

#[test]
fn an_entry_too_large_to_keep_still_counts() {
    let mut decoder = Decoder::new(false);
    decode(&mut decoder, &indexing(b"a", b"b"));
    assert!(!decode(&mut decoder, &indexing(b"n", &[b'x'; 70_000]))[0].3);
    decode(&mut decoder, &indexing(b"c", b"d"));
    assert_eq!(
        decode(&mut decoder, &[0xbe, 0xbf, 0xc0]),
        [
            ("c".into(), "d".into(), false, false),
            unknown("<unknown:63>", "<unknown:63>"),
            unknown("<unknown:64>", "<unknown:64>"),
        ]
    );
    // Its name, in a new entry.
    assert_eq!(
        decode(&mut decoder, &[0x7f, 0x00, 1, b'v']),
        [unknown("<unknown:63>", "v")]
    );
}
