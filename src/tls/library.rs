//! The table of TLS libraries. Adding a library is adding an entry.

use super::{Abi, ProbeRole};
use crate::event::Source;

mod gnutls;
#[cfg(test)]
mod here;
mod mbedtls;
mod nss;
mod wolfssl;

/// What is known of one TLS library.
#[derive(Debug)]
pub struct Library {
    /// Its name for users.
    pub name: &'static str,
    /// What its records say that they come from.
    pub source: Source,
    /// How its functions are called.
    pub abi: Abi,
    /// How the names of its files begin. What follows may not be a letter:
    /// `libssl.so.3`, `libssl-81ffa89e.so.1.1`, `libssl3.so`, but not
    /// `libsslutils.so`. The name makes a mapped file a candidate, its symbols
    /// decide (NSS has a `libssl3.so` too, without `SSL_read`). Programs are
    /// looked into whatever their name.
    pub files: &'static [&'static str],
    /// The functions to probe.
    pub calls: &'static [Call],
    /// Functions of `calls` that may be two shells of one. Where all of them
    /// are, the functions behind them are probed instead.
    pub pairs: &'static [Pair],
    /// The library that holds the version text when the file itself has
    /// none, as the beginning of its name.
    pub version_in: &'static str,
    /// What stands in the version text; see [`version`](Self::version).
    pub version_mark: &'static [u8],
    /// Finds name and version around the mark: the bytes before it, and those
    /// from it on.
    pub version: fn(before: &[u8], after: &[u8]) -> Option<String>,
    /// Names (as `version` gives them) of kin whose `_ex` functions are thin
    /// wrappers: see [`Call::inner`].
    pub wrapping_kin: &'static [&'static str],
}

/// One function of a library.
#[derive(Debug)]
pub struct Call {
    /// The symbol.
    pub symbol: &'static str,
    /// What its entry means; `None` where only the return matters.
    pub enter: Option<ProbeRole>,
    /// What its return means; `None` where only the entry matters.
    pub exit: Option<ProbeRole>,
    /// A file without it is not this library.
    pub required: bool,
    /// The function that this one calls with the same arguments in some
    /// implementations. Where it does, only the inner one is probed, or every
    /// byte would be seen twice.
    pub inner: Option<&'static str>,
}

impl Call {
    /// A function that a file need not have.
    const fn new(symbol: &'static str, enter: ProbeRole, exit: ProbeRole) -> Self {
        Self {
            symbol,
            enter: Some(enter),
            exit: Some(exit),
            required: false,
            inner: None,
        }
    }

    /// One whose entry alone matters.
    const fn entry(symbol: &'static str, enter: ProbeRole) -> Self {
        Self {
            symbol,
            enter: Some(enter),
            exit: None,
            required: false,
            inner: None,
        }
    }

    /// The same, but a file without it is not the library.
    const fn required(self) -> Self {
        Self {
            required: true,
            ..self
        }
    }
}

/// Two functions behind which there may be one that does the work.
#[derive(Debug)]
pub struct Pair {
    /// The symbol that takes (object, buffer, length) and returns the count.
    pub plain: &'static str,
    /// The symbol that takes (object, buffer, length, pointer to the count).
    pub ex: &'static str,
    /// The symbol that `ex` may be a shell of in its turn and
    /// that takes (object, buffer, length, flags, pointer to the count).
    pub with_flags: Option<&'static str>,
    /// What the entry of the function behind them means with the pointer as
    /// its fourth argument …
    pub enter: ProbeRole,
    /// … and as its fifth.
    pub enter_fifth: Option<ProbeRole>,
    /// What its return means.
    pub exit: ProbeRole,
}

/// All libraries, in the order in which they are tried.
pub const LIBRARIES: &[Library] = &[
    OPENSSL,
    gnutls::GNUTLS,
    nss::NSS,
    nss::NSPR,
    nss::SSL,
    wolfssl::WOLFSSL,
    mbedtls::MBEDTLS,
];

