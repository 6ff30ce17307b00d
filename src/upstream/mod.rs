//! The stateful shell around the policies: guards, endpoints, resolution, views.
//!
//! An [`Upstream`] is shared by all workers and all its routes. Invariant: everything taken from
//! it (slot, permit, connection, endpoint count) is a guard that gives itself back on drop.

pub mod adaptive;
pub mod breaker;
pub mod budget;
pub mod bulkhead;
pub mod classes;
pub mod endpoint;
pub mod endpoints;
pub mod fault;
pub mod forward;
pub mod hedge;
pub mod rate_limit;
pub mod resolve;
pub mod view;

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;

use self::adaptive::Adaptive;
use self::breaker::Breaker;
use self::budget::Budget;
use self::bulkhead::Bulkhead;
use self::classes::Classes;
use self::endpoint::{InFlight, Witness};
use self::endpoints::{Endpoints, Found};
use self::fault::Faults;
use self::forward::Targets;
use self::rate_limit::RateLimit;
use self::view::{BreakerView, UpstreamView};
use crate::balance::HashKey;
use crate::config::model::{self, Forwarding, Mode};
use crate::net::Address;
use crate::pool::Pool;
use crate::resilience::Verdict;
use crate::resilience::adaptive::Sample;
use crate::telemetry::metrics::UpstreamMetrics;
use crate::{rng, time};

/// What the upstream sees in `Host`.
#[derive(Clone, Debug)]
pub enum HostHeader {
    /// The endpoint as configured.
    Endpoint,
    /// What the caller sent.
    Preserve,
    /// This.
    Literal(HeaderValue),
}

/// One upstream at run time.
pub struct Upstream {
    /// Its name.
    pub name: Arc<str>,
    /// What it sees in `Host`.
    pub host: HostHeader,
    /// What it is told about the way of a request.
    pub forwarding: Forwarding,
    /// Whether its connections begin with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// Bounds the rate of its requests.
    pub rate_limit: Option<Arc<RateLimit>>,
    /// Bounds its requests in flight.
    pub bulkhead: Arc<Bulkhead>,
    /// Longest wait for a slot, and then for a connection.
    pub queue_timeout: Duration,
    /// Moves the bulkhead's limit.
    pub adaptive: Option<Adaptive>,
    /// Tells the classes of its requests.
    pub classes: Option<Classes>,
    /// Bounds retries and hedges.
    pub budget: Arc<Budget>,
    /// Its connections.
    pub pool: Arc<Pool>,
    /// Its breaker.
    pub breaker: Arc<Breaker>,
    /// Those of routes with overrides, by `listener/route`.
    pub own_breakers: Vec<(Arc<str>, Arc<Breaker>)>,
    /// Faults that are injected into attempts on it.
    pub faults: Arc<Faults>,
    /// Its counters.
    pub metrics: UpstreamMetrics,
    /// Those that callers name; it has no endpoints of its own then.
    pub targets: Option<Arc<dyn Targets>>,
    limits: (usize, usize),
    endpoints: Endpoints,
}

/// What an [`Upstream`] is put together from.
#[expect(missing_docs, reason = "the fields of the upstream itself")]
pub struct Parts<'a> {
    pub config: &'a model::Upstream,
    pub host: HostHeader,
    pub pool: Arc<Pool>,
    pub breaker: Arc<Breaker>,
    pub own_breakers: Vec<(Arc<str>, Arc<Breaker>)>,
    pub faults: Arc<Faults>,
    pub metrics: UpstreamMetrics,
    pub targets: Option<Arc<dyn Targets>>,
}

impl Upstream {
    /// Puts an upstream together; it has no endpoints yet.
    pub fn new(parts: Parts<'_>) -> Arc<Self> {
        let Parts {
            config,
            host,
            pool,
            breaker,
            own_breakers,
            faults,
            metrics,
            targets,
        } = parts;
        let now = time::now();
        let settings = &config.bulkhead;
        let bulkhead = Bulkhead::new(
            settings.mode,
            settings.max_requests,
            settings.max_queued,
            config.priority.as_ref(),
        );
        let adaptive = config.adaptive.as_ref();
        let adaptive = adaptive.map(|settings| Adaptive::new(settings, now));
        bulkhead.adapt(adaptive.as_ref().and_then(Adaptive::limit));
        let rate_limit = config.rate_limit.as_ref();
        Arc::new(Self {
            name: Arc::clone(&config.name),
            host,
            forwarding: config.forwarding,
            proxy_protocol: config.proxy_protocol,
            rate_limit: rate_limit.map(|settings| RateLimit::new(settings, now)),
            bulkhead: Arc::new(bulkhead),
            queue_timeout: settings.queue_timeout,
            adaptive,
            classes: config.priority.as_ref().map(Classes::new),
            budget: Arc::new(Budget::new(config.budget.clone(), now)),
            pool,
            breaker,
            own_breakers,
            faults,
            metrics,
            targets,
            limits: (settings.max_requests, settings.max_queued),
            endpoints: Endpoints::new(config, rng::u64(), now),
        })
    }

