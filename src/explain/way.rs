//! What applies to a request on its way, gathered from its route and upstream.

use std::time::Duration;

use http::header::CONTENT_TYPE;

use super::Request;
use crate::config::model::{
    Breaker, Class, Config, Fallback, Forward, Hedge, Mode, Protocol, Retry, Route, Timeouts,
    Upstream,
};
use crate::net::allow::AllowList;
use crate::net::target::Target;
use crate::resilience::WHOLE;
use crate::resilience::classify;
use crate::resilience::hedge::Delay;
use crate::resilience::retry::{Backoff, Jitter};
use crate::resilience::timeout::{parse_grpc_timeout, parse_millis};

/// What applies on the way to one upstream.
#[derive(Clone, Debug)]
pub struct Way<'a> {
    /// The configuration that it is part of.
    pub config: &'a Config,
    /// Where it leads.
    pub upstream: &'a Upstream,
    /// Timeouts of the route, or of an upstream that was failed over to.
    pub timeouts: &'a Timeouts,
    /// The breaker that decides.
    pub breaker: &'a Breaker,
    /// Whether that is the route's own.
    pub own_breaker: bool,
    /// Retries.
    pub retry: &'a Retry,
    /// Hedges.
    pub hedge: Option<&'a Hedge>,
    /// The reply in place of a local one.
    pub fallback: Option<&'a Fallback>,
    /// Whether it may be sent again though it may have been processed.
    pub resendable: bool,
    /// Why that is so, or not.
    pub because: &'static str,
    /// Index of its class into the classes of the upstream.
    pub class: Option<usize>,
    /// What its caller still waits, if it says so.
    pub client: Option<Duration>,
    request: Option<&'a Request>,
}

impl<'a> Way<'a> {
    /// The way of `request` along `route`; `None` only if the route leads nowhere, which a valid
    /// configuration does not.
    pub fn of_route(config: &'a Config, route: &'a Route, request: &'a Request) -> Option<Self> {
        let mut way = Self::along(config, route)?;
        (way.resendable, way.because) = resendable(way.retry, request);
        way.request = Some(request);
        way.class = way.class(route, request);
        way.client = way.client_time(request);
        Some(way)
    }

    /// The way along `route` of a request that may be sent again and says nothing else.
    pub fn along(config: &'a Config, route: &'a Route) -> Option<Self> {
        let upstream = config.upstreams.get(route.upstream)?;
        Some(Self {
            config,
            upstream,
            timeouts: &route.timeouts,
            breaker: route.breaker.as_ref().unwrap_or(&upstream.breaker),
            own_breaker: route.breaker.is_some(),
            retry: &route.retry,
            hedge: route.hedge.as_ref(),
            fallback: route.fallback.as_ref(),
            resendable: true,
            because: "",
            class: None,
            client: None,
            request: None,
        })
    }

    /// The way on, where this upstream cannot answer.
    pub fn failover(&self) -> Option<Self> {
        let upstream = self.config.upstreams.get(self.upstream.failover?)?;
        // Whether it may be sent again is for each upstream to say.
        let unasked = (self.resendable, self.because);
        let (resendable, because) = self
            .request
            .map_or(unasked, |request| resendable(&upstream.retry, request));
        Some(Self {
            resendable,
            because,
            upstream,
            timeouts: &upstream.timeouts,
            breaker: &upstream.breaker,
            own_breaker: false,
            retry: &upstream.retry,
            hedge: upstream.hedge.as_ref(),
            fallback: upstream.fallback.as_ref(),
            class: None,
            ..self.clone()
        })
    }

    /// Whether the caller may name the target that it names: `None` where it names none.
    pub fn names(&self, forward: &Forward) -> Option<(Target, bool)> {
        let target = self.request?.target()?;
        let patterns = forward.allow.iter().filter_map(|text| text.parse().ok());
        let is_allowed = AllowList(patterns.collect()).allows(&target);
        Some((target, is_allowed))
    }

