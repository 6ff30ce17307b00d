//! Peers of HTTP/2 that send what costs them little and us much: each is let go of, counted, and
//! leaves nothing behind.

use std::net::TcpListener;
use std::thread;

use outrigger::proxy::error::ProxyError;
use outrigger::time;

use crate::expect::{API, assert_nothing_held, assert_row};
use crate::h2raw::{
    CONTINUATION, DATA, END_HEADERS, Frame, GOAWAY, Gone, HEADERS, Link, PING, PRIORITY, SETTINGS,
    WINDOW_UPDATE,
};
use crate::support::PATIENCE;
use crate::support::client::get;
use crate::support::daemon::{Daemon, section};
use crate::support::upstream::{Step, Upstream};

const OPEN: &str = "outrigger_downstream_connections";
const FLOODS: &str = "outrigger_http2_floods_total";
const UPSTREAM_FLOODS: &str = "outrigger_upstream_http2_floods_total";
const HEADER_TIMEOUTS: &str = "outrigger_downstream_header_timeouts_total";

/// More than is let through of anything, and little enough to be written at once.
const MANY: u32 = 4000;

const UNKNOWN: u8 = 0xfa;
const ENHANCE_YOUR_CALM: u32 = 11;

/// A daemon in front of an upstream that never answers.
fn daemon(upstream: &Upstream) -> Daemon {
    Daemon::proxying(&[upstream.url()], "")
}

fn hangs() -> Upstream {
    Upstream::start(|call| match call.path() {
        "/hang" => vec![Step::Hang],
        _ => crate::support::upstream::reply(200, "fine"),
    })
}

const HANG: [(&[u8], &[u8]); 4] = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/hang"),
    (b":authority", b"a"),
];

/// The same frame over and over, after a request that is on its way.
fn repeated(frame: &Frame) -> Vec<u8> {
    let mut bytes = Frame::headers(1, &HANG, false).encode();
    for _ in 0..MANY {
        bytes.extend(frame.encode());
    }
    bytes
}

/// As many streams, of each what `frames` makes of it.
fn streams(count: u32, frames: impl Fn(u32) -> Vec<Frame>) -> Vec<u8> {
    let numbers = (0..count).map(|at| 2 * at + 1);
    let frames = numbers.flat_map(frames);
    frames.flat_map(|frame| frame.encode()).collect()
}

