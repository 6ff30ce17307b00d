//! Bounded concurrency with a bounded FIFO queue.
//!
//! It protects the caller from an upstream that is slow rather than broken: no more than so many
//! requests are stuck in it at once, a few more wait for a short time, the rest are refused at
//! once.
//!
//! | event | a slot is free | all slots taken | queue full as well |
//! |---|---|---|---|
//! | enter | granted | queued | refused |
//! | leave | | the slot passes to the oldest waiter | same |
//!
//! Invariants: waiters exist only while no slot is free (a slot is handed on, never put back for
//! a newcomer to grab), and in-flight exceeds the limit only after it was lowered or where a
//! policy that merely observes let it through.
//!
//! The machine keeps no time: how long somebody waits is the business of the one who waits.
//! Settings: `max_requests` and `max_queued` of the `bulkhead` table.

use std::collections::BTreeMap;

/// Names a place in the queue; later waiters have greater ids, none is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WaiterId(u64);

/// What came of an attempt to enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A slot was taken; it is due a [`Machine::leave`].
    Granted,
    /// All slots are taken; a `leave` or a `resize` will name this waiter.
    Queued(WaiterId),
    /// The queue is full as well; nothing was taken.
    Full,
}

/// What enforcement would have done to an entry that was let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Would {
    /// Granted a slot at once.
    Grant,
    /// Queued it.
    Queue,
    /// Refused it.
    Refuse,
}

/// Counts slots and keeps the queue. `W` is what the shell keeps for each waiter.
#[derive(Debug)]
pub struct Machine<W> {
    limit: usize,
    max_queued: usize,
    in_use: usize,
    /// In order of arrival, which is the order of the ids. It allocates only while somebody waits.
    waiters: BTreeMap<WaiterId, W>,
    next_id: u64,
}

impl<W> Machine<W> {
    /// Makes a machine with all of its `limit` slots free and room for `max_queued` waiters.
    pub const fn new(limit: usize, max_queued: usize) -> Self {
        Self {
            limit,
            max_queued,
            in_use: 0,
            waiters: BTreeMap::new(),
            next_id: 0,
        }
    }

    /// Takes a slot, or a place in the queue, or nothing. Never overtakes a waiter.
    pub fn enter(&mut self, waiter: W) -> Entry {
        let entry = if self.in_use < self.limit && self.waiters.is_empty() {
            self.in_use += 1;
            Entry::Granted
        } else if self.waiters.len() < self.max_queued {
            let id = WaiterId(self.next_id);
            self.next_id += 1;
            self.waiters.insert(id, waiter);
            Entry::Queued(id)
        } else {
            Entry::Full
        };
        self.check_invariants();
        entry
    }

    /// Takes a slot whatever the limit, and says what [`Self::enter`] would have done.
    ///
    /// Those in flight beyond the limit stand for the waiters that there would have been: an
    /// estimate, because waiting would have changed when each of them arrives and leaves.
    pub fn enter_anyway(&mut self) -> Would {
        let would = if self.in_use < self.limit {
            Would::Grant
        } else if self.in_use - self.limit < self.max_queued {
            Would::Queue
        } else {
            Would::Refuse
        };
        self.in_use += 1;
        would
    }

    /// Gives a slot back. It passes to the oldest waiter, which is returned to be woken and owes
    /// a `leave` of its own.
    pub fn leave(&mut self) -> Option<(WaiterId, W)> {
        self.in_use = self.in_use.saturating_sub(1);
        let next = self.promote();
        self.check_invariants();
        next
    }

    /// Takes a waiter out of the queue; `None` if it is not there, which means that it has got
    /// its slot.
    pub fn cancel(&mut self, id: WaiterId) -> Option<W> {
        self.waiters.remove(&id)
    }

    /// What is kept for a waiter; `None` if it is not in the queue, which means that it has got
    /// its slot.
    pub fn waiter_mut(&mut self, id: WaiterId) -> Option<&mut W> {
        self.waiters.get_mut(&id)
    }

    /// Changes the bounds at once and returns the waiters that got a slot by it, oldest first.
    ///
    /// Nobody is thrown out: in-flight and queue may exceed smaller bounds until they drain.
    pub fn resize(&mut self, limit: usize, max_queued: usize) -> Vec<(WaiterId, W)> {
        self.limit = limit;
        self.max_queued = max_queued;
        let woken = std::iter::from_fn(|| self.promote()).collect();
        self.check_invariants();
        woken
    }

    /// Slots in use, those granted to waiters that have not noticed yet included.
    pub const fn in_use(&self) -> usize {
        self.in_use
    }

    /// Waiters in the queue.
    pub fn queued(&self) -> usize {
        self.waiters.len()
    }

    /// Hands a free slot, if there is one, to the oldest waiter, if there is one.
    fn promote(&mut self) -> Option<(WaiterId, W)> {
        if self.in_use >= self.limit {
            return None;
        }
        let next = self.waiters.pop_first()?;
        self.in_use += 1;
        Some(next)
    }

    fn check_invariants(&self) {
        debug_assert!(
            self.waiters.is_empty() || self.in_use >= self.limit,
            "{} wait beside a free slot",
            self.waiters.len()
        );
    }
}

#[cfg(test)]
mod tests;
