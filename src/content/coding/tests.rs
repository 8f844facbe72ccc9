//! Bodies of other encoders (fixtures/content), whole, in pieces, cut and damaged.

use std::path::Path;

use flate2::Compression;
use proptest::prelude::*;

use super::*;

const PLAIN: &[u8] = include_bytes!("../../../fixtures/content/plain.json");

/// Each file that holds [`PLAIN`], and its codings.
const WHOLE: &[(&str, &[&str])] = &[
    ("plain.gz", &["gzip"]),
    ("node.gz", &["X-GZip"]),
    ("members.gz", &["gzip"]),
    ("fields.gz", &["gzip"]),
    ("plain.zlib", &["deflate"]),
    ("plain.deflate", &["deflate"]),
    ("plain.gz", &["deflate"]),
    ("plain.br", &["br"]),
    ("node.br", &["BR"]),
    ("plain.zst", &["zstd"]),
    ("python.zst", &["zstd"]),
    ("frames.zst", &["zstd"]),
    ("plain.gz.br.zst", &["gzip", "br", "identity", "zstd"]),
    ("plain.json", &[]),
    ("plain.json", &["identity"]),
];

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/content");
    std::fs::read(path.join(name)).unwrap()
}

fn decoded(encodings: &[&str], bytes: &[u8], cap: usize) -> (Vec<u8>, Outcome) {
    let decoded = decode(encodings, bytes, cap).unwrap();
    (decoded.bytes, decoded.outcome)
}

/// Pushes `bytes` in pieces of the lengths that `lengths` gives in turn.
fn in_pieces(
    encodings: &[&str],
    bytes: &[u8],
    lengths: &[usize],
    cap: usize,
) -> (Vec<u8>, Progress) {
    let mut decoder = Decoder::new(encodings).unwrap();
    let (mut out, mut rest, mut progress) = (Vec::new(), bytes, Progress::More);
    for length in lengths.iter().cycle() {
        let (piece, later) = rest.split_at((*length).min(rest.len()));
        progress = decoder.push(piece, &mut out, cap);
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    (out, progress)
}

#[test]
fn whole_bodies() {
    for (name, encodings) in WHOLE {
        let bytes = fixture(name);
        let (out, outcome) = decoded(encodings, &bytes, 1 << 20);
        assert_eq!(outcome, Outcome::Whole, "{name}");
        assert!(out == PLAIN, "{name}");
    }
    let small = fixture("small.zlib");
    assert_eq!(
        decoded(&["deflate"], &small, 5),
        (b"hello".to_vec(), Outcome::Whole)
    );
}

#[test]
fn every_piece_size_gives_the_same() {
    for (name, encodings) in WHOLE {
        let bytes = fixture(name);
        for size in [1, 2, 3, 7, 31, 100, 1000, 5000] {
            let (out, progress) = in_pieces(encodings, &bytes, &[size], 1 << 20);
            assert_eq!(progress, Progress::End, "{name} {size}");
            assert!(out == PLAIN, "{name} {size}");
        }
    }
}

#[test]
fn what_is_cut_off_gives_its_beginning() {
    for (name, encodings) in WHOLE.iter().filter(|(_, encodings)| encodings.len() == 1) {
        if *name == "plain.json" || *name == "members.gz" || *name == "frames.zst" {
            continue;
        }
        let bytes = fixture(name);
        let mut most = 0;
        for end in (1..bytes.len()).step_by(9).chain([bytes.len() - 1]) {
            let (out, outcome) = decoded(encodings, &bytes[..end], 1 << 20);
            assert_eq!(outcome, Outcome::Truncated, "{name} {end}");
            assert!(PLAIN.starts_with(&out), "{name} {end}");
            most = most.max(out.len());
        }
        // A zstd body this short is one block, which gives all or nothing.
        assert!(
            name.ends_with(".zst") || most > PLAIN.len() * 9 / 10,
            "{name} {most}"
        );
    }
}

#[test]
fn nothing_is_the_whole_of_nothing() {
    for name in ["gzip", "deflate", "br", "zstd", "identity"] {
        assert_eq!(decoded(&[name], b"", 9), (vec![], Outcome::Whole), "{name}");
    }
}

#[test]
fn what_is_flushed_comes_at_once() {
    for (name, coding) in [
        ("flushed.gz", "gzip"),
        ("flushed.zlib", "deflate"),
        ("flushed.deflate", "deflate"),
        ("flushed.br", "br"),
        ("flushed.zst", "zstd"),
    ] {
        let bytes = fixture(name);
        let lines = String::from_utf8(fixture(&format!("{name}.pieces"))).unwrap();
        let mut decoder = Decoder::new(&[coding]).unwrap();
        let (mut at, mut progress) = (0, Progress::More);
        for line in lines.lines() {
            let (encoded, plain) = line.split_once(' ').unwrap();
            let end = at + encoded.parse::<usize>().unwrap();
            let mut out = Vec::new();
            progress = decoder.push(&bytes[at..end], &mut out, 1 << 20);
            assert_eq!(out.len(), plain.parse::<usize>().unwrap(), "{name} at {at}");
            assert!(
                out.is_empty() || out.starts_with(b"data: "),
                "{name} at {at}"
            );
            at = end;
        }
        assert_eq!((at, progress), (bytes.len(), Progress::End), "{name}");
    }
}

#[test]
fn a_bomb_stops_at_the_cap() {
    for (name, encodings) in [
        ("bomb.gz.gz", &["gzip", "gzip"][..]),
        ("bomb.br", &["br"]),
        ("bomb.zst", &["zstd"]),
    ] {
        let bytes = fixture(name);
        for cap in [0, 1, 4095, 4096, 100_000, 3 << 20] {
            let (out, outcome) = decoded(encodings, &bytes, cap);
            assert_eq!((out.len(), outcome), (cap, Outcome::Capped), "{name}");
            assert!(
                out.capacity() <= cap,
                "{name}: {} for {cap}",
                out.capacity()
            );
            assert!(out.iter().all(|b| *b == 0));
        }
    }
    let (out, outcome) = decoded(&["zstd"], &fixture("bomb.zst"), 32 << 20);
    assert_eq!((out.len(), outcome), (32 << 20, Outcome::Whole));
}

#[test]
fn a_bomb_without_output_stops() {
    // Frames of nothing: what is between two codings is bounded too.
    let frame = empty_frame();
    let inner = frame.repeat((2 << 20) / frame.len());
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::best());
    std::io::Write::write_all(&mut encoder, &inner).unwrap();
    let outer = encoder.finish().unwrap();
    let (out, outcome) = decoded(&["zstd", "gzip"], &outer, 256 << 10);
    assert_eq!((out.len(), outcome), (0, Outcome::Capped));
}

