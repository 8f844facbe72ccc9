//! Names of containers, from the files in which their engines keep them.
//!
//! | engine | file | what in it |
//! |---|---|---|
//! | Docker | `DATA/containers/ID/config.v2.json` | `Name` (`/web`), `Config.Labels` |
//! | Podman, CRI-O | `GRAPH/DRIVER-containers/containers.json`, `volatile-containers.json` (of `--rm`) | `id`, `names` |
//! | CRI-O | `GRAPH/DRIVER-containers/ID/userdata/config.json` | `annotations` |
//! | containerd (Kubernetes, nerdctl) | `/run/containerd/io.containerd.runtime.v2.task/NAMESPACE/ID/config.json` | `annotations` |
//!
//! Some lie in users' own folders and may hold anything: what they say is
//! believed of that user's own containers only, every file is read up to a
//! bound, no more of it is remembered than a bound, and what is not as expected
//! says nothing.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustc_hash::FxHashMap;
use rustix::fs::{Mode, OFlags};
use serde_json::{Map, Value};

use super::budget::Budget;

/// Bytes read of a file of the system's, and of one in a user's folder.
const MAX_FILE: usize = 8 << 20;
const MAX_USERS_FILE: usize = 1 << 20;
/// Entries of a directory, containers of a list and accounts that are looked
/// at.
const MAX_ENTRIES: usize = 4096;
/// Containers that are remembered: those of a machine that keeps many.
pub(super) const MAX_KNOWN: usize = 16_384;
/// Bytes of a name or id. The longest that Kubernetes makes is POD/CONTAINER
/// of 253 and 63.
pub(super) const MAX_NAME: usize = 512;
/// Names that one file gives one container, and files of one owner that are
/// heard about it.
const MAX_NAMES: usize = 16;
/// Drivers of one graph root.
const MAX_DRIVERS: usize = 16;

/// Docker's data folders: the usual one and that of the snap.
const DOCKER: [&str; 2] = ["/var/lib/docker", "/var/snap/docker/common/var-lib-docker"];
/// Where Docker is told to keep its data elsewhere (`data-root`).
const DOCKER_SETTINGS: &str = "/etc/docker/daemon.json";
/// The graph roots of containers/storage (Podman, CRI-O, Buildah), and the
/// run root, where transient stores keep their lists.
const STORAGE: [&str; 2] = ["/var/lib/containers/storage", "/run/containers/storage"];
/// State folders of containerd: its own, those of k3s, MicroK8s, k0s.
const CONTAINERD: [&str; 4] = [
    "/run/containerd",
    "/run/k3s/containerd",
    "/var/snap/microk8s/common/run/containerd",
    "/run/k0s/containerd",
];
/// Where systemd finds the units of the system (systemd.unit(5)).
const UNITS: [&str; 4] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
/// What containerd calls the folder of its running containers.
const TASKS: [&str; 2] = [
    "io.containerd.runtime.v2.task",
    "io.containerd.runtime.v1.linux",
];

/// What a container is called.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    /// The first is the one to show.
    names: Vec<String>,
    /// The user in whose folder that stands; `None`: the system's.
    owner: Option<u32>,
}

/// The names of this machine's containers, also of those that do not run.
#[derive(Clone, Debug, Default)]
pub struct Names {
    root: PathBuf,
    sources: Vec<Source>,
    known: FxHashMap<String, Container>,
    /// Containers that were ever remembered.
    remembered: u64,
    budget: Budget,
}

/// What is remembered of a container.
#[derive(Clone, Debug, Default)]
struct Container {
    known: Vec<Known>,
    /// How many were remembered before it.
    after: u64,
}

#[derive(Clone, Debug)]
struct Source {
    kind: Kind,
    folder: PathBuf,
    owner: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Docker,
    Storage,
    Containerd,
}

