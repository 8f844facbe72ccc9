//! Attaches the loaded programs, and keeps the attachments.

use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use libbpf_rs::{Link, ProgramMut, UprobeMultiOpts, UprobeOpts};

use super::Plaintext;
use super::bpf::{HttpsniffSkel, types};
use super::kernel::Kernel;
use crate::tls::{Placement, Probe, ProbeRole, Target};

/// Attachments; dropping them detaches.
#[derive(Default)]
pub(super) struct Links {
    links: Vec<Link>,
}

impl Drop for Links {
    /// Each detachment waits for the kernel's readers (20 ms and more), so
    /// all wait at the same time.
    fn drop(&mut self) {
        std::thread::scope(|scope| {
            for link in self.links.drain(..) {
                // Where no thread can be had, the closure and the link in it
                // are dropped here.
                let _ = std::thread::Builder::new().spawn_scoped(scope, move || drop(link));
            }
        });
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

    /// The hooks in one file that holds a TLS library.
    pub(super) fn attach_tls(
        &mut self,
        skel: &HttpsniffSkel<'_>,
        kernel: Kernel,
        target: &Target,
        number: u8,
    ) -> Result<()> {
        // By descriptor: whatever the path names by now, this is the file
        // that was looked at, also when it has been deleted.
        let path = PathBuf::from(format!("/proc/self/fd/{}", target.file.as_raw_fd()));
        let attached = if kernel.uprobe_multi {
            self.attach_multi(skel, &path, &target.probes, number)
        } else {
            self.attach_single(
                skel,
                &path,
                &target.probes,
                kernel.cookies.then_some(number),
            )
        };
        attached.with_context(|| format!("cannot attach to {} ({})", target.path, target.library))
    }

    fn attach_multi(
        &mut self,
        skel: &HttpsniffSkel<'_>,
        path: &PathBuf,
        probes: &[Probe],
        number: u8,
    ) -> Result<()> {
        let number = u64::from(number) << types::tls_cookie::COOKIE_LIBRARY_SHIFT.0;
        let progs = &skel.progs;
        for (exits, placement) in [
            (true, Placement::Return),
            (true, Placement::At),
            (false, Placement::At),
        ] {
            let program = if exits {
                &progs.tls_multi_exit
            } else {
                &progs.tls_multi_enter
            };
            let chosen: Vec<_> = probes
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
                cookies: chosen.iter().map(|p| cookie(p.role) | number).collect(),
                retprobe: placement == Placement::Return,
                ..UprobeMultiOpts::default()
            };
            self.add(program.attach_uprobe_multi_with_opts(-1, path, "", options))?;
        }
        Ok(())
    }

    fn attach_single(
        &mut self,
        skel: &HttpsniffSkel<'_>,
        path: &PathBuf,
        probes: &[Probe],
        number: Option<u8>,
    ) -> Result<()> {
        for probe in probes {
            let progs = &skel.progs;
            let program = match probe.role {
                ProbeRole::ReadEnter => &progs.tls_read_enter,
                ProbeRole::ReadExEnter => &progs.tls_read_ex_enter,
                ProbeRole::WriteEnter => &progs.tls_write_enter,
                ProbeRole::WriteExEnter => &progs.tls_write_ex_enter,
                ProbeRole::WriteFlagsEnter => &progs.tls_write_flags_enter,
                ProbeRole::ReadExit | ProbeRole::WriteExit => &progs.tls_exit_plain,
                ProbeRole::ReadExExit | ProbeRole::WriteExExit => &progs.tls_exit_ex,
                ProbeRole::ReadSharedExit => &progs.tls_exit_shared,
                ProbeRole::NewExit => &progs.tls_new,
                ProbeRole::Free => &progs.tls_free,
                ProbeRole::Ciphertext => continue,
            };
            let options = UprobeOpts {
                retprobe: probe.placement == Placement::Return,
                cookie: u64::from(number.unwrap_or(0)) << types::tls_cookie::COOKIE_LIBRARY_SHIFT.0,
                ..UprobeOpts::default()
            };
            let offset = usize::try_from(probe.offset)?;
            self.add(program.attach_uprobe_with_opts(-1, path, offset, options))?;
        }
        Ok(())
    }
}

/// What the multi programs are told of a place; `enum tls_cookie`.
fn cookie(role: ProbeRole) -> u64 {
    let write = types::tls_cookie::COOKIE_WRITE.0;
    let ex = types::tls_cookie::COOKIE_EX.0;
    let fifth = types::tls_cookie::COOKIE_FIFTH.0;
    let shared = types::tls_cookie::COOKIE_SHARED.0;
    u64::from(match role {
        ProbeRole::ReadEnter | ProbeRole::ReadExit => 0,
        ProbeRole::ReadExEnter | ProbeRole::ReadExExit => ex,
        ProbeRole::ReadSharedExit => shared,
        ProbeRole::WriteEnter | ProbeRole::WriteExit => write,
        ProbeRole::WriteFlagsEnter => write | fifth,
        ProbeRole::WriteExEnter | ProbeRole::WriteExExit => write | ex,
        ProbeRole::NewExit => types::tls_cookie::COOKIE_NEW.0,
        ProbeRole::Free => types::tls_cookie::COOKIE_FREE.0,
        ProbeRole::Ciphertext => types::tls_cookie::COOKIE_CIPHERTEXT.0,
    })
}
