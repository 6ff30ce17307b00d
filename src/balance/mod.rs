//! The choice of an endpoint: which of those that may be picked gets the next attempt.
//!
//! It protects a slow endpoint from being sent as much as a fast one, and callers from finding
//! out one by one which endpoint is busy. The choice is pure: loads come in as a [`Loads`], random
//! bits as a [`Draw`], nothing is remembered, locked or allocated. Absent: health. Who is ejected
//! or was tried before simply has no share. Settings: the `balance` table.

mod ewma;
mod hash;
mod ring;
mod two;

use std::time::Duration;

pub use self::ewma::Ewma;
pub use self::hash::hash;
pub use self::ring::Ring;

/// `balance` table.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// By which rule.
    pub policy: Policy,
    /// A new or returned endpoint gets its full share only after this long; `None` is `"off"`.
    pub slow_start: Option<Duration>,
}

/// The rule by which an endpoint is chosen.
#[derive(Clone, Debug, PartialEq)]
pub enum Policy {
    /// Of two at random, the one with less in flight.
    LeastInFlight,
    /// Of two at random, the one with the lower product of latency and requests in flight.
    PeakEwma {
        /// A past latency loses its weight over this long.
        decay: Duration,
    },
    /// One after the other.
    RoundRobin,
    /// At random, in proportion to the weights.
    Weighted,
    /// The same for the same key, as far as the set of endpoints stays the same.
    RingHash(HashKey),
}

/// What a request is hashed by; requests without it are spread as by [`Policy::LeastInFlight`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// The value of this field (lower-case name).
    Header(String),
    /// The value of this cookie.
    Cookie(String),
}

/// What is known of the endpoints at the moment of the choice, by index.
pub trait Loads {
    /// How many there are.
    fn count(&self) -> usize;

    /// Weight times [`slow_start`], at most 10^6; an endpoint with 0 is not picked.
    fn share(&self, index: usize) -> u32;

    /// Attempts in flight.
    fn in_flight(&self, index: usize) -> usize;

    /// Latency as it is expected now, microseconds; `None` before the first sample.
    fn latency(&self, index: usize) -> Option<f64>;

    /// Says that all shares are known to be the same and above 0, which saves looking at all.
    fn even(&self) -> bool;
}

/// What the choice does not get from the endpoints.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    /// Random bits.
    pub random: u64,
    /// Counts the picks of [`Policy::RoundRobin`].
    pub turn: usize,
    /// [`hash()`] of the request's key, if it has one.
    pub hash: Option<u64>,
}

impl Policy {
    /// Chooses one of the endpoints that have a share; `None` if there is none.
    ///
    /// `ring` is that of the present endpoints; without one, or without a key,
    /// [`Policy::RingHash`] is [`Policy::LeastInFlight`].
    pub fn choose(&self, loads: &impl Loads, ring: Option<&Ring>, draw: Draw) -> Option<usize> {
        match self {
            Self::LeastInFlight => two::least_in_flight(loads, draw.random),
            Self::PeakEwma { .. } => two::peak_ewma(loads, draw.random),
            Self::RoundRobin => in_turn(loads, draw.turn),
            Self::Weighted => by_share(loads, draw.random),
            Self::RingHash(_) => match ring.zip(draw.hash) {
                Some((ring, hash)) => {
                    // With nobody to find, the walk would be around the whole ring.
                    let any = loads.even() || (0..loads.count()).any(|i| loads.share(i) != 0);
                    any.then(|| ring.find(hash, |index| loads.share(index) > 0))?
                }
                None => two::least_in_flight(loads, draw.random),
            },
        }
    }
}

/// The share of an endpoint that is new, thousandths.
const FLOOR: u32 = 100;

/// The share of an endpoint that needs no slow start, thousandths.
const FULL: u32 = 1000;

/// Share of its traffic that an endpoint gets `since` it came, in thousandths: from a tenth to the
/// whole in a straight line. A tenth and not nothing, so that it has something to warm up by. The
/// whole at once where `over` is zero.
pub fn slow_start(since: Duration, over: Duration) -> u32 {
    let risen = since.as_nanos().saturating_mul(u128::from(FULL));
    let risen = risen.checked_div(over.as_nanos());
    let share = risen.and_then(|risen| u32::try_from(risen).ok());
    share.unwrap_or(FULL).clamp(FLOOR, FULL)
}

/// The `turn`-th, round and round, of those that have a share: so that the gap which an ejected
/// endpoint leaves is filled by all and not by the next one. How large shares are is no matter.
fn in_turn(loads: &impl Loads, turn: usize) -> Option<usize> {
    let n = loads.count();
    if loads.even() {
        return turn.checked_rem(n);
    }
    let mut those = (0..n).filter(|&index| loads.share(index) > 0);
    let nth = turn.checked_rem(those.clone().count())?;
    those.nth(nth)
}

/// One at random, in proportion to the shares.
fn by_share(loads: &impl Loads, random: u64) -> Option<usize> {
    if loads.even() {
        let n = loads.count();
        return (n > 0).then(|| two::below(n, random >> 32));
    }
    two::one(loads.count(), |index| loads.share(index), random >> 32)
}

#[cfg(test)]
mod tests;
