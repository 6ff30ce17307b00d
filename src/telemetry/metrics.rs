//! The registry, and handles resolved once so that the request path only adds to atomics.
//!
//! Looking a child up in a `prometheus` vector hashes its labels under a lock; therefore every
//! handle is made when a listener, route, upstream or breaker is built. All series of a handle
//! exist from then on with 0, so that a first event is a rise. Nothing outside this module and
//! `gauges` speaks to the `prometheus` crate.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use super::gauges;
use super::names::{self, Family};
use crate::pool::{self, Closed};
use crate::proxy::error::Reason;
use crate::resilience::Verdict;
use crate::resilience::breaker::{Cause, Counted, State};
use crate::upstream::view::UpstreamView;

const CODE_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics of one process; clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    families: Arc<Families>,
}

#[derive(Debug)]
struct Families {
    registry: Registry,
    workers: usize,
    requests: IntCounterVec,
    local_replies: IntCounterVec,
    aborted_responses: IntCounterVec,
    request_duration: HistogramVec,
    attempts: IntCounterVec,
    attempt_duration: HistogramVec,
    resends: IntCounterVec,
    bulkhead_rejected: IntCounterVec,
    queue_duration: HistogramVec,
    pool_opened: IntCounterVec,
    pool_reused: IntCounterVec,
    pool_closed: IntCounterVec,
    connect_duration: HistogramVec,
    breaker_transitions: IntCounterVec,
    breaker_calls: IntCounterVec,
    breaker_slow_calls: IntCounterVec,
    breaker_would_trip: IntCounterVec,
    downstream_connections: IntGaugeVec,
    downstream_accepted: IntCounterVec,
    downstream_rejected: IntCounterVec,
    downstream_header_timeouts: IntCounterVec,
    dns_resolutions: IntCounterVec,
    dns_failures: IntCounterVec,
    access_log_lines: IntCounter,
    access_log_dropped: IntCounter,
}

impl Metrics {
    /// Registers every family in a registry of its own.
    pub fn new(workers: usize) -> Result<Self, MetricsError> {
        let registry = Registry::new();
        let counter = |family: &Family| {
            let vec = IntCounterVec::new(Opts::new(family.name, family.help), family.labels)?;
            register(&registry, vec)
        };
        let plain = |family: &Family| {
            let counter = IntCounter::with_opts(Opts::new(family.name, family.help))?;
            register(&registry, counter)
        };
        let gauge = |family: &Family| {
            let vec = IntGaugeVec::new(Opts::new(family.name, family.help), family.labels)?;
            register(&registry, vec)
        };
        let histogram = |family: &Family| {
            let opts = HistogramOpts::new(family.name, family.help)
                .buckets(names::DURATION_BUCKETS.to_vec());
            register(&registry, HistogramVec::new(opts, family.labels)?)
        };
        let families = Families {
            workers,
            requests: counter(&names::REQUESTS)?,
            local_replies: counter(&names::LOCAL_REPLIES)?,
            aborted_responses: counter(&names::ABORTED_RESPONSES)?,
            request_duration: histogram(&names::REQUEST_DURATION)?,
            attempts: counter(&names::ATTEMPTS)?,
            attempt_duration: histogram(&names::ATTEMPT_DURATION)?,
            resends: counter(&names::RESENDS)?,
            bulkhead_rejected: counter(&names::BULKHEAD_REJECTED)?,
            queue_duration: histogram(&names::QUEUE_DURATION)?,
            pool_opened: counter(&names::POOL_OPENED)?,
            pool_reused: counter(&names::POOL_REUSED)?,
            pool_closed: counter(&names::POOL_CLOSED)?,
            connect_duration: histogram(&names::CONNECT_DURATION)?,
            breaker_transitions: counter(&names::BREAKER_TRANSITIONS)?,
            breaker_calls: counter(&names::BREAKER_CALLS)?,
            breaker_slow_calls: counter(&names::BREAKER_SLOW_CALLS)?,
            breaker_would_trip: counter(&names::BREAKER_WOULD_TRIP)?,
            downstream_connections: gauge(&names::DOWNSTREAM_CONNECTIONS)?,
            downstream_accepted: counter(&names::DOWNSTREAM_ACCEPTED)?,
            downstream_rejected: counter(&names::DOWNSTREAM_REJECTED)?,
            downstream_header_timeouts: counter(&names::DOWNSTREAM_HEADER_TIMEOUTS)?,
            dns_resolutions: counter(&names::DNS_RESOLUTIONS)?,
            dns_failures: counter(&names::DNS_FAILURES)?,
            access_log_lines: plain(&names::ACCESS_LOG_LINES)?,
            access_log_dropped: plain(&names::ACCESS_LOG_DROPPED)?,
            registry: registry.clone(),
        };
        registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(Self {
            families: Arc::new(families),
        })
    }

    /// Resolves the handles of a listener.
    pub fn listener(&self, name: &str) -> ListenerMetrics {
        let families = &*self.families;
        ListenerMetrics {
            open: families.downstream_connections.with_label_values(&[name]),
            accepted: families.downstream_accepted.with_label_values(&[name]),
            rejected: families.downstream_rejected.with_label_values(&[name]),
            header_timeouts: families
                .downstream_header_timeouts
                .with_label_values(&[name]),
            unrouted: self.route(name, "", ""),
        }
    }

