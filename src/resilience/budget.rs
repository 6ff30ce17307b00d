//! The retry budget: retries and hedges as a share of requests.

use std::time::Duration;

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
