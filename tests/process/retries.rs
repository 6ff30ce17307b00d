//! What is tried again, what is not, and what the caller gets in the end.

use outrigger::proxy::error::ProxyError;

use crate::expect::{
    API, ATTEMPTS, RETRIES, RETRIES_DENIED, assert_denied, assert_nothing_held, assert_retried,
    assert_row, await_breaker,
};
use crate::support::client::{Client, Response};
use crate::support::daemon::Daemon;
use crate::support::dead::Refusing;
use crate::support::gate::Gate;
use crate::support::upstream::{Step, Upstream, in_turn, message, reply, send, then};

/// No timer and no breaker in the way, and hardly a wait.
const FAST: &str = "timeouts = { first_byte = \"50s\", request = \"50s\" }\n\
                    breaker = { mode = \"off\" }\n\
                    ejection = { mode = \"off\" }\n";

/// One upstream with these settings of its retries, and these further lines.
fn daemon_with(upstream: &Upstream, retry: &str, more: &str) -> Daemon {
    Daemon::proxying(&[upstream.url()], &format!("{}{more}", settings(retry)))
}

pub(crate) fn daemon(upstream: &Upstream, retry: &str) -> Daemon {
    daemon_with(upstream, retry, FAST)
}

fn settings(retry: &str) -> String {
    let backoff = if retry.contains("backoff") {
        ""
    } else {
        ", backoff = { base = \"1ms\" }"
    };
    format!("retry = {{ mode = \"enforce\"{backoff}{retry} }}\n")
}

pub(crate) fn call(
    daemon: &Daemon,
    method: &str,
    fields: &[(&str, &str)],
    body: &[u8],
) -> Response {
    let response = daemon.client().call(method, "/", fields, body);
    response.expect("a whole response")
}

/// A 503 with these fields.
fn unavailable(fields: &str) -> Vec<Step> {
    send(format!(
        "HTTP/1.1 503 Scripted\r\ncontent-length: 5\r\n{fields}\r\nfirst"
    ))
}

/// The first attempt gets 503 with these fields, the next one 200.
pub(crate) fn passing(fields: &str) -> Upstream {
    Upstream::start(in_turn([unavailable(fields), reply(200, "second")]))
}

/// A request by `method` is answered with this status after so many attempts.
#[track_caller]
fn check(retry: &str, first: Vec<Step>, method: &str, status: u16, hits: usize) -> Daemon {
    let upstream = Upstream::start(in_turn([first, reply(200, "second")]));
    let daemon = daemon(&upstream, retry);
    let response = call(&daemon, method, &[], b"");
    assert_eq!(response.status, status, "{retry} {response:?}");
    assert_eq!(upstream.seen().requests.len(), hits, "{retry}");
    assert_nothing_held(&daemon);
    daemon
}

#[test]
fn what_was_answered_is_sent_again_only_where_that_is_safe() {
    for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"] {
        let daemon = check("", reply(503, ""), method, 200, 2);
        assert_retried(&daemon, "status", 1.0);
        daemon.await_metric(ATTEMPTS, &[API, ("verdict", "failure")], 1.0);
        let line = daemon.await_access("the request", |_| true);
        assert_eq!(
            (&line["attempts"], &line["status"]),
            (&2.into(), &200.into())
        );
    }
    for method in ["POST", "PATCH", "PURGE"] {
        let daemon = check("", reply(503, ""), method, 503, 1);
        assert_denied(&daemon, "unsafe", 1.0);
        daemon.await_metric(RETRIES, &[API], 0.0);
    }
}

#[test]
fn non_idempotent_requests_are_sent_again_where_that_is_said_to_be_safe() {
    let retry = ", non_idempotent = true";
    let upstream = passing("");
    let daemon = daemon(&upstream, retry);
    let response = call(&daemon, "POST", &[], b"a body");
    assert_eq!(response.text(), "second");
    let seen = upstream.seen().requests;
    assert_eq!((seen.len(), &*seen[1].body), (2, &b"a body"[..]));
}

