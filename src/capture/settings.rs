//! What to capture, as whoever starts it says, and what the kernel makes of the
//! wish for a backend.

use anyhow::{Result, bail};

use super::kernel::Kernel;
use crate::redact::Redact;

/// Where plaintext sockets are to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// The first that the kernel allows: kprobe, then socket.
    #[default]
    Auto,
    /// kprobes on `tcp_sendmsg` and `tcp_recvmsg`.
    Kprobe,
    /// Raw tracepoints on the socket layer (kernel 6.3 and later).
    Socket,
}

/// Where plaintext sockets are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plaintext {
    Kprobe,
    Socket,
    /// The kernel has neither: TLS alone, its peers unknown.
    None,
}

/// What to capture.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Where plaintext sockets are read.
    pub backend: Backend,
    /// Leave plaintext sockets alone (`--no-tcp`).
    pub no_tcp: bool,
    /// Leave TLS libraries alone (`--no-tls`).
    pub no_tls: bool,
    /// Give what is needed to show TLS connections that are not read
    /// (`--tls-flows`).
    pub tls_flows: bool,
    /// Watch the ends of their functions by uprobes, not by return probes
    /// (`--no-uretprobes`).
    pub no_uretprobes: bool,
    /// Files to attach to, from `--lib`.
    pub libraries: Vec<crate::tls::named::Named>,
    /// Processes to watch, in the caller's pid namespace; empty: all.
    pub pids: Vec<u32>,
    /// Watch their descendants too, those that exist already included.
    pub follow: bool,
    /// Users to watch; empty: all. Applied in the kernel.
    pub uids: Vec<u32>,
    /// Containers and units to watch; `None`: all. Applied in the kernel.
    pub containers: Option<crate::container::Selection>,
    /// Masks command lines.
    pub redact: Option<Redact>,
    /// Size of the ring buffer in bytes (rounded up to a power of two).
    pub ring_bytes: u32,
    /// Executable whose TLS library is resolved and probed before the start
    /// (that of COMMAND). Processes are then watched by
    /// [`Capture::watch`](super::Capture::watch).
    pub prepare: Option<std::path::PathBuf>,
}

impl Settings {
    /// Whether only some processes are wanted, by their ids.
    pub(super) const fn selects_pids(&self) -> bool {
        !self.pids.is_empty() || self.prepare.is_some()
    }
}

/// The first backend that the kernel has, and for the user which and why.
pub(super) fn choose(
    settings: &Settings,
    kernel: Kernel,
    notices: &mut Vec<String>,
) -> Result<Plaintext> {
    let no_kprobes = "this kernel has no kprobes (CONFIG_KPROBES is off)";
    let no_tracepoints = "this kernel has no tracepoint sock:sock_send_length (it came with 6.3)";
    match settings.backend {
        Backend::Kprobe if !kernel.kprobes => {
            bail!("--backend kprobe: {no_kprobes}; try --backend socket")
        }
        Backend::Socket if !kernel.socket_tracepoints => {
            bail!("--backend socket: {no_tracepoints}; try --backend kprobe")
        }
        Backend::Kprobe => Ok(Plaintext::Kprobe),
        Backend::Socket => Ok(Plaintext::Socket),
        Backend::Auto if kernel.kprobes => {
            notices.push("backend kprobe".to_owned());
            Ok(Plaintext::Kprobe)
        }
        Backend::Auto if kernel.socket_tracepoints => {
            notices.push(format!("backend socket: {no_kprobes}"));
            Ok(Plaintext::Socket)
        }
        Backend::Auto if settings.no_tls => {
            bail!("nothing to capture with: {no_kprobes}, {no_tracepoints}, and TLS is off")
        }
        Backend::Auto => {
            notices.push(format!(
                "TLS only, without peers: {no_kprobes}, and {no_tracepoints}"
            ));
            Ok(Plaintext::None)
        }
    }
}
