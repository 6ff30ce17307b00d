//! The retry budget: retries and hedges as a share of requests.
//!
//! It protects an upstream in trouble from its callers' second attempts. Each request deposits a
//! fraction of a retry, each retry or hedge withdraws a whole one, and what was deposited or
//! withdrawn is forgotten after a while. In thousandths of a retry:
//!
//! ```text
//! balance  = reserve + deposits of the window - withdrawals of the window
//! reserve  = 1000 * min_per_second * window in seconds
//! deposit  : + 1000 * ratio, when the first attempt of a request is dispatched
//! withdraw : - 1000 if the balance is at least that, else denied
//! ```
//!
//! The window is ten slots of a tenth of it each, counted from the start of the budget: the present
//! one and the nine before. So over any ten slots in a row
//!
//! ```text
//! attempts <= requests * (1 + ratio) + min_per_second * window
//! ```
//!
//! for a steady rate of requests, however many of them fail; where the rate drops, what the last
//! window deposited still counts, which is what the window is for. The reserve is per window, not
//! per second: all of it may go at once, and again when its slot expires, so that a span that cuts
//! into an eleventh slot may see it twice.
//!
//! Why this one:
//!
//! - A share of the requests *in flight* would let more retries through the slower the upstream
//!   gets, which is when it needs fewer, and a floor of a few at a time is thousands a second where
//!   failures are fast.
//! - A bucket that successes refill and time does not empty remembers too much: a good hour saves
//!   up a burst for the bad minute, and after an outage it is empty when retries would help again.
//! - Requests deposit, not successes, so that `ratio` is the share of requests that it says. Total
//!   outages are the breaker's business.
//!
//! Invariants: a withdrawal never makes the balance negative, but the balance may become so later,
//! when deposits expire before the withdrawals made against them: that debt is meant. A withdrawal
//! that was given back leaves the balance as if it had never been made. Time never runs backwards:
//! an earlier instant counts as the latest seen. There is no timer here and no request.
//! Settings: `retry.budget`.

use std::time::{Duration, Instant};

/// What a retry or a hedge costs, in thousandths of a retry.
const COST: i64 = 1000;

/// Slots of a window.
const SLOTS: usize = 10;

/// `retry.budget` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What each request deposits, thousandths of a retry (0-10000).
    pub deposit: u32,
    /// Retries per second that are allowed whatever the requests.
    pub min_per_second: u32,
    /// How long a deposit lasts, 1-60 s.
    pub window: Duration,
}

/// What one retry or hedge took out of a budget. To drop it is to spend it.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a withdrawal that is not used should be refunded"]
pub struct Withdrawal {
    /// Of which of the machine's budgets: each change of settings starts a new one.
    epoch: u64,
    slot: u64,
}

/// Counts deposits and withdrawals by slots.
#[derive(Debug)]
pub struct Machine {
    settings: Settings,
    epoch: u64,
    /// Where slot 0 began.
    start: Instant,
    /// Number of the latest slot seen.
    current: u64,
    /// Slot `n` is at `n` modulo their number; deposits less withdrawals, in thousandths.
    slots: [i64; SLOTS],
}

impl Machine {
    /// Makes a budget that holds its reserve and no deposits.
    pub const fn new(settings: Settings, now: Instant) -> Self {
        Self {
            settings,
            epoch: 0,
            start: now,
            current: 0,
            slots: [0; SLOTS],
        }
    }

    /// Adds a request's share. Once a request, when its first attempt is dispatched.
    pub fn deposit(&mut self, now: Instant) {
        self.advance(now);
        self.add(self.current, i64::from(self.settings.deposit));
    }

    /// Takes one retry or hedge out, if there is one left.
    pub fn withdraw(&mut self, now: Instant) -> Option<Withdrawal> {
        self.advance(now);
        if self.balance(now) < COST {
            return None;
        }
        self.add(self.current, -COST);
        Some(Withdrawal {
            epoch: self.epoch,
            slot: self.current,
        })
    }

    /// Puts back what a retry took that was never sent: into the slot that it was taken from, or
    /// nowhere if that has expired or belongs to a budget of older settings.
    pub fn refund(&mut self, withdrawal: Withdrawal, now: Instant) {
        self.advance(now);
        let Withdrawal { epoch, slot } = withdrawal;
        if epoch == self.epoch && slot >= oldest_live(self.current) {
            self.add(slot, COST);
        }
    }

    /// What is left now, in thousandths of a retry.
    pub fn balance(&self, now: Instant) -> i64 {
        let live = oldest_live(self.slot_of(now))..=self.current;
        live.fold(self.reserve(), |sum, slot| {
            sum.saturating_add(self.slots[place(slot)])
        })
    }

    /// Takes over new settings with a new budget, which holds its reserve and no deposits. The
    /// same settings change nothing.
    pub fn reconfigure(&mut self, settings: Settings, now: Instant) {
        if settings != self.settings {
            *self = Self {
                epoch: self.epoch.wrapping_add(1),
                ..Self::new(settings, now)
            };
        }
    }

    /// What is allowed per window without any deposit.
    fn reserve(&self) -> i64 {
        let millis = i64::try_from(self.settings.window.as_millis()).unwrap_or(i64::MAX);
        i64::from(self.settings.min_per_second).saturating_mul(millis)
    }

    /// Number of the slot that `now` lies in, or of the latest seen if that is later.
    fn slot_of(&self, now: Instant) -> u64 {
        let length = self.settings.window.as_nanos() / SLOTS as u128;
        let passed = now.saturating_duration_since(self.start).as_nanos();
        let slot = passed / length.max(1);
        u64::try_from(slot).unwrap_or(u64::MAX).max(self.current)
    }

    /// Empties the slots that expired: at most all of them, however long the gap.
    fn advance(&mut self, now: Instant) {
        let present = self.slot_of(now);
        let gap = present - self.current;
        for step in 1..=gap.min(SLOTS as u64) {
            self.slots[place(self.current + step)] = 0;
        }
        self.current = present;
    }

    fn add(&mut self, slot: u64, thousandths: i64) {
        let slot = &mut self.slots[place(slot)];
        *slot = slot.saturating_add(thousandths);
    }
}

/// The oldest slot that counts while `current` is the present one.
const fn oldest_live(current: u64) -> u64 {
    current.saturating_sub(SLOTS as u64 - 1)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a remainder of `SLOTS` fits its type"
)]
const fn place(slot: u64) -> usize {
    (slot % SLOTS as u64) as usize
}

#[cfg(test)]
mod tests;