impl Names {
    /// Knows where they are and has not read any. `root` is `/` but in tests.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            sources: sources(root),
            ..Self::default()
        }
    }

    /// Reads them all.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        let mut names = Self::new(root);
        for source in names.sources.clone() {
            names.all_of(&source);
        }
        names
    }

    /// The name to show of a container, read once. None for so many that
    /// there is no time to read them.
    pub fn first(&mut self, id: &str, path: &str) -> Option<String> {
        if !self.known.contains_key(id) && self.look_again(id) {
            // Nor is it read again when there is none.
            self.remember(id);
        }
        self.of(id, path).next().map(str::to_owned)
    }

    /// What the container with this id and this cgroup path is called, the
    /// name to show first.
    pub fn of<'a>(&'a self, id: &str, path: &'a str) -> impl Iterator<Item = &'a str> {
        let known = self.known.get(id).into_iter();
        known
            .flat_map(|container| &container.known)
            .filter(move |known| known.owner.is_none_or(|uid| is_of_user(path, uid)))
            .flat_map(|known| &known.names)
            .map(String::as_str)
    }

    /// The ids of all containers of this name, running or not.
    pub fn ids<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.known
            .iter()
            .filter(move |(_, container)| container.is_called(name))
            .map(|(id, _)| id.as_str())
    }

    /// As [`ids`](Self::ids), of those only that a user cannot have made up.
    pub fn trusted_ids<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let is_it = |k: &Known, name| k.owner.is_none() && k.names.iter().any(|n| n == name);
        self.known
            .iter()
            .filter(move |(_, container)| container.known.iter().any(|k| is_it(k, name)))
            .map(|(id, _)| id.as_str())
    }

    /// The ids that begin so, running or not.
    pub fn begun<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        let ids = self.known.keys().map(String::as_str);
        ids.filter(move |id| id.starts_with(prefix))
    }

    /// Whether systemd has a unit of this name to start.
    #[must_use]
    pub fn is_unit(&self, name: &str) -> bool {
        // name@instance.service is made of name@.service.
        let template = name.split_once('@').and_then(|(before, after)| {
            let (_, kind) = after.rsplit_once('.')?;
            Some(format!("{before}@.{kind}"))
        });
        UNITS.iter().any(|folder| {
            let folder = self.root.join(folder.trim_start_matches('/'));
            [Some(name), template.as_deref()]
                .into_iter()
                .flatten()
                .any(|name| folder.join(name).is_file())
        })
    }

    /// Remembers only the containers that are called like one of these.
    pub fn keep(&mut self, names: &[&str]) {
        self.known
            .retain(|_, container| names.iter().any(|name| container.is_called(name)));
    }

    /// Remembers nothing of a container.
    pub fn forget(&mut self, id: &str) {
        self.known.remove(id);
    }

    /// Reads again what is said of one container; `false` if too much time
    /// went into that lately, and it is to be asked for later.
    pub fn look_again(&mut self, id: &str) -> bool {
        self.known.remove(id);
        // An id is part of a path from here on.
        if id.is_empty() || !id.bytes().all(|c| c.is_ascii_alphanumeric()) {
            return true;
        }
        let start = Instant::now();
        if !self.budget.allows(start) {
            return false;
        }
        if self.known.len() >= MAX_KNOWN {
            let oldest = self.known.iter().min_by_key(|(_, c)| c.after);
            if let Some(id) = oldest.map(|(id, _)| id.clone()) {
                self.known.remove(&id);
            }
        }
        for source in self.sources.clone() {
            match source.kind {
                Kind::Docker => self.docker(&source, id),
                Kind::Storage => self.storage(&source, Some(id)),
                Kind::Containerd => {
                    for task in tasks(&source.folder) {
                        self.bundle(&source, id, &task.join(id).join("config.json"));
                    }
                }
            }
        }
        self.budget.spend(start.elapsed());
        true
    }

    fn all_of(&mut self, source: &Source) {
        match source.kind {
            Kind::Docker => {
                for id in entries(&source.folder.join("containers")) {
                    self.docker(source, &id);
                }
            }
            Kind::Storage => self.storage(source, None),
            Kind::Containerd => {
                for task in tasks(&source.folder) {
                    for id in entries(&task) {
                        self.bundle(source, &id, &task.join(&id).join("config.json"));
                    }
                }
            }
        }
    }

    fn docker(&mut self, source: &Source, id: &str) {
        let path = source.folder.join("containers").join(id);
        let Some(config) = json(&path.join("config.v2.json"), source.owner) else {
            return;
        };
        let mut names = Vec::new();
        if let Some(name) = config.get("Name").and_then(Value::as_str) {
            names.push(name.trim_start_matches('/').to_owned());
        }
        // Of Kubernetes, by cri-dockerd.
        if let Some(labels) = config.pointer("/Config/Labels").and_then(Value::as_object) {
            add_kubernetes(&mut names, labels);
        }
        self.add(id, names, source.owner);
    }

    /// The lists, and what CRI-O notes beside them.
    fn storage(&mut self, source: &Source, only: Option<&str>) {
        let folders = entries(&source.folder).into_iter();
        let folders = folders.filter(|folder| folder.ends_with("-containers"));
        for folder in folders.take(MAX_DRIVERS) {
            let folder = source.folder.join(folder);
            for list in ["containers.json", "volatile-containers.json"] {
                let Some(Value::Array(list)) = json(&folder.join(list), source.owner) else {
                    continue;
                };
                for container in list.iter().take(MAX_ENTRIES) {
                    let Some(id) = container.get("id").and_then(Value::as_str) else {
                        continue;
                    };
                    if only.is_some_and(|only| only != id) {
                        continue;
                    }
                    let names = container.get("names").and_then(Value::as_array);
                    let names = names
                        .into_iter()
                        .flatten()
                        .filter_map(Value::as_str)
                        .filter(|name| is_short(name))
                        .take(MAX_NAMES)
                        .map(str::to_owned)
                        .collect();
                    self.add(id, names, source.owner);
                    let is_part = |c: u8| c.is_ascii_alphanumeric();
                    if source.owner.is_none() && !id.is_empty() && id.bytes().all(is_part) {
                        let bundle = folder.join(id).join("userdata/config.json");
                        self.bundle(source, id, &bundle);
                    }
                }
            }
        }
    }

    /// The annotations in a runtime's `config.json`.
    fn bundle(&mut self, source: &Source, id: &str, path: &Path) {
        let Some(config) = json(path, source.owner) else {
            return;
        };
        let Some(annotations) = config.get("annotations").and_then(Value::as_object) else {
            return;
        };
        let mut names = Vec::new();
        if let Some(name) = text(annotations, "nerdctl/name") {
            names.push(name.to_owned());
        }
        add_kubernetes(&mut names, annotations);
        self.add(id, names, source.owner);
    }

    fn add(&mut self, id: &str, mut names: Vec<String>, owner: Option<u32>) {
        names.retain(|name| !name.is_empty() && is_short(name));
        names.truncate(MAX_NAMES);
        if names.is_empty() {
            return;
        }
        if let Some(container) = self.remember(id)
            // Nobody's lists keep others from being heard.
            && container.known.iter().filter(|k| k.owner == owner).count() < MAX_NAMES
        {
            container.known.push(Known { names, owner });
        }
    }

    /// The entry of a container; `None` if there is no room for it.
    fn remember(&mut self, id: &str) -> Option<&mut Container> {
        if !self.known.contains_key(id) {
            if !is_short(id) || self.known.len() >= MAX_KNOWN {
                return None;
            }
            let container = Container {
                known: Vec::new(),
                after: self.remembered,
            };
            self.known.insert(id.to_owned(), container);
            self.remembered += 1;
        }
        self.known.get_mut(id)
    }
}

