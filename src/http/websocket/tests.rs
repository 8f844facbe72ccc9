//! The examples of the RFCs, losses, limits, and that it does not matter how
//! the bytes are cut.

use flate2::{Compress, Compression, FlushCompress, Status};
use proptest::prelude::*;

use super::*;

/// A message as it came out, without borrowing.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Got {
    kind: Kind,
    data: Vec<u8>,
    fragments: u32,
    state: BodyState,
}

fn got(kind: Kind, data: &[u8], fragments: u32) -> Got {
    Got {
        kind,
        data: data.to_vec(),
        fragments,
        state: BodyState::Complete,
    }
}

fn take(parser: &mut Parser, mut input: &[u8], all: &mut Vec<Got>) {
    while let Some(message) = parser.next(&mut input) {
        if message.state == BodyState::Complete {
            assert_eq!(message.size, Some(message.data.len() as u64));
        }
        all.push(Got {
            kind: message.kind,
            data: message.data.to_vec(),
            fragments: message.fragments,
            state: message.state,
        });
    }
    assert!(input.is_empty());
}

fn read(sender: Sender, deflate: Option<Deflate>, pieces: &[&[u8]]) -> Vec<Got> {
    let mut parser = Parser::new(sender, deflate, 1 << 20);
    let mut all = Vec::new();
    for piece in pieces {
        take(&mut parser, piece, &mut all);
    }
    parser.finish();
    take(&mut parser, b"", &mut all);
    assert_eq!(parser.unframed(), 0);
    all
}

const TAKEOVER: Option<Deflate> = Some(Deflate {
    client_alone: false,
    server_alone: false,
});

const ALONE: Option<Deflate> = Some(Deflate {
    client_alone: true,
    server_alone: true,
});

/// Writes frames.
struct Writer {
    sender: Sender,
    compress: Compress,
    alone: bool,
}

impl Writer {
    fn new(sender: Sender, alone: bool) -> Self {
        Self {
            sender,
            compress: Compress::new(Compression::default(), false),
            alone,
        }
    }

    fn frame(&self, first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first];
        let masked = u8::from(self.sender == Sender::Client) << 7;
        match payload.len() {
            n @ 0..126 => out.push(masked | n as u8),
            n @ 126..0x10000 => {
                out.push(masked | 126);
                out.extend((n as u16).to_be_bytes());
            }
            n => {
                out.push(masked | 127);
                out.extend((n as u64).to_be_bytes());
            }
        }
        if masked == 0 {
            out.extend(payload);
        } else {
            let mask = [0x37, 0xfa, 0x21, payload.len() as u8];
            out.extend(mask);
            out.extend(payload.iter().zip(mask.iter().cycle()).map(|(p, m)| p ^ m));
        }
        out
    }

    fn deflate(&mut self, data: &[u8]) -> Vec<u8> {
        if self.alone {
            self.compress.reset();
        }
        let mut out = Vec::new();
        let mut rest = data;
        loop {
            out.reserve(4096);
            let before = self.compress.total_in();
            let status = self
                .compress
                .compress_vec(rest, &mut out, FlushCompress::Sync)
                .unwrap();
            rest = &rest[(self.compress.total_in() - before) as usize..];
            if rest.is_empty() && out.len() < out.capacity() {
                assert_ne!(status, Status::StreamEnd);
                break;
            }
        }
        if out.is_empty() {
            // Nothing to flush: RFC 7692 7.2.3.6.
            return vec![0];
        }
        assert!(out.ends_with(&[0, 0, 255, 255]));
        out.truncate(out.len() - 4);
        out
    }

    /// The frames of a message, cut at `cuts`.
    fn message(&mut self, opcode: u8, data: &[u8], deflate: bool, cuts: &[usize]) -> Vec<Vec<u8>> {
        let payload = if deflate {
            self.deflate(data)
        } else {
            data.to_vec()
        };
        let mut cuts: Vec<_> = cuts.iter().map(|c| c % (payload.len() + 1)).collect();
        cuts.sort_unstable();
        cuts.push(payload.len());
        let mut from = 0;
        let mut frames = Vec::new();
        for (i, to) in cuts.iter().enumerate() {
            let fin = u8::from(i + 1 == cuts.len()) << 7;
            let opcode = if i == 0 { opcode } else { 0 };
            let rsv1 = u8::from(deflate && i == 0) << 6;
            frames.push(self.frame(fin | rsv1 | opcode, &payload[from..*to]));
            from = *to;
        }
        frames
    }
}

