//! Routes that are found and missed, and worst cases worked out by hand.

mod lints;
mod protocols;
mod rates;

use std::time::Duration;

use super::find::{Lost, Request, find};
use super::timeline::{self, Timeline, What};
use super::way::Way;
use super::{Explanation, explain, json, text};
use crate::config::model::{Adaptive, Class, Config, Fault, Hedge, Mode, Priority, RateLimit};
use crate::resilience::retry::Jitter;
use crate::resilience::{adaptive, fault, hedge, rate_limit};

pub(super) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) fn parse(text: &str) -> Config {
    crate::config::parse("test.toml", text).expect("a valid configuration")
}

/// Two lines an upstream; `b` has one address.
pub(super) fn plain() -> Config {
    parse(
        r#"
[upstreams.a]
listen = "127.0.0.1:9001"
endpoints = ["http://one:8080", "http://two:8080"]
[upstreams.b]
listen = "[::1]:9002"
endpoints = ["http://10.0.0.1:8080"]
"#,
    )
}

fn shared() -> Config {
    parse(
        r#"
[upstreams.a]
listen = "127.0.0.1:9001"
endpoints = ["http://one:9005"]
[[listeners]]
name = "edge"
address = "0.0.0.0:8080"
routes = [
  { name = "v2", host = "api.test", path_prefix = "/v2", methods = ["GET"], upstream = "a" },
  { name = "wild", host = "*.wild.test", upstream = "a" },
]
[[listeners]]
name = "other"
address = "127.0.0.1:8081"
routes = [{ name = "only", host = "api.test", upstream = "a" }]
"#,
    )
}

fn asked(method: &str, url: &str, headers: &[&str], listener: Option<&str>) -> Request {
    let headers: Vec<_> = headers.iter().map(|&header| header.to_owned()).collect();
    Request::new(method, url, &headers, listener.map(Into::into)).expect("a valid request")
}

/// `listener/route` of each answer.
fn found(config: &Config, request: &Request) -> Result<Vec<String>, Lost> {
    let name = |(listener, route): &(
        &crate::config::model::Listener,
        &crate::config::model::Route,
    )| { format!("{}/{}", listener.name, route.name) };
    Ok(find(config, request)?.iter().map(name).collect())
}

#[test]
fn the_url_leads_to_the_listener_and_the_host_to_the_route() {
    let config = shared();
    for (url, headers, listener, expected) in [
        ("http://127.0.0.1:9001/x", &[][..], None, &["a/a"][..]),
        ("http://localhost:9001", &[], None, &["a/a"]),
        ("http://sidecar:9001/", &[], None, &["a/a"]),
        ("/x", &[], Some("a"), &["a/a"]),
        (
            "http://10.9.8.7:8080/v2/x?y",
            &["host: API.test:81"],
            None,
            &["edge/v2"],
        ),
        ("http://x.wild.test:8080/", &[], None, &["edge/wild"]),
        ("http://x.wild.test/", &[], None, &["edge/wild"]),
        ("http://api.test/v2", &[], None, &["edge/v2", "other/only"]),
        ("http://api.test/v2", &[], Some("other"), &["other/only"]),
        ("http://api.test/v20", &[], None, &["other/only"]),
        ("/v2", &["Host: api.test"], Some("edge"), &["edge/v2"]),
    ] {
        let request = asked("GET", url, headers, listener);
        assert_eq!(found(&config, &request).expect(url), expected, "{url}");
    }
}

#[test]
fn what_is_missed_is_told_nearest_first() {
    let config = shared();
    let request = asked(
        "POST",
        "http://127.0.0.1:8080/v2",
        &["host: api.test"],
        None,
    );
    let Err(Lost::NoRoute(missed)) = find(&config, &request) else {
        panic!("a route was found");
    };
    let missed: Vec<_> = missed
        .iter()
        .map(|miss| (miss.route.as_str(), miss.because.join("; ")))
        .collect();
    let expected = [
        ("v2", "method POST is not one of GET".to_owned()),
        ("wild", "host `api.test` is not `*.wild.test`".to_owned()),
    ];
    assert_eq!(missed, expected);

    let nearest = |url| match find(&config, &asked("GET", url, &[], None)) {
        Err(Lost::NoListener { nearest, .. }) => nearest,
        other => panic!("{url}: {other:?}"),
    };
    let all = nearest("http://127.0.0.1:8082/");
    assert_eq!(all[0], "other at http://127.0.0.1:8081");
    assert_eq!(all.len(), 3);
    // An upstream's own address: all that lead there, by the distance of their ports.
    assert_eq!(nearest("http://one:9005/")[0], "a at http://127.0.0.1:9001");

    for (url, listener) in [("/x", None), ("/x", Some("none"))] {
        let lost = find(&config, &asked("GET", url, &[], listener));
        assert!(matches!(lost, Err(Lost::Unclear(_))), "{lost:?}");
    }
}

