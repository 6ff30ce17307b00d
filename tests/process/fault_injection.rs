//! Faults that are injected on purpose: what they do, to which requests, and how they end.

use std::time::Duration;

use outrigger::proxy::error::ProxyError;
use serde_json::Value;

use crate::expect::{
    ABORTED, API, ATTEMPTS, BREAKER_CALLS, assert_nothing_held, assert_replies, assert_retried,
    assert_row, await_breaker,
};
use crate::support::client::{Client, Response};
use crate::support::daemon::Daemon;
use crate::support::upstream::{Upstream, reply, send};

const INJECTED: &str = "outrigger_faults_injected_total";
const ACTIVE: &str = "outrigger_faults_active";

const UNTIL: &str = "until = \"2199-01-01T00:00:00Z\"";
const PATIENT: &str = "timeouts = { first_byte = \"50s\", request = \"50s\" }\n";

/// One upstream with this fault, if it is one, and these further lines.
fn daemon(upstream: &Upstream, fault: &str, more: &str) -> Daemon {
    let faults = format!("faults = [{{ {fault}, {UNTIL} }}]\n{more}");
    let settings = if fault.is_empty() { more } else { &faults };
    Daemon::proxying(&[upstream.url()], settings)
}

fn call(daemon: &Daemon, method: &str, target: &str, fields: &[(&str, &str)]) -> Response {
    let response = daemon.client().call(method, target, fields, b"");
    response.expect("a whole response")
}

fn get(daemon: &Daemon) -> Response {
    call(daemon, "GET", "/", &[])
}

/// Orders something of the admin listener.
fn order(daemon: &Daemon, order: &str) -> Response {
    let target = format!("/upstreams/api/fault/{order}");
    let mut admin = Client::connect(daemon.address("admin"));
    let response = admin.call("POST", &target, &[("host", "localhost")], b"");
    response.expect("a whole response")
}

/// The order is obeyed; says the number of the fault, if one has begun.
#[track_caller]
fn ordered(daemon: &Daemon, what: &str) -> Option<u64> {
    let response = order(daemon, what);
    assert_eq!(response.status, 200, "{what}: {response:?}");
    let text = response.text();
    let id = text.trim().strip_prefix("done: fault ")?;
    Some(id.parse().expect("the number of a fault"))
}

/// That so many attempts were hit by this action, the last of them as the log says.
#[track_caller]
fn assert_injected(daemon: &Daemon, action: &str, count: f64) {
    daemon.await_metric(INJECTED, &[API, ("action", action)], count);
    daemon.await_metric(INJECTED, &[], count);
    daemon.await_access("the attempt that was hit", |line| line["fault"] == action);
}

/// That nobody learnt from so many attempts, nor from any other.
#[track_caller]
fn assert_ignored(daemon: &Daemon, count: f64) {
    daemon.await_metric(ATTEMPTS, &[API, ("verdict", "ignored")], count);
    daemon.await_metric(ATTEMPTS, &[API], count);
    daemon.await_metric(BREAKER_CALLS, &[API, ("verdict", "failure")], 0.0);
    daemon.await_metric(BREAKER_CALLS, &[API, ("verdict", "success")], 0.0);
}

/// The fault of the configuration, and the same by an order.
fn both_ways(
    settings: &str,
    more: &str,
    ordering: &str,
    upstream: impl Fn() -> Upstream,
    check: impl Fn(&Daemon, &Upstream),
) {
    let configured = upstream();
    let daemon_of_file = daemon(&configured, settings, more);
    check(&daemon_of_file, &configured);
    let injected = upstream();
    let daemon_of_order = daemon(&injected, "", more);
    assert!(ordered(&daemon_of_order, ordering).is_some());
    check(&daemon_of_order, &injected);
}

