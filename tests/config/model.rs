//! What the values of a good file become: inheritance, derived values, names.

use std::time::Duration;

use outrigger::config::model::{Config, Endpoint, EndpointAddress, HostHeader, Mode, Route};
use outrigger::resilience::breaker::Window;
use outrigger::resilience::classify::StatusSet;

use super::{inspect, root};

pub(super) const fn ms(ms: u64) -> Option<Duration> {
    Some(Duration::from_millis(ms))
}

#[track_caller]
pub(super) fn good(text: &str) -> Config {
    let found = inspect("good.toml", text);
    found
        .config
        .unwrap_or_else(|| panic!("{}", found.diagnostics))
}

/// One upstream with these lines in its table, and these tables after it.
#[track_caller]
pub(super) fn upstream(lines: &str, tables: &str) -> Config {
    good(&format!(
        "[upstreams.a]\nlisten = \"127.0.0.1:0\"\nendpoints = [\"http://a\"]\n{lines}\n{tables}"
    ))
}

pub(super) fn everything() -> Config {
    let path = root().join("tests/fixtures/good/everything.toml");
    good(&std::fs::read_to_string(path).unwrap())
}

pub(super) fn route<'c>(config: &'c Config, listener: &str, route: &str) -> &'c Route {
    let listener = config
        .listeners
        .iter()
        .find(|found| &*found.name == listener)
        .unwrap();
    listener
        .routes
        .iter()
        .find(|found| &*found.name == route)
        .unwrap()
}

#[test]
fn names_follow_addresses_and_upstreams() {
    let config = everything();
    let listeners: Vec<_> = config
        .listeners
        .iter()
        .map(|listener| &*listener.name)
        .collect();
    assert_eq!(
        listeners,
        ["payments", "shared", "127.0.0.1:0", "127.0.0.1:0#2"]
    );
    let routes: Vec<_> = config.listeners[1]
        .routes
        .iter()
        .map(|route| &*route.name)
        .collect();
    assert_eq!(routes, ["search", "search#2", "by-address", "search#3"]);
    let upstreams: Vec<_> = config
        .upstreams
        .iter()
        .map(|upstream| &*upstream.name)
        .collect();
    assert_eq!(upstreams, ["payments", "search"]);
}

#[test]
fn upstreams_and_listeners_keep_the_order_of_the_file() {
    let config = good(
        r#"
        [[listeners]]
        address = "127.0.0.1:0"
        routes = [{ upstream = "b" }]
        [upstreams.b]
        dns = "b:1"
        listen = "127.0.0.1:0"
        [upstreams.a]
        dns = "a:1"
        listen = "127.0.0.1:0"
        "#,
    );
    let listeners: Vec<_> = config
        .listeners
        .iter()
        .map(|listener| &*listener.name)
        .collect();
    assert_eq!(listeners, ["127.0.0.1:0", "b", "a"]);
    assert_eq!(&*config.upstreams[0].name, "b");
}

#[test]
fn an_explicit_name_is_not_given_away() {
    let config = upstream(
        "",
        r#"[[listeners]]
        address = "127.0.0.1:0"
        routes = [
            { host = "x", upstream = "a" },
            { host = "y", upstream = "a" },
            { name = "a", upstream = "a" },
        ]"#,
    );
    let routes: Vec<_> = config.listeners[1]
        .routes
        .iter()
        .map(|route| &*route.name)
        .collect();
    assert_eq!(routes, ["a#2", "a#3", "a"]);
}

