//! A second attempt beside one that is late: when it is sent, who wins, and what the other leaves.

use outrigger::proxy::error::ProxyError;

use crate::expect::{
    API, ATTEMPTS, BREAKER_CALLS, CONNECTIONS, IN_FLIGHT, RETRIES, assert_nothing_held, assert_row,
    await_breaker,
};
use crate::support::client::{Client, Response};
use crate::support::daemon::Daemon;
use crate::support::dead::Refusing;
use crate::support::gate::Gate;
use crate::support::upstream::{Step, Upstream, in_turn, message, reply, send, then};

const HEDGES: &str = "outrigger_hedges_total";
const WON: &str = "outrigger_hedges_won_total";
const SKIPPED: &str = "outrigger_hedges_skipped_total";
const WOULD_HEDGE: &str = "outrigger_would_hedge_total";

const PATIENT: &str = "timeouts = { first_byte = \"50s\", request = \"50s\" }\n";
/// Soon, as every first attempt of these tests is late; and late enough for that to arrive first.
const SOON: &str = "delay = \"600ms\"";
/// Later than any test lasts.
const NEVER: &str = "delay = \"10m\"";

/// As many upstreams, which answer as one.
fn several<const N: usize, const M: usize>(scripts: [Vec<Step>; M]) -> [Upstream; N] {
    let scripts = in_turn(scripts);
    std::array::from_fn(|_| Upstream::start(scripts.clone()))
}

fn late() -> Vec<Step> {
    vec![Step::ReadBody, Step::Hang]
}

/// Answers once the gate is open.
fn held(gate: &Gate) -> Vec<Step> {
    let gate = Step::Await(gate.clone());
    vec![Step::ReadBody, gate, Step::Send(message(200, "first"))]
}

fn daemon(upstreams: &[Upstream], hedge: &str, more: &str) -> Daemon {
    let endpoints: Vec<_> = upstreams.iter().map(Upstream::url).collect();
    let settings = format!("hedge = {{ {hedge} }}\n{PATIENT}{more}");
    Daemon::proxying(&endpoints, &settings)
}

fn call(daemon: &Daemon, method: &str, body: &[u8]) -> Response {
    let response = daemon.client().call(method, "/", &[], body);
    response.expect("a whole response")
}

/// Sends a request and leaves the answer for later.
fn ask(daemon: &Daemon, method: &str) -> Client {
    let mut client = daemon.client();
    client.request(method, "/", &[], b"");
    client
}

fn hits(upstreams: &[Upstream]) -> usize {
    let seen = upstreams.iter().map(|one| one.seen().requests.len());
    seen.sum()
}

#[track_caller]
fn assert_hedged(daemon: &Daemon, sent: f64, won: f64) {
    daemon.await_metric(HEDGES, &[API], sent);
    daemon.await_metric(WON, &[API], won);
}

#[track_caller]
fn assert_skipped(daemon: &Daemon, reason: &str, count: f64) {
    daemon.await_metric(SKIPPED, &[API, ("reason", reason)], count);
    daemon.await_metric(SKIPPED, &[API], count);
}

/// A first attempt that is held gets no hedge, for this reason, and its answer is the answer.
#[track_caller]
fn check_skipped(upstreams: &[Upstream], gate: &Gate, daemon: &Daemon, method: &str, reason: &str) {
    let mut client = ask(daemon, method);
    assert_skipped(daemon, reason, 1.0);
    gate.open();
    let response = client.response(method).expect("a whole response");
    assert_eq!(response.text(), "first");
    assert_eq!(hits(upstreams), 1, "{reason}");
    assert_hedged(daemon, 0.0, 0.0);
    assert_nothing_held(daemon);
}

#[test]
fn the_first_answer_wins_and_the_other_attempt_is_cut_off() {
    let upstreams: [_; 2] = several([late(), reply(200, "hedge")]);
    let daemon = daemon(&upstreams, SOON, "");
    assert_eq!(call(&daemon, "GET", b"").text(), "hedge");
    for upstream in &upstreams {
        assert_eq!(upstream.seen().requests.len(), 1, "at different endpoints");
    }
    assert_hedged(&daemon, 1.0, 1.0);
    daemon.await_metric(ATTEMPTS, &[API, ("verdict", "abandoned")], 1.0);
    daemon.await_metric(ATTEMPTS, &[API, ("verdict", "success")], 1.0);
    daemon.await_metric(BREAKER_CALLS, &[API, ("verdict", "failure")], 0.0);
    let line = daemon.await_access("the request", |_| true);
    assert_eq!(
        (&line["hedged"], &line["attempts"]),
        (&true.into(), &2.into())
    );
    let is_winner = |one: &&Upstream| line["endpoint"] == one.address().to_string();
    let (winners, losers): (Vec<_>, Vec<_>) = upstreams.iter().partition(is_winner);
    assert_eq!((winners.len(), losers.len()), (1, 1), "{line}");
    losers[0].wait_closed();
    assert_eq!(winners[0].seen().open(), 1);
    assert_nothing_held(&daemon);
}

