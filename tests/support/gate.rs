//! A latch that the test opens: upstreams wait behind it instead of sleeping.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Longer than [`super::PATIENCE`], so that the test's own wait fails first and says why.
const AT_MOST: Duration = Duration::from_secs(180);

/// A latch, closed at first; clones are the same latch. Once open it stays open.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Lets everyone through, now and later.
    pub(crate) fn open(&self) {
        let (open, changed) = &*self.0;
        *open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
    }

    /// Returns once the gate is open.
    pub(crate) fn pass(&self) {
        self.pass_within(AT_MOST);
    }

    /// Returns once the gate is open, at the latest after `limit`: the delay of an upstream that
    /// is modelled as slow.
    pub(crate) fn pass_within(&self, limit: Duration) {
        let (open, changed) = &*self.0;
        let open = open.lock().unwrap_or_else(PoisonError::into_inner);
        drop(changed.wait_timeout_while(open, limit, |open| !*open));
    }
}