/// What is sent, and what it is counted as: by the meter, or by the library where that is first.
fn floods() -> Vec<(&'static str, Vec<u8>, &'static [&'static str])> {
    let open = |stream| Frame::headers(stream, &HANG, false);
    let window = |stream, octets: u32| Frame::new(WINDOW_UPDATE, 0, stream, &octets.to_be_bytes());
    let priority = Frame::new(PRIORITY, 0, 3, &[0, 0, 0, 0, 16]);
    let unended = |stream, payload: &[u8]| Frame::new(HEADERS, 0, stream, payload);
    let more = |payload: &[u8]| Frame::new(CONTINUATION, 0, 1, payload);
    let block = |length: usize, count: usize| {
        let payload = vec![0; length];
        let mut bytes = unended(1, &payload).encode();
        for _ in 0..count {
            bytes.extend(more(&payload).encode());
        }
        bytes
    };
    vec![
        (
            "SETTINGS",
            repeated(&Frame::new(SETTINGS, 0, 0, &[])),
            &["settings"],
        ),
        (
            "PING",
            repeated(&Frame::new(PING, 0, 0, &[7; 8])),
            &["ping"],
        ),
        ("PRIORITY", repeated(&priority), &["priority"]),
        ("WINDOW_UPDATE", repeated(&window(0, 1)), &["window_update"]),
        (
            "unknown frames",
            repeated(&Frame::new(UNKNOWN, 0, 0, b"what")),
            &["other_frames"],
        ),
        (
            "empty DATA",
            repeated(&Frame::new(DATA, 0, 1, &[])),
            &["empty_data", "errors"],
        ),
        (
            "rapid reset",
            streams(MANY, |stream| vec![open(stream), Frame::reset(stream, 8)]),
            &["resets", "errors"],
        ),
        (
            "streams beyond the limit",
            streams(MANY, |stream| vec![open(stream)]),
            &["errors"],
        ),
        (
            "resets that we are made to send",
            streams(MANY, |stream| {
                vec![open(stream), window(stream, 0x7fff_ffff)]
            }),
            &["errors"],
        ),
        ("CONTINUATION", block(0, 20), &["continuations", "errors"]),
        (
            "a large header block",
            block(16_384, 8),
            &["header_block", "continuations", "errors"],
        ),
    ]
}

#[test]
fn a_caller_that_floods_us_is_told_to_calm_down_and_let_go_of() {
    let upstream = hangs();
    let daemon = daemon(&upstream);
    let began = time::now();
    for (count, (what, bytes, reasons)) in (1_u32..).zip(floods()) {
        let mut link = Link::connect(daemon.api(), PATIENCE);
        link.write(&bytes);
        let code = loop {
            match link.read() {
                Ok(frame) if frame.kind == GOAWAY => {
                    break frame.payload.get(4..8).map(<[u8]>::to_vec);
                }
                Ok(_) => {}
                Err(Gone::Closed | Gone::Broken) => break None,
                Err(gone) => panic!("{what}: {gone:?}"),
            }
        };
        let calm = ENHANCE_YOUR_CALM.to_be_bytes().to_vec();
        assert_eq!(code, Some(calm), "{what}");
        while let Ok(_late) = link.read() {}
        daemon.await_metric(OPEN, &[("listener", "api")], 0.0);
        daemon.await_metric(FLOODS, &[("listener", "api")], f64::from(count));
        let counted = reasons
            .iter()
            .map(|reason| daemon.metric(FLOODS, &[("reason", reason)]));
        assert!(counted.sum::<f64>() > 0.0, "{what}: none of {reasons:?}");
        assert_nothing_held(&daemon);
        assert_eq!(get(daemon.api(), "/").status, 200, "after {what}");
    }
    // One of ten seconds at most, however long this took.
    let logged = daemon.await_logged("a caller floods us", 1).len() as u64;
    let most = (time::now() - began).as_secs() / 10 + 1;
    assert!((1..=most).contains(&logged), "{logged} lines, not {most}");
}

#[test]
fn a_burst_of_small_pieces_that_are_read_as_they_come_is_no_flood() {
    const PIECES: usize = 20_000;
    let upstream = Upstream::start(|_| {
        let reply = crate::support::upstream::reply(200, "read");
        [vec![Step::ReadBody], reply].concat()
    });
    let daemon = daemon(&upstream);
    let mut link = Link::connect(daemon.api(), PATIENCE);
    let ids = [1, 3];
    let heads = ids.map(|stream| Frame::headers(stream, &HANG, false).encode());
    let piece = ids.map(|stream| Frame::data(stream, b"x", false).encode());
    let pieces = piece.concat().repeat(PIECES);
    let ends = ids.map(|stream| Frame::data(stream, b"", true).encode());
    // Of both at once: more than may wait unread in a connection, and all of it is read at once.
    link.write(&[heads.concat(), pieces, ends.concat()].concat());
    for stream in ids {
        let message = link.message(stream);
        assert_eq!(message.status(), 200, "{:?}", message.end);
    }
    let seen = upstream.seen().requests;
    assert!(seen.iter().all(|seen| seen.length == PIECES as u64));
    daemon.await_metric(FLOODS, &[], 0.0);
}

#[test]
fn an_index_bomb_is_no_larger_than_the_head_that_it_makes() {
    let upstream = hangs();
    let daemon = daemon(&upstream);
    let mut link = Link::connect(daemon.api(), PATIENCE);
    // A field of 4000 octets into the table, and then as many times as fit into a frame.
    let mut block = vec![0x83, 0x86, 0x84, 0x41, 1, b'a', 0x40, 1, b'x', 0x7f];
    block.extend([0x81, 0x1e]);
    block.extend([b'y'; 4000]);
    block.extend([0xbe; 10_000]);
    link.send(&Frame::new(HEADERS, END_HEADERS | 1, 1, &block));
    let message = link.message(1);
    assert_ne!(message.status(), 200, "{:?}", message.end);
    assert_eq!(get(daemon.api(), "/").status, 200);
    drop(link);
    daemon.await_metric(OPEN, &[("listener", "api")], 0.0);
    assert_nothing_held(&daemon);
    assert!(upstream.seen().requests.len() < 2, "the bomb went on");
}

#[test]
fn a_head_that_never_ends_is_cut_though_other_streams_run() {
    let upstream = hangs();
    let more = "downstream = { header_timeout = \"300ms\" }";
    let daemon = Daemon::proxying(&[upstream.url()], more);
    let first = Frame::headers(1, &HANG, true).encode();
    let whole = Frame::headers(3, &HANG, true).encode();
    let unended = Frame::new(HEADERS, 0, 3, &[0x83]).encode();
    let with_more = [
        unended.clone(),
        Frame::new(CONTINUATION, 0, 3, &[0x86]).encode(),
    ]
    .concat();
    let heads = [&whole[..whole.len() - 1], &unended, &with_more];
    for (count, head) in (1_u32..).zip(heads) {
        let mut link = Link::connect(daemon.api(), PATIENCE);
        link.write(&[&first, head].concat());
        while let Ok(_frame) = link.read() {}
        daemon.await_metric(HEADER_TIMEOUTS, &[("listener", "api")], f64::from(count));
        daemon.await_metric(OPEN, &[("listener", "api")], 0.0);
        assert_nothing_held(&daemon);
    }
    daemon.await_metric(FLOODS, &[], 0.0);
}

/// An upstream that floods whoever sends it a request.
fn flooding(flood: impl Fn(u32) -> Vec<u8> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let Ok(mut link) = Link::accept(stream, &[], PATIENCE) else {
                continue;
            };
            if let Ok(stream) = link.request() {
                link.write(&flood(stream));
                while let Ok(_frame) = link.read() {}
            }
        }
    });
    format!("http://{address}")
}

