//! So many requests in so much time: at once, after a wait, or refused before anybody is asked.
//!
//! Where a test counts tokens, the next one is an hour away.

use std::thread;
use std::time::Duration;

use outrigger::proxy::error::ProxyError;

use crate::expect::{
    API, BREAKER_CALLS, LOCAL_REPLIES, assert_nothing_held, assert_replies, assert_row,
};
use crate::support::client::{Client, Response};
use crate::support::daemon::{Daemon, await_until};
use crate::support::upstream::{Upstream, reply};

const REJECTED: &str = "outrigger_rate_limit_rejected_total";
const WOULD_REJECT: &str = "outrigger_rate_limit_would_reject_total";
const DELAYED: &str = "outrigger_rate_limit_delayed_total";
const WAITS: &str = "outrigger_rate_limit_wait_seconds_count";
const TOKENS: &str = "outrigger_rate_limit_tokens";

const LIMITED: ProxyError = ProxyError::RateLimited {
    retry_after: Duration::ZERO,
};

/// One upstream behind this rate limit, with a breaker that the least failure would open.
fn daemon(upstream: &Upstream, rate_limit: &str, more: &str) -> Daemon {
    let settings = format!(
        "rate_limit = {{ {rate_limit} }}\n\
         breaker = {{ min_calls = 1, consecutive_failures = 1, slow_call = \"off\" }}\n{more}"
    );
    Daemon::proxying(&[upstream.url()], &settings)
}

#[track_caller]
fn assert_limited(response: &Response) {
    assert_row(response, LIMITED);
    assert_eq!(response.status, 429);
}

/// `Retry-After`, in seconds.
fn retry_after(response: &Response) -> u64 {
    let field = response.field("retry-after");
    let field = field.unwrap_or_else(|| panic!("{response:?}"));
    field.parse().expect("a number of seconds")
}

fn statuses(client: &mut Client, count: usize) -> Vec<u16> {
    (0..count).map(|_| client.get("/").status).collect()
}

#[test]
fn a_burst_passes_and_the_next_is_refused_unsent() {
    let upstream = Upstream::answering("x");
    let daemon = daemon(&upstream, "rate = 1, per = \"1h\", burst = 3", "");
    let mut client = daemon.client();
    assert_eq!(statuses(&mut client, 3), [200; 3]);
    for _ in 0..5 {
        let refused = client.get("/");
        assert_limited(&refused);
        // With `per` at its default it would be 1.
        let after = retry_after(&refused);
        assert!((60..=3600).contains(&after), "{after}");
    }
    assert_eq!(upstream.seen().requests.len(), 3);
    daemon.await_metric(REJECTED, &[API], 5.0);
    assert_replies(&daemon, LIMITED, 5.0);
    daemon.await_metric(BREAKER_CALLS, &[API], 3.0);
    daemon.await_metric(BREAKER_CALLS, &[API, ("verdict", "success")], 3.0);
    assert!(daemon.metric(TOKENS, &[API]) < 1.0);
    daemon.await_metric(DELAYED, &[API], 0.0);
    assert_nothing_held(&daemon);
}

#[test]
fn a_wait_of_less_than_a_second_is_told_as_one() {
    let upstream = Upstream::answering("x");
    let daemon = daemon(&upstream, "rate = 1, per = \"1s\", burst = 1", "");
    let mut client = daemon.client();
    let refused = loop {
        let response = client.get("/");
        if response.status != 200 {
            break response;
        }
    };
    assert_limited(&refused);
    assert_eq!(retry_after(&refused), 1);
}

#[test]
fn a_grpc_call_is_told_that_a_resource_is_exhausted() {
    let upstream = Upstream::answering("x");
    let daemon = daemon(&upstream, "rate = 1, per = \"1h\"", "");
    let mut client = daemon.client();
    assert_eq!(client.get("/").status, 200);
    let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
    let refused = client.call("POST", "/a.B/C", &grpc, b"");
    let refused = refused.expect("a whole response");
    assert_eq!(
        (refused.status, refused.field("grpc-status")),
        (200, Some("8"))
    );
}

#[test]
fn without_a_burst_it_is_the_rate() {
    let upstream = Upstream::answering("x");
    let daemon = daemon(&upstream, "rate = 2, per = \"1h\"", "");
    assert_eq!(statuses(&mut daemon.client(), 4), [200, 200, 429, 429]);
}

#[test]
fn the_limit_is_one_for_all_workers() {
    let upstream = Upstream::answering("x");
    let limit = "rate = 1, per = \"1h\", burst = 7";
    let daemon = daemon(&upstream, limit, "[runtime]\nworkers = 4");
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let address = daemon.api();
            thread::spawn(move || Client::connect(address).get("/").status)
        })
        .collect();
    let mut answers: Vec<_> = calls
        .into_iter()
        .map(|call| call.join().expect("a whole response"))
        .collect();
    answers.sort_unstable();
    assert_eq!(answers, [[200; 7].as_slice(), &[429; 13]].concat());
    assert_eq!(upstream.seen().requests.len(), 7);
}

