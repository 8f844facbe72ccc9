//! Finds the libraries of a program as the dynamic loader would, so that they
//! can be attached to before the program runs.

use std::collections::VecDeque;
use std::fs::File;

use rustc_hash::{FxHashMap, FxHashSet};

use super::elf::{Dynamic, Elf};
use super::identity::FileKey;
use super::ldcache;
use super::root::Root;

/// How many files one program's closure may have.
const MAX_FILES: usize = 1024;
/// How many names are tried for one closure.
const MAX_TRIES: usize = 16 << 10;
/// How many scripts may stand between a command and its program: the kernel
/// allows four.
const MAX_SCRIPTS: usize = 4;

/// Where the loader looks last, and where libraries are searched by name when
/// there is no cache (musl). `$LIB` of Debian, Fedora and musl.
pub const DIRECTORIES: &[&[u8]] = &[
    b"/lib/x86_64-linux-gnu",
    b"/usr/lib/x86_64-linux-gnu",
    b"/lib/aarch64-linux-gnu",
    b"/usr/lib/aarch64-linux-gnu",
    b"/lib64",
    b"/usr/lib64",
    b"/lib",
    b"/usr/lib",
    b"/usr/local/lib",
    b"/usr/local/lib64",
];

/// A root directory with its loader's cache.
#[derive(Debug)]
pub struct System {
    /// The root directory.
    pub root: Root,
    /// Paths by name of library.
    cache: FxHashMap<Vec<u8>, Vec<Vec<u8>>>,
}

/// A file of a program's closure.
#[derive(Debug)]
pub struct Object {
    /// Where it was found, below the root.
    pub path: Vec<u8>,
    /// It, opened.
    pub file: File,
}

impl System {
    /// Reads the loader's cache of a root; without one, only the standard
    /// directories are known.
    #[must_use]
    pub fn new(root: Root) -> Self {
        let content = root
            .content(ldcache::PATH, ldcache::MAX_SIZE)
            .unwrap_or_default();
        let mut cache: FxHashMap<Vec<u8>, Vec<Vec<u8>>> = FxHashMap::default();
        for (name, path) in ldcache::entries(&content) {
            cache.entry(name.to_vec()).or_default().push(path.to_vec());
        }
        Self { root, cache }
    }

    /// Paths of the system's libraries whose name is wanted: from the cache,
    /// or from the standard directories where there is none.
    pub fn libraries(&self, wanted: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
        let mut paths: Vec<Vec<u8>> = self
            .cache
            .iter()
            .filter(|(name, _)| wanted(name))
            .flat_map(|(_, paths)| paths.iter().cloned())
            .collect();
        if self.cache.is_empty() {
            for directory in DIRECTORIES {
                let names = self.root.list(directory, 64 << 10).unwrap_or_default();
                let names = names.iter().filter(|name| wanted(name));
                paths.extend(names.map(|name| join(directory, name)));
            }
        }
        // The full name before the short one that is a link to it: the first
        // is what the user is shown.
        paths.sort_unstable_by(|a, b| b.cmp(a));
        paths
    }

    /// The program at `path` and all libraries that it needs, each once, in
    /// the order of loading. `library_path` is its LD_LIBRARY_PATH. What is
    /// not found is left out; a script stands for its interpreter.
    #[must_use]
    pub fn closure(&self, path: &[u8], library_path: &[u8]) -> Vec<Object> {
        let mut objects = Vec::new();
        let Some((path, file)) = self.program(path) else {
            return objects;
        };
        let mut search = Search {
            system: self,
            library_path,
            tries: 0,
            seen: FxHashSet::default(),
        };
        let mut queue = VecDeque::from([(path, file, Vec::new())]);
        let mut names: FxHashSet<Vec<u8>> = FxHashSet::default();
        while let Some((path, file, inherited)) = queue.pop_front() {
            if !search.is_new(&file) || objects.len() == MAX_FILES {
                continue;
            }
            let dynamic = dynamic(&file);
            // DT_RPATH counts for all that comes below, unless there is a
            // DT_RUNPATH, which counts for this file's own needs alone.
            let rpath = match (&dynamic.runpath, &dynamic.rpath) {
                (None, Some(rpath)) => {
                    let own = directories(rpath, &path);
                    own.into_iter().chain(inherited).collect()
                }
                _ => inherited,
            };
            for name in &dynamic.needed {
                if names.contains(name) {
                    continue;
                }
                if let Some((found, file)) = search.find(name, &path, &dynamic, &rpath) {
                    names.insert(name.clone());
                    queue.push_back((found, file, rpath.clone()));
                }
            }
            objects.push(Object { path, file });
        }
        objects
    }

    /// The file that runs when `path` is executed.
    fn program(&self, path: &[u8]) -> Option<(Vec<u8>, File)> {
        let mut path = path.to_vec();
        for _ in 0..=MAX_SCRIPTS {
            let file = self.root.open(&path).ok()?;
            let mut start = [0; 256];
            let got = super::elf::ReadAt::read_at(&file, &mut start, 0).ok()?;
            let start = start.get(..got)?;
            let Some(line) = start.strip_prefix(b"#!") else {
                return Some((path, file));
            };
            path = self.interpreter(line)?;
        }
        None
    }

