//! The bookkeeping of a pool: how many sockets are open, what they have room for, who waits.
//!
//! Only ever touched under the pool's lock; does no I/O and closes nothing itself.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Instant;

use tokio::sync::oneshot;

use super::http1::Shelved;
use super::join::{Interest, Joined, UnderWay};
use super::shared::{Hold, Lent, Shared, Slot};
use super::{Closed, Grant, Place, Want};
use crate::net::Address;

/// Open, idle and awaited connections of one pool.
pub(super) struct Shelf {
    /// Sockets open or being opened.
    open: usize,
    /// What each worker drives.
    workers: Vec<Kept>,
    /// Connections without an exchange.
    idle_count: usize,
    /// Oldest first. One that has gone is found out by its closed channel.
    waiters: VecDeque<Waiter>,
    /// Dials that others may join.
    dials: Vec<UnderWay>,
}

/// The connections that one worker drives.
#[derive(Default)]
struct Kept {
    /// HTTP/1, without an exchange, oldest first.
    idle: VecDeque<Shelved>,
    /// HTTP/2, all that take new streams.
    shared: Vec<Shared>,
}

/// A request that waits for a connection.
pub(super) struct Waiter {
    pub(super) endpoint: Address,
    /// What will do.
    want: Want,
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

    /// Hands a stream over, of a `fresh` connection or not; where the waiter has gone, it is given
    /// back by its drop.
    pub(super) fn offer_stream(self, slot: Slot, fresh: bool) {
        let _ = self.grant.send(Grant::Stream(slot, fresh));
    }

