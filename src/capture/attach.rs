//! Attaches the loaded programs, and keeps the attachments.

use std::collections::hash_map::Entry;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use libbpf_rs::{Link, ProgramMut, UprobeMultiOpts, UprobeOpts};
use rustc_hash::FxHashMap;

use super::bpf::{HttpsniffSkel, types};
use super::files::{Files, News, detach};
use super::kernel::Kernel;
use super::record::number_of;
use super::{Plaintext, Settings, load};
use crate::event::Source;
use crate::tls::{Abi, Placement, Probe, ProbeRole, Target};

/// Attachments; dropping them detaches.
#[derive(Default)]
pub(super) struct Links {
    links: Vec<Link>,
    /// Those in TLS libraries, and the files that these are in.
    files: Option<Files>,
    /// On kernels without cookies: the TLS programs by what a cookie would say.
    copies: FxHashMap<(u64, bool), HttpsniffSkel<'static>>,
}

impl Drop for Links {
    fn drop(&mut self) {
        let files = self.files.take();
        let tls = files.as_ref().map(Files::take_links).unwrap_or_default();
        detach(self.links.drain(..).chain(tls));
    }
}

impl Links {
    fn add(&mut self, link: libbpf_rs::Result<Link>) -> libbpf_rs::Result<()> {
        self.links.push(link?);
        Ok(())
    }

    /// The hooks on sockets and processes.
    pub(super) fn attach_kernel(
        &mut self,
        skel: &HttpsniffSkel<'_>,
        plaintext: Plaintext,
    ) -> Result<()> {
        let progs = &skel.progs;
        // Processes first: no child may be missed once its parent is watched.
        for (program, name) in [
            (&progs.process_fork, "sched_process_fork"),
            (&progs.process_exec, "sched_process_exec"),
            (&progs.process_exit, "sched_process_exit"),
            (&progs.sock_set_state, "inet_sock_set_state"),
            (&progs.sock_destroy, "tcp_destroy_sock"),
        ] {
            self.add(program.attach_raw_tracepoint(name))
                .with_context(|| format!("cannot attach to the tracepoint {name}"))?;
        }
        match plaintext {
            Plaintext::Socket => {
                for (program, name) in [
                    (&progs.sock_send, "sock_send_length"),
                    (&progs.sock_recv, "sock_recv_length"),
                ] {
                    self.add(program.attach_raw_tracepoint(name))
                        .with_context(|| format!("cannot attach to the tracepoint {name}"))?;
                }
            }
            Plaintext::Kprobe => self.attach_kprobes(skel)?,
            Plaintext::None => {}
        }
        Ok(())
    }

    /// The hooks on cgroups that come and go, for `--container`.
    pub(super) fn attach_cgroups(&mut self, skel: &HttpsniffSkel<'_>) -> Result<()> {
        for (program, name) in [
            (&skel.progs.cgroup_made, "cgroup_mkdir"),
            (&skel.progs.cgroup_gone, "cgroup_rmdir"),
        ] {
            self.add(program.attach_raw_tracepoint(name))
                .with_context(|| format!("cannot attach to the tracepoint {name}"))?;
        }
        Ok(())
    }

