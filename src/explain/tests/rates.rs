//! Bounds worked out by hand.

use std::time::Duration;

use super::{hedged, limited, ms, plain};
use crate::config::model::{Config, Mode};
use crate::explain::arithmetic::cut_loose::opens_after;
use crate::explain::arithmetic::{self, Fact};
use crate::explain::way::Way;
use crate::explain::{number, time};
use crate::resilience::breaker::Window;
use crate::resilience::hedge;

fn way(config: &Config) -> Way<'_> {
    Way::along(config, &config.listeners[0].routes[0]).expect("an upstream")
}

fn fact(config: &Config, id: &str) -> Option<Fact> {
    let facts = arithmetic::of(&way(config));
    facts.into_iter().find(|fact| fact.id == id)
}

#[track_caller]
fn assert_number(config: &Config, id: &str, name: &str, expected: f64) {
    let fact = fact(config, id).expect(id);
    let found = fact.numbers.iter().find(|(found, _)| found == name);
    let value = found.expect(name).1.expect(name);
    assert!((value - expected).abs() < 1e-6, "{id}.{name}: {value}");
}

#[test]
fn little_and_the_queue() {
    let mut config = plain();
    assert_number(&config, "admitted-rate", "per_second_at_100_ms", 640.0);
    assert_number(&config, "admitted-rate", "per_second_at_slow_call", 25.6);
    assert_number(&config, "admitted-rate", "per_second_at_first_byte", 12.8);
    assert_number(&config, "queue", "latency_to_empty_in_time_ms", 200.0);
    config.upstreams[0].bulkhead.max_connections = 32;
    assert_number(&config, "admitted-rate", "in_flight", 32.0);
    config.upstreams[0].bulkhead.max_queued = 0;
    assert!(fact(&config, "queue").is_none());
}

#[test]
fn retries_are_bounded_by_the_budget_or_by_their_number() {
    let mut config = plain();
    let at = |rate: u32| format!("attempts_per_second_at_{rate}");
    assert_number(&config, "retry-load", &at(100), 123.0);
    assert_number(&config, "retry-load", "reserve", 30.0);
    config.upstreams[0].budget.deposit = 1000;
    assert_number(&config, "retry-load", &at(10), 20.0);
    assert_number(&config, "retry-load", &at(100), 200.0);
    config.listeners[0].routes[0].retry.settings.retries = 0;
    assert!(fact(&config, "retry-load").is_none());
}

#[test]
fn rates_in_the_long_run_and_at_once() {
    let mut config = plain();
    config.upstreams[0].rate_limit = Some(limited(7));
    assert_number(&config, "rate-limit", "per_second", 50.0);
    assert_number(&config, "rate-limit", "burst", 7.0);
    assert_number(&config, "rate-limit", "waiting", 15.0);
    let hedge = hedged(hedge::Delay::Percentile(950));
    config.listeners[0].routes[0].hedge = Some(hedge);
    assert_number(&config, "hedge-load", "expected_ratio", 0.05);
}

#[test]
fn a_failover_begins_when_a_hung_attempt_ends() {
    let mut config = plain();
    config.upstreams[0].failover = Some(1);
    assert_number(&config, "failover", "after_ms", 5100.0);
    assert_number(&config, "failover", "left_ms", 4900.0);
    config.listeners[0].routes[0].retry.settings.on.timeout = true;
    assert_number(&config, "failover", "after_ms", 10_100.0);
    assert_number(&config, "failover", "left_ms", 0.0);
}

#[track_caller]
fn assert_opens(config: &Config, rate: f64, expected: Option<(u64, &str)>) {
    let opens = opens_after(&way(config), rate);
    let opens = opens.map(|(after, cause)| (after.as_micros().div_ceil(1000), cause));
    let expected = expected.map(|(after, cause)| (u128::from(after), cause));
    assert_eq!(opens, expected, "at {rate}/s");
}

#[test]
fn a_hung_upstream_is_cut_loose_by_the_first_rule_that_sees_it() {
    let mut config = plain();
    // The 20th call is dispatched after 19 intervals and overdue 2.5 s later.
    assert_opens(&config, 10.0, Some((4400, "overdue")));
    assert_opens(&config, 100.0, Some((2690, "overdue")));
    // So few that the first has timed out before the 20th is overdue: seven timeouts in a row.
    assert_opens(&config, 5.0, Some((6200, "consecutive_failures")));
    let upstream = &mut config.upstreams[0];
    upstream.breaker.settings.count_overdue = false;
    assert_opens(&config, 10.0, Some((5600, "consecutive_failures")));
    let settings = &mut config.upstreams[0].breaker.settings;
    settings.consecutive_failures = None;
    // Half of what is in the window of 10 s: 2.5 s of timeouts beside 2.5 s of successes.
    assert_opens(&config, 10.0, Some((7500, "failure_rate")));
    // Twenty calls do not come within the window.
    assert_opens(&config, 1.0, None);
    let settings = &mut config.upstreams[0].breaker.settings;
    settings.window = Window::Calls(100);
    assert_opens(&config, 50.0, Some((5980, "failure_rate")));
    config.upstreams[0].breaker.mode = Mode::Off;
    assert_opens(&config, 50.0, None);
}

#[test]
fn a_full_bulkhead_holds_further_calls_back() {
    let mut config = plain();
    config.upstreams[0].bulkhead.max_requests = 4;
    let settings = &mut config.upstreams[0].breaker.settings;
    settings.max_requests = 4;
    // Four overdue calls are all that there can be.
    assert_opens(&config, 100.0, Some((2530, "overdue")));
    config.upstreams[0].breaker.settings.count_overdue = false;
    // The fifth to seventh come after the first four have timed out.
    assert_opens(&config, 100.0, Some((10_020, "consecutive_failures")));
    config.listeners[0].routes[0].timeouts.first_byte = None;
    config.listeners[0].routes[0].timeouts.request = None;
    assert_opens(&config, 100.0, None);
}

#[test]
fn numbers_are_short() {
    for (duration, expected) in [
        (Duration::ZERO, "0 ms"),
        (Duration::from_micros(250), "250 us"),
        (Duration::from_micros(1500), "1.5 ms"),
        (ms(999), "999 ms"),
        (ms(5025), "5.025 s"),
        (ms(10_000), "10 s"),
        (ms(300_000), "5 min"),
        (ms(36_000_000), "10 h"),
        (ms(864_000_000), "10 days"),
    ] {
        assert_eq!(time(duration), expected);
    }
    assert_eq!(
        [0.2, 12.84, 640.0, 1.0].map(number),
        ["0.2", "12.8", "640", "1"]
    );
}
