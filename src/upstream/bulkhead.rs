//! The bulkhead that requests share: [`Machine`] behind one short lock, with a guard for a slot
//! and a future for a place in the queue.
//!
//! Everything about a waiter is decided under that lock. A grant takes it out of the queue, so
//! whoever waits and is no longer in the queue owns a slot: there is no message that could cross
//! a departure. Wakers run, and are dropped, after the lock is released; so are slots.
//!
//! The limit in force is the smaller one of `max_requests` and what the adaptive policy says, and
//! shares of classes are shares of that. There is no timer here: the caller races [`Waiting`] with
//! its own.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::view::ClassView;
use crate::config::model::{self, Mode, Priority};
use crate::resilience::bulkhead::{self, Machine, Order, WaiterId, Would};
use crate::sync::{Mutex, lock};

/// Bounds the requests in flight to one upstream, process-wide.
#[derive(Debug)]
pub struct Bulkhead {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    max_requests: usize,
    max_queued: usize,
    adaptive: Option<usize>,
    machine: Machine<Option<Waker>>,
    would_have: WouldHave,
    /// Those that the machine keeps; empty where it has a single one without a name.
    classes: Vec<Class>,
}

#[derive(Debug)]
struct Class {
    name: Arc<str>,
    rejected: u64,
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
    Full {
        /// `max_requests` alone would have had a slot free.
        adaptive: bool,
    },
}

impl Bulkhead {
    /// Makes a bulkhead of `max_requests` slots and a queue of `max_queued` places, shared by the
    /// classes of `priority` unless that is off.
    pub fn new(
        mode: Mode,
        max_requests: usize,
        max_queued: usize,
        priority: Option<&Priority>,
    ) -> Self {
        let priority = priority.filter(|priority| priority.mode != Mode::Off);
        let classes = priority.map_or(&[][..], |priority| &priority.classes);
        let shares: Vec<u32> = classes.iter().map(|class| class.share).collect();
        let mut machine = Machine::new(max_requests, max_queued, &shares);
        if priority.is_some_and(|priority| priority.mode == Mode::Observe) {
            machine.set_order(Order::Arrival);
        }
        let class = |class: &model::Class| Class {
            name: Arc::clone(&class.name),
            rejected: 0,
        };
        Self {
            state: Mutex::new(State {
                mode,
                max_requests,
                max_queued,
                adaptive: None,
                machine,
                would_have: WouldHave::default(),
                classes: classes.iter().map(class).collect(),
            }),
        }
    }

    /// Takes a slot or a place in the queue for a request of `class`, without waiting. A class that
    /// there is not is the first one.
    ///
    /// Always a slot unless the mode is [`Mode::Enforce`].
    pub fn enter(self: &Arc<Self>, class: usize) -> Entry {
        let mut state = lock(&self.state);
        let entry = match state.mode {
            Mode::Enforce => state.machine.enter(class, None),
            Mode::Observe => {
                match state.machine.enter_anyway(class) {
                    Would::Grant => {}
                    Would::Queue => state.would_have.queued += 1,
                    Would::Refuse => state.would_have.refused += 1,
                }
                bulkhead::Entry::Granted
            }
            Mode::Off => {
                state.machine.enter_anyway(class);
                bulkhead::Entry::Granted
            }
        };
        if entry == bulkhead::Entry::Full {
            return state.refuse(class);
        }
        drop(state);
        match entry {
            bulkhead::Entry::Queued(id) => Entry::Wait(Waiting {
                bulkhead: Some(Arc::clone(self)),
                id,
            }),
            _ => Entry::Slot(self.slot(class)),
        }
    }

    /// Takes a slot if one is free that nobody waits for; a refusal is not counted as one.
    ///
    /// Always a slot unless the mode is [`Mode::Enforce`].
    pub fn enter_now(self: &Arc<Self>, class: usize) -> Option<Slot> {
        let mut state = lock(&self.state);
        let granted = match state.mode {
            Mode::Enforce => state.machine.enter_now(class),
            Mode::Observe | Mode::Off => {
                state.machine.enter_anyway(class);
                true
            }
        };
        drop(state);
        granted.then(|| self.slot(class))
    }

