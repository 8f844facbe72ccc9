//! The TLS libraries that are attached to, and when to look for more.

use crate::tls::Target;
use crate::tls::find::Finder;
use crate::tls::guess::guess_tls;

/// What was found, and what was attached to.
#[derive(Debug, Default)]
pub(super) struct Libraries {
    pub(super) finder: Finder,
    attached: usize,
    /// Attached to, but not at every place.
    aside: Vec<Target>,
}

impl Libraries {
    /// Numbers a file that is being attached to, from 1. 255 is all that a
    /// record can tell apart; later ones are 0, not known.
    pub(super) fn add(&mut self) -> u8 {
        self.attached += 1;
        u8::try_from(self.attached).unwrap_or(0)
    }

    /// A file has been attached to.
    pub(super) fn set_aside(&mut self, target: Target) {
        if target.if_needed.is_some() {
            self.aside.push(target);
        }
    }

    /// The files of a process that are to be attached to at their other place
    /// too, because it has TLS objects whose socket stays unknown.
    pub(super) fn needed_by(&mut self, pid: u32) -> Vec<Target> {
        if self.aside.is_empty() {
            return Vec::new();
        }
        let files = self.finder.mapped_by(pid);
        let needed = |target: &mut Target| files.iter().any(|f| f.identity == target.identity);
        let mut targets: Vec<_> = self.aside.extract_if(.., needed).collect();
        for target in &mut targets {
            target.probes = target.if_needed.take().into_iter().collect();
        }
        targets
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

    /// Why this process's TLS cannot be read; `None` if it can: then nothing
    /// but a handshake has been seen of it. Asked while the process lives.
    pub(super) fn why_not(&self, pid: u32) -> Option<String> {
        if !self.finder.used_by(pid).is_empty() {
            return None;
        }
        Some(match guess_tls(pid) {
            Some(name) => format!("{name} is not read"),
            None => "a TLS library that httpsniff does not know".to_owned(),
        })
    }
}