#[test]
fn an_upstream_that_floods_us_is_let_go_of() {
    let interim: [(&[u8], &[u8]); 1] = [(b":status", b"103")];
    let repeat = |frame: &Frame| frame.encode().repeat(MANY as usize);
    type Flood = Box<dyn Fn(u32) -> Vec<u8> + Send>;
    let cases: [(&str, Flood); 3] = [
        (
            "ping",
            Box::new(move |_| repeat(&Frame::new(PING, 0, 0, &[7; 8]))),
        ),
        (
            "settings",
            Box::new(move |_| repeat(&Frame::new(SETTINGS, 0, 0, &[]))),
        ),
        (
            "headers",
            Box::new(move |stream| repeat(&Frame::headers(stream, &interim, false))),
        ),
    ];
    for (reason, flood) in cases {
        let upstream = flooding(flood);
        let config = section(&[upstream], "protocol = \"http2\"");
        let daemon = Daemon::start(&config);
        let response = get(daemon.api(), "/");
        assert_row(&response, ProxyError::UpstreamReset);
        daemon.await_metric(UPSTREAM_FLOODS, &[API, ("reason", reason)], 1.0);
        let closed = "outrigger_pool_connections_closed_total";
        daemon.await_metric(closed, &[API, ("reason", "flood")], 1.0);
        assert_nothing_held(&daemon);
        assert_eq!(daemon.await_logged("an upstream floods us", 1).len(), 1);
    }
}
