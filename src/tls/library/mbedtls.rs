//! Mbed TLS.

use super::{Call, Library, number};
use crate::event::Source;
use crate::tls::{Abi, ProbeRole};

/// Mbed TLS 2 and 3 (`libmbedtls.so.14`), often static.
///
/// The context is the program's own memory, and is used for one connection
/// after another by `mbedtls_ssl_session_reset`. A close_notify is a return value
/// of its own.
pub(super) const MBEDTLS: Library = Library {
    name: "Mbed TLS",
    source: Source::MbedTls,
    abi: Abi::C,
    files: &["libmbedtls"],
    calls: &[
        Call::new(
            "mbedtls_ssl_read",
            ProbeRole::ReadEnter,
            ProbeRole::ReadExit,
        )
        .required(),
        Call::new(
            "mbedtls_ssl_write",
            ProbeRole::WriteEnter,
            ProbeRole::WriteExit,
        )
        .required(),
        Call::new(
            "mbedtls_ssl_handshake",
            ProbeRole::HandshakeEnter,
            ProbeRole::HandshakeExit,
        ),
        Call::entry("mbedtls_ssl_setup", ProbeRole::Renew),
        Call::entry("mbedtls_ssl_session_reset", ProbeRole::Renew),
        Call::entry("mbedtls_ssl_free", ProbeRole::Free),
    ],
    pairs: &[],
    version_in: "libmbedcrypto",
    // “mbed TLS 2.28.3”, “Mbed TLS 3.6.0”.
    version_mark: b"bed TLS ",
    version: |before, after| {
        let named = before.ends_with(b"m") || before.ends_with(b"M");
        named
            .then(|| number(after.get(8..)?))?
            .map(|number| format!("Mbed TLS {number}"))
    },
    wrapping_kin: &[],
};
