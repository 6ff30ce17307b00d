use serde_json::{Value, json};

use super::*;
use crate::telemetry::capture;

/// The one line of a transition, without time and target.
fn logged(route: Option<&str>, transition: &Transition, message: &str) -> Value {
    capture::start();
    log("search", route, transition);
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
