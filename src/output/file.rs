//! Opening the files that outputs are written to, and the one that is read.
//!
//! What is captured holds passwords, and httpsniff is root: a file is opened
//! with the rights of the user who called sudo, never through a symbolic link
//! at its end, and has mode 0600 before its first byte. Opening and emptying
//! are two steps, so that the same file named twice is noticed before
//! anything is lost.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, fchmod, fstat, ftruncate, open};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

use crate::caller::{Caller, as_caller};

/// Where an output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A descriptor that httpsniff was started with (`/dev/fd/N`).
    Descriptor(i32),
    /// A file or FIFO.
    Path(PathBuf),
}

impl Place {
    /// What `-w`, `-O` and `--ready-file` name: `-` and `/dev/stdout` are
    /// stdout.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        match path.to_str() {
            Some("-" | "/dev/stdout" | "/dev/fd/1" | "/proc/self/fd/1") => Self::Stdout,
            Some("/dev/stderr" | "/dev/fd/2" | "/proc/self/fd/2") => Self::Stderr,
            text => text
                .and_then(|t| {
                    t.strip_prefix("/dev/fd/")
                        .or_else(|| t.strip_prefix("/proc/self/fd/"))
                })
                .and_then(|n| n.parse().ok())
                .map_or_else(|| Self::Path(path.to_owned()), Self::Descriptor),
        }
    }

    /// How messages call it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Stdout => "stdout".to_owned(),
            Self::Stderr => "stderr".to_owned(),
            Self::Descriptor(n) => format!("/dev/fd/{n}"),
            Self::Path(path) => path.display().to_string(),
        }
    }
}

/// Which file it is: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId(u64, u64);

impl FileId {
    /// That of an open file if it is a regular one: only there reading and
    /// writing, or writing twice, disturb each other.
    #[must_use]
    pub fn of_regular(file: impl AsFd) -> Option<Self> {
        let stat = fstat(file).ok()?;
        (FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
            .then_some(Self(stat.st_dev, stat.st_ino))
    }
}

/// An output that is open but not yet touched.
#[derive(Debug)]
pub struct Output {
    file: File,
    place: Place,
}

impl Output {
    /// Opens `place` for writing with the rights of `caller`. An existing
    /// file keeps its content until [`Output::begin`]. Opening a FIFO waits
    /// for its reader.
    pub fn open(place: &Place, caller: Option<&Caller>) -> Result<Self, String> {
        let fd = match place {
            Place::Stdout => io::stdout().as_fd().try_clone_to_owned(),
            Place::Stderr => io::stderr().as_fd().try_clone_to_owned(),
            Place::Descriptor(n) => inherited(*n),
            Place::Path(path) => as_caller(caller, || create(path)),
        };
        let fd = fd.map_err(|error| cannot("write", &place.name(), &error, caller))?;
        Ok(Self {
            file: File::from(fd),
            place: place.clone(),
        })
    }

    /// How messages call it.
    #[must_use]
    pub fn name(&self) -> String {
        self.place.name()
    }

    /// Which file it is, if it is a regular one.
    #[must_use]
    pub fn id(&self) -> Option<FileId> {
        FileId::of_regular(&self.file)
    }

    /// Whether it is a terminal.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        io::IsTerminal::is_terminal(&self.file)
    }

    /// Columns of the terminal, if it is one.
    #[must_use]
    pub fn width(&self) -> Option<usize> {
        let size = rustix::termios::tcgetwinsize(&self.file).ok()?;
        Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
    }

    /// Makes a file that was named by its path private and empty, and gives
    /// it out. What the shell opened (`> file`) is left as it is.
    pub fn begin(self, caller: Option<&Caller>) -> Result<File, String> {
        if matches!(self.place, Place::Path(_)) && self.id().is_some() {
            let empty = || {
                fchmod(&self.file, Mode::RUSR | Mode::WUSR)?;
                Ok(ftruncate(&self.file, 0)?)
            };
            // Root could change the mode of a file that is not the caller's.
            as_caller(caller, empty).map_err(|error| {
                if Errno::from_io_error(&error) == Some(Errno::PERM) {
                    return format!(
                        "cannot make {} private, for it is another user's: choose another file",
                        self.place.name()
                    );
                }
                cannot("empty", &self.place.name(), &error, caller)
            })?;
        }
        Ok(self.file)
    }
}

/// Opens or creates without following a final symbolic link and without
/// emptying. Root owns what it creates in the caller's thread: the caller.
fn create(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
    let private = Mode::RUSR | Mode::WUSR;
    let fd = open(path, flags | OFlags::CREATE, private).or_else(|error| match error {
        // fs.protected_fifos forbids O_CREAT on another user's FIFO in /tmp.
        Errno::ACCESS => open(path, flags, private).map_err(|_| Errno::ACCESS),
        error => Err(error),
    })?;
    let kind = FileType::from_raw_mode(fstat(&fd)?.st_mode);
    if kind == FileType::BlockDevice {
        return Err(io::Error::other("it is a disk"));
    }
    Ok(fd)
}

/// A duplicate of a descriptor that httpsniff was started with: `/dev/fd/N`
/// opened anew would have root's rights instead of those it was opened with.
fn inherited(number: i32) -> io::Result<OwnedFd> {
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    Ok(pidfd_getfd(own, number, PidfdGetfdFlags::empty())?)
}

