//! What an operator does to a breaker over the admin listener, and who is kept from it.

use std::time::Duration;

use outrigger::proxy::error::ProxyError;
use serde_json::Value;

use crate::expect::{API, TRANSITIONS, assert_row, await_breaker};
use crate::support::client::Client;
use crate::support::daemon::Daemon;
use crate::support::upstream::{Upstream, reply};

const OPEN: ProxyError = ProxyError::BreakerOpen {
    retry_after: Duration::ZERO,
};

fn daemon(upstream: &Upstream) -> Daemon {
    Daemon::proxying(
        &[upstream.url()],
        "breaker = { min_calls = 2, slow_call = \"50s\" }",
    )
}

fn operate(daemon: &Daemon, operation: &str) -> u16 {
    let mut client = Client::connect(daemon.address("admin"));
    let target = format!("/upstreams/api/breaker/{operation}");
    let response = client.call("POST", &target, &[("host", "localhost")], b"");
    response.expect("a whole response").status
}

#[test]
fn a_forced_open_breaker_rejects_until_it_is_left_to_itself() {
    let upstream = Upstream::answering("fine");
    let daemon = daemon(&upstream);
    assert_eq!(operate(&daemon, "open?for=60s&reason=a+test"), 200);
    await_breaker(&daemon, "forced_open");
    let mut client = daemon.client();
    let rejected = client.get("/");
    assert_row(&rejected, OPEN);
    assert_eq!(upstream.seen().requests.len(), 0);
    assert_eq!(operate(&daemon, "auto"), 200);
    await_breaker(&daemon, "closed");
    assert_eq!(client.get("/").text(), "fine");
    let audit = daemon.await_logged("breaker operation", 2);
    assert_eq!(audit.len(), 2, "{audit:?}");
    assert!(audit[0].to_string().contains("a test"), "{audit:?}");
}

#[test]
fn a_forced_closed_breaker_lets_failures_pass() {
    let upstream = Upstream::start(|_| reply(500, "broken"));
    let daemon = daemon(&upstream);
    assert_eq!(operate(&daemon, "close?for=60s"), 200);
    await_breaker(&daemon, "disabled");
    let mut client = daemon.client();
    for _ in 0..10 {
        assert_eq!(client.get("/").text(), "broken");
    }
    assert_eq!(operate(&daemon, "observe?for=60s"), 200);
    await_breaker(&daemon, "metrics_only");
    for _ in 0..10 {
        assert_eq!(client.get("/").text(), "broken");
    }
    assert_eq!(operate(&daemon, "auto"), 200);
    for _ in 0..2 {
        assert_eq!(client.get("/").text(), "broken");
    }
    assert_row(&client.get("/"), OPEN);
}

#[test]
fn an_override_ends_with_its_time() {
    let upstream = Upstream::answering("fine");
    let daemon = daemon(&upstream);
    assert_eq!(operate(&daemon, "open?for=3s"), 200);
    assert_row(&daemon.client().get("/"), OPEN);
    await_breaker(&daemon, "closed");
    assert_eq!(daemon.client().get("/").text(), "fine");
    daemon.await_metric(TRANSITIONS, &[API, ("cause", "override_expired")], 1.0);
}

#[test]
fn what_makes_no_sense_changes_nothing() {
    let upstream = Upstream::answering("fine");
    let daemon = daemon(&upstream);
    for (operation, status) in [
        ("explode", 400),
        ("open?for=1week", 400),
        ("open?for=0s", 400),
        ("auto?for=3s", 400),
        ("probe", 409),
        ("open?route=edge/none", 404),
    ] {
        assert_eq!(operate(&daemon, operation), status, "{operation}");
    }
    await_breaker(&daemon, "closed");
    daemon.await_metric(TRANSITIONS, &[API], 0.0);
}

#[test]
fn strangers_are_kept_out() {
    let upstream = Upstream::answering("fine");
    let daemon = daemon(&upstream);
    let admin = daemon.address("admin");
    let target = "/upstreams/api/breaker/open";
    let local = ("host", "localhost");
    let status = |method: &str, fields: &[(&str, &str)]| {
        let response = Client::connect(admin).call(method, target, fields, b"");
        response.expect("a whole response").status
    };
    assert_eq!(status("POST", &[("host", "evil.test")]), 403);
    assert_eq!(
        status("POST", &[local, ("origin", "http://evil.test")]),
        403
    );
    assert_eq!(status("GET", &[local]), 405);
    // The metrics listener may face the network: it has no such page at all.
    let mut metrics = Client::connect(daemon.address("metrics"));
    let response = metrics.call("POST", target, &[("host", "localhost")], b"");
    assert_eq!(response.expect("a whole response").status, 404);
    await_breaker(&daemon, "closed");
}

#[test]
fn the_status_tells_what_the_metrics_do() {
    let upstream = Upstream::answering("fine");
    let daemon = daemon(&upstream);
    assert_eq!(daemon.client().get("/").status, 200);
    let get = |target: &str| {
        let mut client = Client::connect(daemon.address("admin"));
        let response = client.call("GET", target, &[("host", "127.0.0.1")], b"");
        response.expect("a whole response")
    };
    let status: Value = serde_json::from_slice(&get("/status").body).expect("a JSON body");
    assert_eq!(status["ready"], true);
    assert_eq!(status["upstreams"][0]["name"], "api");
    assert_eq!(status["upstreams"][0]["breakers"][0]["state"], "closed");
    assert!(get("/").text().contains("<html"));
}
