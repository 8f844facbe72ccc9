//! The files that TLS libraries are probed in, and what becomes of them.
//!
//! A probe belongs to an inode and an offset, whatever is there: the kernel
//! would put it in the middle of an instruction of what somebody has written
//! over the file, and the program that runs next would crash. To detach takes
//! some 20 ms, and the next program may be started before that. So there is a
//! lease on every file: who opens it for writing waits until nothing in it is
//! attached to. By inotify it is known when the writer has closed it, and, on
//! file systems without leases, when it is written to.
//!
//! That is the work of a thread of its own, as the main loop may be busy, or be
//! waiting for whoever takes its output.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{Builder, JoinHandle};

use libbpf_rs::Link;
use rustc_hash::FxHashMap;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::lease;
use crate::tls::{FileIdentity, FileKey, Target};

/// How often files are looked at that nothing is told of.
const EVERY: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 250_000_000,
};

/// How many files of some five descriptors each are less than the usual limit
/// of 1024.
const FEW: usize = 64;

/// What became of a file.
#[derive(Debug)]
pub(super) enum News {
    /// Somebody writes to it: it is not attached to any more.
    Changed(FileIdentity),
    /// Whoever did has closed it.
    Written {
        /// What it was.
        identity: FileIdentity,
        /// It.
        file: File,
        /// As the target had it.
        path: String,
    },
}

/// How a file was entered.
#[derive(Debug)]
pub(super) enum Entered {
    /// It can be attached to.
    Watched,
    /// It can, but what is written to it may be noticed late, and why.
    Unwatched(io::Error),
    /// Somebody has it open for writing. There will be news of it.
    Busy,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Attached,
    /// Somebody writes to it, and there are no links.
    Changed,
    /// Nobody does any more, and that is news.
    Written,
}

/// A file that is attached to, or was.
struct Attached {
    /// First: they are gone before the file is closed and its lease ends.
    links: Vec<Link>,
    file: File,
    path: String,
    /// What it was like when it was looked into.
    key: FileKey,
    state: State,
    /// It is being attached to. Whoever waits for its lease goes on waiting.
    attaching: bool,
    leased: bool,
    watch: Option<i32>,
}

#[derive(Default)]
struct Table {
    files: FxHashMap<FileIdentity, Attached>,
    watches: FxHashMap<i32, FileIdentity>,
    news: Vec<News>,
}

/// What the thread and the main loop have in common.
struct Shared {
    /// `None` when the user has too many already.
    inotify: Option<OwnedFd>,
    /// Readable when there is news.
    bell: OwnedFd,
    /// Readable when the thread is to look again at what it waits for.
    wake: OwnedFd,
    table: Mutex<Table>,
}

/// The files, each with its attachments; dropping it detaches.
pub(super) struct Files {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Its id.
    tid: i32,
    /// The thread ends when this is gone.
    alive: Option<mpsc::Sender<()>>,
}