#[test]
fn the_nearest_table_wins_key_by_key() {
    let config = everything();
    let payments = &config.upstreams[0];
    assert_eq!(payments.timeouts.connect, None);
    assert_eq!(payments.timeouts.first_byte, ms(3_000));
    assert_eq!(payments.timeouts.request, ms(8_000));
    assert_eq!(payments.timeouts.stream_idle, ms(300_000));
    assert_eq!(
        payments.timeouts.deadline_header.as_deref(),
        Some("x-deadline-ms")
    );
    assert_eq!(config.upstreams[1].timeouts.deadline_header, None);
    let [shorthand, shared, _, small] = &config.listeners[..] else {
        panic!()
    };
    assert_eq!(
        (
            shorthand.downstream.max_headers,
            shared.downstream.max_headers
        ),
        (20, 50)
    );
    assert!(shorthand.downstream.half_close && small.downstream.half_close);
    assert!(shorthand.downstream.keep_header_case && small.downstream.keep_header_case);
    assert_eq!(small.downstream.max_header_bytes, 8 << 10);
}

#[test]
fn only_a_route_with_timeouts_or_breaker_has_its_own_breaker() {
    let config = everything();
    let own = |listener, name| route(&config, listener, name).breaker.as_ref();
    assert!(own("payments", "payments").is_none());
    assert!(own("shared", "search#2").is_none());
    assert!(own("127.0.0.1:0", "payments").is_none());

    let search = own("shared", "search").unwrap();
    assert_eq!(
        (search.mode, config.upstreams[1].breaker.mode),
        (Mode::Enforce, Mode::Off)
    );
    let by_address = own("shared", "by-address").unwrap();
    assert_eq!(by_address.settings.window, Window::Calls(50));
    assert_eq!(by_address.settings.consecutive_failures, None);
    assert_eq!(
        by_address.rules.failure_status,
        StatusSet(vec![(500, 500), (502, 504)])
    );
    assert_eq!(by_address.rules.ignore_status, StatusSet(vec![(429, 429)]));
}

#[test]
fn slow_call_is_half_of_the_first_byte_that_applies() {
    let config = everything();
    let own = |listener, name| route(&config, listener, name).breaker.as_ref().unwrap();
    assert_eq!(config.upstreams[0].breaker.settings.slow_call, ms(1_500));
    assert_eq!(own("shared", "search").settings.slow_call, ms(400));
    assert_eq!(own("shared", "by-address").settings.slow_call, None);
    assert_eq!(own("127.0.0.1:0#2", "payments").settings.slow_call, None);
}

#[test]
fn an_explicit_slow_call_is_inherited() {
    let config = upstream(
        "timeouts.first_byte = \"1s\"",
        "[defaults.breaker]\nslow_call = \"300ms\"",
    );
    assert_eq!(config.upstreams[0].breaker.settings.slow_call, ms(300));
}

#[test]
fn idle_connections_grow_with_the_cap() {
    for (cap, kept) in [(8, 8), (64, 32), (100, 50), (1024, 512)] {
        let config = upstream(&format!("bulkhead.max_connections = {cap}"), "");
        assert_eq!(config.upstreams[0].bulkhead.max_idle, kept, "{cap}");
    }
}

#[test]
fn inherited_limits_give_way() {
    let config = everything();
    let payments = &config.upstreams[0];
    assert_eq!(
        (
            payments.bulkhead.max_connections,
            payments.bulkhead.max_idle
        ),
        (5, 5)
    );
    assert_eq!(Some(payments.breaker.settings.open_for_max), ms(90_000));
    assert_eq!(payments.breaker.settings.max_requests, 64);
}

#[test]
fn rates_are_exact() {
    let settings = |lines: &str| upstream(lines, "").upstreams.remove(0).breaker.settings;
    assert_eq!(settings("breaker.failure_rate = 0.007").failure_rate, 700);
    assert_eq!(
        settings("breaker.failure_rate = 0.333").failure_rate,
        33_300
    );
    assert_eq!(settings("breaker.slow_rate = 1").slow_rate, 100_000);
    assert_eq!(settings("breaker.slow_rate = 0.00001").slow_rate, 1);
    assert_eq!(
        settings("breaker.open_multiplier = 1.5").open_multiplier,
        1500
    );
    assert_eq!(settings("breaker.open_jitter = 0").open_jitter, 0);
}

