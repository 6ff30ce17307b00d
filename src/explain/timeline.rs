//! The worst case of a request, wait by wait: every wait at its longest, every attempt but the
//! last ending at the last instant in a way that is tried again.
//!
//! Times count from the request head. Back-offs are at their ceilings; a `Retry-After` of the
//! upstream, which takes the place of one, is not drawn.

use std::sync::Arc;
use std::time::Duration;

use super::way::{Way, ceiling};

/// The worst case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// The waits in order of their start.
    pub segments: Vec<Segment>,
    /// What cuts everything off, if anything does.
    pub deadline: Option<Duration>,
    /// Time to the response head if nothing cut it off; `None` is no limit.
    pub without_deadline: Option<Duration>,
    /// Attempts, hedges included, but not those of a failover.
    pub attempts: u32,
    /// Those of them that start before the deadline.
    pub attempts_that_start: u32,
}

impl Timeline {
    /// Longest time to the response head; `None` is no limit.
    pub fn head(&self) -> Option<Duration> {
        let both = [self.deadline, self.without_deadline];
        both.into_iter().flatten().min()
    }

    /// Whether the deadline cuts something off.
    pub fn is_cut(&self) -> bool {
        self.deadline
            .is_some_and(|at| self.without_deadline.is_none_or(|end| end > at))
    }
}

/// One wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// What is waited for.
    pub what: What,
    /// When it begins.
    pub start: Duration,
    /// When it ends at the latest, the deadline aside; `None` is no limit.
    pub end: Option<Duration>,
}

/// What is waited for. Attempts count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A token of the rate limit.
    RateLimit,
    /// A slot of the bulkhead.
    Queue,
    /// A connection below `max_connections`.
    Connection,
    /// An attempt.
    Attempt(u32),
    /// Within an attempt: dialling.
    Connect,
    /// Within an attempt: it is slow from here on.
    Slow,
    /// Before a retry.
    BackOff,
    /// An attempt beside others.
    Hedge(u32),
    /// All of another upstream.
    Failover(Arc<str>),
}

impl What {
    /// The word for programs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::RateLimit => "rate_limit",
            Self::Queue => "queue",
            Self::Connection => "connection",
            Self::Attempt(_) => "attempt",
            Self::Connect => "connect",
            Self::Slow => "slow_call",
            Self::BackOff => "backoff",
            Self::Hedge(_) => "hedge",
            Self::Failover(_) => "failover",
        }
    }

    /// The number of the attempt that it is.
    pub const fn attempt(&self) -> Option<u32> {
        match self {
            Self::Attempt(n) | Self::Hedge(n) => Some(*n),
            _ => None,
        }
    }
}

/// Draws up the worst case of a way.
pub fn of(way: &Way<'_>) -> Timeline {
    let Some(next) = way.failover() else {
        return drawn(way, way.timeouts.first_byte, None);
    };
    if way.resendable {
        return drawn(way, way.timeouts.first_byte, Some(&next));
    }
    // Only what was never sent goes on to the other upstream: that may take less than to wait.
    let here = drawn(way, way.timeouts.first_byte, None);
    let there = drawn(way, way.unsent(), Some(&next));
    let end = |line: &Timeline| line.without_deadline.unwrap_or(Duration::MAX);
    if end(&here) > end(&there) {
        here
    } else {
        there
    }
}

/// The same with the longest last attempt, and on to `next`.
fn drawn(way: &Way<'_>, last: Option<Duration>, next: Option<&Way<'_>>) -> Timeline {
    let deadline = way.deadline();
    let mut builder = Builder {
        segments: Vec::new(),
        at: Some(Duration::ZERO),
    };
    builder.wait(What::RateLimit, way.rate_wait());
    builder.wait(What::Queue, way.queue_wait());
    if way.hedging().is_some() {
        builder.hedged(way);
    } else {
        builder.retried(way, last);
    }
    if let Some(next) = next {
        // The deadline is the same: only what the other may take by itself counts.
        let whole = of(next).without_deadline;
        builder.push(What::Failover(Arc::clone(&next.upstream.name)), whole);
    }
    let starts = |segment: &&Segment| deadline.is_none_or(|at| segment.start < at);
    let attempts = || {
        let segments = builder.segments.iter();
        segments.filter(|segment| segment.what.attempt().is_some())
    };
    Timeline {
        attempts: count(attempts()),
        attempts_that_start: count(attempts().filter(starts)),
        deadline,
        without_deadline: builder.at,
        segments: builder.segments,
    }
}

fn count<'a>(segments: impl Iterator<Item = &'a Segment>) -> u32 {
    u32::try_from(segments.count()).unwrap_or(u32::MAX)
}

struct Builder {
    segments: Vec<Segment>,
    /// Where the next begins; `None` once something has no limit: nothing comes after it.
    at: Option<Duration>,
}

impl Builder {
    fn wait(&mut self, what: What, length: Duration) {
        if !length.is_zero() {
            self.push(what, Some(length));
        }
    }

    fn push(&mut self, what: What, length: Option<Duration>) {
        if let Some(start) = self.at {
            let end = length.map(|length| start.saturating_add(length));
            self.segments.push(Segment { what, start, end });
            self.at = end;
        }
    }

    fn within(&mut self, what: What, start: Duration, end: Option<Duration>) {
        self.segments.push(Segment { what, start, end });
    }

    fn retried(&mut self, way: &Way<'_>, last: Option<Duration>) {
        let retries = if way.retries_anything() {
            way.retries()
        } else {
            0
        };
        for n in 1..=retries.saturating_add(1) {
            self.wait(What::Connection, way.connection_wait());
            let is_last = n > retries;
            let limit = if is_last { last } else { way.retried_after().0 };
            let start = self.at;
            self.push(What::Attempt(n), limit);
            self.details(way, start, limit);
            if !is_last {
                self.wait(What::BackOff, ceiling(&way.retry.settings.backoff, n));
            }
        }
    }

    fn hedged(&mut self, way: &Way<'_>) {
        self.wait(What::Connection, way.connection_wait());
        let first_byte = way.timeouts.first_byte;
        let Some((hedge, mut start)) = way.hedging().zip(self.at) else {
            return;
        };
        self.push(What::Attempt(1), first_byte);
        let first = self.at;
        self.details(way, Some(start), first_byte);
        for n in 1..=hedge.settings.max_hedges {
            let Some(delay) = way.hedge_delay(hedge) else {
                return;
            };
            start = start.saturating_add(delay);
            let end = first_byte.map(|limit| start.saturating_add(limit));
            // An end of the first that is not tried again is the end of all.
            let end = if way.retried_after().1 { end } else { first };
            self.within(What::Hedge(n.saturating_add(1)), start, end);
            self.at = end;
        }
    }

    /// Marks within an attempt: once each is enough.
    fn details(&mut self, way: &Way<'_>, start: Option<Duration>, limit: Option<Duration>) {
        let has = |what: &What| self.segments.iter().any(|segment| segment.what == *what);
        let below = |length: &Duration| limit.is_none_or(|limit| *length <= limit);
        let (connect, slow) = (way.timeouts.connect, way.breaker.settings.slow_call);
        let connect = connect.filter(|connect| below(connect) && !has(&What::Connect));
        let slow = slow.filter(|slow| below(slow) && limit != Some(*slow) && !has(&What::Slow));
        let Some(start) = start else {
            return;
        };
        if let Some(connect) = connect {
            self.within(What::Connect, start, Some(start.saturating_add(connect)));
        }
        if let Some(slow) = slow {
            let at = start.saturating_add(slow);
            self.within(What::Slow, at, Some(at));
        }
    }
}
