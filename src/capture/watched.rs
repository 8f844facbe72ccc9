//! Which processes are watched, by `--pid`, `--follow`, `--uid` and
//! `--container`: telling the kernel side, which filters what it records, and
//! knowing it here, where it decides whose libraries are probed.

use anyhow::{Context as _, Result};
use libbpf_rs::{MapCore as _, MapFlags};

use super::bpf::types;
use super::containers::Containers;
use super::{Capture, Settings};
use crate::procfs;

impl Capture {
    pub(super) fn watch_users(&self) -> Result<()> {
        for uid in &self.settings.uids {
            self.skel
                .maps
                .watched_uids
                .update(&uid.to_ne_bytes(), &[1], MapFlags::ANY)
                .context("cannot set the users to watch")?;
        }
        Ok(())
    }

    /// Watches one more process, and its descendants if `follow` (COMMAND:
    /// called while it waits before its exec).
    pub fn watch(&mut self, pid: u32, follow: bool) -> Result<()> {
        let mode = if follow {
            types::watch::WATCH_TREE
        } else {
            types::watch::WATCH_ONE
        };
        let add = |capture: &Self, pid: u32| {
            capture
                .skel
                .maps
                .watched
                .update(&pid.to_ne_bytes(), &mode.0.to_ne_bytes(), MapFlags::ANY)
                .with_context(|| format!("cannot watch process {pid}"))
        };
        add(self, pid)?;
        if follow {
            // New children are added in the kernel from now on.
            // One that was listed may have had a child before it was added.
            let mut known = rustc_hash::FxHashSet::default();
            loop {
                let mut fresh = procfs::descendants(pid);
                fresh.retain(|child| known.insert(*child));
                if fresh.is_empty() {
                    break;
                }
                for child in fresh {
                    add(self, child)?;
                }
            }
        }
        self.named.push(pid);
        // What ended before it was watched has no exit record.
        for pid in self.watched() {
            if !is_alive(pid) {
                let _ = self.skel.maps.watched.delete(&pid.to_ne_bytes());
            }
        }
        Ok(())
    }

    /// The processes that are watched at present.
    fn watched(&self) -> Vec<u32> {
        self.skel
            .maps
            .watched
            .keys()
            .filter_map(|key| Some(u32::from_ne_bytes(key.try_into().ok()?)))
            .collect()
    }

    /// The processes whose libraries matter.
    pub(super) fn all_watched(&self) -> Vec<u32> {
        let mut pids = if self.settings.selects_pids() {
            self.watched()
        } else if let Some(containers) = &self.containers {
            containers.processes()
        } else {
            procfs::all()
        };
        pids.retain(|pid| self.is_of_watched_user(*pid));
        pids
    }

    /// Whether the libraries of a process matter. A probe costs all who use
    /// its file: a file of which only others are told is left alone.
    pub(super) fn is_watched(&self, pid: u32) -> bool {
        let is_named = !self.settings.selects_pids()
            || self
                .skel
                .maps
                .watched
                .lookup(&pid.to_ne_bytes(), MapFlags::ANY)
                .is_ok_and(|value| value.is_some());
        let containers = self.containers.as_ref();
        is_named
            && self.is_of_watched_user(pid)
            && containers.is_none_or(|containers| containers.hold(&self.skel, pid))
    }

    fn is_of_watched_user(&self, pid: u32) -> bool {
        is_of_user(&self.settings.uids, pid)
    }

    /// Whether processes were named (`Settings::pids`, [`Self::watch`]) and
    /// all of them and, when followed, their descendants have ended.
    #[must_use]
    pub fn targets_ended(&self) -> bool {
        !self.named.is_empty() && self.skel.maps.watched.keys().next().is_none()
    }

    /// Watched processes that have children and no connection of their own and
    /// are not followed (for the hint “add --follow”): pid and name.
    #[must_use]
    pub fn childbearing_targets(&self) -> Vec<(u32, String)> {
        if self.settings.follow {
            return Vec::new();
        }
        self.named
            .iter()
            .filter(|pid| {
                !procfs::children(**pid).is_empty() && procfs::has_connections(**pid) == Some(false)
            })
            .filter_map(|pid| {
                let process = procfs::process(*pid)?;
                Some((*pid, String::from_utf8_lossy(&process.comm).into_owned()))
            })
            .collect()
    }
}

/// The processes whose libraries matter, before the kernel side knows them.
pub(super) fn to_look_at(settings: &Settings, containers: Option<&Containers>) -> Vec<u32> {
    let mut pids = if settings.selects_pids() {
        let mut pids = settings.pids.clone();
        if settings.follow {
            pids.extend(
                settings
                    .pids
                    .iter()
                    .flat_map(|pid| procfs::descendants(*pid)),
            );
        }
        pids
    } else if let Some(containers) = containers {
        containers.processes()
    } else {
        procfs::all()
    };
    pids.retain(|pid| is_of_user(&settings.uids, *pid));
    pids
}

/// Whether a process is of one of these users, or may become so.
fn is_of_user(uids: &[u32], pid: u32) -> bool {
    // One that is gone needs no probe; it is not for this to say.
    uids.is_empty() || procfs::may_be_of(pid, uids).unwrap_or(true)
}

/// Whether a process is there and more than a zombie.
fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/status"))
        .is_ok_and(|status| !status.contains("\nState:\tZ") && !status.contains("\nState:\tX"))
}
