//! Which outcomes are tried again, and after how long.
//!
//! A retry hides a passing failure from the caller, and can do three kinds of harm: do twice what
//! must be done once, keep the caller past its deadline, and load an upstream that fails because it
//! is loaded. [`Plan`] rules out the first two and spreads what is left of the third over time; the
//! [budget](super::budget) and the breaker bound it, and are asked by the caller after the plan.
//!
//! The checks, in this order; the first that fails names the denial:
//!
//! | check | else |
//! |---|---|
//! | the outcome is of a kind in [`On`] | [`Next::Deliver`]: not a denial, there was nothing to retry |
//! | fewer than `retries` were made | [`Denied::Spent`] |
//! | it was never processed, or the request is idempotent, or `non_idempotent` is set | [`Denied::Unsafe`] |
//! | the body can be sent again | [`Denied::Committed`] |
//! | the upstream asks for at most `max_retry_after` | [`Denied::Forbidden`] |
//! | the delay ends before the deadline does | [`Denied::Deadline`] |
//! | the breaker would admit it (caller) | [`Denied::Breaker`] |
//! | the budget grants it (caller) | [`Denied::Budget`] |
//!
//! All are made before the wait: a retry that cannot be sent is not waited for. What the budget
//! hands out comes last, so that nothing has to be given back.
//!
//! # The delay
//!
//! The ceiling of the *k*-th delay is `min(max, base * 2^(k-1))`, and the delay is drawn below it:
//! callers that failed together would otherwise come back together. `full` spreads them most;
//! `equal` never comes back at once; `decorrelated` grows from what was drawn rather than from a
//! count; `none` is for tests and for lone callers. Where the upstream says when to come back, that
//! is the delay, exactly: it knows. The computed ones then start over, since what they had learnt is
//! superseded. An attempt that was never sent waits like any other, or refused connections would be
//! a busy loop.
//!
//! Invariants: a plan grants at most `retries`; it draws from its own seed alone. There is no clock
//! here, no timer and no state beyond one request. Settings: the `retry` table.

use std::time::Duration;

use fastrand::Rng;

use super::classify::StatusSet;

/// `retry` table, without its budget.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Attempts after the first (0-10).
    pub retries: u32,
    /// Which outcomes are tried again.
    pub on: On,
    /// Whether requests that are neither idempotent nor keyed may be sent again.
    pub non_idempotent: bool,
    /// A request body up to this size is kept for a retry, bytes.
    pub max_body_buffer: usize,
    /// How long to wait before each retry.
    pub backoff: Backoff,
    /// An upstream that asks for a longer wait than this has forbidden the retry.
    pub max_retry_after: Duration,
}

/// Outcomes that are tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct On {
    /// The upstream certainly did not process it.
    pub not_sent: bool,
    /// The connection broke before the response head.
    pub reset: bool,
    /// `first_byte` ran out.
    pub timeout: bool,
    /// Statuses of responses.
    pub status: StatusSet,
    /// gRPC statuses of responses that are trailers only.
    pub grpc: Vec<u8>,
}

/// `retry.backoff` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Ceiling of the first delay; it doubles from one retry to the next.
    pub base: Duration,
    /// Greatest ceiling.
    pub max: Duration,
    /// How a delay is drawn below its ceiling.
    pub jitter: Jitter,
}

/// How a delay is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter {
    /// Anything from nothing to the ceiling.
    Full,
    /// Half of the ceiling, and anything up to the other half.
    Equal,
    /// From the base to three times the delay before, up to `max`.
    Decorrelated,
    /// The ceiling itself.
    None,
}

/// How an attempt ended, as far as a retry is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The upstream certainly did not process it: no connection, or closed before a byte of the
    /// request was written.
    NotSent,
    /// The connection broke before the response head.
    Reset,
    /// `first_byte` ran out.
    TimedOut,
    /// A response head with this status.
    Status(u16),
    /// A gRPC response that is trailers only, with this gRPC status.
    Grpc(u32),
    /// In another way, which nothing is to be done about: the caller's fault or ours.
    Final,
}

impl Settings {
    /// Says whether this outcome is of a kind that is tried again, and which. Hedges ask it too:
    /// an outcome of no such kind is the answer.
    pub fn why(&self, ended: Ended) -> Option<Why> {
        let on = &self.on;
        let (listed, why) = match ended {
            Ended::NotSent => (on.not_sent, Why::NotSent),
            Ended::Reset => (on.reset, Why::Reset),
            Ended::TimedOut => (on.timeout, Why::Timeout),
            Ended::Status(status) => (on.status.contains(status), Why::Status),
            Ended::Grpc(code) => (on.grpc.iter().any(|&c| u32::from(c) == code), Why::Grpc),
            Ended::Final => return None,
        };
        listed.then_some(why)
    }
}

/// Whether a request may and can be sent once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sendable {
    /// To process it twice is as good as once: by its method, or by a key that the upstream honours.
    pub idempotent: bool,
    /// All of its body so far is kept or was never read, and no response head was forwarded.
    pub replayable: bool,
}

/// What the upstream says about a retry: `retry-after`, or `grpc-retry-pushback-ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Nothing.
    None,
    /// Not before this time has passed.
    After(Duration),
    /// Do not retry.
    Forbidden,
}

