//! What tells files, mappings and root directories apart.

use std::fs::File;
use std::hash::BuildHasher;
use std::os::unix::fs::MetadataExt;

use rustc_hash::FxBuildHasher;

use super::FileIdentity;
use super::maps::Mapping;
use super::root::Root;

/// What tells one content of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FileKey {
    /// Device, as `stat` says.
    pub(super) device: u64,
    /// Inode.
    pub(super) inode: u64,
    /// Length in bytes.
    pub(super) size: u64,
    /// Time of the last change of content, seconds and nanoseconds.
    pub(super) changed: (i64, i64),
}

impl FileKey {
    /// That of a file's metadata.
    #[must_use]
    pub(super) fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            changed: (metadata.mtime(), metadata.mtime_nsec()),
        }
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