/// OpenSSL 1.0.2 to 4.0 and libraries with its interface, and programs that
/// hold one of them and keep its symbols (node).
///
/// OpenSSL's own `SSL_read` and `SSL_read_ex` both call a static function,
/// which is probed if it is found in the code, else both are. LibreSSL's and
/// AWS-LC's `SSL_read_ex` call `SSL_read`, and so for writing. From OpenSSL 3.3
/// on `SSL_write_ex` calls or jumps to `SSL_write_ex2`, which has one argument
/// more, and the functions for early data call those for other data: of calls
/// within calls for the same object only the outer one counts, and of jumps the
/// last.
const OPENSSL: Library = Library {
    name: "OpenSSL",
    source: Source::OpenSsl,
    abi: Abi::C,
    files: &["libssl", "libnode", "libboringssl"],
    calls: &[
        Call {
            symbol: "SSL_read",
            enter: Some(ProbeRole::ReadEnter),
            exit: Some(ProbeRole::ReadExit),
            required: true,
            inner: None,
        },
        Call {
            symbol: "SSL_write",
            enter: Some(ProbeRole::WriteEnter),
            exit: Some(ProbeRole::WriteExit),
            required: true,
            inner: None,
        },
        Call {
            symbol: "SSL_read_ex",
            enter: Some(ProbeRole::ReadExEnter),
            exit: Some(ProbeRole::ReadExExit),
            required: false,
            inner: Some("SSL_read"),
        },
        Call {
            symbol: "SSL_write_ex",
            enter: Some(ProbeRole::WriteExEnter),
            exit: Some(ProbeRole::WriteExExit),
            required: false,
            inner: Some("SSL_write"),
        },
        Call {
            symbol: "SSL_write_ex2",
            enter: Some(ProbeRole::WriteFlagsEnter),
            exit: Some(ProbeRole::WriteExExit),
            required: false,
            inner: None,
        },
        Call {
            symbol: "SSL_read_early_data",
            enter: Some(ProbeRole::EarlyReadEnter),
            exit: Some(ProbeRole::EarlyReadExit),
            required: false,
            inner: Some("SSL_read_ex"),
        },
        Call {
            symbol: "SSL_write_early_data",
            enter: Some(ProbeRole::EarlyWriteEnter),
            exit: Some(ProbeRole::EarlyWriteExit),
            required: false,
            inner: None,
        },
        Call {
            symbol: "SSL_get_early_data_status",
            enter: Some(ProbeRole::EarlyStatusEnter),
            exit: Some(ProbeRole::EarlyStatusExit),
            required: false,
            inner: None,
        },
        Call {
            symbol: "SSL_sendfile",
            enter: Some(ProbeRole::SendFileEnter),
            exit: Some(ProbeRole::SendFileExit),
            required: false,
            inner: None,
        },
        Call {
            symbol: "SSL_do_handshake",
            enter: Some(ProbeRole::HandshakeEnter),
            exit: Some(ProbeRole::HandshakeExit),
            required: false,
            inner: None,
        },
        Call {
            symbol: "SSL_new",
            enter: None,
            exit: Some(ProbeRole::NewExit),
            required: false,
            inner: None,
        },
        Call {
            symbol: "SSL_free",
            enter: Some(ProbeRole::Free),
            exit: None,
            required: false,
            inner: None,
        },
    ],
    pairs: &[
        Pair {
            plain: "SSL_read",
            ex: "SSL_read_ex",
            with_flags: None,
            enter: ProbeRole::ReadExEnter,
            enter_fifth: None,
            exit: ProbeRole::ReadSharedExit,
        },
        Pair {
            plain: "SSL_write",
            ex: "SSL_write_ex",
            with_flags: Some("SSL_write_ex2"),
            enter: ProbeRole::WriteExEnter,
            enter_fifth: Some(ProbeRole::WriteFlagsEnter),
            exit: ProbeRole::WriteExExit,
        },
    ],
    version_in: "libcrypto",
    version_mark: b"SSL ",
    version: openssl_version,
    wrapping_kin: &["LibreSSL", "AWS-LC", "BoringSSL"],
};

/// How OpenSSL and its kin hand records to BIOs, whose owner sends them. The
/// same bytes seen there and on a socket tell whose socket it is.
pub const CIPHERTEXT: Ciphertext = Ciphertext {
    name: "libcrypto",
    files: &["libcrypto"],
    all: "BIO_write",
    tables: ["BIO_s_mem", "BIO_s_bio"],
    // node::crypto::NodeBIO::Write(bio_st*, char const*, int)
    functions: &["_ZN4node6crypto7NodeBIO5WriteEP6bio_stPKci"],
};

