//! One HTTP/2 connection of a caller: all its streams in the connection's own task.
//!
//! Dropping the connection drops every request on it. Invariants: a response that did not end is
//! reset, never ended; what a peer can make us keep is bounded by the windows and limits of
//! `downstream.http2`; a caller that resets its stream cancels the request at once.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Ping, PingPong, RecvStream};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};

use super::stream;
use super::wire::Wire;
use crate::net::{Tap, Tapped};
use crate::proxy::Caller;
use crate::proxy::watch::Watch;
use crate::time::{self, Alarm, Flock};

/// Bytes of one stream's response that wait for the caller's socket.
const SEND_BUFFER: usize = 64 * 1024;

/// A connection that was told to go away may take this long to do so.
const GOING: Duration = Duration::from_secs(5);

/// Serves a caller until one side closes or a timer ends it.
///
/// # Cancel safety
///
/// Dropping the future closes the connection and cancels the requests in flight.
pub(super) async fn serve<S>(mut caller: Caller, wire: Wire<S>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let now = time::now();
    let alarm = caller.watch.alarm.clone();
    // Its streams share the socket: that something comes says nothing about one of them.
    caller.ends.socket = None;
    let settings = &caller.listener.downstream;
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(settings.http2.max_streams)
        .initial_window_size(settings.http2.stream_window)
        .initial_connection_window_size(settings.http2.connection_window)
        .max_header_list_size(u32::try_from(settings.max_header_bytes).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER);
    if settings.upgrades.iter().any(|name| name == "websocket") {
        builder.enable_connect_protocol();
    }
    let life = Rc::new(Life {
        came: Cell::new(now),
        state: Cell::new(State::Opening(now + settings.header_timeout)),
    });
    alarm.want(now + settings.header_timeout);
    let wire = Tapped {
        stream: wire,
        tap: Rc::clone(&life),
    };
    let served = pin!(async {
        let mut wire = builder.handshake(wire).await?;
        let mut serving = Serving {
            pings: wire.ping_pong(),
            wire,
            flock: Flock::new(alarm.clone()),
            seen: alarm.fired(),
            life: &life,
            caller: &caller,
        };
        serving.rest();
        poll_fn(|cx| serving.poll(cx)).await
    });
    let served = time::drive(&alarm, served, |now| life.overdue(now, &alarm));
    match served.await {
        Some(Ok(())) => {}
        Some(Err::<_, h2::Error>(error)) => {
            tracing::debug!(%error, "HTTP/2 connection of a caller ended");
        }
        None => {
            if matches!(life.state.get(), State::Opening(_)) {
                caller.listener.metrics.header_timed_out();
            }
            tracing::debug!(state = ?life.state.get(), "HTTP/2 connection of a caller timed out");
        }
    }
}

/// What the timer and the socket know of a connection.
struct Life {
    /// When a byte came last.
    came: Cell<Instant>,
    state: Cell<State>,
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
    fn read(&self, _: usize) {
        self.came.set(time::now());
    }
}

impl Life {
    /// Whether the connection has to be dropped.
    fn overdue(&self, now: Instant, alarm: &Alarm) -> bool {
        match self.state.get() {
            State::Opening(at) | State::Asked(at) | State::Going(at) if at <= now => true,
            State::Opening(at) | State::Asked(at) | State::Going(at) => {
                alarm.want(at);
                false
            }
            State::Resting(_) | State::Busy => false,
        }
    }
}

struct Serving<'c, S> {
    wire: h2::server::Connection<Tapped<S, Rc<Life>>, Bytes>,
    pings: Option<PingPong>,
    flock: Flock<Rc<Watch>>,
    /// When the alarm had fired last at the last look.
    seen: Instant,
    life: &'c Life,
    caller: &'c Caller,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Serving<'_, S> {
    /// Streams first, then the socket: what they have written leaves in the same turn.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
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
            match self.wire.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => self.begin(request, respond),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn alarm(&self) -> &Alarm {
        &self.caller.watch.alarm
    }

    fn begin(&mut self, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        let now = time::now();
        if let State::Opening(_) | State::Resting(_) = self.life.state.get() {
            self.life.state.set(State::Busy);
            self.ask_later(now);
        }
        let watch = Rc::new(Watch::stream(self.alarm().child(), now));
        let caller = Rc::new(self.caller.on_stream(Rc::clone(&watch)));
        self.flock
            .join(watch, stream::answer(caller, request, respond));
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
