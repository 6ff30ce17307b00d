//! TCP upstreams: bytes both ways under the policies that know of no request.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use outrigger::config::model::{ListenerTls, TlsVersion};
use outrigger::proxy::error::ProxyError;
use outrigger::tls::Offer;
use outrigger::tls::server::Server;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::expect::{
    ABORTED, API, BREAKER_CALLS, IN_FLIGHT, LOCAL_REPLIES, QUEUED, TRANSITIONS,
    assert_nothing_held, assert_replies, assert_retried, await_breaker,
};
use crate::support::PATIENCE;
use crate::support::client::Client;
use crate::support::daemon::{Daemon, section, socket_folder};
use crate::support::dead::{Deaf, Refusing};
use crate::support::grpc::run;
use crate::support::stage::Stage;
use crate::support::tls::{Ca, HOST};
use crate::support::wire::{Stop, Wire};

const BYTES: &str = "outrigger_tunnel_bytes_total";

fn daemon(endpoint: &str, more: &str) -> Daemon {
    let endpoint = endpoint.replace("http:", "tcp:");
    Daemon::start(&section(
        &[endpoint],
        &format!("protocol = \"tcp\"\n{more}"),
    ))
}

fn call(address: SocketAddr) -> Wire {
    Client::connect(address).into_wire()
}

/// That the connection was closed without a byte.
#[track_caller]
fn assert_refused(mut caller: Wire) {
    let (bytes, end) = caller.drain();
    assert!(bytes.is_empty(), "{:?}", bytes.escape_ascii().to_string());
    assert!(matches!(end, Ok(()) | Err(Stop::Reset)), "{end:?}");
}

/// Both sides of one connection that carries bytes.
fn open(daemon: &Daemon, stage: &Stage) -> (Wire, Wire) {
    let caller = call(daemon.api());
    let mut upstream = stage.accept();
    caller.write(b"x").unwrap();
    assert_eq!(upstream.take(1), b"x");
    (caller, upstream)
}

#[test]
fn bytes_pass_both_ways_and_either_half_may_end_first() {
    let stage = Stage::open();
    let daemon = daemon(&stage.tcp(), "");
    // The upstream may speak first.
    let mut caller = call(daemon.api());
    let mut upstream = stage.accept();
    upstream.write(b"220 hello").unwrap();
    assert_eq!(caller.take(9), b"220 hello");
    caller
        .write(b"GET / HTTP/1.1\r\n\r\nPRI * HTTP/2.0")
        .unwrap();
    assert_eq!(upstream.take(32), b"GET / HTTP/1.1\r\n\r\nPRI * HTTP/2.0");
    daemon.await_metric(IN_FLIGHT, &[API], 1.0);
    caller.finish();
    assert_eq!(upstream.drain(), (Vec::new(), Ok(())));
    upstream.write(b"bye").unwrap();
    assert_eq!(caller.take(3), b"bye");
    drop(upstream);
    assert_eq!(caller.drain(), (Vec::new(), Ok(())));
    assert_nothing_held(&daemon);

    let (mut caller, mut upstream) = open(&daemon, &stage);
    upstream.write(b"that is all").unwrap();
    upstream.finish();
    assert_eq!(caller.drain(), (b"that is all".to_vec(), Ok(())));
    caller.write(b"indeed").unwrap();
    assert_eq!(upstream.take(6), b"indeed");
    drop(caller);
    assert_eq!(upstream.drain(), (Vec::new(), Ok(())));
    assert_nothing_held(&daemon);
    daemon.await_metric(BYTES, &[API, ("direction", "up")], 32.0 + 1.0 + 6.0);
    daemon.await_metric(BYTES, &[API, ("direction", "down")], 9.0 + 3.0 + 11.0);
    daemon.await_metric(BREAKER_CALLS, &[API, ("verdict", "success")], 2.0);
    daemon.await_metric(LOCAL_REPLIES, &[], 0.0);
    daemon.await_metric(ABORTED, &[], 0.0);
}

