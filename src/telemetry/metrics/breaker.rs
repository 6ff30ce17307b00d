//! Handles of breakers.

use std::sync::Arc;

use prometheus::{IntCounter, IntCounterVec};

use super::Metrics;
use super::words::words;
use crate::resilience::breaker::{Cause, Counted, State};

impl Metrics {
    /// Resolves the handles of a breaker: the upstream's own (`route` is `None`), or the one that a
    /// route named `listener/route` has to itself.
    pub fn breaker(&self, upstream: &str, route: Option<&str>) -> BreakerMetrics {
        let families = &*self.families;
        let labels = [upstream, route.unwrap_or_default()];
        let metrics = BreakerMetrics {
            upstream: upstream.into(),
            route: route.map(Into::into),
            target: None,
            calls: CallVerdict::ALL.map(|verdict| {
                let labels = [labels[0], labels[1], verdict.as_str()];
                families.breaker_calls.with_label_values(&labels)
            }),
            slow: families.breaker_slow_calls.with_label_values(&labels),
            would_trip: families.breaker_would_trip.with_label_values(&labels),
            transitions: families.breaker_transitions.clone(),
        };
        for (from, to, cause) in EXPECTED_TRANSITIONS {
            metrics.transitions(from, to, cause);
        }
        metrics
    }
}

/// Handles of one breaker, which observes it: see [`crate::telemetry::events`].
#[derive(Clone, Debug)]
pub struct BreakerMetrics {
    pub(in crate::telemetry) upstream: Arc<str>,
    pub(in crate::telemetry) route: Option<Arc<str>>,
    pub(in crate::telemetry) target: Option<Arc<str>>,
    calls: [IntCounter; CallVerdict::ALL.len()],
    slow: IntCounter,
    pub(in crate::telemetry) would_trip: IntCounter,
    transitions: IntCounterVec,
}

impl BreakerMetrics {
    /// The same for the breaker of one target of the upstream: it is named in the log, and counted
    /// with the others.
    #[must_use]
    pub fn of_target(&self, target: &str) -> Self {
        Self {
            target: Some(target.into()),
            ..self.clone()
        }
    }

    pub(in crate::telemetry) fn count(&self, counted: Counted) {
        let (verdict, slow) = match counted {
            Counted::Success { slow } => (CallVerdict::Success, slow),
            Counted::Failure { slow } => (CallVerdict::Failure, slow),
            Counted::Ignored => (CallVerdict::Ignored, false),
            Counted::Late => (CallVerdict::Late, false),
            Counted::Rejected => (CallVerdict::Rejected, false),
            Counted::WouldReject => (CallVerdict::WouldReject, false),
        };
        self.calls[verdict as usize].inc();
        if slow {
            self.slow.inc();
        }
    }

    /// Finds the counter of a kind of transition: rare enough to look it up.
    pub(in crate::telemetry) fn transitions(
        &self,
        from: State,
        to: State,
        cause: Cause,
    ) -> IntCounter {
        self.transitions.with_label_values(&[
            &*self.upstream,
            self.route.as_deref().unwrap_or_default(),
            from.as_str(),
            to.as_str(),
            cause.as_str(),
        ])
    }
}

/// Transitions that no operator asked for: exposed with 0 from the start.
const EXPECTED_TRANSITIONS: [(State, State, Cause); 7] = [
    (State::Closed, State::Open, Cause::FailureRate),
    (State::Closed, State::Open, Cause::SlowRate),
    (State::Closed, State::Open, Cause::FailureAndSlowRate),
    (State::Closed, State::Open, Cause::Overdue),
    (State::Closed, State::Open, Cause::ConsecutiveFailures),
    (State::Open, State::HalfOpen, Cause::WaitOver),
    (State::HalfOpen, State::Closed, Cause::Recovered),
];

words! {
    /// What became of a call at the breaker: the flat form of [`Counted`].
    CallVerdict {
        /// Recorded as a success.
        Success = "success",
        /// Recorded as a failure.
        Failure = "failure",
        /// No evidence: not recorded.
        Ignored = "ignored",
        /// Ended after a change of state: not recorded.
        Late = "late",
        /// Rejected.
        Rejected = "rejected",
        /// Let pass in observe mode, and would have been rejected.
        WouldReject = "would_reject",
    }
}
