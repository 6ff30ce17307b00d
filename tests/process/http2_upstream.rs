//! Callers of HTTP/1 in front of upstreams of HTTP/2.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use h2::Reason;
use http::Version;
use outrigger::config::model;
use outrigger::proxy::error::ProxyError;
use outrigger::tls::Offer;
use outrigger::tls::server::Server;

use crate::expect::{ABORTED, API, ATTEMPTS, RESENDS, assert_nothing_held, assert_row};
use crate::h2raw::{End, Frame, GOAWAY, HEADERS, Link};
use crate::headers::accept_http2;
use crate::support::PATIENCE;
use crate::support::client::get;
use crate::support::daemon::{Daemon, await_until, section};
use crate::support::h2_server::{Act, H2Server};
use crate::support::stage::Stage;
use crate::support::upstream::{Upstream, reply};

const REUSED: &str = "outrigger_pool_connections_reused_total";

/// One worker, so that its connections are everybody's.
fn daemon(upstream: &str, more: &str) -> Daemon {
    let more = format!("protocol = \"http2\"\n{more}");
    Daemon::start(&format!(
        "{}\n[runtime]\nworkers = 1\n",
        section(&[upstream.to_owned()], &more)
    ))
}

#[test]
fn requests_are_streams_of_one_connection() {
    let upstream = H2Server::start(|_, _| Act::Reply(200, "hello"));
    let daemon = daemon(&upstream.url(), "");
    for _ in 0..5 {
        let response = get(daemon.api(), "/some?thing");
        assert_eq!((response.status, response.text().as_str()), (200, "hello"));
    }
    let seen = upstream.seen();
    assert_eq!((seen.connections, seen.requests.len()), (1, 5));
    let head = &seen.requests[0];
    assert_eq!(head.version, Version::HTTP_2);
    assert_eq!(head.uri.path(), "/some");
    assert_eq!(head.uri.query(), Some("thing"));
    assert_eq!(head.uri.scheme_str(), Some("http"));
    let authority = head.uri.authority().expect("an authority").as_str();
    assert_eq!(format!("http://{authority}"), upstream.url());
    assert!(!head.headers.contains_key("host"));
    assert!(head.headers.contains_key("x-request-id"));
    daemon.await_metric(REUSED, &[API], 4.0);
    drop(seen);
    assert_nothing_held(&daemon);
}

#[test]
fn concurrent_requests_share_it_from_the_start() {
    let upstream = H2Server::start(|_, _| Act::Echo);
    let daemon = daemon(&upstream.url(), "");
    let mut callers: Vec<_> = (0..8).map(|_| daemon.client()).collect();
    for caller in &mut callers {
        // The body is not whole: all of them are in flight at once.
        caller.request("POST", "/", &[("content-length", "4")], b"ab");
    }
    for caller in &mut callers {
        caller.send("cd");
        assert_eq!(caller.response("POST").expect("a response").body, b"abcd");
    }
    assert_eq!(upstream.seen().connections, 1);
    assert_nothing_held(&daemon);
}

#[test]
fn long_bodies_and_trailers_pass_both_ways() {
    let upstream = H2Server::start(|_, _| Act::Echo);
    let daemon = daemon(&upstream.url(), "");
    let body = vec![b'x'; 3 << 20];
    let response = daemon.client().post("/", &body);
    assert_eq!(response.status, 200);
    assert_eq!(response.body.len(), body.len());

    let mut caller = daemon.client();
    let fields = [
        ("transfer-encoding", "chunked"),
        ("te", "trailers"),
        ("connection", "te"),
        ("trailer", "x-sum"),
    ];
    caller.request("POST", "/", &fields, b"5\r\nwhole\r\n0\r\nx-sum: 5\r\n\r\n");
    let response = caller.response("POST").expect("a whole response");
    assert_eq!(response.body, b"whole");
    let seen = upstream.seen();
    let head = seen.requests.last().expect("a request");
    assert_eq!(head.headers["te"], "trailers");
    assert!(!head.headers.contains_key("transfer-encoding"));
    assert!(!head.headers.contains_key("connection"));
    drop(seen);
    assert_nothing_held(&daemon);
}

#[test]
fn what_was_refused_is_sent_again_whatever_it_is() {
    let refuse_first = |nth, _: &_| match nth {
        0 => Act::Reset(Reason::REFUSED_STREAM),
        _ => Act::Reply(200, "second"),
    };
    let upstream = H2Server::start(refuse_first);
    let retry = "retry = { mode = \"enforce\", backoff = { base = \"1ms\" } }\n";
    let daemon = daemon(&upstream.url(), retry);
    let response = daemon.client().call("POST", "/", &[], b"");
    let response = response.expect("a whole response");
    assert_eq!((response.status, response.text().as_str()), (200, "second"));
    daemon.await_metric(ATTEMPTS, &[API, ("verdict", "ignored")], 1.0);
    assert_eq!(upstream.seen().connections, 1);
    assert_nothing_held(&daemon);
}

