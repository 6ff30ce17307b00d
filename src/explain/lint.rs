//! What cannot work as written: settings that are each valid, and together do nothing or not what
//! they seem to.
//!
//! Says only what is certain from the configuration, so that nobody learns to overlook it: the
//! defaults have no lints. What [`crate::config`] warns of is not said again.

mod attempts;
mod protocols;

use std::time::Duration;

use super::time;
use super::way::Way;
use crate::config::model::{Config, Listener, Mode, Protocol, Route};
use crate::resilience::WHOLE;

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lint {
    /// Stable name.
    pub id: &'static str,
    /// What happens.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

/// What only this request runs into.
pub fn of_request(way: &Way<'_>, listener: &Listener) -> Vec<Lint> {
    let mut lints = Vec::new();
    protocols::grpc(way, listener, &mut lints);
    lints
}

/// Everything about `route` and the upstream that it leads to, for a request that says nothing of
/// itself and may be sent again.
pub fn lint(config: &Config, route: &Route) -> Vec<Lint> {
    let Some(way) = Way::along(config, route) else {
        return Vec::new();
    };
    let mut lints = Vec::new();
    for check in [
        waits,
        attempts::retries,
        attempts::slow_call,
        attempts::hedge,
        attempts::budget,
        attempts::keys,
        bulkhead,
        classes,
        adaptive,
        rate_limit,
        ejection,
        attempts::failover,
        protocols::pins,
        protocols::forward,
    ] {
        check(&way, &mut lints);
    }
    lints
}

fn report(
    lints: &mut Vec<Lint>,
    id: &'static str,
    message: impl Into<String>,
    help: impl Into<String>,
) {
    lints.push(Lint {
        id,
        message: message.into(),
        help: help.into(),
    });
}

/// Where the waits before the first attempt end.
fn dispatch(way: &Way<'_>) -> Duration {
    way.rate_wait().saturating_add(way.queue_wait())
}

fn waits(way: &Way<'_>, lints: &mut Vec<Lint>) {
    let wait = dispatch(way);
    match way.deadline() {
        Some(deadline) if wait >= deadline => report(
            lints,
            "wait-outlasts-deadline",
            format!(
                "a request may wait {} for its first attempt, but its deadline is {}: it waits \
                 only to fail",
                time(wait),
                time(deadline)
            ),
            "lower `queue_timeout` and `max_wait` well below `request`",
        ),
        None if way.upstream.protocol == Protocol::Tcp && way.timeouts.connect.is_none() => report(
            lints,
            "no-time-limit",
            "nothing ends a connection that is not accepted: `connect` is off",
            "set `connect`, so that a hung upstream gives its slots back",
        ),
        None if way.timeouts.first_byte.is_none() => report(
            lints,
            "no-time-limit",
            "nothing ends a request that is not answered: `first_byte`, `request` and `total` are \
             off",
            "set `request`, so that a hung upstream gives its slots back",
        ),
        _ => {}
    }
}

fn bulkhead(way: &Way<'_>, lints: &mut Vec<Lint>) {
    let bulkhead = &way.upstream.bulkhead;
    if bulkhead.mode != Mode::Enforce {
        return;
    }
    if way.carried() < bulkhead.max_requests && way.is_http2().is_some() {
        report(
            lints,
            "too-few-connections",
            format!(
                "{} requests may be in flight over {} connections: the others hold a slot and wait \
                 for a connection",
                bulkhead.max_requests, bulkhead.max_connections
            ),
            "raise `max_connections` to `max_requests`, or lower `max_requests`",
        );
    }
    if bulkhead.max_queued > 0 && bulkhead.queue_timeout.is_zero() {
        report(
            lints,
            "queue-without-time",
            format!(
                "{} requests may queue, but for no time at all",
                bulkhead.max_queued
            ),
            "raise `queue_timeout`, or set `max_queued = 0`",
        );
    }
}

fn classes(way: &Way<'_>, lints: &mut Vec<Lint>) {
    let Some(priority) = &way.upstream.priority else {
        return;
    };
    let slots = way.upstream.bulkhead.max_requests as u64;
    let classes = priority.classes.iter();
    let reserved: u64 = classes.map(|class| way.reserved(class)).sum();
    if reserved > slots {
        report(
            lints,
            "more-reserved-than-slots",
            format!(
                "each class has a slot at least, together {reserved}, but `max_requests` is \
                 {slots}: not all can be kept"
            ),
            "raise `max_requests`, or name fewer classes with a share",
        );
    }
}

fn adaptive(way: &Way<'_>, lints: &mut Vec<Lint>) {
    let Some(adaptive) = &way.upstream.adaptive else {
        return;
    };
    let (least, most) = (adaptive.settings.min, way.upstream.bulkhead.max_requests);
    if u64::from(least) >= most as u64 {
        report(
            lints,
            "adaptive-has-no-room",
            format!(
                "the adaptive limit is {least} at least, and `max_requests` is {most}: it never acts"
            ),
            "lower `adaptive.min`, or raise `max_requests`",
        );
    }
}

fn rate_limit(way: &Way<'_>, lints: &mut Vec<Lint>) {
    let (Some(limit), bulkhead) = (&way.upstream.rate_limit, &way.upstream.bulkhead) else {
        return;
    };
    let room = bulkhead.max_requests.saturating_add(bulkhead.max_queued);
    let burst = limit.settings.burst;
    let acts = limit.mode == Mode::Enforce && bulkhead.mode == Mode::Enforce;
    // As large as `rate` it is the default, and no wish for so many at one instant.
    if acts && burst != limit.settings.rate && u64::from(burst) > room as u64 {
        report(
            lints,
            "burst-over-room",
            format!(
                "the rate limit lets {burst} requests pass at once, but slots and queue hold {room}"
            ),
            "lower `burst`, or raise `max_queued`",
        );
    }
}

fn ejection(way: &Way<'_>, lints: &mut Vec<Lint>) {
    let (ejection, breaker) = (&way.upstream.ejection, &way.breaker);
    let several = way.upstream.endpoints.len() as u64;
    let acts = ejection.mode == Mode::Enforce && breaker.mode == Mode::Enforce;
    let Some(failures) = ejection.settings.consecutive_failures else {
        return;
    };
    if several < 2 || !acts {
        return;
    }
    let settings = &breaker.settings;
    let by_row = settings
        .consecutive_failures
        .is_some_and(|row| failures >= row);
    // One bad endpoint of n fails 1/n of the calls.
    let calls = u64::from(failures) * several;
    let by_rate = calls >= u64::from(settings.min_calls)
        && u64::from(settings.failure_rate) * several <= u64::from(WHOLE);
    let rule = match (by_row, by_rate || failures >= settings.min_calls) {
        (true, _) => "consecutive_failures",
        (_, true) => "min_calls",
        _ => return,
    };
    report(
        lints,
        "breaker-before-ejection",
        format!(
            "one bad endpoint may open the breaker for the good ones: it is ejected after \
             {failures} failures, and the breaker's `{rule}` is reached by then"
        ),
        format!("keep `ejection.consecutive_failures` well below the breaker's `{rule}`"),
    );
}
