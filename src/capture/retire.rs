//! Files that nobody can use any more: without a name or in a mount that is
//! gone with its container, and mapped by no process. They hold a place, room
//! on the disk and descriptors.
//!
//! To know it, the maps of all processes have to be read, which a thread does
//! now and then, and only if there is such a file.

use std::os::unix::fs::MetadataExt as _;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use rustc_hash::FxHashSet;

use super::files::{Held, Holdings};
use crate::procfs;
use crate::tls::{FileIdentity, maps};

/// How often is looked.
const EVERY: Duration = Duration::from_secs(30);

/// Looks for such files.
pub(super) struct Retirement {
    every: Duration,
    looked: Instant,
    search: Option<JoinHandle<Vec<FileIdentity>>>,
}

/// What there is to do.
pub(super) enum Step {
    Nothing,
    /// A search has begun: what is used from now on counts.
    Begun,
    /// These were used by nobody when they were searched for.
    Unused(Vec<FileIdentity>),
}

impl Retirement {
    pub(super) fn new() -> Self {
        Self {
            every: every(),
            looked: Instant::now(),
            search: None,
        }
    }

    /// Begins a search when it is time to, or gives what one has found.
    pub(super) fn step(&mut self, holdings: impl FnOnce() -> Option<Holdings>) -> Step {
        if let Some(search) = self.search.take_if(|search| search.is_finished()) {
            return Step::Unused(search.join().unwrap_or_default());
        }
        if self.search.is_some() || self.looked.elapsed() < self.every {
            return Step::Nothing;
        }
        self.looked = Instant::now();
        let Some(holdings) = holdings() else {
            return Step::Nothing;
        };
        let name = "retire".to_owned();
        let search = Builder::new().name(name).spawn(move || unused(&holdings));
        self.search = search.ok();
        Step::Begun
    }
}

/// Tests cannot wait as long.
fn every() -> Duration {
    let named = std::env::var("HTTPSNIFF_RETIRE_MS").ok();
    let named = named.and_then(|text| text.parse().ok());
    named.map_or(EVERY, Duration::from_millis)
}

/// Those of the files that nobody can use any more.
fn unused(holdings: &Holdings) -> Vec<FileIdentity> {
    let held = holdings.list();
    let mut gone: Vec<Held> = held.into_iter().filter(is_out_of_sight).collect();
    if gone.is_empty() {
        return Vec::new();
    }
    let pids = procfs::all();
    if gone.iter().any(|file| file.links > 0) {
        let mounts = mounts(&pids);
        gone.retain(|file| file.links == 0 || !mounts.contains(&file.mount));
    }
    // A process that starts meanwhile has its files from one that was there, or
    // maps them itself, which is told.
    let mut seen = FxHashSet::default();
    let mut new = pids;
    while !new.is_empty() && !gone.is_empty() {
        for pid in new {
            seen.insert(pid);
            if let Ok(text) = maps::read(pid) {
                for mapping in maps::parse(&text) {
                    gone.retain(|file| !may_be(file, mapping.inode));
                }
            }
        }
        new = procfs::all();
        new.retain(|pid| !seen.contains(pid));
    }
    gone.into_iter().map(|file| file.identity).collect()
}

/// Whether a mapped inode may be a file: what overlayfs and others show of one
/// may have other upper bits, or another device.
fn may_be(file: &Held, inode: u64) -> bool {
    const LOWER: u64 = 0xffff_ffff;
    file.identity.inode & LOWER == inode & LOWER
}

/// Whether the file is not where its path leads from here.
fn is_out_of_sight(file: &Held) -> bool {
    let there = std::fs::metadata(&file.path);
    file.links == 0 || !there.is_ok_and(|there| (there.dev(), there.ino()) == file.device_inode)
}

/// The ids of all mounts that any of these processes sees.
fn mounts(pids: &[u32]) -> FxHashSet<u64> {
    let mut namespaces = FxHashSet::default();
    let mut mounts = FxHashSet::default();
    for pid in pids {
        let Ok(namespace) = std::fs::metadata(format!("/proc/{pid}/ns/mnt")) else {
            continue;
        };
        if !namespaces.insert(namespace.ino()) {
            continue;
        }
        let text = std::fs::read(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        let ids = text.split(|byte| *byte == b'\n').filter_map(|line| {
            let id = line.split(|byte| *byte == b' ').next()?;
            std::str::from_utf8(id).ok()?.parse::<u64>().ok()
        });
        mounts.extend(ids);
    }
    mounts
}
