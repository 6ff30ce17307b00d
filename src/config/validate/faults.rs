//! `faults` of an upstream: each action with the keys that it takes.

use super::layers::Layers;
use super::{Builder, sections};
use crate::config::diagnostic::Id;
use crate::config::model::Fault;
use crate::config::raw;
use crate::config::section::Section;
use crate::resilience::WHOLE;
use crate::resilience::fault::{Action, MOST, Settings};
use crate::time;

/// What the actions take: (key, action, example).
const PARAMETERS: [(&str, &str, &str); 4] = [
    ("delay", "delay", "\"250ms\""),
    ("status", "abort", "503"),
    ("after", "truncate", "\"1KiB\""),
    ("rate", "slow-body", "\"1KiB\""),
];

impl<'b> Builder<'b> {
    pub(super) fn faults(&mut self, upstream: &'b Section) -> Vec<Fault> {
        let written = sections(upstream, "faults");
        if let Some(surplus) = written.get(MOST) {
            self.report(
                Id::OutOfRange,
                Some(surplus.span.clone()),
                format!("an upstream has at most {MOST} faults"),
                "remove those that are over",
            );
        }
        written.iter().map(|section| self.fault(section)).collect()
    }

    fn fault(&mut self, section: &'b Section) -> Fault {
        let layers = Layers::of(section, self.builtin.section(&raw::FAULT));
        self.check_parameters(&layers, section);
        let until = layers.time("until");
        if layers.span("until").is_some() && until <= time::unix_now() {
            self.report(
                Id::FaultOver,
                layers.span("until"),
                "this time is past: the fault does nothing",
                "remove the fault, or set a time to come",
            );
        }
        Fault {
            settings: Settings {
                action: match layers.word("action") {
                    "delay" => Action::Delay(layers.time("delay")),
                    "abort" => Action::Abort(
                        u16::try_from(layers.integer("status").unwrap_or(503)).unwrap_or(503),
                    ),
                    "truncate" => Action::Truncate(layers.integer("after").unwrap_or_default()),
                    "slow-body" => Action::SlowBody(layers.integer("rate").unwrap_or(1)),
                    _ => Action::Reset,
                },
                share: layers.scaled("share", WHOLE),
                methods: layers.texts("methods"),
                path_prefix: layers.text_if_any("path_prefix"),
                header: layers.field("header"),
                counted: layers.bool("counted"),
            },
            until,
        }
    }

    /// An action has what it takes, and nothing that another one takes.
    fn check_parameters(&mut self, layers: &Layers<'b>, section: &Section) {
        let action = layers.word("action");
        if action.is_empty() {
            return;
        }
        for (key, taker, example) in PARAMETERS {
            if taker == action && !section.has(key) {
                self.report(
                    Id::MissingKey,
                    layers.span("action"),
                    format!("`{key}` is missing"),
                    format!("add `{key} = {example}`"),
                );
            }
            if taker != action && section.has(key) {
                self.report(
                    Id::ConflictingKeys,
                    layers.span(key),
                    format!("the action `{action}` takes no `{key}`"),
                    format!("remove it, or write `action = \"{taker}\"`"),
                );
            }
        }
    }
}
