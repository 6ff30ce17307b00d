//! Log lines that a peer can cause at will, at most one per interval and place.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Admits one line per interval and counts those it held back; one `static` per log statement.
///
/// ```
/// # use std::time::Duration;
/// # use outrigger::telemetry::limited::Limited;
/// static ACCEPT_FAILED: Limited = Limited::every(Duration::from_secs(10));
///
/// if let Some(suppressed) = ACCEPT_FAILED.admit(outrigger::time::now()) {
///     tracing::warn!(suppressed, "accept failed");
/// }
/// ```
#[derive(Debug)]
pub struct Limited {
    interval: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    last: Option<Instant>,
    suppressed: u64,
}

impl Limited {
    /// Admits at most one line per `interval`, the first one at once.
    pub const fn every(interval: Duration) -> Self {
        Self {
            interval,
            state: Mutex::new(State {
                last: None,
                suppressed: 0,
            }),
        }
    }

    /// Says whether to write the line now, and how many were held back since the last one.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let due = state
            .last
            .is_none_or(|last| now.saturating_duration_since(last) >= self.interval);
        if due {
            state.last = Some(now);
            Some(std::mem::take(&mut state.suppressed))
        } else {
            state.suppressed += 1;
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_interval_says_how_many_were_held_back() {
        let limited = Limited::every(Duration::from_secs(10));
        let start = crate::time::now();
        let at = |seconds| limited.admit(start + Duration::from_secs(seconds));
        assert_eq!(at(0), Some(0));
        assert_eq!(at(1), None);
        assert_eq!(at(9), None);
        assert_eq!(at(10), Some(2));
        assert_eq!(at(11), None);
    }
}
