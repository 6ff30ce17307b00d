//! What the policy tables of a good file become: what acts unwritten; retries and hedges.

use std::time::Duration;

use outrigger::balance::{self, Policy};
use outrigger::config::model::{Mode, Route, Upstream};
use outrigger::resilience::adaptive::Algorithm;
use outrigger::resilience::classify::StatusSet;
use outrigger::resilience::hedge::{self, Delay};
use outrigger::resilience::retry::{self, Backoff, Jitter, On};
use outrigger::resilience::{adaptive, budget, ejection, rate_limit};

use super::inspect;
use super::model::{everything, good, route, upstream};

pub(super) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The upstream `a` with these lines in its table, and these tables after it.
#[track_caller]
pub(super) fn a(lines: &str, tables: &str) -> Upstream {
    upstream(lines, tables).upstreams.remove(0)
}

/// The one route to an upstream with `lines`; `conditions` end the route.
#[track_caller]
pub(super) fn routed(lines: &str, conditions: &str, tables: &str) -> Route {
    let config = good(&format!(
        "[upstreams.a]\nendpoints = [\"http://a\"]\n{lines}\n[[listeners]]\n\
         address = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"a\"{conditions} }}]\n{tables}"
    ));
    config.listeners[0].routes[0].clone()
}

#[track_caller]
pub(super) fn problems(text: &str) -> Vec<&'static str> {
    let found = inspect("bad.toml", text).diagnostics;
    found.items().iter().map(|item| item.id.as_str()).collect()
}

#[test]
fn some_policies_act_unwritten() {
    let upstream = a("", "");
    assert_eq!(upstream.retry.mode, Mode::Enforce);
    assert_eq!(
        upstream.retry.settings,
        retry::Settings {
            retries: 1,
            on: On {
                not_sent: true,
                reset: true,
                timeout: false,
                status: StatusSet(vec![(502, 502), (503, 503), (504, 504)]),
                grpc: vec![14],
            },
            non_idempotent: false,
            max_body_buffer: 65_536,
            backoff: Backoff {
                base: ms(25),
                max: ms(250),
                jitter: Jitter::Full,
            },
            max_retry_after: ms(2_000),
        }
    );
    assert!(!upstream.retry.honours_idempotency_key && !upstream.retry.mint_idempotency_key);
    assert_eq!(upstream.retry.idempotency_key_header, "idempotency-key");
    assert_eq!(
        upstream.budget,
        budget::Settings {
            deposit: 200,
            min_per_second: 3,
            window: ms(10_000),
        }
    );
    assert_eq!(
        upstream.balance,
        balance::Settings {
            policy: Policy::LeastInFlight,
            slow_start: None,
        }
    );
    assert_eq!(upstream.ejection.mode, Mode::Enforce);
    assert_eq!(
        upstream.ejection.settings,
        ejection::Settings {
            consecutive_failures: Some(5),
            failure_rate: Some(85_000),
            min_volume: 50,
            min_endpoints: 5,
            interval: ms(10_000),
            eject_for: ms(30_000),
            eject_for_max: ms(300_000),
            jitter: ms(1_000),
            max_ejected: 50_000,
        }
    );
}

