//! The attempt clock: what of an attempt's time is the upstream's.

use std::time::{Duration, Instant};

/// Runs from dispatch to the response head, and stands while the caller's upload is awaited.
#[derive(Clone, Copy, Debug)]
pub struct AttemptClock {
    started: Instant,
    paused: Duration,
    paused_since: Option<Instant>,
    stopped: Option<Duration>,
}

impl AttemptClock {
    /// Starts the clock.
    pub const fn start(now: Instant) -> Self {
        Self {
            started: now,
            paused: Duration::ZERO,
            paused_since: None,
            stopped: None,
        }
    }

    /// How long it has run.
    pub fn elapsed(&self, now: Instant) -> Duration {
        self.stopped.unwrap_or_else(|| {
            self.paused_since
                .unwrap_or(now)
                .saturating_duration_since(self.started)
                .saturating_sub(self.paused)
        })
    }

    /// Lets it stand. Says whether it was running.
    pub fn pause(&mut self, now: Instant) -> bool {
        let running = self.stopped.is_none() && self.paused_since.is_none();
        if running {
            self.paused_since = Some(now);
        }
        running
    }

    /// Lets it run on. Says whether it was standing.
    pub fn resume(&mut self, now: Instant) -> bool {
        if self.stopped.is_some() {
            return false;
        }
        let since = self.paused_since.take();
        if let Some(since) = since {
            self.paused += now.saturating_duration_since(since);
        }
        since.is_some()
    }

    /// Stops it for good: the response head is here.
    pub fn stop(&mut self, now: Instant) {
        self.stopped = Some(self.elapsed(now));
    }
}
