//! What the figures of a way mean for rates and loads: bounds, by formula.

pub(super) mod cut_loose;

use std::time::Duration;

use super::way::Way;
use super::{number, time, timeline};
use crate::config::model::{Mode, Protocol};
use crate::resilience::hedge::Delay;

/// Rates for which bounds are given, per second.
const RATES: [f64; 3] = [10.0, 50.0, 100.0];
/// A latency of an upstream that is well.
const WELL: Duration = Duration::from_millis(100);

/// One thing that follows from the figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// Stable name.
    pub id: &'static str,
    /// It in words.
    pub text: String,
    /// Its numbers by name; times are in milliseconds, `None` is no limit or never.
    pub numbers: Vec<(String, Option<f64>)>,
}

impl Fact {
    fn new(id: &'static str, text: String) -> Self {
        Self {
            id,
            text,
            numbers: Vec::new(),
        }
    }

    fn with(mut self, name: impl Into<String>, value: impl Into<Option<f64>>) -> Self {
        self.numbers.push((name.into(), value.into()));
        self
    }
}

/// Milliseconds for programs.
pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn or_unlimited(duration: Option<Duration>) -> String {
    duration.map_or_else(|| "no limit".to_owned(), time)
}

/// All that is worth saying, in a fixed order.
pub fn of(way: &Way<'_>) -> Vec<Fact> {
    let mut facts = vec![worst_case(way)];
    facts.extend(retry_after(way));
    facts.extend(retry_load(way));
    facts.extend(hedge_load(way));
    if way.upstream.protocol == Protocol::Tcp {
        facts.push(tunnel(way));
    } else {
        facts.push(admitted(way));
        facts.extend(queue(way));
    }
    facts.extend(adaptive(way));
    facts.extend(rate_limit(way));
    facts.extend(failover(way));
    facts.push(cut_loose::cut_loose(way));
    facts
}

fn worst_case(way: &Way<'_>) -> Fact {
    let line = timeline::of(way);
    let (head, alone) = (line.head(), line.without_deadline);
    let what = match way.upstream.protocol {
        Protocol::Tcp => "connection",
        _ => "response head",
    };
    let text = match (line.is_cut(), head) {
        (_, None) => format!("a {what} may take for ever: nothing limits it"),
        (true, Some(head)) => format!(
            "the {what} takes at most {}, by the deadline; without it {}; {} of {} attempts \
             start in time",
            time(head),
            or_unlimited(alone),
            line.attempts_that_start,
            line.attempts
        ),
        (false, Some(head)) => format!(
            "the {what} takes at most {}, with {} attempt{}",
            time(head),
            line.attempts,
            if line.attempts == 1 { "" } else { "s" }
        ),
    };
    Fact::new("worst-case", text)
        .with("head_ms", head.map(millis))
        .with("without_deadline_ms", alone.map(millis))
        .with("attempts", f64::from(line.attempts))
        .with("attempts_that_start", f64::from(line.attempts_that_start))
}

fn retry_after(way: &Way<'_>) -> Option<Fact> {
    let settings = &way.retry.settings;
    let is_asked = way.retries() > 0 && way.resendable && !settings.on.status.0.is_empty();
    let longest = settings.max_retry_after;
    (is_asked && longest > settings.backoff.max).then(|| {
        let text = format!(
            "an upstream that says `Retry-After` may stretch a back-off to {}; asking for more \
             forbids the retry",
            time(longest)
        );
        Fact::new("retry-after", text).with("max_ms", millis(longest))
    })
}

/// `R * (1 + ratio) + min_per_second`, and no more than all retries.
fn retry_load(way: &Way<'_>) -> Option<Fact> {
    let retries = f64::from(way.retries());
    if retries < 1.0 {
        return None;
    }
    let budget = &way.upstream.budget;
    let (ratio, reserve) = (
        f64::from(budget.deposit) / 1000.0,
        f64::from(budget.min_per_second),
    );
    let bound = |rate: f64| (rate * (1.0 + ratio) + reserve).min(rate * (1.0 + retries));
    let listed = |numbers: &[f64]| {
        let numbers: Vec<_> = numbers.iter().map(|&value| number(value)).collect();
        numbers.join(", ")
    };
    let kept = reserve * budget.window.as_secs_f64();
    let text = format!(
        "with everything failing, and until the breaker opens, {} requests/s become at most {} \
         attempts/s (without a budget {} times the requests); that is a mean over {}: what the \
         budget holds by then, a reserve of {} and {} a request, may go at once; the other \
         failures reach their callers after one attempt",
        listed(&RATES),
        listed(&RATES.map(bound)),
        number(1.0 + retries),
        time(budget.window),
        number(kept),
        number(ratio)
    );
    let fact = Fact::new("retry-load", text)
        .with("ratio", ratio)
        .with("min_per_second", reserve)
        .with("reserve", kept);
    Some(RATES.iter().fold(fact, |fact, &rate| {
        fact.with(format!("attempts_per_second_at_{rate}"), bound(rate))
    }))
}

fn hedge_load(way: &Way<'_>) -> Option<Fact> {
    let hedge = way.hedging()?;
    let ratio = f64::from(way.upstream.budget.deposit) / 1000.0;
    let reserve = f64::from(way.upstream.budget.min_per_second);
    let expected = match hedge.settings.delay {
        Delay::Percentile(p) => Some(f64::from(1000_u32.saturating_sub(p)) / 1000.0),
        Delay::Fixed(_) => None,
    };
    let said = match expected {
        Some(share) => format!(
            "about {} % of requests outlive the percentile and are hedged; ",
            number(share * 100.0)
        ),
        None => String::new(),
    };
    let text = format!(
        "{said}the budget allows hedges for {} % of requests and {} per second more",
        number(ratio * 100.0),
        number(reserve)
    );
    let fact = Fact::new("hedge-load", text).with("ratio", ratio);
    Some(fact.with("expected_ratio", expected))
}

