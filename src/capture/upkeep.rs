//! What is done for files that are attached to besides attaching: before it, when
//! somebody writes to them, and when nobody can use them any more.

use anyhow::{Context as _, Result, bail};

use super::Capture;
use super::files::{Entered, Files, News};
use super::retire::Step;
use crate::tls::Target;
use crate::tls::find::MAX_FOUND;

impl Capture {
    /// Has a file watched that is to be attached to, and makes sure that what
    /// is known of it is true of its content since then.
    pub(super) fn enter(&mut self, target: Target, named: bool) -> Result<Option<Target>> {
        let files = self.links.files()?;
        let entered = match files.enter(&target) {
            Ok(entered) => entered,
            Err(error) if named => return Err(error).context("cannot attach"),
            Err(error) => {
                let path = &target.path;
                self.notices
                    .push(format!("cannot attach to {path}: {error}"));
                return Ok(None);
            }
        };
        match entered {
            Entered::Watched => {}
            Entered::Unwatched(_) if self.unwatched => {}
            Entered::Unwatched(why) => {
                self.unwatched = true;
                self.notices.push(format!(
                    "cannot watch {} (and maybe others): {why}; do not write over it in place \
                     while this runs",
                    target.path
                ));
            }
            Entered::Busy if named => bail!(
                "cannot attach to {}: somebody has it open for writing",
                target.path
            ),
            Entered::Busy => {
                self.libraries.forget(&target.identity);
                return Ok(None);
            }
        }
        if target.key.is_content_of(&target.file) && (named || target.settled) {
            return Ok(Some(target));
        }
        let (before, path) = (target.identity.clone(), target.path.clone());
        let again = if named {
            None
        } else {
            self.libraries.again(target)
        };
        match again {
            Some(target) => {
                files.renew(&before, &target);
                Ok(Some(target))
            }
            None => {
                files.remove(&before);
                if named {
                    bail!("cannot attach to {path}: it has just changed");
                }
                Ok(None)
            }
        }
    }

    /// Files that were attached to and have another content now.
    pub(super) fn follow_files(&mut self) -> Result<()> {
        let mut written = false;
        for news in self.links.take_news() {
            match news {
                News::Changed(identity) => self.libraries.forget(&identity),
                News::Written {
                    identity,
                    file,
                    path,
                } => {
                    if !self.links.files()?.is_written(&identity) {
                        continue;
                    }
                    written = true;
                    match self.libraries.finder.again(file, &path) {
                        Some(target) => self.attach(vec![target], false)?,
                        None => self.links.files()?.remove(&identity),
                    }
                }
            }
        }
        if written {
            // On overlayfs others have the old content still, under its
            // identity, and have lost its probes.
            let pids = self.all_watched();
            self.libraries.look_later(pids);
        }
        Ok(())
    }

    /// Detaches from files that nobody can use any more, now and then.
    pub(super) fn retire(&mut self) {
        let files = self.links.some_files();
        match self.retirement.step(|| files.map(Files::holdings)) {
            Step::Nothing => {}
            Step::Begun => self.libraries.finder.watch_use(),
            Step::Unused(mut unused) => {
                unused.retain(|identity| !self.libraries.finder.was_used(identity));
                for identity in &unused {
                    self.libraries.forget(identity);
                }
                if let Some(files) = files.filter(|_| !unused.is_empty()) {
                    files.retire(&unused);
                }
            }
        }
        let left_out = self.libraries.finder.left_out() as u64;
        if left_out > 0 && self.left_out == 0 {
            self.notices.push(format!(
                "{MAX_FOUND} files with TLS libraries are attached to: no more until some are gone"
            ));
        }
        self.left_out = left_out;
    }
}
