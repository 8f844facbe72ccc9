//! The cgroup file systems: hierarchies and the directories in them.

use std::fs;
use std::os::unix::fs::DirEntryExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::procfs::container_of_directory;

/// Directories that are looked at in one hierarchy; a machine with more than
/// a thousand containers has some ten thousand.
const MAX_CGROUPS: usize = 65_536;
/// How deep they are looked for; container in container in virtual machine
/// stays below 20.
const MAX_DEPTH: usize = 32;
/// Bytes read of a list of processes.
const MAX_PROCS: usize = 1 << 20;

/// A controller of version 1, by whose hierarchy cgroups are told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Controller {
    /// Its name as in `/proc/cgroups`.
    pub name: String,
    /// The number of its hierarchy.
    pub hierarchy: u32,
}

/// A mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its number; 0 is that of version 2.
    pub number: u32,
    /// Its controllers; none for version 2 and for named hierarchies.
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub mount: PathBuf,
}

/// A cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// The number of its hierarchy.
    pub hierarchy: u32,
    /// Its id: the inode number of its directory.
    pub id: u64,
    /// The id of the cgroup it is in.
    pub parent: u64,
    /// Its path in the hierarchy, with a leading slash.
    pub path: String,
    /// Its directory.
    pub directory: PathBuf,
}

impl Cgroup {
    /// The last part of its path.
    #[must_use]
    pub fn name(&self) -> &str {
        name_of(&self.path)
    }

    /// The container that it is made for.
    #[must_use]
    pub fn container(&self) -> Option<String> {
        container_of_path(&self.path)
    }

    /// Whether it is within `other`.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.hierarchy == other.hierarchy
            && self
                .path
                .strip_prefix(&other.path)
                .is_some_and(|rest| rest.starts_with('/'))
    }

    /// The processes in it, those further down left out.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        use std::io::Read as _;
        let mut text = Vec::new();
        // It may be gone: then nothing is in it.
        if let Ok(file) = fs::File::open(self.directory.join("cgroup.procs")) {
            let _ = file.take(MAX_PROCS as u64).read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text)
            .lines()
            .filter_map(|pid| pid.parse().ok())
            .filter(|pid| *pid != 0)
            .collect()
    }

    /// The cgroups within it at present.
    #[must_use]
    pub fn descendants(&self) -> Vec<Self> {
        let mut found = Vec::new();
        walk(self, &mut found);
        found
    }
}

/// The last part of a path.
pub(super) fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The container whose own cgroup has this path.
pub(super) fn container_of_path(path: &str) -> Option<String> {
    let mut parts = path.rsplit('/');
    let name = parts.next().filter(|name| !name.is_empty())?;
    // LXC before version 4: /lxc/NAME.
    container_of_directory(name).or_else(|| (parts.next() == Some("lxc")).then(|| name.to_owned()))
}

/// All cgroups that can be seen.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// The hierarchies: version 2 and those with controllers.
    pub hierarchies: Vec<Hierarchy>,
    /// The cgroups in them, parents first, without the roots.
    pub cgroups: Vec<Cgroup>,
}

impl Tree {
    /// That of the running machine.
    #[must_use]
    pub fn read() -> Self {
        Self::below(Self::hierarchies())
    }

    /// The hierarchies of the running machine.
    #[must_use]
    pub fn hierarchies() -> Vec<Hierarchy> {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        hierarchies(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"))
    }

    /// That of these hierarchies.
    #[must_use]
    pub fn below(hierarchies: Vec<Hierarchy>) -> Self {
        let mut cgroups = Vec::new();
        for hierarchy in &hierarchies {
            let Ok(metadata) = fs::metadata(&hierarchy.mount) else {
                continue;
            };
            let root = Cgroup {
                hierarchy: hierarchy.number,
                id: metadata.ino(),
                parent: 0,
                path: String::new(),
                directory: hierarchy.mount.clone(),
            };
            let mut found = Vec::new();
            walk(&root, &mut found);
            cgroups.append(&mut found);
        }
        Self {
            hierarchies,
            cgroups,
        }
    }
}

/// Adds what is below `root`, parents first. Symbolic links are not followed.
fn walk(root: &Cgroup, found: &mut Vec<Cgroup>) {
    let mut level: Vec<Cgroup> = vec![root.clone()];
    for _ in 0..MAX_DEPTH {
        let mut next = Vec::new();
        for above in &level {
            let Ok(entries) = fs::read_dir(&above.directory) else {
                continue;
            };
            for entry in entries.flatten() {
                if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    continue;
                }
                if found.len() + next.len() >= MAX_CGROUPS {
                    break;
                }
                next.push(Cgroup {
                    hierarchy: above.hierarchy,
                    id: entry.ino(),
                    parent: above.id,
                    path: format!("{}/{}", above.path, entry.file_name().to_string_lossy()),
                    directory: entry.path(),
                });
            }
        }
        if next.is_empty() {
            return;
        }
        found.extend(next.iter().cloned());
        level = next;
    }
}

