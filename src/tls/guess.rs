//! Why a program's TLS cannot be read: which TLS library it uses of those that
//! cannot be attached to, as a user would want to be told. Slow (it searches
//! the program's constants), and only called for that.

use rustc_hash::FxHashMap;

use super::elf::Elf;
use super::find::Finder;
use super::identity::FileKey;
use super::maps;
use super::root::open_link;

/// What keeps a library from being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// It is shared, and has none of the functions that are known.
    Functions,
    /// It is in the program or in another library, without symbols.
    Stripped,
    /// Its functions are not called by names at all.
    Java,
}

/// Beginnings of names of mapped files: the first that fits counts.
const FILES: &[(&str, &str, Why)] = &[
    ("libjvm.so", "Java", Why::Java),
    ("libconscrypt", "BoringSSL", Why::Stripped),
    ("libnetty_tcnative", "BoringSSL", Why::Stripped),
    ("libgnutls.so", "GnuTLS", Why::Functions),
    ("libnss3.so", "NSS", Why::Functions),
    ("libwolfssl.so", "wolfSSL", Why::Functions),
    ("libmbedtls.so", "Mbed TLS", Why::Functions),
    ("libs2n.so", "s2n-tls", Why::Functions),
    ("librustls.so", "rustls", Why::Functions),
    ("libssl", "OpenSSL", Why::Functions),
];

/// Texts in a program's constants. Of several the first in this list counts:
/// BoringSSL and AWS-LC have OpenSSL's file names too, and a program may hold
/// a list of libraries that it could use.
const TEXTS: &[(&[u8], &str)] = &[
    (b"boringssl/src/ssl/", "BoringSSL"),
    (b"BoringSSL)", "BoringSSL"),
    (b"(compatible; AWS-LC ", "AWS-LC"),
    (b"ssl/ssl_lib.cc", "BoringSSL"),
    (b"ssl/ssl_lib.c", "OpenSSL"),
    (b"/rustls-", "rustls"),
    (b"rustls/src/", "rustls"),
    (b"wolfSSL_", "wolfSSL"),
    (b"mbedtls_ssl_", "Mbed TLS"),
    (b"GnuTLS error", "GnuTLS"),
];

/// What is known of TLS that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// The library, if it was recognised: `OpenSSL`.
    pub library: Option<String>,
    /// Why, as the end of a sentence.
    pub why: String,
}

/// How many programs are remembered.
const MAX_PROGRAMS: usize = 4096;

/// Guesses that remember the programs that were searched.
#[derive(Debug, Default)]
pub struct Guesses {
    programs: FxHashMap<FileKey, Option<&'static str>>,
}

impl Guesses {
    /// Why the TLS of a process that was looked at by `finder` cannot be read;
    /// `None` when nothing is known of TLS in it, or it is gone.
    pub fn explain(&mut self, finder: &Finder, pid: u32) -> Option<Unread> {
        if let Some(why) = finder.why_not(pid) {
            return Some(Unread { library: None, why });
        }
        let (library, why) = self.guess(pid)?;
        Some(Unread {
            library: Some(library.to_owned()),
            why: sentence(library, why),
        })
    }

    fn guess(&mut self, pid: u32) -> Option<(&'static str, Why)> {
        let text = maps::read(pid).ok()?;
        let mapped = |prefix: &str| {
            maps::parse(&text).any(|mapping| mapping.file_name().starts_with(prefix.as_bytes()))
        };
        if let Some((_, name, why)) = FILES.iter().find(|(prefix, ..)| mapped(prefix)) {
            return Some((name, *why));
        }
        let link = format!("/proc/{pid}/exe");
        let key = FileKey::of(&std::fs::metadata(&link).ok()?);
        if self.programs.len() >= MAX_PROGRAMS {
            self.programs.clear();
        }
        let name = *self
            .programs
            .entry(key)
            .or_insert_with(|| in_program(&link));
        Some((name?, Why::Stripped))
    }
}

/// The TLS library in a program, by its texts.
fn in_program(link: &str) -> Option<&'static str> {
    let file = open_link(link).ok()?;
    let elf = Elf::open(&file).ok()?;
    let texts: Vec<&[u8]> = TEXTS.iter().map(|(text, _)| *text).collect();
    let (_, name) = TEXTS.get(elf.first_constant(&texts)?)?;
    Some(name)
}

fn sentence(library: &str, why: Why) -> String {
    match (why, library) {
        (Why::Java, _) => "Java's own TLS (JSSE) is no native library".to_owned(),
        (Why::Functions, _) => {
            format!("this {library} has none of the functions that httpsniff knows")
        }
        (Why::Stripped, "rustls") => {
            "rustls is linked in and the program's symbols were stripped".to_owned()
        }
        (Why::Stripped, "OpenSSL" | "BoringSSL" | "AWS-LC") => format!(
            "{library} is linked in without symbols (if you know where its functions are: \
             --lib FILE@SSL_read=ADDRESS,SSL_write=ADDRESS)"
        ),
        (Why::Stripped, _) => format!("{library} is linked in without symbols"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_known_by_its_texts() {
        // The texts themselves are in this program.
        let library = |pid| Some(Guesses::default().guess(pid)?.0);
        assert_eq!(library(std::process::id()), Some("BoringSSL"));
        assert_eq!(library(u32::MAX), None);
    }

    #[test]
    fn kin_of_openssl_are_not_taken_for_it() {
        let place = |wanted: &[u8]| TEXTS.iter().position(|(text, _)| *text == wanted);
        assert!(place(b"ssl/ssl_lib.cc") < place(b"ssl/ssl_lib.c"));
        assert!(sentence("OpenSSL", Why::Stripped).contains("--lib FILE@"));
    }
}
