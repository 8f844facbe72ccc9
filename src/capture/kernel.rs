//! What the running kernel allows, asked of the kernel itself, and what to
//! tell the user when it does not.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};
use libbpf_rs::btf::{Btf, types as btf};
use rustix::thread::{CapabilitySet, capabilities};

use super::{confined, perf};

/// The kernel's own description of its types.
const BTF_FILE: &str = "/sys/kernel/btf/vmlinux";
/// What `bpf_ringbuf` and the CO-RE accesses need.
const OLDEST: (u32, u32) = (5, 10);

/// What decides which programs are loaded and how they are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kernel {
    /// Many uprobes in one attachment (6.6).
    pub(super) uprobe_multi: bool,
    /// Uprobes can carry a number of ours (5.15).
    pub(super) cookies: bool,
    /// Which argument of `tcp_recvmsg` holds the flags, counted from 0.
    pub(super) recvmsg_flags_arg: u32,
    /// kprobes by perf event.
    pub(super) kprobes: bool,
    /// A kprobe can be placed on the function of this name.
    pub(super) tcp_push: bool,
    pub(super) tcp_cleanup_rbuf: bool,
    /// The raw tracepoints sock_send_length and sock_recv_length (6.3).
    pub(super) socket_tracepoints: bool,
}

impl Kernel {
    /// Looks at the running kernel; an error is a sentence for the user.
    pub(super) fn probe() -> Result<Self> {
        check_version(&release())?;
        check_capabilities()?;
        if !Path::new(BTF_FILE).exists() {
            bail!(
                "this kernel does not describe its types ({BTF_FILE} is missing): \
                 httpsniff needs one built with CONFIG_DEBUG_INFO_BTF=y"
            );
        }
        let Ok(types) = Btf::from_vmlinux() else {
            bail!("cannot read the kernel's types from {BTF_FILE}");
        };
        Ok(Self {
            uprobe_multi: types
                .type_by_name::<btf::Struct<'_>>("bpf_uprobe_multi_link")
                .is_some(),
            // Came in the same series as the cookies.
            cookies: types
                .type_by_name::<btf::Struct<'_>>("bpf_perf_link")
                .is_some(),
            recvmsg_flags_arg: recvmsg_flags_arg(&types),
            // Lockdown "confidentiality" refuses them (LOCKDOWN_KPROBES).
            kprobes: Path::new("/sys/bus/event_source/devices/kprobe/type").exists()
                && lockdown().as_deref() != Some("confidentiality"),
            tcp_push: perf::kprobe_fits(c"tcp_push"),
            tcp_cleanup_rbuf: perf::kprobe_fits(c"tcp_cleanup_rbuf"),
            socket_tracepoints: types
                .type_by_name::<btf::Typedef<'_>>("btf_trace_sock_send_length")
                .is_some(),
        })
    }
}

impl Kernel {
    /// Whether return probes leave programs alone that confine themselves.
    pub(super) fn uretprobes_are_safe(self) -> bool {
        // Where it cannot be tried it may be one that kills.
        !confined::may_kill(&release()) || confined::kills() == Some(false)
    }
}

/// The running kernel's release, such as `6.1.0-37-amd64`.
pub(super) fn release() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}

fn check_version(release: &str) -> Result<()> {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|n| n.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < OLDEST {
        bail!(
            "this kernel is {release}, httpsniff needs {}.{} or later",
            OLDEST.0,
            OLDEST.1
        );
    }
    Ok(())
}

fn check_capabilities() -> Result<()> {
    let Ok(sets) = capabilities(None) else {
        return Ok(());
    };
    let has = |c| sets.effective.contains(c);
    if has(CapabilitySet::SYS_ADMIN) || has(CapabilitySet::BPF) && has(CapabilitySet::PERFMON) {
        return Ok(());
    }
    if rustix::process::geteuid().is_root() {
        bail!(
            "the capabilities CAP_BPF and CAP_PERFMON (or CAP_SYS_ADMIN) are missing although \
             this is root: in a container, start it with --privileged"
        );
    }
    bail!("capturing needs root (or CAP_BPF and CAP_PERFMON): run it with sudo")
}

/// `tcp_recvmsg(sk, msg, len, nonblock, flags, addr_len)` until 5.18, then
/// without `nonblock`, and since 6.18 without `addr_len`.
fn recvmsg_flags_arg(types: &Btf<'_>) -> u32 {
    let parameters = types
        .type_by_name::<btf::Func<'_>>("tcp_recvmsg")
        .and_then(|function| {
            use libbpf_rs::btf::ReferencesType as _;
            btf::FuncProto::try_from(function.referenced_type()).ok()
        })
        .map_or(0, |prototype| prototype.iter().count());
    if parameters >= 6 { 4 } else { 3 }
}

/// The kernel's lockdown mode, if it is in one.
pub(super) fn lockdown() -> Option<String> {
    let text = fs::read_to_string("/sys/kernel/security/lockdown").ok()?;
    let (_, rest) = text.split_once('[')?;
    let (mode, _) = rest.split_once(']')?;
    (mode != "none").then(|| mode.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_before_5_10_are_refused() {
        for old in ["4.19.0-27-amd64", "5.4.0", "5.9.16-rc1", "nonsense"] {
            assert!(check_version(old).is_err(), "{old}");
        }
        for new in ["5.10.0-33-amd64", "5.15.0", "6.1.0", "7.2.13+deb14"] {
            assert!(check_version(new).is_ok(), "{new}");
        }
    }
}