    /// How long an attempt may run that certainly never reaches the upstream.
    pub fn unsent(&self) -> Option<Duration> {
        let limits = [self.timeouts.connect, self.timeouts.first_byte];
        limits.into_iter().flatten().min()
    }

    fn class(&self, route: &Route, request: &Request) -> Option<usize> {
        let priority = self.upstream.priority.as_ref()?;
        let named = || {
            let value = request.headers.get(priority.header.as_ref()?)?;
            let mut classes = priority.classes.iter();
            classes.position(|class| class.name.as_bytes() == value.as_bytes())
        };
        Some(route.class.or_else(named).unwrap_or(priority.default))
    }

    fn client_time(&self, request: &Request) -> Option<Duration> {
        let bytes = |name: &str| request.headers.get(name).map(|value| value.as_bytes());
        let grpc = bytes("grpc-timeout").and_then(parse_grpc_timeout);
        let own = self.timeouts.deadline_header.as_deref();
        let own = own.and_then(bytes).and_then(parse_millis);
        [grpc, own].into_iter().flatten().min()
    }

    /// The deadline of the whole request, from its head on.
    pub fn deadline(&self) -> Option<Duration> {
        let both = [self.own_deadline(), self.client];
        both.into_iter().flatten().min()
    }

    /// The same for a caller that sets none.
    pub fn own_deadline(&self) -> Option<Duration> {
        let ours = [self.timeouts.request, self.timeouts.total];
        ours.into_iter().flatten().min()
    }

    /// How long a hung upstream is waited for: until its last attempt has timed out, waits for a
    /// slot included, the deadline aside. `None` is no limit.
    pub fn hung(&self) -> Option<Duration> {
        let first_byte = self.timeouts.first_byte?;
        let waits = self.rate_wait().saturating_add(self.queue_wait());
        let once = waits.saturating_add(first_byte);
        if !(self.resendable && self.retry.settings.on.timeout) {
            return Some(once);
        }
        Some(match self.hedging() {
            Some(hedge) => {
                let delay = self.hedge_delay(hedge).unwrap_or(first_byte);
                once.saturating_add(delay.saturating_mul(hedge.settings.max_hedges))
            }
            None => once.saturating_add(first_byte.saturating_mul(self.retries())),
        })
    }

    /// The longest wait for a token of the rate limit.
    pub fn rate_wait(&self) -> Duration {
        let limit = self.upstream.rate_limit.as_ref();
        let limit = limit.filter(|limit| limit.mode == Mode::Enforce);
        limit.map_or(Duration::ZERO, |limit| limit.settings.max_wait)
    }

    /// The longest wait for a slot.
    pub fn queue_wait(&self) -> Duration {
        let bulkhead = &self.upstream.bulkhead;
        if bulkhead.mode == Mode::Enforce && bulkhead.max_queued > 0 {
            bulkhead.queue_timeout
        } else {
            Duration::ZERO
        }
    }

    /// The longest wait of an attempt for a connection: none where there is one for every slot.
    pub fn connection_wait(&self) -> Duration {
        let bulkhead = &self.upstream.bulkhead;
        if bulkhead.mode == Mode::Enforce && self.carried() >= bulkhead.max_requests {
            Duration::ZERO
        } else {
            bulkhead.queue_timeout
        }
    }

    /// Requests that can be in flight at once.
    pub fn places(&self) -> usize {
        let bulkhead = &self.upstream.bulkhead;
        if bulkhead.mode == Mode::Enforce {
            bulkhead.max_requests.min(self.carried())
        } else {
            self.carried()
        }
    }

    /// Requests that all connections carry at once; where TLS agrees on HTTP/2 it is more.
    pub fn carried(&self) -> usize {
        let streams = match self.upstream.protocol {
            Protocol::Http2 => self.upstream.http2.max_streams,
            _ => 1,
        };
        let streams = usize::try_from(streams).unwrap_or(usize::MAX);
        self.upstream
            .bulkhead
            .max_connections
            .saturating_mul(streams)
    }

