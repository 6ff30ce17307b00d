//! Bodies both ways, and callers that come and go.

use std::time::Duration;

use outrigger::proxy::error::ProxyError;

use crate::expect::{ABORTED, API, BREAKER_CALLS, assert_nothing_held, assert_replies};
use crate::support::client::{self, Client};
use crate::support::daemon::Daemon;
use crate::support::gate::Gate;
use crate::support::upstream::{Step, Upstream, reply, send, then};

const NO_TIMERS: &str = "timeouts = { first_byte = \"50s\", request = \"50s\" }\n";

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
    let body: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let counted = daemon.client().post("/counted", &body);
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
    // An answer that begins before the upload has ended ends its connection.
    let response = daemon
        .client()
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
    let mut client = daemon.client();
    for _ in 0..2 {
        let response = client.call("POST", "/", &fields, body);
        let trailers = response.expect("a whole response").trailers;
        assert_eq!(trailers, [("x-sum".to_owned(), "2".to_owned())]);
    }
    let seen = upstream.seen();
    for request in &seen.requests {
        assert_eq!(request.trailers, [("x-end".to_owned(), "3".to_owned())]);
        assert_eq!(request.connection, 0, "trailers end a message as well");
    }
    daemon.await_metric(ABORTED, &[API], 0.0);
    daemon.await_metric(BREAKER_CALLS, &[API, ("verdict", "success")], 2.0);
    assert_nothing_held(&daemon);
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
