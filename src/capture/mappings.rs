//! Files as processes map them to execute them: the moment a program loads a
//! library, whether at its start or by dlopen.
//!
//! A perf event that counts nothing tells of every executable mapping on a
//! CPU, with device, inode and path (perf_event_open(2), PERF_RECORD_MMAP2). It costs nothing unless somebody maps. Where the kernel
//! refuses it, libraries are found when their process is seen to speak TLS.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use rustix::event::epoll;

use super::perf::Attributes;
use crate::tls::maps::{Mapping, device};

/// Pages of one CPU's ring: room for some 500 mappings.
const PAGES: usize = 16;
/// The record of a mapping, and that of records that found no room.
const RECORD_LOST: u32 = 2;
const RECORD_MMAP2: u32 = 10;
/// Where the kernel's page says what is in the ring (`struct
/// perf_event_mmap_page`).
const DATA_HEAD: usize = 1024;
const DATA_TAIL: usize = 1032;

const TYPE_SOFTWARE: u32 = 1;
const COUNT_DUMMY: u64 = 9;
const FLAG_MMAP: u64 = 1 << 8;
const FLAG_WATERMARK: u64 = 1 << 14;
const FLAG_MMAP2: u64 = 1 << 23;

/// An executable mapping that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapped {
    /// Whose, in the pid namespace of httpsniff.
    pub(super) pid: u32,
    /// Tells uses of one inode number apart; 0 where the file system does not.
    pub(super) generation: u64,
    pub(super) mapping: Mapping<'static>,
}

/// The events of all CPUs.
pub(super) struct Mappings {
    rings: Vec<Ring>,
    epoll: OwnedFd,
}

impl Mappings {
    /// Begins to listen.
    pub(super) fn open() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut rings = Vec::new();
        for cpu in online() {
            let ring = Ring::open(cpu)?;
            epoll::add(
                &epoll,
                &ring.event,
                epoll::EventData::new_u64(0),
                epoll::EventFlags::IN,
            )?;
            rings.push(ring);
        }
        Ok(Self { rings, epoll })
    }

    /// Hands out what was mapped since the last call. Whether that is all:
    /// `false` when some found no room.
    pub(super) fn take(&mut self, mut handle: impl FnMut(Mapped)) -> bool {
        let mut complete = true;
        for ring in &mut self.rings {
            let bytes = ring.take();
            let mut rest = bytes.as_slice();
            while let Some((record, after)) = next(rest) {
                rest = after;
                match record {
                    Record::Mapped(mapped) => handle(mapped),
                    Record::Lost => complete = false,
                    Record::Other => {}
                }
            }
        }
        complete
    }
}

impl AsFd for Mappings {
    /// Readable when something was mapped.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// The ring of one CPU.
struct Ring {
    /// The kernel's page, then the data.
    memory: NonNull<u8>,
    page: usize,
    event: OwnedFd,
}

impl Ring {
    fn open(cpu: i32) -> io::Result<Self> {
        let attributes = Attributes {
            kind: TYPE_SOFTWARE,
            config: COUNT_DUMMY,
            flags: FLAG_MMAP | FLAG_MMAP2 | FLAG_WATERMARK,
            // Bytes: each record wakes.
            wakeup_watermark: 1,
            ..Attributes::default()
        };
        let event = attributes.open(cpu)?;
        // SAFETY: takes a number and gives one.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
        // SAFETY: a new mapping at an address of the kernel's choice.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                page * (1 + PAGES),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                event.as_raw_fd(),
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(memory.cast()).ok_or_else(io::Error::last_os_error)?;
        Ok(Self {
            memory,
            page,
            event,
        })
    }