    /// Picks an endpoint and counts an attempt on it: see [`Endpoints::pick`].
    pub fn pick(&self, avoid: &[Address], hash: Option<u64>, now: Instant) -> Option<InFlight> {
        self.endpoints.pick(avoid, hash, now)
    }

    /// What a request is hashed by for [`Self::pick`], if it is.
    pub const fn hash_key(&self) -> Option<&HashKey> {
        self.endpoints.hash_key()
    }

    /// Learns from the verdict on an attempt that `took` so long, on the attempt clock.
    pub fn learn(&self, witness: Witness, verdict: Verdict, took: Duration, now: Instant) {
        self.endpoints.learn(witness, verdict, took, now);
    }

    /// Ends the ejection of an endpoint at an operator's word; says whether it was ejected.
    pub fn restore(&self, address: &Address, now: Instant) -> bool {
        self.endpoints.restore(address, now)
    }

    /// How many endpoints there are.
    pub fn endpoint_count(&self) -> usize {
        self.endpoints.count()
    }

    /// Takes over a new set of endpoints; those that were there keep their state.
    pub fn set_endpoints(&self, found: &[Found], now: Instant) {
        self.endpoints.set(found, now);
        self.pool.retain(|address| self.endpoints.contains(address));
    }

    /// Closes connections whose time is over, and forgets targets. Called about twice a second.
    pub fn reap(&self, now: Instant) {
        self.pool.reap(now);
        if let Some(targets) = &self.targets {
            targets.reap(now);
        }
    }

    /// Hands the adaptive limit a sample: of an answer that took `rtt`, or of one that an overloaded
    /// upstream did not give; `in_flight` slots were in use when the attempt went out.
    pub fn sample(&self, rtt: Option<Duration>, in_flight: usize, now: Instant) {
        let Some(adaptive) = &self.adaptive else {
            return;
        };
        let sample = Sample {
            rtt,
            in_flight: u32::try_from(in_flight).unwrap_or(u32::MAX),
            drop: rtt.is_none(),
        };
        if let Some(limit) = adaptive.sample(sample, now) {
            self.bulkhead.adapt(Some(limit));
        }
    }

    /// All its breakers: the shared one, then those of routes. None where each target has its own.
    pub fn breakers(&self) -> impl Iterator<Item = (Option<Arc<str>>, &Arc<Breaker>)> {
        let own = self
            .own_breakers
            .iter()
            .map(|(route, own)| (Some(Arc::clone(route)), own));
        let all = std::iter::once((None, &self.breaker)).chain(own);
        all.filter(|_| self.targets.is_none())
    }

    /// What it looks like now.
    pub fn view(&self, now: Instant) -> UpstreamView {
        let (in_flight, queued) = self.bulkhead.view();
        let (connections_active, connections_idle) = self.pool.counts();
        let breaker = |(route, breaker): (Option<Arc<str>>, &Arc<Breaker>)| BreakerView {
            route,
            mode: breaker.mode(),
            view: breaker.view(now),
        };
        let mut view = UpstreamView {
            name: Arc::clone(&self.name),
            in_flight,
            max_requests: self.limits.0,
            effective_max_requests: self.bulkhead.effective_limit(),
            queued,
            max_queued: self.limits.1,
            would_have: self.bulkhead.would_have(),
            would_reorder: self.bulkhead.would_reorder(),
            classes: self.bulkhead.classes(),
            adaptive: self.adaptive.as_ref().map(Adaptive::view),
            rate_limit: self.rate_limit.as_ref().map(|limit| limit.view(now)),
            budget: self.budget.view(now),
            connections_active,
            connections_idle,
            max_connections: self.pool.limits().max_connections,
            endpoints: self.endpoints.view(now),
            ejection: Some(self.endpoints.ejection_view(now))
                .filter(|ejection| ejection.mode != Mode::Off),
            faults: self.faults.view(now),
            breakers: self.breakers().map(breaker).collect(),
            targets: None,
        };
        if let Some(targets) = &self.targets {
            view.add(targets.view(now));
        }
        view
    }
}
