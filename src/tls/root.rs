//! Opens files below some process's root directory, as that process sees them.
//!
//! The paths come from processes that are not trusted, and are opened with the
//! rights of root: so nothing on the way may lead outside (openat2 with
//! RESOLVE_IN_ROOT; a plain path through `/proc/PID/root` follows an absolute
//! symbolic link to the host's file), and nothing but a regular file is ever
//! opened (opening a FIFO waits, opening a device may do something).

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, ResolveFlags};

/// A root directory.
#[derive(Debug)]
pub struct Root {
    directory: OwnedFd,
}

impl Root {
    /// The caller's own.
    ///
    /// # Errors
    /// Those of the system call.
    pub fn own() -> io::Result<Self> {
        Self::at("/")
    }

    /// That of a process.
    ///
    /// # Errors
    /// When the process is gone or may not be looked at.
    pub fn of(pid: u32) -> io::Result<Self> {
        Self::at(&format!("/proc/{pid}/root"))
    }

    fn at(path: &str) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        Ok(Self { directory })
    }

    /// Device and inode of the directory: tells roots apart.
    ///
    /// # Errors
    /// Those of the system call.
    pub fn identity(&self) -> io::Result<(u64, u64)> {
        let stat = rustix::fs::fstat(&self.directory)?;
        Ok((stat.st_dev, stat.st_ino))
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// When there is none of this name, or it is something else.
    pub fn open(&self, path: &[u8]) -> io::Result<File> {
        reopen(&self.find(path)?)
    }

    /// A handle of a regular file, not open for reading: for [`reopen`].
    ///
    /// # Errors
    /// When there is none of this name, or it is something else.
    pub fn find(&self, path: &[u8]) -> io::Result<File> {
        let handle = self.resolve(path, OFlags::PATH)?;
        let stat = rustix::fs::fstat(&handle)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file",
            ));
        }
        Ok(handle.into())
    }

    /// The names in a directory, `.` and `..` left out; at most `limit`.
    ///
    /// # Errors
    /// When there is no such directory.
    pub fn list(&self, path: &[u8], limit: usize) -> io::Result<Vec<Vec<u8>>> {
        let directory = self.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&directory)?.take(limit) {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_vec());
            }
        }
        Ok(names)
    }

    /// The content of a small file, at most `limit` bytes.
    ///
    /// # Errors
    /// As [`open`](Self::open), or when the read fails.
    pub fn content(&self, path: &[u8], limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open(path)?.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn resolve(&self, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK;
        // With O_PATH the kernel refuses all flags but these few.
        let flags = if flags.contains(OFlags::PATH) {
            OFlags::PATH | OFlags::CLOEXEC
        } else {
            flags
        };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let open = || rustix::fs::openat2(&self.directory, path, flags, Mode::empty(), resolve);
        // A rename anywhere makes the kernel doubt a path with `..` in it.
        // Somebody who renames all the time does not hold us up for ever.
        for _ in 0..15 {
            match open() {
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
        Ok(open()?)
    }
}

/// Opens for reading what a path handle stands for.
///
/// # Errors
/// When it may not be read.
pub fn reopen(handle: &File) -> io::Result<File> {
    use std::os::fd::AsRawFd;
    open_link(&format!("/proc/self/fd/{}", handle.as_raw_fd()))
}

/// Opens what a link of the kernel (`/proc/PID/exe`, `/proc/PID/map_files/…`)
/// stands for, even if it has no name any more.
///
/// # Errors
/// When the process is gone or may not be looked at, or it is no regular file.
pub fn open_link(link: &str) -> io::Result<File> {
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY)
        .open(link)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    #[test]
    fn nothing_on_a_path_leads_outside_or_to_anything_but_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir(path("etc")).unwrap();
        std::fs::write(path("etc/passwd"), "inside").unwrap();
        symlink("/etc/passwd", path("absolute")).unwrap();
        symlink("../../../../../../etc/passwd", path("climbing")).unwrap();
        symlink("/proc/self/exe", path("magic")).unwrap();
        rustix::fs::mknodat(CWD, path("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();

        let root = Root::at(dir.path().to_str().unwrap()).unwrap();
        for name in ["absolute", "climbing", "etc/passwd", "/etc/passwd"] {
            assert_eq!(root.content(name.as_bytes(), 100).unwrap(), b"inside");
        }
        for name in ["magic", "fifo", "etc", "missing"] {
            assert!(root.open(name.as_bytes()).is_err(), "{name}");
        }
        let mut names = root.list(b"/", 100).unwrap();
        names.sort();
        assert_eq!(names.len(), 5);
        assert!(root.list(b"/", 3).unwrap().len() <= 3);
        let own = Root::own().unwrap();
        let file = dir.path().join("etc/passwd");
        assert_eq!(own.content(file.as_os_str().as_bytes(), 3).unwrap(), b"ins");
    }
}