    fn attach_kprobes(&mut self, skel: &HttpsniffSkel<'_>) -> Result<()> {
        let progs = &skel.progs;
        let must = |links: &mut Self, program: &ProgramMut<'_>, retprobe, name: &str| {
            links
                .add(program.attach_kprobe(retprobe, name))
                .with_context(|| format!("cannot attach a kprobe to {name}"))
        };
        must(self, &progs.tcp_sendmsg_enter, false, "tcp_sendmsg")?;
        must(self, &progs.tcp_recvmsg_enter, false, "tcp_recvmsg")?;
        if self
            .add(progs.tcp_push_enter.attach_kprobe(false, "tcp_push"))
            .is_ok()
        {
            // Without it, two threads sending on one socket may be confused.
            let _ = self.add(
                progs
                    .tcp_sendmsg_locked_enter
                    .attach_kprobe(false, "tcp_sendmsg_locked"),
            );
            // Gone in 6.5, where sendfile goes through tcp_sendmsg.
            let _ = self.add(
                progs
                    .tcp_sendpage_enter
                    .attach_kprobe(false, "tcp_sendpage"),
            );
        } else {
            must(self, &progs.tcp_sendmsg_exit, true, "tcp_sendmsg")?;
        }
        if self
            .add(
                progs
                    .tcp_cleanup_rbuf_enter
                    .attach_kprobe(false, "tcp_cleanup_rbuf"),
            )
            .is_ok()
        {
            let _ = self.add(
                progs
                    .tcp_splice_read_enter
                    .attach_kprobe(false, "tcp_splice_read"),
            );
        } else {
            must(self, &progs.tcp_recvmsg_exit, true, "tcp_recvmsg")?;
        }
        Ok(())
    }

    /// Detaches from all TLS libraries.
    pub(super) fn detach_tls(&mut self) {
        self.files = None;
    }

    /// The files that TLS libraries are in.
    pub(super) fn files(&mut self) -> Result<&Files> {
        Ok(match &mut self.files {
            Some(files) => files,
            none => none.insert(Files::new().context("cannot watch files")?),
        })
    }

    /// The same, if there are any.
    pub(super) fn some_files(&self) -> Option<&Files> {
        self.files.as_ref()
    }

    /// What has become of these files since the last call.
    pub(super) fn take_news(&self) -> Vec<News> {
        self.files
            .as_ref()
            .map(Files::take_news)
            .unwrap_or_default()
    }

    /// Readable when there is such news.
    pub(super) fn news(&self) -> Option<BorrowedFd<'_>> {
        self.files.as_ref().map(Files::as_fd)
    }

    /// The hooks in one file that holds a TLS library and has been entered in
    /// [`files`](Self::files): all of them or, if any fails, none. `false` when
    /// somebody writes to the file meanwhile: then there is none either.
    pub(super) fn attach_tls(&mut self, to: &Tls<'_>, target: &Target, number: u8) -> Result<bool> {
        // By descriptor: whatever the path names by now, this is the file
        // that was looked at, also when it has been deleted.
        let path = PathBuf::from(format!("/proc/self/fd/{}", target.file.as_raw_fd()));
        let mut links = Vec::new();
        let attached = if to.kernel.uprobe_multi {
            attach_multi(&mut links, to, &path, target, number)
        } else {
            self.attach_single(&mut links, to, &path, target, number)
        };
        if attached.is_err() {
            // An end without its beginning would say nothing.
            detach(links.drain(..));
        }
        attached
            .with_context(|| format!("cannot attach to {} ({})", target.path, target.library))?;
        Ok(self.files()?.keep(&target.identity, links))
    }

    fn attach_single(
        &mut self,
        links: &mut Vec<Link>,
        to: &Tls<'_>,
        path: &PathBuf,
        target: &Target,
        number: u8,
    ) -> Result<()> {
        for probe in &target.probes {
            // Each would be two more copies of the programs, and most of what
            // they tell is seen without them.
            if !to.kernel.cookies && probe.role.is_of_early_data() {
                continue;
            }
            // A copy of the programs for each number would be too many.
            let number = if to.kernel.cookies { number } else { 0 };
            let cookie = cookie(target, probe, number)?;
            let skel = if to.kernel.cookies {
                to.skel
            } else {
                match self.copies.entry((cookie, probe.role.is_exit())) {
                    Entry::Occupied(copy) => copy.into_mut(),
                    Entry::Vacant(place) => place.insert(load::load_for_cookie(
                        to.skel,
                        to.settings,
                        to.kernel,
                        cookie,
                        probe.role.is_exit(),
                        target.source == Source::Rustls,
                    )?),
                }
            };
            let program = match (target.source, probe.role.is_exit()) {
                (Source::Rustls, true) => &skel.progs.rustls_single_exit,
                (Source::Rustls, false) => &skel.progs.rustls_single_enter,
                (_, true) => &skel.progs.tls_single_exit,
                (_, false) => &skel.progs.tls_single_enter,
            };
            let options = UprobeOpts {
                retprobe: probe.placement == Placement::Return,
                cookie: if to.kernel.cookies { cookie } else { 0 },
                ..UprobeOpts::default()
            };
            let offset = usize::try_from(probe.offset)?;
            let link = program.attach_uprobe_with_opts(-1, path, offset, options);
            links.push(link?);
        }
        Ok(())
    }
}

fn attach_multi(
    links: &mut Vec<Link>,
    to: &Tls<'_>,
    path: &PathBuf,
    target: &Target,
    number: u8,
) -> Result<()> {
    let progs = &to.skel.progs;
    for (exits, placement) in [
        (true, Placement::Return),
        (true, Placement::At),
        (false, Placement::At),
    ] {
        let program = match (target.source, exits) {
            (Source::Rustls, true) => &progs.rustls_multi_exit,
            (Source::Rustls, false) => &progs.rustls_multi_enter,
            (_, true) => &progs.tls_multi_exit,
            (_, false) => &progs.tls_multi_enter,
        };
        let chosen: Vec<_> = target
            .probes
            .iter()
            .filter(|p| p.role.is_exit() == exits && p.placement == placement)
            .collect();
        if chosen.is_empty() {
            continue;
        }
        let options = UprobeMultiOpts {
            offsets: chosen
                .iter()
                .map(|p| usize::try_from(p.offset))
                .collect::<Result<_, _>>()?,
            cookies: chosen
                .iter()
                .map(|p| cookie(target, p, number))
                .collect::<Result<_>>()?,
            retprobe: placement == Placement::Return,
            ..UprobeMultiOpts::default()
        };
        let link = program.attach_uprobe_multi_with_opts(-1, path, "", options);
        links.push(link?);
    }
    Ok(())
}

