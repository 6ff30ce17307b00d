//! Outlier ejection: endpoints that fail are left out for a while.

use std::time::Duration;

/// `ejection` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Failures in a row that eject; `None` is `"off"`.
    pub consecutive_failures: Option<u32>,
    /// Share of failures in an interval that ejects, thousandths of a percent; `None` is `"off"`.
    pub failure_rate: Option<u32>,
    /// An endpoint's share counts only from this many outcomes in the interval on.
    pub min_volume: u32,
    /// Shares count only if this many endpoints have them.
    pub min_endpoints: u32,
    /// Length of an interval.
    pub interval: Duration,
    /// The first ejection lasts this long.
    pub eject_for: Duration,
    /// The longest ejection.
    pub eject_for_max: Duration,
    /// An ejection is lengthened by up to this, at random.
    pub jitter: Duration,
    /// Greatest share of endpoints ejected at once, thousandths of a percent.
    pub max_ejected: u32,
}
