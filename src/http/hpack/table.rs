//! The dynamic table (RFC 7541 2.3.2, 4), as far back as it is known.
//!
//! It holds the newest entries, that is a suffix of what the encoder has, one
//! byte after the other in one buffer. Where the encoder's limit or an entry's
//! size is not known, more is kept than the encoder has: what it has evicted
//! it does not index, and older entries do not move the newer ones' indices.

use std::collections::VecDeque;

/// Most that a table holds: bytes of names and values and 32 for each entry
/// (RFC 7541 4.1). What browsers announce, and 16 times the default; entries
/// that an encoder has beyond that are unknown.
pub const TABLE_LIMIT: u32 = 64 << 10;

/// Size of an entry without its name and value (RFC 7541 4.1).
const OVERHEAD: u32 = 32;

/// `SETTINGS_HEADER_TABLE_SIZE` until another is announced (RFC 9113 6.5.2).
const DEFAULT_CAPACITY: u32 = 4096;

/// Most bytes of the buffer: the entries, and as much that is evicted or new.
const BUFFER_LIMIT: usize = 2 * TABLE_LIMIT as usize;

/// How much of an entry is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// All.
    All,
    /// The value; the name is a placeholder.
    Value,
    /// Nothing: it was larger than [`TABLE_LIMIT`].
    Nothing,
}

/// One entry; its name and value are in the table's buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Where the name begins: bytes since the first ever, modulo 2^32.
    at: u32,
    name: u32,
    value: u32,
    /// The encoder's size of it; if the name is not known, the least.
    size: u32,
    pub(super) known: Known,
}

impl Entry {
    /// What it counts here.
    fn held(&self) -> u32 {
        OVERHEAD + self.name + self.value
    }
}

/// The entries that can be indexed.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// The oldest first.
    entries: VecDeque<Entry>,
    bytes: Vec<u8>,
    /// Where `bytes` begins, modulo 2^32.
    base: u32,
    /// The encoder's limit or more; `u32::MAX` if nothing is known of it.
    capacity: u32,
    /// Sum of the entries' sizes for the encoder.
    size: u64,
    /// Sum of what they count here, at most [`TABLE_LIMIT`].
    held: u32,
    /// The encoder has no entry that is not here.
    complete: bool,
}

