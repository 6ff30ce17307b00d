//! A token bucket in exact integers, with reservations.
//!
//! It protects the upstream, or the quota that it sells, from more requests than were agreed on:
//! `rate` in each `per` over time, and no more than `burst` at once.
//!
//! With P the nanoseconds in `per`, the level is counted in parts of a token, P to the token, so
//! that one nanosecond fills in exactly `rate` parts and nothing is ever rounded away:
//!
//! | event | rule |
//! |---|---|
//! | time passes | level = min(burst · P, level + nanoseconds · rate) |
//! | a request, level ≥ P | level −= P, it goes at once |
//! | a request, level < P | w = ⌈(P − level) / rate⌉ ns: level −= P and it goes after w, if that is at most `max_wait` and less than the time that the request has left; else it is refused at once and the level stays |
//! | one that waits leaves, R others wait | level += P, at most (burst − R) · P; nobody's time changes |
//!
//! A reservation pushes the level below zero. Whoever comes next waits for the deficit as well,
//! which makes the order that of arrival without a queue.
//!
//! One that leaves makes room at the end of the line, for somebody who then goes at the same time
//! as another. Were callers to lose patience again and again just before their turn, tokens that
//! nobody spends would pile up in the line, and go at once as soon as callers stay. Hence a token
//! that comes back counts only as far as bucket and line together hold no more than a burst.
//!
//! Why this and not a counter per period: around the border of two periods that lets twice the
//! rate through. Why not strict pacing: it delays harmless bursts.
//!
//! Invariants: from the start to any instant no more requests go than burst + rate · time. In a
//! span that begins later there may be rate · `max_wait` more, and only where waiters left. The
//! machine keeps no list of waiters and no timer. Settings: the `rate_limit` table.

use std::time::{Duration, Instant};

/// `rate_limit` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Requests per [`Self::per`] (1-1000000).
    pub rate: u32,
    /// The period of `rate` (1 ms - 1 h).
    pub per: Duration,
    /// Requests that may come at once (1-1000000).
    pub burst: u32,
    /// Longest wait for a token; zero refuses at once.
    pub max_wait: Duration,
}

/// What came of a request for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// A token was there and is spent.
    Now,
    /// A token is reserved for this instant. It is due a [`Machine::spend`] from then on, or a
    /// [`Machine::give_back`] at any time.
    At(Instant),
    /// No token would be there soon enough; nothing was taken.
    Rejected {
        /// When there would be one.
        retry_after: Duration,
    },
}

/// The bucket.
#[derive(Debug)]
pub struct Machine {
    settings: Settings,
    /// Parts of a token, [`Settings::parts`] to each; below zero by what is reserved.
    level: i128,
    /// Reservations neither spent nor given back.
    reserved: u32,
    /// The latest instant seen, up to which the level is filled.
    last: Instant,
}

impl Machine {
    /// Makes a full bucket.
    pub fn new(settings: Settings, now: Instant) -> Self {
        Self {
            level: settings.full(),
            settings,
            reserved: 0,
            last: now,
        }
    }

    /// Takes a token, or reserves the next one if its wait is within `max_wait` and below the time
    /// that the request has left (`None`: there is no end to it), or refuses.
    pub fn acquire(&mut self, left: Option<Duration>, now: Instant) -> Acquired {
        self.refill(now);
        let missing = self.settings.parts().saturating_sub(self.level);
        if missing <= 0 {
            self.take();
            return Acquired::Now;
        }
        let wait = self.settings.time_for(missing.unsigned_abs());
        let in_time = wait <= self.settings.max_wait && left.is_none_or(|left| wait < left);
        match self.last.checked_add(wait).filter(|_| in_time) {
            Some(at) => {
                self.reserved = self.reserved.saturating_add(1);
                self.take();
                Acquired::At(at)
            }
            None => Acquired::Rejected { retry_after: wait },
        }
    }

    /// Ends a reservation whose instant has come; its token is long since out of the bucket.
    pub fn spend(&mut self) {
        self.reserved = self.reserved.saturating_sub(1);
    }

    /// Takes back the token of a reservation that will not be spent.
    pub fn give_back(&mut self, now: Instant) {
        self.refill(now);
        let Some(others) = self.reserved.checked_sub(1) else {
            return;
        };
        self.reserved = others;
        let parts = self.settings.parts();
        let held = parts.saturating_mul(i128::from(others));
        let most = self.settings.full().saturating_sub(held);
        let level = self.level.saturating_add(parts).min(most);
        self.level = self.level.max(level);
        self.check_invariants();
    }

    /// Takes over new settings. What has flowed in until now did so at the old rate, a smaller
    /// burst spills what is above it, and reservations keep their times.
    pub fn reconfigure(&mut self, settings: Settings, now: Instant) {
        self.refill(now);
        let (old, new) = (self.settings.parts(), settings.parts());
        // Whole tokens and the rest apart, so that no product is too large. Rounded down: a reload
        // makes no tokens.
        let whole = self.level.div_euclid(old).saturating_mul(new);
        let rest = self.level.rem_euclid(old).saturating_mul(new) / old;
        self.settings = settings;
        self.level = whole.saturating_add(rest).min(self.settings.full());
        self.check_invariants();
    }

    /// Tokens in the bucket at `now`; negative by those that are reserved.
    pub fn tokens(&self, now: Instant) -> f64 {
        self.level_at(now) as f64 / self.settings.parts() as f64
    }

    fn take(&mut self) {
        self.level = self.level.saturating_sub(self.settings.parts());
        self.check_invariants();
    }

    fn refill(&mut self, now: Instant) {
        self.level = self.level_at(now);
        self.last = self.last.max(now);
        self.check_invariants();
    }

    fn level_at(&self, now: Instant) -> i128 {
        let passed = nanos(now.saturating_duration_since(self.last));
        let gained = passed.saturating_mul(self.settings.rate());
        let level = self.level.saturating_add(gained);
        level.min(self.settings.full())
    }

    fn check_invariants(&self) {
        debug_assert!(self.level <= self.settings.full(), "the bucket overflows");
    }
}

impl Settings {
    /// Parts in a token: nanoseconds in a period.
    fn parts(&self) -> i128 {
        nanos(self.per).max(1)
    }

    /// Parts that flow in with each nanosecond.
    fn rate(&self) -> i128 {
        i128::from(self.rate.max(1))
    }

    /// Parts in a full bucket.
    fn full(&self) -> i128 {
        self.parts().saturating_mul(i128::from(self.burst))
    }

    /// How long it takes for so many parts to flow in, rounded up.
    fn time_for(&self, parts: u128) -> Duration {
        let nanos = parts.div_ceil(self.rate().unsigned_abs());
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// Whole nanoseconds: less than 2⁹⁴ of them, which leaves room for a factor of 32 bits.
fn nanos(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests;