impl Container {
    fn is_called(&self, name: &str) -> bool {
        let mut names = self.known.iter().flat_map(|known| &known.names);
        names.any(|n| n == name)
    }
}

/// A longer one is nobody's name or id.
const fn is_short(name: &str) -> bool {
    name.len() <= MAX_NAME
}

/// What Kubernetes calls it, by the annotations of containerd, of CRI-O and of
/// the kubelet: the container's name, the pod's, and both.
fn add_kubernetes(names: &mut Vec<String>, annotations: &Map<String, Value>) {
    let any = |keys: [&str; 2]| keys.iter().find_map(|key| text(annotations, key));
    let kind = [
        "io.kubernetes.cri.container-type",
        "io.kubernetes.cri-o.ContainerType",
        "io.kubernetes.docker.type",
    ];
    // The pod's own container holds its namespaces, no program.
    if kind
        .iter()
        .any(|key| matches!(text(annotations, key), Some("sandbox" | "podsandbox")))
    {
        return;
    }
    let container = any([
        "io.kubernetes.cri.container-name",
        "io.kubernetes.container.name",
    ]);
    let pod = any(["io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"]);
    names.extend(container.map(str::to_owned));
    names.extend(pod.map(str::to_owned));
    if let (Some(pod), Some(container)) = (pod, container) {
        names.push(format!("{pod}/{container}"));
    }
}

