//! Cgroups of a test's own, as container engines and systemd make them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::process::eventually;

/// A hierarchy of this machine in which a test can make cgroups.
#[derive(Clone, Debug)]
pub(crate) struct Hierarchy {
    mount: PathBuf,
}

/// Version 2 and the controller `pids` of version 1, where this machine has
/// them.
pub(crate) fn hierarchies() -> Vec<Hierarchy> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let find = |kind: &str, option: Option<&str>| {
        mounts.lines().find_map(|line| {
            let (mount, source) = line.split_once(" - ")?;
            let mut source = source.split(' ');
            let is_it = source.next()? == kind
                && option.is_none_or(|o| source.nth(1).unwrap_or("").split(',').any(|x| x == o));
            is_it.then(|| Hierarchy {
                mount: mount.split(' ').nth(4).unwrap().into(),
            })
        })
    };
    [find("cgroup2", None), find("cgroup", Some("pids"))]
        .into_iter()
        .flatten()
        .collect()
}

/// A number that no other test has, nor another run of them.
pub(crate) fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{:05x}{next:03x}", std::process::id())
}

/// A container id that no other test has.
pub(crate) fn container_id() -> String {
    format!("{}{:0<56}", unique(), "5eed")
}

/// A cgroup; removed when dropped, with what the test made in it.
pub(crate) struct Cgroup {
    path: PathBuf,
    /// Directories that were made for it, the innermost first.
    made: Vec<PathBuf>,
}

impl Cgroup {
    /// Makes one, and those that it is in.
    pub(crate) fn new(hierarchy: &Hierarchy, path: &str) -> Self {
        let path = hierarchy.mount.join(path.trim_start_matches('/'));
        let mut made = Vec::new();
        let mut missing = path.as_path();
        while !missing.exists() {
            made.push(missing.to_owned());
            missing = missing.parent().unwrap();
        }
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path, made }
    }

    /// One within it, which ends with it.
    pub(crate) fn child(&mut self, name: &str) -> Self {
        let path = self.path.join(name);
        fs::create_dir(&path).unwrap();
        self.made.insert(0, path.clone());
        Self {
            path,
            made: Vec::new(),
        }
    }

    /// The command, run in it from its exec on.
    pub(crate) fn run(&self, command: &Command) -> Command {
        let mut inside = Command::new("/bin/sh");
        inside.args(["-c", "echo $$ >\"$0/cgroup.procs\" && exec \"$@\""]);
        inside.arg(&self.path).arg(command.get_program());
        inside.args(command.get_args());
        if let Some(folder) = command.get_current_dir() {
            inside.current_dir(folder);
        }
        inside
    }

    /// Moves a process into it.
    pub(crate) fn take(&self, pid: u32) {
        fs::write(self.path.join("cgroup.procs"), pid.to_string()).unwrap();
    }

    /// Ends it, once its processes have.
    pub(crate) fn end(mut self) {
        self.remove();
    }

    fn remove(&mut self) {
        for path in std::mem::take(&mut self.made) {
            remove(&path);
        }
    }
}

/// A process that has been waited for may still be listed for a moment. What
/// others have put something into is left to them.
fn remove(path: &Path) {
    let is_shared = || fs::read_dir(path).is_ok_and(|all| all.flatten().any(|e| e.path().is_dir()));
    if is_shared() {
        return;
    }
    eventually("a cgroup is empty", || {
        fs::remove_dir(path).is_ok() || !path.exists() || is_shared()
    });
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for path in &self.made {
                let _best_effort = fs::remove_dir(path);
            }
        } else {
            self.remove();
        }
    }
}
