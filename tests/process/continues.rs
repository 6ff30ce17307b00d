//! `Expect: 100-continue` from end to end, and interim responses that nobody waits for.

use crate::expect::{API, CONNECTIONS, assert_nothing_held};
use crate::h2raw::{DATA, END_STREAM, Frame, HEADERS, Link, text};
use crate::headers::accept_http2;
use crate::support::PATIENCE;
use crate::support::client::Client;
use crate::support::daemon::{Daemon, section};
use crate::support::stage::Stage;
use crate::support::wire::{Stop, Wire};

/// The upstream has as long as it likes.
const NO_TIMERS: &str = "timeouts = { first_byte = \"off\", request = \"50s\" }\n";
const HEAD: &str =
    "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// One worker, whose connections are everybody's.
fn daemon(stage: &Stage, more: &str) -> Daemon {
    let more = format!("{NO_TIMERS}{more}\n[runtime]\nworkers = 1");
    Daemon::start(&section(&[stage.url()], &more))
}

/// The head of a request that asks first, and the upstream that got it.
fn asked(daemon: &Daemon, stage: &Stage) -> (Client, Wire) {
    let mut client = daemon.client();
    client.send(HEAD);
    let mut upstream = stage.accept();
    let head = upstream.head().unwrap();
    assert_eq!(head.field("expect"), Some("100-continue"));
    assert_eq!(head.field("content-length"), Some("4"));
    (client, upstream)
}

