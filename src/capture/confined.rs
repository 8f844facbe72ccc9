//! Whether a return probe on this kernel kills programs that confine
//! themselves by seccomp.
//!
//! Linux 6.11 made the return of a probed function a system call of its own
//! (uretprobe, 335 on x86-64). A seccomp filter that does not know it kills the
//! program. Later kernels let it pass (6.14, and 6.12 and 6.13 from some stable
//! release on), but which do cannot be told by the version. So it is tried: a
//! child of ours with such a filter returns from a probed function.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{FromRawFd as _, OwnedFd};

/// `uretprobe(2)` on x86-64.
const URETPROBE: u32 = 335;

/// include/uapi/linux/perf_event.h.
const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;

/// Whether this kernel has to be tried at all, by its release (`6.12.9-amd64`).
pub(super) fn may_kill(release: &str) -> bool {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|n| n.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    cfg!(target_arch = "x86_64") && ((6, 11)..(6, 14)).contains(&version)
}

/// Tries it. `None` when that is not possible: no return probe could be set,
/// or it was not reached.
pub(super) fn kills() -> Option<bool> {
    // A perf event without a process counts on one processor.
    // SAFETY: it has no arguments.
    let cpu = usize::try_from(unsafe { libc::sched_getcpu() }).ok()?;
    let event = probe_return_of(probed as *const () as usize, cpu)?;
    let died = dies_with_filter(URETPROBE, || {
        stay_on(cpu);
        probed();
    })?;
    let mut count = [0; 8];
    File::from(event).read_exact(&mut count).ok()?;
    (died || u64::from_ne_bytes(count) > 0).then_some(died)
}

/// Lets this thread run on one processor only.
fn stay_on(cpu: usize) {
    // SAFETY: the set is made of integers, all zero is the empty one; the macro
    // does nothing for a number above its size; the call reads the set.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, std::mem::size_of_val(&set), &raw const set);
    }
}

/// The function that the probe is set on.
#[inline(never)]
extern "C" fn probed() -> u32 {
    std::hint::black_box(0)
}

/// Sets a return probe without any program on the function at `address` of
/// this process, for all processes; what happens on `cpu` is counted.
fn probe_return_of(address: usize, cpu: usize) -> Option<OwnedFd> {
    let (path, offset) = place_of(address)?;
    let path = std::ffi::CString::new(path).ok()?;
    let mut kind = String::new();
    File::open("/sys/bus/event_source/devices/uprobe/type")
        .ok()?
        .read_to_string(&mut kind)
        .ok()?;
    let kind: u64 = kind.trim().parse().ok()?;
    // The first 72 bytes of struct perf_event_attr: type and size, config (bit
    // 0: a return probe), …, config1 (the path), config2 (the offset).
    let mut attributes = [0u64; 9];
    let size = std::mem::size_of_val(&attributes) as u64;
    attributes[0] = kind | size << 32;
    attributes[1] = 1;
    attributes[7] = path.as_ptr() as u64;
    attributes[8] = offset;
    // SAFETY: the kernel reads `attributes`, whose size is in it, and the path
    // that it points to; both live until the call is done.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            attributes.as_ptr(),
            -1,
            cpu,
            -1,
            PERF_FLAG_FD_CLOEXEC,
        )
    };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: a descriptor that the call has just made, owned by nobody else.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// File and file offset of what this process has mapped at `address`.
fn place_of(address: usize) -> Option<(String, u64)> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let start = usize::from_str_radix(start, 16).ok()?;
        let end = usize::from_str_radix(end, 16).ok()?;
        if !(start..end).contains(&address) {
            return None;
        }
        let offset = u64::from_str_radix(fields.nth(1)?, 16).ok()?;
        // The program itself, whatever its path is called by now.
        Some((
            "/proc/self/exe".to_owned(),
            offset + (address - start) as u64,
        ))
    })
}

/// Whether a child that runs `work` is killed by a filter that allows
/// everything but `number`. `None` when there is no child or no filter.
fn dies_with_filter(number: u32, work: impl FnOnce()) -> Option<bool> {
    const NO_FILTER: i32 = 99;
    let statement = |code: u32, jf: u8, k: u32| libc::sock_filter {
        code: u16::try_from(code).unwrap_or(0),
        jt: 0,
        jf,
        k,
    };
    let mut filter = [
        // The number is the first field of struct seccomp_data.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, number),
        statement(
            libc::BPF_RET | libc::BPF_K,
            0,
            libc::SECCOMP_RET_KILL_PROCESS,
        ),
        statement(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: 4,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the child calls only functions that may be called after a fork
    // (prctl, `work`, which makes no allocation and takes no lock, _exit).
    match unsafe { libc::fork() } {
        -1 => None,
        0 => {
            // SAFETY: as above; `program` points to `filter`, which lives.
            unsafe {
                if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
                    || libc::prctl(
                        libc::PR_SET_SECCOMP,
                        libc::SECCOMP_MODE_FILTER,
                        &raw const program,
                    ) != 0
                {
                    libc::_exit(NO_FILTER);
                }
                work();
                libc::_exit(0);
            }
        }
        child => {
            let mut status = 0;
            loop {
                // SAFETY: `status` is a valid place; `child` is ours.
                let got = unsafe { libc::waitpid(child, &raw mut status, 0) };
                if got == child {
                    break;
                }
                if std::io::Error::last_os_error().kind() != std::io::ErrorKind::Interrupted {
                    return None;
                }
            }
            if libc::WIFSIGNALED(status) {
                return Some(true);
            }
            (libc::WEXITSTATUS(status) == 0).then_some(false)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_kernels_in_question_are_tried() {
        for release in ["6.11.0", "6.12.9-amd64", "6.13.4-arch1-1"] {
            assert!(may_kill(release), "{release}");
        }
        for release in ["5.10.0-32-amd64", "6.10.11", "6.14.0", "6.18.44", "7.2.13"] {
            assert!(!may_kill(release), "{release}");
        }
    }

    #[test]
    fn a_filter_that_does_not_know_a_system_call_is_noticed() {
        // What the uretprobe system call is on the kernels in question, getppid
        // is here.
        let number = u32::try_from(libc::SYS_getppid).unwrap();
        let call = || {
            // SAFETY: it has no arguments.
            unsafe { libc::syscall(libc::SYS_getppid) };
        };
        assert_eq!(dies_with_filter(number, call), Some(true));
        assert_eq!(dies_with_filter(number, || ()), Some(false));
    }

    #[test]
    fn a_return_probe_is_set_where_that_is_allowed() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: setting a probe needs root");
            return;
        }
        // All kernels that tests run on let it pass.
        assert_eq!(kills(), Some(false));
    }
}
