//! perf_event_open(2), as far as it is needed beside libbpf.

use std::ffi::CStr;
use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

const FLAG_CLOEXEC: libc::c_ulong = 1 << 3;

/// The first version of `struct perf_event_attr`, which has all that is needed.
#[repr(C)]
#[derive(Default)]
pub(super) struct Attributes {
    pub(super) kind: u32,
    pub(super) size: u32,
    pub(super) config: u64,
    pub(super) sample_period: u64,
    pub(super) sample_type: u64,
    pub(super) read_format: u64,
    pub(super) flags: u64,
    pub(super) wakeup_watermark: u32,
    pub(super) breakpoint: u32,
    /// `config1`; of a kprobe the address of the function's name.
    pub(super) config1: u64,
}

impl Attributes {
    /// Opens the event on a CPU.
    pub(super) fn open(mut self, cpu: i32) -> io::Result<OwnedFd> {
        self.size = u32::try_from(size_of::<Self>()).unwrap_or(0);
        // SAFETY: the structure is that of the system call, as long as its
        // `size` says, and lives while it is read, as does the name that
        // `config1` may point to (see `kprobe`).
        let fd = unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                &raw const self,
                -1,
                cpu,
                -1,
                FLAG_CLOEXEC,
            )
        };
        let fd = i32::try_from(fd).unwrap_or(-1);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

/// Whether a kprobe can be placed on a function. Its name alone does not tell:
/// it may be inlined, renamed by the compiler, or out of bounds. The probe is
/// gone again at once, and was never armed.
pub(super) fn kprobe_fits(function: &CStr) -> bool {
    let kind = std::fs::read_to_string("/sys/bus/event_source/devices/kprobe/type")
        .ok()
        .and_then(|kind| kind.trim().parse().ok());
    let Some(kind) = kind else { return false };
    let attributes = Attributes {
        kind,
        config1: function.as_ptr() as u64,
        ..Attributes::default()
    };
    attributes.open(0).is_ok()
}