/// What TLS libraries are attached to.
pub(super) struct Tls<'a> {
    pub(super) skel: &'a HttpsniffSkel<'static>,
    pub(super) settings: &'a Settings,
    pub(super) kernel: Kernel,
}

/// What the programs are told of a place; `enum tls_cookie`.
fn cookie(target: &Target, probe: &Probe, number: u8) -> Result<u64> {
    use types::tls_cookie as bits;
    // After `ret` the return address has been taken off the stack.
    let below = match probe.placement {
        Placement::Return => -1,
        Placement::At => i16::try_from(probe.stack / 8)?,
    };
    let go = match target.abi {
        Abi::C => 0,
        Abi::Go => bits::COOKIE_GO.0,
    };
    // Not where no record comes of it: without cookies there is a copy of the
    // programs for each number.
    let source = if probe.role.makes_records() || target.abi == Abi::Go {
        number_of(target.source).0
    } else {
        0
    };
    Ok(u64::from(role_bits(probe.role) | go)
        | u64::from(below.cast_unsigned()) << bits::COOKIE_STACK_SHIFT.0
        | u64::from(source) << bits::COOKIE_SOURCE_SHIFT.0
        | u64::from(number) << bits::COOKIE_LIBRARY_SHIFT.0)
}

const fn role_bits(role: ProbeRole) -> u32 {
    use types::tls_cookie as bits;
    let write = bits::COOKIE_WRITE.0;
    let ex = bits::COOKIE_EX.0;
    match role {
        ProbeRole::ReadEnter | ProbeRole::ReadExit => 0,
        ProbeRole::ReadKeptExit => bits::COOKIE_KEPT.0,
        ProbeRole::ReadExEnter | ProbeRole::ReadExExit => ex,
        ProbeRole::ReadSharedExit => bits::COOKIE_SHARED.0,
        ProbeRole::WriteEnter | ProbeRole::WriteExit => write,
        ProbeRole::WriteFlagsEnter => write | bits::COOKIE_FIFTH.0,
        ProbeRole::WriteExEnter | ProbeRole::WriteExExit => write | ex,
        ProbeRole::NewExit => bits::COOKIE_NEW.0,
        ProbeRole::Free => bits::COOKIE_FREE.0,
        ProbeRole::HandshakeEnter | ProbeRole::HandshakeExit => bits::COOKIE_NO_DATA.0,
        ProbeRole::EarlyReadEnter | ProbeRole::EarlyReadExit => ex,
        ProbeRole::EarlyWriteEnter | ProbeRole::EarlyWriteExit => write | ex | bits::COOKIE_EARLY.0,
        ProbeRole::EarlyStatusEnter | ProbeRole::EarlyStatusExit => {
            bits::COOKIE_NO_DATA.0 | bits::COOKIE_EARLY.0
        }
        ProbeRole::SendFileEnter | ProbeRole::SendFileExit => write | bits::COOKIE_NO_BUFFER.0,
        ProbeRole::Ciphertext => bits::COOKIE_CIPHERTEXT.0,
        ProbeRole::Renew => bits::COOKIE_NEW.0,
        ProbeRole::NewAtEnter | ProbeRole::NewAtExit => bits::COOKIE_NEW.0 | bits::COOKIE_NO_DATA.0,
        ProbeRole::FlushExit => write | bits::COOKIE_NO_DATA.0,
        ProbeRole::ReadUnseenEnter => bits::COOKIE_NO_BUFFER.0,
        ProbeRole::NsprReadEnter => bits::COOKIE_UNSURE.0,
        ProbeRole::NsprReceiveEnter => bits::COOKIE_UNSURE.0 | bits::COOKIE_PEEK_FLAG.0,
        ProbeRole::NsprWriteEnter => write | bits::COOKIE_UNSURE.0,
        ProbeRole::NsprWriteVectorEnter => write | bits::COOKIE_UNSURE.0 | bits::COOKIE_VECTOR.0,
        ProbeRole::EncryptEnter | ProbeRole::EncryptExit => write,
        ProbeRole::DecryptEnter | ProbeRole::DecryptExit => 0,
    }
}