impl Table {
    /// A table that is empty, or of which nothing is known.
    pub(super) fn new(empty: bool) -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: Vec::new(),
            base: 0,
            capacity: if empty { DEFAULT_CAPACITY } else { u32::MAX },
            size: 0,
            held: 0,
            complete: empty,
        }
    }

    /// Forgets everything, the encoder's limit too.
    pub(super) fn forget(&mut self) {
        *self = Self::new(false);
    }

    /// The encoder may have up to `capacity` from now on, but has not said
    /// that it has. What is lower counts when it says so.
    pub(super) fn allow(&mut self, capacity: u32) {
        self.capacity = self.capacity.max(capacity);
    }

    /// The encoder says that it has up to `capacity` (RFC 7541 6.3).
    pub(super) fn resize(&mut self, capacity: u32) {
        self.capacity = capacity;
        self.evict();
    }

    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// The entry `index`, the newest having 0.
    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<Entry> {
        let place = self.entries.len().checked_sub(index)?.checked_sub(1)?;
        self.entries.get(place).copied()
    }

    /// Whether the encoder may have an entry `index` that is not here.
    pub(super) fn may_have(&self, index: usize) -> bool {
        let most = usize::try_from(self.capacity / OVERHEAD).unwrap_or(usize::MAX);
        !self.complete && index < most
    }

    /// Where the buffer ends, as an entry's beginning.
    fn end(&self) -> u32 {
        self.base.wrapping_add(self.bytes.len() as u32)
    }

    #[inline]
    fn place(&self, at: u32) -> usize {
        at.wrapping_sub(self.base) as usize
    }

    /// Name of an entry.
    #[inline]
    pub(super) fn name(&self, entry: Entry) -> &[u8] {
        let at = self.place(entry.at);
        let end = at + entry.name as usize;
        self.bytes.get(at..end).unwrap_or_default()
    }

    /// Name and value of an entry.
    #[inline]
    pub(super) fn field(&self, entry: Entry) -> (&[u8], &[u8]) {
        let at = self.place(entry.at);
        let end = at + entry.name as usize + entry.value as usize;
        let both = self.bytes.get(at..end).unwrap_or_default();
        both.split_at_checked(entry.name as usize)
            .unwrap_or_default()
    }

    /// Inserts a new entry (RFC 7541 4.4).
    #[inline]
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8], known: Known) {
        if let Some(at) = self.room(name.len(), value.len(), known) {
            self.bytes.extend_from_slice(name);
            self.bytes.extend_from_slice(value);
            self.add(at, name.len(), value.len(), known);
        }
    }

    /// Inserts a new entry with the name of an older one.
    pub(super) fn insert_again(&mut self, older: Entry, value: &[u8]) {
        let length = older.name as usize;
        if let Some(at) = self.room(length, value.len(), older.known) {
            let from = self.place(older.at);
            // It is there: only what is no entry any more was removed.
            if from + length <= self.bytes.len() {
                self.bytes.extend_from_within(from..from + length);
            }
            self.bytes.extend_from_slice(value);
            self.add(at, length, value.len(), older.known);
        }
    }

    /// The encoder's size of an entry, or the least that it can be.
    fn size_of(name: usize, value: usize, known: Known) -> u64 {
        let name = if known == Known::Value { 0 } else { name };
        u64::from(OVERHEAD) + name as u64 + value as u64
    }

    /// Makes room for the bytes of a new entry and says where they begin;
    /// `None` if they are not to be kept. An entry that is too large for the
    /// encoder's table empties it; one that is too large only for this table
    /// still counts in the indices.
    #[inline]
    fn room(&mut self, name: usize, value: usize, known: Known) -> Option<u32> {
        let size = Self::size_of(name, value, known);
        if size > u64::from(self.capacity) {
            self.clear();
            return None;
        }
        let held = u64::from(OVERHEAD) + name as u64 + value as u64;
        if held > u64::from(TABLE_LIMIT) {
            self.add_unknown(size);
            return None;
        }
        if self.bytes.len() + name + value > self.bytes.capacity() {
            self.compact(name + value);
        }
        Some(self.end())
    }

    /// Adds an entry that is too large to be kept.
    #[cold]
    fn add_unknown(&mut self, size: u64) {
        self.clear();
        self.complete = false;
        self.entries.push_back(Entry {
            at: self.end(),
            name: 0,
            value: 0,
            size: u32::try_from(size).unwrap_or(u32::MAX),
            known: Known::Nothing,
        });
        self.size = size;
        self.held = OVERHEAD;
    }

    #[inline]
    fn add(&mut self, at: u32, name: usize, value: usize, known: Known) {
        let size = Self::size_of(name, value, known);
        let entry = Entry {
            at,
            name: name as u32,
            value: value as u32,
            size: size as u32,
            known,
        };
        self.size += size;
        self.held += entry.held();
        self.evict();
        self.entries.push_back(entry);
    }

    /// Evicts what the encoder has evicted, and what is too much here.
    fn evict(&mut self) {
        while self.size > u64::from(self.capacity) || self.held > TABLE_LIMIT {
            if self.size <= u64::from(self.capacity) {
                self.complete = false;
            }
            let Some(entry) = self.entries.pop_front() else {
                return;
            };
            self.size -= u64::from(entry.size);
            self.held -= entry.held();
        }
    }

    /// Evicts all.
    fn clear(&mut self) {
        self.entries.clear();
        self.size = 0;
        self.held = 0;
    }

    /// Makes room for `more` bytes, by removing those of evicted entries or,
    /// where that would be much work for little, by growing.
    #[cold]
    fn compact(&mut self, more: usize) {
        let end = self.bytes.len();
        let dead = self.entries.front().map_or(end, |e| self.place(e.at));
        if dead > end / 4 || end + more > BUFFER_LIMIT {
            self.bytes.drain(..dead.min(end));
            self.base = self.base.wrapping_add(dead as u32);
        }
        let needed = self.bytes.len() + more;
        if needed > self.bytes.capacity() {
            let doubled = (2 * self.bytes.capacity()).clamp(256, BUFFER_LIMIT);
            let size = needed.max(doubled);
            self.bytes.reserve_exact(size - self.bytes.len());
        }
    }
}
