//! The circuit breaker: cuts a failing or slow upstream loose.

use std::time::Duration;

/// Thresholds are kept in thousandths of a percent, so that comparisons are exact.
pub const FULL_RATE: u32 = 100_000;

/// Settings of one breaker, valid by construction of [`crate::config`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What the rates are computed over.
    pub window: Window,
    /// Rates count only from this many recorded calls on.
    pub min_calls: u32,
    /// Trips at or above this share of failures, thousandths of a percent, 1 to [`FULL_RATE`].
    pub failure_rate: u32,
    /// A call is slow if it took longer than this; `None` turns slow detection off.
    pub slow_call: Option<Duration>,
    /// Trips at or above this share of slow calls, thousandths of a percent, 1 to [`FULL_RATE`].
    pub slow_rate: u32,
    /// Whether running calls past `slow_call` count while they run.
    pub count_overdue: bool,
    /// The bulkhead's limit: a small bulkhead full of overdue calls trips below `min_calls`.
    pub max_requests: u32,
    /// This many failures in a row trip at once; `None` is off.
    pub consecutive_failures: Option<u32>,
    /// First open wait.
    pub open_for: Duration,
    /// Cap of the growing open wait, before jitter.
    pub open_for_max: Duration,
    /// Growth of the open wait per consecutive opening, thousandths (2000 doubles), at least 1000.
    pub open_multiplier: u32,
    /// Open waits are lengthened by up to this share, thousandths, at most 1000.
    pub open_jitter: u32,
    /// Probes admitted, and results required, per half-open period.
    pub half_open_calls: u32,
    /// Longest half-open period; `None` is no limit.
    pub half_open_max_wait: Option<Duration>,
    /// Where a half-open period goes that lasted too long.
    pub half_open_on_max_wait: AfterMaxWait,
    /// Whether OPEN is left by time alone.
    pub auto_half_open: bool,
}

/// What the rates are computed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// The last so many seconds, in buckets of one second.
    Seconds(u32),
    /// The last so many recorded calls.
    Calls(u32),
}

/// Where a half-open period goes that reached its maximum wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterMaxWait {
    /// Back to open, as a further consecutive opening.
    Open,
    /// To closed with an empty window.
    Closed,
}
