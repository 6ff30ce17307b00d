#![expect(clippy::float_cmp, reason = "counts are whole numbers")]

use std::collections::BTreeSet;
use std::time::Duration;

use super::upstream::{ACTIONS, VERDICTS, index};
use super::*;
use crate::net::frames::Flood;
use crate::pool::{Closed, Observer as _};
use crate::proxy::error::Reason;
use crate::resilience::Verdict;
use crate::resilience::breaker::{Cause, Counted, Counts, State, Transition};
use crate::resilience::fault::Action;
use crate::resilience::retry::{Denied, Why};
use crate::telemetry::gauges::tests::scrape;
use crate::tls;
use crate::upstream::breaker::Observer as _;
use crate::upstream::view::sample;

fn everything() -> (Metrics, ListenerMetrics) {
    let metrics = Metrics::new(2).unwrap();
    let listener = metrics.listener("edge");
    metrics.route("edge", "v2", "search");
    metrics.upstream("search");
    metrics.breaker("search", None);
    metrics
        .listener_tls("edge")
        .expires(Some(Duration::from_secs(9)));
    (metrics, listener)
}

#[test]
fn every_family_is_exposed_with_its_type_and_no_other_is() {
    let (metrics, _listener) = everything();
    let mut full = sample::full();
    for breaker in &mut full.breakers {
        breaker.view.slow_rate = Some(0.5);
    }
    let text = metrics.render(&[full, sample::forwarding()], true).unwrap();
    let exposed: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter(|line| !line.starts_with("process_"))
        .map(str::to_owned)
        .collect();
    let named = names::ALL
        .iter()
        .map(|family| format!("{} {}", family.name, family.kind.as_str()))
        .collect();
    assert_eq!(exposed, named);
    assert!(text.contains("\nprocess_resident_memory_bytes "), "{text}");
}

#[test]
fn families_are_exposed_once_and_sorted() {
    let (metrics, _listener) = everything();
    let text = metrics.render(&[sample::full()], true).unwrap();
    let families: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .collect();
    assert!(
        families.is_sorted() && families.windows(2).all(|two| two[0] != two[1]),
        "{families:?}"
    );
}

#[test]
fn requests_are_counted_by_class_and_reason() {
    let metrics = Metrics::new(1).unwrap();
    let route = metrics.route("edge", "v2", "search");
    route.finished(204, Duration::from_millis(2));
    route.finished(503, Duration::from_micros(300));
    route.local_reply(Reason::BreakerOpen);
    route.finished(200, Duration::from_secs(90));
    route.aborted(Reason::UpstreamReset);
    // Statuses that no class has are counted as the nearest one.
    route.finished(999, Duration::ZERO);
    metrics
        .listener("edge")
        .unrouted
        .local_reply(Reason::NoRoute);

    let seen = scrape(&metrics, &[]);
    let at = |series: &str| seen.get(series).copied();
    let requests = |class: &str| {
        at(&format!(
            "outrigger_requests_total{{code_class=\"{class}\",listener=\"edge\",route=\"v2\",\
             upstream=\"search\"}}"
        ))
    };
    assert_eq!(requests("2xx"), Some(2.0));
    assert_eq!(requests("3xx"), Some(0.0));
    assert_eq!(requests("5xx"), Some(2.0));
    let labelled = |name: &str, reason: &str, route: &str, upstream: &str| {
        at(&format!(
            "outrigger_{name}{{listener=\"edge\",reason=\"{reason}\",route=\"{route}\",\
             upstream=\"{upstream}\"}}"
        ))
    };
    let replies = "local_replies_total";
    let aborted = "aborted_responses_total";
    assert_eq!(labelled(replies, "breaker_open", "v2", "search"), Some(1.0));
    assert_eq!(labelled(replies, "deadline", "v2", "search"), Some(0.0));
    assert_eq!(labelled(replies, "no_route", "", ""), Some(1.0));
    assert_eq!(
        labelled(aborted, "upstream_reset", "v2", "search"),
        Some(1.0)
    );
    let bucket = |bound: &str| {
        at(&format!(
            "outrigger_request_duration_seconds_bucket{{listener=\"edge\",route=\"v2\",\
             upstream=\"search\",le=\"{bound}\"}}"
        ))
    };
    assert_eq!(bucket("0.0005"), Some(2.0));
    assert_eq!(bucket("0.0025"), Some(3.0));
    assert_eq!(bucket("60"), Some(3.0));
    assert_eq!(bucket("+Inf"), Some(4.0));
}

