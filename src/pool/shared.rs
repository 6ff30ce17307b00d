//! HTTP/2 connections: each carries many exchanges, handed out stream by stream.
//!
//! The shelf holds each [`Shared`] for as long as it takes new streams. A stream in use is a
//! [`Slot`], given back on drop. What the shelf has given up goes on until its last stream has ended:
//! with the last hold on it its task closes the socket. Invariant: streams in use are at most what
//! the upstream allows and we are configured for.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::sync::oneshot;

use super::shelf::Release;
use super::{Closed, Pool, dial};
use crate::net::frames::Earnings;
use crate::net::{Address, SocketStream};

/// What the shelf and every stream have of a connection. The last of them to go closes it.
pub(super) struct Hold {
    endpoint: Address,
    /// The worker that drives it.
    worker: usize,
    retires: Option<Instant>,
    peek: Option<Weak<SocketStream>>,
    /// Streams in use; changed under the pool's lock.
    streams: Arc<AtomicUsize>,
    /// How often something came in.
    reads: Arc<AtomicUsize>,
    earnings: Arc<Earnings>,
    /// An answer was waited for in vain, and nothing else came meanwhile.
    silent: AtomicBool,
    why: OnceLock<Closed>,
    /// Tells the task that nobody needs it, and why.
    end: Option<oneshot::Sender<Closed>>,
}

/// What a [`Hold`] is made from.
pub(super) struct Held {
    pub(super) endpoint: Address,
    pub(super) worker: usize,
    pub(super) retires: Option<Instant>,
    pub(super) peek: Option<Weak<SocketStream>>,
    pub(super) streams: Arc<AtomicUsize>,
    pub(super) reads: Arc<AtomicUsize>,
    pub(super) earnings: Arc<Earnings>,
    pub(super) end: oneshot::Sender<Closed>,
}

impl Hold {
    pub(super) fn new(held: Held) -> Arc<Self> {
        let Held {
            endpoint,
            worker,
            retires,
            peek,
            streams,
            reads,
            earnings,
            end,
        } = held;
        Arc::new(Self {
            endpoint,
            worker,
            retires,
            peek,
            streams,
            reads,
            earnings,
            silent: AtomicBool::new(false),
            why: OnceLock::new(),
            end: Some(end),
        })
    }

    /// The worker that drives it.
    pub(super) fn worker(&self) -> usize {
        self.worker
    }

    /// Streams in use.
    pub(super) fn streams(&self) -> usize {
        self.streams.load(Relaxed)
    }

    /// A stream is not in use any more.
    pub(super) fn ended(&self) {
        self.streams.fetch_sub(1, Relaxed);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let why = self.why.get().copied().unwrap_or(Closed::Abandoned);
        if let Some(end) = self.end.take() {
            let _ = end.send(why);
        }
    }
}

/// A connection that takes new streams.
pub(super) struct Shared {
    sender: SendRequest<Bytes>,
    hold: Arc<Hold>,
    /// Most streams that we want on it, whatever the upstream allows.
    max_streams: usize,
    /// Since when it has no stream, and until when it is kept so.
    idle: Option<(Instant, Instant)>,
}

/// A stream that was counted, on its way into a [`Slot`].
pub(super) struct Lent {
    sender: SendRequest<Bytes>,
    hold: Arc<Hold>,
    /// Whether the connection had none.
    pub(super) was_idle: bool,
}

impl Shared {
    /// A connection without streams.
    pub(super) fn new(sender: SendRequest<Bytes>, hold: Arc<Hold>, max_streams: u32) -> Self {
        Self {
            sender,
            hold,
            max_streams: usize::try_from(max_streams).unwrap_or(usize::MAX),
            idle: None,
        }
    }

    pub(super) fn endpoint(&self) -> &Address {
        &self.hold.endpoint
    }

    /// The worker that drives it.
    pub(super) fn worker(&self) -> usize {
        self.hold.worker
    }

    /// Streams in use.
    pub(super) fn streams(&self) -> usize {
        self.hold.streams()
    }

    /// A hold on it.
    pub(super) fn hold(&self) -> Arc<Hold> {
        Arc::clone(&self.hold)
    }

    /// Whether it is the one that `hold` is of.
    pub(super) fn is(&self, hold: *const Hold) -> bool {
        std::ptr::eq(Arc::as_ptr(&self.hold), hold)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.idle.is_some()
    }

    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.idle.map(|(since, _)| since)
    }

    /// Whether another stream may be opened: by what the upstream allows now, and by our own limit.
    pub(super) fn has_room(&self) -> bool {
        let allowed = self.sender.current_max_send_streams();
        self.hold.streams() < allowed.min(self.max_streams)
    }

    /// Counts a stream; [`Self::has_room`] was asked before.
    pub(super) fn lend(&mut self) -> Lent {
        self.hold.streams.fetch_add(1, Relaxed);
        Lent {
            sender: self.sender.clone(),
            hold: Arc::clone(&self.hold),
            was_idle: self.idle.take().is_some(),
        }
    }

    /// It has no stream from `now` on.
    pub(super) fn rest(&mut self, idle_timeout: Duration, now: Instant) {
        let expires = now + idle_timeout;
        let expires = self.hold.retires.map_or(expires, |at| at.min(expires));
        self.idle = Some((now, expires));
    }

    /// Why it takes no more streams, if so.
    pub(super) fn is_over(&mut self, now: Instant) -> Option<Closed> {
        if is_closing(&mut self.sender) {
            let asked = said_farewell(&mut self.sender);
            return Some(if asked {
                Closed::Asked
            } else {
                Closed::Upstream
            });
        }
        if self.hold.silent.load(Relaxed) {
            return Some(Closed::Abandoned);
        }
        if self.hold.retires.is_some_and(|at| at <= now) {
            return Some(Closed::MaxAge);
        }
        let expired = self.idle.is_some_and(|(_, expires)| expires <= now);
        expired.then_some(Closed::IdleTimeout)
    }

    /// Closes it as soon as its last stream has ended.
    pub(super) fn close(self, why: Closed) {
        let _ = self.hold.why.set(why);
    }
}

