//! Each timer ends what it is there to end, blames the right side, and nothing else.

use std::io::Write;
use std::thread;
use std::time::Duration;

use outrigger::proxy::error::ProxyError;

use crate::expect::{ABORTED, API, BREAKER_CALLS, assert_nothing_held, assert_replies, assert_row};
use crate::support::daemon::Daemon;
use crate::support::gate::Gate;
use crate::support::upstream::{Step, Upstream, message, reply, send, then};

/// Everything far away but what the test overrides.
fn daemon(upstream: &Upstream, timeouts: &str, more: &str) -> Daemon {
    let settings = format!(
        "timeouts = {{ connect = \"50s\", {timeouts} }}\n\
         breaker = {{ min_calls = 1000, consecutive_failures = \"off\", slow_call = \"50s\" }}\n\
         {more}"
    );
    Daemon::proxying(&[upstream.url()], &settings)
}

#[track_caller]
fn assert_failures(daemon: &Daemon, count: f64) {
    daemon.await_metric(BREAKER_CALLS, &[API, ("verdict", "failure")], count);
}

#[test]
fn the_request_timer_ends_a_hung_attempt() {
    let upstream = Upstream::start(|_| vec![Step::Hang]);
    let daemon = daemon(&upstream, "first_byte = \"50s\", request = \"300ms\"", "");
    assert_row(&daemon.client().get("/"), ProxyError::Deadline);
    assert_replies(&daemon, ProxyError::Deadline, 1.0);
    assert_failures(&daemon, 1.0);
    upstream.wait_closed();
    assert_nothing_held(&daemon);
}

#[test]
fn the_request_timer_ends_a_wait_in_the_queue() {
    let gate = Gate::new();
    let upstream = Upstream::start({
        let gate = gate.clone();
        move |_| vec![Step::Await(gate.clone()), Step::Send(message(200, "x"))]
    });
    let config = format!(
        r#"
[upstreams.api]
endpoints = ["{}"]
bulkhead = {{ max_requests = 1, max_queued = 1, queue_timeout = "50s" }}
breaker = {{ mode = "off" }}
timeouts = {{ first_byte = "50s", request = "50s" }}
[[listeners]]
name = "edge"
address = "127.0.0.1:0"
routes = [
  {{ path_prefix = "/hasty", upstream = "api", timeouts = {{ request = "300ms" }} }},
  {{ upstream = "api" }},
]
"#,
        upstream.url()
    );
    let daemon = Daemon::start(&config);
    let address = daemon.address("edge");
    let mut first = crate::support::client::Client::connect(address);
    first.request("GET", "/first", &[], b"");
    upstream.wait_in_progress(1);
    let late = crate::support::client::get(address, "/hasty");
    assert_row(&late, ProxyError::Deadline);
    gate.open();
    assert_eq!(first.response("GET").expect("a whole response").status, 200);
    assert_eq!(upstream.seen().targets(), ["/first"]);
    assert_nothing_held(&daemon);
}

#[test]
fn a_slow_upload_is_no_timeout_of_the_upstream() {
    let upstream = Upstream::start(|_| reply(200, "thanks"));
    let daemon = daemon(&upstream, "first_byte = \"2s\", request = \"50s\"", "");
    let mut client = daemon.client();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\n");
    let pause = Gate::new();
    for piece in 0..8 {
        pause.pass_within(Duration::from_millis(300));
        client.send([b'0' + piece]);
    }
    let response = client.response("POST").expect("a whole response");
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(upstream.seen().requests[0].body, b"01234567");
    assert_failures(&daemon, 0.0);
    assert_nothing_held(&daemon);
}

#[test]
fn the_first_byte_timer_runs_once_the_upload_is_over() {
    let upstream = Upstream::start(|_| vec![Step::ReadBody, Step::Hang]);
    let daemon = daemon(&upstream, "first_byte = \"300ms\", request = \"50s\"", "");
    assert_row(
        &daemon.client().post("/", &[b'x'; 100_000]),
        ProxyError::AttemptTimeout,
    );
    assert_failures(&daemon, 1.0);
    upstream.wait_closed();
    assert_nothing_held(&daemon);
}

#[test]
fn an_upload_that_stops_is_the_callers_fault() {
    let upstream = Upstream::start(|_| reply(200, "never"));
    let daemon = daemon(
        &upstream,
        "first_byte = \"50s\", stream_idle = \"300ms\"",
        "",
    );
    let mut client = daemon.client();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\nhalf");
    let response = client.response("POST").expect("a whole response");
    assert_row(&response, ProxyError::ClientIdle);
    assert!(
        client.ends(),
        "the rest of the upload cannot be told from a next request"
    );
    assert_replies(&daemon, ProxyError::ClientIdle, 1.0);
    assert_failures(&daemon, 0.0);
    upstream.wait_closed();
    assert_nothing_held(&daemon);
}

#[test]
fn an_upload_that_the_upstream_does_not_read_is_its_fault() {
    let gate = Gate::new();
    let upstream = Upstream::start({
        let gate = gate.clone();
        move |_| vec![Step::Await(gate.clone()), Step::Hang]
    });
    let timeouts = "first_byte = \"50s\", request = \"50s\", stream_idle = \"3s\"";
    let daemon = daemon(&upstream, timeouts, "");
    let mut client = daemon.client();
    let body = vec![b'x'; 64 << 20];
    let size = body.len();
    client.send(format!(
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n"
    ));
    // It never stops of its own accord.
    let stream = client.share();
    let upload = thread::spawn(move || (&*stream).write_all(&body));
    let response = client.response("POST").expect("a whole response");
    assert_row(&response, ProxyError::UpstreamIdle);
    assert_replies(&daemon, ProxyError::UpstreamIdle, 1.0);
    assert_failures(&daemon, 1.0);
    gate.open();
    upstream.wait_closed();
    drop(client);
    drop(upload.join());
    assert_nothing_held(&daemon);
}

