use serde_json::{Value, json};

use super::*;
use crate::telemetry::capture;
use crate::telemetry::metrics::Metrics;
use crate::tls::files::{LoadError, Problem};

/// The one line of a transition, without time and target.
fn logged(route: Option<&str>, transition: &Transition, message: &str) -> Value {
    let metrics = Metrics::new(1).unwrap();
    logged_of(&metrics.breaker("search", route), transition, message)
}

fn logged_of(of: &BreakerMetrics, transition: &Transition, message: &str) -> Value {
    capture::start();
    log(of, transition);
    let lines = capture::lines(message);
    let [line] = lines.as_slice() else {
        panic!("one line, not {lines:?}")
    };
    let mut line = line.clone();
    let fields = line.as_object_mut().unwrap();
    for field in ["timestamp", "target", "message"] {
        assert!(fields.remove(field).is_some(), "{field}");
    }
    line
}

fn transition(from: State, to: State, cause: Cause) -> Transition {
    Transition {
        from,
        to,
        cause,
        counts: Counts {
            calls: 31,
            failed: 4,
            slow: 20,
            overdue: 9,
        },
        open_wait: (to == State::Open).then_some(Duration::from_millis(5_250)),
    }
}

#[test]
fn an_opening_is_a_warning_with_what_counted() {
    let opened = transition(State::Closed, State::Open, Cause::Overdue);
    let expected = json!({
        "level": "WARN",
        "upstream": "search",
        "from": "closed",
        "to": "open",
        "cause": "overdue",
        "calls": 31,
        "failed": 4,
        "slow": 20,
        "overdue": 9,
        "retry_after_ms": 5250,
    });
    assert_eq!(logged(None, &opened, "breaker opened"), expected);
}

#[test]
fn the_breaker_of_a_target_names_it() {
    let metrics = Metrics::new(1).unwrap();
    let of = metrics.breaker("out", None).of_target("a.test:443");
    let opened = transition(State::Closed, State::Open, Cause::Overdue);
    let line = logged_of(&of, &opened, "breaker opened");
    assert_eq!(line["upstream"], "out");
    assert_eq!(line["host"], "a.test:443");
}

#[test]
fn other_changes_are_information() {
    for (to, message) in [
        (State::HalfOpen, "breaker half-open"),
        (State::Closed, "breaker closed"),
        (State::ForcedOpen, "breaker overridden"),
        (State::Disabled, "breaker overridden"),
        (State::MetricsOnly, "breaker overridden"),
    ] {
        let change = transition(State::Open, to, Cause::Operator);
        let line = logged(Some("edge/v2"), &change, message);
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["route"], "edge/v2");
        assert_eq!(line["to"], to.as_str());
        assert_eq!(line.get("retry_after_ms"), None);
    }
}

#[test]
fn a_look_at_tls_files_is_told_only_where_it_is_news() {
    let metrics = Metrics::new(1).unwrap();
    let tls = metrics.upstream_tls("search");
    let refused = Outcome::Kept(LoadError {
        file: "/etc/tls.key".into(),
        problem: Problem::NoKey,
    });
    let taken = Outcome::Changed {
        not_after: Some(Duration::from_secs(32_472_144_000)),
    };
    let told = |outcome: &Outcome, message: &str| {
        capture::start();
        tls.looked(outcome);
        capture::lines(message).pop()
    };
    const REFUSED: &str = "TLS files refused, those before them stay in use";
    for message in [REFUSED, "TLS files taken up"] {
        assert_eq!(told(&Outcome::Unchanged, message), None);
    }
    let refused = told(&refused, REFUSED).unwrap();
    let taken = told(&taken, "TLS files taken up").unwrap();
    assert_eq!(refused["level"], "WARN");
    assert_eq!(refused["upstream"], "search");
    assert_eq!(refused["listener"], Value::Null);
    assert_eq!(refused["file"], "/etc/tls.key");
    assert_eq!(refused["problem"], "no private key in it");
    assert_eq!(taken["level"], "INFO");
    assert_eq!(taken["not_after"], "2999-01-01T00:00:00.000Z");
}
