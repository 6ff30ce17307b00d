//! Settings of `[defaults]`, of an upstream and of a route, over each other; and what switches a
//! thing off.

use outrigger::proxy::error::ProxyError;

use crate::expect::{API, REQUESTS, WOULD_REJECT, assert_row};
use crate::support::client::Client;
use crate::support::daemon::{Daemon, await_until, command, file, section};
use crate::support::dead::{Deaf, Refusing};
use crate::support::gate::Gate;
use crate::support::upstream::{Step, Upstream};

#[test]
fn a_route_has_its_own_fallback_or_none() {
    let refusing = Refusing::start();
    let config = format!(
        r#"
[upstreams.api]
endpoints = ["{}"]
fallback = {{ status = 503, body = "busy", content_type = "text/plain" }}
[[listeners]]
name = "edge"
address = "127.0.0.1:0"
routes = [
  {{ path_prefix = "/own", upstream = "api", fallback = {{ status = 203, body = "[]", content_type = "application/x-own" }} }},
  {{ path_prefix = "/part", upstream = "api", fallback = {{ body = "later" }} }},
  {{ path_prefix = "/none", upstream = "api", fallback = false }},
  {{ name = "rest", upstream = "api" }},
]
"#,
        refusing.url()
    );
    let daemon = Daemon::start(&config);
    let mut client = Client::connect(daemon.address("edge"));
    for (target, status, body, kind) in [
        ("/own", 203, "[]", "application/x-own"),
        ("/part", 503, "later", "text/plain"),
        ("/rest", 503, "busy", "text/plain"),
    ] {
        let response = client.get(target);
        assert_eq!((response.status, response.text().as_str()), (status, body));
        assert_eq!(response.field("content-type"), Some(kind), "{target}");
    }
    assert_row(&client.get("/none"), ProxyError::ConnectFailed);
    daemon.await_metric(REQUESTS, &[API, ("route", "rest")], 1.0);
}

/// Which of two timers ends the request tells which is the shorter: by default, each time the other.
#[test]
fn the_nearest_setting_wins() {
    let upstream = Upstream::start(|_| vec![Step::Hang]);
    let config = format!(
        r#"
[metrics]
listen = "off"
[admin]
listen = "off"
[log]
format = "json"
[defaults]
timeouts = {{ first_byte = "200ms", request = "3s" }}
breaker = {{ mode = "off" }}
retry = {{ mode = "off" }}
[upstreams.api]
endpoints = ["{url}"]
[upstreams.own]
endpoints = ["{url}"]
timeouts = {{ first_byte = "50s", request = "300ms" }}
[[listeners]]
name = "edge"
address = "127.0.0.1:0"
routes = [
  {{ path_prefix = "/default", upstream = "api" }},
  {{ path_prefix = "/upstream", upstream = "own" }},
  {{ path_prefix = "/route", upstream = "own", timeouts = {{ first_byte = "200ms", request = "3s" }} }},
]
"#,
        url = upstream.url()
    );
    let daemon = Daemon::spawn(&config).ready();
    let mut client = Client::connect(daemon.address("edge"));
    for (target, error) in [
        ("/default", ProxyError::AttemptTimeout),
        ("/upstream", ProxyError::Deadline),
        ("/route", ProxyError::AttemptTimeout),
    ] {
        assert_row(&client.get(target), error);
    }
}

#[test]
fn the_connect_timer_is_the_one_configured() {
    let deaf = Deaf::start();
    let timeouts = "timeouts = { connect = \"100ms\", request = \"10s\" }";
    let daemon = Daemon::proxying(&[deaf.url()], timeouts);
    assert_row(&daemon.client().get("/"), ProxyError::ConnectTimeout);
}

/// By default, a drain that a caller holds up would end neither way within its other limit.
#[test]
fn a_drain_ends_by_quiet_or_by_grace() {
    for (runtime, quiet) in [
        ("drain_quiet = \"50ms\"\ndrain_grace = \"3s\"", true),
        ("drain_quiet = \"1h\"\ndrain_grace = \"300ms\"", false),
    ] {
        let upstream = Upstream::answering("x");
        let more = format!("[runtime]\n{runtime}\n");
        let mut daemon = Daemon::proxying(&[upstream.url()], &more);
        let mut idle = daemon.client();
        assert_eq!(idle.get("/").status, 200);
        daemon.terminate();
        assert_eq!(daemon.wait().code(), Some(0));
        let drained = daemon.await_logged("drained", 1);
        assert_eq!(drained[0]["quiet"], quiet, "{runtime}");
    }
}

#[test]
fn a_bulkhead_that_is_off_neither_refuses_nor_counts() {
    let gate = Gate::new();
    let upstream = Upstream::gated(&gate);
    let bulkhead = "bulkhead = { mode = \"off\", max_requests = 1, max_queued = 0 }";
    let daemon = Daemon::proxying(&[upstream.url()], bulkhead);
    let mut clients: Vec<_> = (0..3).map(|_| daemon.client()).collect();
    for client in &mut clients {
        client.request("GET", "/", &[], b"");
    }
    upstream.wait_in_progress(3);
    daemon.await_metric(WOULD_REJECT, &[API], 0.0);
    gate.open();
    for client in &mut clients {
        let response = client.response("GET").expect("a whole response");
        assert_eq!(response.status, 200);
    }
}

#[test]
fn there_are_as_many_workers_as_asked_for() {
    for workers in [1, 3] {
        let upstream = Upstream::answering("x");
        let runtime = format!("[runtime]\nworkers = {workers}");
        let daemon = Daemon::proxying(&[upstream.url()], &runtime);
        let expected: Vec<_> = (0..workers)
            .map(|index| format!("worker-{index}"))
            .collect();
        // A thread gives itself its name, once it runs.
        await_until("its threads have their names", || {
            let mut names = daemon.threads();
            names.retain(|name| name.starts_with("worker-"));
            names.sort_unstable();
            names == expected
        });
    }
}

#[test]
fn a_listener_that_is_off_is_not_there() {
    for (metrics, admin, expected) in [
        ("off", "off", "api"),
        ("127.0.0.1:0", "off", "api metrics"),
        ("off", "127.0.0.1:0", "api admin"),
    ] {
        let upstream = ["http://127.0.0.1:9".to_owned()];
        let more = format!("[metrics]\nlisten = \"{metrics}\"\n[admin]\nlisten = \"{admin}\"\n");
        let file = file(&section(&upstream, &more));
        let mut command = command();
        command.args(["exec", "--config"]).arg(file.path());
        let output = command.args(["--", "true"]).output().expect("it runs");
        let log = String::from_utf8(output.stderr).expect("UTF-8");
        let lines = log
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"));
        let bound = lines.filter(|line: &serde_json::Value| line["message"] == "listening");
        let bound: Vec<_> = bound
            .map(|line| line["listener"].as_str().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(bound.join(" "), expected);
    }
}