/// Whether the upstream takes no more streams on it: it said so, or the connection has failed.
fn is_closing(sender: &mut SendRequest<Bytes>) -> bool {
    let ready = sender.poll_ready(&mut Context::from_waker(Waker::noop()));
    matches!(ready, Poll::Ready(Err(_)))
}

/// Whether the upstream said that it takes no more.
fn said_farewell(sender: &mut SendRequest<Bytes>) -> bool {
    let ready = sender.poll_ready(&mut Context::from_waker(Waker::noop()));
    matches!(ready, Poll::Ready(Err(error)) if error.is_go_away() && error.is_remote())
}

/// A stream in use; given back on drop.
#[must_use]
pub(super) struct Slot {
    pub(super) sender: SendRequest<Bytes>,
    hold: Arc<Hold>,
    pool: Arc<Pool>,
    /// Whether the connection had no other when this one was taken.
    was_idle: bool,
    /// How often something had come in when its request was sent.
    reads: usize,
}

impl Slot {
    pub(super) fn new(lent: Lent, pool: Arc<Pool>) -> Self {
        let Lent {
            sender,
            hold,
            was_idle,
        } = lent;
        Self {
            sender,
            hold,
            pool,
            was_idle,
            reads: 0,
        }
    }

    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    pub(super) fn endpoint(&self) -> &Address {
        &self.hold.endpoint
    }

    /// What the upstream earns by what is sent on the connection.
    pub(super) fn earnings(&self) -> &Arc<Earnings> {
        &self.hold.earnings
    }

    /// Has the connection take no more streams, if nothing has come in since the request was sent: it
    /// may lead nowhere any more.
    pub(super) fn distrust(&self) {
        if self.hold.reads.load(Relaxed) == self.reads {
            self.hold.silent.store(true, Relaxed);
        }
    }

    /// What is known of the connection's life from now on.
    pub(super) fn silence(&mut self) -> Silence {
        let reads = &self.hold.reads;
        self.reads = reads.load(Relaxed);
        Silence(
            self.was_idle
                .then(|| (Arc::clone(reads), reads.load(Relaxed))),
        )
    }

    /// Whether the upstream takes no more streams on its connection.
    pub(super) fn is_closing(&mut self) -> bool {
        is_closing(&mut self.sender)
    }

    /// Whether the upstream has said so.
    pub(super) fn said_farewell(&mut self) -> bool {
        said_farewell(&mut self.sender)
    }

    /// Whether the connection lives, as far as is known. Its task may not have been told yet of
    /// what the kernel has.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub(super) async fn is_alive(&mut self) -> bool {
        if self.was_idle
            && let Some(peek) = &self.hold.peek
        {
            let Some(socket) = peek.upgrade() else {
                return false;
            };
            if !dial::is_silent(&socket) {
                // Perhaps a farewell: its task reads it now.
                drop(socket);
                for _ in 0..2 {
                    tokio::task::yield_now().await;
                }
            }
        }
        !self.is_closing()
    }
}

/// Whether a connection may have died while it was idle: nothing has come since it was taken from there.
/// One that was busy lived.
pub(super) struct Silence(Option<(Arc<AtomicUsize>, usize)>);

impl Silence {
    /// Whether it lasts.
    pub(super) fn lasts(&self) -> bool {
        let silent = |(reads, before): &(Arc<AtomicUsize>, usize)| reads.load(Relaxed) == *before;
        self.0.as_ref().is_some_and(silent)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.pool.release(&self.hold);
    }
}

impl Pool {
    /// A stream has ended: it goes to a waiter, or the connection rests.
    fn release(self: &Arc<Self>, hold: &Arc<Hold>) {
        let now = crate::time::now();
        // The lock is let go before anything is handed over or closed.
        let release = self.lock().release(hold, &self.settings.limits, now);
        match release {
            Release::Done => {}
            Release::Grant(waiter, lent) => {
                waiter.offer_stream(Slot::new(lent, Arc::clone(self)), false);
            }
            Release::Close(surplus, why) => surplus.close(why),
        }
        self.serve(hold, false);
    }

    /// Hands streams of a connection to those who wait for one; of a `fresh` one to those as well who
    /// want no other.
    pub(super) fn serve(self: &Arc<Self>, hold: &Arc<Hold>, fresh: bool) {
        loop {
            let served = self.lock().serve(hold, fresh);
            let Some((waiter, lent)) = served else { return };
            waiter.offer_stream(Slot::new(lent, Arc::clone(self)), fresh);
        }
    }

    /// The task of a connection ends: nobody else is given a stream of it. Returns why it was given
    /// up, if it was, or has to be.
    pub(super) fn forget(&self, worker: usize, hold: &Weak<Hold>) -> Option<Closed> {
        let given_up = hold.upgrade().and_then(|hold| hold.why.get().copied());
        let forgotten = self.lock().forget(worker, hold);
        let asked = || forgotten.is_some_and(|mut shared| said_farewell(&mut shared.sender));
        given_up.or_else(|| asked().then_some(Closed::Asked))
    }
}
