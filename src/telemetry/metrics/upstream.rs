//! Handles of upstreams.

use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntCounterVec};

use super::Metrics;
use super::words::words;
use crate::net::frames::Flood;
use crate::pool::{self, Closed};
use crate::resilience::Verdict;
use crate::resilience::fault::Action;
use crate::resilience::retry::{Denied, Why};
use crate::tls;

impl Metrics {
    /// Resolves the handles of an upstream.
    pub fn upstream(&self, name: &str) -> UpstreamMetrics {
        let families = &*self.families;
        let one = |vec: &IntCounterVec| vec.with_label_values(&[name]);
        let with = |vec: &IntCounterVec, word: &str| vec.with_label_values(&[name, word]);
        UpstreamMetrics {
            attempts: VERDICTS.map(|verdict| with(&families.attempts, word(verdict))),
            attempt_duration: families.attempt_duration.with_label_values(&[name]),
            resends: one(&families.resends),
            retries: Why::ALL.map(|why| with(&families.retries, why.as_str())),
            retries_denied: Denied::ALL
                .map(|denied| with(&families.retries_denied, denied.as_str())),
            would_retry: one(&families.would_retry),
            idempotency_keys: one(&families.idempotency_keys),
            hedges: Hedged::ALL.map(|hedged| match hedged {
                Hedged::Sent => one(&families.hedges),
                Hedged::Won => one(&families.hedges_won),
                skipped => with(&families.hedges_skipped, skipped.as_str()),
            }),
            would_hedge: one(&families.would_hedge),
            failovers: one(&families.failovers),
            tunnels: one(&families.tunnels),
            tunnel_bytes: Direction::ALL.map(|way| with(&families.tunnel_bytes, way.as_str())),
            faults: ACTIONS.map(|action| with(&families.faults, action.as_str())),
            rate_limit_wait: families.rate_limit_wait.with_label_values(&[name]),
            queue_duration: families.queue_duration.with_label_values(&[name]),
            rejected: Refusal::ALL
                .map(|refusal| with(&families.bulkhead_rejected, refusal.as_str())),
            opened: one(&families.pool_opened),
            reused: one(&families.pool_reused),
            closed: Closed::ALL.map(|reason| with(&families.pool_closed, reason.as_str())),
            floods: Flood::ALL.map(|flood| with(&families.upstream_http2_floods, flood.word())),
            connect_duration: families.connect_duration.with_label_values(&[name]),
            tls_failures: tls::Reason::ALL
                .map(|reason| with(&families.upstream_tls_failures, reason.word())),
            resolutions: one(&families.dns_resolutions),
            resolution_failures: DnsFailure::ALL
                .map(|reason| with(&families.dns_failures, reason.as_str())),
        }
    }
}

/// Handles of one upstream.
#[derive(Clone, Debug)]
pub struct UpstreamMetrics {
    attempts: [IntCounter; VERDICTS.len()],
    attempt_duration: Histogram,
    resends: IntCounter,
    retries: [IntCounter; Why::ALL.len()],
    retries_denied: [IntCounter; Denied::ALL.len()],
    would_retry: IntCounter,
    idempotency_keys: IntCounter,
    hedges: [IntCounter; Hedged::ALL.len()],
    would_hedge: IntCounter,
    failovers: IntCounter,
    tunnels: IntCounter,
    tunnel_bytes: [IntCounter; Direction::ALL.len()],
    faults: [IntCounter; ACTIONS.len()],
    rate_limit_wait: Histogram,
    queue_duration: Histogram,
    rejected: [IntCounter; Refusal::ALL.len()],
    opened: IntCounter,
    reused: IntCounter,
    closed: [IntCounter; Closed::ALL.len()],
    floods: [IntCounter; Flood::ALL.len()],
    connect_duration: Histogram,
    tls_failures: [IntCounter; tls::Reason::ALL.len()],
    resolutions: IntCounter,
    resolution_failures: [IntCounter; DnsFailure::ALL.len()],
}

impl UpstreamMetrics {
    /// Counts an attempt when its verdict falls, which may be at the end of the body.
    pub fn attempt_judged(&self, verdict: Verdict) {
        self.attempts[verdict as usize].inc();
    }

    /// Observes the time from dispatch to response head or error, on the attempt clock.
    pub fn attempt_took(&self, elapsed: Duration) {
        self.attempt_duration.observe(elapsed.as_secs_f64());
    }

    /// Counts a request sent once more because the reused connection had died.
    pub fn resent(&self) {
        self.resends.inc();
    }

    /// Counts a retry when its attempt is dispatched, by the outcome that it follows.
    pub fn retried(&self, why: Why) {
        self.retries[why as usize].inc();
    }

    /// Counts an outcome that called for a retry and is delivered all the same.
    pub fn retry_denied(&self, denied: Denied) {
        self.retries_denied[denied as usize].inc();
    }

    /// Counts a retry that observe mode did not carry out.
    pub fn would_retry(&self) {
        self.would_retry.inc();
    }

    /// Counts a request that was given an idempotency key.
    pub fn idempotency_key_minted(&self) {
        self.idempotency_keys.inc();
    }