/// Opens the capture file that `-r` names, `-` being stdin, with the rights
/// of `caller`.
pub fn open_input(path: &Path, caller: Option<&Caller>) -> Result<File, String> {
    let name = path.display().to_string();
    let result = match path.to_str() {
        Some("-" | "/dev/stdin" | "/dev/fd/0") => io::stdin().as_fd().try_clone_to_owned(),
        _ => match Place::of(path) {
            Place::Descriptor(n) => inherited(n),
            _ => as_caller(caller, || {
                let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
                Ok(open(path, flags, Mode::empty())?)
            }),
        },
    };
    let file = result
        .map(File::from)
        .map_err(|error| cannot("read", &name, &error, caller))?;
    match file.metadata() {
        Ok(meta) if meta.is_dir() => Err(format!("cannot read {name}: it is a folder")),
        _ => Ok(file),
    }
}

/// Writes `content` into a new file at `path` with the rights of `caller`
/// (`--ready-file`). A file that is already there is replaced, so that its
/// being there means what it says; a FIFO is written to.
pub fn write_ready(path: &Path, content: &str, caller: Option<&Caller>) -> Result<(), String> {
    let mut file = Output::open(&Place::of(path), caller)?.begin(caller)?;
    file.write_all(content.as_bytes())
        .map_err(|error| cannot("write", &path.display().to_string(), &error, caller))
}

/// Removes what an earlier run left at the `--ready-file`: a regular file no
/// longer than a pid. Anything else is refused rather than lost.
pub fn clear_ready(path: &Path, caller: Option<&Caller>) -> Result<(), String> {
    let Ok(meta) = as_caller(caller, || path.symlink_metadata()) else {
        return Ok(());
    };
    if meta.is_symlink() {
        let error = io::Error::from(Errno::LOOP);
        return Err(cannot("write", &path.display().to_string(), &error, caller));
    }
    if !meta.is_file() {
        return Ok(());
    }
    if meta.len() > 16 {
        return Err(format!(
            "--ready-file {} exists and holds something: name a file that is not there yet",
            path.display()
        ));
    }
    as_caller(caller, || std::fs::remove_file(path))
        .map_err(|error| cannot("replace", &path.display().to_string(), &error, caller))
}

/// The sentence for a failed file operation: what, on what, why, what to do.
fn cannot(what: &str, name: &str, error: &io::Error, caller: Option<&Caller>) -> String {
    let errno = Errno::from_io_error(error);
    let why = match errno {
        Some(Errno::LOOP) => {
            "it is a symbolic link, which is never followed: name the file it points to".to_owned()
        }
        Some(Errno::ACCESS | Errno::PERM) => match caller {
            Some(caller) => format!(
                "permission denied for {}, whose rights are used under sudo: \
                 choose a place where {} may",
                caller.name(),
                caller.name()
            ),
            None => "permission denied".to_owned(),
        },
        Some(Errno::NOENT) if what == "read" => "there is no such file".to_owned(),
        Some(Errno::NOENT) => "its folder does not exist".to_owned(),
        Some(Errno::ISDIR) => "it is a folder".to_owned(),
        Some(Errno::NOTDIR) => "a part of its path is not a folder".to_owned(),
        Some(Errno::NOSPC) => "no space is left on the device".to_owned(),
        Some(Errno::ROFS) => "the file system is read-only".to_owned(),
        Some(Errno::BADF) => "it is not open".to_owned(),
        _ => error.to_string(),
    };
    format!("cannot {what} {name}: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn place(path: &Path) -> Place {
        Place::of(path)
    }

    #[test]
    fn an_existing_file_is_private_and_empty_only_once_begun() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, "old").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let output = Output::open(&place(&path), None).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        let _file = output.begin(None).unwrap();
        let meta = std::fs::metadata(&path).unwrap();
        assert_eq!((meta.len(), meta.permissions().mode() & 0o777), (0, 0o600));
    }

    #[test]
    fn a_symbolic_link_is_refused_and_its_target_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("t"), dir.path().join("l"));
        std::fs::write(&target, "precious").unwrap();
        symlink(&target, &link).unwrap();
        let error = Output::open(&place(&link), None).unwrap_err();
        assert!(error.contains("symbolic link"), "{error}");
        assert_eq!(std::fs::read(&target).unwrap(), b"precious");
    }

    #[test]
    fn names_of_stdout_are_one_place() {
        for name in ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
            assert_eq!(Place::of(Path::new(name)), Place::Stdout);
        }
        assert_eq!(Place::of(Path::new("/dev/fd/63")), Place::Descriptor(63));
        assert_eq!(
            Place::of(Path::new("./-")),
            Place::Path(PathBuf::from("./-"))
        );
    }

    #[test]
    fn one_file_under_two_names_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::write(&a, "").unwrap();
        std::fs::hard_link(&a, &b).unwrap();
        let id = |path: &Path| Output::open(&place(path), None).unwrap().id();
        assert!(id(&a).is_some());
        assert_eq!(id(&a), id(&b));
        assert_eq!(id(Path::new("/dev/null")), None);
    }

    #[test]
    fn a_ready_file_is_made_anew_but_nothing_else_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ready");
        std::fs::write(&path, "123\n").unwrap();
        clear_ready(&path, None).unwrap();
        assert!(!path.exists());
        std::fs::write(&path, "a letter to my mother").unwrap();
        assert!(clear_ready(&path, None).unwrap_err().contains("exists"));
    }
}
