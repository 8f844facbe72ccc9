//! Which of the files that were found a process uses, and why none of them.

use super::{Finder, Found};
use crate::tls::identity::{FileKey, MappedKey, mount_namespace};
use crate::tls::maps;

impl Finder {
    /// Why the TLS library that is in a process's program cannot be attached
    /// to; `None` if there is none that is known, or it can.
    #[must_use]
    pub fn why_not(&self, pid: u32) -> Option<String> {
        let metadata = std::fs::metadata(format!("/proc/{pid}/exe")).ok()?;
        self.unusable.get(&FileKey::of(&metadata)).cloned()
    }

    /// The found files that a process executes from, each once. Only what was
    /// looked at before counts: see [`process`](Self::process).
    #[must_use]
    pub fn used_by(&self, pid: u32) -> Vec<&Found> {
        self.used_indexes(pid)
            .into_iter()
            .filter_map(|index| self.found.get(index)?.as_ref())
            .collect()
    }

    /// As [`used_by`](Self::used_by), by their places in
    /// [`found`](Self::found).
    #[must_use]
    pub fn used_indexes(&self, pid: u32) -> Vec<usize> {
        let mut indexes = self.mapped_indexes(pid);
        let read = |index: &usize| self.found.get(*index)?.as_ref().map(|f| !f.only_sockets);
        indexes.retain(|index| read(index) == Some(true));
        indexes
    }

    /// As [`used_by`](Self::used_by), with the files that only tell sockets.
    #[must_use]
    pub fn mapped_by(&self, pid: u32) -> Vec<&Found> {
        self.mapped_indexes(pid)
            .into_iter()
            .filter_map(|index| self.found.get(index)?.as_ref())
            .collect()
    }

    fn mapped_indexes(&self, pid: u32) -> Vec<usize> {
        let mut indexes: Vec<usize> = Vec::new();
        if let Ok(text) = maps::read(pid) {
            let namespace = mount_namespace(&pid.to_string()).unwrap_or(0);
            let mapped = maps::parse(&text)
                .filter_map(|mapping| self.mapped.get(&MappedKey::of(&mapping, namespace)));
            indexes.extend(mapped);
        }
        if let Ok(metadata) = std::fs::metadata(format!("/proc/{pid}/exe")) {
            indexes.extend(self.files.get(&FileKey::of(&metadata)).copied().flatten());
        }
        indexes.sort_unstable();
        indexes.dedup();
        indexes
    }
}