#[test]
fn a_break_on_one_side_is_a_break_on_the_other() {
    let stage = Stage::open();
    let daemon = daemon(&stage.tcp(), "");
    let (caller, mut upstream) = open(&daemon, &stage);
    caller.reset();
    assert_eq!(upstream.drain(), (Vec::new(), Err(Stop::Reset)));
    let (mut caller, upstream) = open(&daemon, &stage);
    upstream.reset();
    assert_eq!(caller.drain(), (Vec::new(), Err(Stop::Reset)));
    assert_nothing_held(&daemon);
}

#[test]
fn a_break_is_heard_though_the_other_side_does_not_read() {
    const MUCH: usize = 64 * 1024 * 1024;
    let stage = Stage::open();
    let daemon = daemon(&stage.tcp(), "timeouts = { tunnel_idle = \"10m\" }");
    let caller = Client::connect(daemon.api());
    let upstream = stage.accept();
    let sent = caller.send_some(&vec![0; MUCH], Duration::from_millis(300));
    assert!(sent < MUCH, "all of it was taken");
    daemon.await_metric(IN_FLIGHT, &[API], 1.0);
    caller.reset();
    assert_nothing_held(&daemon);
    drop(upstream);

    let caller = call(daemon.api());
    let upstream = stage.accept().stream().try_clone().expect("a socket");
    let upstream = Client::over(upstream);
    let sent = upstream.send_some(&vec![0; MUCH], Duration::from_millis(300));
    assert!(sent < MUCH, "all of it was taken");
    daemon.await_metric(IN_FLIGHT, &[API], 1.0);
    upstream.reset();
    assert_nothing_held(&daemon);
    drop(caller);
}

#[test]
fn connections_past_the_bulkhead_wait_and_past_the_queue_are_closed() {
    let stage = Stage::open();
    let bulkhead =
        "bulkhead = { max_requests = 1, max_queued = 1, queue_timeout = \"50s\" }\nbreaker = false";
    let daemon = daemon(&stage.tcp(), bulkhead);
    let (first, upstream) = open(&daemon, &stage);
    let mut second = call(daemon.api());
    // What is said meanwhile is not lost.
    second.write(b"patient").unwrap();
    daemon.await_metric(QUEUED, &[API], 1.0);
    assert_refused(call(daemon.api()));
    assert_replies(&daemon, ProxyError::BulkheadFull, 1.0);
    assert!(stage.is_deserted());
    drop((first, upstream));
    let mut upstream = stage.accept();
    assert_eq!(upstream.take(7), b"patient");
    upstream.write(b"at last").unwrap();
    assert_eq!(second.take(7), b"at last");

    // One that leaves while it waits takes its place in the queue with it.
    let leaves = call(daemon.api());
    daemon.await_metric(QUEUED, &[API], 1.0);
    drop(leaves);
    daemon.await_metric(QUEUED, &[API], 0.0);
    assert_replies(&daemon, ProxyError::ClientGone, 1.0);
    drop((second, upstream));
    assert_nothing_held(&daemon);
}

#[test]
fn connections_that_wait_for_too_long_are_closed() {
    let stage = Stage::open();
    let bulkhead = "bulkhead = { max_requests = 1, max_queued = 1, queue_timeout = \"50ms\" }";
    let daemon = daemon(&stage.tcp(), bulkhead);
    let _held = open(&daemon, &stage);
    assert_refused(call(daemon.api()));
    assert_replies(&daemon, ProxyError::QueueTimeout, 1.0);
}

#[test]
fn an_endpoint_that_refuses_is_passed_over() {
    let (refusing, stage) = (Refusing::start(), Stage::open());
    let endpoints = [refusing.url().replace("http:", "tcp:"), stage.tcp()];
    let retry = "protocol = \"tcp\"\nretry = { mode = \"enforce\" }\nejection = false\n\
                 breaker = false\nbalance = { policy = \"round_robin\" }";
    let daemon = Daemon::start(&section(&endpoints, retry));
    let _held = [open(&daemon, &stage), open(&daemon, &stage)];
    assert_retried(&daemon, "not_sent", 1.0);
    daemon.await_metric(LOCAL_REPLIES, &[], 0.0);
}

