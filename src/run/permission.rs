//! Whether this process may capture, asked before anything is touched.

use rustix::process::geteuid;
use rustix::thread::{CapabilitySet, capabilities};

use crate::options::Failure;

/// Fails with the sentence that says what is missing and what to do.
pub(super) fn check() -> Result<(), Failure> {
    // Where the kernel does not tell, its refusal will.
    let Ok(sets) = capabilities(None) else {
        return Ok(());
    };
    let has = |set| sets.effective.contains(set);
    if has(CapabilitySet::SYS_ADMIN) {
        return Ok(());
    }
    let missing: Vec<&str> = [
        (CapabilitySet::BPF, "CAP_BPF"),
        (CapabilitySet::PERFMON, "CAP_PERFMON"),
        (CapabilitySet::SYS_PTRACE, "CAP_SYS_PTRACE"),
    ]
    .into_iter()
    .filter(|(set, _)| !has(*set))
    .map(|(_, name)| name)
    .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.join(", ");
    Err(Failure::failed(if geteuid().is_root() {
        format!(
            "this root may not capture, {missing} is missing: run it outside the container, \
             or give the container these capabilities"
        )
    } else {
        format!("capturing needs root (or {missing}): run it with sudo")
    }))
}
