//! Where things are that have no symbol: sections by name, words that the
//! loader fills in, bytes searched for.

use goblin::container::Container;
use goblin::elf::program_header::{PF_W, PF_X, PT_LOAD};
use goblin::elf::section_header::{SHF_ALLOC, SHT_NOBITS, SHT_RELA};

use super::{CHUNK, Elf, MAX_SECTION_NAMES, ReadAt, read_full};

/// Longest table of relocations that is searched, in bytes (1.4 million
/// entries; a Go program of 100 MB has a third of that).
const MAX_RELOCATIONS: u64 = 32 << 20;
/// `R_X86_64_RELATIVE` and `R_AARCH64_RELATIVE`: the word becomes the addend
/// plus the address at which the file is loaded.
const RELATIVE: [u64; 2] = [8, 1027];

/// A run of bytes in a file and where it is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its first byte's address before relocation.
    pub address: u64,
    /// Its first byte's offset in the file.
    pub offset: u64,
    /// Its length in the file, in bytes.
    pub size: u64,
}

impl<R: ReadAt + ?Sized> Elf<'_, R> {
    /// The sections of these names, in their order; `None` for one that is
    /// not there, has no bytes in the file or lies outside it. Damaged tables
    /// have no sections.
    #[must_use]
    pub fn named_sections(&self, names: &[&str]) -> Vec<Option<Place>> {
        let mut found = vec![None; names.len()];
        let Ok(sections) = self.sections() else {
            return found;
        };
        let Some(texts) = sections
            .get(usize::from(self.header.e_shstrndx))
            .filter(|texts| texts.sh_size <= MAX_SECTION_NAMES)
            .and_then(|texts| self.read(texts.sh_offset, texts.sh_size).ok())
        else {
            return found;
        };
        for section in &sections {
            let inside = section
                .sh_offset
                .checked_add(section.sh_size)
                .is_some_and(|end| end <= self.size);
            if section.sh_type == SHT_NOBITS || !inside {
                continue;
            }
            let text = texts.get(section.sh_name..).unwrap_or_default();
            let Some(index) = names.iter().position(|name| {
                text.strip_prefix(name.as_bytes())
                    .is_some_and(|rest| rest.first() == Some(&0))
            }) else {
                continue;
            };
            if let Some(slot @ None) = found.get_mut(index) {
                *slot = Some(Place {
                    address: section.sh_addr,
                    offset: section.sh_offset,
                    size: section.sh_size,
                });
            }
        }
        found
    }

    /// Whether the file has a table of sections at all.
    #[must_use]
    pub fn has_sections(&self) -> bool {
        self.header.e_shnum != 0 && self.header.e_shoff != 0
    }

    /// What is loaded and not executed: constants (`writable` false) or data.
    #[must_use]
    pub fn loaded(&self, writable: bool) -> Vec<Place> {
        self.segments
            .iter()
            .filter(|segment| {
                segment.p_type == PT_LOAD
                    && segment.p_flags & PF_X == 0
                    && (segment.p_flags & PF_W != 0) == writable
                    && segment.p_offset < self.size
            })
            .map(|segment| Place {
                address: segment.p_vaddr,
                offset: segment.p_offset,
                size: segment.p_filesz.min(self.size - segment.p_offset),
            })
            .collect()
    }

    /// The bytes loaded at `address`, as the file has them; fewer at the end of
    /// what is loaded there, none where nothing is.
    #[must_use]
    pub fn memory(&self, address: u64, length: usize) -> Vec<u8> {
        let Some(offset) = self.data_offset(address) else {
            return Vec::new();
        };
        self.bytes_at(offset, length).unwrap_or_default()
    }

    /// Words of 64 bits as they are once the file has been loaded, but for the
    /// address at which that is: those that the file has as 0 are looked up in
    /// its relocations, all in one pass. `None` where there is neither.
    #[must_use]
    pub fn words<const N: usize>(&self, addresses: [u64; N]) -> [Option<u64>; N] {
        let little = self.context.le.is_little();
        let mut words = addresses.map(|address| {
            let bytes = self.memory(address, 8);
            let bytes = <[u8; 8]>::try_from(bytes).ok()?;
            let word = if little {
                u64::from_le_bytes(bytes)
            } else {
                u64::from_be_bytes(bytes)
            };
            (word != 0).then_some(word)
        });
        if words.contains(&None) && little && self.context.container == Container::Big {
            self.relocated(&addresses, &mut words);
        }
        words
    }

    /// Fills in the words that relocations set.
    fn relocated(&self, addresses: &[u64], words: &mut [Option<u64>]) {
        const ENTRY: usize = 24;
        let tables = self.sections().unwrap_or_default();
        let mut budget = MAX_RELOCATIONS;
        let mut buffer = Vec::new();
        for table in tables.iter().filter(|section| {
            section.sh_type == SHT_RELA
                && section.sh_flags & u64::from(SHF_ALLOC) != 0
                && section.sh_entsize == ENTRY as u64
        }) {
            let length = table.sh_size.min(budget);
            budget -= length;
            let mut position = 0;
            while position < length && words.contains(&None) {
                buffer.resize(CHUNK / ENTRY * ENTRY, 0);
                let want = (length - position).min(buffer.len() as u64) as usize;
                let window = buffer.get_mut(..want).unwrap_or_default();
                let got = read_full(self.file, table.sh_offset.saturating_add(position), window)
                    .unwrap_or(0);
                let (entries, _) = window.get(..got).unwrap_or_default().as_chunks::<ENTRY>();
                for entry in entries {
                    let (parts, _) = entry.as_chunks::<8>();
                    let [place, info, addend] = parts else {
                        continue;
                    };
                    let place = u64::from_le_bytes(*place);
                    if let Some(index) = addresses.iter().position(|address| *address == place)
                        && RELATIVE.contains(&u64::from_le_bytes(*info))
                        && let Some(slot @ None) = words.get_mut(index)
                    {
                        *slot = Some(u64::from_le_bytes(*addend));
                    }
                }
                if got < want {
                    break;
                }
                position += got as u64;
            }
        }
    }

    /// Offsets in the file at which `needle` stands in a place, at most
    /// `limit` bytes of which are searched, until `accept` answers.
    pub fn search<T>(
        &self,
        place: Place,
        limit: u64,
        needle: &[u8],
        mut accept: impl FnMut(u64) -> Option<T>,
    ) -> Option<T> {
        let finder = memchr::memmem::Finder::new(needle);
        let length = place.size.min(limit);
        let mut buffer = vec![0; CHUNK.min(usize::try_from(length).ok()?)];
        let mut position = 0;
        while position < length {
            let want = (length - position).min(buffer.len() as u64) as usize;
            let window = buffer.get_mut(..want)?;
            let start = place.offset.checked_add(position)?;
            let got = read_full(self.file, start, window).ok()?;
            let window = window.get(..got)?;
            for at in finder.find_iter(window) {
                if let Some(answer) = accept(start + at as u64) {
                    return Some(answer);
                }
            }
            if got < want || position + got as u64 >= length || got < needle.len() {
                break;
            }
            position += (got - (needle.len() - 1).min(got - 1)) as u64;
        }
        None
    }
}
