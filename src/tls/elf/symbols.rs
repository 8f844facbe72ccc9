//! Finds functions by name in an ELF file's symbol tables.
//!
//! Strings are not built: the string table is searched for the wanted names
//! (memchr runs at several GB/s), and the symbols are then compared by the
//! offset of their name. A file without the names costs one pass over its
//! strings and no look at its symbols.

use goblin::elf::section_header::{SHT_DYNSYM, SHT_SYMTAB};
use goblin::elf::sym::{STB_LOCAL, STT_FUNC, Sym, Symtab, st_bind};
use goblin::elf::{SectionHeader, sym};

use super::{CHUNK, Elf, ElfError, ReadAt, read_full};

/// Longest string table that is searched, in bytes.
pub(super) const MAX_STRINGS: u64 = 256 << 20;
/// Longest symbol table that is searched, in bytes.
const MAX_SYMBOLS: u64 = 256 << 20;
/// How many places of the names in a string table are followed. Linkers write
/// each name once, or a few times as the end of another.
const MAX_PLACES: usize = 256;

/// A function in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Offset of its first instruction in the file, in bytes: what a uprobe
    /// takes.
    pub offset: u64,
    /// Its address before relocation (`st_value`).
    pub address: u64,
    /// Its length in bytes, 0 when the symbol does not say.
    pub size: u64,
}

/// A name in a string table: its offset there, and which wanted name it is.
pub(super) type Place = (usize, usize);

