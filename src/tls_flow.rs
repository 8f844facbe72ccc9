//! A TLS connection whose plaintext is not read, as it is handed to the
//! outputs (`--tls-flows`): who, with whom, what both said before encryption
//! began, and how many bytes went by.

use std::sync::Arc;

use crate::event::{ConnectionInfo, Timestamp};
use crate::exchange::{Role, State};
use crate::process::Process;
use crate::tls_hello::{ClientHello, ServerHello};

/// Why a program's TLS is not read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// The library that it seems to use, as far as it can be guessed.
    pub library: Option<Arc<str>>,
    /// The reason in words; `None`: not known.
    pub why: Option<Arc<str>>,
}

/// A TLS connection that was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFlow {
    /// The engine's number of the connection (JSON `connection`).
    pub connection: u64,
    /// The connection. `from_start` says whether it was seen from its first
    /// byte: if not, bytes are counted from when it was joined.
    pub info: Arc<ConnectionInfo>,
    /// The process of the first byte, if known.
    pub process: Option<Arc<Process>>,
    /// Its thread, 0 when unknown.
    pub tid: u32,
    /// The thread's name.
    pub thread: Vec<u8>,
    /// Whose hello the process sent; `None` when neither was seen.
    pub role: Option<Role>,
    /// How it ended. Never [`State::Closed`] but where it was given up.
    pub state: State,
    /// The client's hello.
    pub client: Option<ClientHello>,
    /// The server's.
    pub server: Option<ServerHello>,
    /// The alert in place of an answer to the client's hello (RFC 8446 6).
    pub refused: Option<u8>,
    /// Why it was not read.
    pub unread: Unread,
    /// Bytes of TCP payload that the process sent; `None`: not counted.
    pub sent: Option<u64>,
    /// Bytes of TCP payload that the process received.
    pub received: Option<u64>,
    /// First byte.
    pub start: Timestamp,
    /// The end of the connection or of the capture.
    pub end: Timestamp,
}

impl TlsFlow {
    /// The name that the client asked for.
    #[must_use]
    pub fn sni(&self) -> Option<&[u8]> {
        self.client.as_ref()?.sni.as_deref()
    }

    /// The protocols that the client offered.
    #[must_use]
    pub fn alpn(&self) -> &[Vec<u8>] {
        self.client.as_ref().map_or(&[], |hello| &hello.alpn)
    }

    /// Remarks in words.
    pub fn notes(&self) -> impl Iterator<Item = &'static str> {
        let joined = !self.info.from_start;
        let refused = self.refused.is_some();
        let retried = self.server.as_ref().is_some_and(|hello| hello.retry);
        [
            (joined, "joined in mid-connection: counted from there"),
            (refused, "the server refused the handshake"),
            (retried, "the server asked for another hello"),
        ]
        .into_iter()
        .filter_map(|(applies, note)| applies.then_some(note))
    }
}
