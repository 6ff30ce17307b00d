use serde_json::{Value, json};

use super::*;
use crate::resilience::breaker::{Cause, Counts, State, Transition};
use crate::upstream::view::{UpstreamView, sample};

fn view() -> UpstreamView {
    let mut open = sample::breaker(None, State::Open);
    open.view.open_remaining = Duration::from_millis(3250);
    open.view.last = Some(Transition {
        from: State::HalfOpen,
        to: State::Open,
        cause: Cause::Overdue,
        counts: Counts::default(),
        open_wait: None,
    });
    UpstreamView {
        breakers: vec![open],
        ..sample::full()
    }
}

fn status() -> Value {
    let now = Duration::from_millis(1_792_000_000_123);
    serde_json::to_value(StatusView::new(&[view()], Ok(()), now)).unwrap()
}

#[test]
fn the_status_is_that_of_the_views() {
    let status = status();
    let fault = |id: u64, action: &str, value: u64| {
        json!({
            "id": id,
            "action": action,
            "value": value,
            "share": 0.125,
            "methods": ["GET"],
            "path_prefix": "/v2",
            "header": "x-game-day: yes",
            "counted": false,
            "remaining_ms": 240_000,
            "hits": 17,
        })
    };
    let classes = json!([
        { "name": "live", "reserved": 9, "in_flight": 2, "queued": 1, "rejected": 5 },
        { "name": "batch", "reserved": 3, "in_flight": 2, "queued": 1, "rejected": 5 },
    ]);
    let adaptive = json!({
        "mode": "enforce",
        "limit": 12,
        "min": 10,
        "baseline_ms": 20.0,
        "latency_ms": 31.25,
        "samples": 900,
        "drops": 8,
    });
    let rate_limit = json!({
        "mode": "observe",
        "tokens": -1.5,
        "rejected": 6,
        "delayed": 5,
        "would_have_rejected": 4,
    });
    let endpoints = json!([
        {
            "address": "[::1]:8080",
            "in_flight": 2,
            "weight": 1,
            "ejected_for_ms": null,
            "latency_ms": null,
        },
        {
            "address": "127.0.0.1:8080",
            "in_flight": 0,
            "weight": 3,
            "ejected_for_ms": 21_000,
            "latency_ms": 1.5,
        },
    ]);
    let ejection = json!({
        "mode": "enforce",
        "consecutive_failures": 4,
        "failure_rate": 1,
        "would_have_ejected": 7,
        "panics": 2,
    });
    let faults = json!([
        fault(1, "delay", 300),
        fault(2, "abort", 503),
        fault(3, "delay", 2000),
    ]);
    let breakers = json!([{
        "route": null,
        "mode": "enforce",
        "state": "open",
        "cause": "overdue",
        "calls": 40,
        "failed": 10,
        "slow": 30,
        "overdue": 3,
        "failure_rate": 0.25,
        "slow_rate": null,
        "consecutive_opens": 2,
        "open_remaining_ms": 3250,
        "probes_left": 0,
        "override_remaining_ms": null,
        "transitions": 5,
    }]);
    let expected = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "time": "2026-10-14T17:46:40.123Z",
        "ready": true,
        "reason": null,
        "upstreams": [{
            "name": "search",
            "in_flight": 3,
            "max_requests": 64,
            "effective_max_requests": 12,
            "queued": 1,
            "max_queued": 32,
            "would_have_queued": 7,
            "would_have_refused": 4,
            "would_have_reordered": 2,
            "classes": classes,
            "adaptive": adaptive,
            "rate_limit": rate_limit,
            "retry_budget": -2.5,
            "connections_active": 3,
            "connections_idle": 5,
            "max_connections": 64,
            "endpoints": endpoints,
            "ejection": ejection,
            "faults": faults,
            "breakers": breakers,
            "targets": null,
        }],
    });
    assert_eq!(status, expected);
}

fn forwarding() -> Value {
    let views = [sample::forwarding()];
    serde_json::to_value(StatusView::new(&views, Ok(()), Duration::ZERO)).unwrap()
}

#[test]
fn targets_are_shown_with_what_is_theirs() {
    let upstream = &forwarding()["upstreams"][0];
    assert_eq!(upstream["in_flight"], 6);
    assert_eq!(upstream["max_requests"], 128);
    assert_eq!(upstream["breakers"], json!([]));
    let mut targets = upstream["targets"].clone();
    let mut taken = |index: usize, name: &str| targets[index][name].take();
    assert_eq!(taken(0, "breakers")[0]["state"], "open");
    assert_eq!(taken(0, "endpoints")[0]["address"], "[::1]:8080");
    assert_eq!(taken(1, "refused"), "metadata");
    assert_eq!(taken(1, "idle_ms"), 9000);
    let expected = json!({
        "target": "a.test:443",
        "idle_ms": null,
        "refused": null,
        "in_flight": 3,
        "max_requests": 64,
        "queued": 1,
        "max_queued": 32,
        "connections_active": 3,
        "connections_idle": 5,
        "max_connections": 64,
        "endpoints": null,
        "breakers": null,
    });
    assert_eq!(targets[0], expected);
}

#[test]
fn the_page_reads_no_field_that_the_status_lacks() {
    let status = status();
    let upstream = &status["upstreams"][0];
    let forwarding = forwarding();
    for (name, value) in [
        ("status", &status),
        ("target", &forwarding["upstreams"][0]["targets"][0]),
        ("upstream", upstream),
        ("endpoint", &upstream["endpoints"][0]),
        ("breaker", &upstream["breakers"][0]),
        ("own", &upstream["breakers"][0]),
        ("adaptive", &upstream["adaptive"]),
        ("group", &upstream["classes"][0]),
        ("rate", &upstream["rate_limit"]),
        ("ejection", &upstream["ejection"]),
        ("fault", &upstream["faults"][0]),
    ] {
        for found in include_str!("../status.html")
            .split(&format!("{name}."))
            .skip(1)
        {
            let end = found
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap();
            let field = &found[..end];
            assert!(value.get(field).is_some(), "{name}.{field}");
        }
    }
}
