//! The bulkhead that requests share: [`Machine`] behind one short lock, with a guard for a slot
//! and a future for a place in the queue.
//!
//! Everything about a waiter is decided under that lock. A grant takes it out of the queue, so
//! whoever waits and is no longer in the queue owns a slot: there is no message that could cross
//! a departure. Wakers run, and are dropped, after the lock is released; so are slots.
//!
//! There is no timer here: the caller races [`Waiting`] with its own.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::config::model::Mode;
use crate::resilience::bulkhead::{self, Machine, WaiterId, Would};
use crate::sync::{Mutex, lock};

/// Bounds the requests in flight to one upstream, process-wide.
#[derive(Debug)]
pub struct Bulkhead {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    machine: Machine<Option<Waker>>,
    would_have: WouldHave,
}

/// What enforcement would have done, counted since the start while in observe mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WouldHave {
    /// Requests that would have waited in the queue.
    pub queued: u64,
    /// Requests that would have been refused.
    pub refused: u64,
}

/// What came of an attempt to enter.
#[derive(Debug)]
pub enum Entry {
    /// A slot at once.
    Slot(Slot),
    /// A place in the queue.
    Wait(Waiting),
    /// Neither: refuse the request.
    Full,
}

impl Bulkhead {
    /// Makes a bulkhead of `limit` slots and a queue of `max_queued` places.
    pub fn new(mode: Mode, limit: usize, max_queued: usize) -> Self {
        Self {
            state: Mutex::new(State {
                mode,
                machine: Machine::new(limit, max_queued),
                would_have: WouldHave::default(),
            }),
        }
    }

    /// Takes a slot or a place in the queue, without waiting.
    ///
    /// Always a slot unless the mode is [`Mode::Enforce`].
    pub fn enter(self: &Arc<Self>) -> Entry {
        let mut state = lock(&self.state);
        let entry = match state.mode {
            Mode::Enforce => state.machine.enter(None),
            Mode::Observe => {
                match state.machine.enter_anyway() {
                    Would::Grant => {}
                    Would::Queue => state.would_have.queued += 1,
                    Would::Refuse => state.would_have.refused += 1,
                }
                bulkhead::Entry::Granted
            }
            Mode::Off => {
                state.machine.enter_anyway();
                bulkhead::Entry::Granted
            }
        };
        drop(state);
        match entry {
            bulkhead::Entry::Granted => Entry::Slot(Slot(Arc::clone(self))),
            bulkhead::Entry::Queued(id) => Entry::Wait(Waiting {
                bulkhead: Some(Arc::clone(self)),
                id,
            }),
            bulkhead::Entry::Full => Entry::Full,
        }
    }

    /// Changes mode and bounds at once. Nobody in flight or in the queue is thrown out; waiters
    /// for whom there is room now, or who need not wait in the new mode, get their slots.
    pub fn reconfigure(&self, mode: Mode, limit: usize, max_queued: usize) {
        let mut state = lock(&self.state);
        state.mode = mode;
        let woken = if mode == Mode::Enforce {
            state.machine.resize(limit, max_queued)
        } else {
            let all = state.machine.resize(usize::MAX, max_queued);
            state.machine.resize(limit, max_queued);
            all
        };
        drop(state);
        for (_, waker) in woken {
            wake(waker);
        }
    }

    /// Slots in use and waiters in the queue, of one instant.
    pub fn view(&self) -> (usize, usize) {
        let state = lock(&self.state);
        (state.machine.in_use(), state.machine.queued())
    }

    /// What enforcement would have done so far.
    pub fn would_have(&self) -> WouldHave {
        lock(&self.state).would_have
    }

    fn leave(&self) {
        let next = lock(&self.state).machine.leave();
        if let Some((_, waker)) = next {
            wake(waker);
        }
    }
}

/// The right to be in flight; dropping it passes the slot to the oldest waiter.
#[must_use = "a dropped slot is given back at once"]
#[derive(Debug)]
pub struct Slot(Arc<Bulkhead>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// A place in the queue: a future of the slot.
///
/// # Cancel safety
///
/// Dropping it leaves the queue at once, and passes on a slot that it was granted meanwhile.
/// Polled again after it was ready, it stays pending.
#[must_use = "a dropped place in the queue is lost"]
#[derive(Debug)]
pub struct Waiting {
    /// `None` once the slot was taken.
    bulkhead: Option<Arc<Bulkhead>>,
    id: WaiterId,
}

impl Future for Waiting {
    type Output = Slot;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Slot> {
        let Some(bulkhead) = &self.bulkhead else {
            return Poll::Pending;
        };
        let mut state = lock(&bulkhead.state);
        if let Some(waker) = state.machine.waiter_mut(self.id) {
            let stale = match waker {
                Some(known) if known.will_wake(cx.waker()) => None,
                _ => waker.replace(cx.waker().clone()),
            };
            drop(state);
            drop(stale);
            return Poll::Pending;
        }
        drop(state);
        match self.bulkhead.take() {
            Some(bulkhead) => Poll::Ready(Slot(bulkhead)),
            None => Poll::Pending,
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(bulkhead) = &self.bulkhead else {
            return;
        };
        let cancelled = lock(&bulkhead.state).machine.cancel(self.id);
        if cancelled.is_none() {
            // It was granted a slot that it will not use.
            bulkhead.leave();
        }
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
#[cfg(not(outrigger_loom))]
mod tests;

#[cfg(test)]
#[cfg(outrigger_loom)]
mod models;
