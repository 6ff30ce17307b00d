use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span;
use tracing::{Event, Level, Metadata, Subscriber};

use super::*;

/// Keeps the level and the fields of each event.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<(Level, Pairs)>>>);

type Pairs = Vec<(String, String)>;

struct Fields(Pairs);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.push((field.name().to_owned(), format!("{value:?}")));
    }
}

impl Subscriber for Seen {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(Vec::new());
        event.record(&mut fields);
        let mut seen = self.0.lock().unwrap();
        seen.push((*event.metadata().level(), fields.0));
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

fn logged(route: Option<&str>, transition: &Transition) -> (Level, Pairs) {
    let seen = Seen::default();
    tracing::subscriber::with_default(seen.clone(), || log("search", route, transition));
    let mut events = seen.0.lock().unwrap().clone();
    assert_eq!(events.len(), 1, "one line a transition");
    events.remove(0)
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
    let (level, fields) = logged(None, &opened);
    assert_eq!(level, Level::WARN);
    let expected = [
        ("message", "breaker opened"),
        ("upstream", "\"search\""),
        ("from", "\"closed\""),
        ("to", "\"open\""),
        ("cause", "\"overdue\""),
        ("calls", "31"),
        ("failed", "4"),
        ("slow", "20"),
        ("overdue", "9"),
        ("retry_after_ms", "5250"),
    ];
    for (name, value) in expected {
        assert!(
            fields.contains(&(name.to_owned(), value.to_owned())),
            "{name}={value} in {fields:?}"
        );
    }
    assert_eq!(fields.len(), expected.len(), "{fields:?}");
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
        let (level, fields) = logged(Some("edge/v2"), &change);
        assert_eq!(level, Level::INFO);
        assert!(fields.contains(&("message".to_owned(), message.to_owned())));
        assert!(fields.contains(&("route".to_owned(), "\"edge/v2\"".to_owned())));
        assert!(fields.iter().all(|(name, _)| name != "retry_after_ms"));
    }
}
