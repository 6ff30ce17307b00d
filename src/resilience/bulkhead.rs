//! Bounded concurrency with a bounded queue, shared by classes of requests.
//!
//! It protects the caller from an upstream that is slow rather than broken: no more than so many
//! requests are stuck in it at once, a few more wait for a short time, the rest are refused at
//! once. Classes protect requests that matter from a flood of those that matter less.
//!
//! | event | a slot is free | all slots taken | queue full as well |
//! |---|---|---|---|
//! | enter | granted | queued | refused |
//! | leave | | the slot passes to a waiter | same |
//!
//! A freed slot goes to the oldest waiter of the class that is furthest below its reserve: the one
//! with the greatest ⌊limit · share⌋ − slots in use (a share is good for one slot at least), of
//! equals the one whose waiter is older. If no class with waiters is below its reserve, it goes to
//! the oldest waiter of all. Without classes that is one queue in order of arrival.
//!
//! Reserves are not kept empty: while nobody waits, a newcomer of any class takes any free slot.
//! That costs a class at most the time until slots come free, and wastes none. Places in the queue
//! are different, because a class must be able to wait for what is its due: a newcomer finds one
//! only if queued + Σ over other classes of max(0, their reserved places − their queued) is less
//! than `max_queued`.
//!
//! Invariants: waiters exist only while no slot is free (a slot is handed on, never put back for
//! a newcomer to grab), within a class the order is that of arrival, and in-flight exceeds the
//! limit only after it was lowered or where a policy that merely observes let it through.
//!
//! The machine keeps no time: how long somebody waits is the business of the one who waits.
//! Settings: `max_requests` and `max_queued` of the `bulkhead` table, shares of the `priority`
//! table.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::WHOLE;

/// Names a place in the queue; later waiters have greater ids, none is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WaiterId {
    arrival: u64,
    class: usize,
}

impl WaiterId {
    /// The class that it waits in, and in which its slot will be.
    pub const fn class(self) -> usize {
        self.class
    }
}

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

/// In which order waiters get their slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By the shares of their classes.
    Shares,
    /// The oldest of all first, whatever its class, and places in the queue are reserved for
    /// nobody. Grants that shares would have made to another are counted.
    Arrival,
}

/// How one class stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Slots reserved for it.
    pub reserved: usize,
    /// Slots in use.
    pub in_use: usize,
    /// Waiters.
    pub queued: usize,
}

/// Counts slots and keeps the queue. `W` is what the shell keeps for each waiter.
#[derive(Debug)]
pub struct Machine<W> {
    limit: usize,
    max_queued: usize,
    in_use: usize,
    queued: usize,
    next_arrival: u64,
    order: Order,
    would_reorder: u64,
    /// At least one.
    classes: Vec<Class<W>>,
}

#[derive(Debug)]
struct Class<W> {
    share: u32,
    /// Slots, and places in the queue, of the present bounds.
    reserved: usize,
    reserved_places: usize,
    in_use: usize,
    /// In order of arrival, which is the order of the ids. It allocates only while somebody waits.
    waiters: BTreeMap<WaiterId, W>,
}

impl<W> Class<W> {
    const fn new(share: u32) -> Self {
        Self {
            share,
            reserved: 0,
            reserved_places: 0,
            in_use: 0,
            waiters: BTreeMap::new(),
        }
    }

    fn missing_slots(&self) -> usize {
        self.reserved.saturating_sub(self.in_use)
    }

    fn missing_places(&self) -> usize {
        self.reserved_places.saturating_sub(self.waiters.len())
    }
}

impl<W> Machine<W> {
    /// Makes a machine with all of its `limit` slots free and room for `max_queued` waiters.
    ///
    /// `shares` has one for each class, in units of [`WHOLE`], which they should not exceed
    /// together. None makes a single class without a reserve.
    pub fn new(limit: usize, max_queued: usize, shares: &[u32]) -> Self {
        let shares = if shares.is_empty() { &[0] } else { shares };
        let mut machine = Self {
            limit,
            max_queued,
            in_use: 0,
            queued: 0,
            next_arrival: 0,
            order: Order::Shares,
            would_reorder: 0,
            classes: shares.iter().copied().map(Class::new).collect(),
        };
        machine.reserve();
        machine
    }

