//! Runs a family of cases: what a caller did, and whether what followed is permitted.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use crate::h2raw::{DATA, END_STREAM, End, Field, GOAWAY, Gone, HEADERS, PING, RST_STREAM};
use crate::peer::{Peer, Site};
use crate::support::daemon::Daemon;
use crate::support::tls::{Ca, Trust};
use crate::support::upstream::{Call, Step, Upstream, message, reply};

pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const FLOW_CONTROL_ERROR: u32 = 3;
pub(crate) const STREAM_CLOSED: u32 = 5;
pub(crate) const FRAME_SIZE_ERROR: u32 = 6;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;
pub(crate) const COMPRESSION_ERROR: u32 = 9;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// What may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permit {
    /// GOAWAY with this code, and then the end of the connection, in order (§5.4.1).
    GoAway(u32),
    /// The same, and this is the last stream that was taken up.
    GoAwayLast(u32, u32),
    /// The end of the connection without a word.
    Closed,
    /// RST_STREAM on this stream with this code, and the connection goes on (§5.4.2).
    Reset(u32, u32),
    /// A response of this status on this stream, whole, and the connection goes on.
    Status(u32, u16),
    /// The connection goes on.
    Alive,
}

use Permit::{Alive, Closed, GoAway, GoAwayLast, Reset, Status};

/// One thing that a caller does.
pub(crate) struct Case {
    /// The section of the RFC, and what it is about.
    name: &'static str,
    act: fn(&mut Peer),
    permits: &'static [Permit],
}

pub(crate) const fn case(
    name: &'static str,
    act: fn(&mut Peer),
    permits: &'static [Permit],
) -> Case {
    Case { name, act, permits }
}

/// A stream error on the first stream, or an answer that says so (§8.1.1); a stream error may be taken
/// for one of the connection (§5.4.1).
pub(crate) const MALFORMED: &[Permit] = &[
    Reset(1, PROTOCOL_ERROR),
    Status(1, 400),
    GoAway(PROTOCOL_ERROR),
];

/// Runs the cases of a family, each on a connection of its own: without TLS, and once more within.
#[track_caller]
pub(crate) fn run(cases: &[Case]) {
    run_on("auto", cases);
}

/// The same, without TLS on this listener.
#[track_caller]
pub(crate) fn run_on(listener: &str, cases: &[Case]) {
    let upstream = Upstream::start(answer);
    let ca = Ca::new("of the listener");
    let folder = tempfile::tempdir().expect("a temporary directory");
    let daemon = Daemon::start(&config(&upstream, &ca.leaf().write(folder.path())));
    let trust = Trust::of(&ca).offering(&["h2"]);
    let site = |listener, trust| Site {
        address: daemon.address(listener),
        trust,
    };
    let mut wrong = String::new();
    for site in [site(listener, None), site("tls", Some(Arc::new(trust)))] {
        for case in cases {
            if let Err(why) = judge(&site, case).and_then(|()| fresh(&site)) {
                let over = site.trust.as_ref().map_or("", |_| " (TLS)");
                let _ = writeln!(wrong, "\n{}{over}: {why}", case.name);
            }
        }
    }
    let requests = upstream.seen().requests.into_iter();
    for seen in requests.filter(|seen| seen.complete && seen.head.word(1).contains("/bad")) {
        let _ = writeln!(wrong, "\nthe upstream got {:?}", seen.head);
    }
    assert!(wrong.is_empty(), "{wrong}");
    daemon.await_metric("outrigger_bulkhead_in_flight", &[], 0.0);
}

/// An upstream `api` that nothing keeps from being asked, on three listeners.
fn config(upstream: &Upstream, (cert, key): &(PathBuf, PathBuf)) -> String {
    format!(
        r#"
[defaults.downstream]
idle_timeout = "10m"
[defaults.downstream.http2]
max_streams = 20
stream_window = "65535B"
connection_window = "1310700B"
[defaults]
breaker = false
ejection = false
[upstreams.api]
endpoints = ["{}"]
[[upstreams.api.faults]]
action = "delay"
delay = "60s"
path_prefix = "/stalled"
until = "2199-01-01T00:00:00Z"
[[listeners]]
name = "auto"
address = "127.0.0.1:0"
routes = [{{ upstream = "api" }}]
[[listeners]]
name = "prior"
address = "127.0.0.1:0"
protocol = "http2"
routes = [{{ upstream = "api" }}]
[[listeners]]
name = "tls"
address = "127.0.0.1:0"
routes = [{{ upstream = "api" }}]
tls = {{ cert = {cert:?}, key = {key:?} }}
"#,
        upstream.url()
    )
}

/// Bytes of `/large`: more than a window, and than a frame.
pub(crate) const LARGE: usize = 100_000;

