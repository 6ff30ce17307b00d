//! One HTTP/2 connection of a caller: all its streams in the connection's own task.
//!
//! Dropping the connection drops every request on it. Invariants: a response that did not end is
//! reset, never ended; what a peer can make us keep is bounded by the windows and limits of
//! `downstream.http2`; a caller that resets its stream cancels the request at once; a caller that
//! floods us or breaks the protocol ([`crate::net::frames`]) or never ends a head is let go of; a
//! GOAWAY is not taken back by bytes of the caller's that nobody has read.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Ping, PingPong, Reason, RecvStream};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};

use super::stream;
use super::wire::{FAREWELL, Wire};
use crate::config::model::Downstream;
use crate::net::frames::lawful::Lawful;
use crate::net::frames::{Flood, FrameLimits, FrameMeter};
use crate::net::{Tap, Tapped, Turn};
use crate::pool::{Linger, Lingering, linger};
use crate::proxy::Caller;
use crate::proxy::watch::Watch;
use crate::telemetry::limited::Limited;
use crate::time::{self, Alarm, Flock};

/// Bytes of one stream's response that wait for the caller's socket: a frame.
const SEND_BUFFER: usize = 16 * 1024;

/// A connection that was told to go away may take this long to do so.
const GOING: Duration = Duration::from_secs(5);

/// One that floods us or breaks the protocol has so long to take the word for it; the first has as
/// long again to go, and what it still sends is read no further than this.
const CALMING: Duration = Duration::from_secs(1);
const CALMING_BYTES: usize = 256 * 1024;

/// Streams that we have reset and whose late frames are still known for what they are: a frame of
/// one that was forgotten is an error of the caller's. Twice the streams of the default.
const MIN_RESET_STREAMS: usize = 200;

/// Streams refused or reset because of errors, in the life of a connection. A lawful caller has
/// some before it knows our settings; one that makes us reset for ever would pay for nothing, as
/// what it opened counts as closed while the upstream still works on it.
const MAX_ERRORS: usize = 256;