#[test]
fn requests_that_cannot_be_are_refused() {
    for (method, url, header) in [
        ("G ET", "/", "a: b"),
        ("get", "/", "a: b"),
        ("CONNECT", "/", "a: b"),
        ("CONNECT", "a.test", "a: b"),
        ("CONNECT", "http://a.test:80/", "a: b"),
        ("GET", "localhost:9001", "a: b"),
        ("GET", "ftp://a/", "a: b"),
        ("GET", "ftp://a/", "a: b"),
        ("GET", "http://", "a: b"),
        ("GET", "", "a: b"),
        ("GET", "/", "a"),
        ("GET", "/", "a b: c"),
        ("GET", "/", "a: b\nc"),
    ] {
        let request = Request::new(method, url, &[header.to_owned()], None);
        assert!(request.is_err(), "{method} {url} {header}");
    }
}

fn drawn(config: &Config, method: &str, headers: &[&str]) -> Timeline {
    let request = asked(method, "http://127.0.0.1:9001/", headers, None);
    let (_, route) = find(config, &request).expect("a route")[0];
    timeline::of(&Way::of_route(config, route, &request).expect("an upstream"))
}

/// Starts and ends in milliseconds, marks within attempts left out.
fn rows(timeline: &Timeline) -> Vec<(&'static str, u128, Option<u128>)> {
    timeline
        .segments
        .iter()
        .filter(|segment| !matches!(segment.what, What::Connect | What::Slow))
        .map(|segment| {
            let end = segment.end.map(|end| end.as_millis());
            (segment.what.as_str(), segment.start.as_millis(), end)
        })
        .collect()
}

#[test]
fn the_defaults_are_cut_off_in_their_second_attempt() {
    let config = plain();
    let line = drawn(&config, "GET", &[]);
    let expected = [
        ("queue", 0, Some(100)),
        ("attempt", 100, Some(5100)),
        ("backoff", 5100, Some(5125)),
        ("attempt", 5125, Some(10125)),
    ];
    assert_eq!(rows(&line), expected);
    assert_eq!(line.without_deadline, Some(ms(10_125)));
    assert_eq!((line.head(), line.is_cut()), (Some(ms(10_000)), true));
    assert_eq!((line.attempts, line.attempts_that_start), (2, 2));
    let slow = line
        .segments
        .iter()
        .find(|segment| segment.what == What::Slow);
    assert_eq!(slow.expect("a mark").start, ms(2600));
}

#[test]
fn what_may_have_been_processed_is_tried_again_only_if_it_was_never_sent() {
    let mut config = plain();
    let line = drawn(&config, "POST", &[]);
    let expected = [
        ("queue", 0, Some(100)),
        ("attempt", 100, Some(1100)),
        ("backoff", 1100, Some(1125)),
        ("attempt", 1125, Some(6125)),
    ];
    assert_eq!(rows(&line), expected);
    assert!(!line.is_cut());
    config.listeners[0].routes[0].retry.honours_idempotency_key = true;
    assert_eq!(drawn(&config, "POST", &[]).without_deadline, Some(ms(6125)));
    let keyed = drawn(&config, "POST", &["Idempotency-Key: 1"]);
    assert_eq!(keyed.without_deadline, Some(ms(10_125)));
    config.listeners[0].routes[0].retry.mint_idempotency_key = true;
    assert_eq!(
        drawn(&config, "POST", &[]).without_deadline,
        Some(ms(10_125))
    );
    config.listeners[0].routes[0].retry.mode = Mode::Observe;
    assert_eq!(drawn(&config, "POST", &[]).without_deadline, Some(ms(5100)));
}

#[test]
fn backoffs_grow_to_their_ceiling() {
    let mut config = plain();
    let route = &mut config.listeners[0].routes[0];
    route.retry.settings.retries = 5;
    route.timeouts.first_byte = Some(ms(10));
    route.timeouts.connect = Some(ms(10));
    let waits = |config: &Config| -> Vec<_> {
        let line = drawn(config, "GET", &[]);
        let segments = line.segments.iter();
        let waits = segments.filter(|segment| segment.what == What::BackOff);
        waits
            .map(|wait| (wait.end.unwrap() - wait.start).as_millis())
            .collect()
    };
    assert_eq!(waits(&config), [25, 50, 100, 200, 250]);
    let backoff = &mut config.listeners[0].routes[0].retry.settings.backoff;
    backoff.jitter = Jitter::Decorrelated;
    assert_eq!(waits(&config), [75, 225, 250, 250, 250]);
    config.listeners[0].routes[0].retry.settings.backoff.max = Duration::MAX;
    config.listeners[0].routes[0].retry.settings.retries = 10;
    assert_eq!(waits(&config).len(), 10);
}

