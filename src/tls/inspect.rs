//! Looks into one file: which TLS library is in it, which version, and where
//! its probes go.

use std::fs::File;

use super::elf::{Dynamic, Elf, ElfError, Function};
use super::library::{CIPHERTEXT, Call, LIBRARIES, Library, has_ciphertext};
use super::loader::join;
use super::plan;
use super::root::Root;
use super::{Abi, Probe, Returns, golang, rustls};
use crate::event::Source;

/// What is in a file.
#[derive(Debug)]
pub struct Inspection {
    /// Name and version for users.
    pub library: String,
    /// What its records say that they come from.
    pub source: Source,
    /// How its functions are called.
    pub abi: Abi,
    /// GNU build id.
    pub build_id: Option<Vec<u8>>,
    /// It is no TLS library by itself: its probes only tell which socket the
    /// objects of one use.
    pub only_sockets: bool,
    /// Where to attach.
    pub probes: Vec<Probe>,
    /// Where to attach once there is need; see [`Target`](super::Target).
    pub if_needed: Option<Probe>,
}

/// Looks for the functions of all libraries at once; `None` when it has none
/// of them. `path` and `root` say where the file is, to find the library
/// beside it that knows the version; `returns` how the ends of functions are to
/// be watched.
///
/// # Errors
/// When it is no program or library of this machine, or damaged.
pub fn inspect(
    file: &File,
    path: &[u8],
    root: Option<&Root>,
    returns: Returns,
) -> Result<Option<Inspection>, ElfError> {
    let elf = Elf::open(file)?;
    elf.native()?;
    if let Some(go) = golang::look(&elf) {
        let library = go.library;
        return match go.probes {
            Ok(probes) => Ok(Some(Inspection {
                library,
                build_id: elf.build_id(),
                source: Source::Go,
                abi: Abi::Go,
                only_sockets: false,
                probes,
                if_needed: None,
            })),
            Err(reason) => Err(ElfError::Go { library, reason }),
        };
    }
    // Most files hold no library: one name of each is looked for first.
    let (marked, marks): (Vec<_>, Vec<_>) = LIBRARIES
        .iter()
        .filter_map(|library| Some((library, library.mark()?)))
        .unzip();
    let present = elf.functions(&marks)?;
    for (library, _) in marked.iter().zip(&present).filter(|(_, f)| f.is_some()) {
        let names: Vec<&str> = library.calls.iter().map(|call| call.symbol).collect();
        let own = elf.functions(&names)?;
        let complete = library
            .calls
            .iter()
            .zip(&own)
            .all(|(call, function)| function.is_some() || !call.required);
        if !complete {
            continue;
        }
        return found(&elf, library, &own, path, root, returns).map(Some);
    }
    if let Some(found) = ciphertext(&elf, path) {
        return Ok(Some(found));
    }
    let Some((library, probes)) = rustls::look(&elf)? else {
        return Ok(None);
    };
    Ok(Some(Inspection {
        library,
        source: Source::Rustls,
        abi: Abi::C,
        build_id: elf.build_id(),
        only_sockets: false,
        probes: plan::place(&elf, probes, returns).ok_or(ElfError::Exits)?,
        if_needed: None,
    }))
}

/// The library that others write their records by.
fn ciphertext(elf: &Elf<'_, File>, path: &[u8]) -> Option<Inspection> {
    if !has_ciphertext(path.rsplit(|c| *c == b'/').next()?) {
        return None;
    }
    let (probes, if_needed) = plan::ciphertext(elf);
    if probes.is_empty() && if_needed.is_none() {
        return None;
    }
    Some(Inspection {
        library: CIPHERTEXT.name.to_owned(),
        source: Source::OpenSsl,
        abi: Abi::C,
        build_id: elf.build_id(),
        only_sockets: true,
        probes,
        if_needed,
    })
}

/// As [`inspect`], with the functions of one library where the user says that
/// they are.
///
/// # Errors
/// When no probes can be placed. Functions that are not in the file's code
/// are left out: ask [`Elf::code_offset`] before.
pub(super) fn inspect_named(
    elf: &Elf<'_, File>,
    library: &Library,
    functions: &[(&'static str, u64)],
    path: &[u8],
    root: Option<&Root>,
    returns: Returns,
) -> Result<Inspection, ElfError> {
    let function = |call: &Call| {
        let (_, address) = functions.iter().find(|(name, _)| *name == call.symbol)?;
        Some(Function {
            offset: elf.code_offset(*address)?,
            address: *address,
            size: 0,
        })
    };
    let own: Vec<_> = library.calls.iter().map(function).collect();
    found(elf, library, &own, path, root, returns)
}

fn found(
    elf: &Elf<'_, File>,
    library: &Library,
    functions: &[Option<Function>],
    path: &[u8],
    root: Option<&Root>,
    returns: Returns,
) -> Result<Inspection, ElfError> {
    let version = version(elf, library, path, root);
    let mut probes =
        plan::probes(elf, library, functions, &version, returns).ok_or(ElfError::Exits)?;
    let mut if_needed = None;
    let dynamic = elf.dynamic().unwrap_or_default();
    if library.source == Source::OpenSsl && dynamic.needs(library.version_in).is_none() {
        // Both are in one file.
        let (own, needed) = plan::ciphertext(elf);
        probes.extend(own);
        if_needed = needed;
    }
    Ok(Inspection {
        source: library.source,
        abi: library.abi,
        build_id: elf.build_id(),
        only_sockets: false,
        probes,
        if_needed,
        library: version,
    })
}

/// Name and version: from a text in the file, from one in the library beside
/// it, from its name as a library, or the name alone.
fn version(elf: &Elf<'_, File>, library: &Library, path: &[u8], root: Option<&Root>) -> String {
    if let Some(version) = elf.find_constant(library.version_mark, library.version) {
        return version;
    }
    // BoringSSL's has been its name alone since 2024.
    let kin = library.wrapping_kin.iter().find(|kin| {
        let text = [kin.as_bytes(), b"\0"].concat();
        let whole = |before: &[u8], _: &[u8]| before.ends_with(b"\0").then_some(());
        elf.find_constant(&text, whole).is_some()
    });
    if let Some(kin) = kin {
        return (*kin).to_owned();
    }
    let dynamic = elf.dynamic().unwrap_or_default();
    beside(&dynamic, library, path, root)
        .or_else(|| by_name(&dynamic, library))
        .unwrap_or_else(|| library.name.to_owned())
}

/// libssl has no version text since 1.1.0, the libcrypto that it needs has.
/// It is in the same directory wherever the two are installed together; so is
/// libnss3, which libnspr4 does not need.
fn beside(
    dynamic: &Dynamic,
    library: &Library,
    path: &[u8],
    root: Option<&Root>,
) -> Option<String> {
    let usual = format!("{}.so", library.version_in).into_bytes();
    let name = dynamic.needs(library.version_in).unwrap_or(&usual);
    let slash = memchr::memrchr(b'/', path)?;
    let file = root?.open(&join(path.get(..slash)?, name)).ok()?;
    let elf = Elf::open(&file).ok()?;
    elf.find_constant(library.version_mark, library.version)
}

/// `libssl.so.1.1` is at least “OpenSSL 1.1”.
fn by_name(dynamic: &Dynamic, library: &Library) -> Option<String> {
    let name = std::str::from_utf8(dynamic.soname.as_deref()?).ok()?;
    let (_, number) = name.split_once(".so.")?;
    let plain = !number.is_empty()
        && number.len() <= 12
        && number.chars().all(|c| c.is_ascii_digit() || c == '.');
    plain.then(|| format!("{} {number}", library.name))
}