#[test]
fn an_abort_answers_in_place_of_the_upstream() {
    let fault = "action = \"abort\", status = 418";
    let order = "abort?for=1h&status=418&reason=game+day";
    let upstream = || Upstream::answering("fine");
    both_ways(fault, PATIENT, order, upstream, |daemon, upstream| {
        daemon.await_metric(ACTIVE, &[API, ("action", "abort")], 1.0);
        assert_row(&get(daemon), ProxyError::FaultAbort(418));
        let post = call(daemon, "POST", "/", &[]);
        assert_row(&post, ProxyError::FaultAbort(418));
        assert_eq!(upstream.seen().connections.len(), 0);
        assert_injected(daemon, "abort", 2.0);
        assert_replies(daemon, ProxyError::FaultAbort(418), 2.0);
        assert_ignored(daemon, 2.0);
        assert_nothing_held(daemon);
    });
}

#[test]
fn a_reset_fails_before_the_response() {
    let fault = "action = \"reset\"";
    let upstream = || Upstream::answering("fine");
    both_ways(
        fault,
        PATIENT,
        "reset?for=1h",
        upstream,
        |daemon, upstream| {
            assert_row(&get(daemon), ProxyError::FaultReset);
            assert_eq!(upstream.seen().connections.len(), 0);
            assert_injected(daemon, "reset", 1.0);
            assert_ignored(daemon, 1.0);
            assert_nothing_held(daemon);
        },
    );
}

#[test]
fn a_delay_that_fits_is_borne() {
    let fault = "action = \"delay\", delay = \"20ms\"";
    let order = "delay?for=1h&delay=20ms";
    let upstream = || Upstream::answering("fine");
    both_ways(fault, PATIENT, order, upstream, |daemon, upstream| {
        let response = get(daemon);
        assert_eq!(
            (response.text().as_str(), response.field("proxy-status")),
            ("fine", None)
        );
        assert_eq!(upstream.seen().requests.len(), 1);
        assert_injected(daemon, "delay", 1.0);
        assert_ignored(daemon, 1.0);
        assert_nothing_held(daemon);
    });
}

#[test]
fn a_delay_beyond_a_limit_is_a_timeout() {
    for (timeouts, error) in [
        (
            "first_byte = \"300ms\", request = \"50s\"",
            ProxyError::AttemptTimeout,
        ),
        (
            "first_byte = \"50s\", request = \"300ms\"",
            ProxyError::Deadline,
        ),
    ] {
        let timeouts = format!("timeouts = {{ {timeouts} }}");
        let fault = "action = \"delay\", delay = \"1h\"";
        let order = "delay?for=1h&delay=1h";
        let upstream = || Upstream::answering("fine");
        both_ways(fault, &timeouts, order, upstream, |daemon, upstream| {
            assert_row(&get(daemon), error);
            assert_eq!(upstream.seen().connections.len(), 0);
            assert_injected(daemon, "delay", 1.0);
            assert_ignored(daemon, 1.0);
            assert_nothing_held(daemon);
        });
    }
}

#[test]
fn a_truncation_breaks_longer_bodies_off() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
                   3\r\n012\r\n5\r\n34567\r\n0\r\n\r\n";
    let upstream = || {
        Upstream::start(move |call| match call.path() {
            "/longer" => reply(200, "01234567"),
            "/chunked" => send(chunked),
            "/as-long" => reply(200, "01234"),
            "/shorter" => reply(200, "0123"),
            _ => reply(204, ""),
        })
    };
    let fault = "action = \"truncate\", after = \"5B\"";
    let order = "truncate?for=1h&after=5B";
    both_ways(fault, PATIENT, order, upstream, |daemon, _| {
        for target in ["/longer", "/chunked"] {
            let broken = daemon.client().call("GET", target, &[], b"");
            let broken = broken.expect_err("a broken body");
            assert_eq!((broken.status, &*broken.body), (Some(200), &b"01234"[..]));
        }
        daemon.await_metric(ABORTED, &[API, ("reason", "upstream_reset")], 2.0);
        for (target, body) in [("/as-long", "01234"), ("/shorter", "0123"), ("/none", "")] {
            assert_eq!(call(daemon, "GET", target, &[]).text(), body);
        }
        daemon.await_metric(ABORTED, &[API], 2.0);
        assert_injected(daemon, "truncate", 5.0);
        assert_ignored(daemon, 5.0);
        assert_nothing_held(daemon);
    });
    let upstream = upstream();
    let nothing = daemon(&upstream, "action = \"truncate\", after = \"0B\"", PATIENT);
    let broken = nothing.client().call("GET", "/longer", &[], b"");
    let broken = broken.expect_err("a broken body");
    assert_eq!((broken.status, broken.body.len()), (Some(200), 0));
}

