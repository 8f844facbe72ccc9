//! Decoding of header blocks (RFC 7541 3, 6).

use std::io::Write as _;

use super::huffman::{self, Fault};
use super::integer::Input;
use super::statics;
use super::table::{Entry, Known, Table};
use super::{Error, Field};

/// Most that one block gives: bytes of names and values and 32 for each field
/// (as RFC 9113 6.5.2 counts a header list). A block of one byte per field can
/// stand for a thousand times its size; servers and browsers take 16 to 256
/// KiB.
pub const BLOCK_LIMIT: usize = 1 << 20;

/// What a field counts besides its bytes.
const OVERHEAD: usize = 32;

/// Scratch memory that is kept from block to block, in bytes.
const SCRATCH_KEPT: usize = 4096;

/// The decoder of one direction of a connection. It holds at most 192 KiB
/// between blocks, most often the few KiB of the table that the encoder uses.
#[derive(Clone, Debug)]
pub struct Decoder {
    table: Table,
    /// What a name or value was decoded into; not all of it is in use.
    name: Vec<u8>,
    value: Vec<u8>,
}

/// Where a name is.
#[derive(Clone, Copy)]
enum Name<'b> {
    /// In the block or in the static table.
    There(&'b [u8]),
    /// In scratch memory, so many bytes.
    Scratch(usize),
    /// In the dynamic table.
    Entry(Entry),
    /// Nowhere: a placeholder in scratch memory, so many bytes.
    Unknown(usize),
}

/// Where a value is.
#[derive(Clone, Copy)]
enum Text<'b> {
    /// In the block.
    There(&'b [u8]),
    /// In scratch memory, so many bytes.
    Scratch(usize),
}

impl Decoder {
    /// A decoder of a direction.
    ///
    /// `from_start`: all its blocks are seen. Otherwise what lies beyond the
    /// entries inserted since is unknown.
    #[must_use]
    pub fn new(from_start: bool) -> Self {
        Self {
            table: Table::new(from_start),
            name: Vec::new(),
            value: Vec::new(),
        }
    }

    /// Takes `SETTINGS_HEADER_TABLE_SIZE`, in bytes, that the receiver of
    /// these blocks announced. However large, at most
    /// [`super::TABLE_LIMIT`] is kept. What it lowers, the encoder still
    /// indexes until it says otherwise in a block (RFC 7541 4.2).
    pub fn set_limit(&mut self, size: u32) {
        self.table.allow(size);
    }

    /// A block, or a part of one, was lost: nothing inserted before can be
    /// indexed any more.
    pub fn lost(&mut self) {
        self.table.forget();
    }

