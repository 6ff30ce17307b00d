//! Keys that do nothing beside the others.
//!
//! No error, but hardly what was meant. A table may be idle for one upstream or route and act for
//! another: only what acts for nobody is warned of.

use super::Builder;
use super::layers::Layers;
use crate::config::diagnostic::{Diagnostic, Id, Span};
use crate::config::model::{Adaptive, Bulkhead, Mode, Priority};
use crate::config::raw;
use crate::config::section::Section;

/// What keys need of another key of their table: (other, key, its words with which the key acts).
const NEEDS: [(&str, &str, &[&str]); 11] = [
    ("policy", "decay", &["peak_ewma"]),
    ("policy", "hash_header", &["ring_hash"]),
    ("policy", "hash_cookie", &["ring_hash"]),
    (
        "policy",
        "slow_start",
        // A ring spreads requests without a key as `least_inflight` does.
        &["least_inflight", "peak_ewma", "weighted", "ring_hash"],
    ),
    ("algorithm", "long_window", &["gradient2"]),
    ("algorithm", "tolerance", &["gradient2"]),
    ("algorithm", "queue_size", &["gradient2"]),
    ("algorithm", "smoothing", &["gradient2"]),
    ("algorithm", "backoff", &["aimd"]),
    ("algorithm", "timeout", &["aimd"]),
    (
        "honours_idempotency_key",
        "idempotency_key_header",
        &["true"],
    ),
];

/// Keys that act in mode `off` too: connections, verdicts for ejection, what a hedge or a failover
/// may follow up.
const ACT_ANYWAY: [(&str, &[&str]); 3] = [
    (
        "bulkhead",
        &[
            "queue_timeout",
            "max_connections",
            "max_idle",
            "idle_timeout",
            "max_age",
        ],
    ),
    (
        "breaker",
        &[
            "failure_status",
            "ignore_status",
            "failure_grpc",
            "settle_after",
        ],
    ),
    (
        "retry",
        &[
            "on",
            "on_grpc",
            "non_idempotent",
            "max_body_buffer",
            "honours_idempotency_key",
            "mint_idempotency_key",
            "idempotency_key_header",
            "budget",
        ],
    ),
];

/// What it takes for a key to act.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    /// A mode other than `off`.
    Mode,
    /// Another key.
    Key,
    /// An enforced bulkhead.
    Bulkhead,
}

/// What was found idle, and what acts.
#[derive(Default)]
pub(super) struct Uses {
    idle: Vec<(Asks, Diagnostic)>,
    acting: Vec<(Asks, Span)>,
}

impl Uses {
    /// Takes down whether what stands at `span` acts here.
    fn note(
        &mut self,
        asks: Asks,
        span: Option<Span>,
        acts: bool,
        (message, help): (String, &str),
    ) {
        let Some(span) = span else { return };
        if acts {
            self.acting.push((asks, span));
            return;
        }
        let idle = Diagnostic {
            id: Id::UnusedKey,
            span: Some(span),
            message,
            help: Some(help.to_owned()),
        };
        self.idle.push((asks, idle));
    }
}

impl<'b> Builder<'b> {
    /// Reads the mode of the policy `name`. Tables nearer than one that switches it off are idle.
    pub(super) fn mode(&mut self, layers: &Layers<'_>, name: &str) -> Mode {
        let mode = match layers.word("mode") {
            "observe" => Mode::Observe,
            "off" => Mode::Off,
            _ => Mode::Enforce,
        };
        let mut anyway = ACT_ANYWAY.iter().filter(|(policy, _)| *policy == name);
        let anyway = anyway.next().map_or(&[][..], |(_, keys)| *keys);
        let acts = mode != Mode::Off;
        let set_at = layers.depth("mode");
        let counts = |(depth, section): &(usize, &Section)| {
            acts || (*depth < set_at && !section.is_broken("mode"))
        };
        for (_, section) in layers.tables().filter(counts) {
            let keys = section.keys().filter(|(key, _)| !anyway.contains(key));
            if let Some((key, span)) = keys.min_by_key(|(_, span)| span.start) {
                let message = format!("`{key}` does nothing: `mode = \"off\"` is inherited");
                let help = "add `mode = \"enforce\"` beside it, or remove it";
                self.uses
                    .note(Asks::Mode, Some(span.clone()), acts, (message, help));
            }
        }
        mode
    }

