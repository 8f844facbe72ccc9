//! The cgroups that the kernel side watches for `--container`: those that are
//! there at the start, what is in them, and those that come later.

use std::collections::VecDeque;
use std::os::unix::fs::MetadataExt as _;

use anyhow::{Context as _, Result};
use libbpf_rs::btf::{Btf, types as btf};
use libbpf_rs::{MapCore as _, MapFlags};

use super::bpf::{HttpsniffSkel, OpenHttpsniffSkel, types};
use crate::container::{Cgroup, Controller, Hierarchy, Selection, Tree, Wants};
use crate::procfs;

/// New cgroups that wait for their names to be read.
const MAX_WAITING: usize = 4096;

/// A cgroup that was made, or that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) gone: bool,
    pub(super) hierarchy: u32,
    pub(super) id: u64,
    /// In its hierarchy, with a leading slash.
    pub(super) path: String,
    /// The kernel side watches it already.
    pub(super) watched: bool,
}

/// What follows from a change.
#[derive(Default)]
pub(super) struct News {
    /// What to tell the user.
    pub(super) notices: Vec<String>,
    /// Processes whose start was not seen, because they were not watched yet.
    pub(super) joined: Vec<u32>,
}

/// What `--container` selects, kept up to date.
pub(super) struct Containers {
    selection: Selection,
    hierarchies: Vec<Hierarchy>,
    /// New cgroups that there was no time for yet.
    waiting: VecDeque<Change>,
    /// Those that there was never time for.
    passed: u64,
}

impl Containers {
    pub(super) fn new(selection: Selection) -> Self {
        Self {
            selection,
            hierarchies: Tree::hierarchies(),
            waiting: VecDeque::new(),
            passed: 0,
        }
    }

    /// Has the kernel side watch all of them. To be called once the hooks on
    /// new cgroups are attached, so that none is missed.
    pub(super) fn watch_all(&self, skel: &HttpsniffSkel<'_>) -> Result<()> {
        for cgroup in &self.selection.cgroups {
            watch(skel, cgroup)
                .with_context(|| format!("cannot watch the cgroup {}", cgroup.path))?;
        }
        for cgroup in &self.selection.expected {
            await_at(skel, cgroup);
        }
        Ok(())
    }

    /// The processes in them at present.
    pub(super) fn processes(&self) -> Vec<u32> {
        self.selection.processes()
    }

    /// Whether a process is in one of those that the kernel side watches. So is
    /// one of which that cannot be told.
    pub(super) fn hold(&self, skel: &HttpsniffSkel<'_>, pid: u32) -> bool {
        let Some(text) = procfs::cgroups(pid) else {
            return true;
        };
        let controller = self.selection.controller.as_ref().map(|c| c.hierarchy);
        let mut unknown = false;
        for (number, path) in text.lines().filter_map(hierarchy_and_path) {
            if !(number == 0 && self.selection.unified || controller == Some(number)) {
                continue;
            }
            match self.id_of(number, path) {
                Some(id) => {
                    let key = key(id, number);
                    let watch = skel.maps.watched_cgroups.lookup(&key, MapFlags::ANY);
                    if !matches!(watch, Ok(None)) {
                        return true;
                    }
                }
                None => unknown = true,
            }
        }
        unknown
    }

    /// The id of a cgroup; `None` if it cannot be seen, or is gone.
    fn id_of(&self, hierarchy: u32, path: &str) -> Option<u64> {
        let hierarchy = self.hierarchies.iter().find(|h| h.number == hierarchy)?;
        // Above the root of httpsniff's own cgroup namespace.
        if path.split('/').any(|part| part == "..") {
            return None;
        }
        let directory = hierarchy.mount.join(path.trim_start_matches('/'));
        std::fs::metadata(directory).ok().map(|m| m.ino())
    }

    /// Takes note of changes. What there is no time for waits for the next
    /// call.
    pub(super) fn changed(
        &mut self,
        skel: &HttpsniffSkel<'_>,
        changes: impl IntoIterator<Item = Change>,
    ) -> Result<News> {
        let mut news = News::default();
        for change in changes {
            if change.gone {
                self.selection.remove(change.hierarchy, change.id);
                news.notices.extend(self.selection.ended(&change.path));
            } else if change.watched {
                if let Some(cgroup) = self.find(&change) {
                    self.selection.add(cgroup);
                }
                news.notices.extend(self.selection.started(&change.path));
            } else if self.selection.is_known(&change.path) {
                self.waiting.push_front(change);
            } else if self.waiting.len() < MAX_WAITING {
                self.waiting.push_back(change);
            } else {
                self.passed += 1;
                // Not a line for each.
                if self.passed.is_power_of_two() {
                    news.notices.push(format!(
                        "containers start faster than their names can be read: {} were not \
                         looked at by --container",
                        self.passed
                    ));
                }
            }
        }
        while let Some(change) = self.waiting.pop_front() {
            // Gone again, as most are of those that waited long.
            let Some(cgroup) = self.find(&change) else {
                continue;
            };
            match self.selection.wants(&change.path) {
                Wants::No => {}
                Wants::Later => {
                    self.waiting.push_front(change);
                    break;
                }
                Wants::Yes => {
                    watch(skel, &cgroup)
                        .with_context(|| format!("cannot watch the cgroup {}", cgroup.path))?;
                    news.joined.extend(cgroup.processes());
                    let within = cgroup.descendants();
                    news.joined
                        .extend(within.iter().flat_map(Cgroup::processes));
                    self.selection.add(cgroup);
                    news.notices.extend(self.selection.started(&change.path));
                }
            }
        }
        Ok(news)
    }