#[test]
fn the_examples_of_rfc_6455() {
    let hello = [got(Kind::Text, b"Hello", 1)];
    let masked = b"\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    assert_eq!(read(Sender::Server, None, &[b"\x81\x05Hello"]), hello);
    assert_eq!(
        read(Sender::Client, None, &[&[&[0x81], &masked[..]].concat()]),
        hello
    );
    assert_eq!(
        read(Sender::Server, None, &[b"\x01\x03Hel", b"\x80\x02lo"]),
        [got(Kind::Text, b"Hello", 2)]
    );
    assert_eq!(
        read(Sender::Server, None, &[b"\x89\x05Hello"]),
        [got(Kind::Ping, b"Hello", 1)]
    );
    assert_eq!(
        read(Sender::Client, None, &[&[&[0x8a], &masked[..]].concat()]),
        [got(Kind::Pong, b"Hello", 1)]
    );
    let long = [7; 65536];
    assert_eq!(
        read(
            Sender::Server,
            None,
            &[
                b"\x82\x7e\x01\x00",
                &long[..256],
                b"\x82\x7f\0\0\0\0\0\x01\0\0",
                &long
            ]
        ),
        [
            got(Kind::Binary, &long[..256], 1),
            got(Kind::Binary, &long, 1)
        ]
    );
}

#[test]
fn the_examples_of_rfc_7692() {
    let once = [got(Kind::Text, b"Hello", 1)];
    for bytes in [
        &b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"[..],
        b"\xc1\x0b\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
        b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
        b"\xc1\x0d\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
    ] {
        for deflate in [TAKEOVER, ALONE] {
            assert_eq!(read(Sender::Server, deflate, &[bytes]), once, "{bytes:x?}");
            // And once more on the same connection.
            assert_eq!(read(Sender::Server, deflate, &[bytes, bytes]).len(), 2);
        }
    }
    assert_eq!(
        read(
            Sender::Server,
            TAKEOVER,
            &[b"\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00"]
        ),
        [got(Kind::Text, b"Hello", 2)]
    );
    let shared: &[&[u8]] = &[
        b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00",
        b"\xc1\x05\xf2\x00\x11\x00\x00",
    ];
    assert_eq!(
        read(Sender::Server, TAKEOVER, shared),
        [once[0].clone(), once[0].clone()]
    );
    // A sender that may not refer to the message before, and does.
    let broken = read(Sender::Server, ALONE, shared);
    assert_eq!(broken[1].state, BodyState::Undecodable);
}

#[test]
fn control_frames_stand_between_fragments() {
    let all = read(
        Sender::Server,
        TAKEOVER,
        &[b"\x41\x03\xf2\x48\xcd\x89\x01p\x00\x00\x8a\x00\x80\x04\xc9\xc9\x07\x00\x88\x07\x03\xe8bye!!"],
    );
    assert_eq!(
        all,
        [
            got(Kind::Ping, b"p", 1),
            got(Kind::Pong, b"", 1),
            got(Kind::Text, b"Hello", 3),
            got(Kind::Close, b"\x03\xe8bye!!", 1),
        ]
    );
}

#[test]
fn a_close_has_a_code_and_a_reason() {
    for (bytes, code, reason) in [
        (&b"\x88\x05\x03\xe9bye"[..], Some(1001), &b"bye"[..]),
        (b"\x88\x02\x03\xe8", Some(1000), b""),
        (b"\x88\x00", None, b""),
        (b"\x88\x01x", None, b"x"),
    ] {
        let mut parser = Parser::new(Sender::Server, None, 100);
        let message = parser.next(&mut &bytes[..]).unwrap();
        assert_eq!(message.close(), Some((code, reason)));
    }
}

#[test]
fn what_is_kept_has_a_limit_and_the_rest_is_counted() {
    let mut parser = Parser::new(Sender::Server, TAKEOVER, 10);
    let mut writer = Writer::new(Sender::Server, false);
    for (data, deflate) in [(vec![b'a'; 100_000], false), (vec![b'b'; 100_000], true)] {
        let frames = writer.message(2, &data, deflate, &[50]).concat();
        let mut input = &frames[..];
        let message = parser.next(&mut input).unwrap();
        assert_eq!(message.data, &data[..10]);
        assert_eq!(message.size, Some(100_000));
        assert_eq!(message.state, BodyState::Cut);
        assert_eq!(message.compressed, deflate);
        assert!(deflate && message.wire_size < 1000 || message.wire_size == 100_000);
    }
    // The window is right although most of it was not kept.
    let frames = writer.message(1, &[b'b'; 10], true, &[]).concat();
    assert_eq!(parser.next(&mut &frames[..]).unwrap().data, [b'b'; 10]);
    assert!(parser.memory() < 70_000, "{}", parser.memory());
}