    /// Counts a hedge that was sent, that won (beside its having been sent), or that was due and
    /// was skipped.
    pub fn hedged(&self, hedged: Hedged) {
        self.hedges[hedged as usize].inc();
    }

    /// Counts a hedge that observe mode did not carry out.
    pub fn would_hedge(&self) {
        self.would_hedge.inc();
    }

    /// Counts a request that this upstream could not answer and that goes to the next one.
    pub fn failed_over(&self) {
        self.failovers.inc();
    }

    /// Counts a connection that became a tunnel.
    pub fn tunnelled(&self) {
        self.tunnels.inc();
    }

    /// Counts bytes that passed through a tunnel.
    pub fn tunnel_passed(&self, direction: Direction, bytes: usize) {
        self.tunnel_bytes[direction as usize].inc_by(bytes as u64);
    }

    /// Counts an attempt to which a fault was done on purpose.
    pub fn fault_injected(&self, action: Action) {
        self.faults[index(action)].inc();
    }

    /// Observes the wait of a request for its token, whether it got it or left before.
    pub fn rate_limit_waited(&self, elapsed: Duration) {
        self.rate_limit_wait.observe(elapsed.as_secs_f64());
    }

    /// Observes the wait of a request that had to queue, whether it got its slot or not.
    pub fn queued_for(&self, elapsed: Duration) {
        self.queue_duration.observe(elapsed.as_secs_f64());
    }

    /// Counts a request that the bulkhead refused.
    pub fn bulkhead_rejected(&self, refusal: Refusal) {
        self.rejected[refusal as usize].inc();
    }

    /// Counts a resolution of an endpoint name that gave addresses.
    pub fn resolved(&self) {
        self.resolutions.inc();
    }

    /// Counts a resolution of an endpoint name that gave none.
    pub fn resolution_failed(&self, reason: DnsFailure) {
        self.resolutions.inc();
        self.resolution_failures[reason as usize].inc();
    }
}

impl pool::Observer for UpstreamMetrics {
    fn opened(&self, took: Duration) {
        self.opened.inc();
        self.connect_duration.observe(took.as_secs_f64());
    }

    fn reused(&self) {
        self.reused.inc();
    }

    fn closed(&self, why: Closed) {
        self.closed[why as usize].inc();
    }

    fn flooded(&self, flood: Flood) {
        self.floods[flood as usize].inc();
    }

    fn tls_failed(&self, reason: tls::Reason) {
        self.tls_failures[reason as usize].inc();
    }
}

pub(super) const VERDICTS: [Verdict; 4] = [
    Verdict::Success,
    Verdict::Failure,
    Verdict::Ignored,
    Verdict::Abandoned,
];

const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Success => "success",
        Verdict::Failure => "failure",
        Verdict::Ignored => "ignored",
        Verdict::Abandoned => "abandoned",
    }
}

/// One action of each kind; what it takes is no label.
pub(in crate::telemetry) const ACTIONS: [Action; 5] = [
    Action::Delay(Duration::ZERO),
    Action::Abort(503),
    Action::Reset,
    Action::Truncate(0),
    Action::SlowBody(0),
];

/// Where an action's kind stands in [`ACTIONS`].
pub(in crate::telemetry) const fn index(action: Action) -> usize {
    match action {
        Action::Delay(_) => 0,
        Action::Abort(_) => 1,
        Action::Reset => 2,
        Action::Truncate(_) => 3,
        Action::SlowBody(_) => 4,
    }
}

words! {
    /// What became of a hedge: sent, won, or why it was skipped when it was due.
    pub Hedged {
        /// It was sent.
        Sent = "sent",
        /// Its answer came first.
        Won = "won",
        /// The breaker would have rejected it.
        Breaker = "breaker",
        /// The retry budget was exhausted.
        Budget = "budget",
        /// No slot was free.
        Bulkhead = "bulkhead",
        /// No connection was there or could be opened without waiting.
        Pool = "pool",
        /// The request already used every endpoint.
        NoEndpoint = "no_endpoint",
        /// The breaker was half-open: a probe is one call.
        HalfOpen = "half_open",
        /// Its delay is a percentile for which there were too few samples.
        NoDelay = "no_delay",
        /// The request is not idempotent, or its body was not kept.
        NotReplayable = "not_replayable",
    }
}

words! {
    /// Which way bytes go through a tunnel.
    pub Direction {
        /// Towards the upstream.
        Up = "up",
        /// Towards the caller.
        Down = "down",
    }
}

words! {
    /// Why the bulkhead refuses.
    pub Refusal {
        /// No slot and no queue place.
        Full = "bulkhead_full",
        /// No slot below the adaptive limit and no queue place.
        Adaptive = "adaptive_limit",
        /// No slot came free in time.
        Timeout = "queue_timeout",
    }
}

words! {
    /// Why a name gave no address.
    pub DnsFailure {
        /// No answer in time.
        Timeout = "timeout",
        /// The name does not exist or has no address.
        NotFound = "not_found",
        /// Anything else, such as a refusing server.
        Error = "error",
    }
}