/// The functions that TLS records are written by, in a file of their own or in
/// that of the library. They take (BIO, buffer, length).
#[derive(Debug)]
pub struct Ciphertext {
    /// The name of the file of their own, for users.
    pub name: &'static str,
    /// How the names of such files begin; as [`Library::files`].
    pub files: &'static [&'static str],
    /// The symbol that all records come by.
    pub all: &'static str,
    /// Symbols of functions that return a `BIO_METHOD` of BIOs in memory.
    pub tables: [&'static str; 2],
    /// Symbols of functions that write into memory.
    pub functions: &'static [&'static str],
}

impl Ciphertext {
    /// All symbols of it.
    pub fn symbols(&self) -> impl Iterator<Item = &'static str> {
        self.tables
            .into_iter()
            .chain(self.functions.iter().copied())
            .chain([self.all])
    }
}

/// Beginnings of names of files that are called as a library is and only call
/// it: all they do is seen there.
const COMPANIONS: &[&str] = &["libgnutls-dane", "libgnutls-openssl"];

/// Names of candidates that usually hold no TLS: Firefox's `libnss3.so` does.
const SELDOM: &[&str] = &["libnss3."];

fn begins_with_any(name: &[u8], beginnings: &[&str]) -> bool {
    beginnings
        .iter()
        .any(|beginning| name.starts_with(beginning.as_bytes()))
}

impl Library {
    /// Whether a file of this name may be this library.
    #[must_use]
    pub fn has_file_name(&self, name: &[u8]) -> bool {
        is_named(self.files, name)
    }

    /// A symbol that every file of this library has.
    #[must_use]
    pub fn mark(&self) -> Option<&'static str> {
        let required = self.calls.iter().find(|call| call.required)?;
        Some(required.symbol)
    }

    /// Whether a symbol is one of a pair.
    #[must_use]
    pub fn in_pair(&self, symbol: &str) -> bool {
        self.pairs
            .iter()
            .any(|pair| [Some(pair.plain), Some(pair.ex), pair.with_flags].contains(&Some(symbol)))
    }

    /// Whether `version` names kin whose `_ex` functions are wrappers.
    #[must_use]
    pub fn wraps(&self, version: &str) -> bool {
        self.wrapping_kin
            .iter()
            .any(|name| version.starts_with(name))
    }
}

/// Whether a file of this name may hold a TLS library of the table, or what
/// such a library writes by.
#[must_use]
pub fn is_candidate(name: &[u8]) -> bool {
    is_library(name) || has_ciphertext(name)
}

/// Whether a file of this name may hold what TLS libraries write by.
#[must_use]
pub fn has_ciphertext(name: &[u8]) -> bool {
    is_named(CIPHERTEXT.files, name)
}

/// Whether a file of this name may hold OpenSSL, or what it writes by.
#[must_use]
pub fn is_openssl(name: &[u8]) -> bool {
    OPENSSL.has_file_name(name) || has_ciphertext(name)
}

fn is_library(name: &[u8]) -> bool {
    !begins_with_any(name, COMPANIONS)
        && LIBRARIES.iter().any(|library| library.has_file_name(name))
}

/// Whether it is news that a candidate of this name holds none.
#[must_use]
pub fn is_expected(name: &[u8]) -> bool {
    is_library(name) && !begins_with_any(name, SELDOM)
}

/// Whether one of these names, something that is no letter, and `.so` make up
/// a file's name.
fn is_named(files: &[&str], name: &[u8]) -> bool {
    files.iter().any(|prefix| {
        name.strip_prefix(prefix.as_bytes()).is_some_and(|rest| {
            rest.first().is_some_and(|c| !c.is_ascii_alphabetic())
                && memchr::memmem::find(rest, b".so").is_some()
        })
    })
}

/// The number at the beginning of a text, of at least two parts: `3.7.9`.
fn number(text: &[u8]) -> Option<&str> {
    let end = text
        .iter()
        .position(|c| !c.is_ascii_digit() && *c != b'.')
        .filter(|end| (3..=16).contains(end))?;
    let number = std::str::from_utf8(text.get(..end)?).ok()?;
    let number = number.trim_end_matches('.');
    number
        .split('.')
        .all(|part| !part.is_empty())
        .then_some(number)
        .filter(|number| number.contains('.'))
}