#[test]
fn a_caller_that_stops_reading_is_cut() {
    let flood = [
        send(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
            1_u64 << 40
        )),
        vec![Step::Endless(vec![b'x'; 1 << 16])],
    ];
    let flood = flood.concat();
    let upstream = Upstream::start(move |_| flood.clone());
    let daemon = daemon(&upstream, "stream_idle = \"2s\"", "");
    let mut client = daemon.client();
    client.request("GET", "/", &[], b"").head();
    upstream.wait_closed();
    assert_failures(&daemon, 0.0);
    assert_nothing_held(&daemon);
    drop(client);
}

#[test]
fn the_total_timer_aborts_a_body_that_flows() {
    let head = send("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n");
    let steps = then(
        head,
        Step::Drip(vec![b'x'; 1_000_000], Duration::from_millis(20)),
    );
    let upstream = Upstream::start(move |_| steps.clone());
    let daemon = daemon(&upstream, "first_byte = \"50s\", total = \"2s\"", "");
    let broken = daemon
        .client()
        .call("GET", "/", &[], b"")
        .expect_err("an aborted response");
    assert_eq!(broken.status, Some(200), "{broken:?}");
    assert!(!broken.body.is_empty());
    daemon.await_metric(ABORTED, &[API, ("reason", "deadline")], 1.0);
    upstream.wait_closed();
    assert_nothing_held(&daemon);
}

#[test]
fn the_total_timer_ends_a_hung_attempt() {
    let upstream = Upstream::start(|_| vec![Step::Hang]);
    let daemon = daemon(&upstream, "first_byte = \"50s\", total = \"300ms\"", "");
    assert_row(&daemon.client().get("/"), ProxyError::Deadline);
    upstream.wait_closed();
    assert_nothing_held(&daemon);
}

const WITH_HEADER: &str =
    "first_byte = \"50s\", request = \"50s\", deadline_header = \"x-deadline-ms\"";

#[test]
fn the_callers_deadline_is_passed_on_as_what_remains_of_it() {
    let upstream = Upstream::start(|_| reply(200, "x"));
    let daemon = daemon(&upstream, WITH_HEADER, "");
    let mut client = daemon.client();
    let sent = |client: &mut crate::support::client::Client, name: &str, value: &str| {
        let response = client
            .call("GET", "/", &[(name, value)], b"")
            .expect("a whole response");
        assert_eq!(response.status, 200, "{name}: {value}: {response:?}");
        let seen = upstream.seen();
        let last = seen.requests.last().expect("a request");
        assert_eq!(last.head.all(name).len(), 1, "{last:?}");
        last.head.field(name).expect("the field").to_owned()
    };
    let left: u64 = sent(&mut client, "x-deadline-ms", "5000")
        .parse()
        .expect("a number");
    assert!((1..5000).contains(&left), "{left} ms");
    let left = sent(&mut client, "grpc-timeout", "5S");
    let (amount, unit) = left.split_at(left.len() - 1);
    let amount: u64 = amount.parse().expect("a number");
    let nanoseconds = amount
        * match unit {
            "H" => 3_600_000_000_000,
            "M" => 60_000_000_000,
            "S" => 1_000_000_000,
            "m" => 1_000_000,
            "u" => 1_000,
            "n" => 1,
            _ => panic!("{left}"),
        };
    assert!((1..5_000_000_000).contains(&nanoseconds), "{left}");
}

#[test]
fn a_deadline_that_is_past_makes_no_attempt() {
    let upstream = Upstream::start(|_| reply(200, "x"));
    let daemon = daemon(&upstream, WITH_HEADER, "");
    for field in [("x-deadline-ms", "0"), ("grpc-timeout", "0m")] {
        let response = daemon
            .client()
            .call("GET", "/", &[field], b"")
            .expect("a whole response");
        assert_row(&response, ProxyError::ClientDeadline);
    }
    assert_replies(&daemon, ProxyError::ClientDeadline, 2.0);
    assert_eq!(upstream.seen().requests.len(), 0);
    assert_nothing_held(&daemon);
}

#[test]
fn a_deadline_that_nobody_can_read_is_ignored() {
    let upstream = Upstream::start(|_| reply(200, "x"));
    let daemon = daemon(&upstream, WITH_HEADER, "");
    let mut client = daemon.client();
    for field in [
        ("x-deadline-ms", "soon"),
        ("x-deadline-ms", "-1"),
        ("grpc-timeout", "5"),
    ] {
        let response = client
            .call("GET", "/", &[field], b"")
            .expect("a whole response");
        assert_eq!(response.status, 200, "{field:?}");
    }
}

#[test]
fn a_deadline_of_the_caller_is_no_failure_of_the_upstream() {
    let upstream = Upstream::start(|_| vec![Step::Hang]);
    let daemon = daemon(&upstream, WITH_HEADER, "");
    for field in [("x-deadline-ms", "200"), ("grpc-timeout", "200m")] {
        let response = daemon
            .client()
            .call("GET", "/", &[field], b"")
            .expect("a whole response");
        assert_row(&response, ProxyError::ClientDeadline);
    }
    upstream.wait_closed();
    assert_failures(&daemon, 0.0);
    assert_nothing_held(&daemon);
}
