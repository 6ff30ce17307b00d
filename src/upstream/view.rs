//! What an upstream looks like from outside at one instant: read by metrics and the status page.

use std::sync::Arc;
use std::time::Duration;

use super::bulkhead::WouldHave;
use crate::config::model::Mode;
use crate::net::Address;
use crate::net::target::Target;
use crate::resilience::breaker;

/// One upstream.
#[derive(Clone, Debug)]
pub struct UpstreamView {
    /// Its name.
    pub name: Arc<str>,
    /// Slots in use.
    pub in_flight: usize,
    /// `max_requests`.
    pub max_requests: usize,
    /// The limit in force: `max_requests`, or an adaptive limit below it.
    pub effective_max_requests: usize,
    /// Requests waiting for a slot.
    pub queued: usize,
    /// `max_queued`.
    pub max_queued: usize,
    /// What the bulkhead would have done while in observe mode.
    pub would_have: WouldHave,
    /// Slots that the priority classes would have given to another waiter, were they enforced.
    pub would_reorder: u64,
    /// Classes of requests; empty where there are none.
    pub classes: Vec<ClassView>,
    /// The adaptive limit, unless it is off.
    pub adaptive: Option<AdaptiveView>,
    /// The rate limit, unless it is off.
    pub rate_limit: Option<RateLimitView>,
    /// What its retries and hedges may use, if it has any.
    pub budget: BudgetView,
    /// Open connections that carry an exchange (or are being opened).
    pub connections_active: usize,
    /// Open connections that do not.
    pub connections_idle: usize,
    /// `max_connections`.
    pub max_connections: usize,
    /// Known addresses.
    pub endpoints: Vec<EndpointView>,
    /// Outlier ejection, unless it is off.
    pub ejection: Option<EjectionView>,
    /// Faults that are being injected.
    pub faults: Vec<FaultView>,
    /// The upstream's own breaker first (`route` is `None`), then those of routes with overrides.
    pub breakers: Vec<BreakerView>,
    /// The targets that callers have named, by name; `None` where callers name none.
    pub targets: Option<Vec<TargetView>>,
}

impl UpstreamView {
    /// Takes targets in: what is in use, and what may be, is the sum of theirs. Policies that each
    /// of them has to itself are shown with it alone.
    pub(super) fn add(&mut self, targets: Vec<TargetView>) {
        type Figure = fn(&mut UpstreamView) -> &mut usize;
        let figures: [Figure; 8] = [
            |view| &mut view.in_flight,
            |view| &mut view.max_requests,
            |view| &mut view.effective_max_requests,
            |view| &mut view.queued,
            |view| &mut view.max_queued,
            |view| &mut view.connections_active,
            |view| &mut view.connections_idle,
            |view| &mut view.max_connections,
        ];
        let mut all: Vec<_> = targets.iter().map(|target| target.view.clone()).collect();
        for figure in figures {
            *figure(self) = all.iter_mut().map(|view| *figure(view)).sum();
        }
        self.budget.balance = all.iter().map(|view| view.budget.balance).sum();
        self.classes.clear();
        (self.adaptive, self.rate_limit, self.ejection) = (None, None, None);
        self.targets = Some(targets);
    }
}

/// One target of an upstream whose callers name the host.
#[derive(Clone, Debug)]
pub struct TargetView {
    /// What callers call it.
    pub target: Target,
    /// Time since it was asked for last; `None` while it is in use.
    pub idle: Option<Duration>,
    /// Why none of its addresses may be reached, if that is so.
    pub refused: Option<&'static str>,
    /// What its own upstream looks like.
    pub view: UpstreamView,
}

/// One address of an upstream.
#[derive(Clone, Debug)]
pub struct EndpointView {
    /// Its address.
    pub address: Address,
    /// Attempts in flight.
    pub in_flight: usize,
    /// Its share of the requests is in proportion to this.
    pub weight: u32,
    /// Time until its ejection ends, while it is ejected.
    pub ejected_for: Option<Duration>,
    /// Its latency as it is expected now, once known (peak EWMA only).
    pub latency: Option<Duration>,
}

/// One breaker of an upstream.
#[derive(Clone, Debug)]
pub struct BreakerView {
    /// Name of the route that has it to itself, as `listener/route`.
    pub route: Option<Arc<str>>,
    /// Whether it acts.
    pub mode: Mode,
    /// Its state.
    pub view: breaker::View,
}

/// The retry budget of an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BudgetView {
    /// What is left, thousandths of a retry; may be negative.
    pub balance: i64,
}

/// The rate limit of an upstream.
#[derive(Clone, Copy, Debug)]
pub struct RateLimitView {
    /// Whether it acts.
    pub mode: Mode,
    /// Tokens in the bucket; negative where waiters have reserved theirs.
    pub tokens: f64,
    /// Requests refused since the start.
    pub rejected: u64,
    /// Requests that waited for their token since the start.
    pub delayed: u64,
    /// Requests let pass in observe mode that would have been refused.
    pub would_reject: u64,
}

/// The adaptive limit of an upstream.
#[derive(Clone, Copy, Debug)]
pub struct AdaptiveView {
    /// Whether it acts.
    pub mode: Mode,
    /// The limit that it has found.
    pub limit: u32,
    /// The least that it may be.
    pub min: u32,
    /// Long-term response time, once known (Gradient2 only).
    pub baseline: Option<Duration>,
    /// Mean response time of the last window, once known.
    pub latency: Option<Duration>,
    /// Samples taken since the start.
    pub samples: u64,
    /// How many of them were drops.
    pub drops: u64,
}

/// A class of requests at the bulkhead.
#[derive(Clone, Debug)]
pub struct ClassView {
    /// Its name.
    pub name: Arc<str>,
    /// Slots reserved for it.
    pub reserved: usize,
    /// Slots in use.
    pub in_flight: usize,
    /// Requests waiting.
    pub queued: usize,
    /// Requests refused since the start.
    pub rejected: u64,
}

/// Outlier ejection of an upstream.
#[derive(Clone, Copy, Debug)]
pub struct EjectionView {
    /// Whether it acts.
    pub mode: Mode,
    /// Ejections since the start for failures in a row.
    pub consecutive: u64,
    /// Ejections since the start for the share of failures.
    pub failure_rate: u64,
    /// Ejections that observe mode did not carry out.
    pub would_eject: u64,
    /// Times that all endpoints were ejected and picked from all the same.
    pub panics: u64,
}

/// A fault that is being injected.
#[derive(Clone, Debug)]
pub struct FaultView {
    /// Its number, unique in the process.
    pub id: u64,
    /// What it does.
    pub settings: crate::resilience::fault::Settings,
    /// Time until it ends.
    pub remaining: Duration,
    /// Attempts that it has hit.
    pub hits: u64,
}

#[cfg(test)]
pub(crate) mod sample;
