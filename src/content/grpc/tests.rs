//! Messages in pieces of every size, with bytes missing, and made up.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;

use super::*;

/// What was found: index, compressed, length, data, complete.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    Message(u64, bool, u32, Vec<u8>, bool),
    Trailers(Fields),
}

fn found(event: GrpcEvent<'_>) -> Found {
    match event {
        GrpcEvent::Message(m) => {
            Found::Message(m.index, m.compressed, m.length, m.data.to_vec(), m.complete)
        }
        GrpcEvent::Trailers(fields) => Found::Trailers(fields),
    }
}

fn frame(flags: u8, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap().to_be_bytes();
    [&[flags][..], &length, data].concat()
}

fn read(form: GrpcForm, cap: usize, bytes: &[u8], size: usize) -> (Vec<Found>, bool) {
    let mut frames = GrpcFrames::new(form, cap);
    let mut all = Vec::new();
    for piece in bytes.chunks(size) {
        frames.push(piece, &mut |event| all.push(found(event)));
    }
    let lost = frames.is_lost();
    frames.finish(&mut |event| all.push(found(event)));
    (all, lost)
}

#[test]
fn messages_in_pieces() {
    let body = [
        frame(0, b"one"),
        frame(1, b""),
        frame(0, &[7; 300]),
        frame(0, b"cut"),
    ]
    .concat();
    let body = &body[..body.len() - 1];
    for size in 1..=body.len() {
        let (all, lost) = read(GrpcForm::Http2, 100, body, size);
        let wanted = [
            Found::Message(1, false, 3, b"one".to_vec(), true),
            Found::Message(2, true, 0, vec![], true),
            Found::Message(3, false, 300, vec![7; 100], true),
            Found::Message(4, false, 3, b"cu".to_vec(), false),
        ];
        assert_eq!((&all[..], lost), (&wanted[..], false), "{size}");
    }
}

#[test]
fn a_length_is_not_believed() {
    let mut frames = GrpcFrames::new(GrpcForm::Http2, usize::MAX);
    frames.push(b"\0\xff\xff\xff\xffabc", &mut |_| {
        panic!("no message has ended")
    });
    assert!(frames.memory() < 1000);
    let mut all = Vec::new();
    frames.finish(&mut |event| all.push(found(event)));
    assert_eq!(
        all,
        [Found::Message(1, false, u32::MAX, b"abc".to_vec(), false)]
    );
}

#[test]
fn web_has_trailers_in_the_body() {
    let body = [
        frame(0, b"hello"),
        frame(0x80, b"grpc-status:5\r\ngrpc-message: no such\r\n"),
    ]
    .concat();
    let mut fields = Fields::default();
    fields.push(b"grpc-status", b"5");
    fields.push(b"grpc-message", b"no such");
    let wanted = [
        Found::Message(1, false, 5, b"hello".to_vec(), true),
        Found::Trailers(fields),
    ];
    // As servers send it: each frame encoded by itself.
    let text = [&body[..10], &body[10..]].map(|part| BASE64_STANDARD.encode(part));
    let text = text.concat();
    for size in 1..=text.len() {
        assert_eq!(
            read(GrpcForm::Web, 99, &body, size),
            (wanted.to_vec(), false)
        );
        let (all, lost) = read(GrpcForm::WebText, 99, text.as_bytes(), size);
        assert_eq!((&all[..], lost), (&wanted[..], false), "{size} {text}");
    }
    // There are no such frames in gRPC itself.
    let (all, lost) = read(GrpcForm::Http2, 99, &body, 7);
    assert_eq!((&all[..], lost), (&wanted[..1], true));
}

#[test]
fn every_padding_is_base64() {
    for length in 0..10 {
        let data = vec![0xa5; length];
        let text = BASE64_STANDARD.encode(frame(0, &data))
            + "\r\n"
            + &BASE64_STANDARD.encode(frame(1, &data));
        let (all, lost) = read(GrpcForm::WebText, 99, text.as_bytes(), 5);
        assert!(!lost && all.len() == 2, "{length}");
        assert_eq!(all[1], Found::Message(2, true, length as u32, data, true));
    }
    for bad in ["AAA*", "A===", "=", "AAAAA="] {
        assert!(read(GrpcForm::WebText, 99, bad.as_bytes(), 9).1, "{bad}");
    }
}

#[test]
fn missing_bytes_within_a_message_cost_only_it() {
    let mut frames = GrpcFrames::new(GrpcForm::Http2, 99);
    let mut all = Vec::new();
    let keep = &mut |event: GrpcEvent<'_>| all.push(found(event));
    frames.push(b"\0\0\0\0\x0aabc", keep);
    frames.missing(4, keep);
    frames.push(b"hij\0\0\0\0\x01x\0\0\0\0\x02", keep);
    frames.missing(2, keep);
    frames.push(b"\0\0\0\0\x01y\0\0", keep);
    assert!(!frames.is_lost());
    frames.missing(1, keep);
    assert!(frames.is_lost());
    frames.push(b"\0\0\0\0\x01z", keep);
    let wanted = [
        Found::Message(1, false, 10, b"abc".to_vec(), false),
        Found::Message(2, false, 1, b"x".to_vec(), true),
        Found::Message(3, false, 2, vec![], false),
        Found::Message(4, false, 1, b"y".to_vec(), true),
    ];
    assert_eq!(all, wanted);
    assert_eq!(frames.count(), 4);
}

#[test]
fn a_hole_of_unknown_size_ends_it() {
    let mut frames = GrpcFrames::new(GrpcForm::Http2, 99);
    let mut all = Vec::new();
    frames.push(b"\0\0\0\0\x0aabc", &mut |event| all.push(found(event)));
    frames.lost(&mut |event| all.push(found(event)));
    assert!(frames.is_lost());
    assert_eq!(all, [Found::Message(1, false, 10, b"abc".to_vec(), false)]);
}

proptest! {
    #[test]
    fn pieces_do_not_matter(
        bytes in prop::collection::vec(prop::sample::select(vec![0u8, 0, 0, 0, 1, 2, 5, 0x80, b'A', b'=']), 0..200),
        size in 1usize..50,
        cap in 0usize..20,
    ) {
        for form in [GrpcForm::Http2, GrpcForm::Web, GrpcForm::WebText] {
            let whole = read(form, cap, &bytes, 1000);
            prop_assert_eq!(&whole, &read(form, cap, &bytes, size));
            for message in whole.0 {
                if let Found::Message(.., length, data, _) = message {
                    prop_assert!(data.len() <= cap && data.len() <= length as usize);
                }
            }
        }
    }
}