#[test]
fn a_refusal_is_no_evidence_and_has_a_name() {
    let upstream = H2Server::start(|_, _| Act::Reset(Reason::REFUSED_STREAM));
    let daemon = daemon(&upstream.url(), "");
    assert_row(&get(daemon.api(), "/"), ProxyError::UpstreamRefused);
    daemon.await_metric(ATTEMPTS, &[API, ("verdict", "ignored")], 1.0);
    assert_nothing_held(&daemon);
}

#[test]
fn a_farewell_in_place_of_an_answer_is_a_refusal() {
    let stage = Stage::open();
    let daemon = daemon(&stage.url(), "");
    let mut caller = daemon.client();
    caller.request("GET", "/", &[], b"");
    let socket = stage.accept().stream().try_clone().expect("a socket");
    let mut upstream = Link::accept(socket, &[], PATIENCE).expect("HTTP/2");
    upstream.request().expect("a request");
    // None of the streams was processed.
    upstream.send(&Frame::new(GOAWAY, 0, 0, &[0; 8]));
    let response = caller.response("GET").expect("a response");
    assert_row(&response, ProxyError::UpstreamRefused);
    daemon.await_metric(ATTEMPTS, &[API, ("verdict", "ignored")], 1.0);
    drop(upstream);
    assert_nothing_held(&daemon);
}

#[test]
fn an_answer_that_has_no_content_goes_on_without_what_came_in_it() {
    let stage = Stage::open();
    let daemon = daemon(&stage.url(), "");
    let mut upstream: Option<Link> = None;
    for (status, length) in [(b"204", None), (b"304", Some("4"))] {
        let mut caller = daemon.client();
        caller.request("GET", "/", &[], b"");
        let mut over_http2 = Link::connect(daemon.api(), PATIENCE);
        let fields: [(&[u8], &[u8]); 4] = [
            (b":method", b"GET"),
            (b":scheme", b"http"),
            (b":authority", b"a"),
            (b":path", b"/"),
        ];
        over_http2.send(&Frame::headers(1, &fields, true));
        let upstream = upstream.get_or_insert_with(|| {
            let socket = stage.accept().stream().try_clone().expect("a socket");
            Link::accept(socket, &[], PATIENCE).expect("HTTP/2")
        });
        for _ in 0..2 {
            let stream = upstream.request().expect("a request");
            let fields: [(&[u8], &[u8]); 2] = [(b":status", status), (b"content-length", b"4")];
            upstream.send(&Frame::headers(stream, &fields, false));
            upstream.send(&Frame::data(stream, b"none", true));
        }
        let response = caller.response("GET").expect("a whole response");
        assert_eq!(response.field("content-length"), length, "{response:?}");
        let head = over_http2.next().expect("an answer");
        assert_eq!(head.kind, HEADERS);
        assert!(head.has(crate::h2raw::END_STREAM), "{head:?}");
        // The connection goes on.
        assert!(!caller.answers_within(Duration::from_millis(50)));
    }
    drop(upstream);
    assert_nothing_held(&daemon);
}

#[test]
fn a_connection_that_fell_silent_takes_no_more_requests() {
    let upstream = H2Server::start(|nth, _| match nth {
        1 => Act::Hang,
        _ => Act::Reply(200, "fine"),
    });
    let daemon = daemon(&upstream.url(), "timeouts = { first_byte = \"2s\" }");
    assert_eq!(get(daemon.api(), "/").text(), "fine");
    assert_row(&get(daemon.api(), "/"), ProxyError::AttemptTimeout);
    assert_eq!(get(daemon.api(), "/").text(), "fine");
    assert_eq!(upstream.seen().connections, 2);
    assert_nothing_held(&daemon);
}

#[test]
fn a_request_in_vain_is_no_evidence_against_a_connection_that_lives() {
    let upstream = H2Server::start(|_, head| match head.uri.path() {
        "/hang" => Act::Hang,
        _ => Act::Reply(200, "fine"),
    });
    let daemon = daemon(&upstream.url(), "timeouts = { first_byte = \"3s\" }");
    let mut caller = daemon.client();
    caller.request("GET", "/hang", &[], b"");
    await_until("it arrives", || upstream.seen().requests.len() == 1);
    assert_eq!(get(daemon.api(), "/").text(), "fine");
    assert_row(&caller.response("GET").unwrap(), ProxyError::AttemptTimeout);
    assert_eq!(get(daemon.api(), "/").text(), "fine");
    assert_eq!(upstream.seen().connections, 1);
    assert_nothing_held(&daemon);
}