#[test]
fn a_refused_connect_is_tried_at_another_endpoint_whatever_the_method() {
    let refusing = Refusing::start();
    let upstream = Upstream::answering("x");
    let endpoints = [refusing.url(), upstream.url()];
    let more = format!(
        "{}{FAST}balance = {{ policy = \"round_robin\" }}",
        settings("")
    );
    let daemon = Daemon::proxying(&endpoints, &more);
    for round in 0..10 {
        let method = ["GET", "POST"][round % 2];
        assert_eq!(call(&daemon, method, &[], b"body").text(), "x");
    }
    let seen = upstream.seen();
    assert_eq!(seen.requests.len(), 10);
    assert!(seen.requests.iter().all(|request| request.body == b"body"));
    let retried = daemon.metric(RETRIES, &[API, ("reason", "not_sent")]);
    assert!(retried >= 1.0, "{retried}");
    daemon.await_metric(ATTEMPTS, &[API], 10.0 + retried);
    assert_nothing_held(&daemon);
}

#[test]
fn a_connection_that_breaks_before_the_head_is_tried_again_if_idempotent() {
    let broken = || then(send(""), Step::Reset);
    let daemon = check("", broken(), "GET", 200, 2);
    assert_retried(&daemon, "reset", 1.0);
    let daemon = check("", broken(), "POST", 502, 1);
    assert_denied(&daemon, "unsafe", 1.0);
    let half = then(send("HTTP/1.1 200 OK\r\n"), Step::Close);
    check("", half, "GET", 200, 2);
    let daemon = check(", on = [\"not-sent\"]", broken(), "GET", 502, 1);
    daemon.await_metric(RETRIES_DENIED, &[API], 0.0);
}

#[test]
fn an_attempt_without_an_answer_is_tried_again_only_if_asked_for() {
    let impatient = "timeouts = { first_byte = \"2s\", request = \"50s\" }\n\
                     breaker = { mode = \"off\" }";
    for (retry, status, hits) in [("", 504, 1), (", on = [\"timeout\"]", 200, 2)] {
        let upstream = Upstream::start(in_turn([vec![Step::Hang], reply(200, "second")]));
        let daemon = daemon_with(&upstream, retry, impatient);
        assert_eq!(call(&daemon, "GET", &[], b"").status, status, "{retry}");
        assert_eq!(upstream.seen().requests.len(), hits, "{retry}");
        assert_retried(&daemon, "timeout", hits as f64 - 1.0);
        assert_nothing_held(&daemon);
    }
}

#[test]
fn which_statuses_are_tried_again_is_configured() {
    let listed = ", on = [\"429\", 404, \"520-529\"]";
    for (status, hits) in [
        (429, 2),
        (404, 2),
        (519, 1),
        (520, 2),
        (529, 2),
        (530, 1),
        (503, 1),
    ] {
        let expected = if hits == 2 { 200 } else { status };
        check(listed, reply(status, ""), "GET", expected, hits);
    }
    for (status, hits) in [(500, 1), (502, 2), (504, 2), (429, 1)] {
        let expected = if hits == 2 { 200 } else { status };
        check("", reply(status, ""), "GET", expected, hits);
    }
}

#[test]
fn there_are_as_many_retries_as_configured_and_the_last_answer_counts() {
    let answers = || {
        let failures = [reply(503, "1"), reply(502, "2"), reply(504, "3")];
        let [first, second, third] = failures;
        Upstream::start(in_turn([first, second, third, reply(503, "4")]))
    };
    for (retry, hits, status) in [
        (", retries = 0", 1, 503),
        ("", 2, 502),
        (", retries = 3", 4, 503),
    ] {
        let upstream = answers();
        let daemon = daemon(&upstream, retry);
        let response = call(&daemon, "GET", &[], b"");
        assert_eq!(response.status, status, "{retry}");
        assert_eq!(response.text(), hits.to_string(), "{retry}");
        assert_eq!(response.field("proxy-status"), None, "it is not ours");
        assert_eq!(upstream.seen().requests.len(), hits, "{retry}");
        assert_retried(&daemon, "status", hits as f64 - 1.0);
        // With none to begin with, nothing was denied.
        assert_denied(&daemon, "spent", if hits > 1 { 1.0 } else { 0.0 });
        assert_nothing_held(&daemon);
    }
    let last_breaks = Upstream::start(in_turn([reply(503, "first"), then(send(""), Step::Reset)]));
    let daemon = daemon(&last_breaks, "");
    assert_row(&call(&daemon, "GET", &[], b""), ProxyError::UpstreamReset);
}

