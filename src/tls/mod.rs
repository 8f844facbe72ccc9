//! Which files hold which TLS library, and where in them to attach.
//!
//! Adding a library is adding an entry to the table in `library.rs`.

use std::fs::File;
use std::sync::Arc;

use crate::event::Source;

pub mod elf;
pub mod find;
pub mod golang;
pub mod guess;
mod identity;
pub mod inspect;
pub mod ldcache;
pub mod library;
pub mod loader;
pub mod maps;
pub mod named;
pub mod plan;
pub mod root;
pub mod rustls;
pub mod survey;

pub use identity::FileKey;

/// What a probe does. It is told to the BPF programs by bits of a cookie (`enum
/// tls_cookie`), or of a constant on kernels without cookies (before 5.15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProbeRole {
    /// A read call begins: the registers hold (object, buffer, length).
    ReadEnter,
    /// It ends: the return value is the number of bytes, ≤ 0 failed.
    ReadExit,
    /// As `ReadExit`, of a Go function whose arguments are behind its return
    /// address then: also of a call that began before it was attached to.
    ReadKeptExit,
    /// A read call begins: (object, buffer, length, pointer to the count).
    ReadExEnter,
    /// It ends: > 0 is success, the count is at the pointer.
    ReadExExit,
    /// As `ReadExExit`, but 0 is the end of the stream and < 0 failed.
    ReadSharedExit,
    /// As `ReadEnter`, for writing.
    WriteEnter,
    /// As `ReadExit`, for writing.
    WriteExit,
    /// As `ReadExEnter`, for writing.
    WriteExEnter,
    /// A write call begins: (object, buffer, length, flags, pointer to the
    /// count).
    WriteFlagsEnter,
    /// As `ReadExExit`, for writing.
    WriteExExit,
    /// A function ends that made an object: the return value.
    NewExit,
    /// The object is being freed.
    Free,
    /// A call without application data begins, a handshake: the registers
    /// hold (object). What it sends tells the object's socket.
    HandshakeEnter,
    /// It ends.
    HandshakeExit,
    /// A call begins that sends a file: (object, …). Its return value is a
    /// count of bytes which are in no buffer of the process.
    SendFileEnter,
    /// It ends; as `WriteExit`.
    SendFileExit,
    /// Bytes are written to a BIO: (BIO, buffer, length). In a call of a TLS
    /// object these are its records, which somebody will send.
    Ciphertext,
    /// An object is being made, or made anew: (object).
    Renew,
    /// A call begins that makes an object: (where to put its address).
    NewAtEnter,
    /// It ends: the return value is 0 if it was made.
    NewAtExit,
    /// A call ends that has sent what was reported when an earlier one took
    /// it. Begins with `WriteEnter`.
    FlushExit,
    /// A call begins that receives: (object, …). Its return value is a count
    /// of bytes, as for `ReadExit`, but where they are is not known.
    ReadUnseenEnter,
    /// As `ReadEnter`; the object is a descriptor of NSPR, on TLS or not.
    NsprReadEnter,
    /// The same with flags as the fourth argument: they may say that it is no
    /// traffic (`PR_MSG_PEEK`).
    NsprReceiveEnter,
    /// As `WriteEnter`; the object is a descriptor of NSPR, on TLS or not.
    NsprWriteEnter,
    /// The same with (object, array of `PRIOVec`, their number).
    NsprWriteVectorEnter,
    /// As `ReadExEnter`, for early data (TLS 1.3, RFC 8446 2.3).
    EarlyReadEnter,
    /// As `ReadExExit`, for early data.
    EarlyReadExit,
    /// As `WriteExEnter`, for early data.
    EarlyWriteEnter,
    /// As `WriteExExit`, for early data, which the peer may reject.
    EarlyWriteExit,
    /// It is asked whether the peer took the early data: (object).
    EarlyStatusEnter,
    /// The answer: 1 is no, and the stream begins anew.
    EarlyStatusExit,
    /// A key of rustls begins to encrypt a record: the registers hold (where
    /// the result goes, key, message, number of the record).
    EncryptEnter,
    /// It ends.
    EncryptExit,
    /// As `EncryptEnter`, for decrypting.
    DecryptEnter,
    /// It ends.
    DecryptExit,
}