fn builder(settings: &Downstream) -> Builder {
    let streams = usize::try_from(settings.http2.max_streams).unwrap_or(usize::MAX);
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(settings.http2.max_streams)
        .initial_window_size(settings.http2.stream_window)
        .initial_connection_window_size(settings.http2.connection_window)
        .max_header_list_size(u32::try_from(settings.max_header_bytes).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(streams.max(MIN_RESET_STREAMS))
        .max_local_error_reset_streams(Some(MAX_ERRORS))
        .data_frame_budget(Turn::data_frame_budget(settings.http2.connection_window))
        // A caller may cancel all that it has before we have looked at any of it; how often it may
        // is the meter's to say.
        .max_pending_accept_reset_streams(streams);
    if settings.upgrades.iter().any(|name| name == "websocket") {
        builder.enable_connect_protocol();
    }
    builder
}

/// Serves a caller until one side closes or a timer ends it.
///
/// # Cancel safety
///
/// Dropping the future closes the connection and cancels the requests in flight.
pub(super) async fn serve<S>(mut caller: Caller, mut wire: Wire<S>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let now = time::now();
    let alarm = caller.watch.alarm.clone();
    // Its streams share the socket: that something comes says nothing about one of them.
    caller.ends.socket = None;
    let settings = &caller.listener.downstream;
    let limits = FrameLimits::of_heads(settings.max_header_bytes);
    let life = Rc::new(Life {
        came: Cell::new(now),
        state: Cell::new(State::Opening(now + settings.header_timeout)),
        turn: Turn::default(),
        meter: RefCell::new(FrameMeter::new(limits, PREFACE, now)),
        lawful: RefCell::new(Lawful::new(PREFACE)),
        header_timeout: settings.header_timeout,
        head: Cell::new(None),
        alarm: alarm.clone(),
    });
    alarm.want(now + settings.header_timeout);
    let served = {
        let tapped = Tapped {
            stream: &mut wire,
            tap: Rc::clone(&life),
        };
        let served = pin!(async {
            let mut wire = builder(settings).handshake(tapped).await?;
            let (linger, lingering) = linger();
            let mut serving = Serving {
                pings: wire.ping_pong(),
                wire,
                flock: Flock::new(alarm.clone()),
                seen: alarm.fired(),
                life: &life,
                caller: &caller,
                linger,
                lingering,
            };
            serving.rest();
            let end = poll_fn(|cx| serving.poll(cx)).await;
            match life.reproach() {
                Some(reason) => serving.let_go(reason).await,
                None => end,
            }
        });
        time::drive(&alarm, served, |now| life.overdue(now)).await
    };
    let flood = life
        .flood()
        .or_else(|| served.as_ref().and_then(in_library));
    if let Some(flood) = flood {
        flooded(&caller, flood);
    }
    match served {
        Some(Ok(())) => {
            let lapse = life.lawful.borrow().lapse();
            tracing::debug!(?lapse, "HTTP/2 connection of a caller ended");
        }
        Some(Err(ref error)) => {
            tracing::debug!(%error, "HTTP/2 connection of a caller ended");
            if error.is_io() {
                return;
            }
        }
        None => {
            if life.reproach().is_none() && life.is_in_head() {
                caller.listener.metrics.header_timed_out();
            }
            tracing::debug!(state = ?life.state.get(), "HTTP/2 connection of a caller timed out");
            return;
        }
    }
    // Our last word is out, and every request is dropped. What a lawful caller had under way when
    // it was said, the window bounds.
    let window = settings.http2.connection_window;
    let window = usize::try_from(window).unwrap_or(usize::MAX);
    let most = match flood {
        Some(_) => (CALMING, CALMING_BYTES.min(window)),
        None => (FAREWELL, window),
    };
    wire.close(&alarm, most).await;
}

/// A flood that the library has found and ended the connection for.
fn in_library(served: &Result<(), h2::Error>) -> Option<Flood> {
    let error = served.as_ref().err()?;
    let ours = error.is_library() && error.is_go_away();
    (ours && error.reason() == Some(Reason::ENHANCE_YOUR_CALM)).then_some(Flood::Errors)
}

fn flooded(caller: &Caller, flood: Flood) {
    static FLOODED: Limited = Limited::every(Duration::from_secs(10));
    let listener = &caller.listener;
    listener.metrics.flooded(flood);
    if let Some(suppressed) = FLOODED.admit(time::now()) {
        let (name, peer) = (&*listener.name, caller.ends.peer);
        let of = flood.word();
        tracing::warn!(listener = name, peer = ?peer, of, suppressed, "a caller floods us");
    }
}

/// Octets of what a caller says first (RFC 9113 §3.4).
const PREFACE: u32 = 24;

/// What the timer and the socket know of a connection.
pub(super) struct Life {
    /// When a byte came last.
    came: Cell<Instant>,
    state: Cell<State>,
    turn: Turn,
    meter: RefCell<FrameMeter>,
    lawful: RefCell<Lawful>,
    header_timeout: Duration,
    /// The head that has begun and not ended, by its number, and until when it may take.
    head: Cell<Option<(u64, Instant)>>,
    alarm: Alarm,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The preface is awaited, until then.
    Opening(Instant),
    /// No stream is open; the caller is told to go away then.
    Resting(Instant),
    /// Streams are open.
    Busy,
    /// Streams are open, and a sign of life is awaited until then.
    Asked(Instant),
    /// It was told to go away and is closed then, whatever is still open.
    Going(Instant),
}

impl Tap for Rc<Life> {
    fn may_read(&self) -> bool {
        self.turn.may_read()
    }

    fn read(&self, bytes: &[u8]) -> bool {
        self.passed(bytes) == bytes.len()
    }

    /// What comes before a fault of the caller's is served: it is nobody's fault.
    fn passed(&self, bytes: &[u8]) -> usize {
        let now = time::now();
        self.came.set(now);
        let passed = match self.lawful.borrow_mut().feed(bytes) {
            Ok(()) => bytes.len(),
            Err((_, lawful)) => lawful,
        };
        let mut meter = self.meter.borrow_mut();
        let lawful = bytes.get(..passed).unwrap_or_default();
        let before = meter.frames();
        let is_calm = meter.feed(lawful, now).is_ok();
        let frames = meter.frames().wrapping_sub(before);
        self.turn.read(bytes.len(), frames);
        let head = meter.unended_head();
        if head != self.head.get().map(|(head, _)| head) {
            let until = now + self.header_timeout;
            self.head.set(head.map(|head| (head, until)));
            if head.is_some() {
                self.alarm.want(until);
            }
        }
        if is_calm { passed } else { 0 }
    }
}

impl Life {
    /// Whether the connection has to be dropped.
    fn overdue(&self, now: Instant) -> bool {
        let of_state = match self.state.get() {
            State::Opening(at) | State::Asked(at) | State::Going(at) => Some(at),
            State::Resting(_) | State::Busy => None,
        };
        let of_head = self.head.get().map(|(_, at)| at);
        let at = of_state.into_iter().chain(of_head).min();
        if let Some(at) = at.filter(|at| *at > now) {
            self.alarm.want(at);
        }
        at.is_some_and(|at| at <= now)
    }

    /// Whether a preface or a head has begun to come and has not ended.
    fn is_in_head(&self) -> bool {
        matches!(self.state.get(), State::Opening(_)) || self.head.get().is_some()
    }

    fn flood(&self) -> Option<Flood> {
        self.meter.borrow().flood()
    }

    /// What the caller is to be told before it is let go of, if it is.
    fn reproach(&self) -> Option<Reason> {
        let lapse = || self.lawful.borrow().lapse();
        match self.flood() {
            Some(_) => Some(Reason::ENHANCE_YOUR_CALM),
            None => lapse().map(|lapse| lapse.code().into()),
        }
    }

    /// A piece of a body goes to the caller.
    pub(super) fn sent(&self, bytes: usize) {
        self.meter.borrow_mut().sent(bytes);
    }
}

struct Serving<'c, S> {
    wire: h2::server::Connection<Tapped<S, Rc<Life>>, Bytes>,
    pings: Option<PingPong>,
    flock: Flock<Rc<Watch>>,
    /// When the alarm had fired last at the last look.
    seen: Instant,
    life: &'c Rc<Life>,
    caller: &'c Caller,
    /// Where uploads are left of which only the end is missing.
    linger: Linger,
    lingering: Lingering,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Serving<'_, S> {
    /// Streams first, then the socket: what they have written leaves in the same turn.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        self.life.turn.begin();
        let fired = self.alarm().fired();
        if fired > self.seen {
            self.seen = fired;
            self.flock.fire(fired);
            self.look(fired);
        }
        self.hear(cx);
        loop {
            let was_busy = !self.flock.is_empty();
            while self.flock.poll_next(cx).is_ready() {}
            if was_busy && self.flock.is_empty() {
                self.rest();
            }
            let accepted = self.wire.poll_accept(cx);
            if self.life.reproach().is_some() {
                return Poll::Ready(Ok(()));
            }
            match accepted {
                Poll::Ready(Some(Ok((request, respond)))) => self.begin(request, respond),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    if let Some(at) = self.lingering.poll(cx) {
                        self.alarm().want(at);
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    fn alarm(&self) -> &Alarm {
        &self.caller.watch.alarm
    }

    fn begin(&mut self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        let stream = respond.stream_id().as_u32();
        if self.life.lawful.borrow_mut().take_malformed(stream) {
            return respond.send_reset(Reason::PROTOCOL_ERROR);
        }
        let now = time::now();
        if let State::Opening(_) | State::Resting(_) = self.life.state.get() {
            self.life.state.set(State::Busy);
            self.ask_later(now);
        }
        let watch = Rc::new(Watch::stream(self.alarm().child(), now));
        let caller = Rc::new(self.caller.on_stream(Rc::clone(&watch)));
        self.flock.join(
            watch,
            stream::answer(
                caller,
                request,
                respond,
                Rc::clone(self.life),
                self.linger.clone(),
            ),
        );
    }

    /// Drops all streams and tells the caller why.
    async fn let_go(self, reason: Reason) -> Result<(), h2::Error> {
        let Self {
            mut wire,
            flock,
            life,
            ..
        } = self;
        drop(flock);
        let at = time::now() + CALMING;
        life.state.set(State::Going(at));
        life.alarm.want(at);
        wire.abrupt_shutdown(reason);
        poll_fn(|cx| wire.poll_closed(cx)).await
    }

    /// No stream is open any more.
    fn rest(&self) {
        if !matches!(self.life.state.get(), State::Going(_)) {
            let at = time::now() + self.caller.listener.downstream.idle_timeout;
            self.life.state.set(State::Resting(at));
            self.alarm().want(at);
        }
    }

    /// Looks whether the caller is still there, or is not needed any more.
    fn look(&mut self, now: Instant) {
        match self.life.state.get() {
            State::Resting(at) if at <= now => {
                self.wire.graceful_shutdown();
                self.life.state.set(State::Going(now + GOING));
                self.alarm().want(now + GOING);
            }
            State::Resting(at) => self.alarm().want(at),
            State::Busy => self.ask_later(now),
            // A request that crossed our word on its way is served to its end.
            State::Going(at) if at <= now && !self.flock.is_empty() => {
                self.life.state.set(State::Going(now + GOING));
            }
            State::Opening(_) | State::Asked(_) | State::Going(_) => {}
        }
    }

    /// Asks for a sign of life where none has come for long enough; else when that will be.
    fn ask_later(&mut self, now: Instant) {
        let settings = &self.caller.listener.downstream.http2;
        let (Some(interval), Some(pings)) = (settings.ping_interval, &mut self.pings) else {
            return;
        };
        let mut at = self.life.came.get() + interval;
        if at <= now && pings.send_ping(Ping::opaque()).is_ok() {
            at = now + settings.ping_timeout;
            self.life.state.set(State::Asked(at));
        }
        self.caller
            .watch
            .alarm
            .want(at.max(now + GOING.min(interval)));
    }

    /// Takes a sign of life.
    fn hear(&mut self, cx: &mut Context<'_>) {
        if let State::Asked(_) = self.life.state.get()
            && let Some(pings) = &mut self.pings
            && pings.poll_pong(cx).is_ready()
        {
            self.life.state.set(State::Busy);
            let now = time::now();
            self.ask_later(now);
        }
    }
}