    /// Resolves the handles of a route.
    pub fn route(&self, listener: &str, route: &str, upstream: &str) -> RouteMetrics {
        let families = &*self.families;
        let labels = [listener, route, upstream];
        let with = |vec: &IntCounterVec, last: &str| {
            vec.with_label_values(&[listener, route, upstream, last])
        };
        RouteMetrics {
            requests: CODE_CLASSES.map(|class| with(&families.requests, class)),
            local_replies: Reason::ALL.map(|reason| with(&families.local_replies, reason.as_str())),
            aborted: Reason::ALL.map(|reason| with(&families.aborted_responses, reason.as_str())),
            duration: families.request_duration.with_label_values(&labels),
        }
    }

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

    /// Resolves the handles of a breaker: the upstream's own (`route` is `None`), or the one that a
    /// route named `listener/route` has to itself.
    pub fn breaker(&self, upstream: &str, route: Option<&str>) -> BreakerMetrics {
        let families = &*self.families;
        let labels = [upstream, route.unwrap_or_default()];
        let metrics = BreakerMetrics {
            upstream: upstream.into(),
            route: route.map(Into::into),
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

    /// Returns the handles of the access log.
    pub fn access_log(&self) -> AccessLogMetrics {
        AccessLogMetrics {
            lines: self.families.access_log_lines.clone(),
            dropped: self.families.access_log_dropped.clone(),
        }
    }

    /// Writes everything in the text exposition format, with the live gauges read from `views`.
    ///
    /// Series of a view that is gone are gone with it: gauges are built anew each time.
    pub fn render(&self, views: &[UpstreamView], ready: bool) -> Result<String, MetricsError> {
        let mut families = self.families.registry.gather();
        families.extend(gauges::collect(views, self.families.workers, ready)?);
        families.sort_by(|left, right| left.name().cmp(right.name()));
        Ok(TextEncoder::new().encode_to_string(&families)?)
    }
}

fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

/// Why metrics cannot be registered or written: a mistake in [`names`], which its tests exclude.
#[derive(Debug)]
pub struct MetricsError(prometheus::Error);

impl fmt::Display for MetricsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "metrics: {}", self.0)
    }
}

impl std::error::Error for MetricsError {}

impl From<prometheus::Error> for MetricsError {
    fn from(error: prometheus::Error) -> Self {
        Self(error)
    }
}

/// Handles of one listener.
#[derive(Clone, Debug)]
pub struct ListenerMetrics {
    open: IntGauge,
    accepted: IntCounter,
    rejected: IntCounter,
    header_timeouts: IntCounter,
    /// Counts requests that no route matched or that were not valid: route and upstream are empty.
    pub unrouted: RouteMetrics,
}

impl ListenerMetrics {
    /// Counts a connection accepted, and open until the guard is dropped.
    pub fn connection_opened(&self) -> OpenConnection {
        self.accepted.inc();
        self.open.inc();
        OpenConnection(self.open.clone())
    }

    /// Counts a connection closed at accept because `max_connections` were open.
    pub fn connection_rejected(&self) {
        self.rejected.inc();
    }

    /// Counts a connection closed because a request head took too long.
    pub fn header_timed_out(&self) {
        self.header_timeouts.inc();
    }
}

/// A downstream connection, counted as open while this lives.
#[derive(Debug)]
#[must_use = "the connection counts as closed once this is dropped"]
pub struct OpenConnection(IntGauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Handles of one route.
#[derive(Clone, Debug)]
pub struct RouteMetrics {
    requests: [IntCounter; CODE_CLASSES.len()],
    local_replies: [IntCounter; Reason::ALL.len()],
    aborted: [IntCounter; Reason::ALL.len()],
    duration: Histogram,
}

impl RouteMetrics {
    /// Counts a request at its end: by `status` sent, and `total` from its head received to the end
    /// of the response body.
    pub fn finished(&self, status: u16, total: Duration) {
        self.requests[usize::from((status / 100).clamp(1, 5)) - 1].inc();
        self.duration.observe(total.as_secs_f64());
    }

    /// Counts a local reply, beside [`Self::finished`].
    pub fn local_reply(&self, reason: Reason) {
        self.local_replies[reason as usize].inc();
    }

    /// Counts a response broken off after its head, beside [`Self::finished`].
    pub fn aborted(&self, reason: Reason) {
        self.aborted[reason as usize].inc();
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

/// Handles of one breaker, which observes it: see [`super::events`].
#[derive(Clone, Debug)]
pub struct BreakerMetrics {
    pub(super) upstream: Arc<str>,
    pub(super) route: Option<Arc<str>>,
    calls: [IntCounter; CallVerdict::ALL.len()],
    slow: IntCounter,
    pub(super) would_trip: IntCounter,
    transitions: IntCounterVec,
}

impl BreakerMetrics {
    pub(super) fn count(&self, counted: Counted) {
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
    pub(super) fn transitions(&self, from: State, to: State, cause: Cause) -> IntCounter {
        self.transitions.with_label_values(&[
            &*self.upstream,
            self.route.as_deref().unwrap_or_default(),
            from.as_str(),
            to.as_str(),
            cause.as_str(),
        ])
    }
}

/// Handles of the access log.
#[derive(Clone, Debug)]
pub struct AccessLogMetrics {
    pub(super) lines: IntCounter,
    pub(super) dropped: IntCounter,
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

const VERDICTS: [Verdict; 4] = [
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

macro_rules! words {
    ($(#[$doc:meta])* $visibility:vis $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $visibility enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Every value, in the order of the enum.
            $visibility const ALL: [Self; [$($word),*].len()] = [$(Self::$variant),*];

            /// The word for the label.
            $visibility const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }
    };
}

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

#[cfg(test)]
mod tests;
