//! Where functions begin, by the index of the unwinding tables
//! (`.eh_frame_hdr`), which programs keep when their symbols are stripped.

use goblin::elf::program_header::PT_GNU_EH_FRAME;

use super::{Elf, ReadAt};

/// Longest index that is read, in bytes: eight million functions.
const MAX_INDEX: u64 = 64 << 20;
/// Version, then how the address of the tables, the count and the entries are
/// encoded: the one way in which linkers write it (LSB 10.6.2).
const USUAL: [u8; 4] = [1, 0x1b, 0x03, 0x3b];

impl<R: ReadAt + ?Sized> Elf<'_, R> {
    /// Whether a function begins at an address; `None` when the file does not
    /// tell.
    pub(in crate::tls) fn begins_function(&self, address: u64) -> Option<bool> {
        let index = self
            .segments
            .iter()
            .find(|segment| segment.p_type == PT_GNU_EH_FRAME)?;
        let bytes = self
            .read(index.p_offset, index.p_filesz.min(MAX_INDEX))
            .ok()?;
        let table = bytes.strip_prefix(&USUAL)?.get(4..)?;
        let (count, table) = table.split_first_chunk()?;
        let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
        let (entries, _) = table.get(..count.checked_mul(8)?)?.as_chunks::<8>();
        let start = |entry: &[u8; 8]| {
            let [a, b, c, d, ..] = *entry;
            let distance = i64::from(i32::from_le_bytes([a, b, c, d]));
            index.p_vaddr.wrapping_add_signed(distance)
        };
        Some(entries.binary_search_by_key(&address, start).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_functions_begin_where_they_are() {
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        let elf = Elf::open(&file).unwrap();
        let function = elf.functions(&["main"]).unwrap()[0].unwrap();
        assert_eq!(elf.begins_function(function.address), Some(true));
        assert_eq!(elf.begins_function(function.address + 1), Some(false));
    }
}