/// What to do after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Deliver the outcome: it does not call for a retry.
    Deliver,
    /// Deliver the outcome although it calls for a retry.
    Denied(Denied),
    /// Wait, then try again, if breaker and budget agree.
    After {
        /// How long to wait.
        delay: Duration,
        /// What the retry is counted as.
        why: Why,
    },
}

/// The retries of one request. Costs nothing to make, but is not needed before an attempt has
/// failed.
///
/// A grant counts as made. If breaker or budget then deny it, the outcome in hand is delivered and
/// the plan is done: there is nothing to undo.
#[derive(Clone, Debug)]
pub struct Plan {
    rng: Rng,
    /// Retries granted.
    made: u32,
    /// Delays computed since the start or the last advice.
    computed: u32,
    /// The last of them, nanoseconds.
    previous: u64,
}

impl Plan {
    /// Makes a plan with all retries left, whose delays are drawn from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            made: 0,
            computed: 0,
            previous: 0,
        }
    }

    /// Decides what follows an attempt that ended like this. `remaining` is what is left of the
    /// deadline, if there is one.
    pub fn next(
        &mut self,
        settings: &Settings,
        ended: Ended,
        resend: Sendable,
        advice: Advice,
        remaining: Option<Duration>,
    ) -> Next {
        let Some(why) = settings.why(ended) else {
            return Next::Deliver;
        };
        let harmless = resend.idempotent || settings.non_idempotent || ended == Ended::NotSent;
        if self.made >= settings.retries {
            return Next::Denied(Denied::Spent);
        } else if !harmless {
            return Next::Denied(Denied::Unsafe);
        } else if !resend.replayable {
            return Next::Denied(Denied::Committed);
        }
        let delay = match advice {
            Advice::Forbidden => return Next::Denied(Denied::Forbidden),
            Advice::After(delay) if delay > settings.max_retry_after => {
                return Next::Denied(Denied::Forbidden);
            }
            Advice::After(delay) => {
                (self.computed, self.previous) = (0, 0);
                delay
            }
            Advice::None => self.draw(&settings.backoff),
        };
        if remaining.is_some_and(|remaining| delay >= remaining) {
            return Next::Denied(Denied::Deadline);
        }
        self.made += 1;
        Next::After { delay, why }
    }

    /// Draws the next computed delay.
    fn draw(&mut self, backoff: &Backoff) -> Duration {
        let (base, max) = (nanos(backoff.base), nanos(backoff.max));
        let ceiling = ceiling(base, max, self.computed);
        let delay = match backoff.jitter {
            Jitter::Full => self.rng.u64(0..=ceiling),
            Jitter::Equal => ceiling - self.rng.u64(0..=ceiling / 2),
            Jitter::Decorrelated => {
                // No draw is below the base, so this makes the first one start there.
                let previous = self.previous.max(base);
                self.rng.u64(base..=previous.saturating_mul(3)).min(max)
            }
            Jitter::None => ceiling,
        };
        self.computed = self.computed.saturating_add(1);
        self.previous = delay;
        Duration::from_nanos(delay)
    }
}

/// `min(max, base * 2^doublings)`, exact for any number of them.
fn ceiling(base: u64, max: u64, doublings: u32) -> u64 {
    let factor = 1_u64.checked_shl(doublings).unwrap_or(u64::MAX);
    base.saturating_mul(factor).min(max)
}

/// Whole nanoseconds; 584 years stand for anything longer.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Why an attempt is followed by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The upstream certainly did not process it.
    NotSent,
    /// The connection broke before the response head.
    Reset,
    /// `first_byte` ran out.
    Timeout,
    /// The status of the response.
    Status,
    /// The gRPC status of the response.
    Grpc,
}

impl Why {
    /// Every value, in the order of the enum.
    pub const ALL: [Self; 5] = [
        Self::NotSent,
        Self::Reset,
        Self::Timeout,
        Self::Status,
        Self::Grpc,
    ];

    /// The word for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotSent => "not_sent",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Status => "status",
            Self::Grpc => "grpc",
        }
    }
}

/// Why an outcome that calls for a retry is delivered all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// All attempts were made.
    Spent,
    /// The request may have been processed and is not idempotent.
    Unsafe,
    /// Its body was not kept.
    Committed,
    /// The upstream forbids it.
    Forbidden,
    /// The delay does not fit into what is left of the deadline.
    Deadline,
    /// The breaker would reject it.
    Breaker,
    /// The budget is exhausted.
    Budget,
}

impl Denied {
    /// Every value, in the order of the enum.
    pub const ALL: [Self; 7] = [
        Self::Spent,
        Self::Unsafe,
        Self::Committed,
        Self::Forbidden,
        Self::Deadline,
        Self::Breaker,
        Self::Budget,
    ];

    /// The word for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spent => "spent",
            Self::Unsafe => "unsafe",
            Self::Committed => "committed",
            Self::Forbidden => "forbidden",
            Self::Deadline => "deadline",
            Self::Breaker => "breaker",
            Self::Budget => "budget",
        }
    }
}

#[cfg(test)]
mod tests;
