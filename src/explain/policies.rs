//! What applies on a way, policy by policy, in the words of the configuration.

mod attempts;
pub(super) mod protocols;

use std::time::Duration;

use super::time;
use super::way::Way;
use crate::balance::{self, HashKey};
use crate::config::model::{Fault, HostHeader, Mode, Priority, Protocol, Route, Upstream};
use crate::config::show_duration;
use crate::resilience::WHOLE;
use crate::resilience::adaptive::Algorithm;
use crate::resilience::fault::Action;

/// One policy: its name is that of its table.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Its name.
    pub name: &'static str,
    /// Whether it acts, where it can be switched.
    pub mode: Option<Mode>,
    /// Its settings by key, as the configuration writes them.
    pub settings: Vec<(&'static str, String)>,
    /// What the settings alone do not say.
    pub note: Option<String>,
}

impl Policy {
    fn new(name: &'static str, mode: Option<Mode>) -> Self {
        Self {
            name,
            mode,
            settings: Vec::new(),
            note: None,
        }
    }

    fn set(mut self, key: &'static str, value: impl ToString) -> Self {
        self.settings.push((key, value.to_string()));
        self
    }

    fn time(self, key: &'static str, value: impl Into<Option<Duration>>) -> Self {
        self.set(key, value.into().map_or_else(off, written))
    }

    fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }
}

/// The word for a mode.
pub(super) const fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::Observe => "observe",
        Mode::Off => "off",
    }
}

fn off() -> String {
    "off".to_owned()
}

/// A duration as the configuration writes it.
fn written(duration: Duration) -> String {
    if duration.is_zero() {
        "0s".to_owned()
    } else {
        show_duration(duration)
    }
}

/// A share kept in parts of `whole`, as the configuration writes it.
fn share(value: u32, whole: u32) -> String {
    (f64::from(value) / f64::from(whole)).to_string()
}

/// A list as the configuration writes it, without quotes.
fn list(items: impl Iterator<Item = impl ToString>) -> String {
    let items: Vec<_> = items.map(|item| item.to_string()).collect();
    format!("[{}]", items.join(", "))
}

/// All that applies, in the order in which a request meets it.
pub fn of(way: &Way<'_>, route: &Route, now: Duration) -> Vec<Policy> {
    let upstream = way.upstream;
    let mut all = vec![timeouts(way)];
    if let Some(limit) = &upstream.rate_limit {
        let settings = &limit.settings;
        let policy = Policy::new("rate_limit", Some(limit.mode));
        all.push(
            policy
                .set("rate", settings.rate)
                .time("per", settings.per)
                .set("burst", settings.burst)
                .time("max_wait", settings.max_wait),
        );
    }
    if let Some(settings) = &upstream.priority {
        all.push(priority(settings, way, route));
    }
    all.push(bulkhead(way));
    if let Some(settings) = &upstream.adaptive {
        let (low, high) = (settings.settings.min, settings.settings.max);
        let name = match settings.settings.algorithm {
            Algorithm::Gradient2 { .. } => "gradient2",
            Algorithm::Aimd { .. } => "aimd",
        };
        let policy = Policy::new("adaptive", Some(settings.mode)).set("algorithm", name);
        let policy = policy.set("initial", settings.settings.initial);
        let policy = policy.set("min", low).set("max", high);
        all.push(match way.idle_limit(settings.mode) {
            Some(why) => policy.note(format!("{why}: it limits nothing")),
            None => policy,
        });
    }
    all.push(attempts::breaker(way));
    if upstream.protocol != Protocol::Tcp {
        all.push(attempts::retry(way));
        all.push(attempts::budget(way));
    }
    all.extend(way.hedge.map(|hedge| attempts::hedge(way, hedge)));
    all.push(endpoints(way));
    all.push(ejection(way));
    all.extend(protocols::all(way));
    if let Some(next) = way.failover() {
        let mut names = Vec::new();
        let mut hop = Some(next);
        while let Some(next) = hop.filter(|_| names.len() < way.config.upstreams.len()) {
            names.push(next.upstream.name.to_string());
            hop = next.failover();
        }
        let policy = Policy::new("failover", None).set("to", names.join(", then "));
        all.push(policy.note("within the same deadline, each with its own bulkhead and breaker"));
    }
    if let Some(fallback) = way.fallback {
        let policy = Policy::new("fallback", None).set("status", fallback.status);
        let policy = policy.set("content_type", &fallback.content_type);
        all.push(policy.set("body", format!("{} bytes", fallback.body.len())));
    }
    all.extend(upstream.faults.iter().map(|each| fault(each, now)));
    all
}

