//! Reads what is needed of an ELF file, and nothing else.
//!
//! The file may be a hundred megabytes, may belong to somebody hostile and may
//! shrink while it is read: so there is no mmap (a shrinking file is SIGBUS)
//! and no parse of the whole, only bounded reads of the ranges that a question
//! needs. goblin decodes the structures, this module decides which bytes it is
//! given.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use goblin::container::{Container, Ctx};
use goblin::elf::header::{EM_386, EM_AARCH64, EM_X86_64, ET_DYN, ET_EXEC};
use goblin::elf::program_header::{PF_X, PT_LOAD, PT_NOTE};
use goblin::elf::section_header::SHF_ALLOC;
use goblin::elf::{Header, ProgramHeader, SectionHeader};

mod dynamic;
mod frames;
mod imports;
mod patterns;
mod places;
mod symbols;
#[cfg(test)]
mod tests;

pub use dynamic::Dynamic;
pub use patterns::NamePattern;
pub use places::Place;
pub use symbols::Function;

/// Longest run of notes that is searched for a build id, in bytes.
const MAX_NOTES: u64 = 64 << 10;
/// Longest table of section names that is read, in bytes.
const MAX_SECTION_NAMES: u64 = 1 << 20;
/// Bytes read at a time where a range is searched: fits a core's cache.
const CHUNK: usize = 256 << 10;
/// How much constant data is searched for a text, in bytes.
const MAX_SEARCH: u64 = 256 << 20;

/// Why a file could not be read as ELF.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// It does not begin as an ELF file does.
    #[error("not an ELF file")]
    NotElf,
    /// A program or library of another machine.
    #[error("made for another kind of processor or for 32 bits ({0})")]
    Foreign(&'static str),
    /// A part is missing or contradicts another.
    #[error("damaged ELF file: {0}")]
    Malformed(&'static str),
    /// A Go program with TLS that cannot be read.
    #[error("crypto/tls of {library} cannot be attached to: {reason}")]
    Go {
        /// Name and version: `Go 1.16.15`.
        library: String,
        /// Why.
        reason: crate::tls::golang::Unreadable,
    },
    /// Larger than what is read.
    #[error("its {0} is larger than httpsniff reads")]
    TooLarge(&'static str),
    /// Not all the ends of its functions are known, and return probes are
    /// not to be used.
    #[error(
        "not all instructions at which its functions return could be found, and return probes \
         are left out (--no-uretprobes, or because this kernel's would kill programs that \
         confine themselves by seccomp)"
    )]
    Exits,
    /// The read failed.
    #[error("cannot read it: {0}")]
    Io(#[from] io::Error),
}

/// Something that can be read at any offset: a file, or bytes in tests.
pub trait ReadAt {
    /// As [`FileExt::read_at`].
    ///
    /// # Errors
    /// Those of the system call.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Length in bytes.
    ///
    /// # Errors
    /// Those of the system call.
    fn length(&self) -> io::Result<u64>;
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.get(offset..))
            .unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

/// An ELF program or shared library whose headers have been read.
pub struct Elf<'a, R: ReadAt + ?Sized> {
    file: &'a R,
    size: u64,
    header: Header,
    context: Ctx,
    segments: Vec<ProgramHeader>,
}

impl<'a, R: ReadAt + ?Sized> Elf<'a, R> {
    /// Reads the file header and the program headers.
    ///
    /// # Errors
    /// When it is no ELF program or library, or its headers lie outside the
    /// file.
    pub fn open(file: &'a R) -> Result<Self, ElfError> {
        let size = file.length()?;
        let mut start = [0; 64];
        let got = read_full(file, 0, &mut start)?;
        let start = start.get(..got).unwrap_or_default();
        if !start.starts_with(b"\x7fELF") {
            return Err(ElfError::NotElf);
        }
        let header = goblin::elf::Elf::parse_header(start)
            .map_err(|_| ElfError::Malformed("file header"))?;
        if header.e_type != ET_EXEC && header.e_type != ET_DYN {
            return Err(ElfError::Malformed("neither program nor library"));
        }
        let container = header
            .container()
            .map_err(|_| ElfError::Malformed("class"))?;
        let endian = header
            .endianness()
            .map_err(|_| ElfError::Malformed("byte order"))?;
        let mut elf = Self {
            file,
            size,
            context: Ctx::new(container, endian),
            header,
            segments: Vec::new(),
        };
        let count = usize::from(elf.header.e_phnum);
        let entry = ProgramHeader::size(elf.context);
        if count > 0 {
            if usize::from(elf.header.e_phentsize) != entry {
                return Err(ElfError::Malformed("program header size"));
            }
            let bytes = elf.read(elf.header.e_phoff, (count * entry) as u64)?;
            elf.segments = ProgramHeader::parse(&bytes, 0, count, elf.context)
                .map_err(|_| ElfError::Malformed("program headers"))?;
        }
        Ok(elf)
    }