/// Reads `OpenSSL 3.0.19 27 Jan 2026`, `OpenSSL 1.0.2k-fips  26 Jan 2017`,
/// `LibreSSL 3.8.2`, `OpenSSL 1.1.1 (compatible; AWS-LC 1.29.0)` and
/// `OpenSSL 1.1.1 (compatible; BoringSSL)`.
fn openssl_version(before: &[u8], after: &[u8]) -> Option<String> {
    let rest = after.strip_prefix(b"SSL ")?;
    let end = rest
        .iter()
        .position(|c| !c.is_ascii_graphic() && *c != b' ')?;
    let text = std::str::from_utf8(rest.get(..end)?).ok()?;
    let (number, rest) = text.split_once(' ').unwrap_or((text, ""));
    // Three numbers: the texts of error messages have fewer.
    let mut parts = number.splitn(3, '.');
    if !parts.all(|part| part.starts_with(|c: char| c.is_ascii_digit()))
        || number.split('.').count() < 3
        || number.len() > 24
    {
        return None;
    }
    if before.ends_with(b"Libre") {
        return Some(format!("LibreSSL {number}"));
    }
    if !before.ends_with(b"Open") {
        return None;
    }
    if let Some(kin) = rest.strip_prefix("(compatible; ") {
        return kin.strip_suffix(')').map(str::to_owned);
    }
    // The date of the release; without one it is a sentence about OpenSSL.
    rest.trim_start()
        .starts_with(|c: char| c.is_ascii_digit() || c == 'x')
        .then(|| format!("OpenSSL {number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_texts_of_the_family_are_understood() {
        let version = |text: &str| {
            let at = text.find("SSL ").unwrap();
            let padded = [text.as_bytes(), b"\0"].concat();
            openssl_version(&padded[..at], &padded[at..])
        };
        for (text, expected) in [
            ("OpenSSL 3.0.19 27 Jan 2026", Some("OpenSSL 3.0.19")),
            ("OpenSSL 1.1.1w  11 Sep 2023", Some("OpenSSL 1.1.1w")),
            (
                "OpenSSL 1.0.2k-fips  26 Jan 2017",
                Some("OpenSSL 1.0.2k-fips"),
            ),
            ("OpenSSL 3.0.2+quic 15 Mar 2022", Some("OpenSSL 3.0.2+quic")),
            ("LibreSSL 3.8.2", Some("LibreSSL 3.8.2")),
            (
                "OpenSSL 1.1.1 (compatible; AWS-LC 1.29.0)",
                Some("AWS-LC 1.29.0"),
            ),
            ("OpenSSL 1.1.1 (compatible; BoringSSL)", Some("BoringSSL")),
            ("enable OpenSSL 3.0 legacy provider", None),
            ("needs OpenSSL 3.0.0 or later", None),
            ("NoSSL 3.0.0 1 Jan 2020", None),
            ("OpenSSL PKCS#3 DH method", None),
        ] {
            assert_eq!(version(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn only_names_of_the_libraries_make_a_candidate() {
        for name in [
            "libssl.so.3",
            "libssl.so",
            "libssl.so.1.1",
            "libssl-81ffa89e.so.1.1",
            "libssl3.so",
            "libnode.so.108",
            "libcrypto.so.3",
            "libcrypto-81ffa89e.so.1.1",
            "libgnutls.so.30",
            "libnspr4.so",
            "libwolfssl.so.35",
            "libmbedtls-4f0e6bd1.so.14",
        ] {
            assert!(is_candidate(name.as_bytes()), "{name}");
        }
        for name in [
            "libsslutils.so",
            "libcryptography.so",
            "libssl",
            "ssl.so",
            "_ssl.cpython-311-x86_64-linux-gnu.so",
            "libgnutls-openssl.so.27",
            "libgnutlsxx.so.30",
            "libmbedcrypto.so.7",
        ] {
            assert!(!is_candidate(name.as_bytes()), "{name}");
        }
    }
}
