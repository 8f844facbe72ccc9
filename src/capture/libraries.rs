//! The TLS libraries that are attached to, and when to look for more.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::mappings::Mapped;
use crate::tls::Target;
use crate::tls::find::{Finder, Seen};
use crate::tls::guess::Guesses;
use crate::tls::library::{has_ciphertext, is_candidate};
use crate::tls_flow::Unread;

/// How many mappings wait to be looked into. What finds no room is looked at
/// when its process is seen to speak TLS.
const MAX_WAITING: usize = 4096;
/// How long what waits is looked into before records are read again.
const SLICE: Duration = Duration::from_millis(3);

/// What was found, and what was attached to.
#[derive(Default)]
pub(super) struct Libraries {
    pub(super) finder: Finder,
    guesses: Guesses,
    attached: usize,
    /// Attached to, but not at every place.
    aside: Vec<Target>,
    /// Files that were mapped and whose names promise nothing: those that may
    /// be programs, and libraries.
    programs: VecDeque<Mapped>,
    waiting: VecDeque<Mapped>,
    /// Processes with a new program, whose root directory may be new.
    fresh: VecDeque<u32>,
    /// Processes that were there at the start and of which only files with
    /// promising names were looked into.
    unlooked: Vec<u32>,
    seen: Seen,
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

    /// Looks at a process that has a new program. Where mappings are told of
    /// one by one (`told`), nothing but its surroundings is new, and these may
    /// wait: they are for processes that come later.
    pub(super) fn executed(&mut self, pid: u32, told: bool) -> Vec<Target> {
        if !told {
            return self.finder.executed(pid);
        }
        if self.fresh.len() < MAX_WAITING {
            self.fresh.push_back(pid);
        }
        Vec::new()
    }

    /// Looks thoroughly at a process that was seen to speak TLS.
    pub(super) fn speaks_tls(&mut self, pid: u32) -> Vec<Target> {
        let mut targets = self.finder.process(pid);
        targets.extend(self.finder.every_file(pid, &mut Seen::default()));
        targets
    }

    /// Looks thoroughly at a process that runs already and is watched only now:
    /// the files that it has mapped were not looked into.
    pub(super) fn joined(&mut self, pid: u32) -> Vec<Target> {
        let mut targets = self.finder.executed(pid);
        targets.extend(self.finder.every_file(pid, &mut Seen::default()));
        targets
    }

    /// Files were mapped. Those with the name of a TLS library are looked into
    /// at once, the others wait.
    pub(super) fn mapped(&mut self, mapped: Mapped) -> Vec<Target> {
        let name = mapped.mapping.file_name();
        // What only tells sockets comes after what is read.
        if is_candidate(name) && !has_ciphertext(name) {
            return self.look(&mapped);
        }
        let program = has_ciphertext(name) || memchr::memmem::find(name, b".so").is_none();
        let queue = if program {
            &mut self.programs
        } else {
            &mut self.waiting
        };
        if queue.len() < MAX_WAITING {
            queue.push_back(mapped);
        }
        Vec::new()
    }

    /// Processes whose other files may wait.
    pub(super) fn look_later(&mut self, pids: Vec<u32>) {
        if self.unlooked.is_empty() {
            self.seen = Seen::default();
        }
        self.unlooked.extend(pids);
        self.unlooked.sort_unstable();
        self.unlooked.dedup();
    }

    /// Looks into the other files of those processes at once.
    pub(super) fn look_now(&mut self) -> Vec<Target> {
        let mut targets = Vec::new();
        for pid in std::mem::take(&mut self.unlooked) {
            targets.extend(self.finder.every_file(pid, &mut self.seen));
        }
        targets
    }

    /// Looks into what waits, for a moment: a large program takes its time,
    /// and meanwhile somebody may map a TLS library. What is no program waits
    /// until there are no records to be read (`idle`).
    pub(super) fn look_on(&mut self, idle: bool) -> Vec<Target> {
        let until = Instant::now() + SLICE;
        let mut targets = Vec::new();
        while targets.is_empty() && Instant::now() < until {
            if let Some(mapped) = self.programs.pop_front() {
                targets.extend(self.look(&mapped));
            } else if let Some(pid) = self.fresh.pop_front() {
                targets.extend(self.finder.surroundings(pid));
            } else if !idle {
                break;
            } else if let Some(mapped) = self.waiting.pop_front() {
                targets.extend(self.look(&mapped));
            } else if let Some(pid) = self.unlooked.pop() {
                targets.extend(self.finder.every_file(pid, &mut self.seen));
            } else {
                self.seen = Seen::default();
                break;
            }
        }
        targets
    }

    /// Whether something waits to be looked into.
    pub(super) fn is_behind(&self) -> bool {
        !(self.programs.is_empty()
            && self.fresh.is_empty()
            && self.waiting.is_empty()
            && self.unlooked.is_empty())
    }

    fn look(&mut self, mapped: &Mapped) -> Vec<Target> {
        self.finder
            .mapped(mapped.pid, &mapped.mapping, mapped.generation)
    }

    /// Why TLS of this process is not read, and whether it may have a library
    /// that is: then nothing but a handshake has been seen, or it is another
    /// library's. Asked while the process lives.
    pub(super) fn unread(&mut self, pid: u32) -> (bool, Unread) {
        let why = |why: &str| Some(why.into());
        if let Some(found) = self.finder.used_by(pid).first() {
            let library = Arc::clone(&found.library);
            let why = why(&format!("nothing was read or written through {library}"));
            let library = Some(library);
            return (true, Unread { library, why });
        }
        if let Some(unread) = self.guesses.explain(&self.finder, pid) {
            let library = unread.library.map(Into::into);
            let why = why(&unread.why);
            return (false, Unread { library, why });
        }
        let gone = !Path::new(&format!("/proc/{pid}/exe")).exists();
        let why = if gone {
            why("the program ended before it could be looked at")
        } else {
            why("a TLS library that httpsniff does not know")
        };
        (gone, Unread { library: None, why })
    }
}
