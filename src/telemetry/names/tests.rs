use std::collections::BTreeSet;

use super::*;
use crate::pool::Closed;
use crate::proxy::error::Reason;
use crate::resilience::breaker::State;
use crate::resilience::retry::{Denied, Why};
use crate::telemetry::metrics::upstream::ACTIONS;
use crate::telemetry::metrics::{DnsFailure, Hedged, Refusal};

const LABELS: [&str; 14] = [
    LISTENER, ROUTE, UPSTREAM, ENDPOINT, CLASS, CODE_CLASS, REASON, STATE, VERDICT, CAUSE, ACTION,
    FROM, TO, VERSION,
];

#[test]
fn names_follow_the_rules() {
    let mut seen = BTreeSet::new();
    for family in ALL {
        let name = family.name;
        assert!(seen.insert(name), "{name} twice");
        assert!(name.starts_with("outrigger_"), "{name}");
        assert_eq!(
            name.ends_with("_total"),
            family.kind == Kind::Counter,
            "{name}"
        );
        assert!(
            family.kind != Kind::Histogram || name.ends_with("_seconds"),
            "{name}"
        );
        for label in family.labels {
            assert!(LABELS.contains(label), "{name} has label {label}");
        }
        if family.labels.contains(&ENDPOINT) {
            assert_eq!(family.kind, Kind::Gauge, "{name}: endpoints come and go");
        }
    }
}

#[test]
fn the_manual_lists_every_metric_as_it_is() {
    let manual: BTreeSet<(String, String, String)> = include_str!("../../../docs/metrics.md")
        .lines()
        .filter(|line| line.starts_with("| `outrigger_"))
        .map(|line| {
            let mut cells = line.trim_matches('|').split('|').map(str::trim);
            let mut cell = || cells.next().expect("four columns").replace('`', "");
            (cell(), cell(), cell())
        })
        .collect();
    let code: BTreeSet<(String, String, String)> = ALL
        .iter()
        .map(|family| {
            let labels = if family.labels.is_empty() {
                "–".to_owned()
            } else {
                family.labels.join(", ")
            };
            (
                family.name.to_owned(),
                family.kind.as_str().to_owned(),
                labels,
            )
        })
        .collect();
    let missing: Vec<_> = code.difference(&manual).collect();
    let stale: Vec<_> = manual.difference(&code).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "not in docs/metrics.md: {missing:#?}\nonly in docs/metrics.md: {stale:#?}"
    );
}

#[test]
fn the_manual_gives_the_buckets() {
    let buckets = DURATION_BUCKETS.map(|bound| bound.to_string()).join(", ");
    assert!(
        include_str!("../../../docs/metrics.md").contains(&format!("`{buckets}`")),
        "docs/metrics.md lacks `{buckets}`"
    );
}

#[test]
fn the_manual_explains_every_word() {
    let manual = include_str!("../../../docs/metrics.md");
    let words = (Reason::ALL.iter().map(|word| word.as_str()))
        .chain(Closed::ALL.iter().map(|word| word.as_str()))
        .chain(State::ALL.iter().map(|word| word.as_str()))
        .chain(Why::ALL.iter().map(|word| word.as_str()))
        .chain(Denied::ALL.iter().map(|word| word.as_str()))
        .chain(Hedged::ALL.iter().skip(2).map(|word| word.as_str()))
        .chain(ACTIONS.iter().map(|word| word.as_str()))
        .chain(Refusal::ALL.iter().map(|word| word.as_str()))
        .chain(DnsFailure::ALL.iter().map(|word| word.as_str()));
    for word in words {
        assert!(
            manual.contains(&format!("`{word}`")),
            "docs/metrics.md lacks `{word}`"
        );
    }
}
