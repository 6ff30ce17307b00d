//! Deadline arithmetic: when a request, and each of its attempts, has run out of time, and whose
//! time that was.
//!
//! A wait of `w` begun at `s` is over at `t >= s + w`. Sums that no clock can reach are no limit
//! at all. Nothing here sleeps, reads a clock or knows HTTP beyond the text of the two fields in
//! which callers hand on the time that they have left.

use std::time::{Duration, Instant};

/// When a request runs out of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// The response head must be on its way to the caller before this; `None` is no limit.
    pub at: Option<Instant>,
    /// Whether `at` is the caller's own; where both fall together it is ours.
    pub from_client: bool,
    /// The response body must have ended before this; `None` is no limit. Always ours.
    pub total_at: Option<Instant>,
}

/// Which limit ends a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The wait's own timer: `first_byte`, `connect` or `queue_timeout`.
    Own,
    /// The request's deadline, by our settings.
    Deadline,
    /// The deadline that the caller gave.
    ClientDeadline,
}

/// The end of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The wait is over from this instant on.
    pub at: Instant,
    /// By which limit.
    pub limit: Limit,
}

impl Due {
    /// Whether the wait is over.
    pub fn is_over(&self, now: Instant) -> bool {
        now >= self.at
    }
}

impl Deadline {
    /// Computes the deadline of a request whose head was received at `start`.
    ///
    /// `request` and `total` are the timeouts of that name, `client` the time that the caller
    /// gave; `None` is no limit. `total` bounds the response head too. A zero is past at once.
    pub fn new(
        start: Instant,
        request: Option<Duration>,
        total: Option<Duration>,
        client: Option<Duration>,
    ) -> Self {
        let after = |wait: Option<Duration>| wait.and_then(|wait| start.checked_add(wait));
        let total_at = after(total);
        let ours = earliest(after(request), total_at);
        let theirs = after(client);
        let at = earliest(ours, theirs);
        Self {
            at,
            from_client: at.is_some() && at != ours,
            total_at,
        }
    }

    /// Cuts a wait with its own end (or none) short by this deadline. Where both fall together,
    /// it is the wait's own: an upstream that used up `first_byte` is slow whatever the deadline.
    pub fn bound(&self, own: Option<Instant>) -> Option<Due> {
        let deadline = self.at.map(|at| Due {
            at,
            limit: if self.from_client {
                Limit::ClientDeadline
            } else {
                Limit::Deadline
            },
        });
        let own = own.map(|at| Due {
            at,
            limit: Limit::Own,
        });
        match (own, deadline) {
            (Some(own), Some(deadline)) if deadline.at < own.at => Some(deadline),
            (own, deadline) => own.or(deadline),
        }
    }

    /// The limit that has run out already, if it has: reject without an attempt.
    pub fn past(&self, now: Instant) -> Option<Limit> {
        self.bound(None)
            .filter(|due| due.is_over(now))
            .map(|due| due.limit)
    }

    /// Time left until the deadline, zero if it is past; `None` is no limit.
    pub fn remaining(&self, now: Instant) -> Option<Duration> {
        self.at.map(|at| at.saturating_duration_since(now))
    }
}

fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Units of `grpc-timeout` in nanoseconds, finest first.
const GRPC_UNITS: [(u8, u64); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60_000_000_000),
    (b'H', 3_600_000_000_000),
];

/// `grpc-timeout` has at most 8 digits (gRPC over HTTP/2, "Requests").
const GRPC_MAX: u128 = 99_999_999;

/// Reads `grpc-timeout`: 1-8 digits and a unit. `None` is anything else, to be ignored; zero is a
/// deadline that is past.
pub fn parse_grpc_timeout(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    let (_, nanos) = GRPC_UNITS.into_iter().find(|(name, _)| name == unit)?;
    let count = decimal(digits).filter(|_| digits.len() <= 8)?;
    Duration::from_nanos(nanos).checked_mul(u32::try_from(count).ok()?)
}

/// Writes `grpc-timeout` in the finest unit that 8 digits allow, rounded down, so that no one is
/// told of more time than there is. `None` if nothing remains.
pub fn format_grpc_timeout(remaining: Duration) -> Option<String> {
    if remaining.is_zero() {
        return None;
    }
    let nanos = remaining.as_nanos();
    let fits = GRPC_UNITS
        .into_iter()
        .map(|(unit, size)| (unit, nanos / u128::from(size)))
        .find(|&(_, count)| count <= GRPC_MAX);
    let (unit, count) = fits.unwrap_or((b'H', GRPC_MAX));
    Some(format!("{count}{}", char::from(unit)))
}

/// Reads a field of milliseconds: decimal digits, nothing else. `None` is anything else, or more
/// than 64 bits hold, to be ignored; zero is a deadline that is past.
pub fn parse_millis(text: &[u8]) -> Option<Duration> {
    decimal(text).map(Duration::from_millis)
}

/// Writes a field of milliseconds, rounded down. `None` if less than one remains, which is to be
/// taken as nothing: the next hop would read zero.
pub fn format_millis(remaining: Duration) -> Option<String> {
    let millis = remaining.as_millis();
    (millis > 0).then(|| millis.to_string())
}

/// Decimal digits alone, without sign or space.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests;
