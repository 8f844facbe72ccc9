//! Guesses which TLS library a program uses of those that cannot be attached
//! to, so that a user learns why nothing is shown. Slow (it searches the
//! program's constants), and only called for that.

use super::elf::Elf;
use super::maps;
use super::root::open_link;

/// Beginnings of names of mapped files.
const FILES: &[(&str, &str)] = &[
    ("libgnutls.so", "GnuTLS"),
    ("libnss3.so", "NSS"),
    ("libwolfssl.so", "wolfSSL"),
    ("libmbedtls.so", "Mbed TLS"),
    ("libs2n.so", "s2n-tls"),
    ("librustls.so", "rustls"),
    ("libjvm.so", "Java"),
    ("libconscrypt", "BoringSSL"),
    ("libnetty_tcnative", "BoringSSL"),
    ("libssl", "OpenSSL"),
];

/// Texts in a program's constants, with that which all begin with first.
const TEXTS: &[(&[u8], &str)] = &[
    (b"rustls-", "rustls"),
    (b"BoringSSL)", "BoringSSL"),
    (b"boringssl/src/ssl/", "BoringSSL"),
    (b"AWS-LC ", "AWS-LC"),
    (b"GnuTLS error", "GnuTLS"),
    (b"Mbed TLS ", "Mbed TLS"),
    (b"wolfSSL ", "wolfSSL"),
];

/// The TLS library of a process, by the files it has mapped and by what is in
/// its program; `None` when nothing is recognised or the process is gone.
#[must_use]
pub fn guess_tls(pid: u32) -> Option<&'static str> {
    let text = maps::read(pid).ok()?;
    let mapped = |prefix: &str| {
        maps::parse(&text).any(|mapping| mapping.file_name().starts_with(prefix.as_bytes()))
    };
    if let Some((_, name)) = FILES.iter().find(|(prefix, _)| mapped(prefix)) {
        return Some(name);
    }
    let file = open_link(&format!("/proc/{pid}/exe")).ok()?;
    let elf = Elf::open(&file).ok()?;
    if elf.has_section(".gopclntab") || elf.has_section(".go.buildinfo") {
        return Some("Go crypto/tls");
    }
    TEXTS
        .iter()
        .find(|(text, _)| elf.find_constant(text, |_, _| Some(())).is_some())
        .map(|(_, name)| *name)
}