#[test]
fn a_caller_in_a_hurry_has_a_deadline_of_its_own() {
    let mut config = plain();
    config.listeners[0].routes[0].timeouts.deadline_header = Some("x-left".to_owned());
    for (headers, expected) in [
        (&["grpc-timeout: 3S"][..], 3000),
        (&["x-left: 2000"], 2000),
        (&["grpc-timeout: 3S", "x-left: 4000"], 3000),
        (&["x-left: 99000"], 10_000),
        (&["x-left: soon"], 10_000),
    ] {
        let line = drawn(&config, "GET", headers);
        assert_eq!(line.deadline, Some(ms(expected)), "{headers:?}");
    }
}

#[test]
fn what_has_no_limit_ends_the_timeline() {
    let mut config = plain();
    let timeouts = &mut config.listeners[0].routes[0].timeouts;
    (timeouts.first_byte, timeouts.request) = (None, None);
    let line = drawn(&config, "GET", &[]);
    assert_eq!(rows(&line).last(), Some(&("attempt", 100, None)));
    assert_eq!((line.head(), line.attempts), (None, 1));
    assert!(!line.is_cut());
    config.listeners[0].routes[0].timeouts.total = Some(ms(700));
    let line = drawn(&config, "GET", &[]);
    assert_eq!((line.head(), line.is_cut()), (Some(ms(700)), true));
}

pub(super) fn hedged(delay: hedge::Delay) -> Hedge {
    Hedge {
        mode: Mode::Enforce,
        settings: hedge::Settings {
            max_hedges: 2,
            delay,
            same_endpoint: false,
        },
    }
}

#[test]
fn hedges_run_beside_the_first_attempt() {
    let mut config = plain();
    config.listeners[0].routes[0].hedge = Some(hedged(hedge::Delay::Fixed(ms(50))));
    let line = drawn(&config, "GET", &[]);
    let expected = [
        ("queue", 0, Some(100)),
        ("attempt", 100, Some(5100)),
        ("hedge", 150, Some(5150)),
        ("hedge", 200, Some(5200)),
    ];
    assert_eq!(rows(&line), expected);
    assert_eq!(line.without_deadline, Some(ms(5200)));
    // Not idempotent: neither hedge nor retry.
    assert_eq!(drawn(&config, "POST", &[]).attempts, 1);
    // One that only observes leaves the retries alone.
    let hedge = config.listeners[0].routes[0].hedge.as_mut().unwrap();
    hedge.mode = Mode::Observe;
    assert_eq!(
        drawn(&config, "GET", &[]).without_deadline,
        Some(ms(10_125))
    );
}

pub(super) fn limited(burst: u32) -> RateLimit {
    RateLimit {
        mode: Mode::Enforce,
        settings: rate_limit::Settings {
            rate: 50,
            per: ms(1000),
            burst,
            max_wait: ms(300),
        },
    }
}

#[test]
fn waits_of_ours_come_first_and_only_where_they_act() {
    let mut config = plain();
    config.upstreams[0].rate_limit = Some(limited(50));
    config.upstreams[0].bulkhead.max_connections = 8;
    config.listeners[0].routes[0].retry.settings.retries = 0;
    let expected = [
        ("rate_limit", 0, Some(300)),
        ("queue", 300, Some(400)),
        ("connection", 400, Some(500)),
        ("attempt", 500, Some(5500)),
    ];
    assert_eq!(rows(&drawn(&config, "GET", &[])), expected);
    config.upstreams[0].rate_limit.as_mut().unwrap().mode = Mode::Observe;
    config.upstreams[0].bulkhead.mode = Mode::Off;
    let expected = [("connection", 0, Some(100)), ("attempt", 100, Some(5100))];
    assert_eq!(rows(&drawn(&config, "GET", &[])), expected);
}

