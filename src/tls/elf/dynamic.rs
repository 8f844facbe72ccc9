//! What an ELF file asks of the dynamic loader.

use goblin::elf::ProgramHeader;
use goblin::elf::dynamic::{
    DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_SONAME, DT_STRSZ, DT_STRTAB, Dynamic as Entries,
};
use goblin::elf::program_header::{PT_DYNAMIC, PT_INTERP};

use super::{Elf, ElfError, ReadAt};

/// Longest dynamic section that is read, in bytes (4096 entries).
const MAX_DYNAMIC: u64 = 64 << 10;
/// Longest name of a library, or list of directories, in bytes.
const MAX_STRING: usize = 4096;
/// How many libraries one file may need.
const MAX_NEEDED: usize = 512;

/// What a file asks of the dynamic loader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dynamic {
    /// Libraries it needs (`DT_NEEDED`), in order.
    pub needed: Vec<Vec<u8>>,
    /// Its own name as a library.
    pub soname: Option<Vec<u8>>,
    /// Directories separated by `:`, for it and for what it loads.
    pub rpath: Option<Vec<u8>>,
    /// Directories separated by `:`, for what it needs itself.
    pub runpath: Option<Vec<u8>>,
}

impl<R: ReadAt + ?Sized> Elf<'_, R> {
    /// Reads the dynamic section; all is empty where there is none (a static
    /// program).
    ///
    /// # Errors
    /// When it is damaged.
    pub fn dynamic(&self) -> Result<Dynamic, ElfError> {
        let mut dynamic = Dynamic::default();
        let Some(segment) = self.segments.iter().find(|s| s.p_type == PT_DYNAMIC) else {
            return Ok(dynamic);
        };
        if segment.p_filesz > MAX_DYNAMIC {
            return Err(ElfError::TooLarge("dynamic section"));
        }
        let bytes = self.read(segment.p_offset, segment.p_filesz)?;
        // goblin looks the section up in the whole file by its program
        // header: give it one that says where the bytes are here.
        let mut here = ProgramHeader::new();
        here.p_type = PT_DYNAMIC;
        here.p_filesz = segment.p_filesz;
        let entries = Entries::parse(&bytes, &[here], self.context)
            .map_err(|_| ElfError::Malformed("dynamic section"))?
            .map(|entries| entries.dyns)
            .unwrap_or_default();
        let value = |tag| entries.iter().find(|d| d.d_tag == tag).map(|d| d.d_val);
        let Some(strings) = value(DT_STRTAB).and_then(|address| self.data_offset(address)) else {
            return Ok(dynamic);
        };
        let length = value(DT_STRSZ).unwrap_or(0);
        for entry in &entries {
            if ![DT_NEEDED, DT_SONAME, DT_RPATH, DT_RUNPATH].contains(&entry.d_tag) {
                continue;
            }
            let Some(text) = self.string(strings, length, entry.d_val)? else {
                continue;
            };
            match entry.d_tag {
                DT_NEEDED if dynamic.needed.len() < MAX_NEEDED => dynamic.needed.push(text),
                DT_SONAME => dynamic.soname = Some(text),
                DT_RPATH => dynamic.rpath = Some(text),
                DT_RUNPATH => dynamic.runpath = Some(text),
                _ => {}
            }
        }
        Ok(dynamic)
    }

    /// Whether the kernel starts the dynamic loader for this file.
    #[must_use]
    pub fn has_interpreter(&self) -> bool {
        self.segments.iter().any(|s| s.p_type == PT_INTERP)
    }

    /// The string at `index` of a table of `length` bytes; `None` when it is
    /// outside, too long or empty.
    fn string(&self, table: u64, length: u64, index: u64) -> Result<Option<Vec<u8>>, ElfError> {
        let (Some(room), Some(offset)) = (length.checked_sub(index), table.checked_add(index))
        else {
            return Ok(None);
        };
        // Names are short; only a list of directories is ever long.
        for size in [256, MAX_STRING] {
            let size = size.min(usize::try_from(room).unwrap_or(usize::MAX));
            let mut bytes = self.bytes_at(offset, size)?;
            if let Some(end) = memchr::memchr(0, &bytes) {
                bytes.truncate(end);
                return Ok((end > 0).then_some(bytes));
            }
        }
        Ok(None)
    }
}

impl Dynamic {
    /// The first needed library whose name begins so.
    #[must_use]
    pub fn needs(&self, prefix: &str) -> Option<&[u8]> {
        self.needed
            .iter()
            .find(|name| name.starts_with(prefix.as_bytes()))
            .map(Vec::as_slice)
    }
}
