//! rustls, which is linked into programs and has no interface that they all
//! use: readers and writers are compiled into each, and inlined at will.
//!
//! What every record passes, whatever the program and however it was
//! optimized, are the two functions by which a key encrypts and decrypts one.
//! They are called through the table of a trait, so that there is one of each
//! for a kind of key and no copy of it elsewhere. Their names are known in part
//! (types, crate and hash differ); a stripped program has none.

use super::elf::{Elf, ElfError, Function, NamePattern, ReadAt};
use super::{Placement, Probe, ProbeRole};

/// One of the two functions.
struct Method {
    /// What its symbol looks like.
    names: &'static [NamePattern],
    /// What its entry means.
    enter: ProbeRole,
    /// What its return means.
    exit: ProbeRole,
}

/// rustls 0.21 to 0.23, with any provider of cryptography. The trait is
/// `rustls::cipher::MessageEncrypter`, from 0.22 on in `rustls::crypto`.
/// Symbols as rustc has mangled them until 1.9x, and as the new scheme does.
const METHODS: [Method; 2] = [
    Method {
        names: &[
            NamePattern {
                prefix: "_ZN",
                contains: "..cipher..MessageEncrypter$GT$7encrypt17h",
                then: b"",
            },
            NamePattern {
                prefix: "_RNvX",
                contains: "6cipher16MessageEncrypter7encrypt",
                then: AFTER_V0,
            },
        ],
        enter: ProbeRole::EncryptEnter,
        exit: ProbeRole::EncryptExit,
    },
    Method {
        names: &[
            NamePattern {
                prefix: "_ZN",
                contains: "..cipher..MessageDecrypter$GT$7decrypt17h",
                then: b"",
            },
            NamePattern {
                prefix: "_RNvX",
                contains: "6cipher16MessageDecrypter7decrypt",
                then: AFTER_V0,
            },
        ],
        enter: ProbeRole::DecryptEnter,
        exit: ProbeRole::DecryptExit,
    },
];

/// What follows the last part of a name in the new scheme: nothing, what LLVM
/// adds, or the crate it was compiled for. Not a closure.
const AFTER_V0: &[u8] = b"\0.BC";

/// Name and version of the rustls in a program, and its probes; `None` when it
/// has none or no symbols of it.
///
/// # Errors
/// When a symbol table is damaged or larger than is read.
pub fn look<R: ReadAt + ?Sized>(
    elf: &Elf<'_, R>,
) -> Result<Option<(String, Vec<Probe>)>, ElfError> {
    let found = elf.functions_like(&METHODS.each_ref().map(|method| method.names))?;
    // One way alone would be half of each exchange.
    if found.iter().any(Vec::is_empty) {
        return Ok(None);
    }
    let probes = METHODS
        .iter()
        .zip(&found)
        .flat_map(|(method, functions)| functions.iter().flat_map(|f| method.probes(f)))
        .collect();
    let version = elf.find_constant(b"rustls-", version);
    Ok(Some((
        version.unwrap_or_else(|| "rustls".to_owned()),
        probes,
    )))
}

impl Method {
    fn probes(&self, function: &Function) -> [Probe; 2] {
        [(self.enter, Placement::At), (self.exit, Placement::Return)].map(|(role, placement)| {
            Probe {
                role,
                offset: function.offset,
                placement,
                stack: 0,
            }
        })
    }
}

/// Reads `…/rustls-0.23.46/src/…`, the name of a source file in the text of a
/// panic. Not `tokio-rustls-0.26.6`.
fn version(before: &[u8], after: &[u8]) -> Option<String> {
    let rest = after.strip_prefix(b"rustls-")?;
    let end = rest.iter().position(|c| *c == b'/')?;
    let number = std::str::from_utf8(rest.get(..end)?).ok()?;
    let plain = number.len() <= 24
        && number.starts_with(|c: char| c.is_ascii_digit())
        && number
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+'));
    (plain && before.ends_with(b"/")).then(|| format!("rustls {number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_folder_of_sources() {
        for (before, after, expected) in [
            (
                "crates.io-1949cf/",
                "rustls-0.23.46/src/conn.rs",
                Some("rustls 0.23.46"),
            ),
            ("/", "rustls-0.24.0-dev.2/src", Some("rustls 0.24.0-dev.2")),
            ("/tokio-", "rustls-0.26.6/src/lib.rs", None),
            ("/", "rustls-webpki-0.103.16/src", None),
            ("/", "rustls-0.23.46", None),
        ] {
            let found = version(before.as_bytes(), after.as_bytes());
            assert_eq!(found.as_deref(), expected, "{before}{after}");
        }
    }
}