impl Files {
    /// Begins to watch: nothing yet.
    pub(super) fn new() -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let shared = Arc::new(Shared {
            inotify: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok(),
            bell: eventfd(0, flags)?,
            wake: eventfd(0, flags)?,
            table: Mutex::default(),
        });
        let its = Arc::clone(&shared);
        let (alive, ended) = mpsc::channel();
        let (started, start) = mpsc::channel();
        let thread = Builder::new().name("files".to_owned()).spawn(move || {
            let bell = lease::Bell::new();
            let tid = rustix::thread::gettid().as_raw_nonzero().get();
            let _ = started.send(bell.as_ref().map(|_| tid).map_err(io::Error::kind));
            if let Ok(bell) = bell {
                its.watch(&bell, &ended);
            }
        })?;
        let tid = start.recv().map_err(io::Error::other)??;
        Ok(Self {
            shared,
            thread: Some(thread),
            tid,
            alive: Some(alive),
        })
    }

    /// From now on the file is watched, and nothing in it is attached to.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub(super) fn enter(&self, target: &Target) -> io::Result<Entered> {
        let mut attached = Attached {
            file: target.file.try_clone()?,
            path: target.path.clone(),
            key: target.key,
            links: Vec::new(),
            state: State::Attached,
            attaching: true,
            leased: false,
            watch: None,
        };
        // Under the lock: its first event finds it in the table.
        let mut table = self.shared.table();
        let watched = self.shared.watch_file(&attached.file);
        attached.watch = watched.as_ref().ok().copied();
        // This and another content of the same file. Before anything is
        // attached anew: of a place that is attached to, the kernel keeps the
        // instruction that was there.
        let mut stale = table.take(&target.identity);
        let is_new = |news: &News| !matches!(news, News::Changed(i) if *i == target.identity);
        table.news.retain(is_new);
        if let Some(watch) = attached.watch
            && let Some(before) = table.watches.insert(watch, target.identity.clone())
            && before != target.identity
        {
            stale.extend(table.take(&before));
            table.news.push(News::Changed(before));
        }
        detach(stale.into_iter());
        let entered = match (lease::take(&attached.file, self.tid), watched) {
            (Ok(()), _) => {
                attached.leased = true;
                Entered::Watched
            }
            (Err(error), _) if error.kind() == io::ErrorKind::WouldBlock => {
                attached.state = State::Changed;
                attached.attaching = false;
                Entered::Busy
            }
            (Err(_), Ok(_)) => Entered::Watched,
            (Err(_), Err(error)) => Entered::Unwatched(error),
        };
        table.files.insert(target.identity.clone(), attached);
        if table.files.len() == FEW {
            raise_limit();
        }
        ring(&self.shared.wake);
        Ok(entered)
    }

    /// A file that was entered has been looked into again since.
    pub(super) fn renew(&self, before: &FileIdentity, target: &Target) {
        let mut table = self.shared.table();
        let Some(mut attached) = table.files.remove(before) else {
            return;
        };
        attached.key = target.key;
        if let Some(watch) = attached.watch {
            table.watches.insert(watch, target.identity.clone());
        }
        table.files.insert(target.identity.clone(), attached);
    }

    /// As [`enter`](Self::enter), to attach to more of a file; `false` when
    /// nothing in it is attached to any more.
    pub(super) fn enter_again(&self, identity: &FileIdentity) -> bool {
        let mut table = self.shared.table();
        let attached = table.files.get_mut(identity);
        let Some(attached) = attached.filter(|file| file.state == State::Attached) else {
            return false;
        };
        attached.attaching = true;
        true
    }

    /// Keeps the attachments of a file that was entered; `false` when somebody
    /// writes to it by now, and all of them are gone.
    pub(super) fn keep(&self, identity: &FileIdentity, mut links: Vec<Link>) -> bool {
        let mut work = Work::default();
        let mut table = self.shared.table();
        if let Some(attached) = table.files.get_mut(identity) {
            attached.attaching = false;
            // Its time changes before its bytes do, and the event comes after.
            if attached.state == State::Attached && attached.is_same() {
                attached.links.append(&mut links);
                return true;
            }
            attached.change(identity, &mut work);
        }
        drop(table);
        work.links.append(&mut links);
        self.shared.finish(work);
        ring(&self.shared.wake);
        false
    }

    /// Forgets a file, and detaches from it.
    pub(super) fn remove(&self, identity: &FileIdentity) {
        let mut table = self.shared.table();
        let watch = table.files.get(identity).and_then(|file| file.watch);
        let links = table.take(identity);
        if let (Some(inotify), Some(watch)) = (&self.shared.inotify, watch) {
            table.watches.remove(&watch);
            let _ = inotify::remove_watch(inotify, watch);
        }
        drop(table);
        detach(links.into_iter());
    }

    /// Whether it is still so that a file was [written](News::Written).
    pub(super) fn is_written(&self, identity: &FileIdentity) -> bool {
        let table = self.shared.table();
        let state = table.files.get(identity).map(|file| file.state);
        state == Some(State::Written)
    }

    /// Detaches from files that are used no more, without waiting for it.
    pub(super) fn retire(&self, identities: &[FileIdentity]) {
        let mut old: Vec<Attached> = Vec::new();
        {
            let mut table = self.shared.table();
            for identity in identities {
                let Some(attached) = table.files.remove(identity) else {
                    continue;
                };
                if let (Some(inotify), Some(watch)) = (&self.shared.inotify, attached.watch) {
                    table.watches.remove(&watch);
                    let _ = inotify::remove_watch(inotify, watch);
                }
                old.push(attached);
            }
        }
        // Where no thread can be had, it is done here.
        let _ = Builder::new().name("retire".to_owned()).spawn(move || {
            for mut attached in old {
                detach(attached.links.drain(..));
                lease::release(&attached.file);
            }
        });
    }

    /// The files that are held at present, for another thread.
    pub(super) fn holdings(&self) -> Holdings {
        Holdings(Arc::clone(&self.shared))
    }

    /// What has become of files since the last call.
    pub(super) fn take_news(&self) -> Vec<News> {
        let mut count = [0; 8];
        // Nothing to be read: there may be news all the same.
        let _ = rustix::io::read(&self.shared.bell, &mut count);
        std::mem::take(&mut self.shared.table().news)
    }

    /// Takes all attachments: nothing can be entered any more.
    pub(super) fn take_links(&self) -> Vec<Link> {
        let mut table = self.shared.table();
        let files = table.files.values_mut();
        files
            .flat_map(|file| std::mem::take(&mut file.links))
            .collect()
    }
}