/// The hierarchies in the text of `/proc/self/mountinfo`, with their numbers
/// from that of `/proc/self/cgroup`. Named ones without controllers (systemd's
/// own) are left out: the kernel side tells cgroups by a controller.
fn hierarchies(mountinfo: &str, cgroup: &str) -> Vec<Hierarchy> {
    let numbers: Vec<(u32, Vec<&str>)> = cgroup
        .lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':');
            let number = fields.next()?.parse().ok()?;
            let names = fields.next()?.split(',').filter(|name| !name.is_empty());
            Some((number, names.collect()))
        })
        .collect();
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mountinfo.lines() {
        let Some(mount) = Mount::parse(line) else {
            continue;
        };
        let hierarchy = match mount.kind {
            "cgroup2" => Hierarchy {
                number: 0,
                controllers: Vec::new(),
                mount: mount.path,
            },
            "cgroup" => {
                let options: Vec<&str> = mount.options.split(',').collect();
                let Some((number, controllers)) = numbers
                    .iter()
                    .find(|(n, names)| *n != 0 && names.iter().any(|name| options.contains(name)))
                else {
                    continue;
                };
                let named = |name: &&&str| !name.contains('=');
                let controllers: Vec<String> = controllers
                    .iter()
                    .filter(named)
                    .map(|c| (*c).to_owned())
                    .collect();
                if controllers.is_empty() {
                    continue;
                }
                Hierarchy {
                    number: *number,
                    controllers,
                    mount: mount.path,
                }
            }
            _ => continue,
        };
        // Mounted twice: the first, unless it shows only a part.
        if !found.iter().any(|h| h.number == hierarchy.number) && mount.root == "/" {
            found.push(hierarchy);
        }
    }
    found
}

/// What is used of a line of `/proc/PID/mountinfo` (proc(5)).
struct Mount<'a> {
    root: &'a str,
    path: PathBuf,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (mount, source) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let root = mount.next()?;
        let path = Path::new(mount.next()?).to_owned();
        let mut source = source.split(' ');
        let kind = source.next()?;
        Some(Self {
            root,
            path,
            kind,
            options: source.nth(1)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_of_a_hybrid_machine() {
        let mounts = "\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw shared:5 - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
42 31 0:38 /part /mnt rw,relatime - cgroup2 cgroup2 rw
";
        let cgroup = "9:name=systemd:/\n8:pids:/a:b\n2:cpu,cpuacct:/\n0::/\n";
        let found = hierarchies(mounts, cgroup);
        let brief: Vec<_> = found
            .iter()
            .map(|h| (h.number, h.controllers.join(","), h.mount.to_str().unwrap()))
            .collect();
        assert_eq!(
            brief,
            [
                (2, "cpu,cpuacct".to_owned(), "/sys/fs/cgroup/cpu,cpuacct"),
                (8, "pids".to_owned(), "/sys/fs/cgroup/pids"),
                (0, String::new(), "/sys/fs/cgroup/unified"),
            ]
        );
    }

    #[test]
    fn containers_by_their_own_directory_only() {
        let id = "0123456789abcdef".repeat(4);
        for path in [
            format!("/docker/{id}"),
            format!("/system.slice/docker-{id}.scope"),
            format!("/kubepods.slice/kubepods-pod1.slice/cri-containerd-{id}.scope"),
        ] {
            assert_eq!(container_of_path(&path), Some(id.clone()), "{path}");
            assert_eq!(container_of_path(&format!("{path}/init.scope")), None);
        }
        assert_eq!(container_of_path("/lxc/web").as_deref(), Some("web"));
        assert_eq!(container_of_path("/lxc"), None);
        assert_eq!(container_of_path(""), None);
    }

    #[test]
    fn within_is_by_whole_parts() {
        let at = |path: &str| Cgroup {
            hierarchy: 0,
            id: 1,
            parent: 0,
            path: path.to_owned(),
            directory: PathBuf::new(),
        };
        assert!(at("/a/b").is_within(&at("/a")));
        assert!(!at("/ab").is_within(&at("/a")));
        assert!(!at("/a").is_within(&at("/a")));
    }
}
