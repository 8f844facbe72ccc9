//! Writing fields so that any decoder reads them, whatever its tables hold.

use super::{integer, statics};

/// Appends a literal field without indexing (or never indexed): no Huffman
/// code, the name by its index if it is in the static table (RFC 7541 6.2.2,
/// 6.2.3).
pub fn encode_literal(name: &[u8], value: &[u8], never_indexed: bool, out: &mut Vec<u8>) {
    let high = if never_indexed { 0x10 } else { 0 };
    let index = statics::index_of(name);
    integer::encode(high, 0x0f, index.unwrap_or(0), out);
    if index.is_none() {
        integer::encode(0, 0x7f, name.len(), out);
        out.extend_from_slice(name);
    }
    integer::encode(0, 0x7f, value.len(), out);
    out.extend_from_slice(value);
}
