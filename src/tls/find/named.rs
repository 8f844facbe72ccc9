//! Files that the user named with `--lib`, perhaps with the addresses of the
//! functions: what is wrong with one is an error, not a file that is skipped.

use std::fs::File;
use std::io;
use std::time::SystemTime;

use super::Finder;
use crate::tls::elf::{Elf, ElfError};
use crate::tls::identity::FileKey;
use crate::tls::inspect::{Inspection, inspect, inspect_named};
use crate::tls::named::Named;
use crate::tls::root::Root;
use crate::tls::{Returns, Target};

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

impl Finder {
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
        let key = FileKey::of(&file.metadata().map_err(failed)?);
        let settled = key.is_settled(SystemTime::now());
        let inspection = inspect_as(&file, &full, &root, named, self.returns)?;
        if self.files.get(&key).is_some_and(Option::is_some) {
            return Ok(Vec::new());
        }
        Ok(self
            .add(file, &full, (key, settled), inspection)
            .target
            .into_iter()
            .collect())
    }
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
