//! Each lint fires where it should, and the defaults have none.

use super::{hedged, limited, ms, parse, plain};
use crate::config::model::{Adaptive, Class, Config, EndpointAddress, Mode, Priority};
use crate::explain::lint::lint;
use crate::resilience::{adaptive, hedge};

/// The ids for upstream `n`, by its own listener.
fn ids(config: &Config, n: usize) -> Vec<&'static str> {
    let lints = lint(config, &config.listeners[n].routes[0]);
    lints.iter().map(|lint| lint.id).collect()
}

#[test]
fn the_defaults_have_no_lints() {
    let config = plain();
    assert!(ids(&config, 0).is_empty());
    assert!(ids(&config, 1).is_empty());
}

#[test]
fn the_example_has_no_lints() {
    let text = include_str!("../../../config.example.toml");
    let config = parse(text);
    for listener in &config.listeners {
        for route in &listener.routes {
            assert_eq!(lint(&config, route), [], "{}", route.name);
        }
    }
}

#[test]
fn each_lint_fires_where_it_should() {
    type Change = fn(&mut Config);
    let rows: &[(&str, Change)] = &[
        ("wait-outlasts-deadline", |config| {
            config.upstreams[0].bulkhead.queue_timeout = ms(10_000);
        }),
        ("no-time-limit", |config| {
            let timeouts = &mut config.listeners[0].routes[0].timeouts;
            (timeouts.first_byte, timeouts.request) = (None, None);
        }),
        ("retries-without-breaker", |config| {
            config.upstreams[0].breaker.mode = Mode::Off;
        }),
        ("retries-do-not-fit", |config| {
            config.listeners[0].routes[0].retry.settings.retries = 2;
        }),
        ("slow-call-never-reached", |config| {
            let route = &mut config.listeners[0].routes[0];
            route.retry.settings.retries = 0;
            route.timeouts.request = Some(ms(2500));
        }),
        ("hedge-too-late", |config| {
            let hedge = hedged(hedge::Delay::Fixed(ms(5000)));
            config.listeners[0].routes[0].hedge = Some(hedge);
        }),
        ("hedge-exhausts-budget", |config| {
            let hedge = hedged(hedge::Delay::Percentile(799));
            config.listeners[0].routes[0].hedge = Some(hedge);
        }),
        ("budget-grants-nothing", |config| {
            let budget = &mut config.upstreams[0].budget;
            (budget.deposit, budget.min_per_second) = (0, 0);
        }),
        ("key-without-buffer", |config| {
            let retry = &mut config.listeners[0].routes[0].retry;
            retry.mint_idempotency_key = true;
            retry.settings.max_body_buffer = 0;
        }),
        ("too-few-connections", |config| {
            config.upstreams[0].bulkhead.max_connections = 63;
        }),
        ("queue-without-time", |config| {
            config.upstreams[0].bulkhead.queue_timeout = ms(0);
        }),
        ("more-reserved-than-slots", |config| {
            config.upstreams[0].bulkhead.max_requests = 1;
            let class = |name: &str| Class {
                name: name.into(),
                share: 50_000,
            };
            config.upstreams[0].priority = Some(Priority {
                mode: Mode::Enforce,
                header: None,
                classes: vec![class("a"), class("b")],
                default: 0,
            });
        }),
        ("adaptive-has-no-room", |config| {
            config.upstreams[0].adaptive = Some(Adaptive {
                mode: Mode::Enforce,
                settings: adaptive::Settings {
                    algorithm: adaptive::Algorithm::Aimd {
                        backoff: 0.9,
                        timeout: ms(5000),
                    },
                    initial: 64,
                    min: 64,
                    max: 500,
                    window: ms(1000),
                    min_samples: 10,
                },
            });
        }),
        ("burst-over-room", |config| {
            config.upstreams[0].rate_limit = Some(limited(97));
        }),
        ("breaker-before-ejection", |config| {
            config.upstreams[0].ejection.settings.consecutive_failures = Some(7);
        }),
        ("failover-without-time", |config| {
            config.upstreams[0].failover = Some(1);
            let route = &mut config.listeners[0].routes[0];
            route.retry.settings.retries = 0;
            route.timeouts.first_byte = Some(ms(9_900));
        }),
    ];
    for (id, change) in rows {
        let mut config = plain();
        change(&mut config);
        assert_eq!(ids(&config, 0), [*id], "{id}");
        assert_in_manual(id);
    }
}