/// A zstd frame of no content (RFC 8878 3.1.1): magic, a header that says one
/// segment of 0 bytes, an empty last block.
fn empty_frame() -> Vec<u8> {
    b"\x28\xb5\x2f\xfd\x20\x00\x01\x00\x00".to_vec()
}

#[test]
fn the_cap_at_the_very_end_is_no_cut() {
    for (name, encodings) in WHOLE {
        let bytes = fixture(name);
        let (out, outcome) = decoded(encodings, &bytes, PLAIN.len());
        assert_eq!(
            (out.len(), outcome),
            (PLAIN.len(), Outcome::Whole),
            "{name}"
        );
        let (out, outcome) = decoded(encodings, &bytes, PLAIN.len() - 1);
        assert!(out == PLAIN[..PLAIN.len() - 1], "{name}");
        assert_eq!(outcome, Outcome::Capped, "{name}");
    }
}

#[test]
fn garbage_keeps_what_came_before() {
    for (name, coding) in [
        ("flushed.gz", "gzip"),
        ("flushed.zlib", "deflate"),
        ("flushed.br", "br"),
        ("flushed.zst", "zstd"),
    ] {
        let mut bytes = fixture(name);
        let (whole, _) = decoded(&[coding], &bytes, 1 << 20);
        let middle = bytes.len() * 2 / 3;
        bytes[middle..].fill(0xff);
        let (out, outcome) = decoded(&[coding], &bytes, 1 << 20);
        assert_eq!(outcome, Outcome::Broken, "{name}");
        // brotli gives what it has only between two calls, and these are few bytes.
        assert!(
            coding == "br" || out.len() > whole.len() / 3,
            "{name} {}",
            out.len()
        );
        let common = out.iter().zip(&whole).take_while(|(a, b)| a == b).count();
        assert!(common + 300 >= out.len(), "{name}");
    }
    // A body that is not encoded at all.
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let decoded = decode(&[coding], b"<!DOCTYPE html><html>not encoded</html>", 99).unwrap();
        assert_eq!(decoded.outcome, Outcome::Broken, "{coding}");
        assert!(
            decoded.reason.unwrap().starts_with("not a valid"),
            "{coding}"
        );
    }
}

#[test]
fn a_wrong_checksum_is_said() {
    for (name, coding) in [
        ("plain.gz", "gzip"),
        ("plain.zlib", "deflate"),
        ("plain.zst", "zstd"),
    ] {
        let mut bytes = fixture(name);
        let at = bytes.len() - if coding == "gzip" { 8 } else { 1 };
        bytes[at] ^= 1;
        let (out, outcome) = decoded(&[coding], &bytes, 1 << 20);
        assert_eq!(outcome, Outcome::Broken, "{name}");
        assert!(PLAIN.starts_with(&out), "{name}");
        assert!(coding == "zstd" || out == PLAIN, "{name}");
    }
}

