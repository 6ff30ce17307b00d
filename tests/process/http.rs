//! What a message may carry through, what stays behind, and which way it takes.

use std::time::Duration;

use outrigger::proxy::error::ProxyError;

use crate::expect::{API, REQUESTS, assert_nothing_held, assert_replies, assert_row};
use crate::support::client::{self, Client};
use crate::support::daemon::Daemon;
use crate::support::gate::Gate;
use crate::support::upstream::{Refusing, Step, Upstream, reply, send, then};

const NO_TIMERS: &str = "timeouts = { first_byte = \"15s\", request = \"15s\" }\n";

fn daemon(upstream: &Upstream, more: &str) -> Daemon {
    Daemon::proxying(&[upstream.url()], &format!("{NO_TIMERS}{more}"))
}

/// An upstream that sends every request body back, chunked.
fn echo() -> Upstream {
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    let steps = vec![
        Step::Send(head),
        Step::Echo,
        Step::Send(b"0\r\n\r\n".to_vec()),
    ];
    Upstream::start(move |_| steps.clone())
}

#[test]
fn a_body_passes_both_ways_in_either_framing() {
    let upstream = echo();
    let daemon = daemon(&upstream, "");
    let mut client = daemon.client();
    let body: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let counted = client.post("/counted", &body);
    assert!(
        counted.body == body,
        "{} bytes came back",
        counted.body.len()
    );
    let mut chunked = Vec::new();
    for piece in body.chunks(7_000) {
        chunked.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        chunked.extend_from_slice(piece);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let fields = [("transfer-encoding", "chunked")];
    let response = client
        .call("POST", "/chunked", &fields, &chunked)
        .expect("a whole response");
    assert!(
        response.body == body,
        "{} bytes came back",
        response.body.len()
    );
    let seen = upstream.seen();
    assert_eq!(
        seen.requests[0].head.field("content-length"),
        Some("200000")
    );
    assert!(!seen.requests[0].head.chunked());
    assert!(seen.requests[1].head.chunked());
    assert_eq!(seen.requests[1].head.field("content-length"), None);
    assert!(seen.requests.iter().all(|request| request.complete));
    assert_nothing_held(&daemon);
}

#[test]
fn a_request_without_a_body_gets_no_framing() {
    let upstream = Upstream::answering("x");
    let daemon = daemon(&upstream, "");
    daemon.client().get("/");
    let head = &upstream.seen().requests[0].head;
    assert_eq!(
        (head.field("content-length"), head.chunked()),
        (None, false)
    );
}

#[test]
fn trailers_pass_both_ways() {
    let upstream = Upstream::start(|_| {
        send(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
             2\r\nab\r\n0\r\nx-sum: 2\r\n\r\n",
        )
    });
    let daemon = daemon(&upstream, "");
    let fields = [
        ("transfer-encoding", "chunked"),
        ("trailer", "x-end"),
        ("te", "trailers"),
    ];
    let body = b"3\r\nabc\r\n0\r\nx-end: 3\r\n\r\n";
    let response = daemon
        .client()
        .call("POST", "/", &fields, body)
        .expect("a whole response");
    assert_eq!(response.trailers, [("x-sum".to_owned(), "2".to_owned())]);
    let seen = upstream.seen();
    assert_eq!(
        seen.requests[0].trailers,
        [("x-end".to_owned(), "3".to_owned())]
    );
}

/// Memory that a body of 64 MiB may cost while the other side does not take it.
const ALLOWANCE: u64 = 12 << 20;

#[test]
fn a_download_that_the_caller_does_not_read_costs_bounded_memory() {
    let size = 64_usize << 20;
    let gate = Gate::new();
    let own = gate.clone();
    let upstream = Upstream::start(move |call| match call.path() {
        "/big" => {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n").into_bytes();
            vec![
                Step::Send(head),
                Step::Send(vec![b'x'; size]),
                Step::Await(own.clone()),
            ]
        }
        _ => reply(200, "x"),
    });
    let daemon = daemon(&upstream, "");
    client::get(daemon.api(), "/");
    let before = daemon.resident();
    let mut clients: Vec<_> = (0..4).map(|_| daemon.client()).collect();
    for client in &mut clients {
        client.request("GET", "/big", &[], b"").head();
    }
    Gate::new().pass_within(Duration::from_millis(300)); // as long as a caller likes
    let grown = daemon.resident().saturating_sub(before);
    assert!(grown < ALLOWANCE, "grew by {grown} bytes");
    let body = clients[0].exactly(size as u64).expect("the whole body");
    assert_eq!(body.len(), size);
    let grown = daemon.resident().saturating_sub(before);
    assert!(grown < ALLOWANCE, "grew by {grown} bytes");
    gate.open();
    drop(clients);
    assert_nothing_held(&daemon);
}

#[test]
fn an_upload_that_the_upstream_does_not_read_costs_bounded_memory() {
    let size = 64_usize << 20;
    let gate = Gate::new();
    let own = gate.clone();
    let upstream = Upstream::start(move |call| match call.path() {
        "/big" => [vec![Step::Await(own.clone())], reply(200, "thanks")].concat(),
        _ => reply(200, "x"),
    });
    let daemon = daemon(&upstream, "");
    client::get(daemon.api(), "/");
    let before = daemon.resident();
    let mut client = daemon.client();
    client.send(format!(
        "POST /big HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n"
    ));
    let body = vec![b'x'; size];
    let sent = client.send_some(&body, Duration::from_millis(200));
    assert!(sent < size, "the proxy swallowed all of it");
    let grown = daemon.resident().saturating_sub(before);
    assert!(grown < ALLOWANCE, "grew by {grown} bytes");
    gate.open();
    client.send(&body[sent..]);
    assert_eq!(
        client.response("POST").expect("a whole response").text(),
        "thanks"
    );
    assert_eq!(upstream.seen().requests[1].length, size as u64);
    let grown = daemon.resident().saturating_sub(before);
    assert!(grown < ALLOWANCE, "grew by {grown} bytes");
    assert_nothing_held(&daemon);
}

#[test]
fn an_answer_without_a_body_keeps_its_fields() {
    let upstream = Upstream::start(|call| match call.path() {
        "/head" => send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\netag: \"a\"\r\n\r\n"),
        "/204" => send("HTTP/1.1 204 No Content\r\nx-kept: yes\r\n\r\n"),
        _ => send("HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\ncontent-length: 5\r\n\r\n"),
    });
    let daemon = daemon(&upstream, "");
    let mut client = daemon.client();
    let head = client
        .call("HEAD", "/head", &[], b"")
        .expect("a whole response");
    assert_eq!(
        (head.status, head.field("content-length")),
        (200, Some("5"))
    );
    let none = client.get("/204");
    assert_eq!((none.status, none.field("x-kept")), (204, Some("yes")));
    assert_eq!(
        (none.field("content-length"), none.head.chunked()),
        (None, false)
    );
    let same = client.get("/304");
    assert_eq!((same.status, same.field("etag")), (304, Some("\"a\"")));
    assert_eq!(
        upstream.seen().connections.len(),
        1,
        "each left its connection in order"
    );
    assert_nothing_held(&daemon);
}