#[test]
fn no_memory_is_taken_for_what_is_only_announced() {
    let mut parser = Parser::new(Sender::Server, None, 1 << 40);
    let mut input: &[u8] = b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xffabc";
    assert_eq!(parser.next(&mut input), None);
    assert!(parser.memory() < 100);
    parser.finish();
    let message = parser.next(&mut input).unwrap();
    assert_eq!(
        (message.data, message.state),
        (&b"abc"[..], BodyState::Lost)
    );
    assert_eq!(message.size, None);
}

#[test]
fn a_bomb_is_given_up_and_the_next_message_is_read() {
    let mut writer = Writer::new(Sender::Server, true);
    let bomb = writer.message(2, &vec![0; 18 << 20], true, &[]).concat();
    assert!(bomb.len() < 20_000);
    let mut parser = Parser::new(Sender::Server, ALONE, 1000);
    let mut input = &bomb[..];
    let message = parser.next(&mut input).unwrap();
    assert_eq!(message.state, BodyState::Undecodable);
    assert_eq!((message.data, message.size), (&[0; 1000][..], None));
    let after = writer.message(1, b"after", true, &[]).concat();
    assert_eq!(parser.next(&mut &after[..]).unwrap().data, b"after");
}

#[test]
fn reserved_opcodes_and_bits_are_shown_as_such() {
    let mut parser = Parser::new(Sender::Server, None, 100);
    let mut input: &[u8] = b"\x83\x01x\x8b\x01y\x91\x01z\xc1\x01z\x81\x02ok";
    let mut all = Vec::new();
    take(&mut parser, input, &mut all);
    input = b"";
    assert_eq!(parser.next(&mut input), None);
    let states: Vec<_> = all.iter().map(|m| (m.kind, m.state)).collect();
    assert_eq!(
        states,
        [
            (Kind::Other(3), BodyState::Complete),
            (Kind::Other(11), BodyState::Complete),
            (Kind::Text, BodyState::Undecodable),
            (Kind::Text, BodyState::Undecodable),
            (Kind::Text, BodyState::Complete),
        ]
    );
}

#[test]
fn a_hole_in_a_payload_costs_one_message() {
    let mut parser = Parser::new(Sender::Server, None, 100);
    let mut all = Vec::new();
    take(&mut parser, b"\x81\x0aabc", &mut all);
    parser.lost(4);
    take(&mut parser, b"hij\x81\x02ok\x82\x03x", &mut all);
    parser.lost(2);
    take(&mut parser, b"", &mut all);
    take(&mut parser, b"\x81\x02ok", &mut all);
    assert_eq!(
        all.iter()
            .map(|m| (&m.data[..], m.state))
            .collect::<Vec<_>>(),
        [
            (&b"abc"[..], BodyState::Lost),
            (b"ok", BodyState::Complete),
            (b"x", BodyState::Lost),
            (b"ok", BodyState::Complete),
        ]
    );
    assert_eq!(parser.unframed(), 0);
}

#[test]
fn after_a_hole_only_what_can_be_known_is_decompressed() {
    let mut writer = Writer::new(Sender::Server, false);
    let one = writer
        .message(1, b"the first message, lost", true, &[])
        .concat();
    let two = writer
        .message(1, b"the first message again", true, &[])
        .concat();
    let three = writer.message(1, b"0123456789", true, &[]).concat();
    let four = writer.message(1, b"0123456789", true, &[]).concat();
    let mut parser = Parser::new(Sender::Server, TAKEOVER, 100);
    let mut all = Vec::new();
    take(&mut parser, &one[..5], &mut all);
    parser.lost(one.len() as u64 - 5);
    take(&mut parser, &[two, three, four].concat(), &mut all);
    let states: Vec<_> = all.iter().map(|m| m.state).collect();
    assert_eq!(
        states,
        [
            BodyState::Lost,
            BodyState::Undecodable,
            BodyState::Complete,
            BodyState::Complete
        ]
    );
    assert_eq!(all[3].data, b"0123456789");
}