#[test]
fn refused_connections_open_the_breaker_which_closes_callers_at_once() {
    let refusing = Refusing::start();
    let breaker = "breaker = { consecutive_failures = 2, open_for = \"60s\" }\nejection = false";
    let daemon = daemon(&refusing.url(), breaker);
    for _ in 0..2 {
        assert_refused(call(daemon.api()));
    }
    assert_replies(&daemon, ProxyError::ConnectFailed, 2.0);
    await_breaker(&daemon, "open");
    assert_refused(call(daemon.api()));
    let open = ProxyError::BreakerOpen {
        retry_after: std::time::Duration::ZERO,
    };
    assert_replies(&daemon, open, 1.0);
    assert_nothing_held(&daemon);
}

#[test]
fn connections_that_do_not_come_about_in_time_are_failures() {
    let deaf = Deaf::start();
    let more = "timeouts = { connect = \"100ms\" }\nejection = false\n\
                breaker = { consecutive_failures = 2, open_for = \"60s\" }";
    let daemon = daemon(&deaf.url(), more);
    for _ in 0..2 {
        assert_refused(call(daemon.api()));
    }
    assert_replies(&daemon, ProxyError::ConnectTimeout, 2.0);
    await_breaker(&daemon, "open");
}

#[test]
fn slow_connects_open_the_breaker() {
    let deaf = Deaf::start();
    let more = "timeouts = { connect = \"50s\" }\nejection = false\n\
                breaker = { count_overdue = false, slow_call = \"50ms\", min_calls = 2, open_for = \"60s\" }";
    let daemon = daemon(&deaf.url(), more);
    let callers = [call(daemon.api()), call(daemon.api())];
    daemon.await_metric(IN_FLIGHT, &[API], 2.0);
    // Their second try finds room.
    deaf.hear();
    await_breaker(&daemon, "open");
    daemon.await_metric(TRANSITIONS, &[API, ("cause", "slow_rate")], 1.0);
    drop(callers);
}

#[test]
fn a_connection_on_which_nothing_passes_is_closed() {
    let stage = Stage::open();
    let daemon = daemon(&stage.tcp(), "timeouts = { tunnel_idle = \"100ms\" }");
    let mut caller = call(daemon.api());
    let mut upstream = stage.accept();
    assert_eq!(caller.drain(), (Vec::new(), Ok(())));
    assert_eq!(upstream.drain(), (Vec::new(), Ok(())));
    daemon.await_metric(ABORTED, &[("reason", "tunnel_idle")], 1.0);
    assert_nothing_held(&daemon);
}

/// The addresses in a PROXY header, version 2: of the caller and of our listener. None of LOCAL.
fn proxied(upstream: &mut impl Read) -> Option<(SocketAddr, SocketAddr)> {
    let mut take = |length: usize| {
        let mut bytes = vec![0; length];
        upstream.read_exact(&mut bytes).expect("a header");
        bytes
    };
    assert_eq!(take(12), b"\r\n\r\n\0\r\nQUIT\n");
    let head = take(4);
    let rest = take(usize::from(u16::from_be_bytes([head[2], head[3]])));
    let address = |at: usize, width: usize| -> IpAddr {
        let bytes = &rest[at..at + width];
        match width {
            4 => <[u8; 4]>::try_from(bytes).unwrap().into(),
            _ => <[u8; 16]>::try_from(bytes).unwrap().into(),
        }
    };
    let width = match (head[0], head[1]) {
        (0x20, 0) => return None,
        (0x21, 0x11) => 4,
        (0x21, 0x21) => 16,
        other => panic!("{other:?}"),
    };
    assert_eq!(rest.len(), 2 * width + 4);
    let port = |at: usize| u16::from_be_bytes([rest[at], rest[at + 1]]);
    let source = SocketAddr::new(address(0, width), port(2 * width));
    let target = SocketAddr::new(address(width, width), port(2 * width + 2));
    Some((source, target))
}