#[test]
fn a_caller_that_waits_for_100_continue_gets_it() {
    let upstream = echo();
    let daemon = daemon(&upstream, "");
    let mut client = daemon.client();
    client.send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n");
    let interim = client.head();
    assert_eq!(interim.word(1), "100");
    client.send("body");
    assert_eq!(
        client.response("POST").expect("a whole response").text(),
        "body"
    );
    assert_nothing_held(&daemon);
}

#[test]
fn hop_by_hop_fields_stay_behind_both_ways() {
    let upstream = Upstream::start(|_| {
        send(
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: x-internal, keep-alive\r\n\
             keep-alive: timeout=9\r\nx-internal: secret\r\nproxy-connection: keep-alive\r\n\
             upgrade: h2c\r\nx-passes: a\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n\r\nx",
        )
    });
    let daemon = daemon(&upstream, "");
    let fields = [
        ("connection", "x-internal, keep-alive, upgrade"),
        ("connection", "x-more"),
        ("x-internal", "secret"),
        ("x-more", "secret"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        ("x-passes", "b"),
        ("cookie", "c=3"),
    ];
    let response = daemon
        .client()
        .call("GET", "/", &fields, b"")
        .expect("a whole response");
    let seen = upstream.seen();
    let names = [
        "x-internal",
        "x-more",
        "keep-alive",
        "proxy-connection",
        "upgrade",
        "te",
    ];
    for name in names {
        assert_eq!(seen.requests[0].head.field(name), None, "to the upstream");
        assert_eq!(response.field(name), None, "to the caller");
    }
    for head in [&seen.requests[0].head, &response.head] {
        let options = head.all("connection").join(",").to_ascii_lowercase();
        assert!(
            !options.contains("x-") && !options.contains("upgrade"),
            "{options}"
        );
    }
    assert_eq!(seen.requests[0].head.field("x-passes"), Some("b"));
    assert_eq!(seen.requests[0].head.field("cookie"), Some("c=3"));
    assert_eq!(response.field("x-passes"), Some("a"));
    assert_eq!(response.head.all("set-cookie"), ["a=1", "b=2"]);
}

#[test]
fn a_target_passes_unchanged() {
    let upstream = Upstream::answering("x");
    let daemon = daemon(&upstream, "");
    let mut client = daemon.client();
    let targets = ["/a%2Fb/../c//d;e=f?q=%20+&r", "/?", "//double"];
    for target in targets {
        assert_eq!(client.get(target).status, 200, "{target}");
    }
    assert_eq!(upstream.seen().targets(), targets);
}

#[test]
fn an_absolute_target_is_sent_in_origin_form() {
    let upstream = Upstream::answering("x");
    let daemon = daemon(&upstream, "host = \"preserve\"");
    let fields = [("host", "api.test")];
    let response = daemon
        .client()
        .call("GET", "http://api.test/a?b", &fields, b"");
    assert_eq!(response.expect("a whole response").status, 200);
    let seen = upstream.seen();
    assert_eq!(seen.targets(), ["/a?b"]);
    assert_eq!(seen.requests[0].head.all("host"), ["api.test"]);
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

/// Messages that two parsers could read differently, or that no parser should take.
const AMBIGUOUS: [(&str, &str); 18] = [
    ("two hosts", "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n"),
    (
        "the same host twice",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n",
    ),
    ("no host", "GET / HTTP/1.1\r\n\r\n"),
    ("a host with a path", "GET / HTTP/1.1\r\nhost: a/b\r\n\r\n"),
    (
        "a target of another host",
        "GET http://b/ HTTP/1.1\r\nhost: a\r\n\r\n",
    ),
    (
        "both lengths",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n\
         0\r\n\r\n",
    ),
    (
        "two lengths",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxy",
    ),
    (
        "the same length twice",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx",
    ),
    (
        "a list of lengths",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1, 1\r\n\r\nx",
    ),
    (
        "a signed length",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +1\r\n\r\nx",
    ),
    (
        "a length that is none",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\nx",
    ),
    (
        "an unknown coding",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n0\r\n\r\n",
    ),
    (
        "a coding before chunked",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked twice",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "the coding twice",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\
         transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "a space before the colon",
        "GET / HTTP/1.1\r\nhost : a\r\n\r\n",
    ),
    (
        "a folded field",
        "GET / HTTP/1.1\r\nhost: a\r\nx: b\r\n c\r\n\r\n",
    ),
    (
        "a control byte in a value",
        "GET / HTTP/1.1\r\nhost: a\r\nx: b\u{1}c\r\n\r\n",
    ),
];

#[test]
fn an_ambiguous_message_is_refused_and_never_forwarded() {
    let upstream = Upstream::answering("x");
    let daemon = daemon(&upstream, "");
    let mut wrong = Vec::new();
    for (what, message) in AMBIGUOUS {
        let mut client = daemon.client();
        let response = client.send(message).response("GET");
        match response {
            Ok(response) if response.status == 400 => {}
            other => wrong.push((what, other.map(|response| response.status))),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(upstream.seen().requests.len(), 0);
    assert_nothing_held(&daemon);
}

#[test]
fn two_host_fields_get_the_row_of_a_bad_request() {
    let upstream = Upstream::answering("x");
    let daemon = daemon(&upstream, "");
    let fields = [("host", "a"), ("host", "b")];
    let response = daemon
        .client()
        .call("GET", "/", &fields, b"")
        .expect("a whole response");
    assert_row(&response, ProxyError::BadRequest(""));
    assert_replies(&daemon, ProxyError::BadRequest(""), 1.0);
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let upstream = Upstream::answering("x");
    let daemon = daemon(&upstream, "");
    let large = "x".repeat(200_000);
    let mut client = daemon.client();
    let response = client.call("GET", "/", &[("x-large", large.as_str())], b"");
    assert_eq!(response.expect("a whole response").status, 431);
    assert_eq!(upstream.seen().requests.len(), 0);
}

#[test]
fn requests_sent_ahead_are_answered_in_order() {
    let upstream = Upstream::start(|call| match call.path() {
        "/1" => reply(200, "one"),
        _ => reply(200, "two"),
    });
    let daemon = daemon(&upstream, "");
    let mut client = daemon.client();
    client.send("GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(
        client.response("GET").expect("a whole response").text(),
        "one"
    );
    assert_eq!(
        client.response("GET").expect("a whole response").text(),
        "two"
    );
}

#[test]
fn a_caller_that_asks_for_the_end_gets_it() {
    let upstream = Upstream::answering("x");
    let daemon = daemon(&upstream, "");
    let mut client = daemon.client();
    let response = client.call("GET", "/", &[("connection", "close")], b"");
    assert_eq!(response.expect("a whole response").status, 200);
    assert!(client.ends());
    assert_eq!(
        upstream.seen().open(),
        1,
        "the caller's wish is not the upstream's"
    );
}

#[test]
fn a_caller_of_http_1_0_is_served() {
    let upstream = Upstream::start(|_| {
        send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n")
    });
    let daemon = daemon(&upstream, "");
    let mut client = daemon.client();
    let response = client
        .send("GET / HTTP/1.0\r\nhost: a\r\n\r\n")
        .response("GET");
    let response = response.expect("a whole response");
    assert_eq!(
        (response.text().as_str(), response.head.chunked()),
        ("ab", false)
    );
    assert!(client.ends());
}

#[test]
fn a_caller_that_leaves_ends_the_work_at_the_upstream() {
    let upstream = Upstream::start(|_| vec![Step::ReadBody, Step::Hang]);
    let daemon = daemon(&upstream, "");
    let leave: [fn(Client); 2] = [drop, Client::reset];
    for (gone, leave) in leave.into_iter().enumerate() {
        let mut client = daemon.client();
        client.request("GET", "/", &[], b"");
        upstream.wait_in_progress(1);
        leave(client);
        upstream.wait_until("that the proxy gave up", |record| {
            record.ended_by_peer() == gone + 1
        });
    }
    assert_replies(&daemon, ProxyError::ClientGone, 2.0);
    assert_nothing_held(&daemon);
}

#[test]
fn a_caller_that_breaks_its_upload_off_ends_it_at_the_upstream() {
    let upstream = Upstream::start(|_| reply(200, "never"));
    let daemon = daemon(&upstream, "");
    let mut client = daemon.client();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf");
    upstream.wait_until("the half", |record| {
        record.requests.iter().any(|seen| seen.length == 4)
    });
    drop(client);
    let seen = upstream.wait_closed();
    assert!(!seen.requests[0].complete);
    assert_nothing_held(&daemon);
}

#[test]
fn a_caller_that_leaves_in_the_response_ends_it_at_the_upstream() {
    let begun = send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n");
    let steps = then(begun, Step::Hang);
    let upstream = Upstream::start(move |_| steps.clone());
    let daemon = daemon(&upstream, "");
    let mut client = daemon.client();
    client.request("GET", "/", &[], b"").head();
    drop(client);
    upstream.wait_closed();
    assert_nothing_held(&daemon);
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