#[test]
fn false_switches_off() {
    let config = upstream(
        "breaker = false\nfallback = false",
        "[defaults]\nfallback = { status = 204 }\nbreaker = { window = 30 }",
    );
    let upstream = &config.upstreams[0];
    assert_eq!(upstream.breaker.mode, Mode::Off);
    assert_eq!(upstream.breaker.settings.window, Window::Calls(30));
    assert_eq!(upstream.fallback, None);
    assert_eq!(
        everything().listeners[1].routes[2]
            .fallback
            .as_ref()
            .unwrap()
            .status,
        299
    );
}

#[test]
fn endpoints_are_read() {
    let config = everything();
    let endpoint = |host: &str, port, weight| Endpoint {
        address: EndpointAddress::Name {
            host: host.to_owned(),
            port,
        },
        tls: false,
        weight,
    };
    assert_eq!(
        config.upstreams[0].endpoints,
        [
            endpoint("a", 80, 3),
            endpoint("b.example.", 81, 1),
            endpoint("::1", 82, 1000),
            endpoint("10.0.0.7", 83, 2)
        ]
    );
    assert_eq!(
        config.upstreams[1].endpoints,
        [endpoint("search.internal", 8080, 1)]
    );
    assert_eq!(
        config.upstreams[0].host,
        HostHeader::Literal("payments.internal:8443".to_owned())
    );
    assert_eq!(config.upstreams[1].host, HostHeader::Preserve);
}

#[test]
fn endpoints_have_a_scheme_or_a_path() {
    let endpoints = |list: &str| {
        let text = format!("[upstreams.a]\nlisten = \"unix:/run/in.sock\"\nendpoints = {list}");
        let mut config = good(&text);
        assert_eq!(config.listeners[0].address.to_string(), "unix:/run/in.sock");
        config.upstreams.remove(0).endpoints
    };
    let name = |host: &str, port| EndpointAddress::Name {
        host: host.to_owned(),
        port,
    };
    let found = endpoints(r#"["https://a", "https://b:8443", "https://A:443"]"#);
    let found: Vec<_> = found.iter().map(|one| (&one.address, one.tls)).collect();
    assert_eq!(found, [(&name("a", 443), true), (&name("b", 8443), true)]);
    let found = endpoints(r#"["unix:/run/a.sock", "http://a:443"]"#);
    let found: Vec<_> = found.iter().map(|one| (&one.address, one.tls)).collect();
    let socket = EndpointAddress::Unix(std::path::Path::new("/run/a.sock").into());
    assert_eq!(found, [(&socket, false), (&name("a", 443), false)]);
}

#[test]
fn paths_and_hosts_are_normal() {
    let config = everything();
    let [first, _, _, last] = &config.listeners[1].routes[..] else {
        panic!()
    };
    assert_eq!(first.host.as_deref(), Some("*.search.local"));
    assert_eq!(first.path_prefix.as_deref(), Some("/v2"));
    assert_eq!(last.path_prefix, None);
}

#[test]
fn the_environment_fills_any_kind_of_value() {
    let config = upstream(
        r#"downstream = { half_close = "${HALF:-true}", max_headers = "${WORKERS}" }
        breaker = { window = "${WINDOW:-50}", failure_rate = "${RATE:-0.25}", ignore_status = ["${S:-404}"] }
        fallback = { body = '${EMPTY:-a}$${b}$c${NONE:-}' }"#,
        "[runtime]\nworkers = \"${AUTO:-auto}\"",
    );
    let upstream = &config.upstreams[0];
    let downstream = &config.listeners[0].downstream;
    assert_eq!((downstream.half_close, downstream.max_headers), (true, 12));
    assert_eq!(upstream.breaker.settings.window, Window::Calls(50));
    assert_eq!(upstream.breaker.settings.failure_rate, 25_000);
    assert_eq!(
        upstream.breaker.rules.ignore_status,
        StatusSet(vec![(404, 404)])
    );
    assert_eq!(upstream.fallback.as_ref().unwrap().body, "a${b}$c");
    assert_eq!(config.runtime.workers, None);
}
