//! The stories of fixtures/hpack: blocks that other encoders wrote, decoded
//! from the start and from every point in the middle.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::*;

struct Case {
    /// The table's size that the receiver announced.
    limit: u32,
    wire: Vec<u8>,
    fields: Vec<(String, String)>,
    /// Names of fields that the encoder was told never to index.
    never: Vec<String>,
}

/// Every story by its file's name.
fn stories() -> Vec<(String, Vec<Case>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hpack");
    let mut stories = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let story: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let cases = story["cases"]
            .as_array()
            .unwrap()
            .iter()
            .map(case)
            .collect();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        stories.push((name, cases));
    }
    assert!(stories.len() >= 11, "fixtures/hpack is incomplete");
    stories
}

fn case(case: &Value) -> Case {
    let hex = case["wire"].as_str().unwrap().as_bytes();
    let digit = |b: u8| char::from(b).to_digit(16).unwrap() as u8;
    let fields = case["headers"].as_array().unwrap().iter().map(|field| {
        let (name, value) = field.as_object().unwrap().iter().next().unwrap();
        (name.clone(), value.as_str().unwrap().to_string())
    });
    let never = case["never_indexed"].as_array().unwrap().iter();
    Case {
        limit: case["header_table_size"].as_u64().unwrap() as u32,
        wire: hex
            .chunks(2)
            .map(|d| digit(d[0]) << 4 | digit(d[1]))
            .collect(),
        fields: fields.collect(),
        never: never
            .map(|name| name.as_str().unwrap().to_string())
            .collect(),
    }
}

#[test]
fn every_story_is_decoded() {
    for (story, cases) in stories() {
        let mut decoder = Decoder::new(true);
        let mut limit = 4096;
        for (i, case) in cases.iter().enumerate() {
            if limit != case.limit {
                limit = case.limit;
                decoder.set_limit(limit);
            }
            let fields = decode(&mut decoder, &case.wire);
            assert_eq!(fields.len(), case.fields.len(), "{story} {i}");
            for (field, (name, value)) in fields.iter().zip(&case.fields) {
                assert_eq!((&field.0, &field.1), (name, value), "{story} {i}");
                assert!(field.2 || !case.never.contains(name), "{story} {i} {name}");
                assert!(!field.3);
            }
        }
    }
}

/// Decodes the cases, that begin in the middle or after a lost one, and
/// counts the fields that are known and all of them, by the number of blocks
/// since.
fn decode_on(decoder: &mut Decoder, cases: &[Case], known: &mut [(usize, usize)]) {
    for (case, known) in cases.iter().zip(known) {
        decoder.set_limit(case.limit);
        let fields = decode(decoder, &case.wire);
        assert_eq!(fields.len(), case.fields.len());
        for (field, (name, value)) in fields.iter().zip(&case.fields) {
            known.1 += 1;
            if !field.3 {
                assert_eq!((&field.0, &field.1), (name, value));
                known.0 += 1;
                continue;
            }
            let placeholder = field.0.starts_with("<unknown:") && field.0.ends_with('>');
            assert!(
                placeholder && (field.1 == field.0 || field.1 == *value),
                "{field:?}"
            );
        }
    }
}

#[test]
fn a_story_joined_anywhere_is_right_or_unknown() {
    let mut known = [(0, 0); 18];
    for (_, cases) in stories() {
        for from in 1..cases.len() {
            decode_on(&mut Decoder::new(false), &cases[from..], &mut known);
        }
    }
    let (right, all) = known[0];
    assert!(
        right < all,
        "nothing was unknown in the first blocks: {known:?}"
    );
    // What never changes is never sent again; the rest is learned.
    for (right, all) in &known[4..] {
        assert!(
            right * 10 >= all * 6,
            "most is right after four blocks: {known:?}"
        );
    }
}

#[test]
fn a_story_with_a_lost_block_is_right_or_unknown() {
    for (_, cases) in stories() {
        for lost in 0..cases.len() {
            let mut decoder = Decoder::new(true);
            for case in &cases[..lost] {
                decoder.set_limit(case.limit);
                assert!(
                    decode(&mut decoder, &case.wire)
                        .iter()
                        .all(|field| !field.3)
                );
            }
            decoder.lost();
            decode_on(&mut decoder, &cases[lost + 1..], &mut [(0, 0); 18]);
        }
    }
}

#[test]
fn a_story_cut_or_changed_anywhere_does_not_panic() {
    for (_, cases) in stories() {
        for (i, case) in cases.iter().enumerate().take(6) {
            for at in 0..case.wire.len() {
                let mut decoder = Decoder::new(true);
                for case in &cases[..i] {
                    decoder.set_limit(case.limit);
                    decode(&mut decoder, &case.wire);
                }
                let _cut = decode_all(&mut decoder.clone(), &case.wire[..at]);
                let mut wire = case.wire.clone();
                wire[at] ^= 1 << (at % 8);
                let _changed = decode_all(&mut decoder, &wire);
            }
        }
    }
}
