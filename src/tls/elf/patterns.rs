//! Finds functions whose names are known in part only: those of Rust, which
//! hold types, crates and a hash.
//!
//! As for whole names, the string table is searched, and no name is built or
//! demangled; a file without such names costs one pass over its strings.

use goblin::elf::SectionHeader;
use goblin::elf::section_header::{SHT_DYNSYM, SHT_SYMTAB};
use memchr::memmem::Finder;

use super::symbols::{Function, MAX_STRINGS, Place};
use super::{CHUNK, Elf, ElfError, ReadAt, read_full};

/// Longest name that is recognised, in bytes.
const MAX_NAME: usize = 2048;
/// How many names are followed.
const MAX_PLACES: usize = 256;

/// What a name looks like.
#[derive(Clone, Copy, Debug)]
pub struct NamePattern {
    /// It begins so,
    pub prefix: &'static str,
    /// has this in it,
    pub contains: &'static str,
    /// and after it one of these (0 is the end of the name); anything if there
    /// are none.
    pub then: &'static [u8],
}

impl NamePattern {
    /// Whether the name in `table` is this, which `contains` stands in at
    /// `at`; then where it begins.
    fn matches(&self, table: &[u8], at: usize) -> Option<usize> {
        let before = table.get(at.saturating_sub(MAX_NAME)..at)?;
        let start = at - before.len() + memchr::memrchr(0, before)? + 1;
        let next = table.get(at + self.contains.len())?;
        let fits = table.get(start..at)?.starts_with(self.prefix.as_bytes())
            && (self.then.is_empty() || self.then.contains(next));
        fits.then_some(start)
    }
}

impl<R: ReadAt + ?Sized> Elf<'_, R> {
    /// Finds the functions whose name fits one of several patterns, for each
    /// such group, in the order of the file's symbols and each once. At most
    /// 256 names are followed.
    ///
    /// # Errors
    /// When a symbol table is damaged or larger than is read.
    pub fn functions_like(
        &self,
        groups: &[&[NamePattern]],
    ) -> Result<Vec<Vec<Function>>, ElfError> {
        let sections = self.sections()?;
        let mut found = vec![Vec::<Function>::new(); groups.len()];
        for kind in [SHT_DYNSYM, SHT_SYMTAB] {
            let Some(table) = sections.iter().find(|section| section.sh_type == kind) else {
                continue;
            };
            let strings = sections
                .get(table.sh_link as usize)
                .ok_or(ElfError::Malformed("symbols without names"))?;
            let places = self.places_like(strings, groups)?;
            if places.is_empty() {
                continue;
            }
            self.each_symbol(table, &places, |group, _, function| {
                if let Some(functions) = found.get_mut(group)
                    && functions.iter().all(|f| f.offset != function.offset)
                {
                    functions.push(function);
                }
                true
            })?;
        }
        Ok(found)
    }

    /// Where names begin that fit, with their group, sorted.
    fn places_like(
        &self,
        strings: &SectionHeader,
        groups: &[&[NamePattern]],
    ) -> Result<Vec<Place>, ElfError> {
        let size = self.bounded(strings, MAX_STRINGS, "string table")?;
        let patterns: Vec<_> = groups
            .iter()
            .enumerate()
            .flat_map(|(group, patterns)| patterns.iter().map(move |pattern| (group, pattern)))
            .map(|(group, pattern)| (group, pattern, Finder::new(pattern.contains)))
            .collect();
        // A name across the boundary is seen whole in the next window.
        let overlap = 2 * MAX_NAME;
        let mut places = Vec::new();
        let mut buffer = vec![0; CHUNK.min(size as usize)];
        let mut position = 0;
        while position < size {
            let want = buffer.len().min((size - position) as usize);
            let window = buffer.get_mut(..want).unwrap_or_default();
            let got = read_full(self.file, strings.sh_offset + position, window)?;
            let window = window.get(..got).unwrap_or_default();
            for (group, pattern, finder) in &patterns {
                let room = MAX_PLACES.saturating_sub(places.len());
                let starts = finder
                    .find_iter(window)
                    .filter_map(|at| pattern.matches(window, at));
                places.extend(starts.take(room).map(|at| (position as usize + at, *group)));
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
}

#[cfg(test)]
mod tests {
    use super::*;

    const V0: NamePattern = NamePattern {
        prefix: "_RNvX",
        contains: "16MessageEncrypter7encrypt",
        then: b"\0.BC",
    };

    #[test]
    fn a_name_is_matched_from_its_beginning() {
        for (table, expected) in [
            (&b"\0_RNvXs_16MessageEncrypter7encrypt\0"[..], Some(1)),
            (b"x\0_RNvXs_16MessageEncrypter7encryptB2_\0", Some(2)),
            // A closure in it, and another function.
            (b"\0_RNvXs_16MessageEncrypter7encrypt0B2_\0", None),
            (b"\0_RNCNvXs_16MessageEncrypter7encrypt\0", None),
            // The end of it is not there.
            (b"\0_RNvXs_16MessageEncrypter7encrypt", None),
            (b"_RNvXs_16MessageEncrypter7encrypt\0", None),
        ] {
            let at = memchr::memmem::find(table, V0.contains.as_bytes()).unwrap();
            assert_eq!(
                V0.matches(table, at),
                expected,
                "{}",
                String::from_utf8_lossy(table)
            );
        }
    }
}
