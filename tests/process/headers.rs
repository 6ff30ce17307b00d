//! What becomes of a message on its way through: fields of the way, lengths without bodies,
//! trailers, and ends that come early, between callers and upstreams of either version.

use std::net::TcpStream;

use crate::expect::{ABORTED, API, IN_FLIGHT, assert_nothing_held};
use crate::h2raw::{DATA, End, Field, Frame, Link, Message, RST_STREAM, text};
use crate::support::PATIENCE;
use crate::support::client::Client;
use crate::support::daemon::{Daemon, section, socket_folder};
use crate::support::stage::Stage;
use crate::support::tls::{Ca, TlsCaller, Trust};
use crate::support::upstream::{Step, Upstream};
use crate::support::wire::Wire;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nvia: 1.0 far\r\ncontent-length: 2\r\n\r\nok";
const GET: [(&[u8], &[u8]); 4] = [
    (b":method", b"GET"),
    (b":scheme", b"http"),
    (b":path", b"/"),
    (b":authority", b"api.test"),
];
const TOLD: [&str; 5] = [
    "via",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
];

/// What the upstream is told of the way, and its answer sent.
fn told(upstream: &mut Wire) -> [Option<String>; 5] {
    let head = upstream.head().unwrap();
    upstream.write(OK).unwrap();
    TOLD.map(|name| head.field(name).map(ToOwned::to_owned))
}

/// The next connection of the proxy, on which it speaks HTTP/2.
pub(crate) fn accept_http2(stage: &Stage) -> Link {
    let wire = stage.accept();
    let stream = wire.stream().try_clone().expect("a descriptor");
    Link::accept(stream, b"", PATIENCE).expect("a preface")
}

fn some<const N: usize>(values: [&str; N]) -> [Option<String>; N] {
    values.map(|value| Some(value.to_owned()))
}

