//! Connections that become tunnels: who may have one, what passes, and what ends it.

use rustix::process::Signal;

use crate::expect::{
    ABORTED, API, BREAKER_CALLS, IN_FLIGHT, assert_nothing_held, assert_replies, assert_retried,
    assert_row,
};
use crate::h2raw::{End, Field, Frame, HEADERS, Link, RST_STREAM, SETTINGS, text};
use crate::headers::accept_http2;
use crate::support::PATIENCE;
use crate::support::client::Client;
use crate::support::daemon::{Daemon, section};
use crate::support::dead::Refusing;
use crate::support::stage::Stage;
use crate::support::wire::{Head, Stop, Wire};
use outrigger::proxy::error::ProxyError;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// A handshake of WebSocket (RFC 6455 §1.3).
const ASK: [(&str, &str); 4] = [
    ("connection", "keep-alive, Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", KEY),
];
const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\n\
                      upgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const TUNNELS: &str = "outrigger_tunnels_total";
const BYTES: &str = "outrigger_tunnel_bytes_total";
const CLOSED: &str = "outrigger_pool_connections_closed_total";

/// An upstream `api` and its listener of that name, with further lines of either.
fn daemon(stage: &Stage, upstream: &str, listener: &str) -> Daemon {
    Daemon::start(&format!(
        "[upstreams.api]\nendpoints = [\"{}\"]\n{upstream}\n\
         [[listeners]]\nname = \"api\"\naddress = \"127.0.0.1:0\"\n{listener}\n\
         routes = [{{ upstream = \"api\" }}]\n",
        stage.url()
    ))
}

/// Asks for a WebSocket.
fn ask(daemon: &Daemon) -> Client {
    let mut client = daemon.client();
    client.request("GET", "/chat", &ASK, b"");
    client
}

/// A WebSocket that is open from end to end: the caller's side and the upstream's.
fn open(daemon: &Daemon, stage: &Stage) -> (Wire, Wire) {
    let mut client = ask(daemon);
    let mut upstream = stage.accept();
    upstream.head().expect("a request");
    upstream.write(AGREED.as_bytes()).unwrap();
    assert_eq!(client.head().word(1), "101");
    (client.into_wire(), upstream)
}

