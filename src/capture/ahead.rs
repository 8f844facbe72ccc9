//! What is there already, looked into while the kernel verifies the programs:
//! neither needs the other, and each takes about as long.

use rustc_hash::FxHashSet;

use super::Settings;
use super::libraries::Libraries;
use crate::tls::Target;
use crate::tls::find::TlsError;

/// What was found before anything is attached.
#[derive(Default)]
pub(super) struct Ahead {
    /// Files that the user named.
    pub(super) named: Vec<Target>,
    /// All others.
    pub(super) targets: Vec<Target>,
    /// The processes that were looked at.
    pub(super) pids: FxHashSet<u32>,
}

/// Looks into the files that the user named, the system's libraries and what
/// these processes execute.
///
/// # Errors
/// When nothing can be attached to in a file that the user named.
pub(super) fn look(
    settings: &Settings,
    libraries: &mut Libraries,
    pids: Vec<u32>,
) -> Result<Ahead, TlsError> {
    let mut ahead = Ahead::default();
    // First: where functions are is better known of these.
    for named in &settings.libraries {
        ahead.named.extend(libraries.finder.file(named)?);
    }
    ahead.targets = libraries.finder.system();
    if let Some(path) = &settings.prepare {
        ahead.targets.extend(libraries.finder.executable(path));
    }
    ahead.pids.extend(&pids);
    ahead.targets.extend(processes(settings, libraries, pids));
    Ok(ahead)
}

/// Looks at processes. Where all are watched, files whose names promise
/// nothing are left for later.
pub(super) fn processes(
    settings: &Settings,
    libraries: &mut Libraries,
    pids: Vec<u32>,
) -> Vec<Target> {
    let mut targets = Vec::new();
    for pid in &pids {
        targets.extend(libraries.finder.process(*pid));
    }
    libraries.look_later(pids);
    if settings.selects_pids() {
        targets.extend(libraries.look_now());
    }
    targets
}
