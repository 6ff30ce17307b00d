//! One lazily re-armed timer for everything that a connection waits for.
//!
//! A timer of the runtime costs up to a tenth of a proxied request when each request arms its own.
//! Here every wait of a connection's task ([`Alarm::race`]) only notes when it wants to be woken;
//! [`drive`] keeps a single runtime timer at the earliest wish and leaves it alone when wishes move
//! later. A keep-alive connection thus re-arms about once per timeout, not once per request.
//! Knows nothing about HTTP or policies.

use std::cell::Cell;
use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

/// The wishes of one task. Clones share them.
#[derive(Clone, Debug)]
pub struct Alarm(Rc<Wishes>);

#[derive(Debug)]
struct Wishes {
    /// The earliest instant that anybody wants to be woken at; may be stale, never too late.
    due: Cell<Option<Instant>>,
    /// When the timer fired last: what is due by then is over.
    fired: Cell<Instant>,
    /// Whose timer this one shares.
    parent: Option<Alarm>,
}

impl Alarm {
    /// Builds an alarm without wishes.
    pub fn new(now: Instant) -> Self {
        Self(Rc::new(Wishes {
            due: Cell::new(None),
            fired: Cell::new(now),
            parent: None,
        }))
    }

    /// Builds an alarm without wishes that has no timer of its own: what it wants, this one wants.
    pub fn child(&self) -> Self {
        Self(Rc::new(Wishes {
            due: Cell::new(None),
            fired: Cell::new(self.fired()),
            parent: Some(self.clone()),
        }))
    }

    /// Runs `work` until it completes or `expiry` says that it is over.
    ///
    /// `expiry` is asked at `now` and then whenever the instant that it named has come; `Ok(None)`
    /// ends the asking. Where both are ready in one poll, completion wins.
    ///
    /// `work` comes pinned, because what an `async fn` takes by value it keeps twice. Must be polled
    /// by the task that [`drive`]s this alarm, and again on each of its polls.
    ///
    /// # Errors
    ///
    /// What `expiry` returned.
    pub fn race<T, E>(
        &self,
        now: Instant,
        mut work: Pin<&mut impl Future<Output = T>>,
        mut expiry: impl FnMut(Instant) -> Result<Option<Instant>, E>,
    ) -> impl Future<Output = Result<T, E>> {
        let mut next = Some(now);
        let mut seen = now;
        std::future::poll_fn(move |cx| {
            if let Poll::Ready(output) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            seen = seen.max(self.fired());
            if next.is_some_and(|at| at <= seen) {
                next = expiry(seen)?;
            }
            if let Some(at) = next {
                self.want(at);
            }
            Poll::Pending
        })
    }

    /// Waits until `at`; at once where that is not after `now`. Polled as [`Self::race`] is.
    pub async fn until(&self, now: Instant, at: Instant) {
        let over = |now| if now >= at { Err(()) } else { Ok(Some(at)) };
        let (Ok(()) | Err(())) = self.race(now, pin!(pending::<()>()), over).await;
    }

    /// Asks for a poll of the task at `at` or earlier.
    pub fn want(&self, at: Instant) {
        if self.0.due.get().is_none_or(|due| at < due) {
            self.0.due.set(Some(at));
            if let Some(parent) = &self.0.parent {
                parent.want(at);
            }
        }
    }

    /// The earliest instant that anybody wants to be woken at.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.due.get()
    }

    /// When the timer fired last.
    pub fn fired(&self) -> Instant {
        self.0.fired.get()
    }

    pub(super) fn fire(&self, now: Instant) {
        self.0.due.set(None);
        self.0.fired.set(now);
    }
}

/// Runs `task` to its end, waking it for the wishes of `alarm`.
///
/// `overdue` is asked at each firing, after the task was polled, and ends the drive when it says
/// so; it may add wishes. Returns `None` in that case.
pub async fn drive<F: Future>(
    alarm: &Alarm,
    mut task: Pin<&mut F>,
    mut overdue: impl FnMut(Instant) -> bool,
) -> Option<F::Output> {
    let mut timer = std::pin::pin!(tokio::time::sleep_until(alarm.fired().into()));
    let mut armed: Option<Instant> = None;
    let mut fired: Option<Instant> = None;
    std::future::poll_fn(|cx| {
        loop {
            if let Poll::Ready(output) = task.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            // After the task's own poll: what is complete wins over what is overdue.
            if fired.take().is_some_and(&mut overdue) {
                return Poll::Ready(None);
            }
            let Some(due) = alarm.0.due.get() else {
                return Poll::Pending;
            };
            if armed.is_none_or(|at| due < at) {
                timer.as_mut().reset(due.into());
                armed = Some(due);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = super::now();
            armed = None;
            fired = Some(now);
            alarm.fire(now);
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use super::*;
    use crate::time::now;

    /// Waits until `at` by the alarm.
    async fn until(alarm: &Alarm, at: Instant) {
        let over = |now| if at <= now { Err(()) } else { Ok(Some(at)) };
        let waited = alarm
            .race(alarm.fired(), pin!(std::future::pending::<()>()), over)
            .await;
        assert_eq!(waited, Err(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wish_is_met_at_its_time() {
        let start = now();
        let alarm = Alarm::new(start);
        let at = start + Duration::from_millis(70);
        assert_eq!(
            drive(&alarm, pin!(until(&alarm, at)), |_| false).await,
            Some(())
        );
        assert!(now() >= at);
        assert!(now() < at + Duration::from_millis(2));
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_wish_moves_the_timer_and_later_ones_do_not() {
        let start = now();
        let alarm = Alarm::new(start);
        let second = Duration::from_secs(1);
        let task = async {
            let early = pin!(until(&alarm, start + second));
            let late = alarm.race(start, early, |now| {
                if now >= start + 10 * second {
                    Err(())
                } else {
                    Ok(Some(start + 10 * second))
                }
            });
            assert_eq!(late.await, Ok(()));
            assert!(now() < start + 2 * second);
            until(&alarm, start + 3 * second).await;
            assert!(now() >= start + 3 * second);
        };
        assert!(drive(&alarm, pin!(task), |_| false).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn completion_wins_over_expiry() {
        let start = now();
        let alarm = Alarm::new(start);
        let at = start + Duration::from_secs(1);
        let sleep = pin!(tokio::time::sleep_until(at.into()));
        let expiry = |now| if now >= at { Err(()) } else { Ok(Some(at)) };
        let both = alarm.race(start, sleep, expiry);
        assert_eq!(drive(&alarm, pin!(both), |_| false).await, Some(Ok(())));
    }

    #[tokio::test(start_paused = true)]
    async fn overdue_ends_the_drive() {
        let start = now();
        let alarm = Alarm::new(start);
        alarm.want(start + Duration::from_secs(3));
        let ended = drive(&alarm, pin!(std::future::pending::<()>()), |at| {
            assert!(at >= start + Duration::from_secs(3));
            true
        })
        .await;
        assert_eq!(ended, None);
    }
}
