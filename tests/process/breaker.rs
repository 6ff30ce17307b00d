//! The breaker as callers and operators meet it: what trips it, what it says, how it recovers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use outrigger::proxy::error::ProxyError;

use crate::expect::{
    API, BREAKER_CALLS, BREAKER_STATE, TRANSITIONS, assert_nothing_held, assert_replies,
    assert_row, await_breaker,
};
use crate::support::client::{Client, Response};
use crate::support::daemon::Daemon;
use crate::support::gate::Gate;
use crate::support::upstream::{Step, Upstream, message, reply, send, then};

const OPEN: ProxyError = ProxyError::BreakerOpen {
    retry_after: Duration::ZERO,
};

/// Open for longer than any test, so that nothing recovers behind its back.
const STAYS_OPEN: &str = "open_for = \"60s\", open_for_max = \"60s\", slow_call = \"50s\"";

/// Open so briefly that the next call may be a probe.
const BLINKS: &str = "open_for = \"50ms\", open_for_max = \"50ms\", slow_call = \"50s\"";

fn daemon(upstream: &Upstream, breaker: &str, more: &str) -> Daemon {
    let settings = format!(
        "timeouts = {{ first_byte = \"50s\", request = \"50s\" }}\nbreaker = {{ {breaker} }}\n{more}"
    );
    Daemon::proxying(&[upstream.url()], &settings)
}

/// An upstream that fails until it is told to recover, and hangs where asked to.
fn moody() -> (Upstream, Arc<AtomicBool>) {
    let healthy = Arc::new(AtomicBool::new(false));
    let own = Arc::clone(&healthy);
    let upstream = Upstream::start(move |call| match call.path() {
        "/hang" => vec![Step::Hang],
        _ if own.load(Ordering::SeqCst) => reply(200, "fine"),
        _ => reply(500, "broken"),
    });
    (upstream, healthy)
}

fn statuses(daemon: &Daemon, calls: usize) -> Vec<u16> {
    let mut client = daemon.client();
    (0..calls).map(|_| client.get("/").status).collect()
}

/// The breaker rejects, says until when, and the upstream hears nothing of it.
#[track_caller]
fn assert_rejects(daemon: &Daemon, upstream: &Upstream) {
    await_breaker(daemon, "open");
    let before = upstream.seen().requests.len();
    let response = daemon.client().get("/");
    assert_row(&response, OPEN);
    let wait: u64 = response
        .field("retry-after")
        .expect("a wait")
        .parse()
        .expect("seconds");
    assert!(
        (1..=72).contains(&wait),
        "{wait} s, but open_for is 60 s and its jitter 0.2"
    );
    assert_eq!(upstream.seen().requests.len(), before);
    assert_replies(daemon, OPEN, 1.0);
}

#[track_caller]
fn assert_tripped_once(daemon: &Daemon, cause: &str) {
    daemon.await_metric(TRANSITIONS, &[API, ("to", "open")], 1.0);
    daemon.await_metric(TRANSITIONS, &[API, ("to", "open"), ("cause", cause)], 1.0);
    assert_eq!(daemon.await_logged("breaker opened", 1).len(), 1);
}

/// Asks again while the breaker rejects, so that its answer is that of a probe.
fn probe(daemon: &Daemon) -> JoinHandle<Response> {
    let address = daemon.api();
    thread::spawn(move || {
        let mut client = Client::connect(address);
        loop {
            let response = client.get("/probe");
            if response.field("proxy-status").is_none() {
                return response;
            }
            thread::sleep(Duration::from_millis(5));
        }
    })
}

/// Asks for what hangs while the breaker rejects, until the upstream saw `count` such calls.
fn hanging_probe(daemon: &Daemon, upstream: &Upstream, count: usize) -> Client {
    let hangs = || {
        let seen = upstream.seen();
        seen.targets()
            .iter()
            .filter(|target| **target == "/hang")
            .count()
            == count
    };
    loop {
        let mut client = daemon.client();
        client.request("GET", "/hang", &[], b"");
        while !client.answers_within(Duration::from_millis(5)) {
            if hangs() {
                return client;
            }
        }
    }
}

