//! The guard of one attempt: it ends with a verdict, or by being dropped.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Breaker;
use crate::resilience::Verdict;
use crate::resilience::breaker::{AttemptClock, Ticket};
use crate::sync::{Mutex, lock};

/// Right of one attempt to go to the upstream, with its clock.
///
/// Ends by [`Self::record`]; being dropped counts as cut short: slow if it already was, else no
/// evidence. Either way a probe's place comes free. It costs no allocation unless
/// [`Self::upload_clock`] is asked for.
#[derive(Debug)]
#[must_use = "a permit dropped at once counts as cut short"]
pub struct Permit {
    breaker: Arc<Breaker>,
    /// `None` where the attempt is not recorded, and once it was.
    ticket: Option<Ticket>,
    clock: Clock,
}

#[derive(Debug)]
enum Clock {
    Own(AttemptClock),
    Shared(Arc<Mutex<AttemptClock>>),
}

impl Permit {
    pub(super) fn new(breaker: &Arc<Breaker>, ticket: Option<Ticket>, now: Instant) -> Self {
        Self {
            breaker: Arc::clone(breaker),
            ticket,
            clock: Clock::Own(AttemptClock::start(now)),
        }
    }

    /// How long the attempt clock has run: from the dispatch to now or to the response head,
    /// without the waits for the caller's upload.
    pub fn elapsed(&self, now: Instant) -> Duration {
        match &self.clock {
            Clock::Own(clock) => clock.elapsed(now),
            Clock::Shared(clock) => lock(clock).elapsed(now),
        }
    }

    /// The response head arrived: the clock stops for good.
    pub fn head(&mut self, now: Instant) {
        match &mut self.clock {
            Clock::Own(clock) => clock.stop(now),
            Clock::Shared(clock) => lock(clock).stop(now),
        }
        if let Some(ticket) = self.ticket {
            self.breaker.head(ticket, now);
        }
    }

    /// Ends the attempt with this verdict.
    pub fn record(mut self, verdict: Verdict, now: Instant) {
        self.end(verdict, now);
    }

    /// Ends the attempt as no evidence, while it goes on: from here on the breaker knows nothing of
    /// it, and the clock alone runs.
    pub fn forget(&mut self, now: Instant) {
        self.end(Verdict::Ignored, now);
    }

    /// A handle for whoever reads the caller's upload, to stop the clock while there is nothing to
    /// send.
    pub fn upload_clock(&mut self) -> UploadClock {
        let clock = match &self.clock {
            Clock::Shared(clock) => Arc::clone(clock),
            Clock::Own(clock) => {
                let clock = Arc::new(Mutex::new(*clock));
                self.clock = Clock::Shared(Arc::clone(&clock));
                clock
            }
        };
        UploadClock {
            breaker: Arc::clone(&self.breaker),
            ticket: self.ticket,
            clock,
        }
    }

    fn end(&mut self, verdict: Verdict, now: Instant) {
        if let Some(ticket) = self.ticket.take() {
            self.breaker.record(ticket, verdict, self.elapsed(now), now);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.ticket.is_some() {
            self.end(Verdict::Abandoned, crate::time::now());
        }
    }
}

/// Stops and restarts the clock of one attempt from another task. Without effect once the response
/// head has arrived or the attempt has ended.
#[derive(Clone, Debug)]
pub struct UploadClock {
    breaker: Arc<Breaker>,
    ticket: Option<Ticket>,
    clock: Arc<Mutex<AttemptClock>>,
}

impl UploadClock {
    /// Nothing to send: the caller's upload is awaited. Stays so until [`Self::resume`].
    pub fn pause(&self, now: Instant) {
        let mut clock = lock(&self.clock);
        if clock.pause(now)
            && let Some(ticket) = self.ticket
        {
            self.breaker.pause(ticket, now);
        }
    }

    /// There is something to send again.
    pub fn resume(&self, now: Instant) {
        let mut clock = lock(&self.clock);
        if clock.resume(now)
            && let Some(ticket) = self.ticket
        {
            self.breaker.resume(ticket, now);
        }
    }
}
