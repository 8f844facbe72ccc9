//! How many files httpsniff may have open. Every attachment is a descriptor,
//! and on kernels without `uprobe.multi` every single probe: the usual 1,024
//! are too few for a machine with many copies of a library. COMMAND keeps the
//! limit that it would have had.

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// The limit as it was.
#[derive(Clone, Debug)]
pub(super) struct Former(Rlimit);

/// Raises the limit as far as that needs nobody's leave.
pub(super) fn raise() -> Former {
    let former = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: former.maximum,
        maximum: former.maximum,
    };
    // If it is refused, the attachment that finds no room will say so.
    let _refused = setrlimit(Resource::Nofile, raised);
    Former(former)
}

impl Former {
    /// Gives a process that has inherited the raised limit the former one.
    pub(super) fn give_to(&self, pid: u32) {
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            let _gone = prlimit(Some(pid), Resource::Nofile, self.0);
        }
    }
}
