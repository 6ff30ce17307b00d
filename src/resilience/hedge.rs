//! When a second attempt is started beside one that is late.

use std::time::Duration;

/// `hedge` table.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Attempts beside the first (1-3).
    pub max_hedges: u32,
    /// How long an attempt may be without an answer before the next is started.
    pub delay: Delay,
    /// Whether a hedge may go to an endpoint that this request already uses.
    pub same_endpoint: bool,
}

/// The delay of a hedge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delay {
    /// Always this.
    Fixed(Duration),
    /// This percentile of recent response times, in thousandths (950 is the 95th percentile).
    Percentile(u32),
}