    /// Says why no probe can be placed in this file on this machine: the
    /// probes read the registers of 64-bit code of the machine's own kind.
    ///
    /// # Errors
    /// [`ElfError::Foreign`].
    pub fn native(&self) -> Result<(), ElfError> {
        let machine = self.header.e_machine;
        let own = match std::env::consts::ARCH {
            "x86_64" => EM_X86_64,
            "aarch64" => EM_AARCH64,
            _ => machine,
        };
        if machine == own && self.context.container == Container::Big {
            return Ok(());
        }
        Err(ElfError::Foreign(match machine {
            EM_386 => "i386",
            EM_X86_64 if self.context.container == Container::Big => "x86-64",
            EM_X86_64 => "x32",
            EM_AARCH64 => "arm64",
            _ => "another machine",
        }))
    }

    /// The ELF machine number (`EM_X86_64`, …).
    #[must_use]
    pub fn machine(&self) -> u16 {
        self.header.e_machine
    }

    /// The GNU build id; `None` where there is none.
    #[must_use]
    pub fn build_id(&self) -> Option<Vec<u8>> {
        self.segments
            .iter()
            .filter(|segment| segment.p_type == PT_NOTE)
            .find_map(|segment| {
                let length = segment.p_filesz.min(MAX_NOTES);
                let notes = self.read(segment.p_offset, length).ok()?;
                let align = if segment.p_align == 8 { 8 } else { 4 };
                build_id_of(&notes, align, self.context)
            })
    }

    /// File offset of what is loaded at `address`, if that is code.
    pub(super) fn code_offset(&self, address: u64) -> Option<u64> {
        let segment = self.segments.iter().find(|segment| {
            segment.p_type == PT_LOAD
                && segment.p_flags & PF_X != 0
                && address
                    .checked_sub(segment.p_vaddr)
                    .is_some_and(|inside| inside < segment.p_filesz)
        })?;
        let offset = (address - segment.p_vaddr).checked_add(segment.p_offset)?;
        (offset < self.size).then_some(offset)
    }

    /// The addresses of code, from the first to the one behind the last.
    pub(super) fn code(&self) -> Vec<(u64, u64)> {
        self.segments
            .iter()
            .filter(|segment| segment.p_type == PT_LOAD && segment.p_flags & PF_X != 0)
            .map(|segment| {
                let start = segment.p_vaddr;
                (start, start.saturating_add(segment.p_filesz))
            })
            .collect()
    }

    /// The address at which the code at a file offset is loaded.
    pub(super) fn code_address(&self, offset: u64) -> Option<u64> {
        let segment = self.segments.iter().find(|segment| {
            segment.p_type == PT_LOAD
                && segment.p_flags & PF_X != 0
                && offset
                    .checked_sub(segment.p_offset)
                    .is_some_and(|inside| inside < segment.p_filesz)
        })?;
        (offset - segment.p_offset).checked_add(segment.p_vaddr)
    }

    /// File offset of what is loaded at `address`.
    fn data_offset(&self, address: u64) -> Option<u64> {
        let segment = self.segments.iter().find(|segment| {
            segment.p_type == PT_LOAD
                && address
                    .checked_sub(segment.p_vaddr)
                    .is_some_and(|inside| inside < segment.p_filesz)
        })?;
        (address - segment.p_vaddr).checked_add(segment.p_offset)
    }

    /// The section headers; none is not an error.
    fn sections(&self) -> Result<Vec<SectionHeader>, ElfError> {
        let count = usize::from(self.header.e_shnum);
        let entry = SectionHeader::size(self.context);
        if count == 0 || self.header.e_shoff == 0 {
            return Ok(Vec::new());
        }
        if usize::from(self.header.e_shentsize) != entry {
            return Err(ElfError::Malformed("section header size"));
        }
        let bytes = self.read(self.header.e_shoff, (count * entry) as u64)?;
        SectionHeader::parse_from(&bytes, 0, count, self.context)
            .map_err(|_| ElfError::Malformed("section headers"))
    }

    /// Searches the file's constants (`.rodata` and its like) for `needle`
    /// and gives each place to `accept`, as up to 16 bytes before it and up
    /// to 112 from it on, until that answers.
    ///
    /// At most 256 MiB are searched. Damaged parts are passed over.
    pub fn find_constant<T>(
        &self,
        needle: &[u8],
        mut accept: impl FnMut(&[u8], &[u8]) -> Option<T>,
    ) -> Option<T> {
        const BEFORE: usize = 16;
        const AFTER: usize = 112;
        let finder = memchr::memmem::Finder::new(needle);
        let mut buffer = vec![0; CHUNK];
        let mut budget = MAX_SEARCH;
        for (offset, length) in self.constants() {
            let length = length.min(budget);
            budget -= length;
            let mut position = 0;
            while position < length {
                let want = (length - position).min(CHUNK as u64) as usize;
                let got =
                    read_full(self.file, offset + position, buffer.get_mut(..want)?).unwrap_or(0);
                let window = buffer.get(..got)?;
                for at in finder.find_iter(window) {
                    let before = window.get(at.saturating_sub(BEFORE)..at)?;
                    let after = window.get(at..(at + AFTER).min(got))?;
                    if let Some(answer) = accept(before, after) {
                        return Some(answer);
                    }
                }
                if got < want || position + got as u64 >= length {
                    break;
                }
                // A text that lies across the boundary is seen whole in the
                // next window.
                position += (got - (BEFORE + AFTER).min(got - 1)) as u64;
            }
        }
        None
    }