impl<R: ReadAt + ?Sized> Elf<'_, R> {
    /// Finds functions by name, in the order of `names`; `None` for what is
    /// not defined here. The exported symbols come first, then the full
    /// table for the names that are still missing.
    ///
    /// Undefined symbols, data and IFUNCs (their symbol is the resolver, not
    /// the function) are passed over.
    ///
    /// # Errors
    /// When a symbol table is damaged or larger than is read.
    pub fn functions(&self, names: &[&str]) -> Result<Vec<Option<Function>>, ElfError> {
        let sections = self.sections()?;
        let mut found = vec![None; names.len()];
        for kind in [SHT_DYNSYM, SHT_SYMTAB] {
            // There may be one of each kind only (gABI): a file with more is
            // not worth the time.
            let table = sections.iter().find(|section| section.sh_type == kind);
            if let Some(table) = table {
                if found.iter().all(Option::is_some) {
                    return Ok(found);
                }
                let strings = sections
                    .get(table.sh_link as usize)
                    .ok_or(ElfError::Malformed("symbols without names"))?;
                let places = self.places(strings, names, &found)?;
                if !places.is_empty() {
                    self.match_symbols(table, &places, &mut found)?;
                }
            }
        }
        Ok(found)
    }

    /// Where the names that are still wanted stand in a string table, sorted.
    fn places(
        &self,
        strings: &SectionHeader,
        names: &[&str],
        found: &[Option<Function>],
    ) -> Result<Vec<Place>, ElfError> {
        let size = self.bounded(strings, MAX_STRINGS, "string table")?;
        let wanted: Vec<(usize, Vec<u8>)> = names
            .iter()
            .enumerate()
            .filter(|(index, _)| found.get(*index).is_some_and(Option::is_none))
            .map(|(index, name)| (index, [name.as_bytes(), b"\0"].concat()))
            .collect();
        let finders: Vec<_> = wanted
            .iter()
            .map(|(index, name)| (*index, memchr::memmem::Finder::new(name)))
            .collect();
        let overlap = wanted
            .iter()
            .map(|(_, name)| name.len().saturating_sub(1))
            .max()
            .unwrap_or(0);
        let mut places = Vec::new();
        let mut buffer = vec![0; CHUNK.min(size as usize)];
        let mut position = 0;
        while position < size {
            let want = buffer.len().min((size - position) as usize);
            let window = buffer.get_mut(..want).unwrap_or_default();
            let got = read_full(self.file, strings.sh_offset + position, window)?;
            let window = window.get(..got).unwrap_or_default();
            for (index, finder) in &finders {
                let room = MAX_PLACES.saturating_sub(places.len());
                for at in finder.find_iter(window).take(room) {
                    places.push((position as usize + at, *index));
                }
            }
            if got < want || position + got as u64 >= size || got <= overlap {
                break;
            }
            position += (got - overlap) as u64;
        }
        places.sort_unstable();
        places.dedup();
        Ok(places)
    }

    /// Fills in the functions whose symbols have their name at `places`.
    fn match_symbols(
        &self,
        table: &SectionHeader,
        places: &[Place],
        found: &mut [Option<Function>],
    ) -> Result<(), ElfError> {
        // A global of the name is the library's; a local one may be a
        // namesake, and counts only where there is no other.
        let mut locals = vec![None; found.len()];
        self.each_symbol(table, places, |index, symbol, function| {
            let slots = if st_bind(symbol.st_info) == STB_LOCAL {
                &mut locals
            } else {
                &mut *found
            };
            if let Some(slot) = slots.get_mut(index) {
                slot.get_or_insert(function);
            }
            !found.iter().all(Option::is_some)
        })?;
        for (slot, local) in found.iter_mut().zip(locals) {
            *slot = slot.or(local);
        }
        Ok(())
    }

    /// Gives `accept` the functions whose symbols have their name at `places`,
    /// with the second half of the place, until it wants no more.
    pub(super) fn each_symbol(
        &self,
        table: &SectionHeader,
        places: &[Place],
        mut accept: impl FnMut(usize, &Sym, Function) -> bool,
    ) -> Result<(), ElfError> {
        let size = self.bounded(table, MAX_SYMBOLS, "symbol table")?;
        let entry = symbol_size(self.context);
        if table.sh_entsize != entry as u64 {
            return Err(ElfError::Malformed("symbol size"));
        }
        let mut buffer = vec![0; (CHUNK / entry * entry).min(size as usize / entry * entry)];
        let mut position = 0;
        while position < size {
            let want = buffer.len().min((size - position) as usize) / entry * entry;
            let window = buffer.get_mut(..want).unwrap_or_default();
            let got = read_full(self.file, table.sh_offset + position, window)? / entry * entry;
            if got == 0 {
                break;
            }
            let window = window.get(..got).unwrap_or_default();
            let symbols = Symtab::parse(window, 0, got / entry, self.context)
                .map_err(|_| ElfError::Malformed("symbol table"))?;
            for symbol in &symbols {
                let first = places.partition_point(|(at, _)| *at < symbol.st_name);
                let Some((_, index)) = places.get(first).filter(|(at, _)| *at == symbol.st_name)
                else {
                    continue;
                };
                if let Some(function) = self.function(&symbol)
                    && !accept(*index, &symbol, function)
                {
                    return Ok(());
                }
            }
            position += got as u64;
        }
        Ok(())
    }

    /// The function a symbol defines in this file.
    fn function(&self, symbol: &Sym) -> Option<Function> {
        if symbol.st_shndx == 0 || symbol.st_value == 0 || sym::st_type(symbol.st_info) != STT_FUNC
        {
            return None;
        }
        Some(Function {
            offset: self.code_offset(symbol.st_value)?,
            address: symbol.st_value,
            size: symbol.st_size,
        })
    }

    /// The size of a section that lies inside the file and below `limit`.
    pub(super) fn bounded(
        &self,
        section: &SectionHeader,
        limit: u64,
        what: &'static str,
    ) -> Result<u64, ElfError> {
        if section.sh_size > limit {
            return Err(ElfError::TooLarge(what));
        }
        if section
            .sh_offset
            .checked_add(section.sh_size)
            .is_none_or(|end| end > self.size)
        {
            return Err(ElfError::Malformed("a table beyond its end"));
        }
        Ok(section.sh_size)
    }
}

/// Bytes of one symbol: 24 in 64-bit files, 16 in 32-bit ones.
fn symbol_size(context: goblin::container::Ctx) -> usize {
    match context.container {
        goblin::container::Container::Little => sym::sym32::SIZEOF_SYM,
        goblin::container::Container::Big => sym::sym64::SIZEOF_SYM,
    }
}
