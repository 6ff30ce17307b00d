//! The rate limit that requests share: [`Machine`] behind one short lock, with a guard for a
//! reserved token.
//!
//! A request is charged once, before it queues for a slot; its retries and hedges are the retry
//! budget's business. There is no timer here: who waits for a [`Reservation`] races its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::view::RateLimitView;
use crate::config::model::{self, Mode};
use crate::resilience::rate_limit::{Acquired, Machine};
use crate::sync::{Mutex, lock};

/// Bounds the rate of requests to one upstream, process-wide.
#[derive(Debug)]
pub struct RateLimit {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    machine: Machine,
    rejected: u64,
    delayed: u64,
    would_reject: u64,
}

impl RateLimit {
    /// Makes one with a full bucket.
    pub fn new(settings: &model::RateLimit, now: Instant) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                mode: settings.mode,
                machine: Machine::new(settings.settings.clone(), now),
                rejected: 0,
                delayed: 0,
                would_reject: 0,
            }),
        })
    }

    /// Charges a request that has `remaining` left (`None`: there is no end to it).
    ///
    /// `None` is leave to go at once, which it always is unless the mode is [`Mode::Enforce`].
    ///
    /// # Errors
    ///
    /// The time after which there would be a token, where the wait for it would be too long.
    pub fn acquire(
        self: &Arc<Self>,
        remaining: Option<Duration>,
        now: Instant,
    ) -> Result<Option<Reservation>, Duration> {
        let mut state = lock(&self.state);
        if state.mode == Mode::Off {
            return Ok(None);
        }
        let acquired = state.machine.acquire(remaining, now);
        match (state.mode, acquired) {
            (_, Acquired::Now) => Ok(None),
            (Mode::Enforce, Acquired::At(at)) => {
                state.delayed += 1;
                Ok(Some(Reservation {
                    limit: Some(Arc::clone(self)),
                    at,
                }))
            }
            (Mode::Enforce, Acquired::Rejected { retry_after }) => {
                state.rejected += 1;
                Err(retry_after)
            }
            (_, Acquired::At(_)) => {
                // It would have waited. It goes now, and its token with it.
                state.machine.spend();
                Ok(None)
            }
            (_, Acquired::Rejected { .. }) => {
                state.would_reject += 1;
                Ok(None)
            }
        }
    }

    /// Takes over the settings of a reload. Those who wait keep their times.
    pub fn reconfigure(&self, settings: &model::RateLimit, now: Instant) {
        let mut state = lock(&self.state);
        state.mode = settings.mode;
        state.machine.reconfigure(settings.settings.clone(), now);
    }

    /// How it looks now.
    pub fn view(&self, now: Instant) -> RateLimitView {
        let state = lock(&self.state);
        RateLimitView {
            mode: state.mode,
            tokens: state.machine.tokens(now),
            rejected: state.rejected,
            delayed: state.delayed,
            would_reject: state.would_reject,
        }
    }
}

/// A token that is on its way; dropping it unspent gives it back.
#[must_use = "a dropped reservation is given back at once"]
#[derive(Debug)]
pub struct Reservation {
    /// `None` once the token was spent.
    limit: Option<Arc<RateLimit>>,
    at: Instant,
}

impl Reservation {
    /// When the token may be spent.
    pub const fn at(&self) -> Instant {
        self.at
    }

    /// Spends the token, once its time has come.
    pub fn spend(mut self) {
        if let Some(limit) = self.limit.take() {
            lock(&limit.state).machine.spend();
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(limit) = &self.limit {
            let now = crate::time::now();
            lock(&limit.state).machine.give_back(now);
        }
    }
}

#[cfg(test)]
#[cfg(not(outrigger_loom))]
mod tests;

#[cfg(test)]
#[cfg(outrigger_loom)]
mod models;
