//! HTTP/2 connections: how they are opened, and the task that drives one.
//!
//! A connection is usable when the upstream's settings have come: only then is it known that it
//! speaks HTTP/2 at all, and how many streams it allows. The task holds the connection's place until
//! the socket is closed. It asks a silent upstream for a sign of life while streams are open, and
//! ends a connection that gives none, or whose upstream floods us ([`crate::net::frames`]).

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::Builder;
use h2::{Ping, PingPong};
use tokio::sync::oneshot;
use tokio::time::Sleep;

use super::connection::{MAX_BUFFER, retires};
use super::shared::{Held, Hold, Shared};
use super::{Closed, Dialing, Place, Pool, Socket, Stream};
use crate::config::model::Http2;
use crate::lifecycle::tasks;
use crate::net::frames::{Earnings, Flood, FrameLimits, FrameMeter};
use crate::net::{Address, Tap, Tapped, Turn};
use crate::telemetry::limited::Limited;
use crate::{time, tls};

/// Bytes of one stream that wait to be written.
const MAX_SEND_BUFFER: usize = 256 * 1024;

/// Streams that we have reset and whose late frames are still known for what they are.
const MAX_RESET_STREAMS: usize = 256;

/// A connection that nobody needs any more has so long to say farewell.
const FAREWELL: Duration = Duration::from_secs(1);

/// What came in.
struct Heard {
    /// When something did last.
    at: Cell<Instant>,
    /// How often.
    reads: Arc<AtomicUsize>,
    turn: Turn,
    meter: RefCell<FrameMeter>,
    earnings: Arc<Earnings>,
}

impl Tap for Rc<Heard> {
    fn may_read(&self) -> bool {
        self.turn.may_read()
    }

    fn read(&self, bytes: &[u8]) -> bool {
        let now = time::now();
        self.at.set(now);
        self.reads.fetch_add(1, Relaxed);
        let mut meter = self.meter.borrow_mut();
        meter.settle(&self.earnings);
        let before = meter.frames();
        let is_calm = meter.feed(bytes, now).is_ok();
        let frames = meter.frames().wrapping_sub(before);
        self.turn.read(bytes.len(), frames);
        is_calm
    }
}

type Wire = Tapped<Box<dyn Stream>, Rc<Heard>>;

fn builder(settings: &Http2) -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(settings.stream_window)
        .initial_connection_window_size(settings.connection_window)
        .max_header_list_size(u32::try_from(MAX_BUFFER).unwrap_or(u32::MAX))
        .data_frame_budget(Turn::data_frame_budget(settings.connection_window))
        .max_send_buffer_size(MAX_SEND_BUFFER)
        .max_concurrent_reset_streams(MAX_RESET_STREAMS)
        // What we refuse of an upstream ends a stream, however often it happens in a day.
        .max_local_error_reset_streams(None)
        // None before its settings have come: that is how they are noticed.
        .initial_max_send_streams(0);
    builder
}

/// Speaks HTTP/2 on a socket, from `now` on, until the connection is usable.
///
/// # Cancel safety
///
/// Dropping the future closes the socket and gives the place back.
pub(super) async fn open(dialing: Dialing, socket: Socket, now: Instant) -> io::Result<Shared> {
    let Dialing {
        pool,
        place,
        endpoint,
        worker,
    } = dialing;
    let earnings = Arc::new(Earnings::default());
    let limits = FrameLimits::of_heads(MAX_BUFFER);
    let reads = Arc::new(AtomicUsize::new(0));
    let heard = Rc::new(Heard {
        at: Cell::new(now),
        reads: Arc::clone(&reads),
        turn: Turn::default(),
        meter: RefCell::new(FrameMeter::new(limits, 0, now)),
        earnings: Arc::clone(&earnings),
    });
    let Socket { stream, peek, .. } = socket;
    let wire = Tapped {
        stream,
        tap: Rc::clone(&heard),
    };
    let settings = &pool.settings.http2;
    let handshake = builder(settings).handshake(wire);
    let (sender, mut connection) = handshake.await.map_err(failed)?;
    let (end, ended) = oneshot::channel();
    let (usable, opened) = oneshot::channel();
    let streams = Arc::new(AtomicUsize::new(0));
    let hold = Hold::new(Held {
        endpoint: endpoint.clone(),
        worker,
        retires: retires(&pool, now),
        peek: peek.as_ref().map(Arc::downgrade),
        streams: Arc::clone(&streams),
        reads,
        earnings,
        end,
    });
    let shared = Shared::new(sender, Arc::clone(&hold), settings.max_streams);
    let driver = Driver {
        endpoint,
        vigil: Vigil::new(settings, &mut connection, heard, streams),
        connection,
        usable: false,
        allowed: 0,
        tell: Some(usable),
        ended: Some(ended),
        why: None,
        tls_failed: None,
    };
    let identity = Arc::downgrade(&hold);
    drop(hold);
    let driven = drive(driver, Arc::clone(&pool), place, worker, identity);
    tasks::spawn_local("upstream connection", driven);
    match opened.await {
        Ok(opened) => opened.map(|()| shared),
        Err(_) => Err(io::ErrorKind::ConnectionReset.into()),
    }
}