#[test]
fn an_upgrade_that_the_upstream_cannot_take_is_no_evidence() {
    let upstream = H2Server::start(|_, _| Act::Reply(200, "a page"));
    let daemon = daemon(&upstream.url(), "");
    let mut caller = daemon.client();
    let fields = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    caller.request("GET", "/", &fields, b"");
    let response = caller.response("GET").expect("a response");
    assert_row(&response, ProxyError::UpgradeUnsupported);
    daemon.await_metric(ATTEMPTS, &[API, ("verdict", "ignored")], 1.0);
    assert!(upstream.seen().requests.is_empty());
    assert_eq!(get(daemon.api(), "/").text(), "a page");
    assert_eq!(upstream.seen().connections, 1);
    assert_nothing_held(&daemon);
}

#[test]
fn other_resets_are_failures() {
    let upstream = H2Server::start(|_, _| Act::Reset(Reason::INTERNAL_ERROR));
    let daemon = daemon(&upstream.url(), "");
    assert_row(&get(daemon.api(), "/"), ProxyError::UpstreamReset);
    daemon.await_metric(ATTEMPTS, &[API, ("verdict", "failure")], 1.0);
    assert_nothing_held(&daemon);
}

const GET: [(&[u8], &[u8]); 4] = [
    (b":method", b"GET"),
    (b":scheme", b"http"),
    (b":path", b"/"),
    (b":authority", b"api.test"),
];
const ANSWER: [(&[u8], &[u8]); 1] = [(b":status", b"200")];

#[test]
fn a_response_that_is_reset_is_never_whole_whatever_the_code() {
    let stage = Stage::open();
    let daemon = daemon(&stage.url(), "breaker = false\nejection = false");
    let mut link = Link::connect(daemon.api(), PATIENCE);
    link.send(&Frame::headers(1, &GET, true));
    let mut upstream = accept_http2(&stage);
    // All codes that have a name, and one that has none (RFC 9113 §7).
    for (stream, code) in (1..).step_by(2).zip((0..=13).chain([99])) {
        if stream > 1 {
            link.send(&Frame::headers(stream, &GET, true));
        }
        let asked = upstream.request().unwrap();
        upstream.send(&Frame::headers(asked, &ANSWER, false));
        upstream.send(&Frame::data(asked, b"part", false));
        upstream.send(&Frame::reset(asked, code));
        let message = link.message(stream);
        // What asks for calm goes on, all else is ours to answer for.
        let passed_on = if code == 11 { 11 } else { 2 };
        assert_eq!(message.end, End::Reset(passed_on), "{code}: {message:?}");
        assert_eq!(message.data, b"part");

        let mut client = daemon.client();
        client.request("GET", "/", &[], b"");
        let asked = upstream.request().unwrap();
        upstream.send(&Frame::headers(asked, &ANSWER, false));
        upstream.send(&Frame::data(asked, b"part", false));
        upstream.send(&Frame::reset(asked, code));
        assert!(client.response("GET").is_err(), "{code}");
    }
    let failures = [API, ("verdict", "failure")];
    daemon.await_metric(ATTEMPTS, &failures, 30.0);
    assert_nothing_held(&daemon);
}

#[test]
fn an_upload_that_is_not_wanted_any_more_does_not_cut_the_answer() {
    let stage = Stage::open();
    let daemon = daemon(&stage.url(), "");
    let answer = |upstream: &mut Link| {
        let asked = upstream.request().unwrap();
        let whole = [
            Frame::headers(asked, &ANSWER, false),
            Frame::data(asked, b"all of it", true),
            Frame::reset(asked, 0),
        ];
        upstream.write(&whole.map(|frame| frame.encode()).concat());
    };
    let mut link = Link::connect(daemon.api(), PATIENCE);
    let mut post = GET;
    post[0].1 = b"POST";
    link.send(&Frame::headers(1, &post, false));
    let mut upstream = accept_http2(&stage);
    answer(&mut upstream);
    let message = link.message(1);
    assert_eq!(message.end, End::Whole, "{message:?}");
    assert_eq!(message.data, b"all of it");

    let mut client = daemon.client();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\npart");
    answer(&mut upstream);
    assert_eq!(client.response("POST").unwrap().text(), "all of it");
    daemon.await_metric(ATTEMPTS, &[API, ("verdict", "success")], 2.0);
    daemon.await_metric(ABORTED, &[API], 0.0);
    assert_nothing_held(&daemon);
}

