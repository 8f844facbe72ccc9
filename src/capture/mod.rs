//! Everything that touches the kernel: loading, attaching, the ring buffer,
//! decoding records, process facts.
//!
//! It alone needs root, and it alone has `unsafe`. What leaves it is
//! [`Item`]s: events for the engine.

// The one place for it; each use says why it is sound.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use libbpf_rs::{MapCore as _, MapFlags, ProgramInput, RingBuffer, RingBufferBuilder};
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::event::{ConnectionKey, Event, Source, Timestamp};
use crate::process::Process;
use crate::procfs;
use crate::redact::Redact;
use crate::tls::{Abi, Returns, Target};
use crate::tls_flow::Unread;

mod ahead;
mod attach;
mod bpf;
mod check;
mod clock;
mod confined;
mod connections;
mod containers;
mod decode;
mod files;
mod held;
mod kernel;
mod lease;
mod libraries;
mod load;
mod mappings;
mod perf;
mod processes;
mod record;
mod retire;
mod upkeep;

pub use check::check;

use ahead::Ahead;
use attach::{Links, Tls};
use bpf::{HttpsniffSkel, types};
use containers::Containers;
use decode::Decoder;
use kernel::Kernel;
use libraries::Libraries;
use mappings::Mappings;
use retire::Retirement;

/// Where plaintext sockets are to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// The first that the kernel allows: kprobe, then socket.
    #[default]
    Auto,
    /// kprobes on `tcp_sendmsg` and `tcp_recvmsg`.
    Kprobe,
    /// Raw tracepoints on the socket layer (kernel 6.3 and later).
    Socket,
}

/// Where plaintext sockets are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plaintext {
    Kprobe,
    Socket,
    /// The kernel has neither: TLS alone, its peers unknown.
    None,
}

/// What to capture.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Where plaintext sockets are read.
    pub backend: Backend,
    /// Leave plaintext sockets alone (`--no-tcp`).
    pub no_tcp: bool,
    /// Leave TLS libraries alone (`--no-tls`).
    pub no_tls: bool,
    /// Give what is needed to show TLS connections that are not read
    /// (`--tls-flows`).
    pub tls_flows: bool,
    /// Watch the ends of their functions by uprobes, not by return probes
    /// (`--no-uretprobes`).
    pub no_uretprobes: bool,
    /// Files to attach to, from `--lib`.
    pub libraries: Vec<crate::tls::named::Named>,
    /// Processes to watch, in the caller's pid namespace; empty: all.
    pub pids: Vec<u32>,
    /// Watch their descendants too, those that exist already included.
    pub follow: bool,
    /// Users to watch; empty: all. Applied in the kernel.
    pub uids: Vec<u32>,
    /// Containers and units to watch; `None`: all. Applied in the kernel.
    pub containers: Option<crate::container::Selection>,
    /// Masks command lines.
    pub redact: Option<Redact>,
    /// Size of the ring buffer in bytes (rounded up to a power of two).
    pub ring_bytes: u32,
    /// Executable whose TLS library is resolved and probed before the start
    /// (that of COMMAND). Processes are then watched by [`Capture::watch`].
    pub prepare: Option<std::path::PathBuf>,
}

impl Settings {
    const fn selects_pids(&self) -> bool {
        !self.pids.is_empty() || self.prepare.is_some()
    }
}

/// Something for the run loop.
#[derive(Debug)]
pub enum Item<'a> {
    /// For the engine.
    Event(Event<'a>),
    /// A process ended: for [`crate::engine::Engine::process_ended`].
    ProcessEnded {
        /// Its id.
        pid: u32,
        /// When.
        time: Timestamp,
    },
}

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

/// Counts of the kernel side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Records that found no room in the ring buffer.
    pub records: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Records that user space could not understand.
    pub malformed: u64,
    /// Calls that a probe could not follow to their end.
    pub calls: u64,
    /// Files with a TLS library that there was no room for.
    pub files: u64,
}

