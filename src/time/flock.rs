//! Many futures in one task, under one timer.
//!
//! The streams of an HTTP/2 connection live in the task of the connection: dropping that drops
//! them all. Each has an [`Alarm`] of its own below that of the task, so that a timer of the
//! runtime is armed once for all of them, and only those are woken whose time has come.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use futures_util::stream::{FuturesUnordered, Stream};

use super::Alarm;

/// What bounds a member of a flock.
pub trait Bounded {
    /// What it waits by: a child of the flock's alarm.
    fn alarm(&self) -> &Alarm;
    /// Whether it has to end at `now`; asks its alarm for the next look otherwise.
    fn overdue(&self, now: Instant) -> bool;
}

/// The futures of one task, each with its bounds.
pub struct Flock<B> {
    members: FuturesUnordered<Member<B>>,
    alarm: Alarm,
}

struct Member<B> {
    work: Pin<Box<dyn Future<Output = ()>>>,
    bounds: B,
    /// When its alarm had fired last as it was polled.
    seen: Instant,
    waker: Option<Waker>,
}

impl<B: Bounded + Unpin> Flock<B> {
    /// Builds an empty flock for the task that drives `alarm`.
    pub fn new(alarm: Alarm) -> Self {
        Self {
            members: FuturesUnordered::new(),
            alarm,
        }
    }

    /// Takes a future in. When its alarm has fired it is polled, and dropped if it is overdue then.
    pub fn join(&self, bounds: B, work: impl Future<Output = ()> + 'static) {
        self.members.push(Member {
            work: Box::pin(work),
            seen: bounds.alarm().fired(),
            bounds,
            waker: None,
        });
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Polls those that were woken. `Ready` where one of them ended; `Pending` where all wait, or
    /// there are none.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match Pin::new(&mut self.members).poll_next(cx) {
            Poll::Ready(Some(())) => Poll::Ready(()),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// The alarm of the task has fired: wakes those whose time has come.
    pub fn fire(&mut self, now: Instant) {
        for member in Pin::new(&mut self.members).iter_pin_mut() {
            let member = member.get_mut();
            let alarm = member.bounds.alarm();
            match alarm.due() {
                Some(due) if due <= now => {
                    alarm.fire(now);
                    member.waker.iter().for_each(Waker::wake_by_ref);
                }
                Some(due) => self.alarm.want(due),
                None => {}
            }
        }
    }
}

impl<B: Bounded + Unpin> Future for Member<B> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if this.work.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        // After its own poll: what is complete wins over what is overdue.
        let fired = this.bounds.alarm().fired();
        if fired > this.seen {
            this.seen = fired;
            if this.bounds.overdue(fired) {
                return Poll::Ready(());
            }
        }
        let known = this.waker.as_ref();
        if !known.is_some_and(|known| known.will_wake(cx.waker())) {
            this.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::future::{pending, poll_fn};
    use std::pin::pin;
    use std::rc::Rc;
    use std::time::Duration;

    use super::*;
    use crate::time;

    struct Bounds(Alarm, bool);

    impl Bounded for Bounds {
        fn alarm(&self) -> &Alarm {
            &self.0
        }

        fn overdue(&self, _: Instant) -> bool {
            self.1
        }
    }

    /// Runs until `left` members remain.
    async fn run(alarm: &Alarm, flock: &mut Flock<Bounds>, left: usize) {
        let mut seen = alarm.fired();
        let flocking = pin!(poll_fn(|cx| {
            if alarm.fired() > seen {
                seen = alarm.fired();
                flock.fire(seen);
            }
            while flock.poll_next(cx).is_ready() {}
            if flock.len() == left {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }));
        assert!(time::drive(alarm, flocking, |_| false).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn those_whose_time_has_come_end_and_the_others_go_on() {
        let start = time::now();
        let alarm = Alarm::new(start);
        let mut flock = Flock::new(alarm.clone());
        let (polls, ended) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(Vec::new())));
        for (name, seconds) in [("late", 3_u64), ("early", 1), ("never", 1000)] {
            let own = alarm.child();
            let (polls, ended) = (Rc::clone(&polls), Rc::clone(&ended));
            flock.join(Bounds(own.clone(), false), async move {
                let at = start + Duration::from_secs(seconds);
                let expiry = |now| if now >= at { Err(()) } else { Ok(Some(at)) };
                let mut waits = pin!(poll_fn(|_| {
                    polls.set(polls.get() + 1);
                    Poll::<()>::Pending
                }));
                assert!(own.race(start, waits.as_mut(), expiry).await.is_err());
                ended
                    .borrow_mut()
                    .push((name, (time::now() - start).as_secs()));
            });
        }
        run(&alarm, &mut flock, 1).await;
        assert_eq!(*ended.borrow(), [("early", 1), ("late", 3)]);
        // Each at the start and when its time came; the third was left alone.
        assert_eq!(polls.get(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_overdue_is_dropped() {
        let alarm = Alarm::new(time::now());
        let mut flock = Flock::new(alarm.clone());
        let own = alarm.child();
        own.want(time::now() + Duration::from_secs(2));
        let held = Rc::new(());
        let weak = Rc::downgrade(&held);
        flock.join(Bounds(own, true), async move {
            let _held = held;
            pending::<()>().await;
        });
        run(&alarm, &mut flock, 0).await;
        assert!(weak.upgrade().is_none());
    }
}
