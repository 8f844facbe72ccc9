//! What the user asked for: which exchanges are shown.
//!
//! The same option repeated means or, different options mean and. An
//! exchange that lacks what an option asks for does not match, and is told
//! apart from one that has it and differs, because the user wants to know
//! that something was kept out for joining too late.

use crate::container::ContainerName;
use crate::event::{ConnectionInfo, ConnectionKey, Endpoint, Source};
use crate::exchange::{Request, Role, Version};
use crate::glob::Glob;
use crate::process::Process;
use crate::tls_flow::TlsFlow;

mod host;
mod parts;

pub use host::HostGlob;
pub use parts::{ExeGlob, Method, PathGlob, PatternError, StatusRange, parse_port};

/// What is known of an exchange when it is judged.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its process, if known.
    pub process: Option<&'a Process>,
    /// The thread's name.
    pub thread: &'a [u8],
    /// The connection.
    pub info: &'a ConnectionInfo,
    /// The request's head; `None` when not seen (yet).
    pub request: Option<&'a Request>,
    /// The final response's status; `None` when not seen (yet).
    pub status: Option<u16>,
    /// Nothing more will come: what is missing now stays missing.
    pub last: bool,
}

/// What the filter says of a [`Subject`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Wanted, whatever comes.
    Keep,
    /// Not wanted, whatever comes.
    Drop,
    /// Depends on what has not been seen yet. Never with `last`.
    Undecided,
    /// Not wanted because it lacks what the filter asks for (joined too late).
    Lacks,
}

/// All conditions of a run. The default lets everything through; an empty
/// list is no condition.
///
/// `pids`, `uids`, `comms`, `exes` and `containers` are what a capture file
/// (`-r`) needs; live, who is watched is decided before the engine, and with
/// `--follow` `pids` must stay empty or the descendants would be dropped here.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// `--pid`.
    pub pids: Vec<u32>,
    /// `--uid`, as numbers.
    pub uids: Vec<u32>,
    /// `--comm`: the process's name or the thread's.
    pub comms: Vec<Glob>,
    /// `--exe`.
    pub exes: Vec<ExeGlob>,
    /// `--host`.
    pub hosts: Vec<HostGlob>,
    /// `--method`.
    pub methods: Vec<Method>,
    /// `--path`.
    pub paths: Vec<PathGlob>,
    /// `--status`.
    pub statuses: Vec<StatusRange>,
    /// `--port`: that of either end.
    pub ports: Vec<u16>,
    /// `--container`, for a capture file.
    pub containers: Vec<ContainerName>,
}

/// How one option is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    Yes,
    /// What it asks for may still come.
    Later,
    /// What it asks for will not come.
    Lacks,
    No,
}

impl Answer {
    const fn from_bool(matches: bool) -> Self {
        if matches { Self::Yes } else { Self::No }
    }
}