impl AsFd for Files {
    /// Readable when there is news.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.bell.as_fd()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        detach(self.take_links().into_iter());
        for file in self.shared.table().files.values() {
            lease::release(&file.file);
        }
        self.alive = None;
        ring(&self.shared.wake);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A way to what is held.
pub(super) struct Holdings(Arc<Shared>);

/// A file that is held.
pub(super) struct Held {
    pub(super) identity: FileIdentity,
    /// As the target had it.
    pub(super) path: String,
    /// Device and inode, as `stat` says.
    pub(super) device_inode: (u64, u64),
    /// How many names it has.
    pub(super) links: u64,
    /// Id of the mount that it was opened in.
    pub(super) mount: u64,
}

impl Holdings {
    /// All that are attached to.
    pub(super) fn list(&self) -> Vec<Held> {
        let table = self.0.table();
        let files = table.files.iter();
        files
            .filter(|(_, file)| !file.attaching)
            .filter_map(|(identity, file)| {
                let metadata = file.file.metadata().ok()?;
                Some(Held {
                    identity: identity.clone(),
                    path: file.path.clone(),
                    device_inode: (metadata.dev(), metadata.ino()),
                    links: metadata.nlink(),
                    mount: mount_of(&file.file)?,
                })
            })
            .collect()
    }
}

/// Id of the mount that a file was opened in.
fn mount_of(file: &File) -> Option<u64> {
    let name = format!("/proc/self/fdinfo/{}", file.as_raw_fd());
    let text = std::fs::read_to_string(name).ok()?;
    let id = text.lines().find_map(|line| line.strip_prefix("mnt_id:"))?;
    id.trim().parse().ok()
}

/// What the thread has to do at one time.
#[derive(Default)]
struct Work {
    links: Vec<Link>,
    /// Whose leases end when they are detached.
    leases: Vec<File>,
    news: Vec<News>,
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch_file(&self, file: &File) -> io::Result<i32> {
        let Some(inotify) = &self.inotify else {
            return Err(io::Error::other("there are too many inotify instances"));
        };
        // The kernel's link leads to the inode, wherever that is mounted, and
        // whether or not it has a name.
        let link = format!("/proc/self/fd/{}", file.as_raw_fd());
        let events = WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE;
        Ok(inotify::add_watch(inotify, link, events)?)
    }

    /// The thread: waits for writers.
    fn watch(&self, leases: &lease::Bell, ended: &mpsc::Receiver<()>) {
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let mut reader = self
            .inotify
            .as_ref()
            .map(|inotify| Reader::new(inotify, &mut buffer));
        while ended.try_recv() != Err(mpsc::TryRecvError::Disconnected) {
            let mut fds = vec![
                PollFd::new(&self.wake, PollFlags::IN),
                PollFd::new(leases, PollFlags::IN),
            ];
            if let Some(inotify) = &self.inotify {
                fds.push(PollFd::new(inotify, PollFlags::IN));
            }
            let now_and_then = self.table().files.values().any(Attached::is_untold);
            let _ = poll(&mut fds, now_and_then.then_some(&EVERY));
            let mut count = [0; 8];
            let _ = rustix::io::read(&self.wake, &mut count);
            let mut events = Vec::new();
            while let Some(Ok(event)) = reader.as_mut().map(Reader::next) {
                events.push((event.wd(), event.events()));
            }
            self.happened(leases.rang(), &events);
        }
    }

