//! The one mutex of the policy shells and the one way to lock it.
//!
//! Under `cfg(outrigger_loom)` it is loom's, so that models explore the real shells. (Not
//! `cfg(loom)`: that would rebuild tokio for loom as well.)

#[cfg(not(outrigger_loom))]
pub(crate) use std::sync::{Mutex, MutexGuard};

#[cfg(outrigger_loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard};

/// Locks `mutex`, also after a panic of another holder: what it guards are machines that cannot
/// panic half-way through a change.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
