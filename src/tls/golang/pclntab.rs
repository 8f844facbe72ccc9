//! The table of functions of a Go program (`runtime.pcHeader` and what it
//! refers to, `debug/gosym`), as it is since Go 1.18.
//!
//! It is some 30 % of a program. Its names are searched for the wanted ones,
//! and then its functions for those names' offsets: two passes by large reads,
//! 5 ms for a program of 100 MB.

use super::Unreadable;
use crate::tls::elf::{Elf, Function, Place, ReadAt};

/// What the table begins with: Go 1.18, Go 1.20.
const MAGICS: [u32; 2] = [0xffff_fff0, 0xffff_fff1];
/// Go 1.2 and 1.16.
const OLD_MAGICS: [u32; 2] = [0xffff_fffb, 0xffff_fffa];
/// What follows: two zeros, instructions that begin anywhere, 64 bits.
const X86_64: [u8; 4] = [0, 0, 1, 8];
/// Nine words: magic and sizes, the numbers of functions and files, where the
/// code begins, and five offsets of parts of the table.
const HEADER: usize = 72;
/// Where among them stands where the code begins; 0 since Go 1.26.
const TEXT_START: u64 = 24;
/// Where `runtime.moduledata` has that; at its beginning is the address of the
/// table (Go 1.16 to 1.27).
const MODULE_TEXT: u64 = 176;
/// How many functions are looked through. The largest programs have 500,000.
const MAX_FUNCTIONS: u64 = 4 << 20;
/// Longest list of names that is searched, in bytes.
const MAX_NAMES: u64 = 128 << 20;
/// How many names that begin like the wanted ones are looked at.
const MAX_LIKE: usize = 1024;
/// Bytes read at a time.
const CHUNK: usize = 256 << 10;
/// How often, for a table that refers here and there.
const MAX_READS: usize = 1024;

/// A table whose header has been read.
pub(super) struct Table<'a, 'b, R: ReadAt + ?Sized> {
    elf: &'a Elf<'b, R>,
    place: Place,
    functions: u64,
    /// Offsets in the table.
    names: u64,
    names_end: u64,
    entries: u64,
}

/// How many places that look like a table's beginning are looked at.
const MAX_STARTS: usize = 64;

/// The table's place in a part of the file that has no name of its own.
pub(super) fn search<R: ReadAt + ?Sized>(
    elf: &Elf<'_, R>,
    within: Place,
    limit: u64,
) -> Option<Place> {
    let mut starts = 0;
    MAGICS.into_iter().find_map(|magic| {
        let start = [&magic.to_le_bytes()[..], &X86_64].concat();
        elf.search(within, limit, &start, |offset| {
            let inside = offset - within.offset;
            let place = Place {
                address: within.address.checked_add(inside)?,
                offset,
                size: within.size.checked_sub(inside)?,
            };
            starts += 1;
            let found = Table::open(elf, place).is_ok().then_some(place);
            // Or the search is over.
            (found.is_some() || starts >= MAX_STARTS).then_some(found)
        })?
    })
}

impl<'a, 'b, R: ReadAt + ?Sized> Table<'a, 'b, R> {
    /// Reads the header.
    pub(super) fn open(elf: &'a Elf<'b, R>, place: Place) -> Result<Self, Unreadable> {
        let header = elf
            .bytes_at(place.offset, HEADER)
            .map_err(|_| Unreadable::Code)?;
        let (words, _) = header.as_chunks::<8>();
        let [start, words @ ..] = words else {
            return Err(Unreadable::Code);
        };
        let [m0, m1, m2, m3, kind @ ..] = *start;
        match u32::from_le_bytes([m0, m1, m2, m3]) {
            magic if MAGICS.contains(&magic) => {}
            magic if OLD_MAGICS.contains(&magic) => return Err(Unreadable::Old),
            _ => return Err(Unreadable::Unknown),
        }
        let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let &[functions, _, _, names, names_end, _, _, entries] = &words[..] else {
            return Err(Unreadable::Code);
        };
        if kind != X86_64 {
            return Err(Unreadable::Machine);
        }
        let inside = names < names_end
            && names_end <= entries
            && functions > 0
            && functions <= MAX_FUNCTIONS
            && entries < place.size
            && functions * 8 < place.size - entries;
        if !inside {
            return Err(Unreadable::Code);
        }
        Ok(Self {
            elf,
            place,
            functions,
            names,
            names_end,
            entries,
        })
    }

