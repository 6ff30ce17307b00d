//! Bytes both ways between a caller and an upstream, after an upgrade, a CONNECT, or over TCP.
//!
//! A tunnel holds what its request held: the slot, the endpoint's count, the exchange. The verdict
//! on the upstream fell when it was connected or had answered; the only timer is `tunnel_idle`.
//! Invariant: whichever end breaks, both are closed, and the other does not take it for an end in
//! order.

use std::cell::Cell;
use std::future::pending;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes};

use super::body::Carrier;
use super::error::ProxyError;
use super::exchange::Exchange;
use crate::net::{Ends, Resets, Tap, Tapped};
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
            mut exchange,
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
        let ends = exchange.caller().ends.clone();
        let carried = carry(carrier, (caller, resets), &ends, Rc::clone(&moved));
        let expiry = |now| match idle.and_then(|idle| moved.at.get().checked_add(idle)) {
            Some(at) if at <= now => Err(ProxyError::TunnelIdle),
            at => Ok(at),
        };
        let ended = alarm.race(now, pin!(carried), expiry).await;
        exchange.bytes_in = moved.up.get();
        exchange.bytes_out = moved.down.get();
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "tunnel broke"),
            Err(error) => exchange.abort(error),
        }
        drop(hold);
        exchange.end(time::now());
    }
}

async fn carry<S>(
    carrier: Carrier,
    (caller, resets): (S, Option<Resets>),
    ends: &Ends,
    moved: Rc<Moved>,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Some(mut upstream) = carrier.into_raw().await else {
        return Err(io::ErrorKind::ConnectionReset.into());
    };
    let upstream_resets = upstream.take_resets();
    let mut caller = Tapped {
        stream: caller,
        tap: moved,
    };
    let copied = tokio::select! {
        biased;
        copied = copy_bidirectional_with_sizes(&mut caller, &mut upstream, BUFFER, BUFFER) => copied,
        error = reset(resets) => Err(error),
        error = reset(upstream_resets) => Err(error),
    };
    if copied.is_err() {
        // One of them is broken already, and does not mind.
        upstream.break_off();
        ends.socket().inspect(|socket| socket.break_off());
    }
    copied.map(drop)
}

/// Waits until a stream is reset: one of which the end was read, or to which nothing is written
/// meanwhile, is not looked at otherwise.
async fn reset(resets: Option<Resets>) -> io::Error {
    match resets {
        Some(resets) => resets.reset().await,
        None => pending().await,
    }
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