#[test]
fn retries_can_be_observed_and_switched_off() {
    let upstream = passing("");
    let daemon = Daemon::proxying(
        &[upstream.url()],
        &format!("{FAST}retry = {{ mode = \"observe\" }}"),
    );
    assert_eq!(call(&daemon, "GET", &[], b"").text(), "first");
    assert_eq!(upstream.seen().requests.len(), 1);
    daemon.await_metric("outrigger_would_retry_total", &[API], 1.0);
    daemon.await_metric(RETRIES, &[API], 0.0);

    let upstream = passing("");
    let daemon = Daemon::proxying(&[upstream.url()], &format!("{FAST}retry = false"));
    assert_eq!(call(&daemon, "GET", &[], b"").text(), "first");
    assert_eq!(upstream.seen().requests.len(), 1);
    daemon.await_metric("outrigger_would_retry_total", &[API], 0.0);
    daemon.await_metric(RETRIES_DENIED, &[API], 0.0);
}

#[test]
fn an_upstream_says_when_it_may_be_tried_again() {
    let date = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    let at = |second: u32| format!("{date}retry-after: Sun, 06 Nov 1994 08:49:{second} GMT\r\n");
    let now = ("retry-after: 0\r\n".to_owned(), "second");
    let long = ("retry-after: 3\r\n".to_owned(), "first");
    for (fields, text) in [now, long, (at(37), "second"), (at(40), "first")] {
        let upstream = passing(&fields);
        // A wait of ours would not fit.
        let own = ", backoff = { base = \"60s\", max = \"60s\", jitter = \"none\" }";
        let daemon = daemon(&upstream, own);
        assert_eq!(call(&daemon, "GET", &[], b"").text(), text, "{fields}");
        let forbidden = if text == "first" { 1.0 } else { 0.0 };
        assert_denied(&daemon, "forbidden", forbidden);
    }
    let upstream = passing("retry-after: 1\r\n");
    let short = daemon(&upstream, ", max_retry_after = \"999ms\"");
    assert_eq!(call(&short, "GET", &[], b"").text(), "first");
    assert_denied(&short, "forbidden", 1.0);
    let upstream = passing("retry-after: 1\r\n");
    let long = daemon(&upstream, ", max_retry_after = \"1s\"");
    assert_eq!(call(&long, "GET", &[], b"").text(), "second");
}

fn call_grpc(daemon: &Daemon) -> Response {
    let fields = [("content-type", "application/grpc"), ("te", "trailers")];
    call(daemon, "POST", &fields, b"\0\0\0\0\0")
}

/// A gRPC answer without a message.
fn trailers_only(status: u8, fields: &str) -> Vec<Step> {
    send(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\n\
         grpc-status: {status}\r\n{fields}\r\n"
    ))
}

#[test]
fn grpc_answers_are_tried_again_by_their_status() {
    const AGAIN: &str = ", non_idempotent = true";
    let rows = [
        ("", 14, "", "14", "unsafe"),
        (AGAIN, 14, "", "0", ""),
        (AGAIN, 8, "", "8", ""),
        (", non_idempotent = true, on_grpc = [8]", 8, "", "0", ""),
        (", non_idempotent = true, on_grpc = [8]", 14, "", "14", ""),
        (AGAIN, 14, "grpc-retry-pushback-ms: 0\r\n", "0", ""),
        (
            AGAIN,
            14,
            "grpc-retry-pushback-ms: -1\r\n",
            "14",
            "forbidden",
        ),
        (
            AGAIN,
            14,
            "grpc-retry-pushback-ms: 2001\r\n",
            "14",
            "forbidden",
        ),
    ];
    for (retry, first, fields, status, denied) in rows {
        let answers = in_turn([trailers_only(first, fields), trailers_only(0, "")]);
        let upstream = Upstream::start(answers);
        let daemon = daemon(&upstream, retry);
        let response = call_grpc(&daemon);
        let row = format!("{retry} {first} {fields}");
        assert_eq!(response.field("grpc-status"), Some(status), "{row}");
        let seen = upstream.seen().requests;
        let before = |index: usize| {
            let seen: &crate::support::upstream::Seen = &seen[index];
            seen.head.field("grpc-previous-rpc-attempts")
        };
        assert_eq!(before(0), None, "{row}");
        if status == "0" {
            assert_eq!((seen.len(), before(1)), (2, Some("1")), "{row}");
            assert_eq!(seen[1].body, b"\0\0\0\0\0", "{row}");
            assert_retried(&daemon, "grpc", 1.0);
        } else {
            assert_eq!(seen.len(), 1, "{row}");
        }
        let count = if denied.is_empty() { 0.0 } else { 1.0 };
        daemon.await_metric(RETRIES_DENIED, &[API], count);
        daemon.await_metric(RETRIES_DENIED, &[API, ("reason", denied)], count);
    }
}