#[test]
fn failures_trip_at_the_minimum_and_not_before() {
    let (upstream, _) = moody();
    let breaker = format!("min_calls = 4, consecutive_failures = \"off\", {STAYS_OPEN}");
    let daemon = daemon(&upstream, &breaker, "");
    assert_eq!(statuses(&daemon, 3), [500; 3]);
    await_breaker(&daemon, "closed");
    assert_eq!(statuses(&daemon, 1), [500]);
    assert_rejects(&daemon, &upstream);
    assert_tripped_once(&daemon, "failure_rate");
    assert_nothing_held(&daemon);
}

#[test]
fn failures_in_a_row_trip_below_the_minimum() {
    let (upstream, _) = moody();
    let breaker = format!("min_calls = 100, consecutive_failures = 3, {STAYS_OPEN}");
    let daemon = daemon(&upstream, &breaker, "");
    assert_eq!(statuses(&daemon, 3), [500; 3]);
    assert_rejects(&daemon, &upstream);
    assert_tripped_once(&daemon, "consecutive_failures");
}

#[test]
fn a_success_ends_the_row_of_failures() {
    let (upstream, healthy) = moody();
    let breaker = format!("min_calls = 100, consecutive_failures = 3, {STAYS_OPEN}");
    let daemon = daemon(&upstream, &breaker, "");
    assert_eq!(statuses(&daemon, 2), [500; 2]);
    healthy.store(true, Ordering::SeqCst);
    assert_eq!(statuses(&daemon, 1), [200]);
    healthy.store(false, Ordering::SeqCst);
    assert_eq!(statuses(&daemon, 2), [500; 2]);
    await_breaker(&daemon, "closed");
}

#[test]
fn hung_calls_trip_before_any_of_them_ends() {
    let gate = Gate::new();
    let upstream = Upstream::gated(&gate);
    let breaker = "min_calls = 4, slow_call = \"200ms\", open_for = \"60s\"";
    let daemon = daemon(&upstream, breaker, "");
    let mut hung: Vec<_> = (0..4).map(|_| daemon.client()).collect();
    for client in &mut hung {
        client.request("GET", "/", &[], b"");
    }
    upstream.wait_in_progress(4);
    assert_rejects(&daemon, &upstream);
    assert_tripped_once(&daemon, "overdue");
    assert_eq!(upstream.seen().in_progress, 4);
    gate.open();
    for client in &mut hung {
        assert_eq!(
            client.response("GET").expect("a whole response").status,
            200
        );
    }
    await_breaker(&daemon, "open");
    assert_nothing_held(&daemon);
}

#[test]
fn a_small_bulkhead_full_of_hung_calls_trips_below_the_minimum() {
    let gate = Gate::new();
    let upstream = Upstream::gated(&gate);
    let breaker = "min_calls = 20, slow_call = \"200ms\", open_for = \"60s\"";
    let bulkhead = "bulkhead = { max_requests = 2, max_queued = 9, queue_timeout = \"50s\" }";
    let daemon = daemon(&upstream, breaker, bulkhead);
    let mut calls: Vec<_> = (0..3).map(|_| daemon.client()).collect();
    for client in &mut calls {
        client.request("GET", "/", &[], b"");
    }
    upstream.wait_in_progress(2);
    await_breaker(&daemon, "open");
    assert_tripped_once(&daemon, "overdue");
    gate.open();
    let mut statuses: Vec<_> = calls
        .iter_mut()
        .map(|client| client.response("GET").expect("a whole response").status)
        .collect();
    statuses.sort_unstable();
    assert_eq!(
        statuses,
        [200, 200, 503],
        "the one that waited is rejected by its turn"
    );
    assert_eq!(upstream.seen().requests.len(), 2);
    assert_nothing_held(&daemon);
}

#[test]
fn hung_calls_do_not_count_while_they_run_where_that_is_off() {
    let gate = Gate::new();
    let upstream = Upstream::gated(&gate);
    let breaker = "min_calls = 2, slow_call = \"50ms\", count_overdue = false";
    let daemon = daemon(&upstream, breaker, "");
    let mut hung: Vec<_> = (0..2).map(|_| daemon.client()).collect();
    for client in &mut hung {
        client.request("GET", "/", &[], b"");
    }
    upstream.wait_in_progress(2);
    Gate::new().pass_within(Duration::from_millis(200)); // both are well past `slow_call`
    await_breaker(&daemon, "closed");
    gate.open();
    for client in &mut hung {
        assert_eq!(
            client.response("GET").expect("a whole response").status,
            200
        );
    }
    await_breaker(&daemon, "open");
    assert_tripped_once(&daemon, "slow_rate");
}

