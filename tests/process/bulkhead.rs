//! So many at the upstream, so many waiting, the rest refused at once; and a cap on connections.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use outrigger::proxy::error::ProxyError;

use crate::expect::{
    API, BREAKER_CALLS, CONNECTIONS, IN_FLIGHT, QUEUED, WOULD_REJECT, assert_nothing_held,
    assert_replies, assert_row, await_breaker,
};
use crate::support::client::{Client, Response};
use crate::support::daemon::Daemon;
use crate::support::gate::Gate;
use crate::support::upstream::{Step, Upstream, message, reply, send};

const NO_TIMERS: &str = "timeouts = { first_byte = \"50s\", request = \"50s\" }\n";
const NO_BREAKER: &str = "breaker = { mode = \"off\" }\n";

/// One upstream behind this bulkhead, no breaker and no timer in the way.
fn daemon(upstream: &Upstream, bulkhead: &str, more: &str) -> Daemon {
    let settings = format!("bulkhead = {{ {bulkhead} }}\n{NO_TIMERS}{NO_BREAKER}{more}");
    Daemon::proxying(&[upstream.url()], &settings)
}

/// Sends one GET on a connection of its own and leaves the answer for later.
fn ask(daemon: &Daemon, target: &str) -> Client {
    let mut client = daemon.client();
    client.request("GET", target, &[], b"");
    client
}

#[track_caller]
fn answer(client: &mut Client) -> Response {
    client.response("GET").expect("a whole response")
}

fn ten_calls_with_workers(workers: usize) {
    let gate = Gate::new();
    let upstream = Upstream::gated(&gate);
    let bulkhead = "max_requests = 4, max_queued = 2, queue_timeout = \"50s\"";
    let daemon = daemon(
        &upstream,
        bulkhead,
        &format!("[runtime]\nworkers = {workers}"),
    );

    let (answers, answered) = mpsc::channel();
    for _ in 0..10 {
        let (address, answers) = (daemon.api(), answers.clone());
        thread::spawn(move || drop(answers.send(Client::connect(address).get("/"))));
    }
    for _ in 0..4 {
        let refused = answered.recv().expect("an answer");
        assert_row(&refused, ProxyError::BulkheadFull);
    }
    upstream.wait_in_progress(4);
    daemon.await_metric(IN_FLIGHT, &[API], 4.0);
    daemon.await_metric(QUEUED, &[API], 2.0);
    assert_eq!(upstream.seen().requests.len(), 4);

    gate.open();
    for _ in 0..6 {
        let response = answered.recv().expect("an answer");
        assert_eq!(response.status, 200, "{response:?}");
    }
    let seen = upstream.seen();
    assert_eq!((seen.requests.len(), seen.max_in_progress), (6, 4));
    assert_replies(&daemon, ProxyError::BulkheadFull, 4.0);
    assert_nothing_held(&daemon);
}

#[test]
fn of_ten_calls_four_are_served_two_wait_and_four_are_refused_by_one_worker() {
    ten_calls_with_workers(1);
}

#[test]
fn of_ten_calls_four_are_served_two_wait_and_four_are_refused_by_two_workers() {
    ten_calls_with_workers(2);
}

#[test]
fn of_ten_calls_four_are_served_two_wait_and_four_are_refused_by_four_workers() {
    ten_calls_with_workers(4);
}

#[test]
fn waiters_are_served_in_the_order_of_their_coming() {
    let gate = Gate::new();
    let upstream = Upstream::gated(&gate);
    let bulkhead = "max_requests = 1, max_queued = 4, queue_timeout = \"50s\"";
    let daemon = daemon(&upstream, bulkhead, "[runtime]\nworkers = 2");
    let mut clients = vec![ask(&daemon, "/0")];
    upstream.wait_in_progress(1);
    for (waiting, target) in ["/1", "/2", "/3", "/4"].into_iter().enumerate() {
        clients.push(ask(&daemon, target));
        daemon.await_metric(QUEUED, &[API], (waiting + 1) as f64);
    }
    gate.open();
    for client in &mut clients {
        assert_eq!(answer(client).status, 200);
    }
    let seen = upstream.seen();
    assert_eq!(seen.targets(), ["/0", "/1", "/2", "/3", "/4"]);
    assert_eq!(seen.max_in_progress, 1);
    assert_nothing_held(&daemon);
}

#[test]
fn a_waiter_gives_up_after_the_queue_timeout() {
    let gate = Gate::new();
    let upstream = Upstream::gated(&gate);
    let bulkhead = "max_requests = 1, max_queued = 1, queue_timeout = \"200ms\"";
    let daemon = daemon(&upstream, bulkhead, "");
    let mut first = ask(&daemon, "/first");
    upstream.wait_in_progress(1);
    assert_row(&daemon.client().get("/late"), ProxyError::QueueTimeout);
    assert_replies(&daemon, ProxyError::QueueTimeout, 1.0);
    gate.open();
    assert_eq!(answer(&mut first).status, 200);
    assert_eq!(upstream.seen().targets(), ["/first"]);
    assert_nothing_held(&daemon);
}

#[test]
fn a_waiter_that_leaves_makes_room_and_is_never_served() {
    let gate = Gate::new();
    let upstream = Upstream::gated(&gate);
    let bulkhead = "max_requests = 1, max_queued = 1, queue_timeout = \"50s\"";
    let daemon = daemon(&upstream, bulkhead, "");
    let mut first = ask(&daemon, "/first");
    upstream.wait_in_progress(1);
    let leaves = ask(&daemon, "/leaves");
    daemon.await_metric(QUEUED, &[API], 1.0);
    drop(leaves);
    daemon.await_metric(QUEUED, &[API], 0.0);
    let mut stays = ask(&daemon, "/stays");
    daemon.await_metric(QUEUED, &[API], 1.0);
    gate.open();
    assert_eq!(
        (answer(&mut first).status, answer(&mut stays).status),
        (200, 200)
    );
    assert_eq!(upstream.seen().targets(), ["/first", "/stays"]);
    assert_nothing_held(&daemon);
}

