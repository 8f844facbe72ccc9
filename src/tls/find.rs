//! Finds the files to attach to: in running processes, in the system's
//! libraries before anybody uses them, in programs named by the user.
//!
//! Each file is opened and inspected once. What a process has mapped is told
//! by device and inode from its maps, without opening anything, so that
//! looking at a process whose libraries are known costs little more than
//! reading its maps.

use std::ffi::OsStr;
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::elf::{Elf, ElfError};
use super::identity::{FileKey, MappedKey, identity, mount_namespace, root_key};
use super::inspect::{Inspection, inspect, inspect_named};
use super::library::{is_candidate, is_expected, is_openssl};
use super::loader::System;
use super::maps::{self, Mapping};
use super::named::Named;
use super::root::{Root, open_link, reopen};
use super::{FileIdentity, Returns, Target};

/// How many files are remembered. A machine executes from some thousands.
const MAX_KNOWN: usize = 64 << 10;
/// How many files with a library are given out: each holds descriptors and
/// probes, and anybody can make copies of a library.
const MAX_FOUND: usize = 1024;
/// How many skipped files are remembered for the report.
const MAX_SKIPPED: usize = 256;

/// Why a file that the user named cannot be attached to.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It cannot be opened.
    #[error("cannot open {path}: {reason}")]
    Open {
        /// As the user named it.
        path: String,
        /// Why. (Not a `source`: the text has it.)
        reason: io::Error,
    },
    /// It cannot be read as a program or library of this machine.
    #[error("cannot attach to {path}: {reason}")]
    Elf {
        /// As the user named it.
        path: String,
        /// Why. (Not a `source`: the text has it.)
        reason: ElfError,
    },
    /// It holds no TLS library that is known.
    #[error(
        "{path} has no symbols of a TLS library that httpsniff knows (SSL_read, gnutls_record_recv, \
         PR_Read, wolfSSL_read, mbedtls_ssl_read); a library that is linked in without symbols \
         can be attached to by --lib FILE@SSL_read=ADDRESS,SSL_write=ADDRESS"
    )]
    NoLibrary {
        /// As the user named it.
        path: String,
    },
    /// A function cannot be where the user says.
    #[error(
        "{path}: {name} cannot be at {address:#x}: its code is at {code}; \
         give addresses as nm or objdump print them"
    )]
    Address {
        /// As the user named it.
        path: String,
        /// The function.
        name: &'static str,
        /// Where it should be.
        address: u64,
        /// Where code is.
        code: String,
    },
    /// Something else is where the user says that a function is.
    #[error(
        "{path}: no function begins at {address:#x}, where {name} should be; \
         give addresses as nm or objdump print them"
    )]
    NoFunction {
        /// As the user named it.
        path: String,
        /// The function.
        name: &'static str,
        /// Where it should be.
        address: u64,
    },
}

/// A file that was found, for the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Name and version: `OpenSSL 3.0.22`.
    pub library: Arc<str>,
    /// Path in the namespace of the process it was found by.
    pub path: String,
    /// Which file it is.
    pub identity: FileIdentity,
    /// It only tells which sockets the objects of another use.
    pub only_sockets: bool,
}

/// A file that looked like a TLS library and is not attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Path in the namespace of the process it was found by.
    pub path: String,
    /// Why, as the end of a sentence.
    pub reason: String,
}

/// Mappings that were looked at in one go over several processes. Not kept:
/// an inode's number is used again.
#[derive(Debug, Default)]
pub struct Seen(FxHashSet<MappedKey>);

