//! The loop around the ring buffer: waiting for records, handing them through
//! the decoder to whoever polls, and what is done between two looks at it.

use std::cell::RefCell;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use libbpf_rs::{RingBuffer, RingBufferBuilder};
use rustix::event::{PollFd, PollFlags, Timespec};

use super::bpf::HttpsniffSkel;
use super::decode::Decoder;
use super::{Capture, Item};

/// What takes the items of one [`Capture::poll`].
type Handler = dyn FnMut(Item<'_>) -> bool;

/// What the callback of the ring works on.
pub(super) struct Shared {
    pub(super) decoder: Decoder,
    /// Set for the duration of a poll.
    handler: Option<*mut Handler>,
    /// The handler wants no more.
    stopped: bool,
}

impl Shared {
    pub(super) const fn new(decoder: Decoder) -> Self {
        Self {
            decoder,
            handler: None,
            stopped: false,
        }
    }
}

/// How long one wait of [`Capture::poll`] lasts at most: records come without
/// a wake-up unless many wait.
const WAIT: Duration = Duration::from_millis(10);
/// How often the distance of the clocks is taken.
const CLOCK_EVERY: Duration = Duration::from_secs(1);

impl Capture {
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

    /// Hands on what has waited for its socket, see [`held`](super::held).
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
}

pub(super) fn build(
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
