//! The files of a process: what it has mapped to execute it, its program, and what
//! it is going to load.

use std::fs::File;
use std::hash::BuildHasher as _;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::{Finder, Look, Seen, bound};
use crate::tls::Target;
use crate::tls::identity::{FileKey, MappedKey, mount_namespace};
use crate::tls::library::is_candidate;
use crate::tls::loader::System;
use crate::tls::maps::{self, Mapping};
use crate::tls::root::{Root, open_link, reopen};

impl Finder {
    /// What is new in a process: libraries it has mapped, its program, and
    /// the system libraries of its container if that was not seen before.
    /// Nothing when the process is gone or may not be looked at.
    pub fn process(&mut self, pid: u32) -> Vec<Target> {
        let wanted = |mapping: &Mapping<'_>, namespace| {
            is_candidate(mapping.file_name()).then(|| MappedKey::of(mapping, namespace))
        };
        let Some(mut targets) = self.mappings(pid, wanted) else {
            return Vec::new();
        };
        targets.extend(self.program(pid));
        targets.extend(self.container(pid));
        targets
    }

    /// What is new in any file that a process executes from, whatever its
    /// name: a library may be part of another. `seen` is what was looked at
    /// in the same moment.
    pub fn every_file(&mut self, pid: u32, seen: &mut Seen) -> Vec<Target> {
        let wanted = |mapping: &Mapping<'_>, namespace| {
            let key = MappedKey::of(mapping, namespace);
            seen.0.insert(key).then_some(key)
        };
        self.mappings(pid, wanted).unwrap_or_default()
    }

    /// What is new in files that a process executes from: in those that `wanted`
    /// gives a key of, from the mapping and the mount namespace. `None` when the
    /// process is gone or may not be looked at.
    fn mappings(
        &mut self,
        pid: u32,
        mut wanted: impl FnMut(&Mapping<'_>, u64) -> Option<MappedKey>,
    ) -> Option<Vec<Target>> {
        let text = maps::read(pid).ok()?;
        let namespace = mount_namespace(&pid.to_string()).unwrap_or(0);
        let mut root = None;
        let mut targets = Vec::new();
        for mapping in maps::parse(&text) {
            let Some(key) = wanted(&mapping, namespace) else {
                continue;
            };
            if self.knows(&key) {
                continue;
            }
            let root = root.get_or_insert_with(|| Root::of(pid).ok());
            let look = self.mapping(pid, &mapping, root.as_ref());
            self.remember_mapped(key, look.index);
            targets.extend(look.target);
        }
        Some(targets)
    }

    /// What is new in a file that a process has just mapped to execute it,
    /// whatever its name. `generation` tells uses of one inode number apart;
    /// 0 is not known.
    pub fn mapped(&mut self, pid: u32, mapping: &Mapping<'_>, generation: u64) -> Vec<Target> {
        let namespace = mount_namespace(&pid.to_string()).unwrap_or(0);
        let key = MappedKey::of(mapping, namespace);
        if self.knows(&key) || self.passed.contains(&(key, generation)) {
            return Vec::new();
        }
        let look = self.mapping(pid, mapping, Root::of(pid).ok().as_ref());
        if look.index.is_none() && look.seen && generation != 0 {
            bound(&mut self.passed);
            self.passed.insert((key, generation));
        }
        self.remember_mapped(key, look.index);
        look.target.into_iter().collect()
    }

    /// As [`process`](Self::process), for a program that has just been
    /// executed and has not loaded its libraries yet: they are found as the
    /// loader will find them.
    pub fn executed(&mut self, pid: u32) -> Vec<Target> {
        let mut targets = self.process(pid);
        let link = format!("/proc/{pid}/exe");
        let Ok(metadata) = std::fs::metadata(&link) else {
            return targets;
        };
        let library_path = library_path(pid).unwrap_or_default();
        let key = (FileKey::of(&metadata), self.hasher.hash_one(&library_path));
        bound(&mut self.closures);
        if !self.closures.insert(key) {
            return targets;
        }
        if let (Ok(root), Ok(path)) = (Root::of(pid), std::fs::read_link(&link)) {
            let system = System::new(root);
            targets.extend(self.closure(&system, path.as_os_str().as_bytes(), &library_path));
        }
        targets
    }

    /// One mapped library.
    fn mapping(&mut self, pid: u32, mapping: &Mapping<'_>, root: Option<&Root>) -> Look {
        let by_path = || {
            // The device is no help: overlayfs and btrfs show another one.
            let handle = root?.find(&mapping.path).ok()?;
            let metadata = handle.metadata().ok()?;
            (metadata.ino() == mapping.inode).then_some((handle, metadata))
        };
        let found = if mapping.deleted { None } else { by_path() };
        if let Some((_, metadata)) = &found
            && let Some(index) = self.files.get(&FileKey::of(metadata))
        {
            return Look {
                seen: true,
                index: *index,
                target: None,
            };
        }
        let by_link = || {
            let (start, end) = mapping.range;
            open_link(&format!("/proc/{pid}/map_files/{start:x}-{end:x}")).ok()
        };
        let file = found
            .and_then(|(handle, _)| reopen(&handle).ok())
            .or_else(by_link);
        let Some(file) = file else {
            // A process that has ended is no news.
            if is_candidate(mapping.file_name()) && Path::new(&format!("/proc/{pid}/maps")).exists()
            {
                let why = if mapping.deleted {
                    "it was deleted and cannot be reached any more"
                } else {
                    "it cannot be opened, or is another file by now"
                };
                self.skip(&mapping.path, why.to_owned());
            }
            return Look::default();
        };
        self.look(file, &mapping.path, root)
    }

    /// The program of a process.
    fn program(&mut self, pid: u32) -> Option<Target> {
        let link = format!("/proc/{pid}/exe");
        let metadata = std::fs::metadata(&link).ok()?;
        if self.files.contains_key(&FileKey::of(&metadata)) {
            return None;
        }
        let path = std::fs::read_link(&link).ok()?;
        let path = path.as_os_str().as_bytes();
        let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
        let root = Root::of(pid).ok();
        self.look(open_link(&link).ok()?, path, root.as_ref())
            .target
    }
}

/// LD_LIBRARY_PATH of a process.
fn library_path(pid: u32) -> Option<Vec<u8>> {
    const MAX_ENVIRONMENT: u64 = 256 << 10;
    let mut bytes = Vec::new();
    let file = File::open(format!("/proc/{pid}/environ")).ok()?;
    file.take(MAX_ENVIRONMENT).read_to_end(&mut bytes).ok()?;
    bytes
        .split(|c| *c == 0)
        .find_map(|entry| entry.strip_prefix(b"LD_LIBRARY_PATH="))
        .map(<[u8]>::to_vec)
}