/// Finds files and remembers them. Every file is given out as a [`Target`]
/// once.
///
/// A file is told by its inode, which stays taken while a probe is attached:
/// keep the probes of a target as long as the finder that gave it.
#[derive(Debug, Default)]
pub struct Finder {
    /// How the ends of functions are to be watched.
    pub returns: Returns,
    /// Of the system's libraries only OpenSSL is attached to before it is used:
    /// where each probe is dear (kernels without cookies).
    pub sparing: bool,
    /// Mount namespace and root directory whose system libraries were looked
    /// at.
    roots: FxHashSet<(u64, u64, u64)>,
    /// Index in `found` of what maps show.
    mapped: FxHashMap<MappedKey, usize>,
    /// Index in `found` of every file that was inspected; `None` for those
    /// without a library.
    files: FxHashMap<FileKey, Option<usize>>,
    /// Files without a library, by what maps show of them and by the
    /// generation of the inode.
    passed: FxHashSet<(MappedKey, u64)>,
    /// Programs whose closure was looked at, and with which LD_LIBRARY_PATH: its
    /// hash, as whoever starts a program may make it long.
    closures: FxHashSet<(FileKey, u64)>,
    hasher: RandomState,
    found: Vec<Found>,
    skipped: Vec<Skipped>,
    /// Files with a TLS library that cannot be attached to, and why.
    unusable: FxHashMap<FileKey, String>,
}

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

    /// What is new in a process: libraries it has mapped, its program, and
    /// the system libraries of its container if that was not seen before.
    /// Nothing when the process is gone or may not be looked at.
    pub fn process(&mut self, pid: u32) -> Vec<Target> {
        let mut targets = Vec::new();
        let Ok(text) = maps::read(pid) else {
            return targets;
        };
        let namespace = mount_namespace(&pid.to_string()).unwrap_or(0);
        let mut root = None;
        for mapping in maps::parse(&text) {
            if !is_candidate(mapping.file_name()) {
                continue;
            }
            let key = MappedKey::of(&mapping, namespace);
            if !self.mapped.contains_key(&key) {
                let root = root.get_or_insert_with(|| Root::of(pid).ok());
                let look = self.mapping(pid, &mapping, root.as_ref());
                self.remember_mapped(key, look.index);
                targets.extend(look.target);
            }
        }
        targets.extend(self.program(pid));
        targets.extend(self.container(pid));
        targets
    }

    /// What is new in any file that a process executes from, whatever its
    /// name: a library may be part of another. `seen` is what was looked at
    /// in the same moment.
    pub fn every_file(&mut self, pid: u32, seen: &mut Seen) -> Vec<Target> {
        let mut targets = Vec::new();
        let Ok(text) = maps::read(pid) else {
            return targets;
        };
        let namespace = mount_namespace(&pid.to_string()).unwrap_or(0);
        let mut root = None;
        for mapping in maps::parse(&text) {
            let key = MappedKey::of(&mapping, namespace);
            if !seen.0.insert(key) || self.mapped.contains_key(&key) {
                continue;
            }
            let root = root.get_or_insert_with(|| Root::of(pid).ok());
            let look = self.mapping(pid, &mapping, root.as_ref());
            self.remember_mapped(key, look.index);
            targets.extend(look.target);
        }
        targets
    }

    /// The system libraries of a process's root directory, if no process with
    /// it was seen before: for one whose own files are told of one by one.
    pub fn surroundings(&mut self, pid: u32) -> Vec<Target> {
        self.container(pid)
    }

    /// What is new in a file that a process has just mapped to execute it,
    /// whatever its name. `generation` tells uses of one inode number apart;
    /// 0 is not known.
    pub fn mapped(&mut self, pid: u32, mapping: &Mapping<'_>, generation: u64) -> Vec<Target> {
        let namespace = mount_namespace(&pid.to_string()).unwrap_or(0);
        let key = MappedKey::of(mapping, namespace);
        if self.mapped.contains_key(&key) || self.passed.contains(&(key, generation)) {
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

    /// A library or program that the user named. Nothing when it was given
    /// out before.
    ///
    /// # Errors
    /// When it cannot be opened, or no probe can be placed in it.
    pub fn file(&mut self, named: &Named) -> Result<Vec<Target>, TlsError> {
        let path = &named.path;
        let shown = path.display().to_string();
        let open = || -> io::Result<(Root, Vec<u8>, File)> {
            let path = std::path::absolute(path)?;
            let path = path.into_os_string().into_encoded_bytes();
            let root = Root::own()?;
            let file = root.open(&path)?;
            Ok((root, path, file))
        };
        let failed = |reason: io::Error| TlsError::Open {
            path: shown.clone(),
            reason,
        };
        let (root, full, file) = open().map_err(failed)?;
        let inspection = inspect_as(&file, &full, &root, named, self.returns)?;
        let key = FileKey::of(&file.metadata().map_err(failed)?);
        if self.files.get(&key).is_some_and(Option::is_some) {
            return Ok(Vec::new());
        }
        Ok(self
            .add(file, &full, key, inspection)
            .target
            .into_iter()
            .collect())
    }

    /// What is new in any of these processes, and in the system.
    pub fn scan(&mut self, pids: impl IntoIterator<Item = u32>) -> Vec<Target> {
        let mut targets = self.system();
        for pid in pids {
            targets.extend(self.process(pid));
        }
        targets
    }

    /// What was found so far.
    #[must_use]
    pub fn found(&self) -> &[Found] {
        &self.found
    }

    /// What looked like a TLS library and is not attached to, and why.
    #[must_use]
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

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
            .filter_map(|index| self.found.get(index))
            .collect()
    }

    /// As [`used_by`](Self::used_by), by their places in
    /// [`found`](Self::found).
    #[must_use]
    pub fn used_indexes(&self, pid: u32) -> Vec<usize> {
        let mut indexes = self.mapped_indexes(pid);
        indexes.retain(|index| self.found.get(*index).is_some_and(|f| !f.only_sockets));
        indexes
    }

    /// As [`used_by`](Self::used_by), with the files that only tell sockets.
    #[must_use]
    pub fn mapped_by(&self, pid: u32) -> Vec<&Found> {
        self.mapped_indexes(pid)
            .into_iter()
            .filter_map(|index| self.found.get(index))
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
    fn container(&mut self, pid: u32) -> Vec<Target> {
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

    fn closure(&mut self, system: &System, path: &[u8], library_path: &[u8]) -> Vec<Target> {
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

    /// Inspects a file unless that was done before.
    fn look(&mut self, file: File, path: &[u8], root: Option<&Root>) -> Look {
        let Ok(metadata) = file.metadata() else {
            return Look::default();
        };
        let key = FileKey::of(&metadata);
        if let Some(index) = self.files.get(&key) {
            return Look {
                seen: true,
                index: *index,
                target: None,
            };
        }
        let named = path.rsplit(|c| *c == b'/').next().is_some_and(is_expected);
        let inspection = match inspect(&file, path, root, self.returns) {
            Ok(Some(inspection)) => inspection,
            nothing => {
                let inside = matches!(nothing, Err(ElfError::Go { .. } | ElfError::Exits));
                let reason = match &nothing {
                    // It may be readable next time.
                    Err(ElfError::Io(error)) => {
                        self.skip(path, format!("cannot read it: {error}"));
                        return Look::default();
                    }
                    Err(error) => error.to_string(),
                    _ => "it has none of the functions that are read (SSL_read, gnutls_record_recv, …)"
                        .to_owned(),
                };
                if named || inside {
                    if self.unusable.len() < MAX_SKIPPED {
                        self.unusable.insert(key, reason.clone());
                    }
                    self.skip(path, reason);
                }
                self.remember(key, None);
                return Look {
                    seen: true,
                    ..Look::default()
                };
            }
        };
        self.add(file, path, key, inspection)
    }

    fn add(&mut self, file: File, path: &[u8], key: FileKey, inspection: Inspection) -> Look {
        let identity = identity(&file, &key, inspection.build_id);
        if let Some(index) = self.found.iter().position(|f| f.identity == identity) {
            self.remember(key, Some(index));
            return Look {
                seen: true,
                index: Some(index),
                target: None,
            };
        }
        let index = self.found.len();
        if index >= MAX_FOUND {
            self.skip(
                path,
                format!("{MAX_FOUND} TLS libraries are attached to already"),
            );
            return Look::default();
        }
        let path = OsStr::from_bytes(path).display().to_string();
        let library: Arc<str> = inspection.library.into();
        self.found.push(Found {
            library: Arc::clone(&library),
            path: path.clone(),
            identity: identity.clone(),
            only_sockets: inspection.only_sockets,
        });
        self.remember(key, Some(index));
        Look {
            seen: true,
            index: Some(index),
            target: Some(Target {
                file,
                path,
                identity,
                source: inspection.source,
                abi: inspection.abi,
                library,
                probes: inspection.probes,
                if_needed: inspection.if_needed,
            }),
        }
    }

    /// Every container has keys of its own; what is forgotten is looked at again.
    fn remember_mapped(&mut self, key: MappedKey, index: Option<usize>) {
        if self.mapped.len() >= MAX_KNOWN {
            self.mapped.clear();
        }
        self.mapped.extend(index.map(|index| (key, index)));
    }

    fn remember(&mut self, key: FileKey, index: Option<usize>) {
        if self.files.len() >= MAX_KNOWN {
            self.files.retain(|_, index| index.is_some());
        }
        self.files.insert(key, index);
    }

    fn skip(&mut self, path: &[u8], reason: String) {
        let path = OsStr::from_bytes(path).display().to_string();
        let skipped = Skipped { path, reason };
        if self.skipped.len() < MAX_SKIPPED && !self.skipped.contains(&skipped) {
            self.skipped.push(skipped);
        }
    }
}

/// What a look at a file gave.
#[derive(Debug, Default)]
struct Look {
    /// It was read.
    seen: bool,
    /// Its place in [`Finder::found`], if it holds a library.
    index: Option<usize>,
    /// It, the first time.
    target: Option<Target>,
}

/// Looks into a file that the user named.
fn inspect_as(
    file: &File,
    path: &[u8],
    root: &Root,
    named: &Named,
    returns: Returns,
) -> Result<Inspection, TlsError> {
    let shown = || named.path.display().to_string();
    let unreadable = |reason| TlsError::Elf {
        path: shown(),
        reason,
    };
    let Some(library) = named.library() else {
        let inspection = inspect(file, path, Some(root), returns).map_err(unreadable)?;
        return inspection.ok_or_else(|| TlsError::NoLibrary { path: shown() });
    };
    let elf = Elf::open(file).map_err(unreadable)?;
    elf.native().map_err(unreadable)?;
    for (name, address) in &named.functions {
        if elf.code_offset(*address).is_none() {
            let code = elf.code();
            let ranges: Vec<_> = code.iter().map(|(a, b)| format!("{a:#x}-{b:#x}")).collect();
            return Err(TlsError::Address {
                path: shown(),
                name,
                address: *address,
                code: ranges.join(", "),
            });
        }
        // A breakpoint within an instruction would destroy it.
        if elf.begins_function(*address) == Some(false) {
            return Err(TlsError::NoFunction {
                path: shown(),
                name,
                address: *address,
            });
        }
    }
    let root = Some(root);
    inspect_named(&elf, library, &named.functions, path, root, returns).map_err(unreadable)
}

/// LD_LIBRARY_PATH of a process.
fn library_path(pid: u32) -> Option<Vec<u8>> {
    use std::io::Read;
    const MAX_ENVIRONMENT: u64 = 256 << 10;
    let mut bytes = Vec::new();
    let file = File::open(format!("/proc/{pid}/environ")).ok()?;
    file.take(MAX_ENVIRONMENT).read_to_end(&mut bytes).ok()?;
    bytes
        .split(|c| *c == 0)
        .find_map(|entry| entry.strip_prefix(b"LD_LIBRARY_PATH="))
        .map(<[u8]>::to_vec)
}

/// Forgets all when there is too much: looking again is only slower.
fn bound<T>(set: &mut FxHashSet<T>) {
    if set.len() >= MAX_KNOWN {
        set.clear();
    }
}