impl Filter {
    /// Whether there is no condition at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pids.is_empty()
            && self.uids.is_empty()
            && self.comms.is_empty()
            && self.exes.is_empty()
            && self.hosts.is_empty()
            && self.methods.is_empty()
            && self.paths.is_empty()
            && self.statuses.is_empty()
            && self.ports.is_empty()
            && self.containers.is_empty()
    }

    /// Judges by what is known so far.
    ///
    /// A known difference outweighs everything ([`Verdict::Drop`]), then what
    /// will never be known ([`Verdict::Lacks`]), then what may still come. The
    /// process of an exchange is that of its first byte: when it is not known
    /// then, it is lacking at once.
    #[must_use]
    pub fn judge(&self, subject: &Subject<'_>) -> Verdict {
        // The worst answer decides; the order of `Answer` is that of weight.
        let answer = self
            .who(subject)
            .max(self.ports(subject))
            .max(self.what(subject))
            .max(self.status(subject));
        match answer {
            Answer::Yes => Verdict::Keep,
            Answer::Later => Verdict::Undecided,
            Answer::Lacks => Verdict::Lacks,
            Answer::No => Verdict::Drop,
        }
    }

    /// Judges a TLS connection that was not read: its server name is its host,
    /// and what is in it is not known.
    #[must_use]
    pub fn judge_flow(&self, flow: &TlsFlow) -> Verdict {
        let subject = Subject {
            process: flow.process.as_deref(),
            thread: &flow.thread,
            info: &flow.info,
            request: None,
            status: None,
            last: true,
        };
        let inside = self.methods.is_empty() && self.paths.is_empty() && self.statuses.is_empty();
        let server = match flow.role {
            Some(Role::Server) => &flow.info.local,
            _ => &flow.info.peer,
        };
        let authority = flow.sni().map(|name| {
            let port = server.as_ref().and_then(Endpoint::port).unwrap_or(443);
            [name, format!(":{port}").as_bytes()].concat()
        });
        let answer = self
            .who(&subject)
            .max(self.ports(&subject))
            .max(ask(&self.hosts, authority.as_deref(), |glob, host| {
                glob.matches(host, "https")
            }))
            .max(if inside { Answer::Yes } else { Answer::Lacks });
        match answer {
            Answer::Yes => Verdict::Keep,
            Answer::Lacks | Answer::Later => Verdict::Lacks,
            Answer::No => Verdict::Drop,
        }
    }

    /// Whether a process is one of those that were asked for.
    #[must_use]
    pub fn wants_process(&self, process: &Process) -> bool {
        let nothing = ConnectionInfo::new(ConnectionKey {
            source: Source::Tcp,
            object: 0,
            born: 0,
        });
        let subject = Subject {
            process: Some(process),
            thread: b"",
            info: &nothing,
            request: None,
            status: None,
            last: true,
        };
        self.who(&subject) == Answer::Yes
    }

    fn who(&self, subject: &Subject<'_>) -> Answer {
        let process = subject.process;
        ask(&self.pids, process, |pid, p| *pid == p.pid)
            .max(ask(&self.uids, process.and_then(|p| p.uid), |uid, u| {
                *uid == u
            }))
            .max(self.comm(subject))
            .max(ask(
                &self.exes,
                process.and_then(|p| p.exe.as_deref()),
                |glob, exe| glob.matches(exe),
            ))
            .max(ask(&self.containers, process, |container, p| {
                container.matches(p)
            }))
    }

    fn comm(&self, subject: &Subject<'_>) -> Answer {
        let comm = subject.process.map_or(&[][..], |p| &p.comm);
        let names = [comm, subject.thread];
        let fits =
            |name: &&[u8]| !name.is_empty() && self.comms.iter().any(|glob| glob.matches(name));
        if self.comms.is_empty() || names.iter().any(fits) {
            Answer::Yes
        } else if comm.is_empty() {
            // The thread's name alone does not say that the process's differs.
            Answer::Lacks
        } else {
            Answer::No
        }
    }

    fn ports(&self, subject: &Subject<'_>) -> Answer {
        if self.ports.is_empty() {
            return Answer::Yes;
        }
        let ends = [&subject.info.local, &subject.info.peer];
        let wanted = |end: &Endpoint| end.port().is_some_and(|port| self.ports.contains(&port));
        if ends.iter().any(|end| end.as_ref().is_some_and(wanted)) {
            Answer::Yes
        } else if ends.iter().any(|end| end.is_none()) {
            later(subject)
        } else {
            Answer::No
        }
    }

    fn what(&self, subject: &Subject<'_>) -> Answer {
        let Some(request) = subject.request else {
            return if self.hosts.is_empty() && self.methods.is_empty() && self.paths.is_empty() {
                Answer::Yes
            } else {
                later(subject)
            };
        };
        let host = request.host.as_deref();
        let host = host.filter(|host| is_known(request, host));
        let method = Some(&request.method).filter(|method| is_known(request, method));
        let with_target = Some(request).filter(|request| is_known(request, &request.target));
        ask(&self.hosts, host, |glob, host| {
            glob.matches(host, request.scheme)
        })
        .max(ask(&self.methods, method, |method, m| method.matches(m)))
        .max(ask(&self.paths, with_target, |glob, request| {
            glob.matches(&request.method, &request.target)
        }))
    }

    fn status(&self, subject: &Subject<'_>) -> Answer {
        match subject.status {
            None if !self.statuses.is_empty() => later(subject),
            status => {
                // 0 is that of a response whose status is not known.
                let known = status.filter(|status| *status != 0);
                ask(&self.statuses, known, |range, status| {
                    range.contains(status)
                })
            }
        }
    }
}

/// Whether it is not a placeholder: what a connection of HTTP/2 had said
/// before it was joined is not known, and none of these begins like that.
fn is_known(request: &Request, fact: &[u8]) -> bool {
    request.version != Version::Http2 || !fact.starts_with(b"<unknown")
}

/// What is not known yet: may it still come?
fn later(subject: &Subject<'_>) -> Answer {
    if subject.last {
        Answer::Lacks
    } else {
        Answer::Later
    }
}

/// Whether any of `wanted` fits; nothing wanted always does.
fn ask<W, T: Copy>(wanted: &[W], fact: Option<T>, fits: impl Fn(&W, T) -> bool) -> Answer {
    match fact {
        _ if wanted.is_empty() => Answer::Yes,
        None => Answer::Lacks,
        Some(fact) => Answer::from_bool(wanted.iter().any(|w| fits(w, fact))),
    }
}

#[cfg(test)]
mod tests;
