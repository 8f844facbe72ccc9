//! What the finder remembers: which files were looked into, which of them were
//! given out and are in use, and which were skipped.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use super::{Finder, Found, MAX_FOUND, MAX_KNOWN, MAX_SKIPPED, Skipped};
use crate::tls::FileIdentity;
use crate::tls::identity::{FileKey, MappedKey};

impl Finder {
    /// Forgets a file that was given out: next time it is looked into anew.
    pub fn forget(&mut self, identity: &FileIdentity) {
        let is_it = |found: &Option<Found>| found.as_ref().is_some_and(|f| f.identity == *identity);
        let Some(index) = self.found.iter().position(is_it) else {
            return;
        };
        if let Some(place) = self.found.get_mut(index) {
            *place = None;
        }
        self.mapped.retain(|_, known| *known != index);
        self.files.retain(|_, known| *known != Some(index));
    }

    /// Begins anew to take note of what is seen in use.
    pub fn watch_use(&mut self) {
        self.touched.clear();
    }

    /// Whether a file was seen in use since then.
    #[must_use]
    pub fn was_used(&self, identity: &FileIdentity) -> bool {
        let used = |index: &usize| self.found.get(*index)?.as_ref().map(|f| &f.identity);
        self.touched
            .iter()
            .any(|index| used(index) == Some(identity))
    }

    /// How many files with a library there was no room for.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.left_out.len()
    }

    /// What was found so far, by its place.
    pub fn found(&self) -> impl Iterator<Item = &Found> {
        self.found.iter().flatten()
    }

    /// What looked like a TLS library and is not attached to, and why.
    #[must_use]
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// Whether what is mapped is a file that was given out.
    pub(super) fn knows(&mut self, key: &MappedKey) -> bool {
        let index = self.mapped.get(key);
        self.touched.extend(index);
        index.is_some()
    }

    pub(super) fn is_full(&self) -> bool {
        self.found.len() >= MAX_FOUND && self.found.iter().all(Option::is_some)
    }

    /// Every container has keys of its own; what is forgotten is looked at again.
    pub(super) fn remember_mapped(&mut self, key: MappedKey, index: Option<usize>) {
        if self.mapped.len() >= MAX_KNOWN {
            self.mapped.clear();
        }
        self.mapped.extend(index.map(|index| (key, index)));
    }

    pub(super) fn remember(&mut self, key: FileKey, index: Option<usize>) {
        if self.files.len() >= MAX_KNOWN {
            self.files.retain(|_, index| index.is_some());
        }
        self.files.insert(key, index);
    }

    pub(super) fn skip(&mut self, path: &[u8], reason: String) {
        let path = OsStr::from_bytes(path).display().to_string();
        let skipped = Skipped { path, reason };
        if self.skipped.len() < MAX_SKIPPED && !self.skipped.contains(&skipped) {
            self.skipped.push(skipped);
        }
    }
}