#[test]
fn it_is_the_upstream_that_says_when() {
    let stage = Stage::open();
    let daemon = daemon(&stage, "");
    let (mut client, mut upstream) = asked(&daemon, &stage);
    // What else comes before is no leave to go on.
    upstream.write(b"HTTP/1.1 102 Processing\r\n\r\n").unwrap();
    let hints = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    upstream.write(hints).unwrap();
    upstream.write(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
    assert_eq!(client.head().word(1), "100");
    client.send("body");
    assert_eq!(upstream.take(4), b"body");
    upstream.write(hints).unwrap();
    upstream.write(OK).unwrap();
    let response = client.response("POST").unwrap();
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    assert_eq!(response.field("link"), None);
    // Both connections go on.
    client.send("GET /next HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(upstream.head().unwrap().word(1), "/next");
    upstream.write(OK).unwrap();
    assert_eq!(client.response("GET").unwrap().text(), "ok");
    assert_nothing_held(&daemon);
}

#[test]
fn a_refusal_in_place_of_it_ends_both_connections_and_the_upload_never_begins() {
    let stage = Stage::open();
    let daemon = daemon(&stage, "");
    for status in ["417 Expectation Failed", "401 Unauthorized", "200 OK"] {
        let (mut client, mut upstream) = asked(&daemon, &stage);
        let refusal = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nno");
        upstream.write(refusal.as_bytes()).unwrap();
        let response = client.response("POST").unwrap();
        assert_eq!(response.status.to_string(), status[..3]);
        assert_eq!(response.text(), "no");
        assert_eq!(response.interim, [0_u16; 0], "nobody asked for its body");
        assert_eq!(response.field("connection"), Some("close"));
        assert!(client.ends());
        let (body, end) = upstream.drain();
        assert!(body.is_empty(), "{body:?}");
        assert!(matches!(end, Ok(()) | Err(Stop::Reset)));
    }
    assert_nothing_held(&daemon);
}

#[test]
fn a_caller_that_does_not_wait_is_not_made_to() {
    let stage = Stage::open();
    let daemon = daemon(&stage, "");
    // Once the head has gone on.
    let (mut client, mut upstream) = asked(&daemon, &stage);
    client.send("body");
    assert_eq!(upstream.take(4), b"body");
    upstream.write(OK).unwrap();
    assert_eq!(client.response("POST").unwrap().text(), "ok");
    // With its head: there is nothing left to ask.
    for (framing, body, sent) in [
        ("content-length: 4", "body", "body"),
        (
            "transfer-encoding: chunked",
            "4\r\nbody\r\n0\r\n\r\n",
            "4\r\nbody\r\n0\r\n\r\n",
        ),
    ] {
        client.send(HEAD.replace("content-length: 4", framing) + body);
        let head = upstream.head().unwrap();
        assert_eq!(head.field("expect"), None);
        assert_eq!(upstream.take(sent.len()), sent.as_bytes());
        upstream.write(OK).unwrap();
        assert_eq!(client.response("POST").unwrap().text(), "ok");
    }
    assert_nothing_held(&daemon);
}

/// Bodies that come unasked go on, unless the time of a request is over before: then nothing.
fn unasked() -> Option<()> {
    let stage = Stage::open();
    // Over before any patience would be.
    let hurry = "timeouts = { first_byte = \"off\", request = \"2500ms\" }";
    let hurry = format!("{hurry}\n[runtime]\nworkers = 1");
    let daemon = Daemon::start(&section(&[stage.url()], &hurry));
    let answer = |upstream: &mut Wire| {
        let mut body = Vec::new();
        let took = upstream.exactly(4, &mut |bytes| body.extend_from_slice(bytes));
        took.and_then(|()| upstream.write(OK)).ok()?;
        (body == b"body").then_some(())
    };
    let mut client = daemon.client();
    client.send(HEAD);
    let mut upstream = stage.accept();
    upstream.head().ok()?;
    client.send("body");
    answer(&mut upstream)?;
    let response = client.response("POST").ok()?;
    (response.text() == "ok").then_some(())?;

    let mut link = Link::connect(daemon.api(), PATIENCE);
    for (stream, at_once) in [(1, false), (3, true)] {
        let head = Frame::headers(stream, &FIELDS, false);
        let body = Frame::data(stream, b"body", true);
        if at_once {
            link.write(&[head.encode(), body.encode()].concat());
            upstream.head().ok()?;
        } else {
            link.send(&head);
            upstream.head().ok()?;
            link.send(&body);
        }
        answer(&mut upstream)?;
        (link.message(stream).data == b"ok").then_some(())?;
    }
    assert_nothing_held(&daemon);
    Some(())
}

/// A machine may hold it up for that long once, but not each time.
#[test]
fn a_body_that_comes_unasked_ends_the_wait_at_once() {
    assert!((0..10).any(|_| unasked().is_some()));
}

#[test]
fn an_upstream_that_breaks_off_instead_leaves_nothing_behind() {
    let stage = Stage::open();
    let daemon = daemon(&stage, "");
    let (mut client, upstream) = asked(&daemon, &stage);
    drop(upstream);
    let response = client.response("POST").unwrap();
    assert_eq!(response.status, 502);
    assert_eq!(response.interim, [0_u16; 0]);
    assert!(client.ends());
    let (client, mut upstream) = asked(&daemon, &stage);
    drop(client);
    assert!(upstream.drain().0.is_empty());
    assert_nothing_held(&daemon);
}

const FIELDS: [(&[u8], &[u8]); 6] = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/"),
    (b":authority", b"a"),
    (b"expect", b"100-continue"),
    (b"content-length", b"4"),
];

/// The status of the next head on this stream.
fn status(link: &mut Link) -> String {
    let frame = link.next().unwrap();
    assert_eq!(frame.kind, HEADERS, "{frame:?}");
    let fields = link.block(&frame).unwrap();
    text(&fields[0].1)
}

#[test]
fn callers_of_http2_are_told_as_well() {
    let stage = Stage::open();
    let daemon = daemon(&stage, "");
    let mut link = Link::connect(daemon.api(), PATIENCE);
    link.send(&Frame::headers(1, &FIELDS, false));
    let mut upstream = stage.accept();
    assert_eq!(
        upstream.head().unwrap().field("expect"),
        Some("100-continue")
    );
    upstream.write(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
    assert_eq!(status(&mut link), "100");
    link.send(&Frame::data(1, b"body", true));
    assert_eq!(upstream.take(4), b"body");
    upstream.write(OK).unwrap();
    let message = link.message(1);
    assert_eq!((message.status(), &message.data[..]), (200, &b"ok"[..]));

    link.send(&Frame::headers(3, &FIELDS, false));
    upstream.head().unwrap();
    upstream
        .write(b"HTTP/1.1 417 No\r\ncontent-length: 0\r\n\r\n")
        .unwrap();
    let message = link.message(3);
    assert_eq!((message.status(), message.interim.len()), (417, 0));
    assert!(upstream.drain().0.is_empty());
    assert_nothing_held(&daemon);
}

#[test]
fn upstreams_of_http2_say_when_as_well() {
    let stage = Stage::open();
    let daemon = daemon(&stage, "protocol = \"http2\"");
    let mut client = daemon.client();
    client.send(HEAD);
    let mut upstream = accept_http2(&stage);
    let stream = upstream.request().unwrap();
    for early in [b"102", b"103", b"100"] {
        upstream.send(&Frame::headers(stream, &[(b":status", early)], false));
    }
    assert_eq!(client.head().word(1), "100");
    client.send("body");
    let request = upstream.message(stream);
    assert_eq!(request.data, b"body");
    assert_eq!(request.all("expect"), ["100-continue"]);
    for status in [b"103", b"204"] {
        upstream.send(&Frame::headers(
            stream,
            &[(b":status", status)],
            status == b"204",
        ));
    }
    assert_eq!(client.response("POST").unwrap().status, 204);

    // Refused, the stream is all that ends there.
    client.send(HEAD);
    let stream = upstream.request().unwrap();
    upstream.send(&Frame::headers(stream, &[(b":status", b"417")], true));
    let response = client.response("POST").unwrap();
    assert_eq!((response.status, response.interim.len()), (417, 0));
    assert!(client.ends());
    let request = upstream.message(stream);
    assert!(request.data.is_empty(), "{request:?}");
    let mut link = Link::connect(daemon.api(), PATIENCE);
    link.send(&Frame::headers(1, &FIELDS, false));
    let stream = upstream.request().unwrap();
    upstream.send(&Frame::headers(stream, &[(b":status", b"100")], false));
    assert_eq!(status(&mut link), "100");
    link.send(&Frame::data(1, b"body", true));
    let frame = upstream.next().unwrap();
    assert_eq!((frame.kind, &frame.payload[..]), (DATA, &b"body"[..]));
    if !frame.has(END_STREAM) {
        assert!(upstream.next().unwrap().has(END_STREAM));
    }
    upstream.send(&Frame::headers(stream, &[(b":status", b"204")], true));
    assert_eq!(status(&mut link), "204");

    // Unasked.
    link.send(&Frame::headers(3, &FIELDS, false));
    let stream = upstream.request().unwrap();
    link.send(&Frame::data(3, b"body", true));
    assert_eq!(upstream.message(stream).data, b"body");
    upstream.send(&Frame::headers(stream, &[(b":status", b"204")], true));
    assert_eq!(link.message(3).status(), 204);
    daemon.await_metric(CONNECTIONS, &[API], 1.0);
}
