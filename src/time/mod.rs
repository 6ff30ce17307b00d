//! The only place that reads a clock, and the one timer that a connection has.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

mod alarm;
mod flock;

pub use alarm::{Alarm, drive};
pub use flock::{Bounded, Flock};

/// The present instant of the monotonic clock; tests may pause it (tokio's paused time).
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Wall-clock time since the Unix epoch: for logs, and to read dates of the configuration once;
/// never for decisions.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn unix_now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// The present wall-clock time, as `Date` has it (RFC 9110 §5.6.7).
pub fn http_date() -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + unix_now())
}

/// Waits on a timer of its own: for tasks off the request path.
pub async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}