    /// Bytes of memory held besides the decoder itself.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.table.memory() + self.name.capacity() + self.value.capacity()
    }

    /// Decodes one whole header block: the fragments of HEADERS or
    /// `PUSH_PROMISE` and of what continues them, joined. `each` gets every
    /// field in order.
    ///
    /// On an error the fields before it were given and the table is as after
    /// [`Self::lost`].
    pub fn decode<F>(&mut self, block: &[u8], each: &mut F) -> Result<(), Error>
    where
        F: FnMut(Field<'_>),
    {
        let result = self.block(block, each);
        if result.is_err() {
            self.lost();
        }
        for scratch in [&mut self.name, &mut self.value] {
            if scratch.capacity() > SCRATCH_KEPT {
                *scratch = Vec::new();
            }
        }
        result
    }

    fn block<F>(&mut self, block: &[u8], each: &mut F) -> Result<(), Error>
    where
        F: FnMut(Field<'_>),
    {
        let mut input = Input::new(block);
        let mut room = BLOCK_LIMIT;
        let mut fields = false;
        loop {
            let offset = input.offset();
            let Some(first) = input.next() else {
                return Ok(());
            };
            if first & 0x80 != 0 {
                let index = input.integer(first, 0x7f)?;
                self.indexed(index, offset, &mut room, each)?;
            } else if first & 0x40 != 0 {
                let index = input.integer(first, 0x3f)?;
                self.literal(&mut input, index, offset, &mut room, Kind::Indexing, each)?;
            } else if first & 0x20 != 0 {
                let size = input.integer(first, 0x1f)?;
                if fields {
                    return Err(Error::SizeUpdate(offset));
                }
                self.table.resize(size);
                continue;
            } else {
                let kind = if first & 0x10 != 0 {
                    Kind::Never
                } else {
                    Kind::Plain
                };
                let index = input.integer(first, 0x0f)?;
                self.literal(&mut input, index, offset, &mut room, kind, each)?;
            }
            fields = true;
        }
    }

    /// A field that is in a table (RFC 7541 6.1).
    #[inline]
    fn indexed<F>(
        &mut self,
        index: u32,
        offset: usize,
        room: &mut usize,
        each: &mut F,
    ) -> Result<(), Error>
    where
        F: FnMut(Field<'_>),
    {
        let (name, value, unknown) = match self.find(index, offset)? {
            Found::Static(name, value) => (name, value, false),
            Found::Entry(entry) => {
                let (name, value) = self.table.field(entry);
                (name, value, entry.known != Known::All)
            }
            Found::Unknown => {
                let n = placeholder(index, &mut self.name);
                let text = self.name.get(..n).unwrap_or_default();
                (text, text, true)
            }
        };
        let field = Field {
            name,
            value,
            never_indexed: false,
            unknown,
        };
        give(field, offset, room, each)
    }

    /// A field of which at least the value is in the block (RFC 7541 6.2).
    #[inline]
    fn literal<'b, F>(
        &mut self,
        input: &mut Input<'b>,
        index: u32,
        offset: usize,
        room: &mut usize,
        kind: Kind,
        each: &mut F,
    ) -> Result<(), Error>
    where
        F: FnMut(Field<'_>),
    {
        let at = if index == 0 {
            match string(input, *room, &mut self.name)? {
                Text::There(name) => Name::There(name),
                Text::Scratch(n) => Name::Scratch(n),
            }
        } else {
            match self.find(index, offset)? {
                Found::Static(name, _) => Name::There(name),
                Found::Entry(entry) => Name::Entry(entry),
                Found::Unknown => Name::Unknown(placeholder(index, &mut self.name)),
            }
        };
        let text: Text<'b> = string(input, *room, &mut self.value)?;
        let (name, known) = match at {
            Name::There(name) => (name, Known::All),
            Name::Scratch(n) => (self.name.get(..n).unwrap_or_default(), Known::All),
            Name::Entry(entry) => (self.table.name(entry), entry.known),
            Name::Unknown(n) => (self.name.get(..n).unwrap_or_default(), Known::Value),
        };
        let value = match text {
            Text::There(value) => value,
            Text::Scratch(n) => self.value.get(..n).unwrap_or_default(),
        };
        let field = Field {
            name,
            value,
            never_indexed: matches!(kind, Kind::Never),
            unknown: known != Known::All,
        };
        give(field, offset, room, each)?;
        if matches!(kind, Kind::Indexing) {
            match at {
                Name::There(name) => self.table.insert(name, value, known),
                Name::Entry(entry) => self.table.insert_again(entry, value),
                Name::Scratch(n) | Name::Unknown(n) => {
                    let name = self.name.get(..n).unwrap_or_default();
                    self.table.insert(name, value, known);
                }
            }
        }
        Ok(())
    }

    /// What is at `index` of both tables (RFC 7541 2.3.3).
    #[inline]
    fn find(&self, index: u32, offset: usize) -> Result<Found, Error> {
        let place = index as usize;
        if let Some((name, value)) = statics::get(place) {
            return Ok(Found::Static(name, value));
        }
        let Some(place) = place.checked_sub(statics::COUNT + 1) else {
            return Err(Error::Index { index, offset });
        };
        match self.table.get(place) {
            Some(entry) if entry.known != Known::Nothing => Ok(Found::Entry(entry)),
            Some(_) => Ok(Found::Unknown),
            None if self.table.may_have(place) => Ok(Found::Unknown),
            None => Err(Error::Index { index, offset }),
        }
    }
}

/// What an index stands for.
enum Found {
    Static(&'static [u8], &'static [u8]),
    Entry(Entry),
    /// What is not known any more, or was never seen.
    Unknown,
}

/// What is to be done with a literal field.
#[derive(Clone, Copy)]
enum Kind {
    /// It is inserted into the table (RFC 7541 6.2.1).
    Indexing,
    /// It is not (RFC 7541 6.2.2).
    Plain,
    /// It never is (RFC 7541 6.2.3).
    Never,
}

/// Gives a field, if the block does not give too much.
#[inline]
fn give<F>(field: Field<'_>, offset: usize, room: &mut usize, each: &mut F) -> Result<(), Error>
where
    F: FnMut(Field<'_>),
{
    let size = OVERHEAD + field.name.len() + field.value.len();
    *room = room.checked_sub(size).ok_or(Error::TooLarge(offset))?;
    each(field);
    Ok(())
}

/// A string (RFC 7541 5.2) of at most `room` bytes, into `scratch` if it is
/// coded.
#[inline]
fn string<'b>(
    input: &mut Input<'b>,
    room: usize,
    scratch: &mut Vec<u8>,
) -> Result<Text<'b>, Error> {
    let offset = input.offset();
    let first = input.byte()?;
    let length = input.integer(first, 0x7f)?;
    let bytes = input.take(length)?;
    if first & 0x80 == 0 {
        return Ok(Text::There(bytes));
    }
    match huffman::decode(bytes, room, scratch) {
        Ok(n) => Ok(Text::Scratch(n)),
        Err(Fault::Code) => Err(Error::Huffman(offset)),
        Err(Fault::Long) => Err(Error::TooLarge(offset)),
    }
}

/// Writes what stands for the unknown entry `index` into the beginning of
/// `scratch` and says how long it is.
#[cold]
fn placeholder(index: u32, scratch: &mut Vec<u8>) -> usize {
    scratch.clear();
    // A write into a vector does not fail.
    let _ = write!(scratch, "<unknown:{index}>");
    scratch.len()
}
