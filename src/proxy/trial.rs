//! One attempt under judgement: the breaker's permit, the counters, the upload's clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::error::{ProxyError, Side};
use crate::pool::UploadObserver;
use crate::resilience::Verdict;
use crate::time;
use crate::upstream::Upstream;
use crate::upstream::breaker::{Permit, UploadClock};
use crate::upstream::endpoint::{InFlight, Witness};

/// An attempt whose verdict is still out. Dropping it is a verdict too: cut short.
///
/// Everybody who learns from attempts does so here, once: breaker, ejection, adaptive limit.
#[must_use = "a dropped trial is an attempt cut short"]
pub(super) struct Trial {
    permit: Option<Permit>,
    upstream: Arc<Upstream>,
    /// What the endpoint learns by, if anything.
    witness: Option<Witness>,
    /// Slots in use at the dispatch, where the adaptive limit wants to know.
    in_flight: Option<usize>,
    /// What an overloaded upstream does: it answers so, or not in time.
    dropped: bool,
    counts: bool,
}

impl Trial {
    pub(super) fn new(permit: Permit, upstream: &Arc<Upstream>, endpoint: &InFlight) -> Self {
        Self {
            permit: Some(permit),
            upstream: Arc::clone(upstream),
            witness: endpoint.witness(),
            in_flight: upstream
                .adaptive
                .is_some()
                .then(|| upstream.bulkhead.in_flight()),
            dropped: false,
            counts: true,
        }
    }

    /// It is spoilt by a fault of ours: nobody learns from it.
    pub(super) fn do_not_count(&mut self, now: Instant) {
        self.counts = false;
        if let Some(permit) = &mut self.permit {
            permit.forget(now);
        }
    }

    /// Time on the attempt clock.
    pub(super) fn elapsed(&self, now: Instant) -> Duration {
        self.permit
            .as_ref()
            .map_or(Duration::ZERO, |permit| permit.elapsed(now))
    }

    /// What pauses the attempt clock.
    pub(super) fn clock(&mut self) -> Option<UploadClock> {
        self.permit.as_mut().map(Permit::upload_clock)
    }

    /// The response head is there: the attempt clock stops.
    pub(super) fn head(&mut self, status: u16, now: Instant) {
        self.dropped = matches!(status, 429 | 503);
        self.stop(now);
    }

    fn stop(&mut self, now: Instant) {
        if let Some(permit) = &mut self.permit {
            self.upstream.metrics.attempt_took(permit.elapsed(now));
            permit.head(now);
        }
    }

    /// The attempt ended without a response head. What a limit of ours ended is no sample of the
    /// upstream's latency.
    pub(super) fn fail(mut self, error: ProxyError, verdict: Verdict, now: Instant) {
        if error.row().side != Side::Local {
            self.stop(now);
        }
        self.dropped = match error {
            ProxyError::AttemptTimeout | ProxyError::ConnectTimeout | ProxyError::Deadline => {
                verdict == Verdict::Failure
            }
            ProxyError::FaultAbort(status) => matches!(status, 429 | 503),
            _ => false,
        };
        self.judge(verdict, now);
    }

    /// The verdict falls.
    pub(super) fn judge(mut self, verdict: Verdict, now: Instant) {
        let verdict = if self.counts {
            verdict
        } else {
            Verdict::Ignored
        };
        let Some(permit) = self.permit.take() else {
            return;
        };
        let took = permit.elapsed(now);
        if let Some(witness) = self.witness.take() {
            self.upstream.learn(witness, verdict, took, now);
        }
        if let Some(in_flight) = self.in_flight
            && (verdict == Verdict::Success || self.dropped)
            && self.counts
        {
            let rtt = (!self.dropped).then_some(took);
            self.upstream.sample(rtt, in_flight, now);
        }
        self.upstream.metrics.attempt_judged(verdict);
        permit.record(verdict, now);
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        // The permit's own drop tells the breaker.
        let Some(permit) = &self.permit else { return };
        self.upstream.metrics.attempt_judged(Verdict::Abandoned);
        if let Some(witness) = self.witness.take().filter(|_| self.counts) {
            let now = time::now();
            let took = permit.elapsed(now);
            let abandoned = Verdict::Abandoned;
            self.upstream.learn(witness, abandoned, took, now);
        }
    }
}

/// How far the caller's body has come. Shared with the task that drives the upstream connection.
pub(super) struct UploadState(Mutex<Progress>);

struct Progress {
    waiting: bool,
    moved: Instant,
    finished: bool,
    /// Why the caller's body will not end.
    broken: Option<ProxyError>,
    bytes: u64,
    /// Stands still while we wait for the caller.
    clock: Option<UploadClock>,
}

impl UploadState {
    /// A body of which nothing was sent yet.
    pub(super) fn new(clock: Option<UploadClock>, now: Instant) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Progress {
            waiting: false,
            moved: now,
            finished: false,
            broken: None,
            bytes: 0,
            clock,
        })))
    }

    /// Sending begins, perhaps not for the first time: what was waited for before is nobody's stall.
    pub(super) fn begin(&self, now: Instant) {
        let mut progress = self.lock();
        progress.moved = now;
        progress.finished = false;
        progress.bytes = 0;
    }

    pub(super) fn finished(&self) -> bool {
        self.lock().finished
    }

    /// Why the caller's body will not end, if it will not.
    pub(super) fn broken(&self) -> Option<ProxyError> {
        self.lock().broken
    }

    pub(super) fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    /// When a byte of it moved last.
    pub(super) fn moved(&self) -> Instant {
        self.lock().moved
    }

    /// When a byte moved last, and whether it is the caller that we wait for; `None` when done.
    pub(super) fn stalled(&self) -> Option<(Instant, bool)> {
        let progress = self.lock();
        (!progress.finished).then_some((progress.moved, progress.waiting))
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress {
    fn resume(&mut self, now: Instant) {
        if std::mem::take(&mut self.waiting)
            && let Some(clock) = &self.clock
        {
            clock.resume(now);
        }
    }
}

impl UploadObserver for UploadState {
    fn waiting(&self) {
        let mut progress = self.lock();
        if !progress.waiting {
            progress.waiting = true;
            if let Some(clock) = &progress.clock {
                clock.pause(time::now());
            }
        }
    }

    fn passed(&self, bytes: usize, whole: bool) {
        let now = time::now();
        let mut progress = self.lock();
        progress.moved = now;
        progress.bytes += bytes as u64;
        progress.finished |= whole;
        progress.resume(now);
    }

    fn broken(&self, malformed: bool) {
        let mut progress = self.lock();
        progress.broken = Some(if malformed {
            ProxyError::BadRequest("a malformed chunked body (RFC 9112 §7.1)")
        } else {
            ProxyError::ClientGone
        });
        progress.resume(time::now());
    }
}