#[test]
fn what_is_copied_from_before_a_join_is_never_made_up() {
    let mut writer = Writer::new(Sender::Client, false);
    let text = |n: u32| format!("{{\"kind\":\"tick\",\"price\":{n}}}");
    let before: Vec<_> = (0..20).map(|n| text(n * 7919)).collect();
    for text in &before {
        writer.message(1, text.as_bytes(), true, &[]);
    }
    let mut parser = Parser::joined(Sender::Client, Some(0), 100);
    let mut all = Vec::new();
    let mut sent = Vec::new();
    for n in 20..40 {
        sent.push(text(n * 7919));
        let wire = writer.message(1, sent[sent.len() - 1].as_bytes(), true, &[]);
        take(&mut parser, &wire.concat(), &mut all);
    }
    // What only refers to what was said since.
    for fresh in [
        "0123456789abc",
        "0123456789abc, once more",
        "xyz 0123456789abc",
    ] {
        sent.push(fresh.to_owned());
        let wire = writer.message(1, fresh.as_bytes(), true, &[]);
        take(&mut parser, &wire.concat(), &mut all);
    }
    // So much that nothing from before is in the window, then as in the
    // beginning.
    let mut noise = 1u32;
    for _ in 0..40 {
        let random = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b'!' + (noise >> 24) as u8 % 90)
        });
        sent.push(random.take(1000).collect());
        let wire = writer.message(1, sent[sent.len() - 1].as_bytes(), true, &[]);
        take(&mut parser, &wire.concat(), &mut all);
    }
    let two = parser.memory();
    for n in 40..45 {
        sent.push(text(n * 7919));
        let wire = writer.message(1, sent[sent.len() - 1].as_bytes(), true, &[]);
        take(&mut parser, &wire.concat(), &mut all);
    }
    assert_eq!(all.len(), sent.len());
    let mut unknown = 0;
    for (message, sent) in all.iter().zip(&sent) {
        assert!(sent.as_bytes().starts_with(&message.data), "{message:?}");
        match message.state {
            BodyState::Undecodable => unknown += 1,
            BodyState::Complete => assert_eq!(message.data, sent.as_bytes()),
            BodyState::Cut => assert_eq!(message.data.len(), 100),
            BodyState::Lost => panic!("{message:?}"),
        }
    }
    assert_eq!(unknown, 20, "those that repeat what was said before");
    assert!(two < 2 * inflate::MEMORY, "one decoder is enough again");
}

#[test]
fn frames_are_found_again_after_a_hole_of_unknown_frames() {
    for sender in [Sender::Client, Sender::Server] {
        let writer = Writer::new(sender, false);
        let frame = |text: &str| writer.frame(0x81, text.as_bytes());
        let mut parser = Parser::new(sender, None, 100);
        let mut all = Vec::new();
        let first = frame("first");
        take(&mut parser, &first[..first.len() - 2], &mut all);
        parser.lost(100);
        // The end of a frame, then whole ones.
        for part in [b"tail of it".to_vec(), frame("one")] {
            take(&mut parser, &part, &mut all);
        }
        assert_eq!(all.len(), 1, "nothing is guessed from one frame");
        take(&mut parser, &frame("two"), &mut all);
        take(&mut parser, &frame("three"), &mut all);
        take(&mut parser, &frame("four"), &mut all);
        let texts: Vec<_> = all.iter().map(|m| &m.data[..]).collect();
        // The first of those that were found only vouches for the others.
        assert_eq!(texts, [&b"fir"[..], b"two", b"three", b"four"]);
        assert_eq!(all[0].state, BodyState::Lost);
        assert_eq!(parser.unframed(), 10 + frame("one").len() as u64);
    }
}

#[test]
fn without_room_no_frames_are_looked_for() {
    let mut parser = Parser::new(Sender::Server, None, 100);
    parser.lost(1);
    parser.set_room(10);
    let mut all = Vec::new();
    take(&mut parser, b"\x81\x03one", &mut all);
    take(
        &mut parser,
        &[0x82, 0x7e, 0x10, 0x00, 1, 2, 3, 4, 5, 6, 7],
        &mut all,
    );
    assert_eq!((parser.unframed(), all.len()), (16, 0));
    for text in [b"\x81\x03two", b"\x81\x03six", b"\x81\x03ten"] {
        take(&mut parser, text, &mut all);
    }
    assert_eq!(all.len(), 2);
}