#[test]
fn bytes_pass_both_ways_as_soon_as_an_upgrade_is_agreed_on() {
    let stage = Stage::open();
    let daemon = daemon(&stage, "", "");
    let mut client = ask(&daemon);
    // Before anybody has agreed.
    client.send("early");
    let mut upstream = stage.accept();
    let head = upstream.head().unwrap();
    assert_eq!(head.field("connection"), Some("upgrade"));
    assert_eq!(head.field("upgrade"), Some("websocket"));
    assert_eq!(head.field("sec-websocket-key"), Some(KEY));
    upstream
        .write(format!("{AGREED}at once").as_bytes())
        .unwrap();
    let head = client.head();
    assert_eq!(head.word(1), "101");
    assert_eq!(head.field("upgrade"), Some("websocket"));
    assert_eq!(head.field("connection"), Some("upgrade"));
    assert_eq!(
        head.field("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    let mut caller = client.into_wire();
    assert_eq!(caller.take(7), b"at once");
    assert_eq!(upstream.take(5), b"early");
    let large = vec![b'x'; 1 << 20];
    std::thread::scope(|scope| {
        scope.spawn(|| upstream.write(&large).unwrap());
        assert_eq!(caller.take(large.len()), large);
    });

    // Open, it counts as a request in flight that has succeeded.
    daemon.await_metric(IN_FLIGHT, &[API], 1.0);
    daemon.await_metric(TUNNELS, &[API], 1.0);
    daemon.await_metric(BREAKER_CALLS, &[API, ("verdict", "success")], 1.0);
    caller.write(b"last").unwrap();
    caller.finish();
    assert_eq!(upstream.drain(), (b"last".to_vec(), Ok(())));
    // Half of it is still open.
    upstream.write(b"words").unwrap();
    assert_eq!(caller.take(5), b"words");
    daemon.await_metric(IN_FLIGHT, &[API], 1.0);
    drop(upstream);
    assert_eq!(caller.drain(), (Vec::new(), Ok(())));
    assert_nothing_held(&daemon);
    daemon.await_metric(CLOSED, &[API, ("reason", "tunnel")], 1.0);
    daemon.await_metric(BYTES, &[API, ("direction", "up")], 9.0);
    let down = (7 + 5 + large.len()) as f64;
    daemon.await_metric(BYTES, &[API, ("direction", "down")], down);
    let line = daemon.await_access("a tunnel", |line| line["status"] == 101);
    assert_eq!(line["bytes_in"], 9, "{line}");
    assert_eq!(line["bytes_out"], 7 + 5 + large.len(), "{line}");
    daemon.await_metric(ABORTED, &[API], 0.0);
}

#[test]
fn an_end_and_a_break_reach_the_other_side_as_what_they_are() {
    let stage = Stage::open();
    let daemon = daemon(&stage, "", "");
    type Ends = fn(Wire);
    let by_end: Ends = drop;
    let by_break: Ends = Wire::reset;
    for (how, seen) in [(by_end, Ok(())), (by_break, Err(Stop::Reset))] {
        let (caller, mut upstream) = open(&daemon, &stage);
        how(caller);
        assert_eq!(upstream.drain(), (Vec::new(), seen.clone()));
        drop(upstream);
        assert_nothing_held(&daemon);

        let (mut caller, upstream) = open(&daemon, &stage);
        how(upstream);
        assert_eq!(caller.drain(), (Vec::new(), seen));
        drop(caller);
        assert_nothing_held(&daemon);
    }
}

#[test]
fn no_other_timeout_cuts_a_tunnel_than_its_own() {
    let stage = Stage::open();
    let timeouts = "timeouts = { first_byte = \"3s\", request = \"3s\", total = \"3s\", \
                    stream_idle = \"3s\", tunnel_idle = \"5s\" }";
    let daemon = daemon(&stage, timeouts, "downstream = { idle_timeout = \"3s\" }");
    let (mut caller, mut upstream) = open(&daemon, &stage);
    assert_eq!(caller.drain(), (Vec::new(), Ok(())));
    upstream.drain().1.unwrap();
    let line = daemon.await_access("a tunnel", |line| line["status"] == 101);
    assert_eq!(line["reason"], "tunnel_idle", "{line}");
    daemon.await_metric(ABORTED, &[API, ("reason", "tunnel_idle")], 1.0);
    assert_nothing_held(&daemon);
}

#[test]
fn what_may_not_be_upgraded_to_goes_on_as_a_request() {
    for (upgrades, token) in [
        ("[]", "websocket"),
        ("[\"websocket\"]", "h2c"),
        ("[\"tcp\"]", "h2c"),
        ("[\"tcp\"]", "websocket"),
    ] {
        let stage = Stage::open();
        let daemon = daemon(
            &stage,
            "",
            &format!("downstream = {{ upgrades = {upgrades} }}"),
        );
        let mut fields = ASK;
        fields[1].1 = token;
        let mut client = daemon.client();
        client.request("GET", "/", &fields, b"");
        let mut upstream = stage.accept();
        let head = upstream.head().unwrap();
        assert_eq!(head.field("upgrade"), None, "{upgrades} {token}");
        assert_eq!(head.field("connection"), None, "{upgrades} {token}");
        let reply = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx";
        upstream.write(reply).unwrap();
        assert_eq!(client.response("GET").unwrap().text(), "x");
    }
}

#[test]
fn another_protocol_passes_where_the_listener_lets_it() {
    let stage = Stage::open();
    let daemon = daemon(&stage, "", "downstream = { upgrades = [\"tcp\"] }");
    let mut client = daemon.client();
    let fields = [("connection", "Upgrade"), ("upgrade", "TCP")];
    client.request("POST", "/attach", &fields, b"");
    let mut upstream = stage.accept();
    assert_eq!(upstream.head().unwrap().field("upgrade"), Some("TCP"));
    let agreed = b"HTTP/1.1 101 UPGRADED\r\nconnection: Upgrade\r\nupgrade: tcp\r\n\r\nhello";
    upstream.write(agreed).unwrap();
    assert_eq!(client.head().word(1), "101");
    assert_eq!(client.exactly(5).unwrap(), b"hello");
}

#[test]
fn an_agreement_that_is_none_is_a_bad_response() {
    let stage = Stage::open();
    let daemon = daemon(&stage, "", "");
    for (count, (from, to)) in [
        (
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
            "c3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        ),
        ("upgrade: websocket", "upgrade: tcp"),
        ("upgrade: websocket\r\n", ""),
        ("connection: Upgrade\r\n", ""),
        ("sec-websocket-accept", "sec-websocket-except"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = ask(&daemon);
        let mut upstream = stage.accept();
        upstream.head().unwrap();
        upstream.write(AGREED.replace(from, to).as_bytes()).unwrap();
        let response = client.response("GET").unwrap();
        assert_row(&response, ProxyError::BadResponse);
        let (_, _end) = upstream.drain();
        assert_replies(&daemon, ProxyError::BadResponse, (count + 1) as f64);
    }
    daemon.await_metric(TUNNELS, &[API], 0.0);
    assert_nothing_held(&daemon);
}

#[test]
fn a_refusal_is_an_answer_like_any_other() {
    let stage = Stage::open();
    let daemon = daemon(&stage, "", "");
    let mut client = ask(&daemon);
    let mut upstream = stage.accept();
    upstream.head().unwrap();
    let refusal = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno";
    upstream.write(refusal).unwrap();
    let response = client.response("GET").unwrap();
    assert_eq!((response.status, response.text().as_str()), (403, "no"));
    // Both connections go on.
    client.request("GET", "/again", &[], b"");
    assert_eq!(upstream.head().unwrap().word(1), "/again");
    upstream.write(refusal).unwrap();
    assert_eq!(client.response("GET").unwrap().status, 403);
}

#[test]
fn an_endpoint_that_refuses_is_passed_over_before_an_upgrade() {
    let (refusing, stage) = (Refusing::start(), Stage::open());
    let retry = "retry = { mode = \"enforce\" }\nejection = false\nbreaker = false\n\
                 balance = { policy = \"round_robin\" }";
    let daemon = Daemon::start(&section(&[refusing.url(), stage.url()], retry));
    for _ in 0..2 {
        let (mut caller, upstream) = open(&daemon, &stage);
        upstream.write(b"hello").unwrap();
        assert_eq!(caller.take(5), b"hello");
    }
    assert_retried(&daemon, "not_sent", 1.0);
}

#[test]
fn a_drain_holds_tunnels_until_its_grace_is_over() {
    let stage = Stage::open();
    let runtime = "[runtime]\ndrain_quiet = \"10ms\"\ndrain_grace = \"5s\"";
    let mut daemon = Daemon::start(&section(&[stage.url()], runtime));
    let (mut caller, mut upstream) = open(&daemon, &stage);
    daemon.signal(Signal::TERM);
    daemon.await_metric("outrigger_ready", &[], 0.0);
    caller.write(b"still").unwrap();
    assert_eq!(upstream.take(5), b"still");
    upstream.write(b"here").unwrap();
    assert_eq!(caller.take(4), b"here");
    assert!(matches!(caller.drain().1, Ok(()) | Err(Stop::Reset)));
    assert_eq!(daemon.wait().code(), Some(0));
}

const HANDSHAKE: [(&[u8], &[u8]); 6] = [
    (b":method", b"CONNECT"),
    (b":protocol", b"websocket"),
    (b":scheme", b"http"),
    (b":path", b"/chat"),
    (b":authority", b"api.test"),
    (b"sec-websocket-version", b"13"),
];

/// The same over HTTP/2, asked with these fields.
fn connect(daemon: &Daemon, fields: &[(&[u8], &[u8])]) -> Link {
    let link = Link::connect(daemon.api(), PATIENCE);
    link.send(&Frame::headers(1, fields, false));
    link
}

/// The head that an upstream of HTTP/1.1 gets for it, and its answer.
fn agree(stage: &Stage) -> (Head, Wire) {
    let mut upstream = stage.accept();
    let head = upstream.head().unwrap();
    let key = head.field("sec-websocket-key").expect("a key");
    let accept = outrigger::proxy::websocket::accept_key(key);
    let agreed = AGREED.replace("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", &accept);
    upstream.write(agreed.as_bytes()).unwrap();
    (head, upstream)
}

/// The fields of the answer, which does not end the stream.
fn answer(link: &mut Link) -> Vec<Field> {
    let frame = link.next().unwrap();
    assert_eq!(frame.kind, HEADERS, "{frame:?}");
    assert!(!frame.has(crate::h2raw::END_STREAM));
    link.block(&frame).unwrap()
}

/// So many bytes of the stream.
fn data(link: &mut Link, length: usize) -> Vec<u8> {
    let mut data = Vec::new();
    while data.len() < length {
        let frame = link.next().unwrap();
        assert_eq!(frame.kind, crate::h2raw::DATA, "{frame:?}");
        data.extend_from_slice(&frame.payload);
    }
    data
}

#[test]
fn an_extended_connect_is_an_upgrade_to_an_upstream_of_http1() {
    let stage = Stage::open();
    let daemon = daemon(&stage, "", "");
    let mut link = connect(&daemon, &HANDSHAKE);
    let (head, mut upstream) = agree(&stage);
    assert_eq!((head.word(0), head.word(1)), ("GET", "/chat"));
    assert_eq!(head.field("upgrade"), Some("websocket"));
    assert_eq!(head.field("connection"), Some("upgrade"));
    let fields = answer(&mut link);
    assert!(fields.contains(&(b":status".to_vec(), b"200".to_vec())));
    for gone in ["upgrade", "connection", "sec-websocket-accept"] {
        let is_gone = |field: &Field| text(&field.0) != gone;
        assert!(fields.iter().all(is_gone), "{gone}");
    }
    link.send(&Frame::data(1, b"hello", false));
    assert_eq!(upstream.take(5), b"hello");
    upstream.write(b"world").unwrap();
    assert_eq!(data(&mut link, 5), b"world");
    daemon.await_metric(IN_FLIGHT, &[API], 1.0);
    // One half after the other.
    link.send(&Frame::data(1, b"bye", true));
    assert_eq!(upstream.drain(), (b"bye".to_vec(), Ok(())));
    upstream.write(b"well").unwrap();
    assert_eq!(data(&mut link, 4), b"well");
    drop(upstream);
    let last = link.next().unwrap();
    assert!(last.has(crate::h2raw::END_STREAM) && last.payload.is_empty());
    assert_nothing_held(&daemon);
    daemon.await_metric(BYTES, &[API, ("direction", "up")], 8.0);
}

#[test]
fn a_broken_tunnel_resets_its_stream_and_the_other_way_round() {
    let stage = Stage::open();
    let daemon = daemon(&stage, "", "");
    let mut link = connect(&daemon, &HANDSHAKE);
    let (_, upstream) = agree(&stage);
    answer(&mut link);
    upstream.reset();
    let frame = link.next().unwrap();
    assert_eq!((frame.kind, frame.stream), (RST_STREAM, 1), "{frame:?}");
    // CONNECT_ERROR (RFC 9113 §8.5).
    assert_eq!(frame.number(0), 10);
    assert_nothing_held(&daemon);

    let mut link = connect(&daemon, &HANDSHAKE);
    let (_, mut upstream) = agree(&stage);
    answer(&mut link);
    link.send(&Frame::reset(1, 8));
    assert_eq!(upstream.drain(), (Vec::new(), Err(Stop::Reset)));
    assert_nothing_held(&daemon);

    // So it is where the whole connection breaks, and what has passed is told all the same.
    let mut link = connect(&daemon, &HANDSHAKE);
    let (_, mut upstream) = agree(&stage);
    answer(&mut link);
    link.send(&Frame::data(1, b"half a", false));
    assert_eq!(upstream.take(6), b"half a");
    upstream.write(b"word").unwrap();
    assert_eq!(data(&mut link, 4), b"word");
    drop(link);
    assert_eq!(upstream.drain(), (Vec::new(), Err(Stop::Reset)));
    assert_nothing_held(&daemon);
    let line = daemon.await_access("what passed", |line| line["bytes_in"] == 6);
    assert_eq!(line["bytes_out"], 4, "{line}");
}

#[test]
fn a_reset_behind_an_end_breaks_the_other_side_off_at_once() {
    let stage = Stage::open();
    let daemon = daemon(&stage, "", "");
    let mut link = connect(&daemon, &HANDSHAKE);
    let (_, mut upstream) = agree(&stage);
    answer(&mut link);
    link.send(&Frame::data(1, b"bye", true));
    assert_eq!(upstream.drain(), (b"bye".to_vec(), Ok(())));
    link.send(&Frame::reset(1, 8));
    assert_nothing_held(&daemon);

    // The same from an upstream of HTTP/2.
    let stage = Stage::open();
    let upstream = "protocol = \"http2\"\n[runtime]\nworkers = 1";
    let daemon = self::daemon(&stage, upstream, "");
    let mut client = daemon.client();
    client.request("GET", "/", &[], b"");
    let mut upstream = accept_http2(&stage);
    upstream.send(&Frame::new(SETTINGS, 0, 0, &[0, 8, 0, 0, 0, 1]));
    let stream = upstream.request().unwrap();
    upstream.send(&Frame::headers(stream, &[(b":status", b"204")], true));
    assert_eq!(client.response("GET").unwrap().status, 204);
    let mut client = ask(&daemon);
    let stream = upstream.request().unwrap();
    upstream.send(&Frame::headers(stream, &[(b":status", b"200")], false));
    assert_eq!(client.head().word(1), "101");
    let mut caller = client.into_wire();
    upstream.send(&Frame::data(stream, b"bye", true));
    assert_eq!(caller.drain(), (b"bye".to_vec(), Ok(())));
    upstream.send(&Frame::reset(stream, 8));
    assert_nothing_held(&daemon);
}

#[test]
fn no_reply_of_ours_is_taken_for_a_tunnel() {
    let refusing = Refusing::start();
    let daemon = Daemon::proxying(
        &[refusing.url()],
        "fallback = { status = 200, body = \"{}\" }",
    );
    let grpc: (&[u8], &[u8]) = (b"content-type", b"application/grpc");
    for more in [None, Some(grpc)] {
        let mut fields = HANDSHAKE.to_vec();
        fields.extend(more);
        let message = connect(&daemon, &fields).message(1);
        assert_eq!(message.status(), 502, "{message:?}");
    }
    assert_nothing_held(&daemon);
}

#[test]
fn an_extended_connect_that_leads_nowhere_is_told_so() {
    let stage = Stage::open();
    let daemon = daemon(&stage, "", "");
    let status = |link: &mut Link| {
        let message = link.message(1);
        let details = message.all("proxy-status").join("");
        (message.status(), details)
    };
    let mut unknown = HANDSHAKE;
    unknown[1].1 = b"connect-udp";
    let (found, details) = status(&mut connect(&daemon, &unknown));
    assert_eq!(found, 501);
    assert!(details.contains("error=http_request_error"), "{details}");
    // What is no handshake is no request for a page either.
    let (found, details) = status(&mut connect(&daemon, &HANDSHAKE[..5]));
    assert_eq!(found, 400);
    assert!(details.contains("bad_request"), "{details}");
    assert!(stage.is_deserted());
    assert_replies(&daemon, ProxyError::UnknownProtocol, 2.0);

    // An upstream that ignores the upgrade has not opened anything.
    for (reply, expected) in [("200 OK", 502), ("403 Forbidden", 403)] {
        let mut link = connect(&daemon, &HANDSHAKE);
        let mut upstream = stage.accept();
        upstream.head().unwrap();
        let reply = format!("HTTP/1.1 {reply}\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno");
        upstream.write(reply.as_bytes()).unwrap();
        let message = link.message(1);
        assert_eq!(message.status(), expected, "{message:?}");
        assert!(
            matches!(message.end, End::Whole | End::Reset(_)),
            "{message:?}"
        );
    }
    assert_nothing_held(&daemon);
}