    /// Says what the adaptive policy allows from now on; `None` where there is none in force.
    ///
    /// Nobody is thrown out by less, and waiters get their slots by more. It acts only while the
    /// mode is [`Mode::Enforce`], like `max_requests`.
    pub fn adapt(&self, limit: Option<usize>) {
        let mut state = lock(&self.state);
        if state.adaptive == limit {
            return;
        }
        state.adaptive = limit;
        let woken = state.resize();
        drop(state);
        wake(woken);
    }

    /// Changes mode and bounds at once. Nobody in flight or in the queue is thrown out; waiters
    /// for whom there is room now, or who need not wait in the new mode, get their slots.
    pub fn reconfigure(&self, mode: Mode, max_requests: usize, max_queued: usize) {
        let mut state = lock(&self.state);
        state.mode = mode;
        state.max_requests = max_requests;
        state.max_queued = max_queued;
        let mut woken = match mode {
            Mode::Enforce => Vec::new(),
            Mode::Observe | Mode::Off => state.machine.admit_all(),
        };
        woken.extend(state.resize());
        drop(state);
        wake(woken);
    }

    /// Slots in use and waiters in the queue, of one instant.
    pub fn view(&self) -> (usize, usize) {
        let state = lock(&self.state);
        (state.machine.in_use(), state.machine.queued())
    }

    /// Whether a slot is free and nobody waits for one.
    pub fn has_room(&self) -> bool {
        let state = lock(&self.state);
        let machine = &state.machine;
        state.mode != Mode::Enforce || (machine.in_use() < machine.limit() && machine.queued() == 0)
    }

    /// Slots in use.
    pub fn in_flight(&self) -> usize {
        lock(&self.state).machine.in_use()
    }

    /// The limit in force: `max_requests`, or what the adaptive policy says if that is less.
    pub fn effective_limit(&self) -> usize {
        lock(&self.state).machine.limit()
    }

    /// How the classes stand, in the order of the file; none where there are no classes.
    pub fn classes(&self) -> Vec<ClassView> {
        let state = lock(&self.state);
        let standings = state.machine.classes();
        let view = |(class, standing): (&Class, bulkhead::Standing)| ClassView {
            name: Arc::clone(&class.name),
            reserved: standing.reserved,
            in_flight: standing.in_use,
            queued: standing.queued,
            rejected: class.rejected,
        };
        state.classes.iter().zip(standings).map(view).collect()
    }

    /// Slots granted so far in order of arrival that shares, merely observed, would have given to
    /// another.
    pub fn would_reorder(&self) -> u64 {
        lock(&self.state).machine.would_reorder()
    }

    /// What enforcement would have done so far.
    pub fn would_have(&self) -> WouldHave {
        lock(&self.state).would_have
    }

    fn slot(self: &Arc<Self>, class: usize) -> Slot {
        Slot {
            bulkhead: Arc::clone(self),
            class,
        }
    }

    fn leave(&self, class: usize) {
        let next = lock(&self.state).machine.leave(class);
        wake(next);
    }
}

impl State {
    fn resize(&mut self) -> Vec<(WaiterId, Option<Waker>)> {
        // A limit of zero would never learn that it is too low.
        let adaptive = self.adaptive.map_or(usize::MAX, |limit| limit.max(1));
        let limit = self.max_requests.min(adaptive);
        self.machine.resize(limit, self.max_queued)
    }

    fn refuse(&mut self, class: usize) -> Entry {
        let class = if class < self.classes.len() { class } else { 0 };
        if let Some(class) = self.classes.get_mut(class) {
            class.rejected += 1;
        }
        Entry::Full {
            adaptive: self.machine.in_use() < self.max_requests,
        }
    }
}

/// The right to be in flight; dropping it passes the slot to the next waiter.
#[must_use = "a dropped slot is given back at once"]
#[derive(Debug)]
pub struct Slot {
    bulkhead: Arc<Bulkhead>,
    class: usize,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.bulkhead.leave(self.class);
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
            Some(bulkhead) => Poll::Ready(Slot {
                bulkhead,
                class: self.id.class(),
            }),
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
            bulkhead.leave(self.id.class());
        }
    }
}

/// Wakes those that have been polled, after the lock is released.
fn wake(granted: impl IntoIterator<Item = (WaiterId, Option<Waker>)>) {
    for waker in granted.into_iter().filter_map(|(_, waker)| waker) {
        waker.wake();
    }
}

#[cfg(test)]
#[cfg(not(outrigger_loom))]
mod tests;

#[cfg(test)]
#[cfg(outrigger_loom)]
mod models;
