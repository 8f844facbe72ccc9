//! Who is behind a pid, for processes that live on and for those that are
//! gone before anyone can read `/proc`.

use std::path::Path;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::bpf::types;
use super::record::Record;
use crate::container::Names;
use crate::process::Process;
use crate::procfs;
use crate::redact::Redact;

/// Nanoseconds in a clock tick of `/proc/PID/stat` (USER_HZ is 100).
const TICK_NS: u64 = 10_000_000;

/// All processes of which something was seen, by pid.
#[derive(Default)]
pub(super) struct Processes {
    by_pid: FxHashMap<u32, Arc<Process>>,
    /// The executable's path comes one record before the arguments.
    executable: Option<(u32, Vec<u8>)>,
    redact: Option<Redact>,
    names: Names,
}

impl Processes {
    pub(super) fn new(redact: Option<Redact>) -> Self {
        Self {
            redact,
            names: Names::new(Path::new("/")),
            ..Self::default()
        }
    }

    /// The process of a record; looked up in `/proc` when it is new.
    pub(super) fn of(&mut self, record: &Record<'_>) -> Option<&Arc<Process>> {
        let pid = record.head.pid;
        if pid == 0 {
            return None;
        }
        let (name, length) = record.thread();
        let comm = name.get(..length).unwrap_or_default();
        let redact = self.redact.as_ref();
        let names = &mut self.names;
        let process = self.by_pid.entry(pid).or_insert_with(|| {
            let mut process = procfs::process(pid).unwrap_or_else(|| Process {
                pid,
                comm: comm.to_vec(),
                ..Process::default()
            });
            mask(&mut process, redact);
            name_container(&mut process, names);
            Arc::new(process)
        });
        // What can change without an exec: the user (a server's workers) and
        // the main thread's name.
        let renamed = record.head.tid == pid && process.comm != comm;
        if process.uid != Some(record.head.uid) || renamed {
            let process = Arc::make_mut(process);
            process.uid = Some(record.head.uid);
            if renamed {
                process.comm = comm.to_vec();
            }
        }
        Some(process)
    }

    /// Names from the last to the first, each ended by a NUL.
    pub(super) fn executable(&mut self, record: &Record<'_>) {
        let mut path = Vec::with_capacity(record.payload.len() + 1);
        let names: Vec<&[u8]> = record
            .payload
            .split(|b| *b == 0)
            .filter(|name| !name.is_empty())
            .collect();
        for name in names.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        self.executable = Some((record.head.pid, path));
    }

    /// A new program: a new process as far as anyone can see.
    pub(super) fn exec(&mut self, record: &Record<'_>) {
        let pid = record.head.pid;
        let before = self.by_pid.get(&pid);
        let (name, length) = record.thread();
        let exe = self
            .executable
            .take()
            .filter(|(of, path)| *of == pid && !path.is_empty())
            .map(|(_, path)| path);
        let mut cmdline: Vec<Vec<u8>> = record
            .payload
            .split(|b| *b == 0)
            .map(<[u8]>::to_vec)
            .collect();
        if record.payload.ends_with(b"\0") {
            cmdline.pop();
        }
        let mut process = Process {
            pid,
            start: record.head.start_ns / TICK_NS,
            comm: name.get(..length).unwrap_or_default().to_vec(),
            exe: exe.or_else(|| procfs::exe(pid)),
            cmdline,
            cmdline_cut: record.has(types::record_flag::FLAG_CUT),
            uid: Some(record.head.uid),
            container: procfs::container(pid)
                .or_else(|| before.and_then(|process| process.container.clone())),
            container_name: None,
        };
        mask(&mut process, self.redact.as_ref());
        name_container(&mut process, &mut self.names);
        self.by_pid.insert(pid, Arc::new(process));
    }

    /// A child is what its parent is until it says otherwise.
    pub(super) fn fork(&mut self, record: &Record<'_>) {
        let (parent, pid) = (record.head.tid, record.head.pid);
        let redact = self.redact.as_ref();
        let names = &mut self.names;
        let parent = self.by_pid.entry(parent).or_insert_with(|| {
            let mut process = procfs::process(parent).unwrap_or_default();
            mask(&mut process, redact);
            name_container(&mut process, names);
            Arc::new(process)
        });
        let child = Process {
            pid,
            start: record.head.start_ns / TICK_NS,
            ..Process::clone(parent)
        };
        self.by_pid.insert(pid, Arc::new(child));
    }

    /// It has ended; its pid may come again.
    pub(super) fn exit(&mut self, pid: u32) {
        self.by_pid.remove(&pid);
    }
}

fn name_container(process: &mut Process, names: &mut Names) {
    if let Some(id) = &process.container {
        // Who owns it stands there; gone with the process.
        let cgroups = procfs::cgroups(process.pid).unwrap_or_default();
        process.container_name = names.first(id, &cgroups);
    }
}

fn mask(process: &mut Process, redact: Option<&Redact>) {
    if let Some(redact) = redact {
        redact.mask_cmdline(&mut process.cmdline);
    }
}