/// What takes the items of one [`Capture::poll`].
type Handler = dyn FnMut(Item<'_>) -> bool;

/// What the callback of the ring works on.
struct Shared {
    decoder: Decoder,
    /// Set for the duration of a poll.
    handler: Option<*mut Handler>,
    /// The handler wants no more.
    stopped: bool,
}

/// How long one wait of [`Capture::poll`] lasts at most: records come without
/// a wake-up unless many wait.
const WAIT: Duration = Duration::from_millis(10);
/// How often the distance of the clocks is taken.
const CLOCK_EVERY: Duration = Duration::from_secs(1);

/// A loaded and attached set of programs. Dropping it detaches everything.
pub struct Capture {
    // In this order: detach, then unmap, then unload.
    links: Links,
    ring: RingBuffer<'static>,
    shared: Rc<RefCell<Shared>>,
    skel: HttpsniffSkel<'static>,
    libraries: Libraries,
    mappings: Option<Mappings>,
    kernel: Kernel,
    settings: Settings,
    containers: Option<Containers>,
    named: Vec<u32>,
    notices: Vec<String>,
    unread: Vec<UnreadTls>,
    clock_taken: Instant,
    retirement: Retirement,
    /// Files with a TLS library that there was no room for.
    left_out: u64,
    /// It was said that not all files can be watched.
    unwatched: bool,
    /// Nothing new comes.
    detached: bool,
}

impl Capture {
    /// Loads and attaches. When it returns, capturing has begun. Errors are
    /// sentences for the user.
    pub fn start(settings: &Settings) -> Result<Self> {
        // libbpf's own messages are for developers: ours say what to do.
        libbpf_rs::set_print(std::env::var_os("HTTPSNIFF_LIBBPF").map(|_| {
            (
                libbpf_rs::PrintLevel::Debug,
                (|_, text| eprint!("{text}")) as _,
            )
        }));
        let kernel = Kernel::probe()?;
        let mut notices = Vec::new();
        let plaintext = choose(settings, kernel, &mut notices)?;
        let containers = settings.containers.clone().map(Containers::new);
        // Before the look at /proc, so that nothing falls in between.
        let mappings = Mappings::open().ok().filter(|_| !settings.no_tls);
        let mut libraries = Libraries::default();
        choose_returns(&mut libraries, settings, kernel);
        let (skel, ahead) = thread::scope(|scope| {
            let looking = scope.spawn(|| {
                if settings.no_tls {
                    return Ok(Ahead::default());
                }
                let pids = to_look_at(settings, containers.as_ref());
                ahead::look(settings, &mut libraries, pids)
            });
            let skel = load::load(settings, kernel, plaintext);
            let ahead = looking.join();
            (skel, ahead)
        });
        let skel = skel?;
        let ahead = ahead.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let shared = Rc::new(RefCell::new(Shared {
            decoder: Decoder::new(settings.redact.clone(), settings.tls_flows),
            handler: None,
            stopped: false,
        }));
        let ring = build_ring(&skel, &shared)?;
        let mut capture = Self {
            links: Links::default(),
            ring,
            shared,
            skel,
            libraries,
            mappings,
            kernel,
            settings: settings.clone(),
            detached: false,
            containers,
            named: Vec::new(),
            notices,
            unread: Vec::new(),
            clock_taken: Instant::now(),
            retirement: Retirement::new(),
            left_out: 0,
            unwatched: false,
        };
        capture.watch_users()?;
        if let Some(containers) = &capture.containers {
            capture.links.attach_cgroups(&capture.skel)?;
            containers.watch_all(&capture.skel)?;
        }
        capture.links.attach_kernel(&capture.skel, plaintext)?;
        for pid in settings.pids.clone() {
            capture.watch(pid, settings.follow)?;
        }
        if !settings.no_tls {
            capture.attach_libraries(ahead)?;
        }
        Ok(capture)
    }

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

    fn watch_users(&self) -> Result<()> {
        for uid in &self.settings.uids {
            self.skel
                .maps
                .watched_uids
                .update(&uid.to_ne_bytes(), &[1], MapFlags::ANY)
                .context("cannot set the users to watch")?;
        }
        Ok(())
    }

    /// Attaches to every TLS library that is there already: what was found
    /// ahead and what has come since.
    fn attach_libraries(&mut self, ahead: Ahead) -> Result<()> {
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
    fn attach(&mut self, targets: Vec<Target>, named: bool) -> Result<()> {
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

    /// From now on a socket call may be a goroutine's.
    fn see_goroutines(&mut self) {
        if let Some(bss) = self.skel.maps.bss_data.as_deref_mut() {
            bss.go_attached = 1;
        }
    }

    /// Lines for the user since the last call (which backend and why, what
    /// could not be attached).
    pub fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// Watches one more process, and its descendants if `follow` (COMMAND:
    /// called while it waits before its exec).
    pub fn watch(&mut self, pid: u32, follow: bool) -> Result<()> {
        let mode = if follow {
            types::watch::WATCH_TREE
        } else {
            types::watch::WATCH_ONE
        };
        let add = |capture: &Self, pid: u32| {
            capture
                .skel
                .maps
                .watched
                .update(&pid.to_ne_bytes(), &mode.0.to_ne_bytes(), MapFlags::ANY)
                .with_context(|| format!("cannot watch process {pid}"))
        };
        add(self, pid)?;
        if follow {
            // New children are added in the kernel from now on.
            // One that was listed may have had a child before it was added.
            let mut known = rustc_hash::FxHashSet::default();
            loop {
                let mut fresh = procfs::descendants(pid);
                fresh.retain(|child| known.insert(*child));
                if fresh.is_empty() {
                    break;
                }
                for child in fresh {
                    add(self, child)?;
                }
            }
        }
        self.named.push(pid);
        // What ended before it was watched has no exit record.
        for pid in self.watched() {
            if !is_alive(pid) {
                let _ = self.skel.maps.watched.delete(&pid.to_ne_bytes());
            }
        }
        Ok(())
    }

    /// The processes that are watched at present.
    fn watched(&self) -> Vec<u32> {
        self.skel
            .maps
            .watched
            .keys()
            .filter_map(|key| Some(u32::from_ne_bytes(key.try_into().ok()?)))
            .collect()
    }

    /// The processes whose libraries matter.
    fn all_watched(&self) -> Vec<u32> {
        let mut pids = if self.settings.selects_pids() {
            self.watched()
        } else if let Some(containers) = &self.containers {
            containers.processes()
        } else {
            procfs::all()
        };
        pids.retain(|pid| self.is_of_watched_user(*pid));
        pids
    }

    /// Whether the libraries of a process matter. A probe costs all who use
    /// its file: a file of which only others are told is left alone.
    fn is_watched(&self, pid: u32) -> bool {
        let is_named = !self.settings.selects_pids()
            || self
                .skel
                .maps
                .watched
                .lookup(&pid.to_ne_bytes(), MapFlags::ANY)
                .is_ok_and(|value| value.is_some());
        let containers = self.containers.as_ref();
        is_named
            && self.is_of_watched_user(pid)
            && containers.is_none_or(|containers| containers.hold(&self.skel, pid))
    }

    fn is_of_watched_user(&self, pid: u32) -> bool {
        is_of_user(&self.settings.uids, pid)
    }

    /// Waits up to `timeout` for records and hands each to `handle` in the
    /// order of the ring. Returns early when `handle` returns `false`.
    pub fn poll(
        &mut self,
        timeout: Duration,
        handle: &mut dyn FnMut(Item<'_>) -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + timeout;
        if self.clock_taken.elapsed() >= CLOCK_EVERY {
            self.shared.borrow_mut().decoder.set_clock();
            self.clock_taken = Instant::now();
        }
        loop {
            let consumed = self.consume(handle)?;
            self.release(self.detached && consumed == 0, handle);
            self.follow_up()?;
            self.retire();
            if !self.settings.no_tls {
                let targets = self.libraries.look_on(consumed == 0);
                self.attach(targets, false)?;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if consumed > 0 || left.is_zero() || self.shared.borrow().stopped {
                return Ok(());
            }
            let wait = if self.libraries.is_behind() {
                Duration::ZERO
            } else {
                left.min(WAIT)
            };
            if !self.wait(wait) {
                return Ok(());
            }
        }
    }

    /// Hands on what has waited for its socket, see [`held`].
    fn release(&self, all: bool, handle: &mut dyn FnMut(Item<'_>) -> bool) {
        let mut shared = self.shared.borrow_mut();
        shared.stopped |= !shared.decoder.release(all, handle);
    }

    /// Waits for records or new mappings, or until the time is up; `false`
    /// when a signal came.
    fn wait(&self, timeout: Duration) -> bool {
        // SAFETY: the ring keeps its descriptor open as long as it lives.
        let ring = unsafe { BorrowedFd::borrow_raw(self.ring.epoll_fd()) };
        let mut fds = vec![PollFd::new(&ring, PollFlags::IN)];
        if let Some(mappings) = &self.mappings {
            fds.push(PollFd::from_borrowed_fd(mappings.as_fd(), PollFlags::IN));
        }
        if let Some(news) = self.links.news() {
            fds.push(PollFd::from_borrowed_fd(news, PollFlags::IN));
        }
        let timeout = Timespec::try_from(timeout).ok();
        rustix::event::poll(&mut fds, timeout.as_ref()).is_ok()
    }

    fn consume(&self, handle: &mut dyn FnMut(Item<'_>) -> bool) -> Result<i32> {
        self.consume_with(handle, RingBuffer::consume_raw)
    }

    fn consume_with(
        &self,
        handle: &mut dyn FnMut(Item<'_>) -> bool,
        consume: impl FnOnce(&RingBuffer<'static>) -> i32,
    ) -> Result<i32> {
        let handler: *mut (dyn FnMut(Item<'_>) -> bool + '_) = handle;
        // SAFETY: only the lifetime changes. The pointer is taken out again
        // below before `handle`'s borrow ends, and nothing keeps a copy.
        let handler = unsafe {
            std::mem::transmute::<*mut (dyn FnMut(Item<'_>) -> bool + '_), *mut Handler>(handler)
        };
        {
            let mut shared = self.shared.borrow_mut();
            shared.handler = Some(handler);
            shared.stopped = false;
        }
        let consumed = consume(&self.ring);
        let stopped = {
            let mut shared = self.shared.borrow_mut();
            shared.handler = None;
            shared.stopped
        };
        if consumed < 0 && !stopped && consumed != -libc::EINTR {
            bail!(
                "cannot read the ring buffer: {}",
                std::io::Error::from_raw_os_error(-consumed)
            );
        }
        Ok(consumed)
    }

    /// Has the bytes of the connections that are still open counted; the counts
    /// come with the next [`Self::poll`].
    pub fn count_flows(&self) {
        if !self.settings.tls_flows {
            return;
        }
        for socket in self.skel.maps.flows.keys() {
            // The arguments of a raw tracepoint, of which there is one.
            let mut arguments = [0_u8; 96];
            if let Some(first) = arguments.get_mut(..socket.len()) {
                first.copy_from_slice(&socket);
            }
            let input = ProgramInput {
                context_in: Some(&mut arguments),
                ..ProgramInput::default()
            };
            // Without it the counts of this one are not known.
            let _ = self.skel.progs.flow_count.test_run(input);
        }
    }

    /// Detaches: nothing new is captured, what is in the ring buffer can
    /// still be read.
    pub fn detach(&mut self) {
        self.links = Links::default();
        self.detached = true;
    }

    /// What records ask for besides events: new programs may hold new
    /// libraries.
    fn follow_up(&mut self) -> Result<()> {
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

    /// Where objects do not come to be on a socket, all that they write is
    /// looked at.
    fn place_objects(&mut self) -> Result<()> {
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

    /// Attaches to libraries in files that watched processes have begun to
    /// execute: each as soon as it is known, before the next is looked into,
    /// as its process goes on meanwhile.
    fn attach_new_mappings(&mut self) -> Result<()> {
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

    /// These connections' bytes need not be copied any more; they are still
    /// counted.
    pub fn mute(&mut self, keys: &[ConnectionKey]) {
        for key in keys.iter().filter(|key| key.source == Source::Tcp) {
            let mut raw = [0; 16];
            let (object, born) = raw.split_at_mut(8);
            object.copy_from_slice(&key.object.to_ne_bytes());
            born.copy_from_slice(&key.born.to_ne_bytes());
            // Without it they are copied for nothing, no more.
            let _ = self.skel.maps.muted.update(&raw, &[1], MapFlags::ANY);
        }
    }

    /// Whether processes were named (`Settings::pids`, [`Self::watch`]) and
    /// all of them and, when followed, their descendants have ended.
    #[must_use]
    pub fn targets_ended(&self) -> bool {
        !self.named.is_empty() && self.skel.maps.watched.keys().next().is_none()
    }

    /// The wall-clock time in the clock of the events.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared.borrow().decoder.now()
    }

    /// What the kernel side lost so far.
    #[must_use]
    pub fn losses(&self) -> Losses {
        let read = |counter: types::lost_counter| -> u64 {
            self.skel
                .maps
                .lost
                .lookup_percpu(&counter.0.to_ne_bytes(), MapFlags::ANY)
                .ok()
                .flatten()
                .unwrap_or_default()
                .into_iter()
                .filter_map(|value| Some(u64::from_ne_bytes(value.try_into().ok()?)))
                .sum()
        };
        Losses {
            records: read(types::lost_counter::LOST_RECORDS),
            bytes: read(types::lost_counter::LOST_BYTES),
            calls: read(types::lost_counter::LOST_CALLS),
            files: self.left_out,
            malformed: self.shared.borrow().decoder.malformed(),
        }
    }

    /// Watched processes that have children and no connection of their own and
    /// are not followed (for the hint “add --follow”): pid and name.
    #[must_use]
    pub fn childbearing_targets(&self) -> Vec<(u32, String)> {
        if self.settings.follow {
            return Vec::new();
        }
        self.named
            .iter()
            .filter(|pid| {
                !procfs::children(**pid).is_empty() && procfs::has_connections(**pid) == Some(false)
            })
            .filter_map(|pid| {
                let process = procfs::process(*pid)?;
                Some((*pid, String::from_utf8_lossy(&process.comm).into_owned()))
            })
            .collect()
    }

    /// Processes whose connections were seen to be TLS since the last call.
    pub fn take_unread(&mut self) -> Vec<UnreadTls> {
        std::mem::take(&mut self.unread)
    }
}

/// Return probes, unless they are not wanted or would do harm.
fn choose_returns(libraries: &mut Libraries, settings: &Settings, kernel: Kernel) {
    if settings.no_uretprobes || !kernel.uretprobes_are_safe() {
        libraries.finder.returns = Returns::Exits;
    }
    libraries.finder.sparing = !kernel.cookies;
}

/// The processes whose libraries matter, before the kernel side knows them.
fn to_look_at(settings: &Settings, containers: Option<&Containers>) -> Vec<u32> {
    let mut pids = if settings.selects_pids() {
        let mut pids = settings.pids.clone();
        if settings.follow {
            pids.extend(
                settings
                    .pids
                    .iter()
                    .flat_map(|pid| procfs::descendants(*pid)),
            );
        }
        pids
    } else if let Some(containers) = containers {
        containers.processes()
    } else {
        procfs::all()
    };
    pids.retain(|pid| is_of_user(&settings.uids, *pid));
    pids
}

/// Whether a process is of one of these users, or may become so.
fn is_of_user(uids: &[u32], pid: u32) -> bool {
    // One that is gone needs no probe; it is not for this to say.
    uids.is_empty() || procfs::may_be_of(pid, uids).unwrap_or(true)
}

/// The first backend that the kernel has, and for the user which and why.
fn choose(settings: &Settings, kernel: Kernel, notices: &mut Vec<String>) -> Result<Plaintext> {
    let no_kprobes = "this kernel has no kprobes (CONFIG_KPROBES is off)";
    let no_tracepoints = "this kernel has no tracepoint sock:sock_send_length (it came with 6.3)";
    match settings.backend {
        Backend::Kprobe if !kernel.kprobes => {
            bail!("--backend kprobe: {no_kprobes}; try --backend socket")
        }
        Backend::Socket if !kernel.socket_tracepoints => {
            bail!("--backend socket: {no_tracepoints}; try --backend kprobe")
        }
        Backend::Kprobe => Ok(Plaintext::Kprobe),
        Backend::Socket => Ok(Plaintext::Socket),
        Backend::Auto if kernel.kprobes => {
            notices.push("backend kprobe".to_owned());
            Ok(Plaintext::Kprobe)
        }
        Backend::Auto if kernel.socket_tracepoints => {
            notices.push(format!("backend socket: {no_kprobes}"));
            Ok(Plaintext::Socket)
        }
        Backend::Auto if settings.no_tls => {
            bail!("nothing to capture with: {no_kprobes}, {no_tracepoints}, and TLS is off")
        }
        Backend::Auto => {
            notices.push(format!(
                "TLS only, without peers: {no_kprobes}, and {no_tracepoints}"
            ));
            Ok(Plaintext::None)
        }
    }
}

fn build_ring(
    skel: &HttpsniffSkel<'static>,
    shared: &Rc<RefCell<Shared>>,
) -> Result<RingBuffer<'static>> {
    let shared = Rc::clone(shared);
    let mut builder = RingBufferBuilder::new();
    builder
        .add(&skel.maps.events, move |raw: &[u8]| {
            let Ok(mut shared) = shared.try_borrow_mut() else {
                return 0;
            };
            let Shared {
                decoder,
                handler,
                stopped,
            } = &mut *shared;
            let Some(handler) = handler else {
                return 0;
            };
            // SAFETY: `consume_with` set the pointer from a unique borrow that
            // lasts until it takes it out again, and calls come only from
            // within it, one at a time.
            let handler = unsafe { &mut **handler };
            if decoder.decode(raw, handler) {
                0
            } else {
                *stopped = true;
                -libc::EINTR
            }
        })
        .context("cannot map the ring buffer")?;
    builder.build().context("cannot map the ring buffer")
}

/// Whether a process is there and more than a zombie.
fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/status"))
        .is_ok_and(|status| !status.contains("\nState:\tZ") && !status.contains("\nState:\tX"))
}