#[test]
fn upstream_events_reach_their_series() {
    let metrics = Metrics::new(1).unwrap();
    let upstream = metrics.upstream("search");
    for verdict in VERDICTS {
        upstream.attempt_judged(verdict);
    }
    upstream.attempt_judged(Verdict::Abandoned);
    upstream.attempt_took(Duration::from_millis(3));
    upstream.resent();
    upstream.queued_for(Duration::from_millis(40));
    upstream.bulkhead_rejected(Refusal::Timeout);
    upstream.opened(Duration::from_millis(1));
    upstream.reused();
    for reason in Closed::ALL {
        upstream.closed(reason);
    }
    upstream.flooded(Flood::Headers);
    upstream.resolved();
    upstream.resolution_failed(DnsFailure::NotFound);

    let seen = scrape(&metrics, &[]);
    let expect = |series: &str, value: f64| {
        assert_eq!(
            seen.get(&format!("outrigger_{series}")),
            Some(&value),
            "{series}"
        );
    };
    expect(
        "attempts_total{upstream=\"search\",verdict=\"success\"}",
        1.0,
    );
    expect(
        "attempts_total{upstream=\"search\",verdict=\"abandoned\"}",
        2.0,
    );
    expect("attempt_duration_seconds_count{upstream=\"search\"}", 1.0);
    expect("transparent_resends_total{upstream=\"search\"}", 1.0);
    expect("queue_duration_seconds_sum{upstream=\"search\"}", 0.04);
    for (reason, value) in [("queue_timeout", 1.0), ("bulkhead_full", 0.0)] {
        let series = format!("bulkhead_rejected_total{{reason=\"{reason}\",upstream=\"search\"}}");
        expect(&series, value);
    }
    expect("pool_connections_opened_total{upstream=\"search\"}", 1.0);
    expect("connect_duration_seconds_count{upstream=\"search\"}", 1.0);
    expect("pool_connections_reused_total{upstream=\"search\"}", 1.0);
    for reason in Closed::ALL {
        let reason = reason.as_str();
        let series =
            format!("pool_connections_closed_total{{reason=\"{reason}\",upstream=\"search\"}}");
        expect(&series, 1.0);
    }
    let series = "upstream_http2_floods_total{reason=\"headers\",upstream=\"search\"}";
    expect(series, 1.0);
    expect("dns_resolutions_total{upstream=\"search\"}", 2.0);
    expect(
        "dns_failures_total{reason=\"not_found\",upstream=\"search\"}",
        1.0,
    );
}

#[test]
fn what_policies_do_reaches_its_series() {
    let metrics = Metrics::new(1).unwrap();
    let upstream = metrics.upstream("search");
    upstream.retried(Why::Status);
    upstream.retried(Why::Status);
    upstream.retry_denied(Denied::Budget);
    upstream.would_retry();
    upstream.idempotency_key_minted();
    for hedged in [Hedged::Sent, Hedged::Sent, Hedged::Won, Hedged::HalfOpen] {
        upstream.hedged(hedged);
    }
    upstream.would_hedge();
    upstream.failed_over();
    upstream.fault_injected(Action::Delay(Duration::from_secs(3)));
    upstream.fault_injected(Action::SlowBody(1024));
    upstream.rate_limit_waited(Duration::from_millis(20));
    upstream.bulkhead_rejected(Refusal::Adaptive);

    let seen = scrape(&metrics, &[]);
    for (name, labels, value) in [
        ("retries_total", "reason=\"status\",", 2.0),
        ("retries_total", "reason=\"not_sent\",", 0.0),
        ("retries_denied_total", "reason=\"budget\",", 1.0),
        ("would_retry_total", "", 1.0),
        ("idempotency_keys_minted_total", "", 1.0),
        ("hedges_total", "", 2.0),
        ("hedges_won_total", "", 1.0),
        ("hedges_skipped_total", "reason=\"half_open\",", 1.0),
        ("hedges_skipped_total", "reason=\"no_delay\",", 0.0),
        ("would_hedge_total", "", 1.0),
        ("failovers_total", "", 1.0),
        ("faults_injected_total", "action=\"delay\",", 1.0),
        ("faults_injected_total", "action=\"slow-body\",", 1.0),
        ("faults_injected_total", "action=\"reset\",", 0.0),
        ("rate_limit_wait_seconds_count", "", 1.0),
        ("bulkhead_rejected_total", "reason=\"adaptive_limit\",", 1.0),
    ] {
        let series = format!("outrigger_{name}{{{labels}upstream=\"search\"}}");
        assert_eq!(seen.get(&series), Some(&value), "{series}");
    }
    let sent = "outrigger_hedges_skipped_total{reason=\"sent\",upstream=\"search\"}";
    assert!(!seen.contains_key(sent), "sent is no reason to skip");
}