#[test]
fn the_first_attempt_may_still_win() {
    let gate = Gate::new();
    let upstreams: [_; 2] = several([held(&gate), late()]);
    let daemon = daemon(&upstreams, SOON, "");
    let mut client = ask(&daemon, "GET");
    daemon.await_metric(HEDGES, &[API], 1.0);
    daemon.await_metric(IN_FLIGHT, &[API], 2.0);
    gate.open();
    let response = client.response("GET").expect("a whole response");
    assert_eq!(response.text(), "first");
    assert_hedged(&daemon, 1.0, 0.0);
    daemon.await_metric(ATTEMPTS, &[API, ("verdict", "abandoned")], 1.0);
    let line = daemon.await_access("the request", |_| true);
    assert_ne!(line["hedged"], true, "{line}");
    assert_nothing_held(&daemon);
}

#[test]
fn an_attempt_that_is_in_time_is_not_hedged() {
    let upstreams: [_; 2] = several([reply(200, "first")]);
    let daemon = daemon(&upstreams, NEVER, "");
    for method in ["GET", "POST"] {
        assert_eq!(call(&daemon, method, b"").text(), "first");
    }
    assert_eq!(hits(&upstreams), 2);
    assert_hedged(&daemon, 0.0, 0.0);
    daemon.await_metric(SKIPPED, &[API], 0.0);
}

#[test]
fn what_is_not_idempotent_is_never_hedged() {
    let gate = Gate::new();
    let upstreams: [_; 2] = several([held(&gate)]);
    let daemon = daemon(&upstreams, SOON, "");
    check_skipped(&upstreams, &gate, &daemon, "POST", "not_replayable");
}

#[test]
fn a_request_with_a_body_is_hedged_once_that_is_here() {
    let upstreams: [_; 2] = several([late(), reply(200, "hedge")]);
    let whole = daemon(&upstreams, SOON, "");
    assert_eq!(call(&whole, "PUT", b"a body").text(), "hedge");
    for upstream in &upstreams {
        let seen = upstream.seen().requests;
        assert!(seen[0].complete, "{seen:?}");
        assert_eq!(seen[0].body, b"a body");
    }
    assert_hedged(&whole, 1.0, 1.0);

    let upstreams: [_; 2] = several([reply(200, "first")]);
    let uploading = daemon(&upstreams, SOON, "");
    let mut client = uploading.client();
    client.request("PUT", "/", &[("content-length", "6")], b"a ");
    assert_skipped(&uploading, "not_replayable", 1.0);
    client.send("body");
    let response = client.response("PUT").expect("a whole response");
    assert_eq!(response.text(), "first");
    assert_eq!(hits(&upstreams), 1);

    let gate = Gate::new();
    let upstreams: [_; 2] = several([held(&gate)]);
    let small = daemon(&upstreams, SOON, "retry = { max_body_buffer = \"4B\" }");
    let mut client = small.client();
    client.request("PUT", "/", &[], b"a body");
    assert_skipped(&small, "not_replayable", 1.0);
    gate.open();
    let response = client.response("PUT").expect("a whole response");
    assert_eq!(response.text(), "first");
    assert_eq!(hits(&upstreams), 1);
}

#[test]
fn a_hedge_goes_to_an_endpoint_in_use_only_if_that_is_wanted() {
    let gate = Gate::new();
    let one: [_; 1] = several([held(&gate)]);
    let elsewhere = daemon(&one, SOON, "");
    check_skipped(&one, &gate, &elsewhere, "GET", "no_endpoint");

    let one: [_; 1] = several([late(), reply(200, "hedge")]);
    let same = daemon(&one, &format!("{SOON}, same_endpoint = true"), "");
    assert_eq!(call(&same, "GET", b"").text(), "hedge");
    assert_eq!(one[0].seen().requests.len(), 2);
    assert_hedged(&same, 1.0, 1.0);
    assert_one_connection(&same);
}

#[track_caller]
fn assert_one_connection(daemon: &Daemon) {
    daemon.await_metric(CONNECTIONS, &[API], 1.0);
    assert_nothing_held(daemon);
}

