//! Which tests may run beside others: most choose what they watch by process
//! and do not mind; those that use a fixed port or measure a time run alone.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static LOCK: RwLock<()> = RwLock::new(());

/// Held by a test that others may run beside.
pub(crate) fn shared() -> RwLockReadGuard<'static, ()> {
    // A test that failed has poisoned nothing: there is no data.
    LOCK.read().unwrap_or_else(PoisonError::into_inner)
}

/// Held by a test that must run alone.
pub(crate) fn alone() -> RwLockWriteGuard<'static, ()> {
    LOCK.write().unwrap_or_else(PoisonError::into_inner)
}
