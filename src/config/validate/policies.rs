//! The policy tables: what becomes of them, and what their values mean together.

mod admission;
mod attempts;
mod endpoints;
mod protocols;

use std::time::Duration;

use super::Builder;
use super::layers::Layers;
use crate::config::diagnostic::Id;
use crate::config::model::{Breaker, Bulkhead, Fallback, Protocol, Timeouts};
use crate::config::raw;
use crate::config::section::Section;
use crate::config::value::show_duration;
use crate::resilience::WHOLE;
use crate::resilience::breaker::{AfterMaxWait, Settings, Window};
use crate::resilience::classify::Rules;

impl<'b> Builder<'b> {
    pub(super) fn bulkhead(&mut self, owners: &[&'b Section]) -> Bulkhead {
        let layers = self.policy("bulkhead", &raw::BULKHEAD, owners);
        let max_connections = layers.count("max_connections");
        let mut max_idle = match layers.span("max_idle") {
            Some(_) => layers.count("max_idle"),
            // Whoever raises the cap expects that many to be worth keeping.
            None => (max_connections / 2).max(32).min(max_connections),
        };
        if max_idle > max_connections {
            if layers.depth("max_idle") <= layers.depth("max_connections") {
                self.report(
                    Id::ConflictingValues,
                    layers.span("max_idle"),
                    format!("`max_idle` is {max_idle}, but `max_connections` is {max_connections}"),
                    "keep no more idle connections than may be open",
                );
            }
            max_idle = max_connections;
        }
        Bulkhead {
            mode: self.mode(&layers, "bulkhead"),
            max_requests: layers.count("max_requests"),
            max_queued: layers.count("max_queued"),
            queue_timeout: layers.time("queue_timeout"),
            max_connections,
            max_idle,
            idle_timeout: layers.time("idle_timeout"),
            max_age: layers.duration("max_age"),
        }
    }

    pub(super) fn timeouts(&self, owners: &[&'b Section]) -> Timeouts {
        let layers = self.policy("timeouts", &raw::TIMEOUTS, owners);
        Timeouts {
            connect: layers.duration("connect"),
            first_byte: layers.duration("first_byte"),
            request: layers.duration("request"),
            stream_idle: layers.duration("stream_idle"),
            tunnel_idle: layers.duration("tunnel_idle"),
            total: layers.duration("total"),
            deadline_header: layers.text_if_any("deadline_header"),
        }
    }

    pub(super) fn breaker(
        &mut self,
        owners: &[&'b Section],
        timeouts: &Timeouts,
        bulkhead: &Bulkhead,
        protocol: Protocol,
    ) -> Breaker {
        let layers = self.policy("breaker", &raw::BREAKER, owners);
        // A TCP upstream is slow to connect, or not at all. What it inherits is meant for others.
        let (limit, longest, meant) = match protocol {
            Protocol::Tcp => ("connect", timeouts.connect, owners.len()),
            _ => ("first_byte", timeouts.first_byte, usize::MAX),
        };
        self.check_window(&layers);
        if layers.depth("slow_call") < meant {
            self.check_slow_call(&layers, limit, longest);
        }
        let (open_for, open_for_max) = self.growing(
            &layers,
            ["open_for", "open_for_max"],
            "the open time begins with `open_for` and grows up to `open_for_max`",
        );
        let settings = Settings {
            window: layers.window("window"),
            min_calls: layers.count32("min_calls"),
            failure_rate: layers.scaled("failure_rate", WHOLE),
            slow_call: match layers.span("slow_call") {
                Some(_) => layers.duration("slow_call"),
                None => longest.map(|longest| longest / 2),
            },
            slow_rate: layers.scaled("slow_rate", WHOLE),
            count_overdue: layers.bool("count_overdue"),
            max_requests: u32::try_from(bulkhead.max_requests).unwrap_or(u32::MAX),
            consecutive_failures: layers
                .integer("consecutive_failures")
                .and_then(|failures| u32::try_from(failures).ok()),
            open_for,
            open_for_max,
            open_multiplier: layers.scaled("open_multiplier", 1000),
            open_jitter: layers.scaled("open_jitter", 1000),
            half_open_calls: layers.count32("half_open_calls"),
            half_open_max_wait: layers.duration("half_open_max_wait"),
            half_open_on_max_wait: match layers.word("half_open_on_max_wait") {
                "closed" => AfterMaxWait::Closed,
                _ => AfterMaxWait::Open,
            },
            auto_half_open: layers.bool("auto_half_open"),
        };
        Breaker {
            mode: self.mode(&layers, "breaker"),
            settings,
            rules: Rules {
                failure_status: layers.statuses("failure_status"),
                ignore_status: layers.statuses("ignore_status"),
                failure_grpc: layers.integers("failure_grpc"),
            },
            settle_after: layers.time("settle_after"),
        }
    }

    fn check_window(&mut self, layers: &Layers<'_>) {
        let min_calls = layers.count32("min_calls");
        match layers.window("window") {
            Window::Calls(calls) if min_calls > calls => self.report(
                Id::ConflictingValues,
                layers.nearest("min_calls", "window"),
                format!("`min_calls` is {min_calls}, but `window` holds {calls} calls"),
                format!("set `min_calls` to {calls} or less, or widen `window`"),
            ),
            _ => {}
        }
    }

    /// A slow call must end before the timeout `limit` ends it.
    fn check_slow_call(&mut self, layers: &Layers<'_>, limit: &str, longest: Option<Duration>) {
        if let (Some(slow_call), Some(longest)) = (layers.duration("slow_call"), longest)
            && slow_call >= longest
        {
            self.report(
                Id::SlowCallTooLong,
                layers.span("slow_call"),
                format!(
                    "no call is ever slow: `timeouts.{limit}` ends it after {}",
                    show_duration(longest)
                ),
                format!(
                    "set `slow_call` below `{limit}`, or `slow_call = \"off\"` if that is meant"
                ),
            );
        }
    }

    /// A time and the greatest that it may grow to, which gives way where it is inherited.
    fn growing(
        &mut self,
        layers: &Layers<'_>,
        [first, longest]: [&str; 2],
        help: &str,
    ) -> (Duration, Duration) {
        let (least, greatest) = (layers.time(first), layers.time(longest));
        if greatest < least && layers.depth(longest) <= layers.depth(first) {
            let (least, greatest) = (show_duration(least), show_duration(greatest));
            self.report(
                Id::ConflictingValues,
                layers.span(longest),
                format!("`{longest}` is {greatest}, but `{first}` is {least}"),
                help,
            );
        }
        (least, greatest.max(least))
    }

    pub(super) fn fallback(&self, owners: &[&'b Section]) -> Option<Fallback> {
        let layers = self.policy("fallback", &raw::FALLBACK, owners);
        layers.is_written().then(|| Fallback {
            status: u16::try_from(layers.count("status")).unwrap_or(200),
            body: layers.text("body").unwrap_or_default(),
            content_type: layers.text("content_type").unwrap_or_default(),
        })
    }
}
