//! Handles of upstreams.

use std::time::Duration;

use prometheus::{Histogram, IntCounter};

use super::Metrics;
use super::words::words;
use crate::pool::{self, Closed};
use crate::resilience::Verdict;

impl Metrics {
    /// Resolves the handles of an upstream.
    pub fn upstream(&self, name: &str) -> UpstreamMetrics {
        let families = &*self.families;
        UpstreamMetrics {
            attempts: VERDICTS
                .map(|verdict| families.attempts.with_label_values(&[name, word(verdict)])),
            attempt_duration: families.attempt_duration.with_label_values(&[name]),
            resends: families.resends.with_label_values(&[name]),
            queue_duration: families.queue_duration.with_label_values(&[name]),
            rejected: Refusal::ALL.map(|refusal| {
                families
                    .bulkhead_rejected
                    .with_label_values(&[name, refusal.as_str()])
            }),
            opened: families.pool_opened.with_label_values(&[name]),
            reused: families.pool_reused.with_label_values(&[name]),
            closed: Closed::ALL.map(|reason| {
                let labels = [name, reason.as_str()];
                families.pool_closed.with_label_values(&labels)
            }),
            connect_duration: families.connect_duration.with_label_values(&[name]),
            resolutions: families.dns_resolutions.with_label_values(&[name]),
            resolution_failures: DnsFailure::ALL.map(|reason| {
                let labels = [name, reason.as_str()];
                families.dns_failures.with_label_values(&labels)
            }),
        }
    }
}

/// Handles of one upstream.
#[derive(Clone, Debug)]
pub struct UpstreamMetrics {
    attempts: [IntCounter; VERDICTS.len()],
    attempt_duration: Histogram,
    resends: IntCounter,
    queue_duration: Histogram,
    rejected: [IntCounter; Refusal::ALL.len()],
    opened: IntCounter,
    reused: IntCounter,
    closed: [IntCounter; Closed::ALL.len()],
    connect_duration: Histogram,
    resolutions: IntCounter,
    resolution_failures: [IntCounter; DnsFailure::ALL.len()],
}

impl UpstreamMetrics {
    /// Counts an attempt when its verdict falls, which may be at the end of the body.
    pub fn attempt_judged(&self, verdict: Verdict) {
        self.attempts[verdict as usize].inc();
    }

    /// Observes the time from dispatch to response head or error, on the attempt clock.
    pub fn attempt_took(&self, elapsed: Duration) {
        self.attempt_duration.observe(elapsed.as_secs_f64());
    }

    /// Counts a request sent once more because the reused connection had died.
    pub fn resent(&self) {
        self.resends.inc();
    }

    /// Observes the wait of a request that had to queue, whether it got its slot or not.
    pub fn queued_for(&self, elapsed: Duration) {
        self.queue_duration.observe(elapsed.as_secs_f64());
    }

    /// Counts a request that the bulkhead refused.
    pub fn bulkhead_rejected(&self, refusal: Refusal) {
        self.rejected[refusal as usize].inc();
    }

    /// Counts a resolution of an endpoint name that gave addresses.
    pub fn resolved(&self) {
        self.resolutions.inc();
    }

    /// Counts a resolution of an endpoint name that gave none.
    pub fn resolution_failed(&self, reason: DnsFailure) {
        self.resolutions.inc();
        self.resolution_failures[reason as usize].inc();
    }
}

impl pool::Observer for UpstreamMetrics {
    fn opened(&self, took: Duration) {
        self.opened.inc();
        self.connect_duration.observe(took.as_secs_f64());
    }

    fn reused(&self) {
        self.reused.inc();
    }

    fn closed(&self, why: Closed) {
        self.closed[why as usize].inc();
    }
}

pub(super) const VERDICTS: [Verdict; 4] = [
    Verdict::Success,
    Verdict::Failure,
    Verdict::Ignored,
    Verdict::Abandoned,
];

const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Success => "success",
        Verdict::Failure => "failure",
        Verdict::Ignored => "ignored",
        Verdict::Abandoned => "abandoned",
    }
}

words! {
    /// Why the bulkhead refuses.
    pub Refusal {
        /// No slot and no queue place.
        Full = "bulkhead_full",
        /// No slot came free in time.
        Timeout = "queue_timeout",
    }
}

words! {
    /// Why a name gave no address.
    pub DnsFailure {
        /// No answer in time.
        Timeout = "timeout",
        /// The name does not exist or has no address.
        NotFound = "not_found",
        /// Anything else, such as a refusing server.
        Error = "error",
    }
}
