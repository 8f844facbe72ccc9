//! Which symbol a slot is filled with when the file is loaded.

use goblin::elf::Symtab;
use goblin::elf::section_header::{SHF_ALLOC, SHT_RELA};
use goblin::elf::sym::sym64::SIZEOF_SYM;

use super::{Elf, ReadAt};

/// Longest table of relocations that is searched, in bytes.
const MAX_RELOCATIONS: u64 = 16 << 20;
/// Longest name that is compared, in bytes.
const MAX_NAME: usize = 128;
/// Bytes of a relocation with an addend, 64 bits.
const ENTRY: usize = 24;

impl<R: ReadAt + ?Sized> Elf<'_, R> {
    /// Whether the word at `address` is filled with the address of the symbol
    /// `name`, wherever that comes from. Slots of calls through the procedure
    /// linkage table are such words.
    ///
    /// Little-endian 64-bit files with addends only (x86-64, arm64); no answer
    /// is `false`.
    #[must_use]
    pub fn slot_holds(&self, address: u64, name: &str) -> bool {
        self.slot(address, name).unwrap_or(false)
    }

    fn slot(&self, address: u64, name: &str) -> Option<bool> {
        let sections = self.sections().ok()?;
        // In all: sections may overlap, and there may be thousands.
        let mut left = MAX_RELOCATIONS;
        for section in &sections {
            if section.sh_type != SHT_RELA
                || section.sh_flags & u64::from(SHF_ALLOC) == 0
                || section.sh_size > left
            {
                continue;
            }
            left -= section.sh_size;
            let bytes = self.read(section.sh_offset, section.sh_size).ok()?;
            let word = |entry: &[u8], at: usize| -> Option<u64> {
                let bytes = entry.get(at..at.checked_add(8)?)?;
                Some(u64::from_le_bytes(bytes.try_into().ok()?))
            };
            let Some(entry) = bytes
                .chunks_exact(ENTRY)
                .find(|entry| word(entry, 0) == Some(address))
            else {
                continue;
            };
            let index = word(entry, 8)? >> 32;
            let symbols = sections.get(section.sh_link as usize)?;
            let size = SIZEOF_SYM as u64;
            let at = symbols.sh_offset.checked_add(index.checked_mul(size)?)?;
            let bytes = self.read(at, size).ok()?;
            let symbol = Symtab::parse(&bytes, 0, 1, self.context).ok()?.get(0)?;
            let strings = sections.get(symbols.sh_link as usize)?;
            let at = strings.sh_offset.checked_add(symbol.st_name as u64)?;
            let text = self.bytes_at(at, MAX_NAME).ok()?;
            let end = memchr::memchr(0, &text)?;
            return Some(text.get(..end)? == name.as_bytes());
        }
        None
    }
}
