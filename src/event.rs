//! What enters the engine: one piece of a conversation as one process saw it.
//!
//! Events come from the kernel (`capture`) or from the packets of a capture
//! file ([`crate::read`]); nothing after this point knows which.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::process::Process;

/// Wall-clock time in nanoseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Microseconds from `earlier` to `self`, 0 if `earlier` is the later one.
    #[must_use]
    pub const fn micros_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0) / 1000
    }

    /// Nanoseconds from `earlier` to `self`, 0 if `earlier` is the later one.
    #[must_use]
    pub const fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Which way bytes went, seen from the process that the event belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// The process sent them.
    Send,
    /// The process received them.
    Receive,
}

impl Direction {
    /// The opposite direction.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Send => Self::Receive,
            Self::Receive => Self::Send,
        }
    }

    /// 0 for [`Direction::Send`], 1 for [`Direction::Receive`]: an index into
    /// a pair of streams.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Send => 0,
            Self::Receive => 1,
        }
    }
}

/// Where in the process the bytes were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// A TCP socket, as the bytes are on the wire.
    Tcp,
    /// The plaintext side of OpenSSL or of a library with its interface.
    OpenSsl,
    /// That of GnuTLS.
    GnuTls,
    /// That of NSS, below NSPR's functions.
    Nss,
    /// That of Go's crypto/tls.
    Go,
    /// That of rustls.
    Rustls,
    /// That of wolfSSL.
    WolfSsl,
    /// That of Mbed TLS.
    MbedTls,
}

impl Source {
    /// All sources.
    pub const ALL: [Self; 8] = [
        Self::Tcp,
        Self::OpenSsl,
        Self::GnuTls,
        Self::Nss,
        Self::Go,
        Self::Rustls,
        Self::WolfSsl,
        Self::MbedTls,
    ];

    /// The name in JSON, in pcapng interface names and in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::OpenSsl => "openssl",
            Self::GnuTls => "gnutls",
            Self::Nss => "nss",
            Self::Go => "go",
            Self::Rustls => "rustls",
            Self::WolfSsl => "wolfssl",
            Self::MbedTls => "mbedtls",
        }
    }

    /// The source with this [`name`](Self::name).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }

    /// Whether the bytes were inside TLS on the wire.
    #[must_use]
    pub const fn is_tls(self) -> bool {
        !matches!(self, Self::Tcp)
    }
}

/// One end of a connection. Prints as `1.2.3.4:80`, `[::1]:80` or
/// `unix:/run/docker.sock`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    /// A TCP address. IPv4-mapped IPv6 addresses are given as IPv4.
    Tcp(SocketAddr),
    /// A unix stream socket by path (abstract ones begin with `@`).
    Unix(Arc<str>),
}

impl Endpoint {
    /// The endpoint of a socket address, with IPv4-mapped addresses
    /// (`::ffff:1.2.3.4`) turned into IPv4.
    #[must_use]
    pub fn from_socket(address: SocketAddr) -> Self {
        Self::Tcp(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }

    /// The TCP port, if it is a TCP address.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

/// Identifies one side's view of a connection at one layer for its lifetime.
///
/// On loopback, where both ends are watched, there are two keys with mirrored
/// addresses. TLS over a socket has a key of its own beside the socket's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionKey {
    /// What kind of object it is.
    pub source: Source,
    /// The kernel's or the library's object: address of the `struct sock` or
    /// of the TLS object. For a capture file a number of the reader's.
    pub object: u64,
    /// When the object was first seen (kernel nanoseconds), so that a reused
    /// address is another connection. For TLS objects mixed with the process.
    pub born: u64,
}

/// What is known of the connection that an event belongs to. Borrowed for the
/// event; fields may turn from `None` to `Some` in later events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// Identity.
    pub key: ConnectionKey,
    /// The process's own address; `None` when unknown.
    pub local: Option<Endpoint>,
    /// The other end's address; `None` when unknown.
    pub peer: Option<Endpoint>,
    /// Inode number of the network namespace, 0 when unknown.
    pub namespace: u64,
    /// The connection was seen from its first byte on: what does not begin
    /// with a message start is not HTTP.
    pub from_start: bool,
    /// For TLS: the library and its version, such as `OpenSSL 3.0.22`.
    pub tls_library: Option<Arc<str>>,
    /// Which of the two ends is `local` is a guess (a capture file without
    /// process comments): the engine makes the client's end local.
    pub perspective_unknown: bool,
    /// The connection number that an earlier run gave (from a capture file of
    /// our own); `None` lets the engine count.
    pub number: Option<u64>,
}