    /// Takes out all bytes that are in the ring.
    fn take(&mut self) -> Vec<u8> {
        let size = self.page * PAGES;
        // SAFETY: both lie in the first page of the mapping, which lives as
        // long as `self`, are aligned, and are shared with the kernel only.
        let (head, tail) = unsafe {
            (
                AtomicU64::from_ptr(self.memory.as_ptr().add(DATA_HEAD).cast()),
                AtomicU64::from_ptr(self.memory.as_ptr().add(DATA_TAIL).cast()),
            )
        };
        let (from, to) = (tail.load(Ordering::Relaxed), head.load(Ordering::Acquire));
        let length = usize::try_from(to.wrapping_sub(from))
            .unwrap_or(0)
            .min(size);
        let mut bytes = Vec::with_capacity(length);
        let start = (from % size as u64) as usize;
        let first = length.min(size - start);
        for (offset, count) in [(start, first), (0, length - first)] {
            // SAFETY: the range lies in the data pages (start + first ≤ size),
            // and the kernel does not write before the head to the tail.
            let part = unsafe {
                std::slice::from_raw_parts(self.memory.as_ptr().add(self.page + offset), count)
            };
            bytes.extend_from_slice(part);
        }
        fence(Ordering::SeqCst);
        tail.store(to, Ordering::Release);
        bytes
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: what `open` mapped, and nothing points into it any more.
        unsafe {
            libc::munmap(self.memory.as_ptr().cast(), self.page * (1 + PAGES));
        }
    }
}

/// A record of the ring.
#[derive(Debug, PartialEq, Eq)]
enum Record {
    Mapped(Mapped),
    Lost,
    Other,
}

/// The first record, and what follows it. `None` at the end.
fn next(bytes: &[u8]) -> Option<(Record, &[u8])> {
    let kind = word(bytes, 0)?;
    let size = usize::from(u16::from_ne_bytes(bytes.get(6..8)?.try_into().ok()?));
    let (record, rest) = bytes.split_at_checked(size.max(8))?;
    let record = match kind {
        RECORD_MMAP2 => mapped(record).map_or(Record::Other, Record::Mapped),
        RECORD_LOST => Record::Lost,
        _ => Record::Other,
    };
    Some((record, rest))
}

/// Header (8 bytes), pid, tid, address, length, offset in the file, major,
/// minor, inode, its generation, protection, flags, path.
fn mapped(record: &[u8]) -> Option<Mapped> {
    let path = record.get(72..)?;
    let path = path.get(..memchr::memchr(0, path)?)?;
    let inode = long(record, 48)?;
    // `[vdso]`, `//anon`, `/memfd:x`, `anon_inode:[x]`.
    if inode == 0 || path.first() != Some(&b'/') || path.starts_with(b"//") {
        return None;
    }
    let address = long(record, 16)?;
    let (path, deleted) = match path.strip_suffix(b" (deleted)") {
        Some(path) => (path, true),
        None => (path, false),
    };
    Some(Mapped {
        pid: word(record, 8)?,
        generation: long(record, 56)?,
        mapping: Mapping {
            range: (address, address.wrapping_add(long(record, 24)?)),
            device: device(word(record, 40)?, word(record, 44)?),
            inode,
            path: path.to_vec().into(),
            deleted,
        },
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// The CPUs that run.
fn online() -> Vec<i32> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let cpus = ranges(&text);
    if cpus.is_empty() { vec![0] } else { cpus }
}

/// `0-3,5`.
fn ranges(text: &str) -> Vec<i32> {
    text.trim()
        .split(',')
        .filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some(first.parse().ok()?..=last.parse::<i32>().ok()?.min(8191))
        })
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u32, path: &str) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend(7_u32.to_ne_bytes());
        body.extend(8_u32.to_ne_bytes());
        for value in [0x1000_u64, 0x2000, 0] {
            body.extend(value.to_ne_bytes());
        }
        body.extend(8_u32.to_ne_bytes());
        body.extend(1_u32.to_ne_bytes());
        body.extend(77_u64.to_ne_bytes());
        body.extend(5_u64.to_ne_bytes());
        body.extend([0; 8]);
        body.extend(path.as_bytes());
        body.resize((body.len() + 8) & !7, 0);
        let mut record = kind.to_ne_bytes().to_vec();
        record.extend([0, 0]);
        record.extend(u16::try_from(body.len() + 8).unwrap().to_ne_bytes());
        record.extend(body);
        record
    }

    #[test]
    fn mappings_of_files_are_read_and_nothing_else() {
        let bytes = [
            record(RECORD_MMAP2, "/lib/libssl.so.3"),
            record(RECORD_MMAP2, "//anon"),
            record(RECORD_LOST, ""),
            record(RECORD_MMAP2, "/tmp/x (deleted)"),
        ]
        .concat();
        let (mut rest, mut seen) = (bytes.as_slice(), Vec::new());
        while let Some((record, after)) = next(rest) {
            rest = after;
            seen.push(record);
        }
        let [
            Record::Mapped(first),
            Record::Other,
            Record::Lost,
            Record::Mapped(last),
        ] = &seen[..]
        else {
            panic!("{seen:?}");
        };
        assert_eq!((first.pid, first.generation), (7, 5));
        assert_eq!(first.mapping.path.as_ref(), b"/lib/libssl.so.3");
        assert_eq!(first.mapping.range, (0x1000, 0x3000));
        assert_eq!(first.mapping.device, 8 << 32 | 1);
        assert_eq!(first.mapping.inode, 77);
        assert!(last.mapping.deleted);
        for cut in 0..bytes.len() {
            let mut rest = &bytes[..cut];
            while let Some((_, after)) = next(rest) {
                rest = after;
            }
        }
    }

    #[test]
    fn lists_of_cpus_are_read() {
        assert_eq!(ranges("0-3,5\n"), [0, 1, 2, 3, 5]);
        assert_eq!(ranges("0\n"), [0]);
        assert!(ranges("").is_empty());
    }
}