    /// Which of some texts are in the file's constants: the index of the first
    /// one in the list that is. As [`find_constant`](Self::find_constant), in
    /// one pass; a text that lies across the end of a window of 256 KiB is
    /// found if it is no longer than 128 bytes.
    pub fn first_constant(&self, needles: &[&[u8]]) -> Option<usize> {
        const OVERLAP: u64 = 128;
        let mut finders: Vec<_> = needles.iter().map(memchr::memmem::Finder::new).collect();
        let mut buffer = vec![0; CHUNK];
        let mut budget = MAX_SEARCH;
        let mut best = None;
        for (offset, length) in self.constants() {
            let length = length.min(budget);
            budget -= length;
            let mut position = 0;
            while position < length && !finders.is_empty() {
                let want = (length - position).min(CHUNK as u64) as usize;
                let got =
                    read_full(self.file, offset + position, buffer.get_mut(..want)?).unwrap_or(0);
                let window = buffer.get(..got)?;
                if let Some(index) = finders.iter().position(|f| f.find(window).is_some()) {
                    best = Some(index);
                    // Only a better one is looked for from here on.
                    finders.truncate(index);
                }
                if got < want || position + got as u64 >= length {
                    break;
                }
                position += got as u64 - OVERLAP.min(got as u64 - 1);
            }
        }
        best
    }

    /// Where constants are: sections that are loaded and neither written nor
    /// executed. Told by flags, not by name, so that no names are read.
    fn constants(&self) -> Vec<(u64, u64)> {
        const SHT_PROGBITS: u32 = 1;
        const SHF_WRITE_OR_EXEC: u64 = 1 | 4;
        let inside = |offset: u64, length: u64| {
            offset
                .checked_add(length)
                .is_some_and(|end| end <= self.size)
        };
        let sections = self.sections().unwrap_or_default();
        if !sections.is_empty() {
            return sections
                .iter()
                .filter(|section| {
                    section.sh_type == SHT_PROGBITS
                        && section.sh_flags & u64::from(SHF_ALLOC) != 0
                        && section.sh_flags & SHF_WRITE_OR_EXEC == 0
                        && inside(section.sh_offset, section.sh_size)
                })
                .map(|section| (section.sh_offset, section.sh_size))
                .collect();
        }
        self.segments
            .iter()
            .filter(|segment| {
                segment.p_type == PT_LOAD && inside(segment.p_offset, segment.p_filesz)
            })
            .map(|segment| (segment.p_offset, segment.p_filesz))
            .collect()
    }

    /// Exactly these bytes of the file. Callers bound `length`.
    fn read(&self, offset: u64, length: u64) -> Result<Vec<u8>, ElfError> {
        let outside = ElfError::Malformed("it refers to bytes beyond its end");
        if offset.checked_add(length).is_none_or(|end| end > self.size) {
            return Err(outside);
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        if read_full(self.file, offset, &mut bytes)? < bytes.len() {
            return Err(outside);
        }
        Ok(bytes)
    }

    /// Up to `length` bytes of the file, fewer at its end. For code.
    ///
    /// # Errors
    /// Those of the read.
    pub fn bytes_at(&self, offset: u64, length: usize) -> Result<Vec<u8>, ElfError> {
        let mut bytes = vec![0; length];
        let got = read_full(self.file, offset, &mut bytes)?;
        bytes.truncate(got);
        Ok(bytes)
    }
}

/// Reads until the buffer is full or the file ends.
fn read_full<R: ReadAt + ?Sized>(file: &R, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The description of the note `GNU`, type 3, in a run of notes.
fn build_id_of(notes: &[u8], align: usize, context: Ctx) -> Option<Vec<u8>> {
    const NT_GNU_BUILD_ID: u32 = 3;
    let word = |bytes: &[u8]| -> Option<u32> {
        let bytes: [u8; 4] = bytes.try_into().ok()?;
        Some(if context.le.is_little() {
            u32::from_le_bytes(bytes)
        } else {
            u32::from_be_bytes(bytes)
        })
    };
    let mut rest = notes;
    loop {
        let name_length = word(rest.get(..4)?)? as usize;
        let length = word(rest.get(4..8)?)? as usize;
        let kind = word(rest.get(8..12)?)?;
        let name_end = name_length.checked_add(12)?;
        let start = name_end.checked_next_multiple_of(align)?;
        let end = start.checked_add(length)?;
        if kind == NT_GNU_BUILD_ID && rest.get(12..name_end)? == b"GNU\0" {
            let id = rest.get(start..end)?;
            return (!id.is_empty() && id.len() <= 64).then(|| id.to_vec());
        }
        rest = rest.get(end.checked_next_multiple_of(align)?..)?;
    }
}
