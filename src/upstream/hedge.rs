//! The delay of the hedges of a route: fixed, or found from the response times that it is told.
//!
//! Lives between the request path, which asks before each wait and tells how long the head of a
//! successful response took, and [`Latencies`], which counts. A fixed delay has no lock and no
//! memory. Whether, where to and how often a hedge is sent is decided by who asks.

use std::time::{Duration, Instant};

use crate::resilience::hedge::{Delay, Latencies};
use crate::sync::{Mutex, lock};

/// How long an attempt may be without an answer before a hedge starts beside it.
#[derive(Debug)]
pub struct HedgeDelay(Source);

#[derive(Debug)]
enum Source {
    Fixed(Duration),
    Percentile {
        thousandths: u32,
        latencies: Mutex<Latencies>,
    },
}

impl HedgeDelay {
    /// Makes one that knows no response times yet.
    pub fn new(delay: Delay) -> Self {
        Self(match delay {
            Delay::Fixed(delay) => Source::Fixed(delay),
            Delay::Percentile(thousandths) => Source::Percentile {
                thousandths,
                latencies: Mutex::new(Latencies::new()),
            },
        })
    }

    /// The delay as of now; `None`, which means no hedge, while too few response times are known.
    pub fn delay(&self, now: Instant) -> Option<Duration> {
        match &self.0 {
            Source::Fixed(delay) => Some(*delay),
            Source::Percentile {
                thousandths,
                latencies,
            } => lock(latencies).percentile(*thousandths, now),
        }
    }

    /// Hears how long a successful attempt took to its response head. Does nothing where the delay
    /// is fixed.
    pub fn observe(&self, took: Duration, now: Instant) {
        match &self.0 {
            Source::Fixed(_) => {}
            Source::Percentile { latencies, .. } => lock(latencies).record(took, now),
        }
    }
}

#[cfg(test)]
#[cfg(not(outrigger_loom))]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_fixed_delay_learns_nothing() {
        let (delay, now) = (HedgeDelay::new(Delay::Fixed(50 * MS)), crate::time::now());
        assert_eq!(delay.delay(now), Some(50 * MS));
        for _ in 0..1000 {
            delay.observe(MS, now);
        }
        assert_eq!(delay.delay(now), Some(50 * MS));
    }

    #[test]
    fn a_percentile_is_known_after_a_hundred_answers_and_forgotten() {
        let (delay, now) = (HedgeDelay::new(Delay::Percentile(950)), crate::time::now());
        for n in 0..100 {
            assert_eq!(delay.delay(now), None);
            delay.observe(if n % 10 == 0 { 80 * MS } else { 10 * MS }, now);
        }
        assert_eq!(delay.delay(now), Some(80 * MS));
        assert_eq!(delay.delay(now + 30_000 * MS), None);
    }
}