#[test]
fn garbage_after_the_end_is_ignored() {
    for (name, coding) in [
        ("plain.gz", "gzip"),
        ("plain.zlib", "deflate"),
        ("plain.br", "br"),
    ] {
        for garbage in [&b"\0\0\0\0"[..], b"\x1f", b"\x1fx", b"garbage"] {
            let mut bytes = fixture(name);
            bytes.extend_from_slice(garbage);
            for size in [1, bytes.len()] {
                let (out, progress) = in_pieces(&[coding], &bytes, &[size], 1 << 20);
                assert_eq!(
                    (out.len(), progress),
                    (PLAIN.len(), Progress::End),
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn windows_are_bounded() {
    let long = decode(&["zstd"], &fixture("long.zst"), 1 << 20).unwrap();
    assert_eq!(long.outcome, Outcome::Broken);
    assert_eq!(long.reason, Some("zstd window larger than 8 MiB"));
    let large = decode(&["br"], &fixture("large-window.br"), 1 << 20).unwrap();
    assert_eq!(large.outcome, Outcome::Broken);
    // A header that asks for 8 MiB is granted as much, and not before.
    let mut decoder = Decoder::new(&["zstd"]).unwrap();
    assert!(decoder.memory() < 1 << 10);
    decoder.push(b"\x28\xb5\x2f\xfd\x00\x68", &mut Vec::new(), 1 << 20);
    assert!(decoder.memory() < 9 << 20, "{}", decoder.memory());
}

#[test]
fn names() {
    assert_eq!(Coding::from_name(" GZIP "), Some(Coding::Gzip));
    for unknown in ["", "compress", "gzip,br", "dcb", "utf-8"] {
        assert_eq!(Coding::from_name(unknown), None);
        assert!(Decoder::new(&[unknown]).is_none());
    }
    assert!(Decoder::new(&["gzip"; 4]).is_some());
    assert!(Decoder::new(&["gzip"; 5]).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pieces_and_caps_do_not_matter(
        which in 0..WHOLE.len(),
        lengths in prop::collection::vec(0usize..200, 1..8),
        cap in 0usize..10_000,
        flip in prop::option::of((0usize..1000, 0u8..8)),
    ) {
        prop_assume!(lengths.iter().any(|length| *length > 0));
        let (name, encodings) = WHOLE[which];
        let mut bytes = fixture(name);
        if let Some((at, bit)) = flip {
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
        }
        let (whole, outcome) = decoded(encodings, &bytes, cap);
        let (pieces, progress) = in_pieces(encodings, &bytes, &lengths, cap);
        prop_assert!(whole.len() <= cap && pieces.len() <= cap);
        if outcome == Outcome::Broken {
            // How much comes before garbage depends on the pieces.
            prop_assert!(matches!(progress, Progress::Broken | Progress::Capped));
        } else {
            prop_assert!(whole == pieces);
            prop_assert_eq!(outcome == Outcome::Whole, progress == Progress::End);
            prop_assert_eq!(outcome == Outcome::Capped, progress == Progress::Capped);
        }
    }

    #[test]
    fn random_bytes_do_no_harm(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        name in prop::sample::select(vec!["gzip", "deflate", "br", "zstd"]),
        cap in 0usize..5000,
    ) {
        let (out, _) = decoded(&[name], &bytes, cap);
        prop_assert!(out.len() <= cap);
    }
}

#[test]
fn a_damaged_frame_gives_as_much_at_once_as_in_pieces() {
    // A frame of several blocks that says how much it gives.
    let text: Vec<u8> = (0..100_000_u32)
        .flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 20).to_le_bytes())
        .collect();
    let mut whole = vec![0; zstd_safe::compress_bound(text.len())];
    let length = zstd_safe::compress(&mut whole[..], &text, 1).unwrap();
    whole.truncate(length);
    assert!(matches!(zstd_safe::get_frame_content_size(&whole), Ok(Some(n)) if n == 400_000));
    assert_eq!(
        decoded(&["zstd"], &whole, 2 << 20),
        (text.clone(), Outcome::Whole)
    );
    assert_eq!(
        decoded(&["zstd"], &whole, 400_000),
        (text.clone(), Outcome::Whole)
    );
    assert_eq!(decoded(&["zstd"], &whole, 399_999).1, Outcome::Capped);
    for at in (0..length).step_by(length / 20) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0xff;
        let (out, outcome) = decoded(&["zstd"], &damaged, 2 << 20);
        let (pieces, progress) = in_pieces(&["zstd"], &damaged, &[1000], 2 << 20);
        assert_eq!(out.len(), pieces.len(), "{at}");
        assert!(out == pieces, "{at}");
        assert_eq!(outcome == Outcome::Broken, progress == Progress::Broken);
    }
    // A window of more than 8 MiB is refused also where nothing needs it: one
    // raw block of 300 bytes.
    let mut wide = vec![0x28, 0xb5, 0x2f, 0xfd, 0x40, 13 << 3, 44, 0, 0x61, 9, 0];
    wide.extend([b'x'; 300]);
    let result = decoded(&["zstd"], &wide, 1 << 20);
    assert_eq!(result, (vec![b'x'; 300], Outcome::Whole));
    wide[5] = 14 << 3;
    assert_eq!(
        decoded(&["zstd"], &wide, 1 << 20),
        (vec![], Outcome::Broken)
    );
}
