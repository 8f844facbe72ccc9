//! Leases on files: whoever opens one for writing, or truncates it, waits until
//! the holder has let go of it (fcntl(2), F_SETLEASE), but no longer than
//! `/proc/sys/fs/lease-break-time`.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::ptr;

const SET_OWNER: libc::c_int = 15;
const OWNER_THREAD: libc::c_int = 0;

/// `struct f_owner_ex`.
#[repr(C)]
struct Owner {
    kind: libc::c_int,
    pid: libc::pid_t,
}

/// What tells a thread that somebody waits for one of its leases.
pub(super) struct Bell(OwnedFd);

impl Bell {
    /// Of the calling thread, which from now on blocks SIGIO. It would end the
    /// program elsewhere: leases have to be [taken](take) for this thread.
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: an all-zero set is a valid one, and the calls write to it.
        let signals = unsafe {
            let mut signals = std::mem::zeroed();
            libc::sigemptyset(&raw mut signals);
            libc::sigaddset(&raw mut signals, libc::SIGIO);
            signals
        };
        // SAFETY: the set lives during the calls, which only read it.
        let fd = unsafe {
            let failed =
                libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals, ptr::null_mut());
            if failed != 0 {
                return Err(io::Error::from_raw_os_error(failed));
            }
            libc::signalfd(
                -1,
                &raw const signals,
                libc::SFD_CLOEXEC | libc::SFD_NONBLOCK,
            )
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Whether it rang since the last call. To be called by its thread.
    pub(super) fn rang(&self) -> bool {
        // Longer than `struct signalfd_siginfo`.
        let mut information = [0_u8; 256];
        let mut rang = false;
        while rustix::io::read(&self.0, &mut information).is_ok() {
            rang = true;
        }
        rang
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Takes a lease on a file that was opened for reading.
///
/// # Errors
/// `WouldBlock` when somebody has it open for writing; others when there are no
/// leases on it.
pub(super) fn take(file: &File, thread: i32) -> io::Result<()> {
    let owner = Owner {
        kind: OWNER_THREAD,
        pid: thread,
    };
    // SAFETY: the structure is the call's, which only reads it.
    let failed = unsafe { libc::fcntl(file.as_raw_fd(), SET_OWNER, &raw const owner) };
    if failed < 0 {
        return Err(io::Error::last_os_error());
    }
    set(file, libc::F_RDLCK)
}

/// Lets go of a lease.
pub(super) fn release(file: &File) {
    // There is none: as well.
    let _ = set(file, libc::F_UNLCK);
}

/// Whether somebody waits for the file.
pub(super) fn is_awaited(file: &File) -> bool {
    // SAFETY: takes and gives numbers.
    let kind = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLEASE) };
    kind == libc::F_UNLCK
}

fn set(file: &File, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: takes and gives numbers.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
