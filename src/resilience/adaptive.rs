//! A limit of concurrency that follows the latency of the upstream.

use std::time::Duration;

/// `adaptive` table.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How the limit follows.
    pub algorithm: Algorithm,
    /// The limit at the start.
    pub initial: u32,
    /// The least limit.
    pub min: u32,
    /// The greatest limit; `max_requests` bounds it as well.
    pub max: u32,
    /// Samples are gathered at least this long before the limit moves.
    pub window: Duration,
    /// And at least this many.
    pub min_samples: u32,
}

/// How the limit follows.
#[derive(Clone, Debug, PartialEq)]
pub enum Algorithm {
    /// By the ratio of the long-term latency to the present one.
    Gradient2 {
        /// Updates over which the long-term latency is averaged.
        long_window: u32,
        /// The present latency may be this many times the long-term one.
        tolerance: f64,
        /// What the limit may grow by, and so what may queue at the upstream.
        queue_size: u32,
        /// How much of a new limit is taken over, 0-1.
        smoothing: f64,
    },
    /// Up by one, down by a factor.
    Aimd {
        /// The factor, 0.5-1.
        backoff: f64,
        /// A longer response time counts as a drop.
        timeout: Duration,
    },
}