fn answer(call: &Call<'_>) -> Vec<Step> {
    let head = |text: &str| Step::Send(text.as_bytes().to_vec());
    match call.path() {
        "/held" => vec![Step::Hang],
        "/echo" => vec![
            head("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
            Step::Echo,
            head("0\r\n\r\n"),
        ],
        "/large" => reply(200, &"x".repeat(LARGE)),
        "/small" => reply(200, "0123456789"),
        "/fields" => {
            let fields = "x-one: 1\r\n".repeat(8) + &format!("x-long: {}\r\n", "y".repeat(6000));
            let head = format!("HTTP/1.1 200 OK\r\n{fields}content-length: 0\r\n\r\n");
            vec![Step::Send(head.into_bytes())]
        }
        "/huge" => {
            let long = "Z".repeat(30_000);
            let head = format!("HTTP/1.1 200 OK\r\nx-long: {long}\r\ncontent-length: 0\r\n\r\n");
            vec![Step::Send(head.into_bytes())]
        }
        "/seen" => {
            let fields = call.head.fields.iter();
            let fields = fields.filter(|(name, _)| name == "cookie" || name.starts_with("x-a"));
            let fields: Vec<_> = fields
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            vec![Step::ReadBody, Step::Send(message(200, &fields.join("|")))]
        }
        _ => reply(200, "ok"),
    }
}

/// What happened once the caller was through.
#[derive(Debug, Default)]
struct Seen {
    /// GOAWAY: its code and its last stream.
    away: Option<(u32, u32)>,
    /// How each stream ended: with a status, or by a reset.
    ended: Vec<Permit>,
    /// PING was answered.
    alive: bool,
    gone: Option<Gone>,
}

fn judge(site: &Site, case: &Case) -> Result<(), String> {
    let mut peer = Peer::new(site);
    let acted = catch_unwind(AssertUnwindSafe(|| (case.act)(&mut peer)));
    acted.map_err(|_| format!("stopped on the way; {}", peer.told()))?;
    let permits = case.permits;
    let seen = watch(&mut peer, permits);
    match permits.iter().any(|permit| seen.is(*permit, &peer)) {
        true => Ok(()),
        false => Err(format!("{seen:?}, and not {permits:?}; {}", peer.told())),
    }
}

/// Reads until it is clear which of these it is, or that it is none.
fn watch(peer: &mut Peer, permits: &[Permit]) -> Seen {
    const MARK: &[u8; 8] = b"the mark";
    let streams: Vec<u32> = permits.iter().filter_map(Permit::stream).collect();
    let mut seen = Seen::default();
    peer.frame(PING, 0, 0, MARK);
    loop {
        let ended = |stream| {
            seen.ended
                .iter()
                .any(|ended| ended.stream() == Some(stream))
        };
        let settled = streams.iter().any(|stream| ended(*stream));
        let waits = !streams.is_empty() && !settled && !permits.contains(&Alive);
        if seen.alive && !waits {
            return seen;
        }
        let frame = match peer.next() {
            Ok(frame) => frame,
            Err(gone) => {
                seen.gone = Some(gone);
                return seen;
            }
        };
        let stream = frame.stream;
        match frame.kind {
            PING if frame.payload == MARK => seen.alive = true,
            GOAWAY => seen.away = Some((frame.number(4), frame.number(0) & 0x7fff_ffff)),
            RST_STREAM => seen.ended.push(Reset(stream, frame.number(0))),
            _ => {}
        }
        if matches!(frame.kind, HEADERS | DATA) && frame.has(END_STREAM) {
            seen.ended.push(Status(stream, peer.status(stream)));
        }
    }
}

pub(crate) fn status(fields: &[Field]) -> Option<u16> {
    let field = fields.iter().find(|field| field.0 == b":status")?;
    std::str::from_utf8(&field.1).ok()?.parse().ok()
}

impl Permit {
    fn stream(&self) -> Option<u32> {
        match self {
            Reset(stream, _) | Status(stream, _) => Some(*stream),
            _ => None,
        }
    }
}

impl Seen {
    fn is(&self, permit: Permit, peer: &Peer) -> bool {
        let closed = self.gone == Some(Gone::Closed);
        let away = |code| match self.away {
            // A server takes up no stream that nobody opened.
            Some((found, last)) => found == code && last <= peer.highest() && closed,
            None => false,
        };
        let open = self.alive && self.away.is_none() && self.gone.is_none();
        match permit {
            GoAway(code) => away(code),
            GoAwayLast(code, last) => away(code) && self.away == Some((code, last)),
            Closed => (closed || self.gone == Some(Gone::Broken)) && self.away.is_none(),
            Reset(..) | Status(..) => open && self.ended.contains(&permit),
            Alive => open,
        }
    }
}

/// That somebody else gets an answer.
fn fresh(site: &Site) -> Result<(), String> {
    let mut peer = Peer::new(site);
    peer.get(1, "/fresh");
    let message = peer.message(1);
    if message.status() == 200 && message.data == b"ok" && message.end == End::Whole {
        return Ok(());
    }
    Err(format!("a caller that came later got {message:?}"))
}
