//! The scripted upstream and the raw client against each other: what the other tests stand on.

use std::time::Duration;

use crate::support::client::Client;
use crate::support::dead::Refusing;
use crate::support::gate::Gate;
use crate::support::metrics;
use crate::support::upstream::{Step, Upstream, message, reply, send, then};
use crate::support::wire::Stop;

#[test]
fn a_connection_is_kept_and_every_request_remembered() {
    let upstream =
        Upstream::start(|call| reply(200, if call.earlier == 0 { "one" } else { "two" }));
    let mut client = Client::connect(upstream.address());
    assert_eq!(client.get("/a").text(), "one");
    assert_eq!(client.post("/b", b"body").text(), "two");
    let seen = upstream.seen();
    assert_eq!(seen.targets(), ["/a", "/b"]);
    assert_eq!(seen.requests[1].body, b"body");
    assert!(seen.requests[1].complete);
    assert_eq!(
        (seen.open(), seen.max_open, seen.max_in_progress),
        (1, 1, 1)
    );
    drop(client);
    assert_eq!(upstream.wait_closed().ended_by_peer(), 1);
}

#[test]
fn a_chunked_body_comes_back_with_its_trailers() {
    let upstream = Upstream::start(|_| {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        vec![
            Step::Send(head.into()),
            Step::Echo,
            Step::Send(b"0\r\nx-sum: 7\r\n\r\n".to_vec()),
        ]
    });
    let mut client = Client::connect(upstream.address());
    let chunked = [("transfer-encoding", "chunked")];
    let body = b"3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nx-end: 1\r\n\r\n";
    let response = client
        .call("POST", "/", &chunked, body)
        .expect("a whole response");
    assert_eq!(response.text(), "abcdefg");
    assert_eq!(response.trailers, [("x-sum".to_owned(), "7".to_owned())]);
    let seen = upstream.seen();
    assert_eq!(
        seen.requests[0].trailers,
        [("x-end".to_owned(), "1".to_owned())]
    );
}

#[test]
fn an_interim_response_is_told_apart() {
    let upstream = Upstream::start(|_| {
        then(
            send("HTTP/1.1 103 Early\r\nlink: </a>\r\n\r\n"),
            Step::Send(message(200, "x")),
        )
    });
    let response = Client::connect(upstream.address()).get("/");
    assert_eq!((response.interim, response.status), (vec![103], 200));
}

#[test]
fn a_gate_holds_requests_until_it_opens() {
    let gate = Gate::new();
    let upstream = Upstream::gated(&gate);
    let mut clients: Vec<_> = (0..3)
        .map(|_| Client::connect(upstream.address()))
        .collect();
    for client in &mut clients {
        client.request("GET", "/", &[], b"");
    }
    upstream.wait_in_progress(3);
    gate.open();
    for client in &mut clients {
        assert_eq!(
            client.response("GET").expect("a whole response").status,
            200
        );
    }
    assert_eq!(upstream.wait_in_progress(0).max_in_progress, 3);
}

#[test]
fn a_cut_is_seen_as_what_it_is() {
    let partial = || send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
    let upstream = Upstream::start(move |call| match call.path() {
        "/reset-head" => then(send("HTTP/1.1 2"), Step::Reset),
        "/close-head" => then(send("HTTP/1.1 2"), Step::Close),
        "/reset-body" => then(partial(), Step::Reset),
        "/close-body" => then(partial(), Step::Close),
        _ => then(
            send("HTTP/1.1 200 OK\r\ncontent-length: 1, 1\r\n\r\nx"),
            Step::Close,
        ),
    });
    let broken = |target: &str| {
        let mut client = Client::connect(upstream.address());
        client
            .call("GET", target, &[], b"")
            .expect_err("a broken response")
    };
    assert_eq!(broken("/reset-head").stop, Stop::Reset);
    assert_eq!(broken("/close-head").stop, Stop::Closed);
    assert_eq!(broken("/reset-body").stop, Stop::Reset);
    let cut = broken("/close-body");
    assert_eq!(
        (cut.stop, cut.status, cut.body),
        (Stop::Closed, Some(200), b"half".to_vec())
    );
    assert!(matches!(broken("/garbled").stop, Stop::Garbled(_)));
    assert_eq!(upstream.wait_closed().ended_by_peer(), 0);
}

#[test]
fn an_idle_connection_is_closed_when_told() {
    let idle = Duration::from_millis(20);
    let upstream = Upstream::start(move |_| then(reply(200, "x"), Step::KeepFor(idle)));
    let mut client = Client::connect(upstream.address());
    assert_eq!(client.get("/").status, 200);
    assert!(client.ends());
}

#[test]
fn a_response_without_a_body_is_not_waited_for() {
    let upstream = Upstream::start(|call| match call.method() {
        "HEAD" => send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
        _ => send("HTTP/1.1 304 Not Modified\r\n\r\n"),
    });
    let mut client = Client::connect(upstream.address());
    let head = client
        .call("HEAD", "/", &[], b"")
        .expect("a whole response");
    assert_eq!(
        (head.field("content-length"), head.body.len()),
        (Some("5"), 0)
    );
    assert_eq!(client.get("/").status, 304);
}

#[test]
fn a_refusing_address_refuses() {
    let refusing = Refusing::start();
    assert!(std::net::TcpStream::connect(refusing.address()).is_err());
}

#[test]
fn samples_are_summed_over_the_labels_not_asked_for() {
    let text = "# HELP a b\na{x=\"1\",y=\"p,q\"} 2\na{x=\"2\",y=\"r\"} 3\nb 0.5\n";
    let samples = metrics::parse(text);
    assert_eq!(samples[0].labels[1].1, "p,q");
    let sum = |name, labels: &[_]| metrics::sum(&samples, name, labels);
    let sums = [
        sum("a", &[]),
        sum("a", &[("x", "2")]),
        sum("b", &[]),
        sum("c", &[]),
    ];
    assert_eq!(format!("{sums:?}"), "[5.0, 3.0, 0.5, 0.0]");
}