fn failed(error: h2::Error) -> io::Error {
    let text = error.to_string();
    error.into_io().unwrap_or_else(|| io::Error::other(text))
}

/// The task of a connection.
async fn drive(
    mut driver: Driver,
    pool: Arc<Pool>,
    place: Place,
    worker: usize,
    identity: Weak<Hold>,
) {
    let found = poll_fn(|cx| {
        let polled = driver.poll(cx);
        if driver.allows_more()
            && let Some(hold) = identity.upgrade()
        {
            pool.serve(&hold, false);
        }
        polled
    })
    .await;
    let usable = driver.usable;
    if let Some(reason) = driver.tls_failed {
        pool.observer.tls_failed(reason);
    }
    let known = pool.forget(worker, &identity);
    if let Some(flood) = driver.vigil.heard.meter.borrow().flood() {
        flooded(&pool, &driver.endpoint, flood);
    }
    drop(driver);
    if usable {
        pool.observer.closed(known.unwrap_or(found));
    }
    // The socket is closed by now: only then is its place free.
    drop(place);
}

fn flooded(pool: &Pool, endpoint: &Address, flood: Flood) {
    static FLOODED: Limited = Limited::every(Duration::from_secs(10));
    pool.observer.flooded(flood);
    if let Some(suppressed) = FLOODED.admit(time::now()) {
        let of = flood.word();
        tracing::warn!(%endpoint, of, suppressed, "an upstream floods us");
    }
}

struct Driver {
    endpoint: Address,
    connection: h2::client::Connection<Wire, Bytes>,
    /// Whether the upstream's settings have come.
    usable: bool,
    /// How many streams they allow.
    allowed: usize,
    /// Told whether they do.
    tell: Option<oneshot::Sender<io::Result<()>>>,
    /// Tells that nobody needs the connection, until that is known.
    ended: Option<oneshot::Receiver<Closed>>,
    /// Why nobody does.
    why: Option<Closed>,
    /// Why TLS failed, after the connection was usable; before, whoever opens it is told.
    tls_failed: Option<tls::Reason>,
    vigil: Vigil,
}

impl Driver {
    /// Whether the upstream allows more streams than when this was asked last.
    fn allows_more(&mut self) -> bool {
        let allowed = self.connection.max_concurrent_send_streams();
        let before = std::mem::replace(&mut self.allowed, allowed);
        before < allowed
    }

