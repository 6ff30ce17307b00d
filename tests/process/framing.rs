//! Messages that are refused, and fields that stay behind.

use outrigger::proxy::error::ProxyError;

use crate::expect::{assert_nothing_held, assert_replies, assert_row};
use crate::support::daemon::Daemon;
use crate::support::upstream::{Upstream, send};

fn daemon(upstream: &Upstream, more: &str) -> Daemon {
    Daemon::proxying(&[upstream.url()], more)
}

/// Messages that two parsers could read differently, or that no parser should take.
const AMBIGUOUS: [(&str, &str); 16] = [
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
        "two lengths",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxy",
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

/// hyper resolves these before anyone sees them: what goes on must have one framing.
#[test]
fn a_message_with_a_length_too_many_goes_on_with_one_framing() {
    let upstream = Upstream::answering("x");
    let daemon = daemon(&upstream, "");
    let both = "POST /chunked HTTP/1.1\r\nhost: a\r\ncontent-length: 30\r\n\
                transfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    let twice = "POST /counted HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\
                 content-length: 1\r\n\r\nx";
    for message in [both, twice] {
        let response = daemon.client().send(message).response("POST");
        let status = response.expect("a whole response").status;
        assert!(matches!(status, 200 | 400), "{status}");
    }
    for seen in upstream.seen().requests {
        let lengths = seen.head.all("content-length");
        match seen.head.word(1) {
            "/chunked" => assert!(seen.head.chunked() && lengths.is_empty(), "{seen:?}"),
            _ => assert!(!seen.head.chunked() && lengths == ["1"], "{seen:?}"),
        }
    }
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
fn an_absolute_target_is_sent_in_origin_form() {
    let upstream = Upstream::answering("x");
    let daemon = daemon(&upstream, "host = \"preserve\"");
    let fields = [("host", "api.test")];
    let mut client = daemon.client();
    for target in ["/a?b", "", "?b", "#c", "?b#c", "/#c"] {
        let response = client.call("GET", &format!("http://api.test{target}"), &fields, b"");
        assert_eq!(response.expect("a whole response").status, 200, "{target}");
    }
    let seen = upstream.seen();
    assert_eq!(seen.targets(), ["/a?b", "/", "/?b", "/", "/?b", "/"]);
    assert_eq!(seen.requests[0].head.all("host"), ["api.test"]);
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