#[test]
fn a_request_may_wait_for_its_turn() {
    let upstream = Upstream::answering("x");
    let limit = "rate = 1, per = \"300ms\", burst = 1, max_wait = \"9s\"";
    let daemon = daemon(&upstream, limit, "");
    let mut clients: Vec<_> = (0..4).map(|_| daemon.client()).collect();
    for client in &mut clients {
        client.request("GET", "/", &[], b"");
    }
    for client in &mut clients {
        let response = client.response("GET").expect("a whole response");
        assert_eq!(response.status, 200);
    }
    let delayed = daemon.metric(DELAYED, &[API]);
    assert!(delayed >= 1.0, "{delayed}");
    daemon.await_metric(WAITS, &[API], delayed);
    daemon.await_metric(REJECTED, &[API], 0.0);
    assert_eq!(upstream.seen().requests.len(), 4);
    assert_nothing_held(&daemon);
}

#[test]
fn a_wait_beyond_the_limit_or_the_deadline_is_refused_at_once() {
    for (max_wait, request) in [("1s", "off"), ("1h", "9s")] {
        let upstream = Upstream::answering("x");
        let limit = format!("rate = 1, per = \"1h\", burst = 1, max_wait = \"{max_wait}\"");
        let timeouts = format!("timeouts = {{ request = \"{request}\" }}");
        let daemon = daemon(&upstream, &limit, &timeouts);
        let mut client = daemon.client();
        assert_eq!(client.get("/").status, 200);
        assert_limited(&client.get("/"));
        daemon.await_metric(REJECTED, &[API], 1.0);
        daemon.await_metric(DELAYED, &[API], 0.0);
        daemon.await_metric(WAITS, &[API], 0.0);
    }
}

#[test]
fn a_waiter_that_leaves_gives_its_token_back_and_holds_no_slot() {
    let upstream = Upstream::answering("x");
    let limit = "rate = 1, per = \"1h\", burst = 1, max_wait = \"90m\"";
    let daemon = daemon(&upstream, limit, "timeouts = { request = \"off\" }");
    assert_eq!(daemon.client().get("/").status, 200);
    let owed = || daemon.metric(TOKENS, &[API]) < -0.5;
    assert!(!owed());
    // There is room for one waiter: with a token lost, the second would be refused.
    for left in 1..=3 {
        let mut waits = daemon.client();
        waits.request("GET", "/", &[], b"");
        daemon.await_metric(DELAYED, &[API], f64::from(left));
        await_until("a token is owed", owed);
        assert_limited(&daemon.client().get("/"));
        assert_nothing_held(&daemon);
        drop(waits);
        let gone = ("reason", "client_gone");
        daemon.await_metric(LOCAL_REPLIES, &[gone], f64::from(left));
        await_until("the token is back", || !owed());
    }
    daemon.await_metric(WAITS, &[API], 0.0);
    assert_eq!(upstream.seen().requests.len(), 1);
}

#[test]
fn an_observing_limit_lets_all_pass_and_counts() {
    let upstream = Upstream::answering("x");
    let limit = "mode = \"observe\", rate = 1, per = \"1h\", burst = 2";
    let daemon = daemon(&upstream, limit, "");
    assert_eq!(statuses(&mut daemon.client(), 5), [200; 5]);
    daemon.await_metric(WOULD_REJECT, &[API], 3.0);
    daemon.await_metric(REJECTED, &[API], 0.0);
    assert_eq!(upstream.seen().requests.len(), 5);
}

#[test]
fn an_inherited_limit_is_taken_away() {
    let upstream = Upstream::answering("x");
    let config = format!(
        r#"
[defaults]
rate_limit = {{ rate = 1, per = "1h" }}
[upstreams.limited]
listen = "127.0.0.1:0"
endpoints = ["{url}"]
[upstreams.free]
listen = "127.0.0.1:0"
endpoints = ["{url}"]
rate_limit = false
[upstreams.off]
listen = "127.0.0.1:0"
endpoints = ["{url}"]
rate_limit = {{ mode = "off" }}
[upstreams.wider]
listen = "127.0.0.1:0"
endpoints = ["{url}"]
rate_limit = {{ burst = 2 }}
"#,
        url = upstream.url()
    );
    let daemon = Daemon::start(&config);
    for (name, expected) in [
        ("limited", [200, 429, 429, 429]),
        ("free", [200; 4]),
        ("off", [200; 4]),
        ("wider", [200, 200, 429, 429]),
    ] {
        let mut client = Client::connect(daemon.address(name));
        assert_eq!(statuses(&mut client, 4), expected, "{name}");
    }
    let samples = daemon.scrape();
    let mut limited: Vec<_> = samples
        .iter()
        .filter(|sample| sample.name == TOKENS)
        .flat_map(|sample| sample.labels.iter().map(|(_, value)| value.as_str()))
        .collect();
    limited.sort_unstable();
    assert_eq!(limited, ["limited", "wider"]);
}

#[test]
fn a_request_is_charged_once_whatever_its_retries() {
    let upstream = Upstream::start(|_| reply(503, "busy"));
    let settings = "rate_limit = { rate = 1, per = \"1h\", burst = 2 }\n\
                    breaker = { mode = \"off\" }\n\
                    retry = { mode = \"enforce\", retries = 2 }";
    let daemon = Daemon::proxying(&[upstream.url()], settings);
    let mut client = daemon.client();
    assert_eq!(statuses(&mut client, 4), [503, 503, 429, 429]);
    assert_eq!(upstream.seen().requests.len(), 6);
}
