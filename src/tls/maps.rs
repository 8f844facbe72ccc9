//! Reads `/proc/PID/maps`: which files a process executes from.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};

/// Longest maps file that is read, in bytes (about 200,000 mappings).
const MAX_MAPS: u64 = 32 << 20;

/// A file that a process has mapped as code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping<'a> {
    /// First address and the one behind the last, as in the names below
    /// `/proc/PID/map_files`.
    pub range: (u64, u64),
    /// Device number, as `major << 32 | minor`. On overlayfs and btrfs not
    /// that of `stat`.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Path in the process's mount namespace.
    pub path: Cow<'a, [u8]>,
    /// The file has no name any more.
    pub deleted: bool,
}

impl Mapping<'_> {
    /// The last part of the path.
    #[must_use]
    pub fn file_name(&self) -> &[u8] {
        match memchr::memrchr(b'/', &self.path) {
            Some(slash) => self.path.get(slash + 1..).unwrap_or_default(),
            None => &self.path,
        }
    }
}

/// A device number as in [`Mapping::device`].
#[must_use]
pub fn device(major: u32, minor: u32) -> u64 {
    u64::from(major) << 32 | u64::from(minor)
}

/// The text of `/proc/PID/maps`.
///
/// # Errors
/// When the process is gone or may not be looked at.
pub fn read(pid: u32) -> io::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(16 << 10);
    File::open(format!("/proc/{pid}/maps"))?
        .take(MAX_MAPS)
        .read_to_end(&mut text)?;
    Ok(text)
}

/// The executable mappings of files in a maps text, in order of address.
/// Lines that are not understood are passed over.
pub fn parse(text: &[u8]) -> impl Iterator<Item = Mapping<'_>> {
    text.split(|byte| *byte == b'\n').filter_map(line)
}

/// `7f…-7f… r-xp 0001e000 fe:00 1234      /usr/lib/libssl.so.3 (deleted)`
fn line(line: &[u8]) -> Option<Mapping<'_>> {
    let mut rest = line;
    let mut field = || {
        let end = memchr::memchr(b' ', rest)?;
        let (field, after) = rest.split_at_checked(end)?;
        rest = after.get(1..)?;
        std::str::from_utf8(field).ok()
    };
    let (start, end) = field()?.split_once('-')?;
    // Most lines end here: data, heaps, stacks.
    if field()?.as_bytes().get(2) != Some(&b'x') {
        return None;
    }
    field()?;
    let (major, minor) = field()?.split_once(':')?;
    let inode = field()?.parse().ok().filter(|inode| *inode != 0)?;
    let path = rest.trim_ascii_start();
    if path.first() != Some(&b'/') {
        return None;
    }
    let (path, deleted) = match path.strip_suffix(b" (deleted)") {
        Some(path) => (path, true),
        None => (path, false),
    };
    Some(Mapping {
        range: (
            u64::from_str_radix(start, 16).ok()?,
            u64::from_str_radix(end, 16).ok()?,
        ),
        device: device(
            u32::from_str_radix(major, 16).ok()?,
            u32::from_str_radix(minor, 16).ok()?,
        ),
        inode,
        path: unescape(path),
        deleted,
    })
}

/// The kernel writes a line break in a path as `\012`, and nothing else so.
fn unescape(path: &[u8]) -> Cow<'_, [u8]> {
    const ESCAPE: &[u8] = b"\\012";
    if memchr::memmem::find(path, ESCAPE).is_none() {
        return Cow::Borrowed(path);
    }
    let mut plain = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = memchr::memmem::find(rest, ESCAPE) {
        let (before, after) = rest.split_at(at);
        plain.extend_from_slice(before);
        plain.push(b'\n');
        rest = after.get(ESCAPE.len()..).unwrap_or_default();
    }
    plain.extend_from_slice(rest);
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executable_file_mappings_are_found_whatever_their_path() {
        let text = b"\
55d0c0a00000-55d0c0a02000 r--p 00000000 fe:00 12 /usr/bin/cat
7f10-7f20 r-xp 0001e000 fe:00 1234                    /usr/lib/lib ssl.so.3
7f20-7f30 rwxp 00000000 00:00 0
7f30-7f40 r-xp 00000000 00:00 0                       [vdso]
7f40-7f50 r-xp 00000000 103:1a 77                     /a b/lib\\012ssl.so (deleted)
7f50-7f60 r-xs 00000000 00:05 9                       anon_inode:[x]
nonsense
7f60-zz r-xp 0 0:0 5 /x
7f60 r-xp
7f70-7f80 r-xp 00000000 00:2f 5 /x";
        let found: Vec<_> = parse(text).collect();
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!(found[0].path.as_ref(), b"/usr/lib/lib ssl.so.3");
        assert_eq!(found[0].range, (0x7f10, 0x7f20));
        assert_eq!(found[0].device, 0xfe << 32);
        assert_eq!(found[0].inode, 1234);
        assert_eq!(found[0].file_name(), b"lib ssl.so.3");
        assert!(!found[0].deleted);
        assert_eq!(found[1].path.as_ref(), b"/a b/lib\nssl.so");
        assert!(found[1].deleted);
        assert_eq!(found[2].device, 0x2f);
    }

    #[test]
    fn own_maps_show_the_own_executable() {
        let text = read(std::process::id()).unwrap();
        let exe = std::env::current_exe().unwrap();
        use std::os::unix::ffi::OsStrExt;
        assert!(parse(&text).any(|mapping| *mapping.path == *exe.as_os_str().as_bytes()));
    }
}
