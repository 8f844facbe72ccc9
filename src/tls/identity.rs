//! What tells files, mappings and root directories apart.

use std::fs::File;
use std::hash::BuildHasher;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use rustc_hash::FxBuildHasher;

use super::FileIdentity;
use super::maps::Mapping;
use super::root::Root;

/// What tells one content of a file from another, unless they follow each
/// other within a tick of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileKey {
    /// Device, as `stat` says.
    pub(super) device: u64,
    /// Inode.
    pub(super) inode: u64,
    /// Length in bytes.
    size: u64,
    /// Time of the last change of content, seconds and nanoseconds.
    content: (i64, i64),
    /// Of content, names or rights: nobody can set it (`cp -p` sets the other).
    inode_changed: (i64, i64),
}

/// How far apart two changes may be and have the same time: a tick of the
/// kernel's clock, and where a file system keeps seconds, two of these (FAT).
const TICK: Duration = Duration::from_millis(20);
const SECONDS: Duration = Duration::from_secs(2);

impl FileKey {
    /// That of a file's metadata.
    #[must_use]
    pub(super) fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            content: (metadata.mtime(), metadata.mtime_nsec()),
            inode_changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether a file has not been written to since this was taken of it, as
    /// far as its size and time tell.
    #[must_use]
    pub fn is_content_of(&self, file: &File) -> bool {
        file.metadata().is_ok_and(|metadata| {
            let now = Self::of(&metadata);
            (now.size, now.content) == (self.size, self.content)
        })
    }

    /// Whether any change from `now` on would show in it.
    pub(super) fn is_settled(&self, now: SystemTime) -> bool {
        let (seconds, nanoseconds) = self.content.max(self.inode_changed);
        let grain = if nanoseconds == 0 { SECONDS } else { TICK };
        let since = u64::try_from(seconds)
            .ok()
            .zip(u32::try_from(nanoseconds).ok())
            .map(|(seconds, nanoseconds)| Duration::new(seconds, nanoseconds))
            .and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
        since.is_some_and(|since| now.duration_since(since).is_ok_and(|age| age > grain))
    }
}

/// What maps show of a file. Device and inode alone would not do: on btrfs all
/// subvolumes show one device, and snapshots have the same inode numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct MappedKey {
    device: u64,
    inode: u64,
    /// Inode of the mount namespace.
    namespace: u64,
    /// Hash of the path in it.
    path: u64,
}

impl MappedKey {
    pub(super) fn of(mapping: &Mapping<'_>, namespace: u64) -> Self {
        Self {
            device: mapping.device,
            inode: mapping.inode,
            namespace,
            path: FxBuildHasher.hash_one(mapping.path.as_ref()),
        }
    }
}

/// The build id or the size, and the device. On overlayfs without the device:
/// there every mount shows another one for the same file below, on which a
/// probe sits once for all of them.
pub(super) fn identity(file: &File, key: &FileKey, build_id: Option<Vec<u8>>) -> FileIdentity {
    const OVERLAYFS: u64 = 0x794c_7630;
    let overlay =
        rustix::fs::fstatfs(file).is_ok_and(|fs| u64::try_from(fs.f_type) == Ok(OVERLAYFS));
    let mut build = build_id.unwrap_or_else(|| key.size.to_ne_bytes().to_vec());
    if !overlay {
        build.extend_from_slice(&key.device.to_ne_bytes());
    }
    FileIdentity {
        inode: key.inode,
        build,
    }
}

/// Inode number of a process's mount namespace.
pub(super) fn mount_namespace(pid: &str) -> Option<u64> {
    Some(std::fs::metadata(format!("/proc/{pid}/ns/mnt")).ok()?.ino())
}

/// Mount namespace and root directory of a process: two containers may have
/// the same device and inode for their roots.
pub(super) fn root_key(pid: &str, root: &Root) -> Option<(u64, u64, u64)> {
    let (device, inode) = root.identity().ok()?;
    Some((mount_namespace(pid)?, device, inode))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn another_content_has_another_key_once_time_has_passed() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"one").unwrap();
        let key = FileKey::of(&file.metadata().unwrap());
        assert!(key.is_content_of(&file));
        let written = file.metadata().unwrap().modified().unwrap();
        assert!(!key.is_settled(written));
        assert!(!key.is_settled(written + TICK));
        // A second, if the file system keeps no less.
        assert!(key.is_settled(written + SECONDS + TICK));
        // A clock that was set back tells nothing.
        assert!(!key.is_settled(written - SECONDS));
        // As `cp -p` does.
        file.set_modified(written - SECONDS).unwrap();
        let kept = FileKey::of(&file.metadata().unwrap());
        assert!(!kept.is_settled(written));
        file.write_all(b"and two").unwrap();
        assert!(!kept.is_content_of(&file));
    }
}
