//! Files that nobody need have mapped yet: the TLS libraries of the system and of
//! each container, by their loader's cache, and those that a program is going to
//! load.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::{Finder, bound};
use crate::tls::Target;
use crate::tls::identity::root_key;
use crate::tls::library::{is_candidate, is_openssl};
use crate::tls::loader::System;
use crate::tls::root::Root;

impl Finder {
    /// The TLS libraries of the system, so that a process that starts later
    /// is covered from its first call.
    pub fn system(&mut self) -> Vec<Target> {
        match Root::own() {
            Ok(root) => {
                self.roots.extend(root_key("self", &root));
                self.system_below(root)
            }
            Err(_) => Vec::new(),
        }
    }

    /// The system libraries of a process's root directory, if no process with
    /// it was seen before: for one whose own files are told of one by one.
    pub fn surroundings(&mut self, pid: u32) -> Vec<Target> {
        self.container(pid)
    }

    /// The program at `path`, which is about to be executed, and its
    /// libraries. A name without `/` is looked up in PATH, a script stands
    /// for its interpreter.
    pub fn executable(&mut self, path: &Path) -> Vec<Target> {
        let Ok(root) = Root::own() else {
            return Vec::new();
        };
        let system = System::new(root);
        let name = path.as_os_str().as_bytes();
        let path = if name.contains(&b'/') {
            std::path::absolute(path)
                .ok()
                .map(|path| path.into_os_string().into_encoded_bytes())
        } else {
            system.in_path(name)
        };
        let library_path = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        path.map(|path| self.closure(&system, &path, library_path.as_bytes()))
            .unwrap_or_default()
    }

    /// The libraries of a root's loader cache.
    fn system_below(&mut self, root: Root) -> Vec<Target> {
        let system = System::new(root);
        let mut targets = Vec::new();
        let wanted = |name: &[u8]| is_candidate(name) && (!self.sparing || is_openssl(name));
        for path in system.libraries(wanted) {
            if let Ok(file) = system.root.open(&path) {
                targets.extend(self.look(file, &path, Some(&system.root)).target);
            }
        }
        targets
    }

    /// The system libraries of a process's container, the first time.
    pub(super) fn container(&mut self, pid: u32) -> Vec<Target> {
        let Ok(root) = Root::of(pid) else {
            return Vec::new();
        };
        let Some(key) = root_key(&pid.to_string(), &root) else {
            return Vec::new();
        };
        bound(&mut self.roots);
        if self.roots.insert(key) {
            return self.system_below(root);
        }
        Vec::new()
    }

    pub(super) fn closure(
        &mut self,
        system: &System,
        path: &[u8],
        library_path: &[u8],
    ) -> Vec<Target> {
        let mut targets = Vec::new();
        let objects = system.closure(path, library_path);
        for (index, object) in objects.into_iter().enumerate() {
            let name = object.path.rsplit(|c| *c == b'/').next();
            if index == 0 || name.is_some_and(is_candidate) {
                let look = self.look(object.file, &object.path, Some(&system.root));
                targets.extend(look.target);
            }
        }
        targets
    }
}
