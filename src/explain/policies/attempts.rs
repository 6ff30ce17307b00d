//! What attempts meet: the breaker, retries, their budget, hedges.

use super::{Policy, list, off, share};
use crate::config::model::Hedge;
use crate::explain::way::Way;
use crate::resilience::WHOLE;
use crate::resilience::breaker::{Settings, Window};
use crate::resilience::classify::StatusSet;
use crate::resilience::hedge::Delay;
use crate::resilience::retry::{Jitter, On};

pub(super) fn breaker(way: &Way<'_>) -> Policy {
    let Settings {
        window,
        min_calls,
        failure_rate,
        slow_call,
        slow_rate,
        count_overdue,
        consecutive_failures,
        open_for,
        open_for_max,
        half_open_calls,
        ..
    } = way.breaker.settings;
    let window = match window {
        Window::Seconds(seconds) => format!("{seconds}s"),
        Window::Calls(calls) => calls.to_string(),
    };
    Policy::new("breaker", Some(way.breaker.mode))
        .set("window", window)
        .set("min_calls", min_calls)
        .set("failure_rate", share(failure_rate, WHOLE))
        .time("slow_call", slow_call)
        .set("slow_rate", share(slow_rate, WHOLE))
        .set("count_overdue", count_overdue)
        .set(
            "consecutive_failures",
            consecutive_failures.map_or_else(off, |failures| failures.to_string()),
        )
        .time("open_for", open_for)
        .time("open_for_max", open_for_max)
        .set("half_open_calls", half_open_calls)
        .note(if way.own_breaker {
            "the route's own"
        } else {
            "the upstream's, shared by its routes without one"
        })
}

pub(super) fn retry(way: &Way<'_>) -> Policy {
    let settings = &way.retry.settings;
    let jitter = match settings.backoff.jitter {
        Jitter::Full => "full",
        Jitter::Equal => "equal",
        Jitter::Decorrelated => "decorrelated",
        Jitter::None => "none",
    };
    Policy::new("retry", Some(way.retry.mode))
        .set("retries", settings.retries)
        .set("on", on(&settings.on))
        .set("on_grpc", list(settings.on.grpc.iter()))
        .time("backoff.base", settings.backoff.base)
        .time("backoff.max", settings.backoff.max)
        .set("backoff.jitter", jitter)
        .time("max_retry_after", settings.max_retry_after)
        .set("max_body_buffer", settings.max_body_buffer)
        .note(match (way.hedging(), way.retries()) {
            (Some(_), _) => "this request is hedged instead".to_owned(),
            (None, 0) => "this request is not sent again".to_owned(),
            _ => format!("this request is sent again: {}", way.because),
        })
}

fn on(on: &On) -> String {
    let words = [
        (on.not_sent, "not-sent"),
        (on.reset, "reset"),
        (on.timeout, "timeout"),
    ];
    let words = words.iter().filter(|(is_set, _)| *is_set);
    let words = words.map(|(_, word)| (*word).to_owned());
    list(words.chain(ranges(&on.status)))
}

fn ranges(set: &StatusSet) -> impl Iterator<Item = String> {
    set.0.iter().map(|(from, to)| {
        if from == to {
            from.to_string()
        } else {
            format!("{from}-{to}")
        }
    })
}

pub(super) fn budget(way: &Way<'_>) -> Policy {
    let budget = &way.upstream.budget;
    Policy::new("budget", None)
        .set("ratio", share(budget.deposit, 1000))
        .set("min_per_second", budget.min_per_second)
        .time("window", budget.window)
        .note("for retries and hedges of all routes to this upstream")
}

pub(super) fn hedge(way: &Way<'_>, hedge: &Hedge) -> Policy {
    let policy = Policy::new("hedge", Some(hedge.mode));
    let policy = match hedge.settings.delay {
        Delay::Fixed(delay) => policy.time("delay", delay),
        Delay::Percentile(p) => policy.set("delay_percentile", share(p, 1000)),
    };
    policy
        .set("max_hedges", hedge.settings.max_hedges)
        .set("same_endpoint", hedge.settings.same_endpoint)
        .note(if way.resendable {
            format!("this request may be hedged: {}", way.because)
        } else {
            "this request is not hedged: it is not idempotent".to_owned()
        })
}