#[test]
fn slow_answers_trip_by_their_rate() {
    let upstream = Upstream::start(|_| {
        let late = Duration::from_millis(120);
        vec![
            Step::ReadBody,
            Step::Delay(late),
            Step::Send(message(200, "late")),
        ]
    });
    let breaker = "min_calls = 3, slow_call = \"40ms\", open_for = \"60s\"";
    let daemon = daemon(&upstream, breaker, "");
    assert_eq!(statuses(&daemon, 3), [200; 3]);
    assert_rejects(&daemon, &upstream);
    assert_tripped_once(&daemon, "slow_rate");
}

#[test]
fn cut_bodies_are_failures() {
    let cut = then(
        send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"),
        Step::Close,
    );
    let upstream = Upstream::start(move |_| cut.clone());
    let breaker = format!("min_calls = 2, {STAYS_OPEN}");
    let daemon = daemon(&upstream, &breaker, "");
    for _ in 0..2 {
        let cut = daemon.client().call("GET", "/", &[], b"");
        assert_eq!(cut.expect_err("an aborted response").status, Some(200));
    }
    assert_rejects(&daemon, &upstream);
    assert_tripped_once(&daemon, "failure_rate");
}

#[test]
fn answers_with_4xx_never_trip() {
    let upstream = Upstream::start(|_| reply(429, "slow down"));
    let breaker = format!("min_calls = 2, consecutive_failures = 2, {STAYS_OPEN}");
    let daemon = daemon(&upstream, &breaker, "");
    assert_eq!(statuses(&daemon, 20), [429; 20]);
    await_breaker(&daemon, "closed");
}

#[test]
fn callers_that_leave_never_trip() {
    let upstream = Upstream::start(|_| vec![Step::Hang]);
    let breaker = format!("min_calls = 2, consecutive_failures = 2, {STAYS_OPEN}");
    let daemon = daemon(&upstream, &breaker, "");
    for gone in 1..=5 {
        let mut client = daemon.client();
        client.request("GET", "/", &[], b"");
        upstream.wait_in_progress(1);
        drop(client);
        upstream.wait_until("that the proxy gave up", |record| {
            record.ended_by_peer() == gone
        });
    }
    await_breaker(&daemon, "closed");
    daemon.await_metric(BREAKER_CALLS, &[API, ("verdict", "failure")], 0.0);
    assert_nothing_held(&daemon);
}

#[test]
fn good_probes_close_it_again() {
    let (upstream, healthy) = moody();
    let breaker = format!("min_calls = 2, half_open_calls = 2, {BLINKS}");
    let daemon = daemon(&upstream, &breaker, "");
    assert_eq!(statuses(&daemon, 2), [500; 2]);
    healthy.store(true, Ordering::SeqCst);
    assert_eq!(probe(&daemon).join().expect("an answer").status, 200);
    await_breaker(&daemon, "half_open");
    assert_eq!(statuses(&daemon, 1), [200]);
    await_breaker(&daemon, "closed");
    assert_eq!(statuses(&daemon, 5), [200; 5]);
    daemon.await_metric(TRANSITIONS, &[API, ("cause", "recovered")], 1.0);
    assert_eq!(daemon.await_logged("breaker closed", 1).len(), 1);
}

#[test]
fn bad_probes_open_it_again() {
    let (upstream, _) = moody();
    let breaker = format!("min_calls = 2, half_open_calls = 2, {BLINKS}");
    let daemon = daemon(&upstream, &breaker, "");
    assert_eq!(statuses(&daemon, 2), [500; 2]);
    for _ in 0..2 {
        assert_eq!(probe(&daemon).join().expect("an answer").status, 500);
    }
    daemon.await_metric(
        TRANSITIONS,
        &[API, ("from", "half_open"), ("to", "open")],
        1.0,
    );
    daemon.await_metric(TRANSITIONS, &[API, ("to", "closed")], 0.0);
}