    /// Looks at the keys of a table that need something of `other`, where they are set to anything
    /// but the default. What is set farther away than `other` is for those who do not set that.
    pub(super) fn check_needs(&mut self, layers: &Layers<'_>, other: &str) {
        let flag = layers.bool(other).to_string();
        let (written, found) = match layers.word(other) {
            "" => (flag.clone(), flag.as_str()),
            word => (format!("\"{word}\""), word),
        };
        let needs = NEEDS.iter().filter(|(of, ..)| *of == other);
        for (_, key, words) in needs {
            let acts = words.contains(&found);
            let decides = layers.depth(key) <= layers.depth(other);
            if !acts && (!decides || layers.is_default(key) || layers.is_broken(other)) {
                continue;
            }
            let message = match words {
                ["true"] => format!("`{key}` does nothing without `{other} = true`"),
                [word] => format!("`{key}` does nothing without `{other} = \"{word}\"`"),
                _ => format!("`{key}` does nothing with `{other} = {written}`"),
            };
            let help = match words {
                [_] => "add that, or remove this",
                _ => "change that, or remove this",
            };
            self.uses
                .note(Asks::Key, layers.span(key), acts, (message, help));
        }
    }

    /// Weights are those of an upstream, and balance may be everybody's.
    pub(super) fn check_weights(&mut self, upstream: &Layers<'_>, round_robin: bool) {
        let message = "`weights` does nothing with `policy = \"round_robin\"`".to_owned();
        let help = "change that, or remove this";
        let span = upstream.span("weights");
        self.uses
            .note(Asks::Key, span, !round_robin, (message, help));
    }

    /// What divides or lowers the limit of a bulkhead enforces nothing where that does not, unless
    /// it is inherited from farther away.
    pub(super) fn check_limits(
        &mut self,
        upstream: &'b Section,
        bulkhead: &Bulkhead,
        adaptive: Option<&Adaptive>,
        priority: Option<&Priority>,
    ) {
        let acts = bulkhead.mode == Mode::Enforce;
        let limits = self.policy("bulkhead", &raw::BULKHEAD, &[upstream]);
        let (under, set_at) = (limits.word("mode"), limits.depth("mode"));
        for (key, table, mode) in [
            ("adaptive", &raw::ADAPTIVE, adaptive.map(|it| it.mode)),
            ("priority", &raw::PRIORITY, priority.map(|it| it.mode)),
        ] {
            let layers = self.policy(key, table, &[upstream]);
            let Some((depth, nearest)) = layers.first() else {
                continue;
            };
            if mode != Some(Mode::Enforce) || !(acts || depth <= set_at) {
                continue;
            }
            let span = layers.span("mode").or_else(|| Some(nearest.span.clone()));
            let message = format!("`{key}` enforces nothing with `bulkhead.mode = \"{under}\"`");
            let help = "write `bulkhead.mode = \"enforce\"`, or `mode = \"observe\"` here";
            self.uses.note(Asks::Bulkhead, span, acts, (message, help));
        }
    }

    /// Warns of what acts for nobody.
    pub(super) fn report_idle(&mut self) {
        let Uses { idle, acting } = std::mem::take(&mut self.uses);
        for (asks, found) in idle {
            let is_it =
                |(other, span): &(Asks, Span)| *other == asks && found.span.as_ref() == Some(span);
            if !acting.iter().any(is_it) {
                self.problems.push(found);
            }
        }
    }
}
