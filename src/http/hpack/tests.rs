//! What the decoder gives, and what it keeps to itself.

mod joined;
mod limits;
mod property;
mod rfc;
mod stories;

use super::{Decoder, Error};

/// A field, owned: name, value, never indexed, unknown.
type Owned = (String, String, bool, bool);

/// The fields of `block`, and the error if there was one.
fn decode_all(decoder: &mut Decoder, block: &[u8]) -> (Vec<Owned>, Result<(), Error>) {
    let mut fields = Vec::new();
    let result = decoder.decode(block, &mut |field| {
        fields.push((
            String::from_utf8_lossy(field.name).into_owned(),
            String::from_utf8_lossy(field.value).into_owned(),
            field.never_indexed,
            field.unknown,
        ));
    });
    (fields, result)
}

/// The fields of a right block.
fn decode(decoder: &mut Decoder, block: &[u8]) -> Vec<Owned> {
    let (fields, result) = decode_all(decoder, block);
    assert_eq!(result, Ok(()));
    fields
}

/// Fields that are known and may be indexed.
fn known(fields: &[(&str, &str)]) -> Vec<Owned> {
    fields
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string(), false, false))
        .collect()
}

/// A literal with incremental indexing, a new name, no Huffman code.
fn indexing(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut block = vec![0x40];
    super::integer::encode(0, 0x7f, name.len(), &mut block);
    block.extend_from_slice(name);
    super::integer::encode(0, 0x7f, value.len(), &mut block);
    block.extend_from_slice(value);
    block
}
