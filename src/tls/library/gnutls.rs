//! GnuTLS: wget, git, apt and much of GNOME.

use super::{Call, Library, number};
use crate::event::Source;
use crate::tls::{Abi, ProbeRole};

/// GnuTLS 3.x (`libgnutls.so.30`).
///
/// `gnutls_record_send` hands over to `gnutls_record_send2` (3.6.3 and later).
/// `gnutls_record_send_file` calls it for each piece; so does `gnutls_handshake`
/// with what `gnutls_record_send_early_data` has put aside, which therefore is
/// not probed. Corked data is reported when it is taken: `gnutls_record_uncork`
/// sends it by the same function once more, and is a call around these whose
/// bytes are not reported. The functions that receive do not call one another.
/// (Read from the code of 3.7.9.)
pub(super) const GNUTLS: Library = Library {
    name: "GnuTLS",
    source: Source::GnuTls,
    abi: Abi::C,
    files: &["libgnutls"],
    calls: &[
        Call {
            inner: Some("gnutls_record_send2"),
            ..Call::new(
                "gnutls_record_send",
                ProbeRole::WriteEnter,
                ProbeRole::WriteExit,
            )
            .required()
        },
        Call::new(
            "gnutls_record_recv",
            ProbeRole::ReadEnter,
            ProbeRole::ReadExit,
        )
        .required(),
        Call::new(
            "gnutls_record_send2",
            ProbeRole::WriteEnter,
            ProbeRole::WriteExit,
        ),
        Call::new(
            "gnutls_record_send_range",
            ProbeRole::WriteEnter,
            ProbeRole::WriteExit,
        ),
        Call::new(
            "gnutls_record_uncork",
            ProbeRole::WriteEnter,
            ProbeRole::FlushExit,
        ),
        Call::new(
            "gnutls_record_recv_seq",
            ProbeRole::ReadEnter,
            ProbeRole::ReadExit,
        ),
        Call::new(
            "gnutls_record_recv_early_data",
            ProbeRole::ReadEnter,
            ProbeRole::ReadExit,
        ),
        Call::new(
            "gnutls_record_recv_packet",
            ProbeRole::ReadUnseenEnter,
            ProbeRole::ReadExit,
        ),
        Call::new(
            "gnutls_handshake",
            ProbeRole::HandshakeEnter,
            ProbeRole::HandshakeExit,
        ),
        Call::new("gnutls_init", ProbeRole::NewAtEnter, ProbeRole::NewAtExit),
        Call::entry("gnutls_deinit", ProbeRole::Free),
    ],
    pairs: &[],
    version_in: "libgnutls",
    // “Enabled GnuTLS 3.7.9 logging...”
    version_mark: b"GnuTLS ",
    version: |_, after| Some(format!("GnuTLS {}", number(after.get(7..)?)?)),
    wrapping_kin: &[],
};
