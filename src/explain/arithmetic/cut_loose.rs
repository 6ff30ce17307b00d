//! How long a hung upstream keeps its callers waiting until the breaker opens.

use std::time::Duration;

use super::{Fact, RATES, millis};
use crate::config::model::Mode;
use crate::explain::way::Way;
use crate::explain::{number, time};
use crate::resilience::WHOLE;
use crate::resilience::breaker::Window;

/// How long it takes until the breaker opens for an upstream that answers nothing any more.
pub(super) fn cut_loose(way: &Way<'_>) -> Fact {
    let opens: Vec<_> = RATES
        .iter()
        .map(|&rate| (rate, opens_after(way, rate)))
        .collect();
    let said: Vec<_> = opens
        .iter()
        .map(|(rate, opens)| match opens {
            Some((after, cause)) => {
                format!("{} at {}/s ({cause})", time(*after), number(*rate))
            }
            None => format!("never at {}/s", number(*rate)),
        })
        .collect();
    let word = match way.breaker.mode {
        Mode::Enforce => "opens",
        Mode::Observe => "would open, but only observes,",
        Mode::Off => "is off: a hung upstream is never cut loose",
    };
    let text = if way.breaker.mode == Mode::Off {
        format!("the breaker {word}")
    } else {
        format!(
            "for a hung upstream that was well before, the breaker {word} after {}",
            said.join(", ")
        )
    };
    let fact = Fact::new("cut-loose", text);
    opens.iter().fold(fact, |fact, (rate, opens)| {
        let after = opens.map(|(after, _)| millis(after));
        fact.with(format!("after_ms_at_{rate}"), after)
    })
}

/// The first rule of the breaker that opens it if nothing is answered from some instant on, with
/// `rate` requests a second before and after.
pub(in crate::explain) fn opens_after(
    way: &Way<'_>,
    rate: f64,
) -> Option<(Duration, &'static str)> {
    if way.breaker.mode == Mode::Off {
        return None;
    }
    let settings = &way.breaker.settings;
    let limits = [way.timeouts.first_byte, way.own_deadline()];
    let limit = limits.into_iter().flatten().min();
    let limit = limit.map(|limit| limit.as_secs_f64());
    let slow = settings.slow_call.map(|slow| slow.as_secs_f64());
    let places = way.places().max(1) as f64;
    // When the n-th call is dispatched: by the clock, until every place is taken by a hung one.
    let dispatched = |n: f64| match limit {
        Some(limit) if rate * limit > places => {
            let round = ((n - 1.0) / places).floor();
            round * limit + (n - 1.0 - round * places) / rate
        }
        None if n > places => f64::INFINITY,
        _ => (n - 1.0) / rate,
    };
    let overdue = slow.filter(|_| settings.count_overdue).and_then(|slow| {
        let needed = f64::from(settings.min_calls.min(settings.max_requests));
        let last = dispatched(needed);
        // All of them must run at once: the first has not timed out when the last is overdue.
        let all_run = limit.is_none_or(|limit| last + slow < limit);
        (all_run && last.is_finite()).then_some((last + slow, "overdue"))
    });
    let row = settings.consecutive_failures.zip(limit);
    let row = row.map(|(needed, limit)| {
        (
            dispatched(f64::from(needed)) + limit,
            "consecutive_failures",
        )
    });
    let window = limit.and_then(|limit| {
        let is_slow = slow.is_some_and(|slow| limit > slow);
        let threshold = if is_slow {
            settings.failure_rate.min(settings.slow_rate)
        } else {
            settings.failure_rate
        };
        let threshold = f64::from(threshold) / f64::from(WHOLE);
        let cause = match (is_slow, settings.slow_rate < settings.failure_rate) {
            (true, true) => "slow_rate",
            _ => "failure_rate",
        };
        let enough = dispatched(f64::from(settings.min_calls)) + limit;
        match settings.window {
            Window::Seconds(seconds) => {
                // Successes from before leave the window while failures enter it.
                let seconds = f64::from(seconds);
                let mixed = limit + threshold * (seconds - limit).max(0.0);
                let holds = rate * seconds >= f64::from(settings.min_calls);
                holds.then(|| (enough.max(mixed), cause))
            }
            Window::Calls(calls) => {
                let needed = (threshold * f64::from(calls)).ceil();
                Some((enough.max(dispatched(needed) + limit), cause))
            }
        }
    });
    let all = [overdue, row, window].into_iter().flatten();
    let first = all.min_by(|(a, _), (b, _)| a.total_cmp(b));
    let (after, cause) = first?;
    Some((Duration::try_from_secs_f64(after).ok()?, cause))
}
