//! The bytes that are held: counted, and their buffers used again.

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;

/// Buffers kept for the next pieces.
const MAX_SPARE: usize = 64;
/// A larger buffer is not kept.
const MAX_SPARE_BYTES: usize = 1 << 18;

/// Counts what is held.
#[derive(Debug, Default)]
pub(super) struct Store {
    held: Cell<u64>,
    spare: RefCell<Vec<Vec<u8>>>,
}

impl Store {
    /// Bytes that are held now.
    pub(super) fn held(&self) -> u64 {
        self.held.get()
    }

    /// Holds a copy of `bytes`.
    pub(super) fn keep(self: &Rc<Self>, bytes: &[u8]) -> Buffer {
        let mut own = self.spare.borrow_mut().pop().unwrap_or_default();
        own.extend_from_slice(bytes);
        self.held.set(self.held.get() + own.len() as u64);
        Buffer {
            bytes: own,
            skip: 0,
            store: Rc::clone(self),
        }
    }
}

/// Bytes that are held as long as it lives.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    skip: usize,
    store: Rc<Store>,
}

impl Buffer {
    /// Drops the first bytes.
    pub(super) fn advance(&mut self, count: u64) {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        self.skip = self.skip.saturating_add(count).min(self.bytes.len());
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(self.skip..).unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        let held = self.store.held.get();
        self.store.held.set(held.saturating_sub(bytes.len() as u64));
        if let Ok(mut spare) = self.store.spare.try_borrow_mut()
            && spare.len() < MAX_SPARE
            && bytes.capacity() <= MAX_SPARE_BYTES
        {
            bytes.clear();
            spare.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_no_longer_held() {
        let store = Rc::new(Store::default());
        let mut a = store.keep(b"hello");
        let b = store.keep(b"world!");
        assert_eq!(store.held(), 11);
        a.advance(2);
        assert_eq!(&*a, b"llo");
        a.advance(100);
        assert_eq!(&*a, b"");
        drop(a);
        assert_eq!(store.held(), 6);
        drop(b);
        assert_eq!(store.held(), 0);
        assert_eq!(&*store.keep(b"x"), b"x");
    }
}
