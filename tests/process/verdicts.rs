//! What counts as a failure, as slow, or not at all, and from which share on the breaker opens.

use std::time::Duration;

use crate::expect::{ABORTED, API, BREAKER_CALLS, TRANSITIONS, await_breaker};
use crate::support::client::Response;
use crate::support::daemon::Daemon;
use crate::support::gate::Gate;
use crate::support::upstream::{Step, Upstream, message, reply, send, then};

const NO_TIMERS: &str = "timeouts = { first_byte = \"50s\", request = \"50s\" }\n";

/// An upstream whose answer to `/404` is 404 and so on; that to `/slow` takes its time.
fn obedient() -> Upstream {
    Upstream::start(|call| match call.path().trim_start_matches('/').parse() {
        Ok(status) => reply(status, ""),
        Err(_) => {
            let late = Step::Delay(Duration::from_millis(400));
            vec![late, Step::Send(message(200, ""))]
        }
    })
}

/// The breaker opens with the last of the calls, for this cause, or not at all. No call is slow,
/// unless `breaker` says from when on.
fn check(breaker: &str, calls: &[&str], cause: Option<&str>) {
    let upstream = obedient();
    let settings = format!(
        "{NO_TIMERS}breaker = {{ open_for = \"60s\", consecutive_failures = \"off\", {breaker} }}"
    );
    let daemon = Daemon::proxying(&[upstream.url()], &settings);
    let mut client = daemon.client();
    for target in calls {
        assert_eq!(client.get(target).field("proxy-status"), None, "{breaker}");
    }
    match cause {
        None => await_breaker(&daemon, "closed"),
        Some(cause) => {
            await_breaker(&daemon, "open");
            daemon.await_metric(TRANSITIONS, &[API, ("cause", cause)], 1.0);
        }
    }
}

#[test]
fn the_breaker_opens_at_its_failure_rate() {
    let quarter = ["/200", "/200", "/200", "/500"];
    check("min_calls = 4", &quarter, None);
    let rate = "min_calls = 4, failure_rate = 0.25";
    check(rate, &quarter, Some("failure_rate"));
    let half = ["/200", "/200", "/500", "/500"];
    check("min_calls = 4", &half, Some("failure_rate"));
    check("min_calls = 4, failure_rate = 0.75", &half, None);
}

#[test]
fn the_breaker_opens_at_its_slow_rate() {
    let quarter = ["/200", "/200", "/200", "/slow"];
    let rate = "min_calls = 4, slow_call = \"300ms\", slow_rate = 0.25, count_overdue = false";
    check(rate, &quarter, Some("slow_rate"));
}

#[test]
fn a_window_of_calls_forgets_all_but_the_last() {
    let calls = ["/200", "/200", "/200", "/200", "/500", "/500"];
    check("min_calls = 3, window = 3", &calls, Some("failure_rate"));
    check("min_calls = 3, window = 5", &calls, None);
}

#[test]
fn a_window_of_seconds_forgets_what_is_older() {
    const CALLS: &str = "outrigger_breaker_window_calls";
    let upstream = obedient();
    let daemon = Daemon::start(&two(&upstream, "breaker = { window = \"1s\" }"));
    for name in ["plain", "set"] {
        let mut client = crate::support::client::Client::connect(daemon.address(name));
        assert_eq!(client.get("/200").status, 200);
        daemon.await_metric(BREAKER_CALLS, &[("upstream", name)], 1.0);
    }
    daemon.await_metric(CALLS, &[("upstream", "set")], 0.0);
    daemon.await_metric(CALLS, &[("upstream", "plain")], 1.0);
}

/// Two upstreams, `plain` and `set`, of which the second has these settings: what time does to it
/// is compared with what it does to the other.
fn two(upstream: &Upstream, settings: &str) -> String {
    let url = upstream.url();
    let section = |name: &str, more: &str| {
        format!(
            "[upstreams.{name}]\nlisten = \"127.0.0.1:0\"\nendpoints = [\"{url}\"]\n\
             {NO_TIMERS}{more}\n"
        )
    };
    section("plain", "breaker = { window = \"1h\" }") + &section("set", settings)
}

#[test]
fn which_statuses_are_failures_is_configured() {
    let missing = ["/404", "/404", "/404"];
    let rate = Some("failure_rate");
    check("min_calls = 3", &missing, None);
    check("min_calls = 3, failure_status = [404]", &missing, rate);
    let range = "min_calls = 3, failure_status = [\"400-405\", 500]";
    check(range, &["/400", "/405", "/500"], rate);
    check(range, &["/399", "/406", "/501"], None);
    let ignored = "min_calls = 3, ignore_status = [500, \"502-504\"]";
    check(ignored, &["/500", "/503", "/504", "/502"], None);
    check(ignored, &["/501", "/500", "/501", "/505"], rate);
}

#[test]
fn an_ignored_status_is_no_call_at_all() {
    let upstream = obedient();
    let settings = "breaker = { ignore_status = [\"400-599\"] }";
    let daemon = Daemon::proxying(&[upstream.url()], settings);
    let mut client = daemon.client();
    for target in ["/404", "/500", "/200"] {
        client.get(target);
    }
    let calls = |verdict| [API, ("verdict", verdict)];
    daemon.await_metric(BREAKER_CALLS, &calls("success"), 1.0);
    daemon.await_metric(BREAKER_CALLS, &calls("failure"), 0.0);
    daemon.await_metric("outrigger_breaker_window_calls", &[API], 1.0);
}