/// A 503 whose body is too long to have been read before it is asked for, to be tried again after
/// so many seconds.
fn long_failure(retry_after: u32) -> (Vec<Step>, String) {
    let body = "0123456789abcdef".repeat(64 * 1024);
    let head = format!(
        "HTTP/1.1 503 Scripted\r\ncontent-length: {}\r\nretry-after: {retry_after}\r\n\
         x-kept: yes\r\n\r\n",
        body.len()
    );
    (send(head + &body), body)
}

#[track_caller]
fn assert_kept(response: &Response, body: &str) {
    assert_eq!(response.status, 503);
    assert_eq!(response.field("x-kept"), Some("yes"), "{:?}", response.head);
    assert!(response.text() == body, "{} bytes", response.body.len());
}

#[test]
fn a_wait_beyond_the_deadline_is_not_begun_and_the_answer_is_whole() {
    let (steps, body) = long_failure(10);
    let upstream = Upstream::start(in_turn([steps, reply(200, "second")]));
    let short = "timeouts = { first_byte = \"9s\", request = \"9s\" }";
    let daemon = daemon_with(&upstream, ", max_retry_after = \"10s\"", short);
    assert_kept(&call(&daemon, "GET", &[], b""), &body);
    assert_eq!(upstream.seen().requests.len(), 1);
    assert_denied(&daemon, "deadline", 1.0);
    assert_nothing_held(&daemon);
}

#[test]
fn an_open_breaker_forbids_a_retry_and_the_answer_is_whole() {
    let (steps, body) = long_failure(3);
    let upstream = Upstream::start(in_turn([steps, reply(200, "second")]));
    let breaker = "breaker = { consecutive_failures = 1, open_for = \"60s\" }";
    let daemon = daemon_with(&upstream, ", max_retry_after = \"10s\"", breaker);
    assert_kept(&call(&daemon, "GET", &[], b""), &body);
    assert_eq!(upstream.seen().requests.len(), 1);
    assert_denied(&daemon, "breaker", 1.0);
    await_breaker(&daemon, "open");
    assert_nothing_held(&daemon);
}

#[test]
fn a_breaker_that_opens_during_the_wait_forbids_the_retry() {
    let (steps, body) = long_failure(5);
    let upstream = Upstream::start(in_turn([steps, reply(200, "second")]));
    let patient = "timeouts = { first_byte = \"50s\", request = \"50s\" }";
    let daemon = daemon_with(&upstream, ", max_retry_after = \"10s\"", patient);
    let mut client = daemon.client();
    client.request("GET", "/", &[], b"");
    daemon.await_metric(ATTEMPTS, &[API, ("verdict", "failure")], 1.0);
    let local = [("host", "localhost")];
    let target = "/upstreams/api/breaker/open?for=60s";
    let opened = Client::connect(daemon.address("admin")).call("POST", target, &local, b"");
    assert_eq!(opened.expect("a whole response").status, 200);
    assert_kept(&client.response("GET").expect("a whole response"), &body);
    assert_eq!(upstream.seen().requests.len(), 1);
    assert_denied(&daemon, "breaker", 1.0);
    assert_nothing_held(&daemon);
}

const BALANCE: &str = "outrigger_retry_budget_balance";

#[test]
fn a_budget_of_nothing_allows_no_retry() {
    let upstream = passing("");
    let daemon = daemon(&upstream, ", budget = { ratio = 0, min_per_second = 0 }");
    assert_eq!(call(&daemon, "GET", &[], b"").text(), "first");
    assert_denied(&daemon, "budget", 1.0);
    daemon.await_metric(BALANCE, &[API], 0.0);
}

#[test]
fn the_budget_allows_its_share_of_the_requests_and_its_reserve() {
    const REQUESTS: usize = 80;
    for (min_per_second, reserve) in [(0, 0), (1, 60)] {
        let upstream = Upstream::start(|_| reply(503, "no"));
        let budget = format!(
            ", budget = {{ ratio = 0.2, min_per_second = {min_per_second}, window = \"60s\" }}"
        );
        let daemon = daemon(&upstream, &budget);
        daemon.await_metric(BALANCE, &[API], f64::from(reserve));
        let mut client = daemon.client();
        for _ in 0..REQUESTS {
            assert_eq!(client.get("/").text(), "no");
        }
        let retried = REQUESTS / 5 + usize::try_from(reserve).expect("a few");
        assert_eq!(upstream.seen().requests.len(), REQUESTS + retried);
        assert_retried(&daemon, "status", retried as f64);
        assert_denied(&daemon, "budget", (REQUESTS - retried) as f64);
        daemon.await_metric(BALANCE, &[API], 0.0);
    }
}