#[test]
fn the_upstream_is_told_who_calls_where_it_asks_for_that() {
    let stage = Stage::open();
    let folder = socket_folder();
    let unix = folder.path().join("callers.sock");
    let mut listens = vec!["127.0.0.1:0".to_owned(), unix_at(&unix)];
    match TcpListener::bind("[::1]:0") {
        Ok(_) => listens.push("[::1]:0".to_owned()),
        Err(error) => eprintln!("skipped: no IPv6 here: {error}"),
    }
    for listen in listens {
        let daemon = Daemon::start(&format!(
            "[upstreams.api]\nlisten = \"{listen}\"\nendpoints = [\"{}\"]\nprotocol = \"tcp\"\n\
             proxy_protocol = true\n",
            stage.tcp()
        ));
        let told = |first: &mut dyn Write, expected| {
            first.write_all(b"hello").unwrap();
            let upstream = stage.accept();
            let mut stream = upstream.stream();
            assert_eq!(proxied(&mut stream), expected, "{listen}");
            let mut hello = [0; 5];
            stream.read_exact(&mut hello).unwrap();
            assert_eq!(&hello, b"hello");
        };
        if listen.starts_with("unix:") {
            told(&mut UnixStream::connect(&unix).unwrap(), None);
        } else {
            let caller = call(daemon.api());
            let mut stream = caller.stream();
            let ends = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
            told(&mut stream, Some(ends));
        }
    }
}

#[test]
fn the_upstream_is_told_who_calls_before_it_speaks_tls() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::new("upstreams");
    let (cert, key) = ca.leaf().write(folder.path());
    let root = folder.path().join("root.pem");
    std::fs::write(&root, &ca.pem).unwrap();
    let settings = ListenerTls {
        cert,
        key,
        client_ca: None,
        min_version: TlsVersion::V1_2,
    };
    let server = Server::new(settings, Offer::Both).expect("a usable pair");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let tls = format!("tls = {{ ca = {root:?}, server_name = \"{HOST}\" }}");
    let daemon = daemon(&endpoint, &format!("proxy_protocol = true\n{tls}\n"));
    let mut caller = call(daemon.api());
    caller.write(b"hello").unwrap();
    let stream = caller.stream();
    let ends = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(proxied(&mut stream), Some(ends));
    stream.set_nonblocking(true).unwrap();
    run(async {
        let stream = tokio::net::TcpStream::from_std(stream).unwrap();
        let (mut stream, _) = server.accept(stream).await.expect("a handshake");
        let mut hello = [0; 5];
        stream.read_exact(&mut hello).await.unwrap();
        assert_eq!(&hello, b"hello");
        stream.write_all(b"world").await.unwrap();
        stream.flush().await.unwrap();
    });
    assert_eq!(caller.take(5), b"world");
}

fn unix_at(path: &Path) -> String {
    format!("unix:{}", path.display())
}

#[test]
fn a_tcp_listener_leads_to_a_unix_socket() {
    let folder = socket_folder();
    let path = folder.path().join("database.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let daemon = daemon(&unix_at(&path), "");
    let mut caller = call(daemon.api());
    let (mut upstream, _) = listener.accept().unwrap();
    upstream.set_read_timeout(Some(PATIENCE)).unwrap();
    caller.write(b"hello").unwrap();
    let mut hello = [0; 5];
    upstream.read_exact(&mut hello).unwrap();
    upstream.write_all(b"world").unwrap();
    assert_eq!((&hello, caller.take(5)), (b"hello", b"world".to_vec()));
    drop(caller);
    assert_eq!(upstream.read(&mut hello).unwrap(), 0);
    drop(upstream);
    assert_nothing_held(&daemon);
}
