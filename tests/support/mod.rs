//! What the live tests stand on: real servers and clients, a runner for
//! httpsniff, and comparisons with what the endpoints say.
//!
//! Nothing here waits a fixed time: readiness is a line of output, a file that
//! appears or a port that accepts.

pub(crate) mod cgroups;
pub(crate) mod clients;
pub(crate) mod exchange;
pub(crate) mod files;
pub(crate) mod golang;
pub(crate) mod h2;
pub(crate) mod httpsniff;
pub(crate) mod lock;
pub(crate) mod peers;
pub(crate) mod podman;
pub(crate) mod process;
pub(crate) mod rust;
pub(crate) mod servers;
pub(crate) mod skip;
pub(crate) mod tshark;
pub(crate) mod versions;

use std::time::Duration;

/// How long anything may take before the test gives up. Emulated machines set
/// `HTTPSNIFF_TEST_SLOW`.
pub(crate) fn limit() -> Duration {
    if is_slow() {
        Duration::from_secs(240)
    } else {
        Duration::from_secs(40)
    }
}

/// Whether this machine is so slow that no timing in it means anything.
pub(crate) fn is_slow() -> bool {
    std::env::var_os("HTTPSNIFF_TEST_SLOW").is_some()
}
