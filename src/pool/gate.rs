//! A request body that waits to be asked for: `Expect: 100-continue` from end to end.
//!
//! The caller is told to go on when its body is first polled. So the body is not polled before the
//! upstream said 100 (RFC 9110 §10.1.1); what else opens the gate is the attempt's to decide, but
//! for a body that comes unasked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};

use crate::sync::{Mutex, lock};

/// Whether a body may pass. Clones are one gate.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    open: AtomicBool,
    /// Those who wait: whoever sends the body, and a stream that passes the word on.
    waiting: Mutex<Vec<Waker>>,
}

impl Gate {
    /// Whether the body may pass.
    pub fn is_open(&self) -> bool {
        self.0.open.load(Relaxed)
    }

    /// Lets the body pass, for good.
    pub fn open(&self) {
        let waiting = {
            let mut waiting = lock(&self.0.waiting);
            self.0.open.store(true, Relaxed);
            std::mem::take(&mut *waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Waits until the body may pass.
    pub fn poll_open(&self, cx: &Context<'_>) -> Poll<()> {
        if self.is_open() {
            return Poll::Ready(());
        }
        let mut waiting = lock(&self.0.waiting);
        // Opened under the lock: whoever is in the list by then is woken.
        if self.is_open() {
            return Poll::Ready(());
        }
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn all_who_wait_are_woken_once_and_it_stays_open() {
        let (gate, counted) = (Gate::default(), Arc::new(Counted::default()));
        let waker = Waker::from(Arc::clone(&counted));
        let cx = Context::from_waker(&waker);
        assert!(gate.poll_open(&cx).is_pending() && gate.poll_open(&cx).is_pending());
        gate.open();
        assert_eq!(counted.0.load(Relaxed), 1);
        assert!(gate.poll_open(&cx).is_ready() && gate.is_open());
    }
}
