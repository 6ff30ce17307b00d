//! `GET /status`: the views as JSON, in types that exist for nothing else.

use std::time::Duration;

use serde::Serialize;

use crate::config::model::Mode;
use crate::resilience::WHOLE;
use crate::resilience::fault::Action;
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
    effective_max_requests: usize,
    queued: usize,
    max_queued: usize,
    would_have_queued: u64,
    would_have_refused: u64,
    would_have_reordered: u64,
    classes: Vec<ClassView<'a>>,
    adaptive: Option<AdaptiveView>,
    rate_limit: Option<RateLimitView>,
    /// Retries that the budget still allows.
    retry_budget: f64,
    connections_active: usize,
    connections_idle: usize,
    max_connections: usize,
    endpoints: Vec<EndpointView>,
    ejection: Option<EjectionView>,
    faults: Vec<FaultView<'a>>,
    breakers: Vec<BreakerView<'a>>,
    /// `null` unless callers name the host.
    targets: Option<Vec<TargetView<'a>>>,
}

#[derive(Debug, Serialize)]
struct TargetView<'a> {
    /// `host:port`.
    target: String,
    /// `null` while it is in use.
    idle_ms: Option<u64>,
    /// Why none of its addresses may be reached, if that is so.
    refused: Option<&'static str>,
    in_flight: usize,
    max_requests: usize,
    queued: usize,
    max_queued: usize,
    connections_active: usize,
    connections_idle: usize,
    max_connections: usize,
    endpoints: Vec<EndpointView>,
    breakers: Vec<BreakerView<'a>>,
}

#[derive(Debug, Serialize)]
struct ClassView<'a> {
    name: &'a str,
    reserved: usize,
    in_flight: usize,
    queued: usize,
    rejected: u64,
}

#[derive(Debug, Serialize)]
struct AdaptiveView {
    mode: &'static str,
    limit: u32,
    min: u32,
    baseline_ms: Option<f64>,
    latency_ms: Option<f64>,
    samples: u64,
    drops: u64,
}

#[derive(Debug, Serialize)]
struct RateLimitView {
    mode: &'static str,
    /// Negative while requests wait for theirs.
    tokens: f64,
    rejected: u64,
    delayed: u64,
    would_have_rejected: u64,
}

#[derive(Debug, Serialize)]
struct EndpointView {
    address: String,
    in_flight: usize,
    weight: u32,
    /// `null` unless it is ejected.
    ejected_for_ms: Option<u64>,
    latency_ms: Option<f64>,
}

#[derive(Debug, Serialize)]
struct EjectionView {
    mode: &'static str,
    consecutive_failures: u64,
    failure_rate: u64,
    would_have_ejected: u64,
    panics: u64,
}

#[derive(Debug, Serialize)]
struct FaultView<'a> {
    id: u64,
    action: &'static str,
    /// Of a delay the milliseconds, of an abort its status, of a truncation the bytes before it, of
    /// a slow body its bytes per second.
    value: Option<u64>,
    /// Of the requests that match, 0-1.
    share: f64,
    methods: &'a [String],
    path_prefix: Option<&'a str>,
    header: Option<String>,
    counted: bool,
    remaining_ms: u64,
    hits: u64,
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
        Self {
            name: &view.name,
            in_flight: view.in_flight,
            max_requests: view.max_requests,
            effective_max_requests: view.effective_max_requests,
            queued: view.queued,
            max_queued: view.max_queued,
            would_have_queued: view.would_have.queued,
            would_have_refused: view.would_have.refused,
            would_have_reordered: view.would_reorder,
            classes: view.classes.iter().map(ClassView::new).collect(),
            adaptive: view.adaptive.as_ref().map(AdaptiveView::new),
            rate_limit: view.rate_limit.as_ref().map(RateLimitView::new),
            retry_budget: thousandths(view.budget.balance),
            connections_active: view.connections_active,
            connections_idle: view.connections_idle,
            max_connections: view.max_connections,
            endpoints: view.endpoints.iter().map(EndpointView::new).collect(),
            ejection: view.ejection.as_ref().map(EjectionView::new),
            faults: view.faults.iter().map(FaultView::new).collect(),
            breakers: view.breakers.iter().map(BreakerView::new).collect(),
            targets: view
                .targets
                .as_ref()
                .map(|targets| targets.iter().map(TargetView::new).collect()),
        }
    }
}