#[test]
fn others_act_only_where_they_are_written() {
    let upstream = a("", "");
    assert_eq!((upstream.hedge, upstream.rate_limit), (None, None));
    assert_eq!((upstream.priority, upstream.adaptive), (None, None));
    assert_eq!((upstream.failover, upstream.faults), (None, Vec::new()));

    let upstream = a(
        "hedge = {}\nrate_limit.rate = 7\nadaptive = {}\npriority.classes.live = {}",
        "",
    );
    let hedge = upstream.hedge.unwrap();
    assert_eq!(hedge.mode, Mode::Enforce);
    assert_eq!(
        hedge.settings,
        hedge::Settings {
            max_hedges: 1,
            delay: Delay::Percentile(950),
            same_endpoint: false,
        }
    );
    let rate_limit = upstream.rate_limit.unwrap();
    assert_eq!(rate_limit.mode, Mode::Enforce);
    assert_eq!(
        rate_limit.settings,
        rate_limit::Settings {
            rate: 7,
            per: ms(1_000),
            burst: 7,
            max_wait: Duration::ZERO,
        }
    );
    let adaptive = upstream.adaptive.unwrap();
    assert_eq!(adaptive.mode, Mode::Observe);
    assert_eq!(
        adaptive.settings,
        adaptive::Settings {
            algorithm: Algorithm::Gradient2 {
                long_window: 600,
                tolerance: 1.5,
                queue_size: 4,
                smoothing: 0.2,
            },
            initial: 20,
            min: 10,
            max: 500,
            window: ms(1_000),
            min_samples: 10,
        }
    );
    let priority = upstream.priority.unwrap();
    assert_eq!((priority.mode, priority.header), (Mode::Enforce, None));
    assert_eq!((priority.classes[0].share, priority.default), (0, 0));
}

#[test]
fn what_is_off_is_not_there() {
    let tables = "[defaults]\nhedge.delay = \"1s\"\nrate_limit.rate = 7\nadaptive.mode = \"enforce\"\n\
                  priority.classes.live = {}";
    for off in ["false", "{ mode = \"off\" }"] {
        let off =
            ["hedge", "rate_limit", "adaptive", "priority"].map(|key| format!("{key} = {off}\n"));
        let upstream = a(&off.concat(), tables);
        assert_eq!((upstream.hedge, upstream.rate_limit), (None, None));
        assert_eq!((upstream.priority, upstream.adaptive), (None, None));
    }
    let upstream = a("retry = false\nejection = { mode = \"off\" }", "");
    assert_eq!(upstream.retry.mode, Mode::Off);
    assert_eq!(upstream.retry.settings.retries, 1);
    assert_eq!(upstream.ejection.mode, Mode::Off);
}

#[test]
fn retries_inherit_key_by_key() {
    let config = everything();
    let payments = &config.upstreams[0];
    let settings = &payments.retry.settings;
    assert_eq!(payments.retry.mode, Mode::Enforce);
    assert_eq!((settings.retries, settings.max_body_buffer), (2, 0));
    assert_eq!(
        settings.on,
        On {
            not_sent: false,
            reset: false,
            timeout: true,
            status: StatusSet(vec![(429, 429), (502, 504)]),
            grpc: Vec::new(),
        }
    );
    assert_eq!(settings.max_retry_after, Duration::ZERO);
    assert_eq!(
        settings.backoff,
        Backoff {
            base: ms(1_000),
            max: ms(4_000),
            jitter: Jitter::Decorrelated,
        }
    );
    assert!(payments.retry.honours_idempotency_key && payments.retry.mint_idempotency_key);
    assert_eq!(payments.retry.idempotency_key_header, "x-once");
    assert_eq!(
        payments.budget,
        budget::Settings {
            deposit: 100,
            min_per_second: 0,
            window: ms(60_000),
        }
    );
    // `max` is inherited, and follows `base`.
    let by_address = &route(&config, "shared", "by-address").retry;
    assert_eq!(by_address.mode, Mode::Observe);
    assert_eq!(by_address.settings.backoff.base, ms(5_000));
    assert_eq!(by_address.settings.backoff.max, ms(5_000));
    assert_eq!(by_address.settings.retries, 2);
    let search = &config.upstreams[1].retry;
    assert_eq!((search.mode, search.settings.retries), (Mode::Off, 3));
    assert_eq!(search.settings.backoff.max, ms(1_000));
    assert_eq!(route(&config, "payments", "payments").retry, payments.retry);
}

#[test]
fn a_minted_key_gives_way_where_it_is_inherited() {
    let tables = "[defaults.retry]\nhonours_idempotency_key = true\nmint_idempotency_key = true";
    assert!(a("", tables).retry.mint_idempotency_key);
    let upstream = a("retry.honours_idempotency_key = false", tables);
    assert!(!upstream.retry.mint_idempotency_key);
}

