//! NSS, on NSPR: Firefox, Thunderbird, LDAP servers.
//!
//! A TLS socket of NSS is a descriptor of NSPR with a layer upon it, and is
//! read and written by NSPR's functions, which serve files and plain sockets
//! too. The programs in the kernel leave out descriptors without a layer, and
//! report of those with one only what is TLS: `SSL_ImportFD` was seen to make
//! it, or its socket carries TLS records.

use super::{Call, Library, number};
use crate::event::Source;
use crate::tls::{Abi, ProbeRole};

/// NSPR's part: `libnspr4.so`.
///
/// These functions jump to those of the descriptor's topmost layer; layers
/// call one another without them. `PR_SendFile` and `PR_TransmitFile` on TLS
/// send by `PR_Writev` and `PR_Send`, `PR_AcceptRead` receives by `PR_Recv`.
pub(super) const NSPR: Library = Library {
    name: "NSS",
    source: Source::Nss,
    abi: Abi::C,
    files: &["libnspr4"],
    calls: &[READ, WRITE, RECV, SEND, WRITEV, CLOSE],
    pairs: &[],
    // Installed beside it, but not needed by it.
    version_in: "libnss3",
    version_mark: MARK,
    version,
    wrapping_kin: &[],
};

/// NSS's part: `libssl3.so`.
pub(super) const SSL: Library = Library {
    name: "NSS",
    source: Source::Nss,
    abi: Abi::C,
    files: &["libssl3"],
    calls: &[IMPORT, HANDSHAKE],
    pairs: &[],
    version_in: "libnss3",
    version_mark: MARK,
    version,
    wrapping_kin: &[],
};

/// Both in one: Firefox's own `libnss3.so`, static programs.
pub(super) const NSS: Library = Library {
    name: "NSS",
    source: Source::Nss,
    abi: Abi::C,
    files: &["libnss3"],
    // The first that is required must be another one than in the other two.
    calls: &[
        HANDSHAKE.required(),
        IMPORT,
        READ,
        WRITE,
        RECV,
        SEND,
        WRITEV,
        CLOSE,
    ],
    pairs: &[],
    version_in: "libnss3",
    version_mark: MARK,
    version,
    wrapping_kin: &[],
};

const READ: Call = Call::new("PR_Read", ProbeRole::NsprReadEnter, ProbeRole::ReadExit).required();
const WRITE: Call =
    Call::new("PR_Write", ProbeRole::NsprWriteEnter, ProbeRole::WriteExit).required();
const RECV: Call = Call::new("PR_Recv", ProbeRole::NsprReceiveEnter, ProbeRole::ReadExit);
const SEND: Call = Call::new("PR_Send", ProbeRole::NsprWriteEnter, ProbeRole::WriteExit);
const WRITEV: Call = Call::new(
    "PR_Writev",
    ProbeRole::NsprWriteVectorEnter,
    ProbeRole::WriteExit,
);
const CLOSE: Call = Call::entry("PR_Close", ProbeRole::Free);
const IMPORT: Call = Call {
    symbol: "SSL_ImportFD",
    enter: None,
    exit: Some(ProbeRole::NewExit),
    required: true,
    inner: None,
};
const HANDSHAKE: Call = Call::new(
    "SSL_ForceHandshake",
    ProbeRole::HandshakeEnter,
    ProbeRole::HandshakeExit,
);

const MARK: &[u8] = b"Version: NSS ";

fn version(_before: &[u8], after: &[u8]) -> Option<String> {
    Some(format!("NSS {}", number(after.get(MARK.len()..)?)?))
}
