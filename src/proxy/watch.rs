//! What one downstream connection waits for, and for how long it may; of HTTP/2, one stream.
//!
//! Shared by the connection's task, its socket wrapper and the exchange in flight. The task asks
//! [`Watch::overdue`] whenever its alarm fires, because a body whose reader has stalled is not
//! polled any more and could not notice by itself.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use super::error::ProxyError;
use super::trial::{Trial, UploadState};
use crate::resilience::Verdict;
use crate::time::{Alarm, Bounded};

/// See the module.
pub struct Watch {
    /// The connection's timer.
    pub alarm: Alarm,
    header_timeout: Duration,
    idle_timeout: Duration,
    phase: Cell<Phase>,
    /// The caller has sent more than the head that came last.
    ahead: Cell<bool>,
    /// When a byte of the exchange moved last.
    progress: Cell<Instant>,
    flow: RefCell<Option<Flow>>,
    /// Bytes of the response that were handed over since the socket had taken all.
    unsent: Cell<usize>,
    /// Woken when it has.
    drained: RefCell<Option<Waker>>,
}

/// Bytes of a response that the connection of HTTP/1 may hold back from its socket: more is only
/// asked for once they are gone. A frame of HTTP/2 is as long.
const MAX_UNSENT: usize = 16 * 1024;

/// What the connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No request has begun, since then.
    Idle(Instant),
    /// A request head is being received, since then.
    Head(Instant),
    /// A request is being handled or answered.
    Busy,
    /// As [`Self::Busy`], and nothing follows it.
    Stream,
}

/// A response body on its way.
pub(super) struct Flow {
    /// The attempt whose body it is, until its verdict has fallen.
    pub(super) trial: Option<Trial>,
    pub(super) settle_at: Instant,
    pub(super) idle: Option<Duration>,
    pub(super) total_at: Option<Instant>,
    /// The caller's body, whose bytes are progress as well.
    pub(super) upload: Option<Arc<UploadState>>,
    /// Whether it was the upstream that we waited for last.
    pub(super) upstream_waits: bool,
    /// Why the connection is being dropped, if it is, and what that says about the upstream.
    pub(super) broken: Option<(ProxyError, Verdict)>,
}

impl Watch {
    /// Watches a connection that has just been accepted.
    pub fn new(header_timeout: Duration, idle_timeout: Duration, now: Instant) -> Self {
        let watch = Self {
            alarm: Alarm::new(now),
            header_timeout,
            idle_timeout,
            phase: Cell::new(Phase::Idle(now)),
            ahead: Cell::new(false),
            progress: Cell::new(now),
            flow: RefCell::new(None),
            unsent: Cell::new(0),
            drained: RefCell::new(None),
        };
        watch.idle(now);
        watch
    }

    /// Watches one stream of a connection, by a child of the connection's alarm.
    pub fn stream(alarm: Alarm, now: Instant) -> Self {
        Self {
            alarm,
            header_timeout: Duration::ZERO,
            idle_timeout: Duration::ZERO,
            phase: Cell::new(Phase::Stream),
            ahead: Cell::new(false),
            progress: Cell::new(now),
            flow: RefCell::new(None),
            unsent: Cell::new(0),
            drained: RefCell::new(None),
        }
    }

    /// What the connection is doing.
    pub fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Bytes came from the caller.
    pub fn came(&self) {
        match self.phase.get() {
            Phase::Idle(_) => {
                let now = crate::time::now();
                self.phase.set(Phase::Head(now));
                self.alarm.want(now + self.header_timeout);
            }
            Phase::Head(_) => {}
            Phase::Busy | Phase::Stream => self.touch(),
        }
    }

    /// These bytes came from the caller.
    pub fn read(&self, bytes: &[u8]) {
        self.came();
        // A head ends so, and may do so in pieces; what ends as a chunked body does is none.
        let ends = bytes.ends_with(b"\r\n\r\n") && !bytes.ends_with(b"\r\n0\r\n\r\n");
        self.ahead.set(!ends && bytes.len() >= 4);
    }

    /// Whether the caller of HTTP/1 has sent something of the body with its head, as far as that can
    /// be told from the end of what came last.
    pub(super) fn is_ahead(&self) -> bool {
        self.ahead.get()
    }

    /// Bytes of the exchange moved, either way.
    pub fn touch(&self) {
        if self.flow.borrow().is_some() {
            self.progress.set(crate::time::now());
        }
    }