#[test]
fn a_slow_body_comes_whole_to_whoever_waits() {
    let body: &str = "0123456789abcdef".repeat(16 * 1024).leak();
    let fault = "action = \"slow-body\", rate = \"1MiB\"";
    let order = "slow-body?for=1h&rate=1MiB";
    let upstream = || Upstream::answering(body);
    both_ways(fault, PATIENT, order, upstream, |daemon, _| {
        let response = get(daemon);
        assert_eq!(response.status, 200);
        assert!(response.text() == body, "{} bytes", response.body.len());
        assert_injected(daemon, "slow-body", 1.0);
        assert_ignored(daemon, 1.0);
        assert_nothing_held(daemon);
    });
}

#[test]
fn a_slow_body_is_slow() {
    let fault = "action = \"slow-body\", rate = \"1B\"";
    let order = "slow-body?for=1h&rate=1B";
    let idle = "timeouts = { first_byte = \"50s\", stream_idle = \"200ms\" }";
    let upstream = || Upstream::answering("0123456789");
    both_ways(fault, idle, order, upstream, |daemon, upstream| {
        let broken = daemon.client().call("GET", "/", &[], b"");
        let broken = broken.expect_err("a body that stands still");
        assert_eq!(broken.status, Some(200));
        // One byte, and where the daemon itself was held up for a second those due meanwhile.
        let came = broken.body.len();
        assert!(b"0123456789".starts_with(&broken.body) && (1..10).contains(&came));
        daemon.await_metric(ABORTED, &[API, ("reason", "upstream_idle")], 1.0);
        assert_injected(daemon, "slow-body", 1.0);
        assert_ignored(daemon, 1.0);
        upstream.wait_closed();
        assert_nothing_held(daemon);
    });
}

#[test]
fn whoever_leaves_a_slow_body_leaves_nothing_behind() {
    let upstream = Upstream::answering("0123456789");
    let daemon = daemon(&upstream, "action = \"slow-body\", rate = \"1B\"", PATIENT);
    let mut client = daemon.client();
    client
        .request("GET", "/", &[], b"")
        .await_bytes(b"\r\n\r\n0");
    drop(client);
    let line = daemon.await_access("the request", |_| true);
    assert_eq!(
        (&line["aborted"], &line["fault"]),
        (&true.into(), &"slow-body".into())
    );
    upstream.wait_closed();
    assert_nothing_held(&daemon);
}

#[test]
fn only_what_fits_is_hit() {
    let ordered = "&method=GET&method=PUT&path_prefix=/v2&header=x-game-day:yes";
    let fault = "action = \"abort\", status = 418, methods = [\"GET\", \"PUT\"], \
                 path_prefix = \"/v2\", header = \"x-game-day: yes\"";
    let order = format!("abort?for=1h&status=418{ordered}");
    let upstream = || Upstream::answering("fine");
    both_ways(fault, PATIENT, &order, upstream, |daemon, _| {
        let yes = [("x-game-day", "yes")];
        let rows: [(&str, &str, &[_], u16); 9] = [
            ("GET", "/v2", &yes, 418),
            ("PUT", "/v2/x?y", &yes, 418),
            ("POST", "/v2", &yes, 200),
            ("GET", "/v20", &yes, 200),
            ("GET", "/", &yes, 200),
            ("GET", "/v2", &[], 200),
            ("GET", "/v2", &[("x-game-day", "YES")], 200),
            (
                "GET",
                "/v2",
                &[("x-game-day", "no"), ("x-game-day", "yes")],
                200,
            ),
            (
                "GET",
                "/v2",
                &[("X-Game-Day", "yes"), ("x-game-day", "no")],
                418,
            ),
        ];
        for (method, target, fields, status) in rows {
            let response = call(daemon, method, target, fields);
            assert_eq!(response.status, status, "{method} {target} {fields:?}");
        }
        assert_injected(daemon, "abort", 3.0);
    });
}