#[test]
fn refusals_of_the_bulkhead_use_the_words_of_local_replies() {
    assert_eq!(Refusal::Full.as_str(), Reason::BulkheadFull.as_str());
    assert_eq!(Refusal::Adaptive.as_str(), Reason::AdaptiveLimit.as_str());
    assert_eq!(Refusal::Timeout.as_str(), Reason::QueueTimeout.as_str());
}

#[test]
fn words_are_indexed_by_their_order() {
    for (index, verdict) in VERDICTS.into_iter().enumerate() {
        assert_eq!(verdict as usize, index);
    }
    for (index, flood) in Flood::ALL.into_iter().enumerate() {
        assert_eq!(flood as usize, index);
    }
    for (index, reason) in Closed::ALL.into_iter().enumerate() {
        assert_eq!(reason as usize, index);
    }
    for (index, why) in Why::ALL.into_iter().enumerate() {
        assert_eq!(why as usize, index);
    }
    for (index, denied) in Denied::ALL.into_iter().enumerate() {
        assert_eq!(denied as usize, index);
    }
    for (at, action) in ACTIONS.into_iter().enumerate() {
        assert_eq!(index(action), at);
    }
}

#[test]
fn an_open_connection_is_counted_until_its_guard_is_dropped() {
    let metrics = Metrics::new(1).unwrap();
    let listener = metrics.listener("edge");
    let open = || scrape(&metrics, &[])["outrigger_downstream_connections{listener=\"edge\"}"];
    let first = listener.connection_opened();
    let second = listener.connection_opened();
    assert_eq!(open(), 2.0);
    drop(first);
    assert_eq!(open(), 1.0);
    drop(second);
    assert_eq!(open(), 0.0);
    listener.connection_rejected(Crowded::Client);
    listener.header_timed_out();
    listener.flooded(Flood::Resets);
    let seen = scrape(&metrics, &[]);
    for (name, value) in [
        ("connections_accepted_total", 2.0),
        ("header_timeouts_total", 1.0),
    ] {
        let series = format!("outrigger_downstream_{name}{{listener=\"edge\"}}");
        assert_eq!(seen[&series], value, "{series}");
    }
    for (family, reason, value) in [
        (
            "downstream_connections_rejected",
            "max_connections_per_client",
            1.0,
        ),
        ("downstream_connections_rejected", "max_connections", 0.0),
        ("http2_floods", "resets", 1.0),
        ("http2_floods", "ping", 0.0),
    ] {
        let series = format!("outrigger_{family}_total{{listener=\"edge\",reason=\"{reason}\"}}");
        assert_eq!(seen[&series], value, "{series}");
    }
}