    /// Whether a connection to `endpoint` will do that was there before.
    pub(super) fn takes_kept(&self, endpoint: &Address) -> bool {
        self.want == Want::Any && self.endpoint == *endpoint
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

/// Who asks for a connection to what.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) worker: usize,
    pub(super) endpoint: &'a Address,
    pub(super) want: Want,
    /// Most open connections.
    pub(super) max: usize,
    /// Most requests that share one dial.
    pub(super) max_joiners: usize,
    pub(super) now: Instant,
}

/// What a request is given.
pub(super) enum Take {
    Idle(Shelved),
    /// The caller wraps it into a guard at once.
    Stream(Lent),
    /// A share in a dial that is under way.
    Join(oneshot::Receiver<Joined>, Arc<Interest>),
    /// The caller wraps it into a guard at once.
    Place,
    /// A place in the queue, and the idle connection to close so that its place comes free.
    Wait(oneshot::Receiver<Grant>, Option<Surplus>),
    /// A connection was found that takes no more streams: close it, and ask again.
    Over(Shared, Closed),
}

/// A connection to be given up.
pub(super) enum Surplus {
    Http1(Shelved),
    Http2(Shared),
}

impl Surplus {
    /// Closes it.
    pub(super) fn close(self, why: Closed) {
        match self {
            Self::Http1(idle) => idle.close(why),
            Self::Http2(shared) => shared.close(why),
        }
    }
}

/// What is to be done after a stream has ended.
pub(super) enum Release {
    /// Nothing.
    Done,
    /// This waiter is to have it.
    Grant(Waiter, Lent),
    /// This connection is to be closed.
    Close(Surplus, Closed),
}

impl Shelf {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            open: 0,
            workers: (0..workers.max(1)).map(|_| Kept::default()).collect(),
            idle_count: 0,
            waiters: VecDeque::new(),
            dials: Vec::new(),
        }
    }

    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// Idle connections that live: one that its upstream has closed lies here until it is found,
    /// and is not among the open sockets any more.
    pub(super) fn idle(&self) -> usize {
        let idle = |kept: &Kept| {
            let http1 = kept.idle.iter().filter(|idle| !idle.is_dead()).count();
            http1 + kept.shared.iter().filter(|shared| shared.is_idle()).count()
        };
        self.workers.iter().map(idle).sum()
    }

    /// The order at the cap: own with room, a dial of this worker that is under way, a new socket
    /// below the cap, another worker's with room, the place of the oldest idle one, the queue.
    pub(super) fn take(&mut self, ask: Ask<'_>) -> Take {
        if let Some(own) = self.take_of(ask.worker, ask) {
            return own;
        }
        if let Some(joined) = self.join(ask) {
            return joined;
        }
        if self.open < ask.max {
            self.open += 1;
            return Take::Place;
        }
        for other in (0..self.workers.len()).filter(|other| *other != ask.worker) {
            if let Some(theirs) = self.take_of(other, ask) {
                return theirs;
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
            endpoint: ask.endpoint.clone(),
            want: ask.want,
            grant,
        });
        let surplus = self.take_oldest();
        Take::Wait(granted, surplus.or_else(|| self.take_busy(ask.endpoint)))
    }

    /// Whether [`Self::take`] would find a connection or a place.
    pub(super) fn has_room(&self, endpoint: &Address, max: usize) -> bool {
        let kept = |kept: &Kept| {
            let idle = kept.idle.iter().any(|idle| idle.endpoint() == endpoint);
            let streams = |shared: &Shared| shared.endpoint() == endpoint && shared.has_room();
            idle || kept.shared.iter().any(streams)
        };
        self.open < max || self.workers.iter().any(kept)
    }

    /// What `worker` has: a stream, or the youngest idle connection.
    fn take_of(&mut self, worker: usize, ask: Ask<'_>) -> Option<Take> {
        if ask.want != Want::Any {
            return None;
        }
        let stream = self.take_stream(worker, ask.endpoint, ask.now);
        stream.or_else(|| self.take_idle(worker, ask.endpoint).map(Take::Idle))
    }

    /// The oldest connection with room, so that the others may fall idle.
    fn take_stream(&mut self, worker: usize, endpoint: &Address, now: Instant) -> Option<Take> {
        let kept = self.workers.get_mut(worker)?;
        for (position, shared) in kept.shared.iter_mut().enumerate() {
            if shared.endpoint() != endpoint {
                continue;
            }
            if let Some(why) = shared.is_over(now) {
                let over = self.remove_shared(worker, position)?;
                return Some(Take::Over(over, why));
            }
            if shared.has_room() {
                let lent = shared.lend();
                self.idle_count -= usize::from(lent.was_idle);
                return Some(Take::Stream(lent));
            }
        }
        None
    }

    fn take_idle(&mut self, worker: usize, endpoint: &Address) -> Option<Shelved> {
        let idle = &mut self.workers.get_mut(worker)?.idle;
        let position = idle.iter().rposition(|idle| idle.endpoint() == endpoint)?;
        let taken = idle.remove(position)?;
        self.idle_count -= 1;
        Some(taken)
    }

    /// The least recently used idle connection that still holds a place. A dead one has given its
    /// place back already: closing it would free none.
    fn take_oldest(&mut self) -> Option<Surplus> {
        let of = |(worker, kept): (usize, &Kept)| {
            let http1 = kept.idle.iter().position(|idle| !idle.is_dead());
            let http1 = http1.and_then(|at| Some((kept.idle.get(at)?.since, worker, at, false)));
            let shared = kept.shared.iter().enumerate();
            let shared = shared.filter_map(|(at, s)| Some((s.idle_since()?, worker, at, true)));
            http1.into_iter().chain(shared).min()
        };
        let (_, worker, position, shared) = self.workers.iter().enumerate().filter_map(of).min()?;
        if shared {
            return self.remove_shared(worker, position).map(Surplus::Http2);
        }
        let evicted = self.workers.get_mut(worker)?.idle.remove(position)?;
        self.idle_count -= 1;
        Some(Surplus::Http1(evicted))
    }

    /// Where connections to other endpoints, never without a stream, hold all places for good: the one
    /// with the fewest streams. It takes no more, and its place comes free with the last.
    fn take_busy(&mut self, endpoint: &Address) -> Option<Surplus> {
        let shared = self.workers.iter().flat_map(|kept| &kept.shared);
        let (mut count, mut served) = (0, false);
        for shared in shared {
            count += 1;
            served |= shared.endpoint() == endpoint;
        }
        if served || count < self.open {
            // Something else is to end.
            return None;
        }
        let of = |(worker, kept): (usize, &Kept)| {
            let shared = kept.shared.iter().enumerate();
            let fewest = shared.map(|(at, shared)| (shared.streams(), worker, at));
            fewest.min()
        };
        let (_, worker, position) = self.workers.iter().enumerate().filter_map(of).min()?;
        self.remove_shared(worker, position).map(Surplus::Http2)
    }

    fn remove_shared(&mut self, worker: usize, position: usize) -> Option<Shared> {
        let shared = &mut self.workers.get_mut(worker)?.shared;
        let removed = (position < shared.len()).then(|| shared.remove(position))?;
        self.idle_count -= usize::from(removed.is_idle());
        Some(removed)
    }

    /// Keeps an idle connection; returns the one that is too many, if any.
    pub(super) fn put(&mut self, idle: Shelved, max_idle: usize) -> Option<Surplus> {
        let Some(kept) = self.workers.get_mut(idle.worker()) else {
            return Some(Surplus::Http1(idle));
        };
        kept.idle.push_back(idle);
        self.idle_count += 1;
        self.surplus(max_idle)
    }

    fn surplus(&mut self, max_idle: usize) -> Option<Surplus> {
        if self.idle_count > max_idle {
            self.take_oldest()
        } else {
            None
        }
    }

    /// Keeps a connection that takes streams.
    pub(super) fn put_shared(&mut self, shared: Shared) {
        if let Some(kept) = self.workers.get_mut(shared.worker()) {
            self.idle_count += usize::from(shared.is_idle());
            kept.shared.push(shared);
        }
    }

    /// Forgets the connection that `hold` is of, if it is known.
    pub(super) fn forget(&mut self, worker: usize, hold: &Weak<Hold>) -> Option<Shared> {
        let shared = &self.workers.get(worker)?.shared;
        let position = shared.iter().position(|shared| shared.is(hold.as_ptr()))?;
        self.remove_shared(worker, position)
    }

    /// A stream of the connection that `hold` is of has ended.
    pub(super) fn release(
        &mut self,
        hold: &Arc<Hold>,
        limits: &super::Limits,
        now: Instant,
    ) -> Release {
        hold.ended();
        let known = |kept: &mut Kept| {
            let shared = kept.shared.iter_mut().enumerate();
            let mut shared = shared.filter(|(_, shared)| shared.is(Arc::as_ptr(hold)));
            shared
                .next()
                .map(|(position, shared)| (position, shared.is_over(now)))
        };
        let Some((position, over)) = self.workers.get_mut(hold.worker()).and_then(known) else {
            // It takes no more streams, and closes by itself with the last one.
            return Release::Done;
        };
        if let Some(why) = over {
            let over = self.remove_shared(hold.worker(), position);
            return over.map_or(Release::Done, |over| {
                Release::Close(Surplus::Http2(over), why)
            });
        }
        if let Some((waiter, lent)) = self.serve(hold, false) {
            return Release::Grant(waiter, lent);
        }
        if hold.streams() > 0 {
            return Release::Done;
        }
        if let Some(waiter) = self.next_waiter() {
            // Its place goes to this waiter once the socket is closed.
            self.requeue(waiter);
            let evicted = self.remove_shared(hold.worker(), position);
            return evicted.map_or(Release::Done, |evicted| {
                Release::Close(Surplus::Http2(evicted), Closed::Evicted)
            });
        }
        let kept = self.workers.get_mut(hold.worker());
        if let Some(shared) = kept.and_then(|kept| kept.shared.get_mut(position)) {
            shared.rest(limits.idle_timeout, now);
            self.idle_count += 1;
        }
        match self.surplus(limits.max_idle) {
            Some(surplus) => Release::Close(surplus, Closed::MaxIdle),
            None => Release::Done,
        }
    }

    /// The oldest waiter that the connection of `hold` has a stream for, and the stream.
    /// One that wants a fresh one, too, if it is `fresh`.
    pub(super) fn serve(&mut self, hold: &Arc<Hold>, fresh: bool) -> Option<(Waiter, Lent)> {
        let kept = self.workers.get_mut(hold.worker())?;
        let mut shared = kept.shared.iter_mut();
        let shared = shared.find(|shared| shared.is(Arc::as_ptr(hold)))?;
        if !shared.has_room() {
            return None;
        }
        let fits = |waiter: &Waiter| {
            let wanted = waiter.want == Want::Any || (fresh && waiter.want == Want::Fresh);
            wanted && waiter.endpoint == *shared.endpoint() && !waiter.grant.is_closed()
        };
        let position = self.waiters.iter().position(fits)?;
        let waiter = self.waiters.remove(position)?;
        let lent = shared.lend();
        self.idle_count -= usize::from(lent.was_idle);
        Some((waiter, lent))
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

    /// A share in a dial of this worker to this endpoint.
    fn join(&mut self, ask: Ask<'_>) -> Option<Take> {
        if ask.want == Want::Alone {
            return None;
        }
        let mut dials = self.dials.iter_mut();
        dials.find_map(|dial| {
            let (joined, interest) = dial.join(ask.worker, ask.endpoint, ask.max_joiners)?;
            Some(Take::Join(joined, interest))
        })
    }

    /// Lets others join a dial.
    pub(super) fn dialling(&mut self, dial: UnderWay) {
        self.dials.push(dial);
    }

    /// A dial is over: those who joined it, in that order.
    pub(super) fn dialled(&mut self, id: *const Interest) -> Vec<oneshot::Sender<Joined>> {
        let position = self.dials.iter().position(|dial| dial.is(id));
        position.map_or_else(Vec::new, |position| {
            self.dials.swap_remove(position).into_joiners()
        })
    }

    /// Takes out all connections that are dead or whose time is over, those of HTTP/2 with why.
    pub(super) fn expired(&mut self, now: Instant) -> (Vec<Shelved>, Vec<(Shared, Closed)>) {
        let mut over = Vec::new();
        for worker in 0..self.workers.len() {
            let mut position = 0;
            while let Some(shared) = self.shared_mut(worker, position) {
                match shared.is_over(now) {
                    Some(why) => {
                        over.extend(self.remove_shared(worker, position).map(|s| (s, why)));
                    }
                    None => position += 1,
                }
            }
        }
        let dead = self.remove_idle(|idle| idle.expires <= now || idle.is_dead());
        (dead, over)
    }

    fn shared_mut(&mut self, worker: usize, position: usize) -> Option<&mut Shared> {
        self.workers.get_mut(worker)?.shared.get_mut(position)
    }

    /// Takes out all connections whose endpoint `keep` refuses, those with streams as well: they
    /// take no more of them.
    pub(super) fn retain(&mut self, keep: impl Fn(&Address) -> bool) -> Vec<Surplus> {
        let idle = self.remove_idle(|idle| !keep(idle.endpoint()));
        let mut removed: Vec<_> = idle.into_iter().map(Surplus::Http1).collect();
        for worker in 0..self.workers.len() {
            let mut position = 0;
            while let Some(shared) = self.shared_mut(worker, position) {
                if keep(shared.endpoint()) {
                    position += 1;
                } else {
                    removed.extend(self.remove_shared(worker, position).map(Surplus::Http2));
                }
            }
        }
        removed
    }

    fn remove_idle(&mut self, which: impl Fn(&Shelved) -> bool) -> Vec<Shelved> {
        let mut removed = Vec::new();
        for kept in &mut self.workers {
            let mut position = 0;
            while let Some(idle) = kept.idle.get(position) {
                if which(idle) {
                    removed.extend(kept.idle.remove(position));
                } else {
                    position += 1;
                }
            }
        }
        self.idle_count -= removed.len();
        removed
    }
}
