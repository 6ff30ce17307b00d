//! What a listener lets its callers do.

use std::net::SocketAddr;
use std::time::Duration;

use crate::expect::{API, IN_FLIGHT, assert_nothing_held};
use crate::support::client::Client;
use crate::support::daemon::{Daemon, section};
use crate::support::gate::Gate;
use crate::support::stage::Stage;
use crate::support::upstream::Upstream;

/// Two listeners of one upstream: `plain`, and `set` with these settings of its own.
fn daemon(upstream: &Upstream, downstream: &str) -> (Daemon, SocketAddr, SocketAddr) {
    let config = format!(
        r#"
[runtime]
workers = 1
[upstreams.api]
endpoints = ["{}"]
timeouts = {{ first_byte = "50s", request = "50s" }}
[[listeners]]
name = "plain"
address = "127.0.0.1:0"
routes = [{{ upstream = "api" }}]
[[listeners]]
name = "set"
address = "127.0.0.1:0"
downstream = {{ {downstream} }}
routes = [{{ upstream = "api" }}]
"#,
        upstream.url()
    );
    let daemon = Daemon::start(&config);
    let [plain, set] = ["plain", "set"].map(|name| daemon.address(name));
    (daemon, plain, set)
}

#[test]
fn a_head_past_the_limits_of_its_listener_is_refused() {
    let long = "x".repeat(20_000);
    let long = vec![("x-long", long.as_str())];
    let many = vec![("x-many", "x"); 30];
    for (downstream, fields) in [
        ("max_header_bytes = \"8KiB\"", long),
        ("max_headers = 20", many),
    ] {
        let upstream = Upstream::answering("x");
        let (_daemon, plain, set) = daemon(&upstream, downstream);
        for (listener, status) in [(plain, 200), (set, 431)] {
            let mut client = Client::connect(listener);
            let response = client.call("GET", "/", &fields, b"");
            let response = response.expect("a whole response");
            assert_eq!(response.status, status, "{downstream}");
        }
        assert_eq!(upstream.seen().requests.len(), 1);
    }
}

#[test]
fn wider_limits_let_larger_heads_pass() {
    let upstream = Upstream::answering("x");
    let wide = "max_header_bytes = \"1MiB\", max_headers = 200";
    let (_daemon, plain, set) = daemon(&upstream, wide);
    let long = "x".repeat(200_000);
    let mut fields = vec![("x-many", "x"); 150];
    for (listener, status) in [(plain, 431), (set, 200)] {
        for _ in 0..2 {
            let mut client = Client::connect(listener);
            let response = client.call("GET", "/", &fields, b"");
            assert_eq!(response.expect("a whole response").status, status);
            fields = vec![("x-long", long.as_str())];
        }
        fields = vec![("x-many", "x"); 150];
    }
}

#[test]
fn an_idle_caller_is_closed_after_the_idle_timeout() {
    let upstream = Upstream::answering("x");
    let (daemon, plain, set) = daemon(&upstream, "idle_timeout = \"2s\"");
    let mut stays = Client::connect(plain);
    let mut goes = Client::connect(set);
    for client in [&mut stays, &mut goes] {
        assert_eq!(client.get("/").status, 200);
    }
    assert!(goes.ends());
    assert_eq!(stays.get("/").status, 200);
    let open = |name| [("listener", name)];
    daemon.await_metric("outrigger_downstream_connections", &open("set"), 0.0);
    daemon.await_metric("outrigger_downstream_connections", &open("plain"), 1.0);
}

#[test]
fn a_slow_head_is_cut_after_the_header_timeout() {
    let upstream = Upstream::answering("x");
    let (_daemon, plain, set) = daemon(&upstream, "header_timeout = \"200ms\"");
    let mut waits = Client::connect(plain);
    let mut cut = Client::connect(set);
    for client in [&mut waits, &mut cut] {
        client.send("GET / HTTP/1.1\r\n");
    }
    assert!(cut.ends());
    waits.send("host: a\r\n\r\n");
    let answer = waits.response("GET").expect("a whole response");
    assert_eq!(answer.status, 200);
}

/// One worker sees the two ends in their order: when the second has cancelled its request, the
/// first would have.
#[test]
fn a_caller_that_ends_its_side_is_answered_where_asked() {
    let gate = Gate::new();
    let upstream = Upstream::gated(&gate);
    let (_daemon, plain, set) = daemon(&upstream, "half_close = true");
    let mut waits = Client::connect(set);
    let mut leaves = Client::connect(plain);
    for client in [&mut waits, &mut leaves] {
        client.request("GET", "/", &[], b"");
    }
    upstream.wait_in_progress(2);
    waits.finish();
    leaves.finish();
    assert!(leaves.ends(), "its request is cancelled");
    gate.open();
    let answer = waits.response("GET").expect("a whole response");
    assert_eq!(answer.text(), "through");
}

/// The timers are longer than anybody's patience.
#[test]
fn a_caller_that_leaves_is_missed_though_nothing_is_read_of_it() {
    const MUCH: usize = 64 * 1024 * 1024;
    let get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let post = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {MUCH}\r\n\r\n");
    let stage = Stage::open();
    let timers = "timeouts = { first_byte = \"10m\", request = \"10m\" }";
    let daemon = Daemon::start(&section(&[stage.url()], timers));
    // One that the upstream does not read, and one that has asked for more meanwhile. The end of the
    // first would stand behind what there is no room for.
    let more = get.repeat(2);
    for (head, body, resets) in [(&post, MUCH, true), (&more, 0, true), (&more, 0, false)] {
        let mut caller = daemon.client();
        caller.send(head);
        let upstream = stage.accept();
        daemon.await_metric(IN_FLIGHT, &[API], 1.0);
        let sent = caller.send_some(&vec![0; body], Duration::from_millis(300));
        assert!(sent < MUCH, "all of it was taken");
        if resets {
            caller.reset();
        } else {
            caller.finish();
        }
        assert_nothing_held(&daemon);
        drop(upstream);
    }
}