impl ProbeRole {
    /// Whether the program that runs there may report something, and so needs
    /// to know the library.
    #[must_use]
    pub const fn makes_records(self) -> bool {
        match self {
            Self::Free | Self::Renew => true,
            Self::NewExit | Self::HandshakeExit | Self::NewAtExit | Self::FlushExit => false,
            _ => self.is_exit(),
        }
    }

    /// Whether the probe is where a function ends.
    #[must_use]
    pub const fn is_exit(self) -> bool {
        matches!(
            self,
            Self::ReadExit
                | Self::ReadKeptExit
                | Self::ReadExExit
                | Self::ReadSharedExit
                | Self::WriteExit
                | Self::WriteExExit
                | Self::NewExit
                | Self::HandshakeExit
                | Self::SendFileExit
                | Self::NewAtExit
                | Self::FlushExit
                | Self::EarlyReadExit
                | Self::EarlyWriteExit
                | Self::EarlyStatusExit
                | Self::EncryptExit
                | Self::DecryptExit
        )
    }
}

impl ProbeRole {
    /// For a probe where a function ends that may go unwatched, though its
    /// library is watched: the role of its entry.
    #[must_use]
    pub const fn dispensable_with(self) -> Option<Self> {
        match self {
            Self::HandshakeExit => Some(Self::HandshakeEnter),
            Self::NewAtExit => Some(Self::NewAtEnter),
            Self::SendFileExit => Some(Self::SendFileEnter),
            Self::EarlyReadExit => Some(Self::EarlyReadEnter),
            Self::EarlyWriteExit => Some(Self::EarlyWriteEnter),
            Self::EarlyStatusExit => Some(Self::EarlyStatusEnter),
            _ => None,
        }
    }

    /// Whether it is there for early data only.
    #[must_use]
    pub const fn is_of_early_data(self) -> bool {
        matches!(
            self,
            Self::EarlyReadEnter
                | Self::EarlyReadExit
                | Self::EarlyWriteEnter
                | Self::EarlyWriteExit
                | Self::EarlyStatusEnter
                | Self::EarlyStatusExit
        )
    }
}

/// How a probe is placed at its offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Placement {
    /// A uprobe on the instruction there.
    At,
    /// A return probe on the function that begins there.
    Return,
}

/// How the ends of functions are watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Returns {
    /// By return probes: the kernel replaces the return address.
    #[default]
    Probes,
    /// By uprobes on all instructions that return, or the library is not
    /// attached to: where return probes do harm.
    Exits,
}

/// One place to attach to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Probe {
    /// What it does.
    pub role: ProbeRole,
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// Entry or return.
    pub placement: Placement,
    /// By how many bytes the stack pointer there is below what it is at the
    /// first instruction of the function, a multiple of 8. 0 for
    /// [`Placement::Return`].
    pub stack: u32,
}

/// How functions are called: where arguments and results are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Abi {
    /// As in C.
    #[default]
    C,
    /// Go's ABIInternal with register arguments (amd64: Go 1.17), on stacks
    /// that move.
    Go,
}

/// Identifies a file beyond its path. Overlayfs shows one inode under two
/// devices, so there the device does not count; elsewhere it does, as copies
/// of a file system have the same inodes and build ids.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    /// Inode number.
    pub inode: u64,
    /// GNU build id, or the size where there is none; and the device number
    /// but on overlayfs.
    pub build: Vec<u8>,
}

/// Everything needed to attach to one file.
#[derive(Debug)]
pub struct Target {
    /// The file, opened; attach by `/proc/self/fd/N`.
    pub file: File,
    /// For messages: the path in the namespace of the process it was found by.
    pub path: String,
    /// Which file it is.
    pub identity: FileIdentity,
    /// What it was like before it was looked into.
    pub key: FileKey,
    /// Whether another content would have another key: a file that was written
    /// a moment ago may be written again and look the same.
    pub settled: bool,
    /// Name and version for users: `OpenSSL 3.0.22`.
    pub library: Arc<str>,
    /// What its records say that they come from.
    pub source: Source,
    /// How its functions are called.
    pub abi: Abi,
    /// Where to attach.
    pub probes: Vec<Probe>,
    /// Where to attach besides once a process that uses the file has TLS
    /// objects whose socket stays unknown: others would pay for it.
    pub if_needed: Option<Probe>,
}
