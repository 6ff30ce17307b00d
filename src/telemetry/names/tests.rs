use std::collections::BTreeSet;

use super::*;
use crate::net::frames::Flood;
use crate::pool::Closed;
use crate::proxy::error::Reason;
use crate::resilience::breaker::State;
use crate::resilience::retry::{Denied, Why};
use crate::telemetry::metrics::upstream::ACTIONS;
use crate::telemetry::metrics::{Crowded, DnsFailure, Hedged, Refusal, Reload};
use crate::tls;

const LABELS: [&str; 16] = [
    LISTENER, ROUTE, UPSTREAM, ENDPOINT, CLASS, CODE_CLASS, REASON, STATE, VERDICT, CAUSE, ACTION,
    DIRECTION, FROM, TO, RESULT, VERSION,
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
        .chain(Crowded::ALL.iter().map(|word| word.as_str()))
        .chain(Flood::ALL.iter().map(|word| word.word()))
        .chain(State::ALL.iter().map(|word| word.as_str()))
        .chain(Why::ALL.iter().map(|word| word.as_str()))
        .chain(Denied::ALL.iter().map(|word| word.as_str()))
        .chain(Hedged::ALL.iter().skip(2).map(|word| word.as_str()))
        .chain(ACTIONS.iter().map(|word| word.as_str()))
        .chain(Refusal::ALL.iter().map(|word| word.as_str()))
        .chain(DnsFailure::ALL.iter().map(|word| word.as_str()))
        .chain(Reload::ALL.iter().map(|word| word.as_str()))
        .chain(tls::Reason::ALL.iter().map(|word| word.word()));
    for word in words {
        assert!(
            manual.contains(&format!("`{word}`")),
            "docs/metrics.md lacks `{word}`"
        );
    }
}

#[test]
fn what_is_deployed_reads_metrics_and_labels_that_exist() {
    let mut read = 0;
    for text in [
        include_str!("../../../deploy/prometheus/alerts.yaml"),
        include_str!("../../../deploy/prometheus/alerts_test.yaml"),
        include_str!("../../../deploy/grafana/outrigger.json"),
    ] {
        for found in text.split("outrigger_").skip(1) {
            let end = found.find(|c: char| !c.is_ascii_lowercase() && c != '_');
            let (name, rest) = found.split_at(end.unwrap_or(found.len()));
            let name = format!("outrigger_{}", name.strip_suffix("_bucket").unwrap_or(name));
            let family = ALL.iter().find(|family| family.name == name);
            let family = family.unwrap_or_else(|| panic!("{name} does not exist"));
            let selector = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
            for label in selector.map_or("", |(selector, _)| selector).split(", ") {
                let label = label.split(['=', '!']).next().unwrap_or_default();
                let known =
                    label.is_empty() || label == "instance" || family.labels.contains(&label);
                assert!(known, "{name} has no label {label}");
            }
            read += 1;
        }
    }
    assert!(read > 80, "{read} are read");
}
