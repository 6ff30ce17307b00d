//! Keys that make a request safe to be sent twice, and those that are made here.

use crate::expect::{API, RETRIES, assert_denied, assert_nothing_held, assert_retried};
use crate::support::daemon::Daemon;
use crate::support::upstream::{Record, Upstream, reply};

const HONOURS: &str = "honours_idempotency_key = true";
const MINTS: &str = "honours_idempotency_key = true, mint_idempotency_key = true";
const MINTED: &str = "outrigger_idempotency_keys_minted_total";
const KEY: &str = "idempotency-key";

/// An upstream that answers every first attempt with 503: those of odd numbers, as there is one
/// retry for each.
fn every_other() -> Upstream {
    let number = std::sync::atomic::AtomicUsize::new(0);
    Upstream::start(move |_| {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        match number % 2 {
            0 => reply(503, "first"),
            _ => reply(200, "second"),
        }
    })
}

fn daemon(upstream: &Upstream, retry: &str) -> Daemon {
    let settings = format!(
        "timeouts = {{ first_byte = \"50s\", request = \"50s\" }}\n\
         breaker = {{ mode = \"off\" }}\n\
         retry = {{ mode = \"enforce\", backoff = {{ base = \"1ms\" }}, {retry} }}"
    );
    Daemon::proxying(&[upstream.url()], &settings)
}

fn call(daemon: &Daemon, method: &str, fields: &[(&str, &str)]) -> String {
    let response = daemon.client().call(method, "/", fields, b"pay");
    response.expect("a whole response").text()
}

/// The values of this field, request by request.
fn fields<'a>(record: &'a Record, name: &str) -> Vec<Vec<&'a str>> {
    let requests = record.requests.iter();
    requests.map(|request| request.head.all(name)).collect()
}

#[test]
fn a_request_with_a_key_is_sent_again_where_keys_are_honoured() {
    for method in ["POST", "PATCH"] {
        let upstream = every_other();
        let daemon = daemon(&upstream, HONOURS);
        assert_eq!(call(&daemon, method, &[(KEY, "\"mine\"")]), "second");
        let seen = upstream.seen();
        assert_eq!(fields(&seen, KEY), [["\"mine\""], ["\"mine\""]]);
        assert!(seen.requests.iter().all(|request| request.body == b"pay"));
        assert_retried(&daemon, "status", 1.0);
        daemon.await_metric(MINTED, &[API], 0.0);
        assert_nothing_held(&daemon);
    }
}

#[test]
fn a_key_that_is_not_honoured_or_not_there_makes_nothing_safe() {
    let unspoken = "honours_idempotency_key = false";
    let other = "honours_idempotency_key = true, idempotency_key_header = \"x-once\"";
    for (retry, key) in [(unspoken, KEY), (HONOURS, "x-other"), (other, KEY)] {
        let upstream = every_other();
        let daemon = daemon(&upstream, retry);
        assert_eq!(call(&daemon, "POST", &[(key, "\"mine\"")]), "first");
        assert_eq!(fields(&upstream.seen(), key), [["\"mine\""]], "it passes");
        assert_denied(&daemon, "unsafe", 1.0);
        daemon.await_metric(RETRIES, &[API], 0.0);
    }
}

#[test]
fn the_field_that_carries_the_key_is_configured() {
    let upstream = every_other();
    let retry = format!("{MINTS}, idempotency_key_header = \"X-Once\"");
    let daemon = daemon(&upstream, &retry);
    assert_eq!(call(&daemon, "POST", &[("x-ONCE", "\"mine\"")]), "second");
    assert_eq!(call(&daemon, "POST", &[(KEY, "\"mine\"")]), "second");
    let seen = upstream.seen();
    let keys = fields(&seen, "x-once");
    assert_eq!(keys[..2], [["\"mine\""], ["\"mine\""]]);
    assert_eq!((keys[2].len(), &keys[2]), (1, &keys[3]));
    daemon.await_metric(MINTED, &[API], 1.0);
}

#[test]
fn a_key_is_made_for_each_request_that_needs_one() {
    let upstream = every_other();
    let daemon = daemon(&upstream, MINTS);
    for _ in 0..3 {
        assert_eq!(call(&daemon, "POST", &[]), "second");
    }
    let seen = upstream.seen();
    let keys = fields(&seen, KEY);
    assert_eq!(keys.len(), 6);
    for (index, key) in keys.iter().enumerate() {
        let [key] = key[..] else {
            panic!("one key, not {key:?}")
        };
        let inner = key.strip_prefix('"').and_then(|key| key.strip_suffix('"'));
        let inner = inner.expect("a quoted string");
        assert_eq!(inner.len(), 32, "128 bits: {key}");
        assert!(
            inner.chars().all(|digit| digit.is_ascii_hexdigit()),
            "{key}"
        );
        let same = keys.iter().filter(|other| **other == [key]).count();
        assert_eq!(
            same,
            2,
            "the same for both attempts of request {}",
            index / 2
        );
        assert_eq!(keys[index ^ 1], [key]);
    }
    daemon.await_metric(MINTED, &[API], 3.0);
    assert_nothing_held(&daemon);
}

#[test]
fn no_key_is_made_where_none_is_needed() {
    let upstream = every_other();
    let daemon = daemon(&upstream, MINTS);
    for method in ["GET", "PUT", "DELETE"] {
        assert_eq!(call(&daemon, method, &[]), "second");
    }
    assert_eq!(call(&daemon, "POST", &[(KEY, "\"mine\"")]), "second");
    let seen = upstream.seen();
    let keys = fields(&seen, KEY);
    assert!(keys[..6].iter().all(Vec::is_empty), "{keys:?}");
    assert_eq!(keys[6..], [["\"mine\""], ["\"mine\""]]);
    daemon.await_metric(MINTED, &[API], 0.0);
}

#[test]
fn a_blank_key_is_none_and_neither_are_several() {
    for keys in [&[(KEY, "")] as &[_], &[(KEY, "\"a\""), (KEY, "\"b\"")]] {
        let upstream = every_other();
        let daemon = daemon(&upstream, HONOURS);
        assert_eq!(call(&daemon, "POST", keys), "first");
        assert_denied(&daemon, "unsafe", 1.0);
    }
    let upstream = every_other();
    let daemon = daemon(&upstream, MINTS);
    assert_eq!(call(&daemon, "POST", &[(KEY, "")]), "second");
    let seen = upstream.seen();
    let keys = fields(&seen, KEY);
    assert!(keys[0] == keys[1] && keys[0].len() == 1 && !keys[0][0].is_empty());
}

#[test]
fn nothing_is_minted_where_retries_are_only_observed() {
    let upstream = every_other();
    let settings = format!(
        "timeouts = {{ first_byte = \"50s\", request = \"50s\" }}\n\
         retry = {{ mode = \"observe\", {MINTS} }}"
    );
    let daemon = Daemon::proxying(&[upstream.url()], &settings);
    assert_eq!(call(&daemon, "POST", &[]), "first");
    assert_eq!(fields(&upstream.seen(), KEY), [[""; 0]]);
    daemon.await_metric(MINTED, &[API], 0.0);
}
