//! HPACK (RFC 7541): the header compression of HTTP/2, as a pure function of
//! the blocks of one direction.
//!
//! Made for one that listens: a connection may be joined in the middle and a
//! block may be missing. Indices of the dynamic table are counted from its
//! newest entry, so whatever was inserted since resolves; what was inserted
//! before gives a visible placeholder, `<unknown:62>`, and everything after it
//! stays right. Memory is bounded whatever the blocks say.

mod decoder;
mod huffman;
mod integer;
mod literal;
mod statics;
mod table;
#[cfg(test)]
mod tests;

pub use decoder::{BLOCK_LIMIT, Decoder};
pub use literal::encode_literal;
pub use table::TABLE_LIMIT;

/// One header field as decoded. Borrowed from the block, the tables or
/// scratch memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name, as it was sent: RFC 9113 8.2.1 wants lower case, which is
    /// not looked at here.
    pub name: &'a [u8],
    /// The value.
    pub value: &'a [u8],
    /// The sender asks all that forward it never to put it into a table
    /// (RFC 7541 6.2.3): a secret.
    pub never_indexed: bool,
    /// The name, or the name and the value, are a placeholder
    /// (`<unknown:62>`, with the index that could not be resolved) for what
    /// was sent before the connection was joined or in a lost block.
    pub unknown: bool,
}

/// What is wrong in a block, with the offset in the block, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The block, so many bytes long, ends within a field.
    #[error("header block ends within a field, after {0} bytes")]
    Truncated(usize),
    /// An integer over 32 bits or in too many bytes (RFC 7541 5.1).
    #[error("integer too large at offset {0} of the header block")]
    Integer(usize),
    /// Index 0, or one that is in neither table (RFC 7541 2.3.3).
    #[error("no entry {index} in the header tables, at offset {offset} of the header block")]
    Index {
        /// The index.
        index: u32,
        /// Where the field begins.
        offset: usize,
    },
    /// A change of the table's size after a field (RFC 7541 4.2).
    #[error("table size update after a field, at offset {0} of the header block")]
    SizeUpdate(usize),
    /// A string with the end-of-string code or wrong padding (RFC 7541 5.2).
    #[error("bad Huffman code in the string at offset {0} of the header block")]
    Huffman(usize),
    /// More than [`BLOCK_LIMIT`] bytes of fields.
    #[error("header block of over {BLOCK_LIMIT} bytes when decoded, at its offset {0}")]
    TooLarge(usize),
}
