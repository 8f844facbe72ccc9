//! Whether this process may capture, asked before anything is touched.

use rustix::process::geteuid;
use rustix::thread::{CapabilitySet, capabilities};

use crate::options::Failure;

/// Fails with the sentence that says what is missing and what to do.
pub(super) fn check() -> Result<(), Failure> {
    // Where the kernel does not tell, its refusal will.
    match capabilities(None) {
        Ok(sets) => judge(sets.effective, geteuid().is_root()),
        Err(_) => Ok(()),
    }
}

fn judge(effective: CapabilitySet, is_root: bool) -> Result<(), Failure> {
    let needed = CapabilitySet::BPF | CapabilitySet::PERFMON;
    if effective.contains(CapabilitySet::SYS_ADMIN) || effective.contains(needed) {
        return Ok(());
    }
    Err(Failure::failed(if is_root {
        "capturing needs CAP_BPF and CAP_PERFMON, which this root lacks: \
         run httpsniff outside the container, or give them to the container"
    } else {
        "capturing needs root (or CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE): run it with sudo"
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bpf_and_perfmon_suffice_and_sys_admin_does() {
        let both = CapabilitySet::BPF | CapabilitySet::PERFMON;
        assert!(judge(both, false).is_ok());
        assert!(judge(CapabilitySet::SYS_ADMIN, true).is_ok());
        for is_root in [false, true] {
            for set in [CapabilitySet::empty(), CapabilitySet::BPF] {
                assert_eq!(judge(set, is_root).unwrap_err().status, 1);
            }
        }
        let message = judge(CapabilitySet::empty(), false).unwrap_err().message;
        assert!(message.contains("sudo"), "{message}");
    }
}