fn timeouts(way: &Way<'_>) -> Policy {
    let timeouts = way.timeouts;
    let policy = Policy::new("timeouts", None).time("connect", timeouts.connect);
    if way.upstream.protocol == Protocol::Tcp {
        return policy.time("tunnel_idle", timeouts.tunnel_idle);
    }
    let policy = policy
        .time("first_byte", timeouts.first_byte)
        .time("request", timeouts.request)
        .time("stream_idle", timeouts.stream_idle)
        .time("tunnel_idle", timeouts.tunnel_idle)
        .time("total", timeouts.total);
    let policy = match &timeouts.deadline_header {
        Some(name) => policy.set("deadline_header", name),
        None => policy,
    };
    match way.client {
        Some(left) => policy.note(format!("the caller itself still waits {}", time(left))),
        None => policy,
    }
}

fn bulkhead(way: &Way<'_>) -> Policy {
    let bulkhead = &way.upstream.bulkhead;
    Policy::new("bulkhead", Some(bulkhead.mode))
        .set("max_requests", bulkhead.max_requests)
        .set("max_queued", bulkhead.max_queued)
        .time("queue_timeout", bulkhead.queue_timeout)
        .set("max_connections", bulkhead.max_connections)
}

fn priority(priority: &Priority, way: &Way<'_>, route: &Route) -> Policy {
    let policy = Policy::new("priority", Some(priority.mode));
    let class = way.class.and_then(|class| priority.classes.get(class));
    let Some(class) = class else {
        return policy;
    };
    let by = match (&priority.header, route.class) {
        (_, Some(_)) => "by the route".to_owned(),
        (Some(header), None) => format!("by `{header}`, or else by default"),
        (None, None) => "by default".to_owned(),
    };
    policy
        .set("class", &class.name)
        .set("share", share(class.share, WHOLE))
        .note(match way.idle_limit(priority.mode) {
            Some(why) => format!("{by}; {why}: no slots are kept for it"),
            None => format!("{by}; {} slots are kept for it", way.reserved(class)),
        })
}

fn endpoints(way: &Way<'_>) -> Policy {
    let balance = &way.upstream.balance;
    let policy = Policy::new("balance", None);
    let policy = match &balance.policy {
        balance::Policy::LeastInFlight => policy.set("policy", "least_inflight"),
        balance::Policy::PeakEwma { decay } => {
            policy.set("policy", "peak_ewma").time("decay", *decay)
        }
        balance::Policy::RoundRobin => policy.set("policy", "round_robin"),
        balance::Policy::Weighted => policy.set("policy", "weighted"),
        balance::Policy::RingHash(key) => {
            let (key, name) = match key {
                HashKey::Header(name) => ("hash_header", name),
                HashKey::Cookie(name) => ("hash_cookie", name),
            };
            policy.set("policy", "ring_hash").set(key, name)
        }
    };
    let endpoints = way.upstream.endpoints.iter();
    let policy = if endpoints.clone().any(|endpoint| endpoint.weight != 1) {
        policy.set("weights", list(endpoints.map(|endpoint| endpoint.weight)))
    } else {
        policy
    };
    policy.time("slow_start", balance.slow_start)
}

fn ejection(way: &Way<'_>) -> Policy {
    let settings = &way.upstream.ejection.settings;
    let failures = settings.consecutive_failures;
    let rate = settings.failure_rate;
    Policy::new("ejection", Some(way.upstream.ejection.mode))
        .set(
            "consecutive_failures",
            failures.map_or_else(off, |failures| failures.to_string()),
        )
        .set(
            "failure_rate",
            rate.map_or_else(off, |rate| share(rate, WHOLE)),
        )
        .time("eject_for", settings.eject_for)
        .set("max_ejected", share(settings.max_ejected, WHOLE))
}

fn fault(fault: &Fault, now: Duration) -> Policy {
    let settings = &fault.settings;
    let policy = Policy::new("fault", None).set("action", settings.action.as_str());
    let policy = match settings.action {
        Action::Delay(delay) => policy.time("delay", delay),
        Action::Abort(status) => policy.set("status", status),
        Action::Reset => policy,
        Action::Truncate(bytes) => policy.set("after", bytes),
        Action::SlowBody(rate) => policy.set("rate", rate),
    };
    let policy = policy.set("share", share(settings.share, WHOLE));
    let left = fault.until.saturating_sub(now);
    policy.note(if left.is_zero() {
        "it has ended: its `until` is past".to_owned()
    } else {
        format!("until {} from now", time(left))
    })
}

/// What the upstream sees in `Host`.
pub(super) fn host(upstream: &Upstream) -> &str {
    match (&upstream.host, upstream.protocol) {
        (_, Protocol::Tcp) => "none",
        _ if upstream.forward.is_some() => "the host that the caller names",
        (HostHeader::Endpoint, _) => "the endpoint's name",
        (HostHeader::Preserve, _) => "as the caller sent it",
        (HostHeader::Literal(value), _) => value,
    }
}
