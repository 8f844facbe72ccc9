//! Reads the dynamic loader's cache, `/etc/ld.so.cache`: where the libraries
//! of the system are, before any process has loaded them.

/// Where the cache is.
pub const PATH: &[u8] = b"/etc/ld.so.cache";
/// Longest cache that is read, in bytes. A full desktop's is 200 KiB.
pub const MAX_SIZE: u64 = 16 << 20;

const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const OLD_MAGIC: &[u8] = b"ld.so-1.7.0";
const HEADER: usize = 48;
const ENTRY: usize = 24;

/// The entries of a cache: name (`libssl.so.3`) and path. Those for other
/// machines and for variants of the processor are among them. Nothing at all
/// comes from a file of another format; damaged entries are passed over.
///
/// Format: glibc's sysdeps/generic/dl-cache.h, `struct cache_file_new`, alone
/// (since 2.32) or behind one of the old format.
pub fn entries(cache: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let cache = new_format(cache).unwrap_or_default();
    let count = word(cache, 20).unwrap_or(0);
    (0..count)
        .map_while(move |index| {
            let at = ENTRY.checked_mul(index)?.checked_add(HEADER)?;
            // flags, name, path, osversion, hwcap
            let entry = cache.get(at..at.checked_add(ENTRY)?)?;
            let name = text(cache, word(entry, 4)?).unwrap_or_default();
            let path = text(cache, word(entry, 8)?).unwrap_or_default();
            Some((name, path))
        })
        .filter(|(name, path)| !name.is_empty() && path.first() == Some(&b'/'))
}

/// The part that offsets of names count from.
fn new_format(cache: &[u8]) -> Option<&[u8]> {
    if cache.starts_with(MAGIC) {
        return Some(cache);
    }
    // The old format: magic, padding, a count, 12 bytes per library, and the
    // new one behind them at a multiple of 8.
    if !cache.starts_with(OLD_MAGIC) {
        return None;
    }
    let end = word(cache, 12)?.checked_mul(12)?.checked_add(16)?;
    cache
        .get(end.checked_next_multiple_of(8)?..)
        .filter(|rest| rest.starts_with(MAGIC))
}

/// Four bytes in the machine's order, as the loader reads them.
fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    usize::try_from(u32::from_ne_bytes(bytes)).ok()
}

/// The string that begins at `at`, at most 4096 bytes long.
fn text(cache: &[u8], at: usize) -> Option<&[u8]> {
    let rest = cache.get(at..)?;
    let rest = rest.get(..rest.len().min(4097))?;
    rest.get(..memchr::memchr(0, rest)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A cache of the new format with these entries.
    fn cache(libraries: &[(&str, &str)]) -> Vec<u8> {
        let mut strings = Vec::new();
        let mut table = Vec::new();
        let base = HEADER + ENTRY * libraries.len();
        for (name, path) in libraries {
            table.extend(0x0303_u32.to_ne_bytes());
            for text in [name, path] {
                table.extend(((base + strings.len()) as u32).to_ne_bytes());
                strings.extend(text.as_bytes());
                strings.push(0);
            }
            table.extend([0; 12]);
        }
        let mut file = MAGIC.to_vec();
        file.extend((libraries.len() as u32).to_ne_bytes());
        file.extend((strings.len() as u32).to_ne_bytes());
        file.resize(HEADER, 0);
        [file, table, strings].concat()
    }

    #[test]
    fn both_formats_give_their_libraries() {
        let libraries = [
            ("libssl.so.3", "/lib/libssl.so.3"),
            ("liba.so", "/b/liba.so"),
        ];
        let new = cache(&libraries);
        let mut old = OLD_MAGIC.to_vec();
        old.push(0);
        old.extend(1_u32.to_ne_bytes());
        old.extend([0; 12]);
        old.resize(32, 0);
        for file in [new.clone(), [old, new].concat()] {
            let found: Vec<_> = entries(&file)
                .map(|(name, path)| (str::from_utf8(name).unwrap(), str::from_utf8(path).unwrap()))
                .collect();
            assert_eq!(found, libraries);
        }
    }

    #[test]
    fn the_cache_of_this_machine_names_the_c_library() {
        let Ok(file) = std::fs::read("/etc/ld.so.cache") else {
            eprintln!("skipped: no /etc/ld.so.cache here");
            return;
        };
        assert!(entries(&file).any(|(name, path)| name == b"libc.so.6" && path.ends_with(name)));
    }

    proptest! {
        #[test]
        fn damage_is_passed_over(
            at in 0_usize..200,
            byte in any::<u8>(),
            cut in 0_usize..200,
        ) {
            let mut file = cache(&[("libssl.so.3", "/lib/libssl.so.3"), ("liba.so", "/b/liba.so")]);
            if let Some(place) = file.get_mut(at) {
                *place = byte;
            }
            file.truncate(file.len().saturating_sub(cut));
            prop_assert!(entries(&file).count() <= 2);
        }
    }
}