#[test]
fn the_way_is_told_where_that_is_asked_for_behind_what_others_told() {
    let stage = Stage::open();
    let ours = [
        ("via", "1.0 near"),
        ("forwarded", "for=192.0.2.1"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-proto", "ftp"),
        ("x-forwarded-host", "other"),
    ];
    // Not asked for, nothing is added and nothing taken away.
    let quiet = Daemon::start(&section(&[stage.url()], ""));
    let mut client = quiet.client();
    client.request("GET", "/", &[], b"");
    let mut upstream = stage.accept();
    assert_eq!(told(&mut upstream), [const { None }; 5]);
    assert_eq!(
        client.response("GET").unwrap().field("via"),
        Some("1.0 far")
    );
    client.request("GET", "/", &ours, b"");
    assert_eq!(told(&mut upstream), some(ours.map(|(_, value)| value)));
    client.response("GET").unwrap();

    let forwarding = "forwarding = { via = true, forwarded = true, x_forwarded = true }\n\
                      [runtime]\nworkers = 1";
    let daemon = Daemon::start(&section(&[stage.url()], forwarding));
    let mut client = daemon.client();
    client.request("GET", "/", &ours, b"");
    let mut upstream = stage.accept();
    let expected = [
        "1.0 near, 1.1 outrigger",
        "for=192.0.2.1, for=127.0.0.1;proto=http;host=api.test",
        "192.0.2.1, 127.0.0.1",
        "http",
        "api.test",
    ];
    assert_eq!(told(&mut upstream), some(expected));
    let response = client.response("GET").unwrap();
    assert_eq!(response.head.all("via"), ["1.0 far, 1.1 outrigger"]);

    let mut link = Link::connect(daemon.api(), PATIENCE);
    link.send(&Frame::headers(1, &GET, true));
    let expected = [
        "2 outrigger",
        "for=127.0.0.1;proto=http;host=api.test",
        "127.0.0.1",
        "http",
        "api.test",
    ];
    assert_eq!(told(&mut upstream), some(expected));
    assert_eq!(link.message(1).all("via"), ["1.0 far, 1.1 outrigger"]);
}

#[test]
fn a_caller_by_a_unix_socket_has_no_address() {
    use std::io::Write;
    let stage = Stage::open();
    let folder = socket_folder();
    let path = folder.path().join("api.sock");
    let _daemon = Daemon::start(&format!(
        "[upstreams.api]\nlisten = \"unix:{}\"\nendpoints = [\"{}\"]\n\
         forwarding = {{ forwarded = true, x_forwarded = true }}\n",
        path.display(),
        stage.url()
    ));
    let mut caller = std::os::unix::net::UnixStream::connect(&path).unwrap();
    caller
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .unwrap();
    let [via, forwarded, by, proto, host] = told(&mut stage.accept());
    assert_eq!(via, None);
    assert_eq!(
        [forwarded, by, proto, host],
        some(["for=_unix;proto=http;host=a", "unknown", "http", "a"])
    );
}

/// A listener `api` over TLS, and what its callers trust.
fn encrypted(stage: &Stage, more: &str) -> (Daemon, Trust) {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::new("edge");
    let (cert, key) = ca.leaf().write(folder.path());
    let daemon = Daemon::start(&format!(
        "[upstreams.api]\nendpoints = [\"{}\"]\n{more}\n\
         [[listeners]]\nname = \"api\"\naddress = \"127.0.0.1:0\"\n\
         routes = [{{ upstream = \"api\" }}]\ntls = {{ cert = {cert:?}, key = {key:?} }}\n",
        stage.url()
    ));
    (daemon, Trust::of(&ca))
}

fn call(daemon: &Daemon, trust: &Trust) -> TlsCaller<TcpStream> {
    let socket = TcpStream::connect(daemon.api()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    TlsCaller::over(socket, trust).unwrap()
}

#[test]
fn a_caller_over_tls_came_by_https() {
    let stage = Stage::open();
    let forwarding = "forwarding = { forwarded = true, x_forwarded = true }";
    let (daemon, trust) = encrypted(&stage, forwarding);
    let mut caller = call(&daemon, &trust);
    caller
        .send("GET / HTTP/1.1\r\nhost: edge.test\r\n\r\n")
        .unwrap();
    let [_, forwarded, _, proto, _] = told(&mut stage.accept());
    assert_eq!(
        [forwarded, proto],
        some(["for=127.0.0.1;proto=https;host=edge.test", "https"])
    );
    assert_eq!(caller.answer().unwrap(), (200, "ok".to_owned()));
}

#[test]
fn a_caller_over_tls_that_leaves_ends_the_work_at_the_upstream() {
    let stage = Stage::open();
    let timeouts = "timeouts = { first_byte = \"50s\", request = \"50s\" }";
    let (daemon, trust) = encrypted(&stage, timeouts);
    let leave: [fn(TlsCaller<TcpStream>); 2] = [drop, TlsCaller::leave];
    for leave in leave {
        let mut caller = call(&daemon, &trust);
        caller
            .send("GET / HTTP/1.1\r\nhost: edge.test\r\n\r\n")
            .unwrap();
        let mut upstream = stage.accept();
        upstream.head().unwrap();
        leave(caller);
        assert!(upstream.drain().0.is_empty());
        assert_nothing_held(&daemon);
    }
}

#[test]
fn a_stream_that_is_reset_ends_the_work_at_the_upstream() {
    let stage = Stage::open();
    let timeouts = "timeouts = { first_byte = \"50s\", request = \"50s\" }";
    let daemon = Daemon::start(&section(&[stage.url()], timeouts));
    let link = Link::connect(daemon.api(), PATIENCE);
    for (stream, answer) in [
        (1, &b""[..]),
        (3, b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"),
    ] {
        link.send(&Frame::headers(stream, &GET, true));
        let mut upstream = stage.accept();
        upstream.head().unwrap();
        upstream.write(answer).unwrap();
        daemon.await_metric(IN_FLIGHT, &[API], 1.0);
        link.send(&Frame::reset(stream, 8));
        assert!(upstream.drain().0.is_empty());
        assert_nothing_held(&daemon);
    }
}

/// A response without a body.
struct Short {
    method: &'static str,
    status: u16,
    length: Option<&'static str>,
}

/// One exchange between a caller and an upstream of these versions; the status and length of what
/// the caller got, and whether it was whole and without a body.
fn exchange(http2: (bool, bool), short: &Short) -> (u16, Option<String>, bool) {
    let stage = Stage::open();
    let protocol = if http2.1 { "protocol = \"http2\"" } else { "" };
    let daemon = Daemon::start(&section(&[stage.url()], protocol));
    let status = short.status.to_string();
    let answer = || {
        if http2.1 {
            let mut upstream = accept_http2(&stage);
            let stream = upstream.request().unwrap();
            let mut fields: Vec<(&[u8], &[u8])> = vec![(b":status", status.as_bytes())];
            fields.extend(
                short
                    .length
                    .map(|length| (&b"content-length"[..], length.as_bytes())),
            );
            upstream.send(&Frame::headers(stream, &fields, true));
            (Some(upstream), None)
        } else {
            let mut upstream = stage.accept();
            upstream.head().unwrap();
            let length = short
                .length
                .map(|length| format!("content-length: {length}\r\n"));
            let length = length.unwrap_or_default();
            upstream
                .write(format!("HTTP/1.1 {status} Short\r\n{length}\r\n").as_bytes())
                .unwrap();
            (None, Some(upstream))
        }
    };
    let got = std::thread::scope(|scope| {
        if http2.0 {
            let mut link = Link::connect(daemon.api(), PATIENCE);
            let mut fields = GET;
            fields[0].1 = short.method.as_bytes();
            link.send(&Frame::headers(1, &fields, true));
            let _held = scope.spawn(answer);
            let message: Message = link.message(1);
            let whole = message.end == End::Whole && message.data.is_empty();
            let length = message.all("content-length");
            (message.status(), length.first().cloned(), whole)
        } else {
            let mut client = daemon.client();
            client.request(short.method, "/", &[], b"");
            let _held = scope.spawn(answer);
            let response = client.response(short.method).expect("a whole response");
            let length = response.field("content-length").map(ToOwned::to_owned);
            (response.status, length, response.body.is_empty())
        }
    });
    daemon.await_metric(IN_FLIGHT, &[API], 0.0);
    got
}

#[test]
fn a_length_without_a_body_passes_between_all_versions() {
    let short = |method, status, length| Short {
        method,
        status,
        length,
    };
    for case in [
        short("HEAD", 200, Some("5")),
        short("HEAD", 404, Some("0")),
        short("HEAD", 200, None),
        short("GET", 204, None),
        short("GET", 304, Some("5")),
        short("GET", 304, None),
        short("GET", 200, Some("0")),
    ] {
        for http2 in [(false, false), (false, true), (true, false), (true, true)] {
            let (status, length, whole) = exchange(http2, &case);
            let at = format!(
                "{} {} {:?}, {http2:?}",
                case.method, case.status, case.length
            );
            assert_eq!(status, case.status, "{at}");
            assert!(whole, "{at}");
            // hyper leaves it away from a 304, as it may (RFC 9110 §8.6).
            let expected = case.length.filter(|_| status != 304 || http2.0);
            assert_eq!(length.as_deref(), expected, "{at}");
        }
    }
}

#[test]
fn an_answer_that_breaks_off_is_never_whole_between_all_versions() {
    for http2 in [(false, false), (false, true), (true, false), (true, true)] {
        let stage = Stage::open();
        let protocol = if http2.1 { "protocol = \"http2\"" } else { "" };
        let daemon = Daemon::start(&section(&[stage.url()], protocol));
        let mut client = daemon.client();
        let mut link = Link::connect(daemon.api(), PATIENCE);
        if http2.0 {
            link.send(&Frame::headers(1, &GET, true));
        } else {
            client.request("GET", "/", &[], b"");
        }
        // It breaks off only once the caller has what came before.
        let read = |client: &mut Client, link: &mut Link| {
            if http2.0 {
                let frame =
                    std::iter::from_fn(|| link.next().ok()).find(|frame| frame.kind == DATA);
                assert_eq!(frame.unwrap().payload, b"half");
            } else {
                client.await_bytes(b"half");
            }
        };
        if http2.1 {
            let mut upstream = accept_http2(&stage);
            let stream = upstream.request().unwrap();
            upstream.send(&Frame::headers(stream, &[(b":status", b"200")], false));
            upstream.send(&Frame::data(stream, b"half", false));
            read(&mut client, &mut link);
            upstream.send(&Frame::reset(stream, 8));
        } else {
            let mut upstream = stage.accept();
            upstream.head().unwrap();
            let begun = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n";
            upstream.write(begun).unwrap();
            read(&mut client, &mut link);
        }
        if http2.0 {
            let frame = link.next().unwrap();
            assert_eq!((frame.kind, frame.stream), (RST_STREAM, 1), "{http2:?}");
        } else {
            let broken = client.response("GET").unwrap_err();
            assert_eq!((broken.status, &broken.body[..]), (Some(200), &b"half"[..]));
        }
        daemon.await_metric(ABORTED, &[API, ("reason", "upstream_reset")], 1.0);
        assert_nothing_held(&daemon);
    }
}

#[test]
fn trailers_pass_between_http2_and_http2_but_for_those_that_must_not_be_any() {
    let stage = Stage::open();
    let daemon = Daemon::start(&section(&[stage.url()], "protocol = \"http2\""));
    let mut link = Link::connect(daemon.api(), PATIENCE);
    let mut fields = GET;
    fields[0].1 = b"POST";
    let trailers: [(&[u8], &[u8]); 5] = [
        (b"x-sum", b"1"),
        (b"content-length", b"99"),
        (b"authorization", b"all"),
        (b"x-forwarded-for", b"192.0.2.1"),
        (b"grpc-status", b"0"),
    ];
    let names =
        |fields: &[Field]| -> Vec<String> { fields.iter().map(|field| text(&field.0)).collect() };
    link.send(&Frame::headers(1, &fields, false));
    link.send(&Frame::data(1, b"up", false));
    link.send(&Frame::headers(1, &trailers, true));
    let mut upstream = accept_http2(&stage);
    let stream = upstream.request().unwrap();
    let request = upstream.message(stream);
    assert_eq!((&request.data[..], request.end), (&b"up"[..], End::Whole));
    assert_eq!(names(&request.trailers), ["x-sum", "grpc-status"]);
    upstream.send(&Frame::headers(stream, &[(b":status", b"200")], false));
    upstream.send(&Frame::data(stream, b"down", false));
    upstream.send(&Frame::headers(stream, &trailers, true));
    let response = link.message(1);
    assert_eq!(
        (&response.data[..], response.end),
        (&b"down"[..], End::Whole)
    );
    assert_eq!(names(&response.trailers), ["x-sum", "grpc-status"]);

    // Where all of them must not be any, the message ends without.
    link.send(&Frame::headers(3, &fields, false));
    link.send(&Frame::headers(3, &trailers[1..4], true));
    let stream = upstream.request().unwrap();
    let request = upstream.message(stream);
    assert_eq!(
        (names(&request.trailers).len(), request.end),
        (0, End::Whole)
    );
    upstream.send(&Frame::headers(stream, &[(b":status", b"200")], false));
    upstream.send(&Frame::headers(stream, &trailers[1..4], true));
    let response = link.message(3);
    assert_eq!(
        (names(&response.trailers).len(), response.end),
        (0, End::Whole)
    );
    daemon.await_metric(IN_FLIGHT, &[API], 0.0);
}

#[test]
fn an_answer_may_come_while_the_upload_goes_on() {
    let stage = Stage::open();
    let daemon = Daemon::start(&section(&[stage.url()], ""));
    let mut link = Link::connect(daemon.api(), PATIENCE);
    let mut fields = GET;
    fields[0].1 = b"POST";
    link.send(&Frame::headers(1, &fields, false));
    link.send(&Frame::data(1, b"first", false));
    let mut upstream = stage.accept();
    assert!(upstream.head().unwrap().chunked());
    assert_eq!(upstream.take(10), b"5\r\nfirst\r\n");
    upstream
        .write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nearly\r\n")
        .unwrap();
    while link.next().unwrap().kind != DATA {}
    // The upload goes on behind it.
    link.send(&Frame::data(1, b"then", true));
    assert_eq!(upstream.take(14), b"4\r\nthen\r\n0\r\n\r\n");
    upstream.write(b"4\r\nlate\r\n0\r\n\r\n").unwrap();
    let frame = link.next().unwrap();
    assert_eq!((frame.kind, &frame.payload[..]), (DATA, &b"late"[..]));
    assert_nothing_held(&daemon);
}

#[test]
fn an_upstream_of_http_1_0_is_read_to_its_end() {
    let upstream = Upstream::start(|_| {
        vec![
            Step::Send(b"HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nall of it".to_vec()),
            Step::Close,
        ]
    });
    let daemon = Daemon::start(&section(&[upstream.url()], ""));
    let response = daemon.client().get("/");
    assert_eq!(
        (response.status, response.text().as_str()),
        (200, "all of it")
    );
    let mut link = Link::connect(daemon.api(), PATIENCE);
    link.send(&Frame::headers(1, &GET, true));
    let message = link.message(1);
    assert_eq!(
        (&message.data[..], message.end),
        (&b"all of it"[..], End::Whole)
    );
    assert_eq!(upstream.seen().connections.len(), 2);
    assert_nothing_held(&daemon);
}

#[test]
fn a_status_without_a_name_goes_without() {
    let stage = Stage::open();
    let waits = "downstream = { half_close = true }";
    let daemon = Daemon::start(&section(&[stage.url()], waits));
    // One of ours, to a caller that ends within its body and still listens.
    let mut client = daemon.client();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf");
    let mut upstream = stage.accept();
    upstream.head().unwrap();
    assert_eq!(upstream.take(4), b"half");
    client.finish();
    assert_eq!(client.head().start, "HTTP/1.1 499 ");
    assert!(upstream.drain().0.is_empty());
    // One of the upstream's, with a name and without.
    for start in ["HTTP/1.1 299 Nearly", "HTTP/1.1 299 ", "HTTP/1.1 200 Fine"] {
        let mut client = daemon.client();
        client.request("GET", "/", &[], b"");
        let mut upstream = stage.accept();
        upstream.head().unwrap();
        let answer = format!("{start}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        upstream.write(answer.as_bytes()).unwrap();
        assert_eq!(client.head().start, start);
    }
}