impl ConnectionInfo {
    /// A connection of which nothing but its identity is known.
    #[must_use]
    pub const fn new(key: ConnectionKey) -> Self {
        Self {
            key,
            local: None,
            peer: None,
            namespace: 0,
            from_start: false,
            tls_library: None,
            perspective_unknown: false,
            number: None,
        }
    }
}

/// Why bytes that were transferred are not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MissingReason {
    /// The ring buffer to user space was full.
    RingFull,
    /// More in one call than is copied per call.
    CallLimit,
    /// The pages named no readable memory (paged out, or gone).
    Unreadable,
    /// sendfile, splice or io_uring: no buffer of the process to read.
    NoBuffer,
    /// Bytes were transferred in a way that no probe saw.
    NotSeen,
    /// A bound on memory was hit.
    MemoryLimit,
    /// The capture file has a hole here.
    CaptureFile,
}

impl MissingReason {
    /// All reasons, for tables of counts.
    pub const ALL: [Self; 7] = [
        Self::RingFull,
        Self::CallLimit,
        Self::Unreadable,
        Self::NoBuffer,
        Self::NotSeen,
        Self::MemoryLimit,
        Self::CaptureFile,
    ];

    /// The name in JSON (`missing[].reason`) and in the summary.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RingFull => "ring_full",
            Self::CallLimit => "call_limit",
            Self::Unreadable => "unreadable",
            Self::NoBuffer => "no_buffer",
            Self::NotSeen => "not_seen",
            Self::MemoryLimit => "memory_limit",
            Self::CaptureFile => "capture_file",
        }
    }

    /// The reason with this [`name`](Self::name).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.name() == name)
    }
}

/// Bytes that were transferred in one direction.
#[derive(Clone, Copy, Debug)]
pub struct Data<'a> {
    /// Which way.
    pub direction: Direction,
    /// Position of the first byte in the direction's stream. Only differences
    /// mean something: the first byte ever seen has any value.
    pub offset: u64,
    /// The bytes that were captured.
    pub bytes: &'a [u8],
    /// Bytes that follow `bytes` in the stream and were transferred but not
    /// captured. 0 in most events; a record without data has only this.
    pub missing: u64,
    /// Why, when `missing` is not 0.
    pub reason: MissingReason,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum Action<'a> {
    /// The connection exists; gives its facts before the first byte.
    Open,
    /// Bytes.
    Data(Data<'a>),
    /// No more bytes will come in this direction (FIN, `recv` returned 0,
    /// close_notify). `offset` is that of the byte after the last, if known.
    End {
        /// Which way.
        direction: Direction,
        /// Length of the stream up to here in the numbering of
        /// [`Data::offset`].
        offset: Option<u64>,
    },
    /// Bytes that the process has sent and received on it, whether they were
    /// copied or not: for TLS sockets, shortly before [`Action::Close`] or at
    /// the end of the capture.
    Counted {
        /// Sent.
        sent: u64,
        /// Received.
        received: u64,
    },
    /// What this socket carries inside TLS is read as a connection of its own.
    Read,
    /// The connection is gone and its key will not be used again.
    Close {
        /// It ended with a reset.
        reset: bool,
    },
}

/// Something that happened on a connection.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// When: a send is stamped by the entry of its call, a receive by its
    /// return. May be a little earlier than that of the event before.
    pub time: Timestamp,
    /// The process; `None` when unknown (capture files of other programs).
    pub process: Option<&'a Arc<Process>>,
    /// Thread id, 0 when unknown.
    pub tid: u32,
    /// Name of the thread, without NUL bytes; empty when unknown.
    pub thread: &'a [u8],
    /// The connection.
    pub connection: &'a ConnectionInfo,
    /// What happened.
    pub action: Action<'a>,
}