#[test]
fn a_caller_that_goes_away_resets_its_stream_alone() {
    let upstream = H2Server::start(|_, head| match head.uri.path() {
        "/hang" => Act::Hang,
        _ => Act::Reply(200, "fine"),
    });
    let daemon = daemon(&upstream.url(), "");
    let mut caller = daemon.client();
    caller.request("GET", "/hang", &[], b"");
    await_until("it arrives", || upstream.seen().requests.len() == 1);
    drop(caller);
    assert_eq!(upstream.await_given_up(1), [Reason::CANCEL]);
    assert_eq!(get(daemon.api(), "/").text(), "fine");
    assert_eq!(upstream.seen().connections, 1);
    assert_nothing_held(&daemon);
}

#[test]
fn farewells_cost_no_request() {
    let upstream = H2Server::start(|_, _| Act::Farewell("last"));
    let daemon = daemon(&upstream.url(), "");
    for _ in 0..5 {
        let response = get(daemon.api(), "/");
        assert_eq!((response.status, response.text().as_str()), (200, "last"));
    }
    // What a farewell overtook was sent once more.
    let again = upstream.seen().requests.len() - 5;
    daemon.await_metric(RESENDS, &[API], again as f64);
    assert_nothing_held(&daemon);
}

#[test]
fn an_upstream_of_http1_is_not_connected_to() {
    let upstream = Upstream::start(|_: &_| reply(200, "http1"));
    let daemon = daemon(&upstream.url(), "");
    assert_row(&get(daemon.api(), "/"), ProxyError::ConnectFailed);
    assert_nothing_held(&daemon);
}

/// A certificate for `localhost` that is its own root, and its key, in files.
fn certificate() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
    let made = made.expect("a certificate");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (cert, key) = (
        directory.path().join("cert.pem"),
        directory.path().join("key.pem"),
    );
    std::fs::write(&cert, made.cert.pem()).expect("a writable directory");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("a writable directory");
    (directory, cert, key)
}

#[test]
fn tls_agrees_on_what_is_spoken() {
    let (_directory, cert, key) = certificate();
    let settings = model::ListenerTls {
        cert: cert.clone(),
        key,
        client_ca: None,
        min_version: model::TlsVersion::V1_2,
    };
    let tls = Server::new(settings, Offer::Both).expect("a usable pair");
    let upstream = H2Server::start_tls(tls, |_, _| Act::Reply(200, "secret"));
    let url = format!("https://localhost:{}", upstream.port());
    let more = format!("tls = {{ ca = {cert:?} }}\n\n[runtime]\nworkers = 1");
    let daemon = Daemon::start(&section(&[url], &more));
    for _ in 0..3 {
        assert_eq!(get(daemon.api(), "/").text(), "secret");
    }
    let seen = upstream.seen();
    assert_eq!((seen.connections, seen.requests.len()), (1, 3));
    assert_eq!(seen.requests[0].uri.scheme_str(), Some("https"));
    drop(seen);
    assert_nothing_held(&daemon);
}

#[test]
fn an_upstream_that_is_not_trusted_is_not_connected_to() {
    let (_theirs, cert, key) = certificate();
    let (_others, root, _) = certificate();
    let settings = model::ListenerTls {
        cert,
        key,
        client_ca: None,
        min_version: model::TlsVersion::V1_2,
    };
    let tls = Server::new(settings, Offer::Both).expect("a usable pair");
    let upstream = H2Server::start_tls(tls, |_, _| Act::Reply(200, "secret"));
    let url = format!("https://localhost:{}", upstream.port());
    let daemon = Daemon::start(&section(&[url], &format!("tls = {{ ca = {root:?} }}")));
    let response = get(daemon.api(), "/");
    assert_eq!(response.status, 502, "{response:?}");
    assert!(upstream.seen().requests.is_empty());
    assert_nothing_held(&daemon);
}

#[test]
fn a_silent_upstream_is_asked_for_a_sign_of_life() {
    // It takes a connection, says hello, and answers nothing any more.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("a bound socket"));
    let upstream = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        // Empty settings.
        stream
            .write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0])
            .expect("somebody reads");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let http2 = "http2 = { max_streams = 10, stream_window = \"64KiB\", connection_window = \"640KiB\", \
                 ping_interval = \"1s\", ping_timeout = \"100ms\" }";
    let daemon = daemon(&url, http2);
    assert_row(&get(daemon.api(), "/"), ProxyError::UpstreamReset);
    let closed = [API, ("reason", "ping_timeout")];
    daemon.await_metric("outrigger_pool_connections_closed_total", &closed, 1.0);
    upstream.join().expect("the upstream has ended");
    assert_nothing_held(&daemon);
}
