//! The shell around the breaker's machine: one lock, the mode, permits as guards, an observer.
//!
//! Lives between the request path, which asks for a [`Permit`] per attempt, and the machine,
//! which decides. The lock is held for one call of the machine, never across an await and never
//! while the observer runs. It does not classify: verdicts come from the request path.

#[cfg(test)]
#[cfg(outrigger_loom)]
mod models;
mod permit;
#[cfg(test)]
#[cfg(not(outrigger_loom))]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use self::permit::{Permit, UploadClock};
use crate::config::model::Mode;
use crate::resilience::Verdict;
use crate::resilience::breaker::{
    Cause, Counted, Counts, Event, Machine, Operation, Refused, Rejected, Settings, State, Ticket,
    Transition, View,
};
use crate::sync::{Mutex, MutexGuard, lock};

/// Hears what a breaker does, after its lock is released. It should be cheap; it may call the
/// breaker.
pub trait Observer: Send + Sync {
    /// The state changed. Never called from two threads at once, and in the order of the changes.
    fn transition(&self, transition: &Transition);

    /// In the metrics-only state, a threshold was reached; as ordered as [`Self::transition`].
    fn would_trip(&self, cause: Cause, counts: &Counts) {
        let _ = (cause, counts);
    }

    /// An attempt was rejected, or ended.
    fn counted(&self, counted: Counted);
}

/// The breaker of an upstream, or of a route that has its own.
pub struct Breaker {
    inner: Mutex<Inner>,
    observer: Box<dyn Observer>,
}

struct Inner {
    machine: Machine,
    mode: Mode,
    /// Somebody is handing events to the observer, and will hand over those added meanwhile.
    delivering: bool,
}

impl Breaker {
    /// Makes a closed breaker. `seed` is that of the jitter.
    pub fn new(
        settings: Settings,
        mode: Mode,
        seed: u64,
        observer: Box<dyn Observer>,
        now: Instant,
    ) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::new(Inner {
                machine: Machine::new(settings, seed, now),
                mode,
                delivering: false,
            }),
            observer,
        })
    }

    /// Says whether an attempt would be admitted now, so that nobody queues for an open breaker.
    /// Takes nothing. Only an enforced breaker rejects here, and counts it.
    pub fn peek(&self, now: Instant) -> Result<(), Rejected> {
        let mut inner = self.lock();
        let answer = match inner.mode {
            Mode::Enforce => inner.machine.peek(now),
            Mode::Observe | Mode::Off => Ok(()),
        };
        self.deliver(inner);
        if answer.is_err() {
            self.observer.counted(Counted::Rejected);
        }
        answer
    }

    /// As [`Self::peek`] for a request that is in already: what is held back then is not counted as
    /// a rejected call.
    pub fn would_admit(&self, now: Instant) -> bool {
        let mut inner = self.lock();
        let admits = inner.mode != Mode::Enforce || inner.machine.peek(now).is_ok();
        self.deliver(inner);
        admits
    }

    /// Admits an attempt beside one that runs already: only while nothing is in doubt, since a
    /// probe is one call. Else gives the state; one that only observes lets it pass unrecorded.
    pub fn admit_beside(self: &Arc<Self>, now: Instant) -> Result<Permit, State> {
        let mut inner = self.lock();
        let ticket = match inner.mode {
            Mode::Off => Ok(None),
            Mode::Enforce | Mode::Observe => {
                let steady = inner.machine.steady(now);
                match steady {
                    Ok(()) => Ok(inner.machine.acquire(now).ok()),
                    Err(_) if inner.mode == Mode::Observe => Ok(None),
                    Err(state) => Err(state),
                }
            }
        };
        self.deliver(inner);
        ticket.map(|ticket| Permit::new(self, ticket, now))
    }

    /// Admits an attempt, which starts its clock, or rejects it.
    pub fn admit(self: &Arc<Self>, now: Instant) -> Result<Permit, Rejected> {
        let mut inner = self.lock();
        let mode = inner.mode;
        let answer = match mode {
            Mode::Enforce | Mode::Observe => inner.machine.acquire(now).map(Some),
            Mode::Off => Ok(None),
        };
        self.deliver(inner);
        match answer {
            Ok(ticket) => Ok(Permit::new(self, ticket, now)),
            Err(_) if mode == Mode::Observe => {
                self.observer.counted(Counted::WouldReject);
                Ok(Permit::new(self, None, now))
            }
            Err(rejected) => {
                self.observer.counted(Counted::Rejected);
                Err(rejected)
            }
        }
    }

    /// How it looks now.
    pub fn view(&self, now: Instant) -> View {
        let mut inner = self.lock();
        let view = inner.machine.view(now);
        self.deliver(inner);
        view
    }

    /// Whether it acts.
    pub fn mode(&self) -> Mode {
        self.lock().mode
    }

    /// Does what an operator asks, or refuses and changes nothing.
    pub fn operate(&self, operation: Operation, now: Instant) -> Result<(), Refused> {
        let mut inner = self.lock();
        let answer = if inner.mode == Mode::Off {
            Err(Refused::Off)
        } else {
            inner.machine.operate(operation, now)
        };
        self.deliver(inner);
        answer
    }

    /// Takes over the settings of a reload. Switching off forgets all: permits in flight become
    /// without effect, and the breaker is closed when it is switched on again.
    pub fn reconfigure(&self, settings: Settings, mode: Mode, now: Instant) {
        let mut inner = self.lock();
        inner.machine.reconfigure(settings, now);
        if mode == Mode::Off && inner.mode != Mode::Off {
            inner.machine.switch_off(now);
        }
        inner.mode = mode;
        self.deliver(inner);
    }

    fn pause(&self, ticket: Ticket, now: Instant) {
        self.change(|machine| machine.pause(ticket, now));
    }

    fn resume(&self, ticket: Ticket, now: Instant) {
        self.change(|machine| machine.resume(ticket, now));
    }

    fn head(&self, ticket: Ticket, now: Instant) {
        self.change(|machine| machine.head(ticket, now));
    }

    fn record(&self, ticket: Ticket, verdict: Verdict, duration: Duration, now: Instant) {
        let counted = self.change(|machine| machine.record(ticket, verdict, duration, now));
        if let Some(counted) = counted {
            self.observer.counted(counted);
        }
    }

    /// Calls the machine, unless the breaker was switched off.
    fn change<T>(&self, change: impl FnOnce(&mut Machine) -> T) -> Option<T> {
        let mut inner = self.lock();
        let on = inner.mode != Mode::Off;
        let result = on.then(|| change(&mut inner.machine));
        self.deliver(inner);
        result
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    /// Releases the lock and hands over what happened: by one thread at a time, so that the order
    /// is kept although the lock is not held.
    fn deliver<'a>(&'a self, mut inner: MutexGuard<'a, Inner>) {
        if inner.delivering || !inner.machine.has_events() {
            return;
        }
        inner.delivering = true;
        while inner.machine.has_events() {
            let events = inner.machine.take_events();
            drop(inner);
            for event in events {
                match event {
                    Event::Transition(transition) => self.observer.transition(&transition),
                    Event::WouldTrip { cause, counts } => self.observer.would_trip(cause, &counts),
                }
            }
            inner = self.lock();
        }
        inner.delivering = false;
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker").finish_non_exhaustive()
    }
}