#[test]
fn a_hedge_needs_a_free_slot() {
    let gate = Gate::new();
    let upstreams: [_; 2] = several([held(&gate)]);
    let full = "bulkhead = { max_requests = 1, max_queued = 9, queue_timeout = \"50s\" }";
    let daemon = daemon(&upstreams, SOON, full);
    check_skipped(&upstreams, &gate, &daemon, "GET", "bulkhead");
}

#[test]
fn a_hedge_does_not_wait_for_a_connection() {
    let gate = Gate::new();
    let upstreams: [_; 2] = several([held(&gate)]);
    let one = "bulkhead = { max_connections = 1 }";
    let daemon = daemon(&upstreams, SOON, one);
    let mut client = ask(&daemon, "GET");
    assert_skipped(&daemon, "pool", 1.0);
    gate.open();
    let response = client.response("GET").expect("a whole response");
    assert_eq!(response.status, 200);
    assert_eq!(response.text(), "first");
    assert_eq!(hits(&upstreams), 1);
    assert_nothing_held(&daemon);
}

#[test]
fn a_hedge_is_paid_for() {
    const BALANCE: &str = "outrigger_retry_budget_balance";
    let gate = Gate::new();
    let upstreams: [_; 2] = several([held(&gate)]);
    let nothing = "retry = { budget = { ratio = 0, min_per_second = 0 } }";
    let poor = daemon(&upstreams, SOON, nothing);
    check_skipped(&upstreams, &gate, &poor, "GET", "budget");

    let upstreams: [_; 2] = several([late(), reply(200, "hedge")]);
    let some = "retry = { budget = { ratio = 1, min_per_second = 1, window = \"60s\" } }";
    let rich = daemon(&upstreams, SOON, some);
    rich.await_metric(BALANCE, &[API], 60.0);
    assert_eq!(call(&rich, "GET", b"").text(), "hedge");
    rich.await_metric(BALANCE, &[API], 60.0);
    assert_eq!(call(&rich, "GET", b"").text(), "hedge");
    rich.await_metric(BALANCE, &[API], 61.0);
}

fn operate(daemon: &Daemon, operation: &str) {
    let target = format!("/upstreams/api/breaker/{operation}");
    let mut admin = Client::connect(daemon.address("admin"));
    let response = admin.call("POST", &target, &[("host", "localhost")], b"");
    assert_eq!(response.expect("a whole response").status, 200);
}

#[test]
fn a_probe_is_one_call() {
    let gate = Gate::new();
    let upstreams: [_; 2] = several([reply(500, "broken"), held(&gate)]);
    let breaker = "breaker = { consecutive_failures = 1, open_for = \"60s\" }";
    let daemon = daemon(&upstreams, SOON, breaker);
    assert_eq!(call(&daemon, "GET", b"").status, 500);
    await_breaker(&daemon, "open");
    operate(&daemon, "probe");
    await_breaker(&daemon, "half_open");
    let mut client = ask(&daemon, "GET");
    assert_skipped(&daemon, "half_open", 1.0);
    gate.open();
    let response = client.response("GET").expect("a whole response");
    assert_eq!(response.text(), "first");
    assert_eq!(hits(&upstreams), 2);
    assert_hedged(&daemon, 0.0, 0.0);
    assert_nothing_held(&daemon);
}

#[test]
fn nothing_is_hedged_while_the_breaker_is_open() {
    let gate = Gate::new();
    let upstreams: [_; 2] = several([held(&gate)]);
    let daemon = daemon(&upstreams, "delay = \"3s\"", "");
    let mut client = ask(&daemon, "GET");
    daemon.await_metric(IN_FLIGHT, &[API], 1.0);
    operate(&daemon, "open?for=60s");
    assert_skipped(&daemon, "breaker", 1.0);
    gate.open();
    let response = client.response("GET").expect("a whole response");
    assert_eq!(response.text(), "first");
    assert_eq!(hits(&upstreams), 1);
}