#[test]
fn what_is_no_frame_is_counted() {
    let mut parser = Parser::new(Sender::Server, None, 100);
    let mut all = Vec::new();
    take(&mut parser, b"\x81\x02ok\x09\x01x and more", &mut all);
    for _ in 0..1000 {
        take(&mut parser, &[0xaa; 1000], &mut all);
    }
    assert_eq!(all, [got(Kind::Text, b"ok", 1)]);
    assert!(parser.memory() < 200_000);
    parser.finish();
    take(&mut parser, b"", &mut all);
    assert_eq!(parser.unframed(), 12 + 1_000_000);
}

/// A message to send: opcode, text, whether to compress, where to cut.
type Sent = (u8, String, bool, Vec<usize>);

fn sent() -> impl Strategy<Value = Vec<Sent>> {
    let text = prop_oneof![
        "[a-e ]{0,40}",
        "[a-z]{1,30}".prop_map(|s| s.repeat(20)),
        "\\PC{0,200}"
    ];
    let message = (
        1..3u8,
        text,
        any::<bool>(),
        proptest::collection::vec(any::<usize>(), 0..3),
    );
    proptest::collection::vec(message, 1..12)
}

fn deflates() -> impl Strategy<Value = Option<Deflate>> {
    prop_oneof![Just(None), Just(TAKEOVER), Just(ALONE)]
}

/// The frames of all messages, each with a ping before its last one.
fn frames(sender: Sender, deflate: Option<Deflate>, sent: &[Sent]) -> (Vec<Vec<u8>>, Vec<Got>) {
    let mut writer = Writer::new(sender, deflate == ALONE);
    let (mut frames, mut expected) = (Vec::new(), Vec::new());
    for (opcode, text, compressed, cuts) in sent {
        let compressed = *compressed && deflate.is_some();
        let parts = writer.message(*opcode, text.as_bytes(), compressed, cuts);
        let (count, last) = (parts.len(), parts.len() - 1);
        for (i, part) in parts.into_iter().enumerate() {
            if i == last {
                frames.push(writer.frame(0x89, b"!"));
                expected.push(got(Kind::Ping, b"!", 1));
            }
            frames.push(part);
        }
        expected.push(got(Kind::of(*opcode), text.as_bytes(), count as u32));
    }
    (frames, expected)
}

proptest! {
    #[test]
    fn it_does_not_matter_how_the_bytes_are_cut(
        client in any::<bool>(),
        deflate in deflates(),
        sent in sent(),
        size in 1..300usize,
    ) {
        let sender = if client { Sender::Client } else { Sender::Server };
        let (frames, expected) = frames(sender, deflate, &sent);
        let bytes = frames.concat();
        let pieces: Vec<_> = bytes.chunks(size).collect();
        prop_assert_eq!(read(sender, deflate, &pieces), expected);
    }

    #[test]
    fn after_any_loss_nothing_wrong_is_shown(
        client in any::<bool>(),
        deflate in deflates(),
        sent in sent(),
        from in any::<prop::sample::Index>(),
        length in 1..400usize,
    ) {
        let sender = if client { Sender::Client } else { Sender::Server };
        let (frames, expected) = frames(sender, deflate, &sent);
        let total: usize = frames.iter().map(Vec::len).sum();
        let hole = from.index(total);
        let hole = hole..(hole + length).min(total);
        let mut parser = Parser::new(sender, deflate, 1 << 20);
        let (mut all, mut at) = (Vec::new(), 0);
        for frame in &frames {
            let end = at + frame.len();
            let before = at..end.min(hole.start);
            let after = at.max(hole.end)..end;
            if !before.is_empty() {
                take(&mut parser, &frame[..before.len()], &mut all);
            }
            if (at..end).contains(&hole.start) {
                parser.lost(hole.len() as u64);
                take(&mut parser, b"", &mut all);
            }
            if !after.is_empty() && end > hole.end {
                take(&mut parser, &frame[after.start - at..], &mut all);
            }
            at = end;
        }
        parser.finish();
        take(&mut parser, b"", &mut all);
        // What is called complete is what was sent, in this order.
        let mut rest = expected.iter();
        for message in all.iter().filter(|m| m.state == BodyState::Complete) {
            prop_assert!(rest.any(|e| e == message), "{message:?}");
        }
    }
}
