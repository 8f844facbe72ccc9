//! From the files that were found to the probes in them: at the start, when a
//! process maps another file, and when more of a file is needed.
//!
//! [`libraries`](super::libraries) says which files there are,
//! [`upkeep`](super::upkeep) what becomes of a file that is attached to, and
//! [`attach`](super::attach) puts the probes.

use std::sync::Arc;

use anyhow::Result;

use super::ahead::{self, Ahead};
use super::attach::Tls;
use super::kernel::Kernel;
use super::libraries::Libraries;
use super::{Capture, Settings};
use crate::tls::{Abi, Returns, Target};

impl Capture {
    /// Detaches from all TLS libraries and attaches to those that are there:
    /// what a stop and a start are for the watched programs.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn reattach(&mut self) -> Result<()> {
        self.links.detach_tls();
        self.libraries.forget_all();
        choose_returns(&mut self.libraries, &self.settings, self.kernel);
        let pids = self.all_watched();
        let ahead = ahead::look(&self.settings, &mut self.libraries, pids)?;
        self.attach_libraries(ahead)
    }

    /// Attaches to every TLS library that is there already: what was found
    /// ahead and what has come since.
    pub(super) fn attach_libraries(&mut self, ahead: Ahead) -> Result<()> {
        self.attach(ahead.named, true)?;
        self.attach(ahead.targets, false)?;
        let mut fresh = self.all_watched();
        if self.mappings.is_some() {
            // What the others have mapped since is told of.
            fresh.retain(|pid| !ahead.pids.contains(pid));
        }
        let targets = ahead::processes(&self.settings, &mut self.libraries, fresh);
        self.attach(targets, false)?;
        self.attach_new_mappings()?;
        while self.settings.selects_pids() && self.libraries.is_behind() {
            let targets = self.libraries.look_on(true);
            self.attach(targets, false)?;
        }
        Ok(())
    }

    /// Attaches to files; what cannot be attached to is an error for a file
    /// that the user named, else a notice.
    pub(super) fn attach(&mut self, targets: Vec<Target>, named: bool) -> Result<()> {
        for target in targets {
            let Some(target) = self.enter(target, named)? else {
                continue;
            };
            let (number, new) = self.libraries.number(&target.library);
            if new {
                // Whether or not it can be attached to.
                let mut shared = self.shared.borrow_mut();
                shared.decoder.add_library(Arc::clone(&target.library));
            }
            let to = Tls {
                skel: &self.skel,
                settings: &self.settings,
                kernel: self.kernel,
            };
            match self.links.attach_tls(&to, &target, number) {
                // When it is closed, or mapped again, it is looked into anew.
                Ok(false) => self.libraries.forget(&target.identity),
                Ok(true) if target.abi == Abi::Go => self.see_goroutines(),
                Ok(true) => self.libraries.set_aside(target),
                Err(error) if named => return Err(error),
                Err(error) => {
                    self.links.files()?.remove(&target.identity);
                    self.notices.push(format!("{error:#}"));
                }
            }
        }
        Ok(())
    }

    /// Attaches to libraries in files that watched processes have begun to
    /// execute: each as soon as it is known, before the next is looked into,
    /// as its process goes on meanwhile.
    pub(super) fn attach_new_mappings(&mut self) -> Result<()> {
        let Some(mappings) = &mut self.mappings else {
            return Ok(());
        };
        let mut new = Vec::new();
        let complete = mappings.take(|mapped| new.push(mapped));
        for mapped in new {
            if self.is_watched(mapped.pid) {
                let targets = self.libraries.mapped(mapped);
                self.attach(targets, false)?;
            }
        }
        if !complete {
            for pid in self.all_watched() {
                let targets = self.libraries.finder.process(pid);
                self.attach(targets, false)?;
            }
        }
        Ok(())
    }

    /// Where objects do not come to be on a socket, all that they write is
    /// looked at.
    pub(super) fn place_objects(&mut self) -> Result<()> {
        let unplaced = self.shared.borrow_mut().decoder.take_unplaced();
        let mut targets = Vec::new();
        for pid in unplaced {
            targets.extend(self.libraries.needed_by(pid));
        }
        for target in targets {
            if !self.links.files()?.enter_again(&target.identity) {
                continue;
            }
            let to = Tls {
                skel: &self.skel,
                settings: &self.settings,
                kernel: self.kernel,
            };
            // Its records carry no number.
            match self.links.attach_tls(&to, &target, 0) {
                Ok(true) => {}
                Ok(false) => self.libraries.forget(&target.identity),
                Err(error) => {
                    self.links.files()?.keep(&target.identity, Vec::new());
                    self.notices.push(format!("{error:#}"));
                }
            }
        }
        Ok(())
    }

    /// From now on a socket call may be a goroutine's.
    fn see_goroutines(&mut self) {
        if let Some(bss) = self.skel.maps.bss_data.as_deref_mut() {
            bss.go_attached = 1;
        }
    }
}

/// Return probes, unless they are not wanted or would do harm.
pub(super) fn choose_returns(libraries: &mut Libraries, settings: &Settings, kernel: Kernel) {
    if settings.no_uretprobes || !kernel.uretprobes_are_safe() {
        libraries.finder.returns = Returns::Exits;
    }
    libraries.finder.sparing = !kernel.cookies;
}