#[test]
fn an_attempt_that_fails_is_followed_at_once() {
    let broken = then(send(""), Step::Reset);
    for first in [reply(503, "first"), broken] {
        let upstreams: [_; 2] = several([first, reply(200, "hedge")]);
        let daemon = daemon(&upstreams, NEVER, "");
        assert_eq!(call(&daemon, "GET", b"").text(), "hedge");
        assert_hedged(&daemon, 1.0, 1.0);
        daemon.await_metric(BREAKER_CALLS, &[API, ("verdict", "failure")], 1.0);
        daemon.await_metric(RETRIES, &[API], 0.0);
        assert_nothing_held(&daemon);
    }
    let refusing = Refusing::start();
    let upstream = Upstream::answering("fine");
    let settings = format!(
        "hedge = {{ {NEVER} }}\n{PATIENT}balance = {{ policy = \"round_robin\" }}\n\
         breaker = {{ mode = \"off\" }}"
    );
    let daemon = Daemon::proxying(&[refusing.url(), upstream.url()], &settings);
    for _ in 0..4 {
        assert_eq!(call(&daemon, "GET", b"").text(), "fine");
    }
    let hedges = daemon.metric(HEDGES, &[API]);
    assert!(hedges >= 1.0, "{hedges}");
}

#[test]
fn if_all_fail_the_last_failure_is_the_answer() {
    let upstreams: [_; 3] = several([reply(503, "first"), reply(502, "hedge")]);
    let daemon = daemon(&upstreams, NEVER, "");
    let response = call(&daemon, "GET", b"");
    assert_eq!((response.status, response.text().as_str()), (502, "hedge"));
    assert_eq!(hits(&upstreams), 2, "nothing follows it");
    daemon.await_metric(RETRIES, &[API], 0.0);
    assert_nothing_held(&daemon);

    let one: [_; 1] = several([reply(503, "first"), reply(200, "no")]);
    let alone = self::daemon(&one, NEVER, "");
    assert_eq!(call(&alone, "GET", b"").text(), "first");
    assert_skipped(&alone, "no_endpoint", 1.0);
}

#[test]
fn a_failure_that_is_not_listed_wins_as_well() {
    let upstreams: [_; 2] = several([late(), reply(500, "hedge")]);
    let daemon = daemon(&upstreams, SOON, "");
    let response = call(&daemon, "GET", b"");
    assert_eq!((response.status, response.text().as_str()), (500, "hedge"));
    assert_hedged(&daemon, 1.0, 1.0);
}

#[test]
fn a_failed_hedge_leaves_the_first_attempt_alone() {
    let gate = Gate::new();
    let upstreams: [_; 2] = several([held(&gate), reply(503, "hedge")]);
    let daemon = daemon(&upstreams, SOON, "");
    let mut client = ask(&daemon, "GET");
    daemon.await_metric(ATTEMPTS, &[API, ("verdict", "failure")], 1.0);
    gate.open();
    let response = client.response("GET").expect("a whole response");
    assert_eq!(response.text(), "first");
    assert_hedged(&daemon, 1.0, 0.0);
    assert_nothing_held(&daemon);
}

#[test]
fn there_are_as_many_hedges_as_configured() {
    let upstreams: [_; 4] = several([late(), late(), reply(200, "hedge")]);
    let two = daemon(&upstreams, &format!("{SOON}, max_hedges = 2"), "");
    assert_eq!(call(&two, "GET", b"").text(), "hedge");
    assert_eq!(hits(&upstreams), 3);
    assert_hedged(&two, 2.0, 1.0);
    assert_one_connection(&two);

    let upstreams: [_; 4] = several([reply(503, "1"), reply(503, "2"), reply(503, "3")]);
    let two = daemon(&upstreams, &format!("{NEVER}, max_hedges = 2"), "");
    assert_eq!(call(&two, "GET", b"").text(), "3");
    assert_eq!(hits(&upstreams), 3);
}

#[test]
fn hedges_can_be_observed_and_switched_off() {
    let gate = Gate::new();
    let upstreams: [_; 2] = several([held(&gate)]);
    let observing = daemon(&upstreams, &format!("mode = \"observe\", {SOON}"), "");
    let mut client = ask(&observing, "GET");
    observing.await_metric(WOULD_HEDGE, &[API], 1.0);
    gate.open();
    let response = client.response("GET").expect("a whole response");
    assert_eq!(response.text(), "first");
    assert_eq!(hits(&upstreams), 1);
    assert_hedged(&observing, 0.0, 0.0);
    observing.await_metric(ATTEMPTS, &[API], 1.0);
    assert_nothing_held(&observing);

    let retried: [_; 2] = several([reply(503, "first"), reply(200, "retry")]);
    let retry = "retry = { mode = \"enforce\", backoff = { base = \"1ms\" } }";
    let observing = daemon(&retried, &format!("mode = \"observe\", {NEVER}"), retry);
    assert_eq!(call(&observing, "GET", b"").text(), "retry");
    observing.await_metric(RETRIES, &[API], 1.0);

    let upstreams: [_; 2] = several([reply(503, "first"), reply(200, "no")]);
    let off = daemon(&upstreams, &format!("mode = \"off\", {SOON}"), "");
    assert_eq!(call(&off, "GET", b"").text(), "first");
    assert_hedged(&off, 0.0, 0.0);
    off.await_metric(WOULD_HEDGE, &[API], 0.0);
}

