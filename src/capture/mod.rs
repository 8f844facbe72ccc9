//! Everything that touches the kernel: loading, attaching, the ring buffer,
//! decoding records, process facts.
//!
//! It alone needs root, and it alone has `unsafe`. What leaves it is
//! [`Item`]s: events for the engine.
//!
//! [`Capture`] holds it together. Its methods are by topic: here the start and
//! the end, in `ring.rs` the loop, in `requests.rs` what records ask for besides
//! events, in `targets.rs` and `upkeep.rs` the files that are probed, in
//! `watched.rs` the processes, in `counts.rs` the counters.

// The one place for it; each use says why it is sound.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::rc::Rc;
use std::thread;
use std::time::Instant;

use anyhow::Result;
use libbpf_rs::RingBuffer;

use crate::event::{Event, Timestamp};

mod ahead;
mod attach;
mod bpf;
mod check;
mod clock;
mod confined;
mod connections;
mod containers;
mod counts;
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
mod requests;
mod retire;
mod ring;
mod settings;
mod targets;
mod upkeep;
mod watched;

pub use check::check;
pub use counts::Losses;
pub use requests::UnreadTls;
pub use settings::{Backend, Settings};

use ahead::Ahead;
use attach::Links;
use bpf::HttpsniffSkel;
use containers::Containers;
use decode::Decoder;
use kernel::Kernel;
use libraries::Libraries;
use mappings::Mappings;
use retire::Retirement;
use ring::Shared;
use settings::Plaintext;

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
        let plaintext = settings::choose(settings, kernel, &mut notices)?;
        let containers = settings.containers.clone().map(Containers::new);
        // Before the look at /proc, so that nothing falls in between.
        let mappings = Mappings::open().ok().filter(|_| !settings.no_tls);
        let mut libraries = Libraries::default();
        targets::choose_returns(&mut libraries, settings, kernel);
        let (skel, ahead) = thread::scope(|scope| {
            let looking = scope.spawn(|| {
                if settings.no_tls {
                    return Ok(Ahead::default());
                }
                let pids = watched::to_look_at(settings, containers.as_ref());
                ahead::look(settings, &mut libraries, pids)
            });
            let skel = load::load(settings, kernel, plaintext);
            let ahead = looking.join();
            (skel, ahead)
        });
        let skel = skel?;
        let ahead = ahead.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let decoder = Decoder::new(settings.redact.clone(), settings.tls_flows);
        let shared = Rc::new(RefCell::new(Shared::new(decoder)));
        let ring = ring::build(&skel, &shared)?;
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

    /// Detaches: nothing new is captured, what is in the ring buffer can
    /// still be read.
    pub fn detach(&mut self) {
        self.links = Links::default();
        self.detached = true;
    }

    /// Lines for the user since the last call (which backend and why, what
    /// could not be attached).
    pub fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// Processes whose connections were seen to be TLS since the last call.
    pub fn take_unread(&mut self) -> Vec<UnreadTls> {
        std::mem::take(&mut self.unread)
    }

    /// The wall-clock time in the clock of the events.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared.borrow().decoder.now()
    }
}
