//! What the themes expect in the same words: rows of the error table, metrics, nothing leaked.

use outrigger::proxy::error::ProxyError;
use serde_json::Value;

use crate::support::client::Response;
use crate::support::daemon::Daemon;

/// The upstream of every test that has but one.
pub(crate) const API: (&str, &str) = ("upstream", "api");

pub(crate) const LOCAL_REPLIES: &str = "outrigger_local_replies_total";
pub(crate) const ABORTED: &str = "outrigger_aborted_responses_total";
pub(crate) const IN_FLIGHT: &str = "outrigger_bulkhead_in_flight";
pub(crate) const QUEUED: &str = "outrigger_bulkhead_queued";
pub(crate) const CONNECTIONS: &str = "outrigger_pool_connections";
pub(crate) const WOULD_REJECT: &str = "outrigger_bulkhead_would_reject_total";
pub(crate) const BREAKER_CALLS: &str = "outrigger_breaker_calls_total";
pub(crate) const RESENDS: &str = "outrigger_transparent_resends_total";
pub(crate) const ATTEMPTS: &str = "outrigger_attempts_total";
pub(crate) const RETRIES: &str = "outrigger_retries_total";
pub(crate) const RETRIES_DENIED: &str = "outrigger_retries_denied_total";
pub(crate) const REQUESTS: &str = "outrigger_requests_total";
pub(crate) const TRANSITIONS: &str = "outrigger_breaker_transitions_total";
pub(crate) const BREAKER_STATE: &str = "outrigger_breaker_state";

/// That the response is the local reply of this error: status, `Proxy-Status` and problem body.
#[track_caller]
pub(crate) fn assert_row(response: &Response, error: ProxyError) {
    let row = error.row();
    assert_eq!(response.status, row.status, "{response:?}");
    let status = response
        .field("proxy-status")
        .unwrap_or_else(|| panic!("{response:?}"));
    let mut parts = status.split(';').map(str::trim);
    assert_eq!(parts.next(), Some("outrigger"), "{status}");
    let parts: Vec<_> = parts.collect();
    assert!(
        parts.contains(&format!("error={}", row.proxy_status).as_str()),
        "{status}"
    );
    let details = format!("details=\"{}\"", row.reason.as_str());
    assert!(parts.contains(&details.as_str()), "{status}");
    assert_eq!(
        response.field("content-type"),
        Some("application/problem+json")
    );
    let problem: Value = serde_json::from_slice(&response.body).expect("a JSON body");
    assert_eq!(problem["status"], row.status, "{problem}");
    assert_eq!(problem["title"], row.title, "{problem}");
}

/// That so many local replies were made for this error's reason.
#[track_caller]
pub(crate) fn assert_replies(daemon: &Daemon, error: ProxyError, count: f64) {
    let reason = ("reason", error.row().reason.as_str());
    daemon.await_metric(LOCAL_REPLIES, &[reason], count);
}

/// That no request holds anything any more.
#[track_caller]
pub(crate) fn assert_nothing_held(daemon: &Daemon) {
    daemon.await_metric(IN_FLIGHT, &[API], 0.0);
    daemon.await_metric(QUEUED, &[API], 0.0);
    daemon.await_metric(CONNECTIONS, &[API, ("state", "active")], 0.0);
}

/// Waits until the upstream's breaker is in this state and in no other.
#[track_caller]
pub(crate) fn await_breaker(daemon: &Daemon, state: &str) {
    daemon.await_metric(BREAKER_STATE, &[API, ("state", state)], 1.0);
    daemon.await_metric(BREAKER_STATE, &[API], 1.0);
}

/// That so many retries were sent after an outcome of this kind.
#[track_caller]
pub(crate) fn assert_retried(daemon: &Daemon, reason: &str, count: f64) {
    daemon.await_metric(RETRIES, &[API, ("reason", reason)], count);
}

/// That this was said so often, instead of a retry.
#[track_caller]
pub(crate) fn assert_denied(daemon: &Daemon, reason: &str, count: f64) {
    daemon.await_metric(RETRIES_DENIED, &[API, ("reason", reason)], count);
}
