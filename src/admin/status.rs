//! `GET /status`: the views as JSON, in types that exist for nothing else.

use std::time::Duration;

use serde::Serialize;

use crate::config::model::Mode;
use crate::telemetry::access_log::rfc3339;
use crate::upstream::view;

/// The whole answer.
#[derive(Debug, Serialize)]
pub(super) struct StatusView<'a> {
    version: &'static str,
    time: String,
    ready: bool,
    /// Why not.
    reason: Option<&'static str>,
    upstreams: Vec<UpstreamView<'a>>,
}

#[derive(Debug, Serialize)]
struct UpstreamView<'a> {
    name: &'a str,
    in_flight: usize,
    max_requests: usize,
    queued: usize,
    max_queued: usize,
    would_have_queued: u64,
    would_have_refused: u64,
    connections_active: usize,
    connections_idle: usize,
    max_connections: usize,
    endpoints: Vec<EndpointView>,
    breakers: Vec<BreakerView<'a>>,
}

#[derive(Debug, Serialize)]
struct EndpointView {
    address: String,
    in_flight: usize,
}

#[derive(Debug, Serialize)]
struct BreakerView<'a> {
    /// `null` for the upstream's own.
    route: Option<&'a str>,
    mode: &'static str,
    state: &'static str,
    /// Why the breaker is in this state; `null` before the first change.
    cause: Option<&'static str>,
    calls: u32,
    failed: u32,
    slow: u32,
    overdue: u32,
    failure_rate: Option<f64>,
    slow_rate: Option<f64>,
    consecutive_opens: u32,
    open_remaining_ms: u64,
    probes_left: u32,
    override_remaining_ms: Option<u64>,
    transitions: u64,
}

impl<'a> StatusView<'a> {
    /// Shows `views` as they were at `now` since the Unix epoch.
    pub(super) fn new(
        views: &'a [view::UpstreamView],
        ready: Result<(), &'static str>,
        now: Duration,
    ) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            time: rfc3339(now),
            ready: ready.is_ok(),
            reason: ready.err(),
            upstreams: views.iter().map(UpstreamView::new).collect(),
        }
    }
}

impl<'a> UpstreamView<'a> {
    fn new(view: &'a view::UpstreamView) -> Self {
        let endpoint = |endpoint: &view::EndpointView| EndpointView {
            address: endpoint.address.to_string(),
            in_flight: endpoint.in_flight,
        };
        Self {
            name: &view.name,
            in_flight: view.in_flight,
            max_requests: view.max_requests,
            queued: view.queued,
            max_queued: view.max_queued,
            would_have_queued: view.would_have.queued,
            would_have_refused: view.would_have.refused,
            connections_active: view.connections_active,
            connections_idle: view.connections_idle,
            max_connections: view.max_connections,
            endpoints: view.endpoints.iter().map(endpoint).collect(),
            breakers: view.breakers.iter().map(BreakerView::new).collect(),
        }
    }
}

impl<'a> BreakerView<'a> {
    fn new(breaker: &'a view::BreakerView) -> Self {
        let view = &breaker.view;
        Self {
            route: breaker.route.as_deref(),
            mode: match breaker.mode {
                Mode::Enforce => "enforce",
                Mode::Observe => "observe",
                Mode::Off => "off",
            },
            state: view.state.as_str(),
            cause: view.last.as_ref().map(|last| last.cause.as_str()),
            calls: view.counts.calls,
            failed: view.counts.failed,
            slow: view.counts.slow,
            overdue: view.counts.overdue,
            failure_rate: view.failure_rate,
            slow_rate: view.slow_rate,
            consecutive_opens: view.opens,
            open_remaining_ms: millis(view.open_remaining),
            probes_left: view.probes_left,
            override_remaining_ms: view.override_remaining.map(millis),
            transitions: view.transitions,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
