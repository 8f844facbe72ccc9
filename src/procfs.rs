//! Process facts read from `/proc` by hand.
//!
//! Everything here may be about a process that ends while it is read: then
//! there is no answer, and that is no error. Ids are those of the pid
//! namespace that `/proc` was mounted for, which is the user's.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::process::Process;

mod container;
#[cfg(test)]
mod tests;

pub use container::{container_of, container_of_directory};

/// How much of a command line is kept, in bytes.
const MAX_CMDLINE: usize = 4096;
/// Longest file below `/proc/PID` that is read, in bytes.
const MAX_FILE: usize = 64 << 10;

/// What is known of a process; `None` when it is gone. A thread's id gives
/// its process. `start` is in clock ticks since boot (1/100 s).
#[must_use]
pub fn process(pid: u32) -> Option<Process> {
    let status = Status::read(pid)?;
    let pid = status.tgid;
    let stat = Stat::read(pid)?;
    let (cmdline, cmdline_cut) = cmdline(pid);
    Some(Process {
        pid,
        start: stat.start,
        comm: comm(pid).unwrap_or_default(),
        exe: exe(pid),
        cmdline,
        cmdline_cut,
        uid: status.uid,
        container: container(pid),
        container_name: None,
    })
}

/// The name of a process or thread, at most 15 bytes.
#[must_use]
pub fn comm(pid: u32) -> Option<Vec<u8>> {
    let mut comm = read(pid, "comm", 64)?;
    if comm.last() == Some(&b'\n') {
        comm.pop();
    }
    Some(comm)
}

/// The path of a process's program in its own mount namespace; without the
/// mark of a deleted file. `None` for kernel threads too.
#[must_use]
pub fn exe(pid: u32) -> Option<Vec<u8>> {
    let path = fs::read_link(path(pid, "exe")).ok()?;
    let mut path = path.into_os_string().into_vec();
    if let Some(name) = path.strip_suffix(b" (deleted)") {
        path.truncate(name.len());
    }
    Some(path)
}

/// The arguments of a process, and whether there are more than the 4 KiB that
/// are kept. Empty when it is gone, or a kernel thread.
#[must_use]
pub fn cmdline(pid: u32) -> (Vec<Vec<u8>>, bool) {
    let Some(mut bytes) = read(pid, "cmdline", MAX_CMDLINE + 1) else {
        return (Vec::new(), false);
    };
    let cut = bytes.len() > MAX_CMDLINE;
    bytes.truncate(MAX_CMDLINE);
    (arguments(&bytes), cut)
}

/// The id of the container a process runs in, by its cgroup.
#[must_use]
pub fn container(pid: u32) -> Option<String> {
    container_of(&cgroups(pid)?)
}

