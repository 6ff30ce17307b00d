#![expect(clippy::float_cmp, reason = "values are given, not computed")]

use crate::telemetry::metrics::Metrics;
use crate::upstream::view::{UpstreamView, sample};
use std::collections::BTreeMap;

/// Series and their values, parsed back from the text format.
pub(in crate::telemetry) fn scrape(
    metrics: &Metrics,
    views: &[UpstreamView],
) -> BTreeMap<String, f64> {
    parse(&metrics.render(views, true).unwrap())
}

fn parse(text: &str) -> BTreeMap<String, f64> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').expect("a series and its value");
            (series.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

#[test]
fn targets_are_counted_and_name_no_series() {
    let metrics = Metrics::new(1).unwrap();
    let seen = scrape(&metrics, &[sample::forwarding()]);
    let of = |series: &str| seen.get(&format!("outrigger_{series}")).copied();
    for (state, many) in [("open", 1.0), ("closed", 1.0), ("half_open", 0.0)] {
        let series = format!("forward_targets{{state=\"{state}\",upstream=\"out\"}}");
        assert_eq!(of(&series), Some(many), "{state}");
    }
    assert_eq!(of("bulkhead_in_flight{upstream=\"out\"}"), Some(6.0));
    assert_eq!(of("endpoints{upstream=\"out\"}"), None);
    assert!(seen.keys().all(|series| !series.contains(".test")));
}

#[test]
fn live_gauges_are_those_of_the_views() {
    let metrics = Metrics::new(3).unwrap();
    let seen = scrape(&metrics, &[sample::plain()]);
    let expect = |series: &str, value: Option<f64>| {
        assert_eq!(
            seen.get(&format!("outrigger_{series}")).copied(),
            value,
            "{series}"
        );
    };
    for (name, value) in [
        ("bulkhead_in_flight", 3.0),
        ("bulkhead_max_requests", 64.0),
        ("bulkhead_effective_max_requests", 64.0),
        ("bulkhead_queued", 1.0),
        ("bulkhead_max_queued", 32.0),
        ("bulkhead_would_queue_total", 7.0),
        ("bulkhead_would_reject_total", 4.0),
        ("pool_max_connections", 64.0),
        ("endpoints", 1.0),
    ] {
        expect(&format!("{name}{{upstream=\"search\"}}"), Some(value));
    }
    expect(
        "pool_connections{state=\"idle\",upstream=\"search\"}",
        Some(5.0),
    );
    expect(
        "endpoint_in_flight{endpoint=\"[::1]:8080\",upstream=\"search\"}",
        Some(2.0),
    );
    let own = "route=\"\",upstream=\"search\"";
    expect(
        "breaker_state{route=\"\",state=\"closed\",upstream=\"search\"}",
        Some(1.0),
    );
    expect(
        "breaker_state{route=\"\",state=\"half_open\",upstream=\"search\"}",
        Some(0.0),
    );
    expect(
        "breaker_state{route=\"edge/v2\",state=\"half_open\",upstream=\"search\"}",
        Some(1.0),
    );
    expect(&format!("breaker_failure_rate{{{own}}}"), Some(0.25));
    expect(&format!("breaker_slow_rate{{{own}}}"), None);
    expect(&format!("breaker_overdue_calls{{{own}}}"), Some(3.0));
    expect(&format!("breaker_window_calls{{{own}}}"), Some(40.0));
    expect(&format!("breaker_consecutive_opens{{{own}}}"), Some(2.0));
    expect("ready", Some(1.0));
    expect("workers", Some(3.0));
    expect("config_generation", Some(1.0));
    let version = env!("CARGO_PKG_VERSION");
    expect(&format!("build_info{{version=\"{version}\"}}"), Some(1.0));
}

#[test]
fn policies_show_what_their_views_hold() {
    let metrics = Metrics::new(1).unwrap();
    let seen = scrape(&metrics, &[sample::full()]);
    let at = |name: &str, labels: &str| {
        let labels = format!("{labels}upstream=\"search\"");
        seen.get(&format!("outrigger_{name}{{{labels}}}")).copied()
    };
    for (name, value) in [
        ("bulkhead_effective_max_requests", 12.0),
        ("bulkhead_would_reorder_total", 2.0),
        ("adaptive_limit", 12.0),
        ("adaptive_min", 10.0),
        ("adaptive_baseline_seconds", 0.02),
        ("adaptive_latency_seconds", 0.03125),
        ("adaptive_samples_total", 900.0),
        ("adaptive_drops_total", 8.0),
        ("rate_limit_tokens", -1.5),
        ("rate_limit_rejected_total", 6.0),
        ("rate_limit_delayed_total", 5.0),
        ("rate_limit_would_reject_total", 4.0),
        ("retry_budget_balance", -2.5),
        ("endpoints_ejected", 1.0),
        ("would_eject_total", 7.0),
        ("ejection_panics_total", 2.0),
    ] {
        assert_eq!(at(name, ""), Some(value), "{name}");
    }
    for (name, labels, value) in [
        ("bulkhead_class_reserved", "class=\"live\",", 9.0),
        ("bulkhead_class_reserved", "class=\"batch\",", 3.0),
        ("bulkhead_class_in_flight", "class=\"live\",", 2.0),
        ("bulkhead_class_queued", "class=\"live\",", 1.0),
        ("bulkhead_class_rejected_total", "class=\"batch\",", 5.0),
        ("ejections_total", "cause=\"consecutive_failures\",", 4.0),
        ("ejections_total", "cause=\"failure_rate\",", 1.0),
        ("endpoint_ejected", "endpoint=\"[::1]:8080\",", 0.0),
        ("endpoint_ejected", "endpoint=\"127.0.0.1:8080\",", 1.0),
        (
            "endpoint_latency_seconds",
            "endpoint=\"127.0.0.1:8080\",",
            0.0015,
        ),
        ("faults_active", "action=\"delay\",", 2.0),
        ("faults_active", "action=\"abort\",", 1.0),
        ("faults_active", "action=\"slow-body\",", 0.0),
    ] {
        assert_eq!(at(name, labels), Some(value), "{name} {labels}");
    }
    let unmeasured = at("endpoint_latency_seconds", "endpoint=\"[::1]:8080\",");
    assert_eq!(unmeasured, None);
}

#[test]
fn a_policy_that_is_off_has_no_series() {
    let metrics = Metrics::new(1).unwrap();
    let off = scrape(&metrics, &[sample::plain()]);
    for prefix in [
        "adaptive",
        "rate_limit_",
        "bulkhead_class",
        "bulkhead_would_reorder",
        "ejection",
        "endpoints_ejected",
        "endpoint_ejected",
        "endpoint_latency",
        "would_eject",
    ] {
        let prefix = format!("outrigger_{prefix}");
        let found = off.keys().find(|series| series.starts_with(&prefix));
        assert_eq!(found, None);
    }
}

#[test]
fn series_of_a_vanished_endpoint_are_gone() {
    let metrics = Metrics::new(1).unwrap();
    let mut view = sample::plain();
    let has_endpoint = |seen: &BTreeMap<String, f64>| {
        seen.keys()
            .any(|series| series.starts_with("outrigger_endpoint_in_flight"))
    };
    assert!(has_endpoint(&scrape(&metrics, &[view.clone()])));
    view.endpoints.clear();
    let seen = scrape(&metrics, &[view]);
    assert!(!has_endpoint(&seen));
    assert_eq!(seen["outrigger_endpoints{upstream=\"search\"}"], 0.0);
}

#[test]
fn not_ready_shows() {
    let metrics = Metrics::new(1).unwrap();
    let seen = parse(&metrics.render(&[], false).unwrap());
    assert_eq!(seen["outrigger_ready"], 0.0);
}
