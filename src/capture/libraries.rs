//! The TLS libraries that are attached to, and when to look for more.

use std::path::Path;
use std::sync::Arc;

use crate::tls::Target;
use crate::tls::find::Finder;
use crate::tls::guess::guess_tls;
use crate::tls_flow::Unread;

/// What was found, and what was attached to.
#[derive(Debug, Default)]
pub(super) struct Libraries {
    pub(super) finder: Finder,
    attached: usize,
}

impl Libraries {
    /// Numbers a file that is being attached to, from 1. 255 is all that a
    /// record can tell apart; later ones are 0, not known.
    pub(super) fn add(&mut self) -> u8 {
        self.attached += 1;
        u8::try_from(self.attached).unwrap_or(0)
    }

    /// Looks for libraries in processes that have a new program, and in those
    /// that were seen to speak TLS (a library loaded later, by dlopen).
    pub(super) fn look(&mut self, executed: &[u32], seen_tls: &[u32]) -> Vec<Target> {
        let mut targets = Vec::new();
        for pid in executed {
            targets.extend(self.finder.executed(*pid));
        }
        for pid in seen_tls {
            targets.extend(self.finder.process(*pid));
        }
        targets
    }

    /// Why TLS of this process is not read, and whether it may have a library
    /// that is: then nothing but a handshake has been seen, or it is another
    /// library's. Asked while the process lives.
    pub(super) fn unread(&self, pid: u32) -> (bool, Unread) {
        let why = |why: &str| Some(why.into());
        if let Some(found) = self.finder.used_by(pid).first() {
            let library = Arc::clone(&found.library);
            let why = why(&format!("nothing was read or written through {library}"));
            let library = Some(library);
            return (true, Unread { library, why });
        }
        let name = guess_tls(pid);
        let gone = name.is_none() && !Path::new(&format!("/proc/{pid}/exe")).exists();
        let why = match name {
            Some(name) => why(&format!("{name} is not read")),
            None if gone => why("the program ended before it could be looked at"),
            None => why("a TLS library that httpsniff does not know"),
        };
        let library = name.map(Into::into);
        (gone, Unread { library, why })
    }
}
