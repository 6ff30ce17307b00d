//! The registry, and handles resolved once so that the request path only adds to atomics.
//!
//! Looking a child up in a `prometheus` vector hashes its labels under a lock; therefore every
//! handle is made when a listener, route, upstream or breaker is built. All series of a handle
//! exist from then on with 0, so that a first event is a rise. Nothing outside this module and
//! `gauges` speaks to the `prometheus` crate.

mod breaker;
mod route;
mod tls;
pub(super) mod upstream;
mod words;

use std::fmt;
use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

pub use self::breaker::BreakerMetrics;
pub use self::route::{Crowded, ListenerMetrics, OpenConnection, RouteMetrics};
pub use self::tls::{Reload, TlsMetrics};
pub use self::upstream::{Direction, DnsFailure, Hedged, Refusal, UpstreamMetrics};
use super::gauges;
use super::names::{self, Family};
use crate::upstream::view::UpstreamView;

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
    retries: IntCounterVec,
    retries_denied: IntCounterVec,
    would_retry: IntCounterVec,
    idempotency_keys: IntCounterVec,
    hedges: IntCounterVec,
    hedges_won: IntCounterVec,
    hedges_skipped: IntCounterVec,
    would_hedge: IntCounterVec,
    failovers: IntCounterVec,
    tunnels: IntCounterVec,
    tunnel_bytes: IntCounterVec,
    faults: IntCounterVec,
    rate_limit_wait: HistogramVec,
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
    downstream_tls_handshakes: IntCounterVec,
    downstream_tls_failures: IntCounterVec,
    upstream_tls_failures: IntCounterVec,
    tls_expiry: IntGaugeVec,
    tls_reloads: IntCounterVec,
    http2_floods: IntCounterVec,
    upstream_http2_floods: IntCounterVec,
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
            retries: counter(&names::RETRIES)?,
            retries_denied: counter(&names::RETRIES_DENIED)?,
            would_retry: counter(&names::WOULD_RETRY)?,
            idempotency_keys: counter(&names::IDEMPOTENCY_KEYS)?,
            hedges: counter(&names::HEDGES)?,
            hedges_won: counter(&names::HEDGES_WON)?,
            hedges_skipped: counter(&names::HEDGES_SKIPPED)?,
            would_hedge: counter(&names::WOULD_HEDGE)?,
            failovers: counter(&names::FAILOVERS)?,
            tunnels: counter(&names::TUNNELS)?,
            tunnel_bytes: counter(&names::TUNNEL_BYTES)?,
            faults: counter(&names::FAULTS)?,
            rate_limit_wait: histogram(&names::RATE_LIMIT_WAIT)?,
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
            downstream_tls_handshakes: counter(&names::DOWNSTREAM_TLS_HANDSHAKES)?,
            downstream_tls_failures: counter(&names::DOWNSTREAM_TLS_FAILURES)?,
            upstream_tls_failures: counter(&names::UPSTREAM_TLS_FAILURES)?,
            tls_expiry: gauge(&names::TLS_EXPIRY)?,
            tls_reloads: counter(&names::TLS_RELOADS)?,
            http2_floods: counter(&names::HTTP2_FLOODS)?,
            upstream_http2_floods: counter(&names::UPSTREAM_HTTP2_FLOODS)?,
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

/// Handles of the access log.
#[derive(Clone, Debug)]
pub struct AccessLogMetrics {
    pub(super) lines: IntCounter,
    pub(super) dropped: IntCounter,
}

#[cfg(test)]
mod tests;