#[test]
fn a_failover_comes_last_with_waits_of_its_own() {
    let mut config = plain();
    config.upstreams[0].failover = Some(1);
    config.upstreams[1].timeouts.first_byte = Some(ms(500));
    let line = drawn(&config, "GET", &[]);
    // There: the queue, two attempts and a back-off between them.
    assert_eq!(
        rows(&line).last(),
        Some(&("failover", 10_125, Some(10_125 + 100 + 1025)))
    );
    // Only what was never sent goes on: one attempt that does not connect, here and there.
    config.listeners[0].routes[0].retry.settings.retries = 0;
    config.upstreams[1].retry.settings.retries = 0;
    config.upstreams[1].timeouts.first_byte = Some(ms(5000));
    let line = drawn(&config, "POST", &[]);
    assert_eq!(rows(&line)[1], ("attempt", 100, Some(1100)));
    assert_eq!(rows(&line)[2], ("failover", 1100, Some(6200)));
    // To wait for an answer may take longer.
    config.upstreams[1].timeouts.first_byte = Some(ms(500));
    let line = drawn(&config, "POST", &[]);
    assert_eq!(rows(&line).last(), Some(&("attempt", 100, Some(5100))));
}

fn everything() -> Config {
    let mut config = plain();
    let upstream = &mut config.upstreams[0];
    upstream.rate_limit = Some(limited(500));
    upstream.failover = Some(1);
    upstream.priority = Some(Priority {
        mode: Mode::Enforce,
        header: Some("x-class".to_owned()),
        classes: vec![
            Class {
                name: "live".into(),
                share: 50_000,
            },
            Class {
                name: "batch".into(),
                share: 10_000,
            },
        ],
        default: 0,
    });
    upstream.adaptive = Some(Adaptive {
        mode: Mode::Observe,
        settings: adaptive::Settings {
            algorithm: adaptive::Algorithm::Aimd {
                backoff: 0.9,
                timeout: ms(5000),
            },
            initial: 20,
            min: 10,
            max: 500,
            window: ms(1000),
            min_samples: 10,
        },
    });
    upstream.faults = vec![Fault {
        settings: fault::Settings {
            action: fault::Action::Delay(ms(250)),
            share: 5_000,
            methods: vec![],
            path_prefix: None,
            header: None,
            counted: false,
        },
        until: Duration::from_secs(1060),
    }];
    config.listeners[0].routes[0].hedge = Some(hedged(hedge::Delay::Percentile(950)));
    config
}

fn explained<'a>(config: &'a Config, request: &'a Request) -> Vec<Explanation<'a>> {
    explain(config, request, Duration::from_secs(1000)).expect("a route")
}

#[test]
fn what_the_bulkhead_does_not_enforce_is_not_said_to_limit() {
    let mut config = everything();
    let request = asked("GET", "/x", &[], Some("a"));
    let notes = |config: &Config| {
        let policies = explained(config, &request).remove(0).policies;
        let named = |name| policies.iter().find(|policy| policy.name == name);
        ["priority", "adaptive"].map(|name| named(name).and_then(|it| it.note.clone()))
    };
    let upstream = &mut config.upstreams[0];
    upstream.adaptive.as_mut().unwrap().mode = Mode::Enforce;
    let [priority, adaptive] = notes(&config);
    assert!(priority.unwrap().ends_with("slots are kept for it"));
    assert_eq!(adaptive, None);
    config.upstreams[0].bulkhead.mode = Mode::Observe;
    let why = "`bulkhead` enforces nothing: ";
    let [priority, adaptive] = notes(&config);
    assert!(
        priority
            .unwrap()
            .ends_with(&format!("{why}no slots are kept for it"))
    );
    assert_eq!(adaptive, Some(format!("{why}it limits nothing")));
}

#[test]
fn text_and_json_tell_the_same_in_few_columns() {
    let config = everything();
    let request = asked("GET", "http://127.0.0.1:9001/x", &["x-class: batch"], None);
    let answers = explained(&config, &request);
    let text = text::write(&request, &answers);
    for line in text.lines() {
        assert!(line.chars().count() <= 100, "{line}");
        assert_eq!(line, line.trim_end());
    }
    let json: serde_json::Value = serde_json::from_str(&json::write(&request, &answers)).unwrap();
    let one = &json["explanations"][0];
    for list in ["policies", "facts", "lints"] {
        for item in one[list].as_array().expect(list) {
            let key = if list == "policies" { "name" } else { "id" };
            let word = item[key].as_str().expect(key);
            assert!(text.contains(word), "{word} is missing in\n{text}");
            let manual = include_str!("../../docs/explain.md");
            assert!(
                list != "facts" || manual.contains(&format!("| `{word}` |")),
                "{word}"
            );
        }
    }
    for word in [
        "class batch",
        "6 slots are kept",
        "until 60 s from now",
        "to b (within",
        "delay_percentile 0.95",
    ] {
        assert!(text.contains(word), "{word} is missing in\n{text}");
    }
    assert_eq!(one["timeline"]["segments"][0]["what"], "rate_limit");
    assert_eq!(text, text::write(&request, &explained(&config, &request)));
}