/// The cgroups of a process in all hierarchies, as in `/proc/PID/cgroup`.
#[must_use]
pub fn cgroups(pid: u32) -> Option<String> {
    let text = read(pid, "cgroup", MAX_FILE)?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// The process that a thread belongs to (or itself); `None` when there is no
/// such process or thread.
#[must_use]
pub fn process_of(tid: u32) -> Option<u32> {
    Some(Status::read(tid)?.tgid)
}

/// When a process started, in clock ticks since boot (1/100 s).
#[must_use]
pub fn start(pid: u32) -> Option<u64> {
    Some(Stat::read(pid)?.start)
}

/// All processes, in no order.
#[must_use]
pub fn all() -> Vec<u32> {
    numbers("/proc")
}

/// The threads of a process.
#[must_use]
pub fn threads(pid: u32) -> Vec<u32> {
    numbers(&path(pid, "task"))
}

/// The children of a process.
#[must_use]
pub fn children(pid: u32) -> Vec<u32> {
    let mut children = Vec::new();
    for tid in threads(pid) {
        // Not every kernel has it (CONFIG_PROC_CHILDREN).
        let Ok(text) = fs::read_to_string(path(pid, &format!("task/{tid}/children"))) else {
            return families().remove(&pid).unwrap_or_default();
        };
        children.extend(text.split(' ').filter_map(|pid| pid.parse::<u32>().ok()));
    }
    children
}

/// The descendants of a process, parents before their children, without
/// itself.
#[must_use]
pub fn descendants(pid: u32) -> Vec<u32> {
    let mut families = families();
    let mut found = families.remove(&pid).unwrap_or_default();
    let mut next = 0;
    while let Some(parent) = found.get(next) {
        // Taken out: a pid that is reused while this is read makes no circle.
        found.extend(families.remove(parent).unwrap_or_default());
        next += 1;
    }
    found
}

/// Whether a process has a TCP socket open that does not merely listen (the
/// masters of servers have only such); `None` when that cannot be known.
#[must_use]
pub fn has_connections(pid: u32) -> Option<bool> {
    let entries = fs::read_dir(path(pid, "fd")).ok()?;
    let sockets: FxHashSet<u64> = entries
        .flatten()
        .filter_map(|entry| {
            let link = fs::read_link(entry.path()).ok()?;
            let inode = link.to_str()?.strip_prefix("socket:[")?;
            inode.strip_suffix(']')?.parse().ok()
        })
        .collect();
    if sockets.is_empty() {
        return Some(false);
    }
    let connected = |table: &str| {
        fs::read_to_string(path(pid, table)).is_ok_and(|text| {
            text.lines().skip(1).any(|line| {
                // "sl local remote st …", the inode in the tenth column
                // (Documentation/networking/proc_net_tcp.rst); 0A listens.
                let mut columns = line.split_whitespace().skip(3);
                let state = columns.next();
                let inode = columns.nth(5).and_then(|inode| inode.parse().ok());
                state.is_some_and(|state| state != "0A")
                    && inode.is_some_and(|inode| sockets.contains(&inode))
            })
        })
    };
    Some(connected("net/tcp") || connected("net/tcp6"))
}

/// The inode number of a process's pid namespace.
#[must_use]
pub fn pid_namespace(pid: u32) -> Option<u64> {
    Some(fs::metadata(path(pid, "ns/pid")).ok()?.ino())
}

/// Children by parent, of all processes.
fn families() -> FxHashMap<u32, Vec<u32>> {
    let mut families: FxHashMap<u32, Vec<u32>> = FxHashMap::default();
    for pid in all() {
        if let Some(stat) = Stat::read(pid) {
            families.entry(stat.parent).or_default().push(pid);
        }
    }
    families
}

/// Whether a process is one of these users', or may become so without an exec:
/// servers map their libraries as root, and their workers are somebody else.
/// `None` when it is gone.
#[must_use]
pub fn may_be_of(pid: u32, uids: &[u32]) -> Option<bool> {
    Some(Status::read(pid)?.may_be_of(uids))
}

/// What is used of `/proc/PID/status`.
struct Status {
    tgid: u32,
    /// Effective.
    uid: Option<u32>,
    /// Real, effective, saved, of the file system.
    uids: Vec<u32>,
    /// The capabilities that it may use, a bit for each.
    permitted: u64,
}

impl Status {
    fn read(pid: u32) -> Option<Self> {
        Self::parse(&read(pid, "status", MAX_FILE)?)
    }

    fn parse(text: &[u8]) -> Option<Self> {
        // The name comes first, with its line breaks escaped.
        let field = |name: &[u8]| {
            text.split(|c| *c == b'\n')
                .find_map(|line| line.strip_prefix(name))
                .and_then(|rest| std::str::from_utf8(rest).ok())
        };
        let uids = field(b"Uid:").unwrap_or_default();
        let permitted = field(b"CapPrm:").unwrap_or_default().trim();
        Some(Self {
            tgid: field(b"Tgid:")?.trim().parse().ok()?,
            uid: uids.split_whitespace().nth(1).and_then(|u| u.parse().ok()),
            uids: uids.split_whitespace().flat_map(str::parse).collect(),
            permitted: u64::from_str_radix(permitted, 16).unwrap_or(0),
        })
    }

    /// Without the capability a process can take on its own ids alone
    /// (setresuid(2)).
    fn may_be_of(&self, uids: &[u32]) -> bool {
        const CAP_SETUID: u64 = 1 << 7;
        self.permitted & CAP_SETUID != 0 || self.uids.iter().any(|uid| uids.contains(uid))
    }
}

/// What is used of `/proc/PID/stat`.
struct Stat {
    parent: u32,
    /// Clock ticks since boot.
    start: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        Self::parse(&read(pid, "stat", MAX_FILE)?)
    }

    fn parse(text: &[u8]) -> Option<Self> {
        // The name may hold spaces and parentheses: count from its end.
        let name_end = memchr::memrchr(b')', text)?;
        let rest = std::str::from_utf8(text.get(name_end + 1..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        // State is field 3, parent 4, start 22 (proc(5)).
        Some(Self {
            parent: fields.nth(1)?.parse().ok()?,
            start: fields.nth(17)?.parse().ok()?,
        })
    }
}

/// Splits a command line at its NUL bytes.
fn arguments(bytes: &[u8]) -> Vec<Vec<u8>> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    if bytes.is_empty() {
        return Vec::new();
    }
    let mut arguments: Vec<Vec<u8>> = bytes.split(|c| *c == 0).map(<[u8]>::to_vec).collect();
    // A program that writes a title over its arguments (nginx, postgres)
    // fills the rest with NUL bytes.
    let after = arguments.get(1..).unwrap_or_default();
    if after.len() > 1 && after.iter().all(Vec::is_empty) {
        arguments.truncate(1);
    }
    arguments
}

fn path(pid: u32, name: &str) -> String {
    format!("/proc/{pid}/{name}")
}

/// At most `limit` bytes of a file below `/proc/PID`.
fn read(pid: u32, name: &str, limit: usize) -> Option<Vec<u8>> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(limit.min(2048));
        let file = File::open(path(pid, name))?;
        file.take(limit as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().ok()
}

/// The entries of a directory whose names are numbers.
fn numbers(directory: &str) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            OsStr::to_str(&name)?.parse().ok()
        })
        .collect()
}