    /// Changes the order from the next grant on; it starts as [`Order::Shares`].
    pub fn set_order(&mut self, order: Order) {
        self.order = order;
    }

    /// Takes a slot, or a place in the queue, or nothing. Never overtakes a waiter.
    ///
    /// A class that there is not is the first one, here and everywhere.
    pub fn enter(&mut self, class: usize, waiter: W) -> Entry {
        if self.enter_now(class) {
            return Entry::Granted;
        }
        let class = self.known(class);
        if !self.has_place(class) {
            return Entry::Full;
        }
        let arrival = self.next_arrival;
        let id = WaiterId { arrival, class };
        if let Some(class) = self.classes.get_mut(class) {
            self.next_arrival += 1;
            self.queued += 1;
            class.waiters.insert(id, waiter);
        }
        self.check_invariants();
        Entry::Queued(id)
    }

    /// Takes a slot if one is free that nobody waits for, and says whether it did.
    pub fn enter_now(&mut self, class: usize) -> bool {
        let free = self.in_use < self.limit && self.queued == 0;
        if free {
            self.seat(class);
        }
        self.check_invariants();
        free
    }

    /// Takes a slot whatever the limit, and says what [`Self::enter`] would have done.
    ///
    /// Those in flight beyond the limit stand for the waiters that there would have been: an
    /// estimate, because waiting would have changed when each of them arrives and leaves.
    pub fn enter_anyway(&mut self, class: usize) -> Would {
        let would = if self.in_use < self.limit {
            Would::Grant
        } else if self.in_use - self.limit < self.max_queued {
            Would::Queue
        } else {
            Would::Refuse
        };
        self.seat(class);
        would
    }

    /// Gives a slot of `class` back. It passes to a waiter, which is returned to be woken and owes
    /// a `leave` of its own class.
    pub fn leave(&mut self, class: usize) -> Option<(WaiterId, W)> {
        let class = self.known(class);
        let class = self.classes.get_mut(class)?;
        if let Some(in_use) = class.in_use.checked_sub(1) {
            class.in_use = in_use;
            self.in_use = self.in_use.saturating_sub(1);
        }
        let next = self.promote();
        self.check_invariants();
        next
    }

    /// Takes a waiter out of the queue; `None` if it is not there, which means that it has got
    /// its slot.
    pub fn cancel(&mut self, id: WaiterId) -> Option<W> {
        let waiter = self.classes.get_mut(id.class)?.waiters.remove(&id)?;
        self.queued = self.queued.saturating_sub(1);
        Some(waiter)
    }

    /// What is kept for a waiter; `None` if it is not in the queue, which means that it has got
    /// its slot.
    pub fn waiter_mut(&mut self, id: WaiterId) -> Option<&mut W> {
        self.classes.get_mut(id.class)?.waiters.get_mut(&id)
    }

    /// Changes the bounds at once, the reserves with them, and returns the waiters that got a slot
    /// by it, in the order of the grants.
    ///
    /// Nobody is thrown out: in-flight and queue may exceed smaller bounds until they drain.
    pub fn resize(&mut self, limit: usize, max_queued: usize) -> Vec<(WaiterId, W)> {
        self.limit = limit;
        self.max_queued = max_queued;
        self.reserve();
        let woken = std::iter::from_fn(|| self.promote()).collect();
        self.check_invariants();
        woken
    }

    /// Gives every waiter a slot, whatever the limit, and returns them class by class.
    pub fn admit_all(&mut self) -> Vec<(WaiterId, W)> {
        let mut all = Vec::with_capacity(self.queued);
        for class in &mut self.classes {
            class.in_use += class.waiters.len();
            all.extend(std::mem::take(&mut class.waiters));
        }
        self.in_use += self.queued;
        self.queued = 0;
        self.check_invariants();
        all
    }