#[test]
fn a_share_of_the_attempts_is_hit() {
    for (share, least, most) in [("0.0", 0, 0), ("0.5", 1, 99), ("1.0", 100, 100)] {
        let upstream = Upstream::answering("fine");
        let fault = format!("action = \"abort\", status = 418, share = {share}");
        let daemon = daemon(&upstream, &fault, PATIENT);
        let mut client = daemon.client();
        let hit = (0..100).filter(|_| client.get("/").status == 418).count();
        assert!((least..=most).contains(&hit), "{hit} of 100 at {share}");
        assert_eq!(upstream.seen().requests.len(), 100 - hit);
        daemon.await_metric(INJECTED, &[API, ("action", "abort")], hit as f64);
    }
}

#[test]
fn the_first_fault_that_fits_is_done() {
    let upstream = Upstream::answering("fine");
    let faults = format!(
        "{PATIENT}faults = [\n\
         {{ action = \"abort\", status = 418, share = 0.0, {UNTIL} }},\n\
         {{ action = \"abort\", status = 599, until = \"2001-01-01T00:00:00Z\" }},\n\
         {{ action = \"abort\", status = 501, path_prefix = \"/here\", {UNTIL} }},\n\
         {{ action = \"abort\", status = 502, {UNTIL} }},\n]"
    );
    let daemon = Daemon::proxying(&[upstream.url()], &faults);
    daemon.await_metric(ACTIVE, &[API], 3.0);
    assert_eq!(call(&daemon, "GET", "/here", &[]).status, 501);
    assert_eq!(call(&daemon, "GET", "/there", &[]).status, 502);
}

#[test]
fn a_time_that_is_past_does_nothing() {
    let upstream = Upstream::answering("fine");
    let past =
        format!("{PATIENT}faults = [{{ action = \"reset\", until = \"2001-01-01T00:00:00Z\" }}]");
    let daemon = Daemon::proxying(&[upstream.url()], &past);
    assert_eq!(get(&daemon).text(), "fine");
    daemon.await_metric(ACTIVE, &[API], 0.0);
    daemon.await_metric(INJECTED, &[API], 0.0);
}

#[test]
fn the_breaker_learns_from_a_fault_only_if_asked_to() {
    let breaker = format!("{PATIENT}breaker = {{ consecutive_failures = 2, open_for = \"60s\" }}");
    let upstream = Upstream::answering("0123456789");
    for (fault, status) in [
        ("action = \"abort\", status = 503", Some(503)),
        ("action = \"reset\"", Some(502)),
        ("action = \"truncate\", after = \"5B\"", None),
    ] {
        let spared = daemon(&upstream, fault, &breaker);
        let counted = daemon(&upstream, &format!("{fault}, counted = true"), &breaker);
        for daemon in [&spared, &counted] {
            for _ in 0..2 {
                let response = daemon.client().call("GET", "/", &[], b"");
                assert_eq!(
                    response.ok().map(|response| response.status),
                    status,
                    "{fault}"
                );
            }
        }
        assert_ignored(&spared, 2.0);
        await_breaker(&spared, "closed");
        await_breaker(&counted, "open");
        counted.await_metric(BREAKER_CALLS, &[API, ("verdict", "failure")], 2.0);
        let retry_after = Duration::ZERO;
        assert_row(&get(&counted), ProxyError::BreakerOpen { retry_after });
    }
    let unlisted = "action = \"abort\", status = 404, counted = true";
    let daemon = daemon(&upstream, unlisted, &breaker);
    for _ in 0..3 {
        assert_row(&get(&daemon), ProxyError::FaultAbort(404));
    }
    await_breaker(&daemon, "closed");
    daemon.await_metric(BREAKER_CALLS, &[API, ("verdict", "success")], 3.0);
}