    fn happened(&self, awaited: bool, events: &[(i32, ReadFlags)]) {
        let mut work = Work::default();
        {
            let mut table = self.table();
            if awaited {
                table.let_go(&mut work);
            }
            for (watch, event) in events {
                table.happened(*watch, *event, &mut work);
            }
            let overflow = events
                .iter()
                .any(|(_, event)| event.contains(ReadFlags::QUEUE_OVERFLOW));
            if overflow || !awaited && events.is_empty() {
                table.look(overflow, &mut work);
            }
        }
        self.finish(work);
    }

    fn finish(&self, mut work: Work) {
        detach(work.links.into_iter());
        for file in &work.leases {
            lease::release(file);
        }
        // It is news when it is done: see `Files::enter`.
        if !work.news.is_empty() {
            self.table().news.append(&mut work.news);
            ring(&self.bell);
        }
    }
}

impl Table {
    /// Takes out a file, and its attachments.
    fn take(&mut self, identity: &FileIdentity) -> Vec<Link> {
        let Some(attached) = self.files.remove(identity) else {
            return Vec::new();
        };
        if attached.leased {
            lease::release(&attached.file);
        }
        attached.links
    }

    /// Those that somebody waits for.
    fn let_go(&mut self, work: &mut Work) {
        for (identity, attached) in &mut self.files {
            if attached.leased && lease::is_awaited(&attached.file) {
                attached.change(identity, work);
            }
        }
    }

    fn happened(&mut self, watch: i32, event: ReadFlags, work: &mut Work) {
        let Some(identity) = self.watches.get(&watch) else {
            return;
        };
        let Some(attached) = self.files.get_mut(identity) else {
            return;
        };
        let closed = event.contains(ReadFlags::CLOSE_WRITE);
        // Who writes through a mapping is heard of when the file is closed.
        if event.contains(ReadFlags::MODIFY) || closed && !attached.is_same() {
            attached.change(identity, work);
        }
        if closed && attached.state == State::Changed {
            attached.written(identity, work);
        }
    }

    /// Looks at files that nothing is told of.
    fn look(&mut self, all: bool, work: &mut Work) {
        for (identity, attached) in &mut self.files {
            if !all && !attached.is_untold() {
                continue;
            }
            if attached.state == State::Attached && !attached.is_same() {
                attached.change(identity, work);
            }
            // Who was to write may have been unable to, or only truncate it.
            let idle = attached.state == State::Changed && !attached.attaching;
            if idle && lease::take(&attached.file, 0).is_ok() {
                lease::release(&attached.file);
                attached.written(identity, work);
            }
        }
    }
}

impl Attached {
    fn is_same(&self) -> bool {
        self.key.is_content_of(&self.file)
    }

    fn is_untold(&self) -> bool {
        self.state == State::Changed || self.watch.is_none() && !self.leased
    }

    fn change(&mut self, identity: &FileIdentity, work: &mut Work) {
        if self.state == State::Attached {
            work.links.append(&mut self.links);
            work.news.push(News::Changed(identity.clone()));
        }
        if !self.attaching && std::mem::take(&mut self.leased) {
            work.leases.extend(self.file.try_clone());
        }
        self.state = State::Changed;
    }

    fn written(&mut self, identity: &FileIdentity, work: &mut Work) {
        let Ok(file) = self.file.try_clone() else {
            return;
        };
        self.state = State::Written;
        work.news.push(News::Written {
            identity: identity.clone(),
            file,
            path: self.path.clone(),
        });
    }
}

/// More files can be open. Not from the beginning: COMMAND would inherit it.
fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // Then what cannot be attached to is said.
    let _ = setrlimit(Resource::Nofile, raised);
}

fn ring(bell: &OwnedFd) {
    let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
}

/// Each detachment waits for the kernel's readers (20 ms and more), so all
/// wait at the same time.
pub(super) fn detach(links: impl Iterator<Item = Link>) {
    std::thread::scope(|scope| {
        for link in links {
            // Where no thread can be had, the closure and the link in it
            // are dropped here.
            let _ = Builder::new().spawn_scoped(scope, move || drop(link));
        }
    });
}