#[test]
fn breaker_events_are_told_apart_by_route() {
    let metrics = Metrics::new(1).unwrap();
    let own = metrics.breaker("search", None);
    let routed = metrics.breaker("search", Some("edge/v2"));
    own.counted(Counted::Failure { slow: true });
    own.counted(Counted::Failure { slow: false });
    own.counted(Counted::Success { slow: true });
    routed.counted(Counted::WouldReject);
    routed.would_trip(Cause::SlowRate, &Counts::default());
    own.transition(&Transition {
        from: State::Closed,
        to: State::Open,
        cause: Cause::Overdue,
        counts: Counts::default(),
        open_wait: Some(Duration::from_secs(5)),
    });

    let seen = scrape(&metrics, &[]);
    let at = |name: &str, labels: &str| {
        seen.get(&format!("outrigger_breaker_{name}_total{{{labels}}}"))
            .copied()
    };
    let own = "route=\"\",upstream=\"search\"";
    let routed = "route=\"edge/v2\",upstream=\"search\"";
    assert_eq!(
        at("calls", &format!("{own},verdict=\"failure\"")),
        Some(2.0)
    );
    assert_eq!(
        at("calls", &format!("{routed},verdict=\"failure\"")),
        Some(0.0)
    );
    assert_eq!(
        at("calls", &format!("{routed},verdict=\"would_reject\"")),
        Some(1.0)
    );
    assert_eq!(at("slow_calls", own), Some(2.0));
    assert_eq!(at("would_trip", own), Some(0.0));
    assert_eq!(at("would_trip", routed), Some(1.0));
    let tripped = |route: &str, cause: &str| {
        at(
            "transitions",
            &format!(
                "cause=\"{cause}\",from=\"closed\",route=\"{route}\",to=\"open\",\
                 upstream=\"search\""
            ),
        )
    };
    assert_eq!(tripped("", "overdue"), Some(1.0));
    assert_eq!(tripped("", "failure_rate"), Some(0.0), "exposed at 0");
    assert_eq!(tripped("edge/v2", "overdue"), Some(0.0));
}

#[test]
fn tls_events_reach_their_series() {
    let metrics = Metrics::new(1).unwrap();
    let (listener, upstream) = (metrics.listener("edge"), metrics.upstream("search"));
    listener.handshake_completed();
    for reason in tls::Reason::ALL {
        listener.handshake_failed(reason);
        upstream.tls_failed(reason);
    }
    let seen = scrape(&metrics, &[]);
    for reason in tls::Reason::ALL.map(tls::Reason::word) {
        for labels in [
            format!("downstream_tls_failures_total{{listener=\"edge\",reason=\"{reason}\"}}"),
            format!("upstream_tls_failures_total{{reason=\"{reason}\",upstream=\"search\"}}"),
        ] {
            assert_eq!(
                seen.get(&format!("outrigger_{labels}")),
                Some(&1.0),
                "{labels}"
            );
        }
    }
    let series = "outrigger_downstream_tls_handshakes_total{listener=\"edge\"}";
    assert_eq!(seen[series], 1.0);

    let (edge, search) = (metrics.listener_tls("edge"), metrics.upstream_tls("search"));
    edge.expires(Some(Duration::from_secs(32_472_144_000)));
    edge.reloaded(Reload::Taken);
    search.expires(Some(Duration::from_secs(1)));
    search.expires(None);
    search.reloaded(Reload::Refused);
    let seen = scrape(&metrics, &[]);
    let expiry = "outrigger_tls_certificate_expiry_timestamp_seconds";
    for (series, value) in [
        (
            format!("{expiry}{{listener=\"edge\",upstream=\"\"}}"),
            Some(32_472_144_000.0),
        ),
        (
            format!("{expiry}{{listener=\"\",upstream=\"search\"}}"),
            None,
        ),
    ] {
        assert_eq!(seen.get(&series).copied(), value, "{series}");
    }
    let reloads = |listener: &str, result: &str, upstream: &str| {
        seen[&format!(
            "outrigger_tls_reloads_total{{listener=\"{listener}\",result=\"{result}\",\
             upstream=\"{upstream}\"}}"
        )]
    };
    assert_eq!(reloads("edge", "taken", ""), 1.0);
    assert_eq!(reloads("edge", "refused", ""), 0.0);
    assert_eq!(reloads("", "refused", "search"), 1.0);
}

#[test]
fn two_sets_of_metrics_share_nothing() {
    let first = Metrics::new(1).unwrap();
    let second = Metrics::new(1).unwrap();
    first.access_log().lines.inc();
    assert_eq!(
        scrape(&second, &[])["outrigger_access_log_lines_total"],
        0.0
    );
}