    /// Drives the connection to its end, which is why it came.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Closed> {
        self.vigil.heard.turn.begin();
        if let Some(ended) = &mut self.ended
            && let Poll::Ready(why) = Pin::new(ended).poll(cx)
        {
            self.ended = None;
            self.why = Some(why.unwrap_or(Closed::Abandoned));
            self.vigil.last(time::now());
        }
        let polled = Pin::new(&mut self.connection).poll(cx);
        if self.vigil.heard.meter.borrow().flood().is_some() {
            // The library's client has no word for it: the socket is closed.
            return Poll::Ready(Closed::Flood);
        }
        if let Poll::Ready(end) = polled {
            let broken = end.is_err() || self.vigil.streams.load(Relaxed) > 0;
            let error = end.err().map(failed);
            if let Some(tell) = self.tell.take() {
                let error = error.unwrap_or_else(|| io::ErrorKind::ConnectionReset.into());
                let _ = tell.send(Err(error));
            } else {
                self.tls_failed = error.and_then(|error| tls::reason_of(&error));
            }
            let found = if broken {
                Closed::Abandoned
            } else {
                Closed::Upstream
            };
            return Poll::Ready(self.why.unwrap_or(found));
        }
        if !self.usable && self.connection.max_concurrent_send_streams() > 0 {
            self.usable = true;
            let _ = self.tell.take().map(|tell| tell.send(Ok(())));
        }
        match self.vigil.poll(cx) {
            Poll::Ready(()) => Poll::Ready(self.why.unwrap_or(Closed::PingTimeout)),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Watches over a connection's signs of life, with one timer that is armed anew only when it fires.
struct Vigil {
    interval: Option<Duration>,
    timeout: Duration,
    ping: Option<PingPong>,
    heard: Rc<Heard>,
    streams: Arc<AtomicUsize>,
    timer: Pin<Box<Sleep>>,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    /// No stream is open.
    Off,
    /// Something is expected before long.
    Listening,
    /// A sign of life was asked for, then.
    Asked(Instant),
    /// Nobody needs the connection: it has until the timer fires.
    Last,
}

impl Vigil {
    fn new(
        settings: &Http2,
        connection: &mut h2::client::Connection<Wire, Bytes>,
        heard: Rc<Heard>,
        streams: Arc<AtomicUsize>,
    ) -> Self {
        let timer = tokio::time::sleep_until(heard.at.get().into());
        Self {
            interval: settings.ping_interval,
            timeout: settings.ping_timeout,
            ping: settings.ping_interval.and_then(|_| connection.ping_pong()),
            heard,
            streams,
            timer: Box::pin(timer),
            state: State::Off,
        }
    }

    /// Ready when the upstream is taken for dead, or has had its time to say farewell.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if matches!(self.state, State::Off) {
            let Some(interval) = self.interval.filter(|_| self.streams.load(Relaxed) > 0) else {
                return Poll::Pending;
            };
            let now = time::now();
            self.heard.at.set(now);
            self.state = State::Listening;
            self.wake_at(now + interval);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = time::now();
            match (self.state, self.interval) {
                (State::Last, _) => return Poll::Ready(()),
                (State::Asked(at), _) if self.heard.at.get() <= at && !self.is_answered(cx) => {
                    return Poll::Ready(());
                }
                (State::Listening | State::Asked(_), Some(interval))
                    if self.streams.load(Relaxed) > 0 =>
                {
                    let due = self.heard.at.get() + interval;
                    if due > now {
                        self.state = State::Listening;
                        self.wake_at(due);
                    } else {
                        self.ask(cx);
                        self.state = State::Asked(now);
                        self.wake_at(now + self.timeout);
                    }
                }
                _ => {
                    self.state = State::Off;
                    return Poll::Pending;
                }
            }
        }
        Poll::Pending
    }

    fn is_answered(&mut self, cx: &mut Context<'_>) -> bool {
        let answered = self.ping.as_mut().map(|ping| ping.poll_pong(cx));
        matches!(answered, Some(Poll::Ready(Ok(_))))
    }

    fn ask(&mut self, cx: &mut Context<'_>) {
        if let Some(ping) = &mut self.ping {
            // An answer to the last one makes room for the next.
            let _ = ping.poll_pong(cx);
            let _ = ping.send_ping(Ping::opaque());
            // What is written, the connection writes when it is polled.
            cx.waker().wake_by_ref();
        }
    }

    /// Nobody needs the connection any more.
    fn last(&mut self, now: Instant) {
        self.state = State::Last;
        self.wake_at(now + FAREWELL);
    }

    fn wake_at(&mut self, at: Instant) {
        self.timer.as_mut().reset(at.into());
    }
}