/// A gRPC answer over HTTP/1.1 with these trailers. They are announced: a field that is not may be
/// dropped on the way.
fn grpc(trailers: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ntransfer-encoding: chunked\r\n\
         trailer: grpc-status, grpc-message\r\n\r\n\
         5\r\n\0\0\0\0\0\r\n0\r\n{trailers}\r\n"
    )
    .into_bytes()
}

fn call_grpc(daemon: &Daemon) -> Response {
    let fields = [("content-type", "application/grpc"), ("te", "trailers")];
    let response = daemon
        .client()
        .call("POST", "/a.B/C", &fields, b"\0\0\0\0\0");
    response.expect("a whole response")
}

#[test]
fn a_grpc_call_is_judged_by_its_status() {
    let only = |status: &str| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\n";
        format!("{head}{status}\r\n").into_bytes()
    };
    let other = "failure_grpc = [5]";
    let rows = [
        ("", grpc("grpc-status: 0\r\n"), "0", "success"),
        ("", grpc("grpc-status: 14\r\n"), "14", "failure"),
        (
            "",
            grpc("grpc-message: x\r\ngrpc-status: 5\r\n"),
            "5",
            "success",
        ),
        ("", grpc(""), "", "failure"),
        ("", only("grpc-status: 0\r\n"), "0", "success"),
        ("", only("grpc-status: 13\r\n"), "13", "failure"),
        ("", only(""), "", "failure"),
        ("", message(503, ""), "", "failure"),
        ("", message(404, ""), "", "success"),
        (other, grpc("grpc-status: 5\r\n"), "5", "failure"),
        (other, grpc("grpc-status: 14\r\n"), "14", "success"),
    ];
    for (breaker, answer, status, verdict) in rows {
        let shown = String::from_utf8_lossy(&answer).into_owned();
        let upstream = Upstream::start(move |_| send(&answer));
        let settings = format!("{NO_TIMERS}breaker = {{ {breaker} }}");
        let daemon = Daemon::proxying(&[upstream.url()], &settings);
        let response = call_grpc(&daemon);
        assert_eq!(grpc_status(&response), status, "{shown}");
        for name in ["success", "failure", "abandoned", "ignored"] {
            let expected = if name == verdict { 1.0 } else { 0.0 };
            let calls = [API, ("verdict", name)];
            daemon.await_metric("outrigger_attempts_total", &calls, expected);
        }
        let failures = if verdict == "failure" { 1.0 } else { 0.0 };
        daemon.await_metric(BREAKER_CALLS, &[API, ("verdict", "failure")], failures);
        daemon.await_metric(ABORTED, &[API], 0.0);
    }
}

fn grpc_status(response: &Response) -> &str {
    let trailer = response
        .trailers
        .iter()
        .find(|(name, _)| name == "grpc-status");
    let trailer = trailer.map(|(_, value)| value.as_str());
    trailer
        .or_else(|| response.field("grpc-status"))
        .unwrap_or_default()
}

#[test]
fn grpc_failures_open_the_breaker_and_are_told_as_grpc() {
    let upstream = Upstream::start(|_| send(grpc("grpc-status: 14\r\n")));
    let settings = format!("{NO_TIMERS}breaker = {{ min_calls = 2, open_for = \"60s\" }}");
    let daemon = Daemon::proxying(&[upstream.url()], &settings);
    for _ in 0..2 {
        assert_eq!(grpc_status(&call_grpc(&daemon)), "14");
    }
    await_breaker(&daemon, "open");
    let rejected = call_grpc(&daemon);
    let status = (rejected.status, rejected.field("grpc-status"));
    assert_eq!(status, (200, Some("14")), "{rejected:?}");
    assert!(rejected.body.is_empty() && rejected.trailers.is_empty());
    assert_eq!(upstream.seen().requests.len(), 2);
}

#[test]
fn a_body_that_flows_on_is_settled_in_time() {
    let gate = Gate::new();
    let own = gate.clone();
    let upstream = Upstream::start(move |_| {
        let begun = send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
        then(then(begun, Step::Await(own.clone())), Step::Close)
    });
    let daemon = Daemon::start(&two(&upstream, "breaker = { settle_after = \"50ms\" }"));
    let calls = |name, verdict| {
        let labels = [("upstream", name), ("verdict", verdict)];
        daemon.metric(BREAKER_CALLS, &labels).to_string()
    };
    let mut clients = ["plain", "set"].map(|name| {
        let mut client = crate::support::client::Client::connect(daemon.address(name));
        client.request("GET", "/", &[], b"").head();
        client
    });
    let settled = [("upstream", "set"), ("verdict", "success")];
    daemon.await_metric(BREAKER_CALLS, &settled, 1.0);
    assert_eq!(calls("plain", "success"), "0");
    gate.open();
    for client in &mut clients {
        client.exactly(9).expect_err("half a body");
    }
    daemon.await_metric(BREAKER_CALLS, &[("verdict", "failure")], 1.0);
    assert_eq!(calls("set", "failure"), "0");
}