impl<'a> TargetView<'a> {
    fn new(target: &'a view::TargetView) -> Self {
        let view = &target.view;
        Self {
            target: target.target.to_string(),
            idle_ms: target.idle.map(millis),
            refused: target.refused,
            in_flight: view.in_flight,
            max_requests: view.max_requests,
            queued: view.queued,
            max_queued: view.max_queued,
            connections_active: view.connections_active,
            connections_idle: view.connections_idle,
            max_connections: view.max_connections,
            endpoints: view.endpoints.iter().map(EndpointView::new).collect(),
            breakers: view.breakers.iter().map(BreakerView::new).collect(),
        }
    }
}

impl<'a> ClassView<'a> {
    fn new(class: &'a view::ClassView) -> Self {
        Self {
            name: &class.name,
            reserved: class.reserved,
            in_flight: class.in_flight,
            queued: class.queued,
            rejected: class.rejected,
        }
    }
}

impl AdaptiveView {
    fn new(view: &view::AdaptiveView) -> Self {
        Self {
            mode: word(view.mode),
            limit: view.limit,
            min: view.min,
            baseline_ms: view.baseline.map(fine_millis),
            latency_ms: view.latency.map(fine_millis),
            samples: view.samples,
            drops: view.drops,
        }
    }
}

impl RateLimitView {
    fn new(view: &view::RateLimitView) -> Self {
        Self {
            mode: word(view.mode),
            tokens: view.tokens,
            rejected: view.rejected,
            delayed: view.delayed,
            would_have_rejected: view.would_reject,
        }
    }
}

impl EndpointView {
    fn new(endpoint: &view::EndpointView) -> Self {
        Self {
            address: endpoint.address.to_string(),
            in_flight: endpoint.in_flight,
            weight: endpoint.weight,
            ejected_for_ms: endpoint.ejected_for.map(millis),
            latency_ms: endpoint.latency.map(fine_millis),
        }
    }
}

impl EjectionView {
    fn new(view: &view::EjectionView) -> Self {
        Self {
            mode: word(view.mode),
            consecutive_failures: view.consecutive,
            failure_rate: view.failure_rate,
            would_have_ejected: view.would_eject,
            panics: view.panics,
        }
    }
}

impl<'a> FaultView<'a> {
    fn new(fault: &'a view::FaultView) -> Self {
        let settings = &fault.settings;
        let header = settings.header.as_ref();
        Self {
            id: fault.id,
            action: settings.action.as_str(),
            value: match settings.action {
                Action::Delay(delay) => Some(millis(delay)),
                Action::Abort(status) => Some(status.into()),
                Action::Reset => None,
                Action::Truncate(bytes) | Action::SlowBody(bytes) => Some(bytes),
            },
            // Thousandths of a percent.
            share: f64::from(settings.share) / f64::from(WHOLE),
            methods: &settings.methods,
            path_prefix: settings.path_prefix.as_deref(),
            header: header.map(|(name, value)| format!("{name}: {value}")),
            counted: settings.counted,
            remaining_ms: millis(fault.remaining),
            hits: fault.hits,
        }
    }
}

impl<'a> BreakerView<'a> {
    fn new(breaker: &'a view::BreakerView) -> Self {
        let view = &breaker.view;
        Self {
            route: breaker.route.as_deref(),
            mode: word(breaker.mode),
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

fn word(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::Observe => "observe",
        Mode::Off => "off",
    }
}

#[expect(clippy::cast_precision_loss, reason = "balances stay far below 2^53")]
fn thousandths(value: i64) -> f64 {
    value as f64 / 1000.0
}

/// Milliseconds with their fraction: response times may be shorter than one.
fn fine_millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
