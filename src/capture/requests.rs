//! What records ask for besides events: a new program may hold a new library, a
//! process that speaks TLS wants one found or the reason told, a new cgroup may
//! be a container that is wanted.

use std::sync::Arc;

use anyhow::Result;

use super::Capture;
use crate::process::Process;
use crate::tls_flow::Unread;

/// A process that speaks TLS of which nothing was read when this was found.
#[derive(Clone, Debug)]
pub struct UnreadTls {
    /// Its id.
    pub pid: u32,
    /// The process, if its TLS cannot be read at all; `None`: it has a library
    /// that is read.
    pub process: Option<Arc<Process>>,
    /// Why.
    pub unread: Unread,
}

impl Capture {
    /// What records ask for besides events: new programs may hold new
    /// libraries.
    pub(super) fn follow_up(&mut self) -> Result<()> {
        let joined = self.follow_cgroups()?;
        let (executed, seen_tls) = self.shared.borrow_mut().decoder.take_requests();
        if self.settings.no_tls {
            for pid in seen_tls {
                let why = "TLS libraries are left alone (--no-tls)";
                self.explain(
                    pid,
                    true,
                    Unread {
                        library: None,
                        why: Some(why.into()),
                    },
                );
            }
            return Ok(());
        }
        self.follow_files()?;
        self.attach_new_mappings()?;
        for pid in executed {
            let targets = self.libraries.executed(pid, self.mappings.is_some());
            self.attach(targets, false)?;
        }
        for pid in joined {
            let targets = self.libraries.joined(pid);
            self.attach(targets, false)?;
        }
        for pid in seen_tls {
            let targets = self.libraries.speaks_tls(pid);
            self.attach(targets, false)?;
            let (hooked, unread) = self.libraries.unread(pid);
            self.explain(pid, hooked, unread);
        }
        self.place_objects()
    }

    /// Takes note of why the TLS of a process is not read. `by_choice`: it could
    /// be.
    fn explain(&mut self, pid: u32, by_choice: bool, unread: Unread) {
        let process = self.shared.borrow().decoder.unhooked(pid);
        self.unread.push(UnreadTls {
            pid,
            process: process.filter(|_| !by_choice),
            unread,
        });
    }

    /// Units and containers that start or end. Gives the processes that are
    /// watched only now, although they run already.
    fn follow_cgroups(&mut self) -> Result<Vec<u32>> {
        let Some(containers) = &mut self.containers else {
            return Ok(Vec::new());
        };
        let changes = self.shared.borrow_mut().decoder.take_cgroups();
        let news = containers.changed(&self.skel, changes)?;
        self.notices.extend(news.notices);
        Ok(news.joined)
    }
}