#[test]
fn what_the_budget_held_is_there_again_after_its_window() {
    let upstream = Upstream::start(|_| reply(503, "no"));
    let daemon = daemon(&upstream, ", budget = { ratio = 0, window = \"1s\" }");
    daemon.await_metric(BALANCE, &[API], 3.0);
    let mut client = daemon.client();
    let again = (0..20_000).any(|_| {
        client.get("/");
        daemon.metric(RETRIES, &[API]) >= 7.0
    });
    assert!(again, "the reserve is three a second");
}

#[test]
fn how_long_to_wait_is_configured() {
    // Whether the next wait fits the deadline tells how long it is.
    let short = "timeouts = { first_byte = \"9s\", request = \"9s\" }\n\
                 breaker = { mode = \"off\" }";
    for (backoff, hits) in [
        ("base = \"1ms\", max = \"2ms\", jitter = \"full\"", 11),
        ("base = \"1ms\", max = \"2ms\", jitter = \"equal\"", 11),
        (
            "base = \"1ms\", max = \"2ms\", jitter = \"decorrelated\"",
            11,
        ),
        ("base = \"1ms\", max = \"2ms\", jitter = \"none\"", 11),
        ("base = \"9s\", max = \"9s\", jitter = \"none\"", 1),
        ("base = \"50s\", max = \"50s\", jitter = \"equal\"", 1),
        ("base = \"9s\", max = \"27s\", jitter = \"decorrelated\"", 1),
        ("base = \"3s\", max = \"27s\", jitter = \"none\"", 2),
        ("base = \"3s\", max = \"3s\", jitter = \"none\"", 3),
    ] {
        let upstream = Upstream::start(|_| reply(503, "no"));
        let retry = format!(", retries = 10, backoff = {{ {backoff} }}");
        let daemon = daemon_with(&upstream, &retry, short);
        assert_eq!(call(&daemon, "GET", &[], b"").text(), "no", "{backoff}");
        assert_eq!(upstream.seen().requests.len(), hits, "{backoff}");
        let denied = if hits == 11 { "spent" } else { "deadline" };
        assert_denied(&daemon, denied, 1.0);
    }
}

#[test]
fn a_route_has_retries_of_its_own() {
    let upstream = Upstream::start(|_| reply(503, "no"));
    let config = format!(
        r#"
[upstreams.api]
endpoints = ["{}"]
{}{FAST}
[[listeners]]
name = "edge"
address = "127.0.0.1:0"
routes = [
  {{ path_prefix = "/more", upstream = "api", retry = {{ retries = 3 }} }},
  {{ path_prefix = "/none", upstream = "api", retry = false }},
  {{ upstream = "api" }},
]
"#,
        upstream.url(),
        settings(""),
    );
    let daemon = Daemon::start(&config);
    let mut client = Client::connect(daemon.address("edge"));
    let mut hits = 0;
    for (target, attempts) in [("/more", 4), ("/none", 1), ("/else", 2)] {
        assert_eq!(client.get(target).status, 503);
        hits += attempts;
        assert_eq!(upstream.seen().requests.len(), hits, "{target}");
    }
}

#[test]
fn a_request_that_waits_for_its_retry_holds_its_slot_and_no_connection() {
    let gate = Gate::new();
    let own = gate.clone();
    let again = vec![Step::Await(own), Step::Send(message(200, "second"))];
    let upstream = Upstream::start(in_turn([unavailable(""), again]));
    let full = format!("{FAST}bulkhead = {{ max_requests = 1, max_queued = 0 }}");
    let daemon = daemon_with(&upstream, "", &full);
    let mut client = daemon.client();
    client.request("GET", "/", &[], b"");
    upstream.wait_until("the second attempt", |record| record.requests.len() == 2);
    assert_row(&daemon.client().get("/"), ProxyError::BulkheadFull);
    gate.open();
    let response = client.response("GET").expect("a whole response");
    assert_eq!(response.text(), "second");
    assert_nothing_held(&daemon);
}