    /// For each of `names`, which all begin with `prefix`, its offset among the
    /// names of the table.
    pub(super) fn names(&self, prefix: &str, names: &[&str]) -> Vec<Option<u32>> {
        let mut found = vec![None; names.len()];
        let longest = names.iter().map(|name| name.len()).max().unwrap_or(0);
        let start = self.place.offset.saturating_add(self.names);
        let place = Place {
            address: 0,
            offset: start,
            size: self.names_end - self.names,
        };
        let mut like = 0;
        self.elf
            .search(place, MAX_NAMES, prefix.as_bytes(), |offset| {
                like += 1;
                if like > MAX_LIKE {
                    return Some(());
                }
                // With the end of the name before it, and its own.
                let length = 1 + prefix.len() + longest + 1;
                let bytes = self.elf.bytes_at(offset.checked_sub(1)?, length).ok()?;
                let name = bytes.get(1 + prefix.len()..)?;
                let end = name.iter().position(|byte| *byte == 0)?;
                let index = names
                    .iter()
                    .position(|wanted| name.get(..end) == Some(wanted.as_bytes()))?;
                if bytes.first() == Some(&0)
                    && let Some(slot @ None) = found.get_mut(index)
                {
                    *slot = u32::try_from(offset - start).ok();
                }
                found.iter().all(Option::is_some).then_some(())
            });
        found
    }

    /// The functions of these names, given by their offsets. `None` when the
    /// table contradicts itself, or it is not known where the code begins.
    pub(super) fn functions(&self, names: &[Option<u32>]) -> Option<Vec<Option<Function>>> {
        let text = self.text()?;
        let mut found = vec![None; names.len()];
        let mut missing = names.iter().flatten().count();
        let mut table = Window::new(self.elf);
        let mut entries = Window::new(self.elf);
        let start = self.place.offset.checked_add(self.entries)?;
        for number in 0..self.functions {
            if missing == 0 {
                break;
            }
            let at = start.checked_add(number * 8)?;
            // The last is followed by where it ends.
            let [entry, entry_of, next] = table.words(at)?;
            let [own_entry, name, _] = entries.words(start.checked_add(u64::from(entry_of))?)?;
            let Some(index) = names.iter().position(|wanted| *wanted == Some(name)) else {
                continue;
            };
            if own_entry != entry || next < entry {
                return None;
            }
            if let Some(slot @ None) = found.get_mut(index) {
                let address = text.checked_add(u64::from(entry))?;
                *slot = Some(Function {
                    offset: self.elf.code_offset(address)?,
                    address,
                    size: u64::from(next - entry),
                });
                missing -= 1;
            }
        }
        Some(found)
    }

    /// The address at which the code of Go begins. C's may be before it.
    fn text(&self) -> Option<u64> {
        let places = self.elf.named_sections(&[".go.module", ".text"]);
        let module = places.first().copied().flatten();
        let section = places.last().copied().flatten();
        if let Some(module) = module {
            let at = module.address.checked_add(MODULE_TEXT)?;
            let [table, text] = self.elf.words([module.address, at]);
            if table == Some(self.place.address) {
                return text;
            }
        }
        let [text] = self
            .elf
            .words([self.place.address.checked_add(TEXT_START)?]);
        text.or(section.map(|section| section.address))
    }
}

/// Reads forward through a file in large steps.
struct Window<'a, 'b, R: ReadAt + ?Sized> {
    elf: &'a Elf<'b, R>,
    start: u64,
    bytes: Vec<u8>,
    reads: usize,
}

impl<'a, 'b, R: ReadAt + ?Sized> Window<'a, 'b, R> {
    fn new(elf: &'a Elf<'b, R>) -> Self {
        Self {
            elf,
            start: 0,
            bytes: Vec::new(),
            reads: MAX_READS,
        }
    }

    /// Three words of 32 bits.
    fn words(&mut self, offset: u64) -> Option<[u32; 3]> {
        if self.read(offset).is_none() {
            self.reads = self.reads.checked_sub(1)?;
            self.bytes = self.elf.bytes_at(offset, CHUNK).ok()?;
            self.start = offset;
        }
        let (words, _) = self.read(offset)?.as_chunks::<4>();
        let &[first, second, third] = words else {
            return None;
        };
        Some([first, second, third].map(u32::from_le_bytes))
    }

    fn read(&self, offset: u64) -> Option<&[u8; 12]> {
        let inside = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.bytes.get(inside..)?.first_chunk()
    }
}
