//! Which way a request takes, and what is written about it.

use outrigger::proxy::error::ProxyError;

use crate::expect::{API, REQUESTS, assert_replies, assert_row};
use crate::support::client::Client;
use crate::support::daemon::Daemon;
use crate::support::dead::Refusing;
use crate::support::upstream::{Upstream, reply};

const NO_TIMERS: &str = "timeouts = { first_byte = \"50s\", request = \"50s\" }\n";

fn daemon(upstream: &Upstream, more: &str) -> Daemon {
    Daemon::proxying(&[upstream.url()], &format!("{NO_TIMERS}{more}"))
}

#[test]
fn a_request_takes_the_first_route_that_matches() {
    let v2 = Upstream::answering("v2");
    let writes = Upstream::answering("writes");
    let wild = Upstream::answering("wild");
    let config = format!(
        r#"
[upstreams.v2]
endpoints = ["{}"]
[upstreams.writes]
endpoints = ["{}"]
[upstreams.wild]
endpoints = ["{}"]
[[listeners]]
name = "edge"
address = "127.0.0.1:0"
routes = [
  {{ host = "api.test", path_prefix = "/v2", upstream = "v2" }},
  {{ host = "api.test", methods = ["POST", "PUT"], upstream = "writes" }},
  {{ host = "*.wild.test", upstream = "wild" }},
]
"#,
        v2.url(),
        writes.url(),
        wild.url()
    );
    let daemon = Daemon::start(&config);
    let mut client = Client::connect(daemon.address("edge"));
    let rows = [
        ("GET", "api.test", "/v2", "v2"),
        ("GET", "API.test:8080", "/v2/x?y", "v2"),
        ("POST", "api.test", "/v2/x", "v2"),
        ("POST", "api.test", "/v20", "writes"),
        ("PUT", "api.test", "/", "writes"),
        ("GET", "a.wild.test", "/", "wild"),
        ("GET", "a.b.wild.test", "/v2", "wild"),
        ("GET", "api.test", "/v20", ""),
        ("GET", "wild.test", "/", ""),
        ("GET", "other.test", "/v2", ""),
    ];
    for (method, host, target, expected) in rows {
        let response = client.call(method, target, &[("host", host)], b"");
        let response = response.expect("a whole response");
        if expected.is_empty() {
            assert_row(&response, ProxyError::NoRoute);
        } else {
            assert_eq!(response.text(), expected, "{method} {host} {target}");
        }
    }
    assert_replies(&daemon, ProxyError::NoRoute, 3.0);
}

#[test]
fn a_fallback_stands_in_for_the_upstream_and_only_for_it() {
    let refusing = Refusing::start();
    let fallback = "fallback = { status = 200, body = '{\"degraded\":true}' }";
    let daemon = Daemon::proxying(&[refusing.url()], &format!("{NO_TIMERS}{fallback}"));
    let mut client = daemon.client();
    let response = client.get("/");
    assert_eq!(
        (response.status, response.text().as_str()),
        (200, "{\"degraded\":true}")
    );
    assert_replies(&daemon, ProxyError::ConnectFailed, 1.0);
    let head = client
        .call("HEAD", "/", &[], b"")
        .expect("a whole response");
    assert_eq!((head.status, head.body.len()), (200, 0));
    let bad = client.call("GET", "/", &[("host", "a"), ("host", "b")], b"");
    assert_eq!(bad.expect("a whole response").status, 400);
}

#[test]
fn a_grpc_call_gets_its_local_reply_in_the_head() {
    let refusing = Refusing::start();
    let daemon = Daemon::proxying(&[refusing.url()], NO_TIMERS);
    let fields = [("content-type", "application/grpc"), ("te", "trailers")];
    let response = daemon.client().call("POST", "/a.B/C", &fields, b"");
    let response = response.expect("a whole response");
    assert_eq!(
        (response.status, response.field("grpc-status")),
        (200, Some("14"))
    );
    assert!(response.body.is_empty());
    let status = response.field("proxy-status").unwrap_or_default();
    assert!(status.contains("connect_failed"), "{status}");
}

fn host_seen(setting: &str) -> (String, Upstream) {
    let upstream = Upstream::answering("x");
    let daemon = daemon(&upstream, setting);
    let fields = [("host", "caller.test:81")];
    let response = daemon
        .client()
        .call("GET", "/", &fields, b"")
        .expect("a whole response");
    assert_eq!(response.status, 200, "{response:?}");
    let seen = upstream.seen();
    let hosts = seen.requests[0].head.all("host");
    assert_eq!(hosts.len(), 1, "{hosts:?}");
    (hosts[0].to_owned(), upstream)
}

#[test]
fn the_host_field_is_what_the_upstream_is_configured_to_see() {
    let (host, upstream) = host_seen("host = \"endpoint\"");
    assert_eq!(host, upstream.address().to_string());
    assert_eq!(host_seen("host = \"preserve\"").0, "caller.test:81");
    assert_eq!(host_seen("host = \"other.test\"").0, "other.test");
}

#[test]
fn a_request_id_is_made_where_there_is_none_and_kept_where_there_is() {
    let upstream = Upstream::answering("x");
    let daemon = daemon(&upstream, "");
    let mut client = daemon.client();
    client.get("/none");
    client.get("/none");
    let response = client.call("GET", "/kept", &[("x-request-id", "abc-123")], b"");
    assert_eq!(response.expect("a whole response").status, 200);
    let seen = upstream.seen();
    let ids: Vec<_> = seen
        .requests
        .iter()
        .map(|seen| seen.head.all("x-request-id"))
        .collect();
    assert!(ids.iter().all(|ids| ids.len() == 1), "{ids:?}");
    assert!(!ids[0][0].is_empty() && ids[0] != ids[1], "{ids:?}");
    assert_eq!(ids[2], ["abc-123"]);
    let line = daemon.await_access("/kept", |line| line["path"] == "/kept");
    assert_eq!(line["request_id"], "abc-123");
    assert_eq!(
        (line["status"].as_u64(), line["attempts"].as_u64()),
        (Some(200), Some(1))
    );
}

#[test]
fn requests_are_counted_by_class_and_written_to_the_access_log_without_their_query() {
    let upstream = Upstream::start(|call| reply(if call.path() == "/404" { 404 } else { 200 }, ""));
    let daemon = daemon(&upstream, "");
    let mut client = daemon.client();
    for target in ["/a?token=secret", "/404"] {
        client.get(target);
    }
    for class in ["2xx", "4xx"] {
        daemon.await_metric(REQUESTS, &[API, ("code_class", class)], 1.0);
    }
    let line = daemon.await_access("/a", |line| line["path"] == "/a");
    assert!(!line.to_string().contains("secret"), "{line}");
    assert_eq!(line["upstream"], "api");
}