fn text<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    map.get(key).and_then(Value::as_str)
}

/// Whether systemd keeps this cgroup for this user.
fn is_of_user(path: &str, uid: u32) -> bool {
    let slice = format!("user-{uid}.slice");
    path.split('/').any(|part| part == slice)
}

/// Where to look.
fn sources(root: &Path) -> Vec<Source> {
    let at = |path: &str| root.join(path.trim_start_matches('/'));
    let mut sources = Vec::new();
    let mut add = |kind, folder: PathBuf, owner| {
        sources.push(Source {
            kind,
            folder,
            owner,
        });
    };
    for folder in DOCKER {
        add(Kind::Docker, at(folder), None);
    }
    let settings = json(&at(DOCKER_SETTINGS), None);
    let moved = settings.as_ref().and_then(|s| s.get("data-root")?.as_str());
    if let Some(folder) = moved.filter(|folder| !DOCKER.contains(folder)) {
        add(Kind::Docker, at(folder), None);
    }
    for folder in STORAGE {
        add(Kind::Storage, at(folder), None);
    }
    for folder in CONTAINERD {
        add(Kind::Containerd, at(folder), None);
    }
    for (uid, home) in homes(&at("/etc/passwd")) {
        let share = at(&home).join(".local/share");
        add(Kind::Storage, share.join("containers/storage"), Some(uid));
        add(Kind::Docker, share.join("docker"), Some(uid));
    }
    sources
}

/// The people of this machine and their folders.
fn homes(passwd: &Path) -> Vec<(u32, String)> {
    let text = read(passwd, MAX_FILE).unwrap_or_default();
    String::from_utf8_lossy(&text)
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':').skip(2);
            let uid = fields.next()?.parse().ok().filter(|uid| *uid != 0)?;
            let home = fields.nth(2)?.to_owned();
            Some((uid, home)).filter(|(_, home)| home.len() > 1)
        })
        .take(MAX_ENTRIES)
        .collect()
}

/// The folders of containerd's namespaces.
fn tasks(folder: &Path) -> Vec<PathBuf> {
    TASKS
        .iter()
        .map(|tasks| folder.join(tasks))
        .flat_map(|tasks| {
            let names = entries(&tasks).into_iter();
            names.map(move |name| tasks.join(name)).collect::<Vec<_>>()
        })
        .collect()
}

/// The names in a directory; none if it cannot be read.
fn entries(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .take(MAX_ENTRIES)
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

fn json(path: &Path, owner: Option<u32>) -> Option<Value> {
    let limit = if owner.is_some() {
        MAX_USERS_FILE
    } else {
        MAX_FILE
    };
    serde_json::from_slice(&read(path, limit)?).ok()
}

/// A regular file of at most `limit` bytes. A FIFO in its place does not hold
/// anything up.
fn read(path: &Path, limit: usize) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).ok()?);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() <= limit).then_some(bytes)
}
