//! A token bucket in exact integers.

use std::time::Duration;

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
