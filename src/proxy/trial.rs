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
    pace: Option<Pace>,
}

impl UploadState {
    /// A body of which nothing was sent yet.
    ///
    /// `min_rate` is what the caller owes, in bytes per second, if anything.
    pub(super) fn new(
        clock: Option<UploadClock>,
        min_rate: Option<u64>,
        now: Instant,
    ) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Progress {
            waiting: false,
            moved: now,
            finished: false,
            broken: None,
            bytes: 0,
            clock,
            pace: min_rate.map(Pace::new),
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

    /// When the caller will have been too slow at the earliest, and whether it is that at `now`.
    pub(super) fn too_slow(&self, now: Instant) -> Option<(Instant, bool)> {
        let progress = self.lock();
        let pace = progress.pace.as_ref().filter(|_| !progress.finished)?;
        Some(pace.due(now))
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
        if !std::mem::take(&mut self.waiting) {
            return;
        }
        if let Some(clock) = &self.clock {
            clock.resume(now);
        }
        if let Some(pace) = &mut self.pace {
            pace.resume(now);
        }
    }
}

impl UploadObserver for UploadState {
    fn waiting(&self) {
        let mut progress = self.lock();
        if !progress.waiting {
            let now = time::now();
            progress.waiting = true;
            if let Some(clock) = &progress.clock {
                clock.pause(now);
            }
            if let Some(pace) = &mut progress.pace {
                pace.wait(now);
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
        if let Some(pace) = &mut progress.pace {
            pace.passed(bytes);
        }
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

/// Whether a caller's body comes fast enough: so many bytes in each ten seconds that we wait for
/// it. Time in which the upstream does not read is not counted.
struct Pace {
    /// Bytes that end a stretch, and begin the next.
    quota: u64,
    bytes: u64,
    /// Time waited in this stretch, up to the wait that goes on.
    waited: Duration,
    since: Option<Instant>,
}

impl Pace {
    const STRETCH: Duration = Duration::from_secs(10);

    const fn new(rate: u64) -> Self {
        Self {
            quota: rate.saturating_mul(Self::STRETCH.as_secs()),
            bytes: 0,
            waited: Duration::ZERO,
            since: None,
        }
    }

    const fn wait(&mut self, now: Instant) {
        self.since = Some(now);
    }

    fn resume(&mut self, now: Instant) {
        if let Some(since) = self.since.take() {
            self.waited += now.saturating_duration_since(since);
        }
    }

    fn passed(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if self.bytes >= self.quota {
            self.bytes = 0;
            self.waited = Duration::ZERO;
        }
    }

    /// When it will have been too slow, if nothing comes and we wait until then, and whether it is
    /// so by now.
    fn due(&self, now: Instant) -> (Instant, bool) {
        let at = self.since.unwrap_or(now) + Self::STRETCH.saturating_sub(self.waited);
        (at, self.since.is_some() && at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_body_is_too_slow_after_ten_seconds_of_waiting_for_less_than_the_rate() {
        let start = time::now();
        let at = |after| start + seconds(after);
        let mut pace = Pace::new(100);
        assert_eq!(pace.due(at(0)), (at(10), false), "nothing is waited for");
        pace.wait(at(0));
        assert_eq!(pace.due(at(9)), (at(10), false));
        pace.resume(at(9));
        pace.passed(999);
        // The upstream does not read for a minute.
        assert_eq!(pace.due(at(69)), (at(70), false));
        pace.wait(at(69));
        assert_eq!(pace.due(at(70)), (at(70), true));
        pace.resume(at(70));
        pace.passed(1);
        pace.wait(at(70));
        assert_eq!(pace.due(at(79)), (at(80), false), "a stretch was paid for");
    }

    #[test]
    fn a_body_above_the_rate_is_never_too_slow() {
        let start = time::now();
        let mut pace = Pace::new(7);
        for second in 0..100 {
            pace.wait(start + seconds(second));
            let now = start + seconds(second + 1);
            assert!(!pace.due(now).1, "after {second} seconds");
            pace.resume(now);
            pace.passed(8);
        }
    }
}
