//! Finds the files to attach to: in running processes, in the system's
//! libraries before anybody uses them, in programs named by the user.
//!
//! Each file is opened and inspected once. What a process has mapped is told
//! by device and inode from its maps, without opening anything, so that
//! looking at a process whose libraries are known costs little more than
//! reading its maps.
//!
//! What is shared is here, and where to look is a file each: `process.rs`,
//! `system.rs`, `named.rs`. What a file holds is for
//! [`inspect`](super::inspect) to say.

use std::ffi::OsStr;
use std::fs::File;
use std::hash::RandomState;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::SystemTime;

use rustc_hash::{FxHashMap, FxHashSet};

use super::elf::ElfError;
use super::identity::{FileKey, MappedKey, identity};
use super::inspect::{Inspection, inspect};
use super::library::is_expected;
use super::root::Root;
use super::{FileIdentity, Returns, Target};

mod known;
mod named;
mod process;
mod system;
mod users;

pub use named::TlsError;

/// How many files are remembered. A machine executes from some thousands.
const MAX_KNOWN: usize = 64 << 10;
/// How many files with a library are given out: each holds descriptors and
/// probes, and anybody can make copies of a library.
pub const MAX_FOUND: usize = 1024;
/// How many skipped files are remembered for the report.
const MAX_SKIPPED: usize = 256;

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
/// keep the probes of a target until the finder is told to
/// [`forget`](Self::forget) it.
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
    /// `None` was forgotten: its place is free.
    found: Vec<Option<Found>>,
    /// Places in it that were seen in use since they were
    /// [asked for](Self::watch_use).
    touched: FxHashSet<usize>,
    /// Files that found no place in it.
    left_out: FxHashSet<FileKey>,
    skipped: Vec<Skipped>,
    /// Files with a TLS library that cannot be attached to, and why.
    unusable: FxHashMap<FileKey, String>,
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

impl Finder {
    /// What is new in any of these processes, and in the system.
    pub fn scan(&mut self, pids: impl IntoIterator<Item = u32>) -> Vec<Target> {
        let mut targets = self.system();
        for pid in pids {
            targets.extend(self.process(pid));
        }
        targets
    }

    /// Looks into a file again that was given out under `path`, and forgotten.
    pub fn again(&mut self, file: File, path: &str) -> Option<Target> {
        let metadata = file.metadata().ok()?;
        let path = path.as_bytes();
        // Beside it may be what knows the version.
        let root = Root::own().ok().filter(|root| {
            let there = root.find(path).and_then(|found| found.metadata());
            there.is_ok_and(|there| (there.dev(), there.ino()) == (metadata.dev(), metadata.ino()))
        });
        self.files.remove(&FileKey::of(&metadata));
        self.look(file, path, root.as_ref()).target
    }

    /// Inspects a file unless that was done before.
    fn look(&mut self, file: File, path: &[u8], root: Option<&Root>) -> Look {
        let Ok(metadata) = file.metadata() else {
            return Look::default();
        };
        let key = FileKey::of(&metadata);
        let settled = key.is_settled(SystemTime::now());
        if let Some(index) = self.files.get(&key) {
            return Look {
                seen: true,
                index: *index,
                target: None,
            };
        }
        if self.is_full() && self.left_out.contains(&key) {
            return Look::default();
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
                // Somebody may be writing it.
                if settled {
                    self.remember(key, None);
                }
                return Look {
                    seen: settled,
                    ..Look::default()
                };
            }
        };
        self.add(file, path, (key, settled), inspection)
    }

    fn add(
        &mut self,
        file: File,
        path: &[u8],
        (key, settled): (FileKey, bool),
        inspection: Inspection,
    ) -> Look {
        let identity = identity(&file, &key, inspection.build_id);
        let is_it = |found: &Option<Found>| found.as_ref().is_some_and(|f| f.identity == identity);
        if let Some(index) = self.found.iter().position(is_it) {
            self.remember(key, Some(index));
            return Look {
                seen: true,
                index: Some(index),
                target: None,
            };
        }
        let free = self.found.iter().position(Option::is_none);
        let index = free.unwrap_or(self.found.len());
        if index >= MAX_FOUND {
            bound(&mut self.left_out);
            self.left_out.insert(key);
            self.skip(
                path,
                format!("{MAX_FOUND} TLS libraries are attached to already"),
            );
            return Look::default();
        }
        let path = OsStr::from_bytes(path).display().to_string();
        let library: Arc<str> = inspection.library.into();
        let found = Some(Found {
            library: Arc::clone(&library),
            path: path.clone(),
            identity: identity.clone(),
            only_sockets: inspection.only_sockets,
        });
        match self.found.get_mut(index) {
            Some(place) => *place = found,
            None => self.found.push(found),
        }
        self.remember(key, Some(index));
        Look {
            seen: true,
            index: Some(index),
            target: Some(Target {
                file,
                path,
                identity,
                key,
                settled,
                source: inspection.source,
                abi: inspection.abi,
                library,
                probes: inspection.probes,
                if_needed: inspection.if_needed,
            }),
        }
    }
}

/// Forgets all when there is too much: looking again is only slower.
fn bound<T>(set: &mut FxHashSet<T>) {
    if set.len() >= MAX_KNOWN {
        set.clear();
    }
}