    /// A request head is complete.
    pub(super) fn busy(&self) {
        if self.phase.get() != Phase::Stream {
            self.phase.set(Phase::Busy);
        }
    }

    /// The response has ended, or the handshake before the first request.
    pub fn idle(&self, now: Instant) {
        if self.phase.get() == Phase::Stream {
            return;
        }
        self.phase.set(Phase::Idle(now));
        self.alarm.want(now + self.idle_timeout);
    }

    /// A response body begins.
    pub(super) fn begin(&self, flow: Flow, now: Instant) {
        self.progress.set(now);
        let idle_at = flow.idle.map(|idle| now + idle);
        let settle_at = flow.trial.is_some().then_some(flow.settle_at);
        for at in [idle_at, settle_at, flow.total_at].into_iter().flatten() {
            self.alarm.want(at);
        }
        *self.flow.borrow_mut() = Some(flow);
    }

    /// The upstream has nothing to give yet.
    pub(super) fn waits_for_upstream(&self) {
        if let Some(flow) = &mut *self.flow.borrow_mut() {
            flow.upstream_waits = true;
        }
    }

    /// The upstream gave something: whatever we wait for next, it is the caller first.
    pub(super) fn got(&self, now: Instant) {
        if let Some(flow) = &mut *self.flow.borrow_mut() {
            flow.upstream_waits = false;
            self.progress.set(now);
        }
    }

    /// Bytes of the response body are handed over. What a stream holds is bounded by its windows.
    pub(super) fn gave(&self, bytes: usize) {
        if self.phase.get() != Phase::Stream {
            self.unsent.set(self.unsent.get().saturating_add(bytes));
        }
    }

    /// Whether so much waits for the socket that no more is to be handed over; whoever asks is woken
    /// when that is gone.
    pub(super) fn is_full(&self, cx: &Context<'_>) -> bool {
        let full = self.unsent.get() >= MAX_UNSENT;
        if full {
            self.drained.replace(Some(cx.waker().clone()));
        }
        full
    }

    /// The socket has taken all that there was.
    pub fn drained(&self) {
        self.unsent.set(0);
        if let Some(waker) = self.drained.take() {
            waker.wake();
        }
    }

    /// The response body has ended, one way or the other.
    pub(super) fn end(&self) -> Option<Flow> {
        self.flow.borrow_mut().take()
    }

    /// Whether the connection has to be dropped at `now`; asks for the next look otherwise.
    pub fn overdue(&self, now: Instant) -> bool {
        let at = match self.phase.get() {
            Phase::Idle(since) => since + self.idle_timeout,
            Phase::Head(since) => since + self.header_timeout,
            Phase::Busy | Phase::Stream => return self.flow_overdue(now),
        };
        if at > now {
            self.alarm.want(at);
        }
        at <= now
    }

    fn flow_overdue(&self, now: Instant) -> bool {
        let mut flow = self.flow.borrow_mut();
        let Some(flow) = &mut *flow else { return false };
        if flow.settle_at <= now
            && let Some(trial) = flow.trial.take()
        {
            trial.judge(Verdict::Success, now);
        }
        let uploaded = flow.upload.as_ref().map(|upload| upload.moved());
        let moved = uploaded.map_or_else(|| self.progress.get(), |at| at.max(self.progress.get()));
        let idle_at = flow.idle.map(|idle| moved + idle);
        let stalled = if flow.total_at.is_some_and(|at| at <= now) {
            Some(ProxyError::Deadline)
        } else if idle_at.is_some_and(|at| at <= now) {
            let by_upstream = flow.upstream_waits;
            Some(if by_upstream {
                ProxyError::UpstreamIdle
            } else {
                ProxyError::ClientIdle
            })
        } else {
            None
        };
        // Where it was the caller that did not read, the upstream is not to blame.
        let verdict = if flow.upstream_waits {
            Verdict::Failure
        } else {
            Verdict::Ignored
        };
        flow.broken = stalled.map(|error| (error, verdict));
        let settle_at = flow.trial.is_some().then_some(flow.settle_at);
        for at in [idle_at, settle_at, flow.total_at].into_iter().flatten() {
            if at > now {
                self.alarm.want(at);
            }
        }
        flow.broken.is_some()
    }
}

impl Bounded for std::rc::Rc<Watch> {
    fn alarm(&self) -> &Alarm {
        &self.alarm
    }

    fn overdue(&self, now: Instant) -> bool {
        Watch::overdue(self, now)
    }
}
