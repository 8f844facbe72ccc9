//! The examples of RFC 7541 appendix C.

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .chars()
        .filter_map(|c| c.to_digit(16))
        .map(|d| d as u8)
        .collect();
    digits.chunks(2).map(|d| d[0] << 4 | d[1]).collect()
}

/// Decodes a block and compares the fields and the table after it, the newest
/// entry first.
#[track_caller]
fn check(decoder: &mut Decoder, hex: &str, fields: &[(&str, &str)], table: &[(&str, &str)]) {
    assert_eq!(decode(decoder, &bytes(hex)), known(fields));
    let mut indices = Vec::new();
    for i in 0..table.len() {
        indices.push(0xbe + i as u8);
    }
    assert_eq!(decode(&mut decoder.clone(), &indices), known(table));
    let beyond = decode_all(&mut decoder.clone(), &[0xbe + table.len() as u8]).1;
    assert!(matches!(beyond, Err(Error::Index { .. })), "{beyond:?}");
}

#[test]
fn c2_fields() {
    let mut decoder = Decoder::new(true);
    let field = ("custom-key", "custom-header");
    check(
        &mut decoder,
        "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
        &[field],
        &[field],
    );
    let mut decoder = Decoder::new(true);
    check(
        &mut decoder,
        "040c 2f73 616d 706c 652f 7061 7468",
        &[(":path", "/sample/path")],
        &[],
    );
    let secret = bytes("1008 7061 7373 776f 7264 0673 6563 7265 74");
    assert_eq!(
        decode(&mut decoder, &secret),
        [("password".into(), "secret".into(), true, false)]
    );
    check(&mut decoder, "82", &[(":method", "GET")], &[]);
}

/// C.3 and C.4: the same requests without and with the Huffman code.
#[test]
fn c3_and_c4_requests() {
    for blocks in [
        [
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ],
        [
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ],
    ] {
        let mut decoder = Decoder::new(true);
        let authority = (":authority", "www.example.com");
        let cache = ("cache-control", "no-cache");
        let custom = ("custom-key", "custom-value");
        let (method, scheme, path) = ((":method", "GET"), (":scheme", "http"), (":path", "/"));
        check(
            &mut decoder,
            blocks[0],
            &[method, scheme, path, authority],
            &[authority],
        );
        check(
            &mut decoder,
            blocks[1],
            &[method, scheme, path, authority, cache],
            &[cache, authority],
        );
        let (scheme, path) = ((":scheme", "https"), (":path", "/index.html"));
        check(
            &mut decoder,
            blocks[2],
            &[method, scheme, path, authority, custom],
            &[custom, cache, authority],
        );
    }
}

/// C.5 and C.6: the same responses without and with the Huffman code, in a
/// table of 256 bytes, which evicts.
#[test]
fn c5_and_c6_responses() {
    for blocks in [
        [
            "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133
             2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70
             6c65 2e63 6f6d",
            "4803 3330 37c1 c0bf",
            "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d
             54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049
             5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e
             3d31",
        ],
        [
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6
             2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
            "4883 640e ffc1 c0bf",
            "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab
             77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f
             9587 3160 65c0 03ed 4ee5 b106 3d50 07",
        ],
    ] {
        let mut decoder = Decoder::new(true);
        // A change to 256 bytes.
        assert_eq!(decode(&mut decoder, &[0x3f, 0xe1, 0x01]), []);
        let (found, redirect) = ((":status", "302"), (":status", "307"));
        let private = ("cache-control", "private");
        let date = ("date", "Mon, 21 Oct 2013 20:13:21 GMT");
        let location = ("location", "https://www.example.com");
        check(
            &mut decoder,
            blocks[0],
            &[found, private, date, location],
            &[location, date, private, found],
        );
        check(
            &mut decoder,
            blocks[1],
            &[redirect, private, date, location],
            &[redirect, location, date, private],
        );
        let later = ("date", "Mon, 21 Oct 2013 20:13:22 GMT");
        let coding = ("content-encoding", "gzip");
        let cookie = (
            "set-cookie",
            "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
        );
        check(
            &mut decoder,
            blocks[2],
            &[(":status", "200"), private, later, location, coding, cookie],
            &[cookie, coding, later],
        );
    }
}
