//! What one caller may take of the listener: connections, the length of a target, the number of
//! fields.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpStream};

use outrigger::proxy::error::ProxyError;
use socket2::{Domain, Socket, Type};

use crate::expect::{assert_nothing_held, assert_replies, assert_row};
use crate::h2raw::{End, Frame, Link};
use crate::support::PATIENCE;
use crate::support::client::{Client, get};
use crate::support::daemon::Daemon;
use crate::support::upstream::{Step, Upstream};
use crate::support::wire::Stop;

const OPEN: &str = "outrigger_downstream_connections";
const REJECTED: &str = "outrigger_downstream_connections_rejected_total";

fn daemon(upstream: &Upstream, downstream: &str) -> Daemon {
    let more = format!("downstream = {{ {downstream} }}");
    Daemon::proxying(&[upstream.url()], &more)
}

/// A connection from another address of this machine.
fn from(address: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let local = SocketAddr::from((address, 0));
    socket.bind(&local.into()).expect("loopback is a network");
    socket.connect(&to.into()).expect("somebody listens");
    socket.into()
}

#[test]
fn each_client_address_has_its_share_of_the_connections() {
    let upstream = Upstream::answering("x");
    let daemon = daemon(&upstream, "max_connections_per_client = 2");
    let (mut first, mut second) = (daemon.client(), daemon.client());
    assert_eq!((first.get("/").status, second.get("/").status), (200, 200));
    let mut third = daemon.client();
    let refused = third.call("GET", "/", &[], b"").expect_err("no answer");
    assert!(
        matches!(refused.stop, Stop::Closed | Stop::Reset),
        "{refused:?}"
    );
    let listener = ("listener", "api");
    let reason = ("reason", "max_connections_per_client");
    daemon.await_metric(REJECTED, &[listener, reason], 1.0);
    let mut other = Client::over(from([127, 0, 0, 2], daemon.api()));
    assert_eq!(
        other.get("/").status,
        200,
        "another client is not concerned"
    );

    drop(first);
    daemon.await_metric(OPEN, &[listener], 2.0);
    assert_eq!(daemon.client().get("/").status, 200);
    drop((second, other));
    daemon.await_metric(OPEN, &[listener], 0.0);
    daemon.await_metric(REJECTED, &[listener], 1.0);
}

#[test]
fn a_target_that_is_too_long_is_refused_over_either_version() {
    let upstream = Upstream::answering("x");
    let daemon = daemon(&upstream, "max_target_bytes = \"1KiB\"");
    let fits = format!("/{}", "x".repeat(1023));
    let longer = format!("{fits}x");
    assert_eq!(get(daemon.api(), &fits).status, 200);
    let mut client = daemon.client();
    let response = client.call("GET", &longer, &[], b"").expect("an answer");
    assert_row(&response, ProxyError::TargetTooLong);
    assert!(client.ends());

    let mut link = Link::connect(daemon.api(), PATIENCE);
    for (stream, target, status) in [(1, &fits, 200), (3, &longer, 414), (5, &fits, 200)] {
        link.send_whole(stream, &request(target, &[]), b"");
        let message = link.message(stream);
        assert_eq!((message.status(), message.end), (status, End::Whole));
    }
    assert_replies(&daemon, ProxyError::TargetTooLong, 2.0);
    assert_nothing_held(&daemon);
    assert_eq!(upstream.seen().requests.len(), 3);
}

#[test]
fn a_head_of_too_many_or_too_long_fields_is_refused_over_either_version() {
    let upstream = Upstream::answering("x");
    let daemon = daemon(&upstream, "max_headers = 20, max_header_bytes = \"8KiB\"");
    let mut many = String::new();
    for at in 0..30 {
        let _ = write!(many, "x-{at}: y\r\n");
    }
    let long = format!("x: {}\r\n", "y".repeat(9000));
    for fields in [&many, &long] {
        let mut client = daemon.client();
        client.send(format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n"));
        let response = client.response("GET").expect("an answer");
        assert_eq!(response.status, 431);
        assert!(client.ends());
    }

    let names: Vec<_> = (0..30).map(|at| format!("x-{at}").into_bytes()).collect();
    let value = vec![b'y'; 9000];
    let many: Vec<_> = names.iter().map(|name| (&name[..], &b"y"[..])).collect();
    let long = [(&b"x"[..], &value[..])];
    let mut link = Link::connect(daemon.api(), PATIENCE);
    for (stream, fields, status) in [(1, &many[..], 431), (3, &long[..], 431), (5, &[][..], 200)] {
        link.send_whole(stream, &request("/", fields), b"");
        let message = link.message(stream);
        assert_eq!((message.status(), message.end), (status, End::Whole));
    }
    assert_nothing_held(&daemon);
    assert_eq!(upstream.seen().requests.len(), 1);
}

#[test]
fn a_body_that_drips_is_given_up_over_either_version() {
    let upstream = Upstream::start(|_| vec![Step::ReadBody, Step::Hang]);
    let more = "downstream = { min_body_rate = \"1KiB\" }\ntimeouts = { request = \"1m\" }";
    let daemon = Daemon::proxying(&[upstream.url()], more);
    let mut client = daemon.client();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\nhalf");
    let mut link = Link::connect(daemon.api(), PATIENCE);
    let mut fields = request("/", &[]);
    fields[0].1 = b"POST";
    link.send(&Frame::headers(1, &fields, false));
    link.send(&Frame::data(1, b"half", false));

    let response = client.response("POST").expect("a whole response");
    assert_row(&response, ProxyError::ClientSlow);
    assert!(client.ends());
    assert_eq!(
        link.message(1).status(),
        ProxyError::ClientSlow.row().status
    );
    assert_replies(&daemon, ProxyError::ClientSlow, 2.0);
    assert_nothing_held(&daemon);
}

/// The fields of a GET of HTTP/2.
fn request<'a>(target: &'a str, more: &[(&'a [u8], &'a [u8])]) -> Vec<(&'a [u8], &'a [u8])> {
    let mut fields: Vec<(&[u8], &[u8])> = vec![
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":path", target.as_bytes()),
        (b":authority", b"a"),
    ];
    fields.extend_from_slice(more);
    fields
}
