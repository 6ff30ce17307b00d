//! What becomes of the choice of endpoints, of `failover` and of `faults`.

use std::time::Duration;

use outrigger::balance::{self, HashKey, Policy};
use outrigger::config::model::Mode;
use outrigger::resilience::fault::{self, Action};

use super::inspect;
use super::model::{everything, good};
use super::policies::{a, ms, problems};

#[test]
fn a_ring_hashes_by_the_nearer_key() {
    let config = everything();
    assert_eq!(
        config.upstreams[0].balance,
        balance::Settings {
            policy: Policy::RingHash(HashKey::Cookie("session".to_owned())),
            slow_start: Some(ms(30_000)),
        }
    );
    assert_eq!(
        config.upstreams[1].balance.policy,
        Policy::PeakEwma { decay: ms(3_000) }
    );
    let by = |lines, tables| match a(lines, tables).balance.policy {
        Policy::RingHash(key) => key,
        other => panic!("{other:?}"),
    };
    let header = "[defaults.balance]\npolicy = \"ring_hash\"\nhash_header = \"X-User\"";
    assert_eq!(by("", header), HashKey::Header("x-user".to_owned()));
    assert_eq!(
        by("balance.hash_cookie = \"Id\"", header),
        HashKey::Cookie("Id".to_owned())
    );
    assert_eq!(
        by("balance.hash_cookie = \"\"", header),
        HashKey::Header("x-user".to_owned())
    );
    for (word, policy) in [
        ("round_robin", Policy::RoundRobin),
        ("weighted", Policy::Weighted),
    ] {
        let upstream = a(&format!("balance.policy = \"{word}\""), "");
        assert_eq!(upstream.balance.policy, policy);
    }
}

#[test]
fn default_hash_keys_are_for_upstreams_that_hash() {
    let config = good(
        r#"
        [defaults.balance]
        hash_header = "x-user"
        [upstreams.a]
        dns = "a:1"
        listen = "127.0.0.1:0"
        balance.policy = "ring_hash"
        [upstreams.b]
        dns = "b:1"
        listen = "127.0.0.1:0"
        "#,
    );
    assert_eq!(config.upstreams[1].balance.policy, Policy::LeastInFlight);
}

#[test]
fn an_endpoint_given_twice_keeps_its_first_weight() {
    let config = good(
        "[upstreams.a]\nlisten = \"127.0.0.1:0\"\nweights = [2, 9, 3]\n\
         endpoints = [\"http://a\", \"http://a:80\", \"http://b\"]",
    );
    let weights: Vec<_> = config.upstreams[0]
        .endpoints
        .iter()
        .map(|endpoint| endpoint.weight)
        .collect();
    assert_eq!(weights, [2, 3]);
}

#[test]
fn ejection_times_follow() {
    let config = everything();
    let payments = &config.upstreams[0].ejection;
    assert_eq!(payments.mode, Mode::Observe);
    assert_eq!(payments.settings.failure_rate, None);
    assert_eq!(payments.settings.max_ejected, 0);
    assert_eq!(payments.settings.eject_for_max, ms(600_000));
    assert_eq!(config.upstreams[1].ejection.mode, Mode::Off);
    let settings = a("ejection.consecutive_failures = \"off\"", "")
        .ejection
        .settings;
    assert_eq!(settings.consecutive_failures, None);
}

#[test]
fn who_stands_in_is_found_and_used() {
    let text = r#"
        [upstreams.a]
        dns = "a:1"
        listen = "127.0.0.1:0"
        failover = "c"
        [upstreams.b]
        dns = "b:1"
        listen = "127.0.0.1:0"
        failover = "a"
        [upstreams.c]
        dns = "c:1"
    "#;
    let found = inspect("good.toml", text);
    assert!(found.diagnostics.is_empty(), "{}", found.diagnostics);
    let config = found.config.unwrap();
    let targets: Vec<_> = config
        .upstreams
        .iter()
        .map(|upstream| upstream.failover)
        .collect();
    assert_eq!(targets, [Some(2), Some(0), None]);
}

#[test]
fn a_circle_is_told_of_once() {
    // `a` leads into the circle, but is no part of it.
    let text = r#"
        [upstreams.a]
        dns = "a:1"
        listen = "127.0.0.1:0"
        failover = "b"
        [upstreams.b]
        dns = "b:1"
        failover = "c"
        [upstreams.c]
        dns = "c:1"
        failover = "b"
    "#;
    assert_eq!(problems(text), ["failover-loop"]);
}

#[test]
fn faults_are_read() {
    let config = everything();
    let [delay, truncate] = &config.upstreams[0].faults[..] else {
        panic!()
    };
    assert_eq!(
        delay.settings,
        fault::Settings {
            action: Action::Delay(ms(250)),
            share: 25_000,
            methods: vec!["GET".to_owned()],
            path_prefix: Some("/v2".to_owned()),
            header: Some(("x-game-day".to_owned(), "yes, now".to_owned())),
            counted: true,
        }
    );
    assert_eq!(delay.until, truncate.until);
    assert_eq!(delay.until, Duration::from_secs(4_102_401_600));
    assert_eq!(
        truncate.settings,
        fault::Settings {
            action: Action::Truncate(0),
            share: 100_000,
            methods: Vec::new(),
            path_prefix: None,
            header: None,
            counted: false,
        }
    );
    for (keys, action) in [
        ("action = \"abort\"\nstatus = 599", Action::Abort(599)),
        ("action = \"reset\"", Action::Reset),
        (
            "action = \"slow-body\"\nrate = \"2KiB\"",
            Action::SlowBody(2048),
        ),
    ] {
        let fault = format!("[[upstreams.a.faults]]\nuntil = \"2099-01-01T00:00:00Z\"\n{keys}");
        assert_eq!(a("", &fault).faults[0].settings.action, action);
    }
}