#[test]
fn a_delay_of_ours_is_no_slow_call_of_the_upstream() {
    let breaker =
        "breaker = { slow_call = \"1us\", min_calls = 2, consecutive_failures = \"off\" }";
    let upstream = Upstream::answering("ok");
    let fault = "action = \"delay\", delay = \"10m\"";
    let daemon = daemon(&upstream, fault, &format!("{PATIENT}{breaker}\n"));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let mut client = daemon.client();
            client.request("GET", "/", &[], b"");
            client
        })
        .collect();
    daemon.await_metric(INJECTED, &[API, ("action", "delay")], 4.0);
    await_breaker(&daemon, "closed");
    daemon.await_metric("outrigger_breaker_overdue_calls", &[API], 0.0);
    drop(callers);
    daemon.await_metric(ATTEMPTS, &[API, ("verdict", "abandoned")], 4.0);
    daemon.await_metric(BREAKER_CALLS, &[API, ("verdict", "ignored")], 4.0);
    daemon.await_metric(BREAKER_CALLS, &[API, ("verdict", "success")], 0.0);
    await_breaker(&daemon, "closed");
    assert_nothing_held(&daemon);
}

#[test]
fn retries_and_failover_bear_what_is_injected() {
    let standby = Upstream::answering("standby");
    let config = |fault: &str, upstream: &Upstream| {
        format!(
            "[upstreams.api]\nlisten = \"127.0.0.1:0\"\nendpoints = [\"{}\"]\n{PATIENT}\
             failover = \"standby\"\nfaults = [{{ {fault}, {UNTIL} }}]\n\
             retry = {{ mode = \"enforce\", backoff = {{ base = \"1ms\" }} }}\n\
             [upstreams.standby]\nendpoints = [\"{}\"]\n",
            upstream.url(),
            standby.url()
        )
    };
    for (fault, method, text, attempts, reason) in [
        (
            "action = \"abort\", status = 503",
            "GET",
            "standby",
            3,
            "status",
        ),
        ("action = \"reset\"", "GET", "standby", 3, "reset"),
        ("action = \"abort\", status = 503", "POST", "", 1, ""),
        // It is no answer to go on from, whoever gave it.
        ("action = \"abort\", status = 404", "GET", "", 1, ""),
        ("action = \"abort\", status = 200", "GET", "", 1, ""),
    ] {
        let upstream = Upstream::answering("fine");
        let daemon = Daemon::start(&config(fault, &upstream));
        let response = call(&daemon, method, "/", &[]);
        if text.is_empty() {
            let status = response.field("proxy-status").unwrap_or_default();
            assert!(status.contains("fault_injected"), "{fault} {response:?}");
        } else {
            assert_eq!(response.text(), text, "{fault} {method}");
            assert_retried(&daemon, reason, 1.0);
        }
        let line = daemon.await_access("the request", |_| true);
        assert_eq!(line["attempts"], attempts, "{fault} {method}");
        assert_eq!(upstream.seen().connections.len(), 0);
        assert_nothing_held(&daemon);
    }
}