#[track_caller]
pub(super) fn assert_in_manual(id: &str) {
    let manual = include_str!("../../../docs/explain.md");
    assert!(manual.contains(&format!("| `{id}` |")), "{id}");
}

#[test]
fn one_step_inside_the_limit_there_is_none() {
    type Change = fn(&mut Config);
    let rows: &[(&str, Change)] = &[
        ("a wait just below the deadline", |config| {
            config.listeners[0].routes[0].retry.settings.retries = 0;
            config.upstreams[0].bulkhead.queue_timeout = ms(9_999);
        }),
        ("a slow call just below the deadline", |config| {
            let route = &mut config.listeners[0].routes[0];
            route.retry.settings.retries = 0;
            route.timeouts.request = Some(ms(2501));
        }),
        ("a hedge just in time", |config| {
            let hedge = hedged(hedge::Delay::Fixed(ms(4999)));
            config.listeners[0].routes[0].hedge = Some(hedge);
        }),
        ("as many hedges as the budget allows", |config| {
            let hedge = hedged(hedge::Delay::Percentile(800));
            config.listeners[0].routes[0].hedge = Some(hedge);
        }),
        ("a burst for which there is room", |config| {
            config.upstreams[0].rate_limit = Some(limited(96));
        }),
        ("one endpoint, which is never ejected", |config| {
            config.upstreams[0].endpoints.truncate(1);
            config.upstreams[0].ejection.settings.consecutive_failures = Some(50);
        }),
        ("a failover with a little time", |config| {
            config.upstreams[0].failover = Some(1);
            let route = &mut config.listeners[0].routes[0];
            route.retry.settings.retries = 0;
            route.timeouts.first_byte = Some(ms(9_899));
        }),
        ("a slow call that the configuration warns of", |config| {
            config.upstreams[0].breaker.settings.slow_call = Some(ms(20_000));
        }),
        ("retries that are off", |config| {
            config.upstreams[0].breaker.mode = Mode::Off;
            config.listeners[0].routes[0].retry.mode = Mode::Off;
        }),
    ];
    for (what, change) in rows {
        let mut config = plain();
        change(&mut config);
        assert!(ids(&config, 0).is_empty(), "{what}: {:?}", ids(&config, 0));
    }
}

#[test]
fn a_hedge_needs_a_second_endpoint() {
    let mut config = plain();
    let mut hedge = hedged(hedge::Delay::Fixed(ms(50)));
    config.listeners[1].routes[0].hedge = Some(hedge.clone());
    assert_eq!(ids(&config, 1), ["hedge-without-endpoint"]);
    assert_in_manual("hedge-without-endpoint");
    hedge.settings.same_endpoint = true;
    config.listeners[1].routes[0].hedge = Some(hedge.clone());
    assert!(ids(&config, 1).is_empty());
    // A name may have many addresses.
    hedge.settings.same_endpoint = false;
    config.upstreams[1].endpoints[0].address = EndpointAddress::Name {
        host: "many".to_owned(),
        port: 80,
    };
    config.listeners[1].routes[0].hedge = Some(hedge);
    assert!(ids(&config, 1).is_empty());
}

#[test]
fn the_breaker_is_told_from_ejection_by_rate_too() {
    let mut config = plain();
    config.upstreams[0].breaker.settings.consecutive_failures = None;
    config.upstreams[0].ejection.settings.consecutive_failures = Some(9);
    assert!(ids(&config, 0).is_empty());
    // The bad one of two fails half of 20 calls.
    config.upstreams[0].ejection.settings.consecutive_failures = Some(10);
    assert_eq!(ids(&config, 0), ["breaker-before-ejection"]);
    config.upstreams[0].breaker.settings.failure_rate = 50_001;
    assert!(ids(&config, 0).is_empty());
    config.upstreams[0].ejection.settings.consecutive_failures = Some(20);
    assert_eq!(ids(&config, 0), ["breaker-before-ejection"]);
}
