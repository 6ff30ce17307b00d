//! The bookkeeping of a pool: how many sockets are open, which are idle, who waits.
//!
//! Only ever touched under the pool's lock; does no I/O and closes nothing itself.

use std::collections::VecDeque;
use std::time::Instant;

use tokio::sync::oneshot;

use super::connection::Shelved;
use super::{Grant, Place};
use crate::net::Address;

/// Open, idle and awaited connections of one pool.
pub(super) struct Shelf {
    /// Sockets open or being opened.
    open: usize,
    /// Shelved connections by the worker that drives them, oldest first.
    idle: Vec<VecDeque<Shelved>>,
    /// Sum of the lengths of `idle`.
    idle_count: usize,
    /// Oldest first. One that has gone is found out by its closed channel.
    waiters: VecDeque<Waiter>,
}

/// A request that waits for a connection.
pub(super) struct Waiter {
    pub(super) endpoint: Address,
    /// Only a connection of its own will do.
    pub(super) fresh: bool,
    grant: oneshot::Sender<Grant>,
}

impl Waiter {
    /// Hands a connection over; gives it back where the waiter has gone.
    pub(super) fn offer_idle(self, idle: Shelved) -> Result<(), Shelved> {
        match self.grant.send(Grant::Idle(idle)) {
            Err(Grant::Idle(back)) => Err(back),
            _ => Ok(()),
        }
    }

    /// Hands a place over; says whether the waiter was there. Where it was not, the caller still
    /// has the place: the guard that came back is disarmed.
    pub(super) fn offer_place(self, place: Place) -> bool {
        match self.grant.send(Grant::Place(place)) {
            Err(Grant::Place(mut back)) => {
                back.disarm();
                false
            }
            _ => true,
        }
    }
}

/// What a request is given.
pub(super) enum Take {
    Idle(Shelved),
    /// The caller wraps it into a guard at once.
    Place,
    /// A place in the queue, and the idle connection to close so that its place comes free.
    Wait(oneshot::Receiver<Grant>, Option<Shelved>),
}

impl Shelf {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            open: 0,
            idle: (0..workers.max(1)).map(|_| VecDeque::new()).collect(),
            idle_count: 0,
            waiters: VecDeque::new(),
        }
    }

    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// Idle connections that live: one that its upstream has closed lies here until it is found,
    /// and is not among the open sockets any more.
    pub(super) fn idle(&self) -> usize {
        let idle = self.idle.iter().flatten();
        idle.filter(|idle| !idle.is_dead()).count()
    }

    /// The order at the cap: own idle, a new socket below the cap, another worker's idle, the
    /// place of the oldest idle to another endpoint, the queue.
    pub(super) fn take(
        &mut self,
        worker: usize,
        endpoint: &Address,
        fresh: bool,
        max: usize,
    ) -> Take {
        if !fresh && let Some(idle) = self.take_idle(worker, endpoint) {
            return Take::Idle(idle);
        }
        if self.open < max {
            self.open += 1;
            return Take::Place;
        }
        for other in (0..self.idle.len()).filter(|other| *other != worker) {
            if !fresh && let Some(idle) = self.take_idle(other, endpoint) {
                return Take::Idle(idle);
            }
        }
        while self
            .waiters
            .front()
            .is_some_and(|waiter| waiter.grant.is_closed())
        {
            self.waiters.pop_front();
        }
        let (grant, granted) = oneshot::channel();
        self.waiters.push_back(Waiter {
            endpoint: endpoint.clone(),
            fresh,
            grant,
        });
        Take::Wait(granted, self.take_oldest())
    }

    /// Whether [`Self::take`] would find a connection or a place.
    pub(super) fn has_room(&self, endpoint: &Address, max: usize) -> bool {
        let kept = |idle: &VecDeque<Shelved>| idle.iter().any(|idle| idle.endpoint() == endpoint);
        self.open < max || self.idle.iter().any(kept)
    }

    /// The youngest idle connection of `worker` to `endpoint`.
    fn take_idle(&mut self, worker: usize, endpoint: &Address) -> Option<Shelved> {
        let idle = self.idle.get_mut(worker)?;
        let position = idle.iter().rposition(|idle| idle.endpoint() == endpoint)?;
        let taken = idle.remove(position)?;
        self.idle_count -= 1;
        Some(taken)
    }

    /// The least recently used idle connection that still holds a place. A dead one has given its
    /// place back already: closing it would free none.
    fn take_oldest(&mut self) -> Option<Shelved> {
        let (worker, position) = self
            .idle
            .iter()
            .enumerate()
            .filter_map(|(worker, idle)| {
                let position = idle.iter().position(|idle| !idle.is_dead())?;
                Some((idle.get(position)?.since, worker, position))
            })
            .min()
            .map(|(_, worker, position)| (worker, position))?;
        let evicted = self.idle.get_mut(worker)?.remove(position)?;
        self.idle_count -= 1;
        Some(evicted)
    }

    /// Keeps an idle connection; returns the one that is too many, if any.
    pub(super) fn put(&mut self, idle: Shelved, max_idle: usize) -> Option<Shelved> {
        let Some(shelf) = self.idle.get_mut(idle.worker()) else {
            return Some(idle);
        };
        shelf.push_back(idle);
        self.idle_count += 1;
        if self.idle_count > max_idle {
            self.take_oldest()
        } else {
            None
        }
    }

    /// The oldest waiter that may still be there.
    pub(super) fn next_waiter(&mut self) -> Option<Waiter> {
        while let Some(waiter) = self.waiters.pop_front() {
            if !waiter.grant.is_closed() {
                return Some(waiter);
            }
        }
        None
    }

    /// Puts a waiter back in front: it was not served.
    pub(super) fn requeue(&mut self, waiter: Waiter) {
        self.waiters.push_front(waiter);
    }

    /// A place came free: it goes to the returned waiter, or is no longer counted.
    pub(super) fn leave(&mut self) -> Option<Waiter> {
        let waiter = self.next_waiter();
        if waiter.is_none() {
            self.open -= 1;
        }
        waiter
    }

    pub(super) fn expired(&mut self, now: Instant) -> Vec<Shelved> {
        self.remove(|idle| idle.expires <= now || idle.is_dead())
    }

    /// Takes out all idle connections that `which` names.
    pub(super) fn remove(&mut self, which: impl Fn(&Shelved) -> bool) -> Vec<Shelved> {
        let mut removed = Vec::new();
        for shelf in &mut self.idle {
            let mut position = 0;
            while let Some(idle) = shelf.get(position) {
                if which(idle) {
                    removed.extend(shelf.remove(position));
                } else {
                    position += 1;
                }
            }
        }
        self.idle_count -= removed.len();
        removed
    }
}