#[test]
fn a_fault_is_ended_by_its_number_or_with_all_others() {
    let upstream = Upstream::answering("fine");
    let daemon = daemon(
        &upstream,
        "action = \"abort\", status = 501, path_prefix = \"/a\"",
        "",
    );
    let first = ordered(&daemon, "abort?for=1h&status=502&path_prefix=/b").expect("a fault");
    let second = ordered(&daemon, "abort?for=1h&status=503&path_prefix=/b").expect("a fault");
    assert_ne!(first, second);
    let status = |target: &str| call(&daemon, "GET", target, &[]).status;
    assert_eq!([status("/a"), status("/b"), status("/c")], [501, 502, 200]);
    ordered(&daemon, &format!("clear?id={first}"));
    assert_eq!([status("/a"), status("/b")], [501, 503]);
    assert_eq!(order(&daemon, &format!("clear?id={first}")).status, 404);
    ordered(&daemon, "clear");
    assert_eq!([status("/a"), status("/b")], [200, 200]);
    daemon.await_metric(ACTIVE, &[API], 0.0);
    assert_injected(&daemon, "abort", 4.0);
    let audit = daemon.await_logged("fault operation", 5);
    assert_eq!(audit.len(), 5, "{audit:?}");
}

#[test]
fn a_fault_ends_with_its_time() {
    let upstream = Upstream::answering("fine");
    let daemon = daemon(&upstream, "", PATIENT);
    ordered(&daemon, "abort?for=3s&status=418");
    assert_eq!(get(&daemon).status, 418);
    daemon.await_metric(ACTIVE, &[API, ("action", "abort")], 0.0);
    assert_eq!(get(&daemon).text(), "fine");
}

#[test]
fn an_order_that_is_not_understood_changes_nothing() {
    let upstream = Upstream::answering("fine");
    let daemon = daemon(&upstream, "", PATIENT);
    for (what, status) in [
        ("abort?status=418", 400),
        ("abort?for=1h", 400),
        ("abort?for=25h&status=418", 400),
        ("abort?for=1h&status=100", 400),
        ("delay?for=1h&status=418", 400),
        ("truncate?for=1h&after=much", 400),
        ("reset?for=1h&share=2", 400),
        ("explode?for=1h", 400),
        ("clear?id=1", 404),
    ] {
        assert_eq!(order(&daemon, what).status, status, "{what}");
    }
    let mut admin = Client::connect(daemon.address("admin"));
    let local = [("host", "localhost")];
    let target = "/upstreams/none/fault/reset?for=1h";
    let elsewhere = admin.call("POST", target, &local, b"");
    assert_eq!(elsewhere.expect("a whole response").status, 404);
    daemon.await_metric(ACTIVE, &[], 0.0);
    assert_eq!(get(&daemon).text(), "fine");
    for _ in 0..16 {
        ordered(&daemon, "abort?for=1h&status=418&path_prefix=/x");
    }
    assert_eq!(order(&daemon, "reset?for=1h").status, 409);
    assert_eq!(get(&daemon).text(), "fine");
}

#[test]
fn an_attempt_that_is_not_hit_says_nothing_of_faults() {
    let upstream = Upstream::answering("fine");
    let fault = "action = \"abort\", status = 418, path_prefix = \"/x\"";
    let daemon = daemon(&upstream, fault, PATIENT);
    assert_eq!(get(&daemon).text(), "fine");
    let line = daemon.await_access("the request", |_| true);
    assert_eq!(line["fault"], Value::Null, "{line}");
    daemon.await_metric(ATTEMPTS, &[API, ("verdict", "success")], 1.0);
}

#[test]
fn an_uncounted_delay_does_not_open_the_breaker() {
    let upstream = Upstream::answering("fine");
    let more = "timeouts = { first_byte = \"400ms\", request = \"50s\" }\nbreaker = { min_calls = 1, slow_call = \"100ms\" }";
    let daemon = daemon(&upstream, "action = \"delay\", delay = \"1h\"", more);
    assert_row(&get(&daemon), ProxyError::AttemptTimeout);
    assert_row(&get(&daemon), ProxyError::AttemptTimeout);
}

#[test]
fn an_injected_abort_is_not_replaced_by_the_fallback() {
    let upstream = Upstream::answering("fine");
    let more = "fallback = { status = 200, body = \"degraded\" }";
    let daemon = daemon(&upstream, "action = \"abort\", status = 503", more);
    assert_eq!(get(&daemon).status, 503);
}