#[test]
fn a_percentile_is_a_delay_once_there_are_a_hundred_samples() {
    let late = in_turn([late(), reply(200, "hedge")]);
    let gate = Gate::new();
    let own = gate.clone();
    let answers = move |call: &crate::support::upstream::Call<'_>| match call.path() {
        "/late" => late(call),
        "/held" => held(&own),
        _ => reply(200, "first"),
    };
    let upstreams = [Upstream::start(answers.clone()), Upstream::start(answers)];
    let daemon = daemon(&upstreams, "delay_percentile = 0.9", "");
    let mut client = daemon.client();
    for _ in 0..99 {
        assert_eq!(client.get("/").text(), "first");
    }
    client.request("GET", "/held", &[], b"");
    assert_skipped(&daemon, "no_delay", 100.0);
    gate.open();
    let response = client.response("GET").expect("a whole response");
    assert_eq!(response.text(), "first");
    assert_eq!(hits(&upstreams), 100);
    assert_hedged(&daemon, 0.0, 0.0);

    // The delay is so short that either attempt may arrive first.
    assert_eq!(client.get("/late").text(), "hedge");
    assert_eq!(hits(&upstreams), 102);
    daemon.await_metric(HEDGES, &[API], 1.0);
    assert_skipped(&daemon, "no_delay", 100.0);
}

#[test]
fn whoever_leaves_leaves_no_attempt_behind() {
    let upstreams: [_; 2] = several([late()]);
    let daemon = daemon(&upstreams, SOON, "");
    let client = ask(&daemon, "GET");
    daemon.await_metric(HEDGES, &[API], 1.0);
    for upstream in &upstreams {
        upstream.wait_in_progress(1);
    }
    drop(client);
    for upstream in &upstreams {
        upstream.wait_closed();
    }
    daemon.await_metric(ATTEMPTS, &[API, ("verdict", "abandoned")], 2.0);
    assert_nothing_held(&daemon);
}

#[test]
fn the_time_of_a_request_ends_all_its_attempts() {
    let upstreams: [_; 2] = several([late()]);
    let endpoints: Vec<_> = upstreams.iter().map(Upstream::url).collect();
    let settings =
        format!("hedge = {{ {SOON} }}\ntimeouts = {{ first_byte = \"50s\", request = \"3s\" }}");
    let daemon = Daemon::proxying(&endpoints, &settings);
    assert_row(&call(&daemon, "GET", b""), ProxyError::Deadline);
    assert_eq!(hits(&upstreams), 2);
    for upstream in &upstreams {
        upstream.wait_closed();
    }
    assert_nothing_held(&daemon);
}

#[test]
fn an_observing_breaker_lets_hedges_go() {
    let gate = Gate::new();
    let upstreams: [_; 2] = several([late(), reply(200, "hedge")]);
    let daemon = daemon(
        &upstreams,
        SOON,
        "breaker = { mode = \"observe\", min_calls = 1, consecutive_failures = 1, slow_call = \"10ms\" }",
    );
    assert_eq!(call(&daemon, "GET", b"").text(), "hedge");
    gate.open();
}

#[test]
fn observed_hedges_take_nothing_from_retries() {
    let slow = vec![
        Step::ReadBody,
        Step::Delay(std::time::Duration::from_millis(300)),
        Step::Send(message(503, "no")),
    ];
    let upstreams: [_; 2] = several([slow]);
    let daemon = daemon(
        &upstreams,
        "mode = \"observe\", delay = \"20ms\"",
        "retry = { mode = \"enforce\", retries = 1, budget = { ratio = 1.0, min_per_second = 0 } }",
    );
    let response = call(&daemon, "GET", b"");
    assert_eq!(hits(&upstreams), 2, "{response:?}");
}

#[test]
fn pushback_forbids_hedges() {
    let upstreams: [_; 2] = several([send(
        "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-status: 14\r\ngrpc-retry-pushback-ms: -1\r\ncontent-length: 0\r\n\r\n",
    )]);
    let daemon = daemon(&upstreams, NEVER, "");
    let fields = [("content-type", "application/grpc")];
    let response = daemon.client().call("GET", "/", &fields, b"");
    assert_eq!(hits(&upstreams), 1, "{response:?}");
}
