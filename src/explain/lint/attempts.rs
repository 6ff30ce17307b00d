//! Attempts: retries, hedges, what they may cost, and what is slow.

use super::{Lint, dispatch, report};
use crate::config::model::{EndpointAddress, Mode};
use crate::explain::way::Way;
use crate::explain::{number, time, timeline};
use crate::resilience::hedge::Delay;

/// Whether attempts may follow the first.
fn follows(way: &Way<'_>) -> bool {
    way.retries() > 0 || way.hedging().is_some()
}

pub(super) fn retries(way: &Way<'_>, lints: &mut Vec<Lint>) {
    let retries = way.retries();
    if retries == 0 {
        return;
    }
    if way.breaker.mode == Mode::Off {
        report(
            lints,
            "retries-without-breaker",
            "the breaker is off: while everything fails, only the budget keeps retries from \
             adding to the load",
            "let the breaker act, or set `retries = 0`",
        );
    }
    let line = timeline::of(way);
    let (Some(deadline), true) = (
        line.deadline.filter(|deadline| dispatch(way) < *deadline),
        line.attempts_that_start < line.attempts,
    ) else {
        return;
    };
    let fitting = line.attempts_that_start.saturating_sub(1);
    report(
        lints,
        "retries-do-not-fit",
        format!(
            "where attempts take all of `first_byte`, {fitting} of {retries} retries fit: the \
             deadline of {} is over before the next begins",
            time(deadline)
        ),
        format!(
            "lower `first_byte` below {}, raise `request`, or set `retries = {fitting}`",
            time(deadline / retries.saturating_add(1))
        ),
    );
}

pub(super) fn slow_call(way: &Way<'_>, lints: &mut Vec<Lint>) {
    let (Some(slow), Some(deadline)) = (way.breaker.settings.slow_call, way.deadline()) else {
        return;
    };
    // At or above `first_byte` it is a warning of the configuration already.
    let said = way.timeouts.first_byte.is_some_and(|limit| slow >= limit);
    if slow >= deadline && !said && way.breaker.mode != Mode::Off {
        report(
            lints,
            "slow-call-never-reached",
            format!(
                "no call is ever slow or overdue: the deadline ends it after {}, `slow_call` is {}",
                time(deadline),
                time(slow)
            ),
            format!(
                "set `slow_call` below {}, or `first_byte`, of which it is half",
                time(deadline)
            ),
        );
    }
}

pub(super) fn hedge(way: &Way<'_>, lints: &mut Vec<Lint>) {
    let Some(hedge) = way.hedging() else {
        return;
    };
    let limits = [way.timeouts.first_byte, way.deadline()];
    let limit = limits.into_iter().flatten().min();
    match (hedge.settings.delay, limit) {
        (Delay::Fixed(delay), Some(limit)) if delay >= limit => report(
            lints,
            "hedge-too-late",
            format!(
                "no hedge runs beside an attempt: the attempt ends after {}, the delay is {}",
                time(limit),
                time(delay)
            ),
            "set `delay` near the 95th percentile of the response times",
        ),
        _ => {}
    }
    let budget = &way.upstream.budget;
    if let Delay::Percentile(p) = hedge.settings.delay {
        let expected = 1000_u32.saturating_sub(p);
        if expected > budget.deposit && (budget.deposit, budget.min_per_second) != (0, 0) {
            let excess = f64::from(expected - budget.deposit) / 1000.0;
            let from = f64::from(budget.min_per_second) / excess;
            report(
                lints,
                "hedge-exhausts-budget",
                format!(
                    "{} % of requests outlive this percentile, but the budget allows {} %: above \
                     {} requests/s the rest are not hedged",
                    number(f64::from(expected) / 10.0),
                    number(f64::from(budget.deposit) / 10.0),
                    number(from)
                ),
                "take a higher percentile, or raise `budget.ratio`",
            );
        }
    }
    let mut endpoints = way.upstream.endpoints.iter();
    let single = match (endpoints.next(), endpoints.next()) {
        (Some(only), None) => match &only.address {
            EndpointAddress::Name { host, .. } => host.parse::<std::net::IpAddr>().is_ok(),
            EndpointAddress::Unix(_) => true,
        },
        _ => false,
    };
    if single && !hedge.settings.same_endpoint {
        report(
            lints,
            "hedge-without-endpoint",
            "no hedge is ever sent: there is one endpoint, which the request uses already",
            "add an endpoint, or set `same_endpoint = true` if this one is a load balancer",
        );
    }
}

pub(super) fn budget(way: &Way<'_>, lints: &mut Vec<Lint>) {
    let budget = &way.upstream.budget;
    if follows(way) && budget.deposit == 0 && budget.min_per_second == 0 {
        report(
            lints,
            "budget-grants-nothing",
            "no retry or hedge is ever sent: the budget has neither `ratio` nor `min_per_second`",
            "raise one of them, or set `retries = 0`",
        );
    }
}

pub(super) fn keys(way: &Way<'_>, lints: &mut Vec<Lint>) {
    if follows(way) && way.retry.mint_idempotency_key && way.retry.settings.max_body_buffer == 0 {
        report(
            lints,
            "key-without-buffer",
            "a minted idempotency key is of no use to requests with a body: none is kept to be \
             sent again",
            "raise `max_body_buffer`",
        );
    }
}

pub(super) fn failover(way: &Way<'_>, lints: &mut Vec<Lint>) {
    let (Some(next), Some(deadline), Some(over)) = (way.failover(), way.deadline(), way.hung())
    else {
        return;
    };
    if over >= deadline {
        report(
            lints,
            "failover-without-time",
            format!(
                "a hung upstream leaves nothing for `{}`: it is waited for {}, the deadline is {}",
                next.upstream.name,
                time(over),
                time(deadline)
            ),
            "lower `first_byte`, or raise `request`",
        );
    }
}
