//! What random encoders write is decoded, from the start and from the middle.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::{huffman, integer, statics};
use super::*;

/// How a random encoder writes a field.
#[derive(Clone, Debug)]
struct Choice {
    name: Vec<u8>,
    value: Vec<u8>,
    /// Never, without, or with indexing.
    kind: u8,
    /// Whether an entry or a name of the tables is used where there is one.
    reuse: bool,
    huffman: bool,
}

/// An encoder as simple as the RFC tells it.
struct Encoder {
    /// The newest first.
    table: Vec<(Vec<u8>, Vec<u8>)>,
    capacity: usize,
}

impl Encoder {
    fn evict(&mut self) {
        let size = |table: &[(Vec<u8>, Vec<u8>)]| -> usize {
            table.iter().map(|(n, v)| 32 + n.len() + v.len()).sum()
        };
        while size(&self.table) > self.capacity {
            self.table.pop();
        }
    }

    fn resize(&mut self, capacity: usize, out: &mut Vec<u8>) {
        self.capacity = capacity;
        self.evict();
        integer::encode(0x20, 0x1f, capacity, out);
    }

    fn index(&self, test: impl Fn(&[u8], &[u8]) -> bool) -> Option<usize> {
        let fixed = (1..=statics::COUNT).find(|i| statics::get(*i).is_some_and(|e| test(e.0, e.1)));
        fixed.or_else(|| {
            let place = self.table.iter().position(|(n, v)| test(n, v))?;
            Some(place + statics::COUNT + 1)
        })
    }

    fn string(text: &[u8], coded: bool, out: &mut Vec<u8>) {
        let mut code = text.to_vec();
        if coded {
            code.clear();
            huffman::tests::encode(text, &mut code);
        }
        integer::encode(u8::from(coded) << 7, 0x7f, code.len(), out);
        out.extend_from_slice(&code);
    }

    fn field(&mut self, choice: &Choice, out: &mut Vec<u8>) {
        let (name, value) = (choice.name.as_slice(), choice.value.as_slice());
        if choice.reuse
            && choice.kind != 0
            && let Some(index) = self.index(|n, v| n == name && v == value)
        {
            return integer::encode(0x80, 0x7f, index, out);
        }
        let index = self.index(|n, _| n == name).filter(|_| choice.reuse);
        let (high, mask) = [(0x10, 0x0f), (0, 0x0f), (0x40, 0x3f)][usize::from(choice.kind)];
        integer::encode(high, mask, index.unwrap_or(0), out);
        if index.is_none() {
            Self::string(name, choice.huffman, out);
        }
        Self::string(value, choice.huffman, out);
        if choice.kind == 2 {
            self.table.insert(0, (name.to_vec(), value.to_vec()));
            self.evict();
        }
    }
}

fn choice() -> impl Strategy<Value = Choice> {
    let name = prop_oneof![
        4 => "[a-e]{1,2}".prop_map(String::into_bytes),
        2 => Just(b":path".to_vec()),
        2 => Just(b"accept-encoding".to_vec()),
        1 => vec(any::<u8>(), 0..40),
    ];
    let value = prop_oneof![
        4 => "[a-c]?".prop_map(String::into_bytes),
        2 => "[ -~]{0,60}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..300),
        1 => (0..5000_usize).prop_map(|n| vec![b'x'; n]),
    ];
    (name, value, 0..3_u8, any::<bool>(), any::<bool>()).prop_map(
        |(name, value, kind, reuse, huffman)| Choice {
            name,
            value,
            kind,
            reuse,
            huffman,
        },
    )
}

/// A block: changes of the table's size, then fields.
fn block() -> impl Strategy<Value = (Vec<usize>, Vec<Choice>)> {
    let sizes = prop_oneof![6 => Just(vec![]), 1 => vec(0..8192_usize, 1..3)];
    (sizes, vec(choice(), 0..12))
}

fn fields(decoder: &mut Decoder, block: &[u8]) -> Vec<(Vec<u8>, Vec<u8>, bool, bool)> {
    let mut fields = Vec::new();
    let result = decoder.decode(block, &mut |f| {
        fields.push((
            f.name.to_vec(),
            f.value.to_vec(),
            f.never_indexed,
            f.unknown,
        ));
    });
    assert_eq!(result, Ok(()));
    fields
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_encoded_is_decoded(blocks in vec(block(), 1..16), join in 0..16_usize) {
        let mut encoder = Encoder { table: Vec::new(), capacity: 4096 };
        let (mut decoder, mut joined) = (Decoder::new(true), Decoder::new(false));
        for (i, (sizes, choices)) in blocks.iter().enumerate() {
            let mut block = Vec::new();
            for size in sizes {
                encoder.resize(*size, &mut block);
            }
            for choice in choices {
                encoder.field(choice, &mut block);
            }
            let got = fields(&mut decoder, &block);
            prop_assert_eq!(got.len(), choices.len());
            for (field, choice) in got.iter().zip(choices) {
                prop_assert_eq!((&field.0, &field.1), (&choice.name, &choice.value));
                prop_assert_eq!(field.2, choice.kind == 0);
                prop_assert!(!field.3);
            }
            if i < join {
                continue;
            }
            let late = fields(&mut joined, &block);
            prop_assert_eq!(late.len(), got.len());
            for (late, got) in late.iter().zip(&got) {
                let placeholder = late.0.starts_with(b"<unknown:");
                prop_assert!(late == got || late.3 && placeholder && late.2 == got.2);
                prop_assert!(late.1 == got.1 || late.3 && late.1 == late.0);
            }
        }
    }
}
