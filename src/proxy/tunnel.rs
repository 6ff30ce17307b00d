//! Bytes both ways between a caller and an upstream, after an upgrade, a CONNECT, or over TCP.
//!
//! A tunnel holds what its request held: the slot, the endpoint's count, the exchange. The verdict
//! on the upstream fell when it was connected or had answered; the only timer is `tunnel_idle`.
//! Invariant: whichever end breaks, both are closed, and the other does not take it for an end in
//! order.

use std::cell::Cell;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes};

use super::body::Carrier;
use super::error::ProxyError;
use super::exchange::Exchange;
use crate::net::{Breaks, Ends, Resets, Tap, Tapped};
use crate::pool::Raw;
use crate::telemetry::metrics::Direction;
use crate::time::{self, Alarm};
use crate::upstream::Upstream;
use crate::upstream::bulkhead::Slot;
use crate::upstream::endpoint::InFlight;

/// What is read ahead each way: two of these are what an idle tunnel costs.
const BUFFER: usize = 8 * 1024;

/// An upstream that waits for the bytes of its caller.
pub struct Tunnel {
    pub(super) carrier: Carrier,
    pub(super) exchange: Exchange,
    pub(super) upstream: Arc<Upstream>,
    /// No byte either way for this long ends it.
    pub(super) idle: Option<Duration>,
    pub(super) hold: (InFlight, Option<Slot>),
}

impl Tunnel {
    /// Carries bytes until both ends are done, one breaks, or none came for too long. Where the
    /// caller is a stream, `resets` tells when it is broken off.
    ///
    /// Must run in the task that drives `alarm`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the upstream's connection and gives everything back.
    pub(crate) async fn run<S>(self: Box<Self>, caller: S, resets: Option<Resets>, alarm: &Alarm)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Self {
            carrier,
            exchange,
            upstream,
            idle,
            hold,
        } = *self;
        upstream.metrics.tunnelled();
        let now = time::now();
        let moved = Rc::new(Moved {
            at: Cell::new(now),
            up: Cell::new(0),
            down: Cell::new(0),
            upstream,
        });
        let mut course = Course {
            exchange,
            moved: Rc::clone(&moved),
        };
        let ends = course.exchange.caller().ends.clone();
        let whole = Cell::new(false);
        let carried = carry(carrier, (caller, resets), &ends, Rc::clone(&moved), &whole);
        let expiry = |now| match idle.and_then(|idle| moved.at.get().checked_add(idle)) {
            Some(at) if at <= now => {
                // Nothing was on its way.
                whole.set(true);
                Err(ProxyError::TunnelIdle)
            }
            at => Ok(at),
        };
        let ended = alarm.race(now, pin!(carried), expiry).await;
        course.count();
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "tunnel broke"),
            Err(error) => course.exchange.abort(error),
        }
        drop(hold);
        course.exchange.end(time::now());
    }
}

/// The exchange of a tunnel, which is logged with what has passed even where the tunnel is dropped.
struct Course {
    exchange: Exchange,
    moved: Rc<Moved>,
}

impl Course {
    fn count(&mut self) {
        self.exchange.bytes_in = self.moved.up.get();
        self.exchange.bytes_out = self.moved.down.get();
    }
}

impl Drop for Course {
    fn drop(&mut self) {
        self.count();
    }
}

/// An upstream's end that is broken off where it is dropped before the tunnel is whole.
struct Cut<'w> {
    upstream: Raw,
    whole: &'w Cell<bool>,
}

impl Drop for Cut<'_> {
    fn drop(&mut self) {
        if !self.whole.get() {
            self.upstream.break_off();
        }
    }
}

async fn carry<S>(
    carrier: Carrier,
    (caller, resets): (S, Option<Resets>),
    ends: &Ends,
    moved: Rc<Moved>,
    whole: &Cell<bool>,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Some(upstream) = carrier.into_raw().await else {
        return Err(io::ErrorKind::ConnectionReset.into());
    };
    let mut cut = Cut { upstream, whole };
    let breaks = (Breaks::of(resets, ends.socket()), cut.upstream.breaks());
    let mut caller = Tapped {
        stream: caller,
        tap: moved,
    };
    let upstream = &mut cut.upstream;
    // Who cannot write to one end does not read from the other, and hears of no break there.
    let copied = tokio::select! {
        biased;
        copied = copy_bidirectional_with_sizes(&mut caller, upstream, BUFFER, BUFFER) => copied,
        error = breaks.0.broken() => Err(error),
        error = breaks.1.broken() => Err(error),
    };
    whole.set(copied.is_ok());
    if copied.is_err() {
        // One of them is broken already, and does not mind.
        ends.socket().inspect(|socket| socket.break_off());
    }
    copied.map(drop)
}

/// What has passed, seen from the caller's side.
struct Moved {
    at: Cell<Instant>,
    up: Cell<u64>,
    down: Cell<u64>,
    upstream: Arc<Upstream>,
}

impl Moved {
    fn count(&self, direction: Direction, sum: &Cell<u64>, bytes: usize) {
        self.at.set(time::now());
        sum.set(sum.get() + bytes as u64);
        self.upstream.metrics.tunnel_passed(direction, bytes);
    }
}

impl Tap for Rc<Moved> {
    fn read(&self, bytes: &[u8]) -> bool {
        self.count(Direction::Up, &self.up, bytes.len());
        true
    }

    fn wrote(&self, bytes: usize) {
        self.count(Direction::Down, &self.down, bytes);
    }
}
