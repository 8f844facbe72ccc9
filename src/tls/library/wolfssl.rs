//! wolfSSL.

use super::{Call, Library, number};
use crate::event::Source;
use crate::tls::{Abi, ProbeRole};

/// wolfSSL 3 to 5 (`libwolfssl.so.35`).
///
/// `wolfSSL_send`, `wolfSSL_writev` and the BIO functions call `wolfSSL_write`,
/// `wolfSSL_recv` and the BIO functions `wolfSSL_read`; so are the `_ex` functions
/// (since 5.7) made. `wolfSSL_peek` calls none of them. OpenSSL's names are
/// macros of its headers, not symbols. (Read from the code of 5.5.4.)
pub(super) const WOLFSSL: Library = Library {
    name: "wolfSSL",
    source: Source::WolfSsl,
    abi: Abi::C,
    files: &["libwolfssl"],
    calls: &[
        Call::new("wolfSSL_read", ProbeRole::ReadEnter, ProbeRole::ReadExit).required(),
        Call::new("wolfSSL_write", ProbeRole::WriteEnter, ProbeRole::WriteExit).required(),
        Call::new(
            "wolfSSL_connect",
            ProbeRole::HandshakeEnter,
            ProbeRole::HandshakeExit,
        ),
        Call::new(
            "wolfSSL_accept",
            ProbeRole::HandshakeEnter,
            ProbeRole::HandshakeExit,
        ),
        Call {
            symbol: "wolfSSL_new",
            enter: None,
            exit: Some(ProbeRole::NewExit),
            required: false,
            inner: None,
        },
        Call::entry("wolfSSL_clear", ProbeRole::Renew),
        Call::entry("wolfSSL_free", ProbeRole::Free),
    ],
    pairs: &[],
    version_in: "libwolfssl",
    version_mark: b"wolfSSL ",
    version: |_, after| Some(format!("wolfSSL {}", number(after.get(8..)?)?)),
    wrapping_kin: &[],
};