    /// The cgroup that a record tells of; `None` if it is gone again.
    fn find(&self, change: &Change) -> Option<Cgroup> {
        let hierarchy = self
            .hierarchies
            .iter()
            .find(|h| h.number == change.hierarchy)?;
        let directory = hierarchy.mount.join(change.path.trim_start_matches('/'));
        let inode = |path| std::fs::metadata(path).ok().map(|m| m.ino());
        let id = inode(directory.as_path()).filter(|id| *id == change.id)?;
        Some(Cgroup {
            hierarchy: change.hierarchy,
            id,
            parent: inode(directory.parent()?)?,
            path: change.path.clone(),
            directory,
        })
    }
}

/// The number of the hierarchy and the path in a line of `/proc/PID/cgroup`.
fn hierarchy_and_path(line: &str) -> Option<(u32, &str)> {
    let (number, rest) = line.split_once(':')?;
    let (_controllers, path) = rest.split_once(':')?;
    Some((number.parse().ok()?, path))
}

/// Tells the programs where to look, before they are loaded.
pub(super) fn set_up(open: &mut OpenHttpsniffSkel<'_>, selection: &Selection) -> Result<()> {
    let controller = match &selection.controller {
        Some(controller) => Some((index(controller)?, controller.hierarchy)),
        None => None,
    };
    if let Some(rodata) = open.maps.rodata_data.as_deref_mut() {
        rodata.filter_cgroups = true;
        rodata.cgroup_v2 = selection.unified;
        if let Some((index, hierarchy)) = controller {
            rodata.cgroup_v1 = index;
            rodata.cgroup_v1_hierarchy = hierarchy;
        }
    }
    Ok(())
}

/// The kernel's number of a controller (`enum cgroup_subsys_id`), which
/// depends on how it was built.
fn index(controller: &Controller) -> Result<i32> {
    let types = Btf::from_vmlinux().context("cannot read the kernel's types")?;
    // Its old name is that of users.
    let name = match controller.name.as_str() {
        "blkio" => "io",
        name => name,
    };
    let wanted = format!("{name}_cgrp_id");
    types
        .type_by_name::<btf::Enum<'_>>("cgroup_subsys_id")
        .and_then(|ids| {
            ids.iter()
                .find(|id| id.name.is_some_and(|n| n == wanted.as_str()))
                .and_then(|id| i32::try_from(id.value).ok())
        })
        .with_context(|| format!("this kernel does not know the cgroup controller {name}"))
}

/// Watches a cgroup, all that is in it, and what will take its place.
fn watch(skel: &HttpsniffSkel<'_>, cgroup: &Cgroup) -> Result<()> {
    add(skel, cgroup, types::cgroup_watch::CGROUP_SELECTED)?;
    // From now on the kernel side adds what is made in those it has. What is
    // made in one that is yet to be added is found in the next round.
    let mut known = rustc_hash::FxHashSet::default();
    loop {
        let mut fresh = cgroup.descendants();
        fresh.retain(|c| known.insert(c.id));
        if fresh.is_empty() {
            break;
        }
        for cgroup in &fresh {
            add(skel, cgroup, types::cgroup_watch::CGROUP_INSIDE)?;
        }
    }
    await_at(skel, cgroup);
    Ok(())
}

/// Has the kernel side watch what is made in this place.
fn await_at(skel: &HttpsniffSkel<'_>, cgroup: &Cgroup) {
    if let Some(place) = place(cgroup) {
        // Without it, it is found by its name, a little later.
        let _ = skel
            .maps
            .awaited_cgroups
            .update(&place, &1u32.to_ne_bytes(), MapFlags::ANY);
    }
}

fn add(
    skel: &HttpsniffSkel<'_>,
    cgroup: &Cgroup,
    mode: types::cgroup_watch,
) -> libbpf_rs::Result<()> {
    let key = key(cgroup.id, cgroup.hierarchy);
    skel.maps
        .watched_cgroups
        .update(&key, &mode.0.to_ne_bytes(), MapFlags::ANY)
}

/// A `struct cgroup_key`.
fn key(id: u64, hierarchy: u32) -> [u8; 16] {
    let mut key = [0; 16];
    let (first, second) = key.split_at_mut(8);
    first.copy_from_slice(&id.to_ne_bytes());
    second.copy_from_slice(&u64::from(hierarchy).to_ne_bytes());
    key
}

/// A `struct cgroup_place`; `None` for a name that is too long for it.
fn place(cgroup: &Cgroup) -> Option<Vec<u8>> {
    const NAME_MAX: usize = 112;
    let mut place = key(cgroup.parent, cgroup.hierarchy).to_vec();
    let name = cgroup.name().as_bytes();
    if name.len() >= NAME_MAX {
        return None;
    }
    place.extend_from_slice(name);
    place.resize(16 + NAME_MAX, 0);
    Some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_cgroups_are_read() {
        let line = hierarchy_and_path;
        assert_eq!(line("0::/a:b/c"), Some((0, "/a:b/c")));
        assert_eq!(line("4:cpu,cpuacct:/"), Some((4, "/")));
        for broken in ["", "0", "0:", "x::/", "-1::/"] {
            assert_eq!(line(broken), None, "{broken}");
        }
    }
}