    /// The program in the first line of a script: `/bin/sh -e`,
    /// `/usr/bin/env python3`, `/usr/bin/env -S A=b node --x`.
    fn interpreter(&self, line: &[u8]) -> Option<Vec<u8>> {
        let line = line.split(|c| *c == b'\n').next()?;
        let mut words = line
            .split(|c| matches!(c, b' ' | b'\t' | b'\r'))
            .filter(|word| !word.is_empty());
        let program = words.next()?;
        if !program.ends_with(b"/env") {
            return Some(program.to_vec());
        }
        let name = words.find(|word| !word.starts_with(b"-") && !word.contains(&b'='))?;
        if name.contains(&b'/') {
            return Some(name.to_vec());
        }
        self.in_path(name)
    }

    /// Looks a command up in PATH, as the caller has it.
    #[must_use]
    pub fn in_path(&self, name: &[u8]) -> Option<Vec<u8>> {
        use std::os::unix::ffi::OsStrExt;
        let path = std::env::var_os("PATH")?;
        path.as_bytes()
            .split(|c| *c == b':')
            .filter(|directory| directory.first() == Some(&b'/'))
            .map(|directory| join(directory, name))
            .find(|path| self.root.open(path).is_ok())
    }
}

/// The state of one closure.
struct Search<'a> {
    system: &'a System,
    library_path: &'a [u8],
    tries: usize,
    seen: FxHashSet<FileKey>,
}

impl Search<'_> {
    fn is_new(&mut self, file: &File) -> bool {
        file.metadata()
            .is_ok_and(|metadata| self.seen.insert(FileKey::of(&metadata)))
    }

    /// The first file of this name in the loader's order (ld.so(8)) that is
    /// made for this machine.
    fn find(
        &mut self,
        name: &[u8],
        needer: &[u8],
        dynamic: &Dynamic,
        rpath: &[Vec<u8>],
    ) -> Option<(Vec<u8>, File)> {
        if name.contains(&b'/') {
            return self.try_open(name.to_vec());
        }
        let library_path = directories(self.library_path, needer);
        let runpath = dynamic.runpath.as_deref().unwrap_or_default();
        let runpath = directories(runpath, needer);
        let before = rpath.iter().chain(&library_path).chain(&runpath);
        for directory in before {
            if let Some(found) = self.try_open(join(directory, name)) {
                return Some(found);
            }
        }
        let system = self.system;
        for path in system.cache.get(name).into_iter().flatten() {
            if let Some(found) = self.try_open(path.clone()) {
                return Some(found);
            }
        }
        DIRECTORIES
            .iter()
            .find_map(|directory| self.try_open(join(directory, name)))
    }

    fn try_open(&mut self, path: Vec<u8>) -> Option<(Vec<u8>, File)> {
        self.tries += 1;
        if self.tries > MAX_TRIES {
            return None;
        }
        let file = self.system.root.open(&path).ok()?;
        Elf::open(&file).and_then(|elf| elf.native()).ok()?;
        Some((path, file))
    }
}

fn dynamic(file: &File) -> Dynamic {
    Elf::open(file)
        .and_then(|elf| elf.dynamic())
        .unwrap_or_default()
}

/// The directories of a list, with `$ORIGIN` and `$LIB` replaced. Relative
/// ones are left out: they depend on where the program is started.
fn directories(list: &[u8], file: &[u8]) -> Vec<Vec<u8>> {
    let origin = match memchr::memrchr(b'/', file) {
        Some(slash) => file.get(..slash).unwrap_or_default(),
        None => b"",
    };
    let lib = match std::env::consts::ARCH {
        "aarch64" => "lib/aarch64-linux-gnu",
        _ => "lib/x86_64-linux-gnu",
    };
    let mut directories = Vec::new();
    for entry in list.split(|c| matches!(c, b':' | b';')) {
        if memchr::memchr(b'$', entry).is_none() {
            directories.push(entry.to_vec());
            continue;
        }
        let entry = replace(entry, "ORIGIN", origin);
        // What $LIB is was fixed when the loader was built.
        for lib in [lib, "lib64", "lib"] {
            let directory = replace(&entry, "LIB", lib.as_bytes());
            if !directories.contains(&directory) {
                directories.push(directory);
            }
        }
    }
    directories.retain(|directory| directory.first() == Some(&b'/'));
    directories
}

/// Replaces `$NAME` and `${NAME}`.
fn replace(text: &[u8], name: &str, by: &[u8]) -> Vec<u8> {
    let mut result = Vec::with_capacity(text.len() + by.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'$', rest) {
        let (before, token) = rest.split_at(at);
        result.extend_from_slice(before);
        let plain = token.strip_prefix(format!("${name}").as_bytes());
        let braced = token.strip_prefix(format!("${{{name}}}").as_bytes());
        rest = match braced.or(plain) {
            Some(after) => {
                result.extend_from_slice(by);
                after
            }
            None => {
                result.push(b'$');
                token.get(1..).unwrap_or_default()
            }
        };
    }
    result.extend_from_slice(rest);
    result
}

/// `directory/name`.
pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    [directory, b"/", name].concat()
}

#[cfg(test)]
mod tests;