/// A connection holds its place for as long as it stands, which nothing else bounds.
fn tunnel(way: &Way<'_>) -> Fact {
    let idle = way.timeouts.tunnel_idle;
    let until = idle.map_or_else(
        || "until either side ends it".to_owned(),
        |idle| {
            format!(
                "until either side ends it, or nothing has passed for {}",
                time(idle)
            )
        },
    );
    let places = way.places();
    let text = format!("{places} connections stand at once, each {until}");
    Fact::new("tunnel", text)
        .with("in_flight", places as f64)
        .with("idle_ms", idle.map(millis))
}

/// Little's law: requests in flight = rate * latency.
fn admitted(way: &Way<'_>) -> Fact {
    let places = way.places() as f64;
    let latencies = [
        ("at_100_ms", Some(WELL)),
        ("at_slow_call", way.breaker.settings.slow_call),
        ("at_first_byte", way.timeouts.first_byte),
    ];
    let rate = |latency: Duration| places / latency.as_secs_f64();
    let known: Vec<_> = latencies
        .iter()
        .filter_map(|(name, latency)| Some((*name, (*latency).filter(|l| !l.is_zero())?)))
        .collect();
    let said: Vec<_> = known
        .iter()
        .map(|(name, latency)| {
            let rate = number(rate(*latency));
            match *name {
                "at_slow_call" => format!("{rate}/s at `slow_call` ({})", time(*latency)),
                "at_first_byte" => format!("{rate}/s at `first_byte` ({})", time(*latency)),
                _ => format!("{rate}/s at {}", time(*latency)),
            }
        })
        .collect();
    let text = format!(
        "{places} requests in flight carry {}, each to the end of its body (Little's law)",
        said.join(", ")
    );
    let fact = Fact::new("admitted-rate", text).with("in_flight", places);
    known.iter().fold(fact, |fact, (name, latency)| {
        fact.with(format!("per_second_{name}"), rate(*latency))
    })
}

fn queue(way: &Way<'_>) -> Option<Fact> {
    let bulkhead = &way.upstream.bulkhead;
    if way.queue_wait().is_zero() || bulkhead.max_requests == 0 {
        return None;
    }
    // A full queue moves by `max_requests` places in the time of one request.
    let rounds = bulkhead.max_queued as f64 / bulkhead.max_requests as f64;
    let latency = bulkhead.queue_timeout.as_secs_f64() / rounds;
    let latency = Duration::try_from_secs_f64(latency).ok()?;
    let text = format!(
        "the last of {} queued gets a slot within {} if requests take at most {} each; slower \
         ones let it time out",
        bulkhead.max_queued,
        time(bulkhead.queue_timeout),
        time(latency)
    );
    Some(
        Fact::new("queue", text)
            .with("wait_ms", millis(bulkhead.queue_timeout))
            .with("latency_to_empty_in_time_ms", millis(latency)),
    )
}

fn adaptive(way: &Way<'_>) -> Option<Fact> {
    let adaptive = way.upstream.adaptive.as_ref()?;
    let idle = way.idle_limit(adaptive.mode);
    let (least, most) = (
        f64::from(adaptive.settings.min),
        way.upstream.bulkhead.max_requests as f64,
    );
    let most = most.min(f64::from(adaptive.settings.max));
    let text = format!(
        "the adaptive limit moves between {} and {} requests in flight: {}/s to {}/s at {}{}",
        number(least.min(most)),
        number(most),
        number(least.min(most) / WELL.as_secs_f64()),
        number(most / WELL.as_secs_f64()),
        time(WELL),
        idle.map_or_else(String::new, |why| format!(" ({why}: it limits nothing)"))
    );
    let fact = Fact::new("adaptive", text).with("least", least.min(most));
    Some(fact.with("most", most))
}

fn failover(way: &Way<'_>) -> Option<Fact> {
    let name = &way.failover()?.upstream.name;
    if !way.resendable {
        let text = format!(
            "this request goes on to `{name}` only if it was never sent: it is not idempotent"
        );
        return Some(Fact::new("failover", text));
    }
    let hung = way.hung();
    let left = way
        .deadline()
        .zip(hung)
        .map(|(at, hung)| at.saturating_sub(hung));
    let text = match (hung, left) {
        (None, _) => format!("a hung upstream is never given up for `{name}`"),
        (Some(hung), None) => format!(
            "a hung upstream is given up for `{name}` after {}",
            time(hung)
        ),
        (Some(hung), Some(left)) => format!(
            "a hung upstream is given up for `{name}` after {}, which leaves it {} of the deadline",
            time(hung),
            time(left)
        ),
    };
    let fact = Fact::new("failover", text).with("after_ms", hung.map(millis));
    Some(fact.with("left_ms", left.map(millis)))
}

fn rate_limit(way: &Way<'_>) -> Option<Fact> {
    let limit = way.upstream.rate_limit.as_ref()?;
    let settings = &limit.settings;
    let sustained = f64::from(settings.rate) / settings.per.as_secs_f64();
    let waiting = sustained * settings.max_wait.as_secs_f64();
    let text = format!(
        "{} requests per second pass in the long run, {} at once, and {} more wait up to {}{}",
        number(sustained),
        settings.burst,
        number(waiting.floor()),
        time(settings.max_wait),
        if limit.mode == Mode::Enforce {
            ""
        } else {
            " (observed only: all pass)"
        }
    );
    Some(
        Fact::new("rate-limit", text)
            .with("per_second", sustained)
            .with("burst", f64::from(settings.burst))
            .with("waiting", waiting.floor()),
    )
}