#[test]
fn no_more_probes_run_than_are_admitted() {
    let gate = Gate::new();
    let open = gate.clone();
    let upstream = Upstream::start(move |call| match call.path() {
        "/probe" => vec![Step::Await(open.clone()), Step::Send(message(200, "x"))],
        _ => reply(500, "broken"),
    });
    let breaker = format!("min_calls = 2, half_open_calls = 2, {BLINKS}");
    let daemon = daemon(&upstream, &breaker, "");
    assert_eq!(statuses(&daemon, 2), [500; 2]);
    let probes = [probe(&daemon), probe(&daemon)];
    upstream.wait_in_progress(2);
    await_breaker(&daemon, "half_open");
    let mut client = daemon.client();
    for _ in 0..5 {
        let response = client.get("/third");
        assert_row(&response, OPEN);
        assert_eq!(response.field("retry-after"), Some("1"));
    }
    gate.open();
    for probe in probes {
        assert_eq!(probe.join().expect("an answer").status, 200);
    }
    await_breaker(&daemon, "closed");
    assert_eq!(upstream.seen().requests.len(), 4);
}

#[test]
fn a_probe_whose_caller_leaves_gives_its_permit_back() {
    let (upstream, healthy) = moody();
    let breaker = format!("min_calls = 2, half_open_calls = 1, {BLINKS}");
    let daemon = daemon(&upstream, &breaker, "");
    assert_eq!(statuses(&daemon, 2), [500; 2]);
    healthy.store(true, Ordering::SeqCst);
    for gone in 1..=3 {
        drop(hanging_probe(&daemon, &upstream, gone));
        upstream.wait_in_progress(0);
    }
    assert_nothing_held(&daemon);
    await_breaker(&daemon, "half_open");
    assert_eq!(statuses(&daemon, 1), [200]);
    await_breaker(&daemon, "closed");
}

#[test]
fn an_observing_breaker_rejects_nothing_and_shows_what_it_would_do() {
    let (upstream, _) = moody();
    let breaker = format!("mode = \"observe\", min_calls = 4, {STAYS_OPEN}");
    let daemon = daemon(&upstream, &breaker, "");
    assert_eq!(statuses(&daemon, 10), [500; 10]);
    await_breaker(&daemon, "open");
    assert_eq!(upstream.seen().requests.len(), 10);
    daemon.await_metric(BREAKER_CALLS, &[API, ("verdict", "would_reject")], 6.0);
    assert_replies(&daemon, OPEN, 0.0);
}

#[test]
fn a_breaker_that_is_off_learns_nothing() {
    let (upstream, _) = moody();
    let daemon = daemon(&upstream, "mode = \"off\", min_calls = 2", "");
    assert_eq!(statuses(&daemon, 50), [500; 50]);
    assert_eq!(upstream.seen().requests.len(), 50);
    daemon.await_metric(TRANSITIONS, &[API], 0.0);
}

#[test]
fn a_route_with_its_own_breaker_leaves_the_upstreams_alone() {
    let upstream = Upstream::start(|call| match call.path() {
        "/own/x" => reply(500, "broken"),
        _ => reply(200, "fine"),
    });
    let config = format!(
        r#"
[upstreams.api]
endpoints = ["{}"]
breaker = {{ min_calls = 2, {STAYS_OPEN} }}
[[listeners]]
name = "edge"
address = "127.0.0.1:0"
routes = [
  {{ name = "own", path_prefix = "/own", upstream = "api", breaker = {{ min_calls = 3 }} }},
  {{ name = "rest", upstream = "api" }},
]
"#,
        upstream.url()
    );
    let daemon = Daemon::start(&config);
    let mut client = Client::connect(daemon.address("edge"));
    for _ in 0..3 {
        assert_eq!(client.get("/own/x").status, 500);
    }
    assert_row(&client.get("/own/x"), OPEN);
    assert_eq!(client.get("/rest").status, 200);
    let state = |state, route| [API, ("state", state), ("route", route)];
    daemon.await_metric(BREAKER_STATE, &state("open", "edge/own"), 1.0);
    daemon.await_metric(BREAKER_STATE, &state("closed", ""), 1.0);
    assert_eq!(upstream.seen().requests.len(), 4);
}