    /// Slots in use, those granted to waiters that have not noticed yet included.
    pub const fn in_use(&self) -> usize {
        self.in_use
    }

    /// Waiters in the queue.
    pub const fn queued(&self) -> usize {
        self.queued
    }

    /// How many slots there are.
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Grants since the start that [`Order::Arrival`] made and shares would have made to another.
    pub const fn would_reorder(&self) -> u64 {
        self.would_reorder
    }

    /// How each class stands; there is one at least.
    pub fn classes(&self) -> impl Iterator<Item = Standing> {
        self.classes.iter().map(|class| Standing {
            reserved: class.reserved,
            in_use: class.in_use,
            queued: class.waiters.len(),
        })
    }

    const fn known(&self, class: usize) -> usize {
        if class < self.classes.len() { class } else { 0 }
    }

    fn seat(&mut self, class: usize) {
        let class = self.known(class);
        if let Some(class) = self.classes.get_mut(class) {
            class.in_use += 1;
        }
        self.in_use += 1;
    }

    /// Whether a newcomer may queue and leave to the other classes what is reserved for them.
    fn has_place(&self, class: usize) -> bool {
        let kept: usize = match self.order {
            Order::Arrival => 0,
            Order::Shares => {
                let others = self.classes.iter().enumerate();
                let others = others.filter(|&(other, _)| other != class);
                others.map(|(_, other)| other.missing_places()).sum()
            }
        };
        self.queued.saturating_add(kept) < self.max_queued
    }

    /// Hands a free slot, if there is one, to the waiter whose turn it is, if there is one.
    fn promote(&mut self) -> Option<(WaiterId, W)> {
        if self.in_use >= self.limit || self.queued == 0 {
            return None;
        }
        let by_shares = self.first_by(Class::missing_slots)?;
        let id = match self.order {
            Order::Shares => by_shares,
            Order::Arrival => {
                let oldest = self.first_by(|_| 0)?;
                self.would_reorder += u64::from(oldest != by_shares);
                oldest
            }
        };
        let waiter = self.cancel(id)?;
        self.seat(id.class);
        Some((id, waiter))
    }

    /// The oldest waiter of the class with the greatest claim, of equal claims the oldest.
    fn first_by(&self, claim: impl Fn(&Class<W>) -> usize) -> Option<WaiterId> {
        let oldest = |class: &Class<W>| {
            let (&id, _) = class.waiters.first_key_value()?;
            Some((Reverse(claim(class)), id))
        };
        let first = self.classes.iter().filter_map(oldest).min()?;
        Some(first.1)
    }

    /// Works out what the shares are worth at the present bounds.
    fn reserve(&mut self) {
        let (limit, max_queued) = (self.limit, self.max_queued);
        let mut unreserved = max_queued;
        for class in &mut self.classes {
            class.reserved = part(limit, class.share).max(usize::from(class.share > 0));
            class.reserved_places = part(max_queued, class.share).min(unreserved);
            unreserved -= class.reserved_places;
        }
        // A small share of a short queue is worth one place too, while there are any left.
        for class in &mut self.classes {
            if class.share > 0 && class.reserved_places == 0 && unreserved > 0 {
                class.reserved_places = 1;
                unreserved -= 1;
            }
        }
    }

    fn check_invariants(&self) {
        debug_assert!(
            self.queued == 0 || self.in_use >= self.limit,
            "{} wait beside a free slot",
            self.queued
        );
        debug_assert_eq!(
            (self.in_use, self.queued),
            self.classes().fold((0, 0), |(in_use, queued), class| {
                (in_use + class.in_use, queued + class.queued)
            }),
            "classes do not add up"
        );
    }
}

/// `share` of `whole`, rounded down.
fn part(whole: usize, share: u32) -> usize {
    let share = u128::from(share.min(WHOLE));
    let part = whole as u128 * share / u128::from(WHOLE);
    usize::try_from(part).unwrap_or(whole)
}

#[cfg(test)]
mod tests;