#[test]
fn a_hedge_takes_the_place_of_inherited_retries() {
    let upstream = a("hedge.delay = \"50ms\"", "[defaults.retry]\nretries = 3");
    assert_eq!(upstream.retry.mode, Mode::Off);
    assert_eq!(upstream.retry.settings.retries, 3);
    assert_eq!(upstream.hedge.unwrap().settings.delay, Delay::Fixed(ms(50)));

    let config = everything();
    let payments = route(&config, "127.0.0.1:0", "payments");
    assert_eq!(
        (payments.retry.mode, &payments.hedge),
        (Mode::Enforce, &None)
    );
    let hedge = config.upstreams[1].hedge.as_ref().unwrap();
    assert_eq!(
        hedge.settings,
        hedge::Settings {
            max_hedges: 3,
            delay: Delay::Percentile(990),
            same_endpoint: true,
        }
    );
    let last = &route(&config, "shared", "search#3").hedge;
    let last = &last.as_ref().unwrap().settings;
    assert_eq!((last.delay, last.max_hedges), (Delay::Fixed(ms(40)), 3));
    assert_eq!(
        route(&config, "shared", "search").hedge,
        config.upstreams[1].hedge
    );
}

#[test]
fn a_route_has_either_retries_or_hedges() {
    let hedged = |lines: &str, conditions: &str, tables: &str| {
        let route = routed(lines, conditions, tables);
        (route.hedge.is_some(), route.retry.mode)
    };
    let hedge = "hedge = {}";
    let default = "[defaults.retry]\nretries = 2";
    assert_eq!(hedged(hedge, "", ""), (true, Mode::Off));
    assert_eq!(hedged(hedge, "", default), (true, Mode::Off));
    assert_eq!(
        hedged("hedge = {}\nretry.retries = 0", "", ""),
        (true, Mode::Off)
    );
    assert_eq!(
        hedged(hedge, ", hedge = false, retry = { retries = 2 }", ""),
        (false, Mode::Enforce)
    );
    assert_eq!(
        hedged("retry.retries = 2", ", hedge = { delay = \"1s\" }", ""),
        (true, Mode::Off)
    );
    assert_eq!(
        hedged(
            "hedge = {}\nretry = { mode = \"off\", retries = 2 }",
            "",
            ""
        ),
        (true, Mode::Off)
    );
    // What is only observed changes nothing.
    assert_eq!(
        hedged("hedge.mode = \"observe\"\nretry.retries = 2", "", ""),
        (true, Mode::Enforce)
    );
    for (lines, tables) in [
        ("hedge = {}\nretry.retries = 1", ""),
        ("retry.retries = 1", "[defaults.hedge]"),
        ("", "[defaults]\nhedge = {}\nretry.retries = 2"),
    ] {
        let text = format!(
            "[upstreams.a]\nlisten = \"127.0.0.1:0\"\nendpoints = [\"http://a\"]\n{lines}\n{tables}"
        );
        assert_eq!(problems(&text), ["conflicting-keys"], "{text}");
    }
}

#[test]
fn the_nearer_of_two_delays_wins() {
    let delay = |lines, tables| a(lines, tables).hedge.unwrap().settings.delay;
    let fixed = "[defaults.hedge]\ndelay = \"50ms\"";
    let percentile = "[defaults.hedge]\ndelay_percentile = 0.5";
    assert_eq!(delay("", fixed), Delay::Fixed(ms(50)));
    assert_eq!(delay("", percentile), Delay::Percentile(500));
    assert_eq!(
        delay("hedge.delay_percentile = 0.999", fixed),
        Delay::Percentile(999)
    );
    assert_eq!(
        delay("hedge.delay = \"9ms\"", percentile),
        Delay::Fixed(ms(9))
    );
}
