//! `rate_limit`, `priority` and `adaptive`.

use std::sync::Arc;

use super::super::Builder;
use super::super::layers::Layers;
use crate::config::diagnostic::{Id, Span, suggest};
use crate::config::model::{Adaptive, Class, Mode, Priority, RateLimit};
use crate::config::raw;
use crate::config::section::Section;
use crate::resilience::adaptive::Algorithm;
use crate::resilience::{WHOLE, adaptive, rate_limit};

impl<'b> Builder<'b> {
    pub(in super::super) fn rate_limit(&mut self, owners: &[&'b Section]) -> Option<RateLimit> {
        let layers = self.policy("rate_limit", &raw::RATE_LIMIT, owners);
        let (_, nearest) = layers.first()?;
        let mode = self.mode(&layers, "rate_limit");
        if mode == Mode::Off {
            return None;
        }
        if layers.span("rate").is_none() && !layers.is_broken("rate") {
            self.report(
                Id::MissingKey,
                Some(nearest.span.clone()),
                "`rate` is missing",
                "add `rate = 100`",
            );
        }
        let rate = layers.count32("rate");
        Some(RateLimit {
            mode,
            settings: rate_limit::Settings {
                rate,
                per: layers.time("per"),
                burst: match layers.span("burst") {
                    Some(_) => layers.count32("burst"),
                    None => rate,
                },
                max_wait: layers.time("max_wait"),
            },
        })
    }

    /// The classes of requests, in mode `off` too, so that routes can be held against them.
    pub(in super::super) fn priority(&mut self, owners: &[&'b Section]) -> Option<Priority> {
        let layers = self.policy("priority", &raw::PRIORITY, owners);
        let (_, nearest) = layers.first()?;
        let mode = self.mode(&layers, "priority");
        let classes = self.classes(&layers);
        if classes.is_empty() {
            if mode != Mode::Off && !layers.is_broken("classes") {
                self.report(
                    Id::MissingKey,
                    Some(
                        layers
                            .span("classes")
                            .unwrap_or_else(|| nearest.span.clone()),
                    ),
                    "there are no classes",
                    "add `classes = { live = { share = 0.5 }, batch = {} }`",
                );
            }
            return None;
        }
        let default = layers.text("default");
        let index = default
            .as_ref()
            .and_then(|name| classes.iter().position(|class| *class.name == **name));
        if let Some(name) = default
            && index.is_none()
            && layers.depth("default") <= layers.depth("classes")
        {
            self.report_class(layers.span("default"), &name, &classes);
        }
        Some(Priority {
            mode,
            header: layers.text_if_any("header"),
            classes,
            default: index.unwrap_or_default(),
        })
    }

    fn classes(&mut self, layers: &Layers<'b>) -> Vec<Class> {
        let mut classes = Vec::new();
        let mut sum = 0.0;
        let mut left = WHOLE;
        for section in layers.sections("classes") {
            let class = Layers::of(section, self.builtin.section(&raw::CLASS));
            let before = sum;
            sum += class.number("share");
            // Ten times a tenth is not exactly 1.
            if before <= ALL_SHARES && sum > ALL_SHARES {
                self.report(
                    Id::ConflictingValues,
                    class.span("share"),
                    format!("with this, the shares add up to {}", round(sum)),
                    "all shares together are at most 1; what they leave is for every class",
                );
            }
            let share = class.scaled("share", WHOLE).min(left);
            left -= share;
            classes.push(Class {
                name: Arc::from(section.name.as_str()),
                share,
            });
        }
        classes
    }

    /// The class that a route gives its requests.
    pub(in super::super) fn class(
        &mut self,
        route: &'b Section,
        upstream: &'b Section,
    ) -> Option<usize> {
        let layers = Layers::of(route, None);
        let name = layers.text("class")?;
        let written = self.policy("priority", &raw::PRIORITY, &[upstream]);
        if !written.is_written() && !upstream.is_broken("priority") {
            self.report(
                Id::UnknownClass,
                layers.span("class"),
                format!("the upstream `{}` has no `priority`", upstream.name),
                format!(
                    "add `[upstreams.{}.priority]` with this class, or remove this",
                    upstream.name
                ),
            );
        }
        let priority = self.priority(&[upstream])?;
        let index = priority
            .classes
            .iter()
            .position(|class| *class.name == *name);
        if index.is_none() && !written.is_broken("classes") {
            self.report_class(layers.span("class"), &name, &priority.classes);
        }
        index.filter(|_| priority.mode != Mode::Off)
    }

    fn report_class(&mut self, span: Option<Span>, name: &str, classes: &[Class]) {
        let names = classes.iter().map(|class| &*class.name);
        self.report(
            Id::UnknownClass,
            span,
            "no class has this name",
            suggest(name, names),
        );
    }

    pub(in super::super) fn adaptive(&mut self, owners: &[&'b Section]) -> Option<Adaptive> {
        let layers = self.policy("adaptive", &raw::ADAPTIVE, owners);
        if !layers.is_written() {
            return None;
        }
        let max = layers.count32("max");
        let min = self.at_most(&layers, "min", "max", max);
        let initial = self.at_most(&layers, "initial", "max", max);
        if initial < min && layers.depth("initial") <= layers.depth("min") {
            self.report(
                Id::ConflictingValues,
                layers.span("initial"),
                format!("`initial` is {initial}, but `min` is {min}"),
                "the limit begins with `initial` and stays between `min` and `max`",
            );
        }
        self.check_needs(&layers, "algorithm");
        let mode = self.mode(&layers, "adaptive");
        if mode == Mode::Off {
            return None;
        }
        Some(Adaptive {
            mode,
            settings: adaptive::Settings {
                algorithm: match layers.word("algorithm") {
                    "aimd" => Algorithm::Aimd {
                        backoff: layers.number("backoff"),
                        timeout: layers.time("timeout"),
                    },
                    _ => Algorithm::Gradient2 {
                        long_window: layers.count32("long_window"),
                        tolerance: layers.number("tolerance"),
                        queue_size: layers.count32("queue_size"),
                        smoothing: layers.number("smoothing"),
                    },
                },
                initial: initial.max(min),
                min,
                max,
                window: layers.time("window"),
                min_samples: layers.count32("min_samples"),
            },
        })
    }

    /// A limit that gives way to a greatest one where it is inherited.
    fn at_most(&mut self, layers: &Layers<'b>, key: &str, greatest: &str, max: u32) -> u32 {
        let limit = layers.count32(key);
        if limit > max && layers.depth(key) <= layers.depth(greatest) {
            self.report(
                Id::ConflictingValues,
                layers.span(key),
                format!("`{key}` is {limit}, but `{greatest}` is {max}"),
                "the limit begins with `initial` and stays between `min` and `max`",
            );
        }
        limit.min(max)
    }
}

/// All shares together, with what adding them up may lose.
const ALL_SHARES: f64 = 1.0 + 1e-9;

/// To six digits after the point.
fn round(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}