#[test]
fn a_slot_is_held_until_the_response_body_ends() {
    let gate = Gate::new();
    let begun = send("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf");
    let rest = [Step::Await(gate.clone()), Step::Send(b"done".to_vec())];
    let steps = [begun, rest.to_vec()].concat();
    let upstream = Upstream::start(move |_| steps.clone());
    let daemon = daemon(&upstream, "max_requests = 1, max_queued = 0", "");
    let mut streaming = ask(&daemon, "/");
    streaming.head();
    assert_row(&daemon.client().get("/"), ProxyError::BulkheadFull);
    gate.open();
    assert_eq!(streaming.exactly(8), Ok(b"halfdone".to_vec()));
    assert_nothing_held(&daemon);
    assert_eq!(daemon.client().get("/").text(), "halfdone");
}

#[test]
fn a_storm_of_refusals_is_no_evidence_against_the_upstream() {
    let gate = Gate::new();
    let upstream = Upstream::gated(&gate);
    let settings = format!(
        "bulkhead = {{ max_requests = 1, max_queued = 0 }}\n{NO_TIMERS}\
         breaker = {{ min_calls = 1, consecutive_failures = 1, slow_call = \"50s\" }}"
    );
    let daemon = Daemon::proxying(&[upstream.url()], &settings);
    let mut first = ask(&daemon, "/");
    upstream.wait_in_progress(1);
    let mut refused = daemon.client();
    for _ in 0..30 {
        assert_row(&refused.get("/"), ProxyError::BulkheadFull);
    }
    await_breaker(&daemon, "closed");
    daemon.await_metric(BREAKER_CALLS, &[API, ("verdict", "failure")], 0.0);
    gate.open();
    assert_eq!(answer(&mut first).status, 200);
    assert_nothing_held(&daemon);
}

#[test]
fn an_observing_bulkhead_lets_all_pass_and_counts() {
    let gate = Gate::new();
    let upstream = Upstream::gated(&gate);
    let bulkhead = "mode = \"observe\", max_requests = 1, max_queued = 0";
    let daemon = daemon(&upstream, bulkhead, "");
    let mut clients: Vec<_> = (0..3).map(|_| ask(&daemon, "/")).collect();
    upstream.wait_in_progress(3);
    daemon.await_metric(WOULD_REJECT, &[API], 2.0);
    gate.open();
    for client in &mut clients {
        assert_eq!(answer(client).status, 200);
    }
    assert_nothing_held(&daemon);
}

fn two_hundred_calls_with_workers(workers: usize) {
    let upstream = Upstream::start(|_| {
        let answer = message(200, "x");
        vec![
            Step::ReadBody,
            Step::Delay(Duration::from_millis(5)),
            Step::Send(answer),
        ]
    });
    let bulkhead = "max_requests = 200, max_connections = 8, queue_timeout = \"50s\"";
    let daemon = daemon(
        &upstream,
        bulkhead,
        &format!("[runtime]\nworkers = {workers}"),
    );
    let calls: Vec<_> = (0..200)
        .map(|_| {
            let address = daemon.api();
            thread::spawn(move || Client::connect(address).get("/").status)
        })
        .collect();
    for call in calls {
        assert_eq!(call.join().expect("a whole response"), 200);
    }
    let seen = upstream.seen();
    assert_eq!(seen.requests.len(), 200);
    assert!(
        seen.max_open <= 8,
        "{} connections were open at once",
        seen.max_open
    );
    assert_nothing_held(&daemon);
}

#[test]
fn two_hundred_calls_open_no_more_than_max_connections_by_one_worker() {
    two_hundred_calls_with_workers(1);
}

#[test]
fn two_hundred_calls_open_no_more_than_max_connections_by_four_workers() {
    two_hundred_calls_with_workers(4);
}

#[test]
fn no_connection_in_time_is_ours_and_no_evidence_against_the_upstream() {
    let gate = Gate::new();
    let upstream = Upstream::gated(&gate);
    let settings = format!(
        "bulkhead = {{ max_requests = 9, max_connections = 1, queue_timeout = \"200ms\" }}\n\
         {NO_TIMERS}breaker = {{ min_calls = 1, consecutive_failures = 1, slow_call = \"50s\" }}"
    );
    let daemon = Daemon::proxying(&[upstream.url()], &settings);
    let mut first = ask(&daemon, "/first");
    upstream.wait_in_progress(1);
    assert_row(&daemon.client().get("/late"), ProxyError::PoolFull);
    assert_replies(&daemon, ProxyError::PoolFull, 1.0);
    await_breaker(&daemon, "closed");
    gate.open();
    assert_eq!(answer(&mut first).status, 200);
    assert_eq!(upstream.seen().targets(), ["/first"]);
    assert_nothing_held(&daemon);
}

#[test]
fn an_idle_connection_of_another_worker_is_used_at_the_cap() {
    let upstream = Upstream::start(|_| reply(200, "x"));
    let bulkhead = "max_requests = 9, max_connections = 1, queue_timeout = \"50s\"";
    let daemon = daemon(&upstream, bulkhead, "[runtime]\nworkers = 4");
    // Kept open, so that each later one goes to a worker with fewer.
    let mut clients: Vec<_> = (0..8).map(|_| daemon.client()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!(upstream.seen().max_open, 1);
    daemon.await_metric(CONNECTIONS, &[API], 1.0);
}