    /// Whether HTTP/2 is spoken; `None` if TLS is to agree on it.
    pub fn is_http2(&self) -> Option<bool> {
        match (self.upstream.protocol, &self.upstream.tls) {
            (Protocol::Http2, _) => Some(true),
            (Protocol::Auto, Some(_)) => None,
            _ => Some(false),
        }
    }

    /// Whether the request is a gRPC call.
    pub fn is_grpc(&self) -> bool {
        let of = |request: &Request| request.headers.get(CONTENT_TYPE).cloned();
        let value = self.request.and_then(of);
        value.is_some_and(|value| classify::is_grpc(value.as_bytes()))
    }

    /// Why `adaptive` or `priority` in this mode enforces nothing: the bulkhead carries them out.
    pub fn idle_limit(&self, mode: Mode) -> Option<&'static str> {
        match (mode, self.upstream.bulkhead.mode) {
            (Mode::Enforce, Mode::Enforce) => None,
            (Mode::Enforce, _) => Some("`bulkhead` enforces nothing"),
            _ => Some("observed only"),
        }
    }

    /// What a class has reserved of the slots: a share is good for one at least.
    pub fn reserved(&self, class: &Class) -> u64 {
        let slots = self.upstream.bulkhead.max_requests as u64;
        let part = slots.saturating_mul(u64::from(class.share)) / u64::from(WHOLE);
        part.max(u64::from(class.share > 0))
    }

    /// Retries that a request may have.
    pub fn retries(&self) -> u32 {
        // A hedge that only observes leaves the retries as they are.
        let is_hedged = self.hedge.is_some_and(|hedge| hedge.mode == Mode::Enforce);
        if self.retry.mode == Mode::Enforce && !is_hedged {
            self.retry.settings.retries
        } else {
            0
        }
    }

    /// The hedges, where they act and the request may be sent twice.
    pub fn hedging(&self) -> Option<&'a Hedge> {
        self.hedge
            .filter(|hedge| hedge.mode == Mode::Enforce && self.resendable)
    }

    /// How long an attempt may run that is followed by another, and whether it may have been sent:
    /// `None` is no limit.
    pub fn retried_after(&self) -> (Option<Duration>, bool) {
        let on = &self.retry.settings.on;
        let answered = !on.status.0.is_empty() || !on.grpc.is_empty();
        let first_byte = self.timeouts.first_byte;
        if self.resendable && (on.reset || on.timeout || answered) {
            return (first_byte, true);
        }
        (self.unsent(), false)
    }

    /// Whether any attempt is followed by another at all.
    pub fn retries_anything(&self) -> bool {
        self.retry.settings.on.not_sent || self.retried_after().1
    }

    /// The longest time from the start of an attempt to the start of its hedge.
    pub fn hedge_delay(&self, hedge: &Hedge) -> Option<Duration> {
        let first_byte = self.timeouts.first_byte;
        match hedge.settings.delay {
            Delay::Fixed(delay) => Some(first_byte.map_or(delay, |limit| limit.min(delay))),
            // Unknown: at once when the attempt before has ended, at the latest.
            Delay::Percentile(_) => first_byte,
        }
    }
}

/// The greatest delay before retry `n` (from 1).
pub fn ceiling(backoff: &Backoff, n: u32) -> Duration {
    let factor = match backoff.jitter {
        Jitter::Decorrelated => 3_u32.saturating_pow(n),
        _ => 2_u32.saturating_pow(n.saturating_sub(1)),
    };
    backoff.base.saturating_mul(factor).min(backoff.max)
}

/// Whether `request` may be sent again though it may have been processed, and why.
fn resendable(retry: &Retry, request: &Request) -> (bool, &'static str) {
    let has_key = request.headers.contains_key(&retry.idempotency_key_header);
    if request.method.is_idempotent() {
        (true, "its method is idempotent")
    } else if retry.settings.non_idempotent {
        (true, "`non_idempotent` allows it")
    } else if retry.honours_idempotency_key && has_key {
        (true, "it carries an idempotency key")
    } else if retry.honours_idempotency_key && retry.mint_idempotency_key {
        (true, "it is given an idempotency key")
    } else {
        (false, "it is not idempotent, so only if it was never sent")
    }
}
