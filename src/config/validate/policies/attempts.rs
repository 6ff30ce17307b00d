//! `retry` with its budget, and `hedge`.

use super::super::Builder;
use super::super::layers::Layers;
use crate::config::diagnostic::Id;
use crate::config::model::{Hedge, Mode, Retry};
use crate::config::raw;
use crate::config::section::Section;
use crate::resilience::hedge::Delay;
use crate::resilience::retry::{Backoff, Jitter, On};
use crate::resilience::{budget, hedge, retry};

impl<'b> Builder<'b> {
    /// Retries and hedges of the same `owners`: there are only one or the other.
    pub(in super::super) fn attempts(&mut self, owners: &[&'b Section]) -> (Retry, Option<Hedge>) {
        let layers = self.policy("retry", &raw::RETRY, owners);
        let mut retry = self.retry(&layers);
        let hedges = self.policy("hedge", &raw::HEDGE, owners);
        let hedge = self.hedge(&hedges);
        if let (Some((depth, _)), Some(Mode::Enforce)) =
            (hedges.first(), hedge.as_ref().map(|hedge| hedge.mode))
        {
            let retries = retry.settings.retries;
            if retries > 0 && retry.mode != Mode::Off && layers.depth("retries") <= depth {
                self.report(
                    Id::ConflictingKeys,
                    layers.span("retries"),
                    format!("`retries` is {retries}, but `hedge` takes the place of retries"),
                    "a route has either of them: write `retries = 0`, or `hedge = false`",
                );
            }
            retry.mode = Mode::Off;
        }
        (retry, hedge)
    }

    fn retry(&mut self, layers: &Layers<'b>) -> Retry {
        self.check_needs(layers, "honours_idempotency_key");
        let honours = layers.bool("honours_idempotency_key");
        let mut mint = layers.bool("mint_idempotency_key");
        if mint && !honours {
            if layers.depth("mint_idempotency_key") <= layers.depth("honours_idempotency_key") {
                self.report(
                    Id::ConflictingValues,
                    layers.span("mint_idempotency_key"),
                    "a key is no use where the upstream does not honour it",
                    "write `honours_idempotency_key = true` if it does, or remove this",
                );
            }
            mint = false;
        }
        let backoff = layers.below("backoff", self.builtin.section(&raw::BACKOFF));
        let (base, max) = self.growing(
            &backoff,
            ["base", "max"],
            "the ceiling begins with `base` and grows up to `max`",
        );
        Retry {
            mode: self.mode(layers, "retry"),
            settings: retry::Settings {
                retries: layers.count32("retries"),
                on: On {
                    not_sent: layers.has_word("on", "not-sent"),
                    reset: layers.has_word("on", "reset"),
                    timeout: layers.has_word("on", "timeout"),
                    status: layers.statuses("on"),
                    grpc: layers.integers("on_grpc"),
                },
                non_idempotent: layers.bool("non_idempotent"),
                max_body_buffer: layers.count("max_body_buffer"),
                backoff: Backoff {
                    base,
                    max,
                    jitter: match backoff.word("jitter") {
                        "equal" => Jitter::Equal,
                        "decorrelated" => Jitter::Decorrelated,
                        "none" => Jitter::None,
                        _ => Jitter::Full,
                    },
                },
                max_retry_after: layers.time("max_retry_after"),
            },
            honours_idempotency_key: honours,
            mint_idempotency_key: mint,
            idempotency_key_header: layers.text("idempotency_key_header").unwrap_or_default(),
        }
    }

    /// What bounds the retries and hedges of an upstream.
    pub(in super::super) fn budget(&self, owners: &[&'b Section]) -> budget::Settings {
        let layers = self
            .policy("retry", &raw::RETRY, owners)
            .below("budget", self.builtin.section(&raw::BUDGET));
        budget::Settings {
            deposit: layers.scaled("ratio", 1000),
            min_per_second: layers.count32("min_per_second"),
            window: layers.time("window"),
        }
    }

    /// A budget of a route alone would not bound what the upstream gets.
    pub(in super::super) fn check_no_budget(&mut self, route: &'b Section) {
        let budget = Layers::new(&[route], "retry", None).span("budget");
        if budget.is_some() {
            self.report(
                Id::UnknownKey,
                budget,
                "a route has no `budget` of its own: all routes to an upstream share one",
                "give it to the upstream: `[upstreams.NAME.retry.budget]`",
            );
        }
    }

    fn hedge(&mut self, layers: &Layers<'b>) -> Option<Hedge> {
        let (fixed, percentile) = (layers.depth("delay"), layers.depth("delay_percentile"));
        let fixed_at = layers.span("delay");
        if fixed_at.is_some() && fixed == percentile {
            self.report(
                Id::ConflictingKeys,
                layers.span("delay_percentile"),
                "a hedge has either `delay` or `delay_percentile`",
                "keep one of them",
            );
        }
        let delay = match layers.duration("delay") {
            Some(delay) if fixed <= percentile => Delay::Fixed(delay),
            _ => Delay::Percentile(layers.scaled("delay_percentile", 1000)),
        };
        let mode = self.mode(layers, "hedge");
        (layers.is_written() && mode != Mode::Off).then(|| Hedge {
            mode,
            settings: hedge::Settings {
                max_hedges: layers.count32("max_hedges"),
                delay,
                same_endpoint: layers.bool("same_endpoint"),
            },
        })
    }
}
