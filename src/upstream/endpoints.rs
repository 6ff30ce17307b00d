//! The set of endpoints of an upstream: picks one, learns from attempts, ejects.
//!
//! A pick reads the set and what its endpoints carry, without a lock. Ejection is the business of
//! one machine behind one short lock, which verdicts go through, and whose decisions are written
//! to the endpoints. An upstream of one endpoint never touches it. All state is that of an
//! address: it survives any number of new sets that contain the address, and an ejection also some
//! that do not.
//!
//! Invariants: whatever is ejected or was tried before, something is picked as long as there is
//! any endpoint. In observe mode the machine ejects as it would, so that it counts what
//! enforcement would have done, but no endpoint ever hears of it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::HeaderValue;

use super::endpoint::{Endpoint, InFlight, Witness};
use super::view::{EjectionView, EndpointView};
use crate::balance::{self, Draw, Loads, Policy, Ring};
use crate::config::model::{self, Mode};
use crate::net::Address;
use crate::pool::Way;
use crate::resilience::Verdict;
use crate::resilience::ejection::{Cause, Event, Machine};
use crate::rng;
use crate::sync::{Mutex, lock};

/// An address that was found, and what the configuration says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where to connect.
    pub address: Address,
    /// `Host` of the endpoint as configured.
    pub host: HeaderValue,
    /// The rest of the way to it.
    pub way: Arc<Way>,
    /// Its share of the requests is in proportion to this.
    pub weight: u32,
}

/// The endpoints of one upstream.
pub struct Endpoints {
    name: Arc<str>,
    balance: balance::Settings,
    mode: Mode,
    origin: Instant,
    set: ArcSwap<Set>,
    /// Until then some endpoint may be ejected or in its slow start.
    unsettled_until: AtomicU64,
    /// When an interval of the machine ends, and with it perhaps a stay in service.
    interval_end: AtomicU64,
    /// Round robin.
    turn: AtomicUsize,
    panics: AtomicU64,
    ejection: Mutex<Ejection>,
}

struct Ejection {
    machine: Machine<Address>,
    consecutive: u64,
    failure_rate: u64,
}

#[derive(Default)]
struct Set {
    members: Vec<Member>,
    /// Whether all weights are the same.
    even: bool,
    ring: Option<Ring>,
}

struct Member {
    endpoint: Arc<Endpoint>,
    weight: u32,
}

impl Endpoints {
    /// Makes an empty set. `seed` is that of the jitter.
    pub fn new(config: &model::Upstream, seed: u64, now: Instant) -> Self {
        let machine = Machine::new(config.ejection.settings.clone(), seed, now);
        Self {
            name: Arc::clone(&config.name),
            balance: config.balance.clone(),
            mode: config.ejection.mode,
            origin: now,
            set: ArcSwap::default(),
            unsettled_until: AtomicU64::new(0),
            interval_end: AtomicU64::new(u64::MAX),
            turn: AtomicUsize::new(0),
            panics: AtomicU64::new(0),
            ejection: Mutex::new(Ejection {
                machine,
                consecutive: 0,
                failure_rate: 0,
            }),
        }
    }

    /// Picks an endpoint and counts an attempt on it that starts `now`; `None` where there is no
    /// endpoint. Those in `avoid` are picked only where no other is available, ejected ones only
    /// where all are (panic). `hash` is the [`balance::hash`] of the request's key.
    pub fn pick(&self, avoid: &[Address], hash: Option<u64>, now: Instant) -> Option<InFlight> {
        let set = self.set.load();
        let only = match set.members.as_slice() {
            [] => return None,
            [only] => Some(only),
            _ => None,
        };
        let member = match only {
            Some(only) => only,
            None => {
                let at = self.at(now);
                if at >= self.interval_end.load(Relaxed) {
                    // Once an interval: shares of failures that are judged when it ends.
                    self.pass(now);
                }
                set.members.get(self.choose(&set, avoid, hash, at)?)?
            }
        };
        let ewma = matches!(self.balance.policy, Policy::PeakEwma { .. });
        let learns = ewma || (self.mode != Mode::Off && only.is_none());
        Some(member.endpoint.enter(now, learns))
    }

    fn choose(&self, set: &Set, avoid: &[Address], hash: Option<u64>, at: u64) -> Option<usize> {
        let round_robin = self.balance.policy == Policy::RoundRobin;
        let draw = Draw {
            random: if round_robin { 0 } else { rng::u64() },
            turn: match (round_robin, avoid) {
                (true, []) => self.turn.fetch_add(1, Relaxed),
                // A further attempt is no turn: of two endpoints it would give the next request
                // the one that this request has just left.
                (true, _) => self.turn.load(Relaxed),
                (false, _) => 0,
            },
            hash,
        };
        let choose = |avoid: &[Address], panic| {
            let sight = Sight {
                set,
                balance: &self.balance,
                settled: at >= self.unsettled_until.load(Relaxed),
                avoid,
                panic,
                at,
            };
            let ring = set.ring.as_ref();
            self.balance.policy.choose(&sight, ring, draw)
        };
        choose(avoid, false)
            .or_else(|| choose(&[], false))
            .or_else(|| {
                self.panics.fetch_add(1, Relaxed);
                choose(avoid, true).or_else(|| choose(&[], true))
            })
    }

    /// Learns from the verdict on an attempt that `took` so long, on the attempt clock.
    pub fn learn(&self, witness: Witness, verdict: Verdict, took: Duration, now: Instant) {
        let Witness { endpoint, started } = witness;
        if let Policy::PeakEwma { decay } = self.balance.policy {
            let at = Duration::from_nanos(self.at(now));
            endpoint.move_latency(|latency| match verdict {
                Verdict::Success => latency.observe(took, at, decay),
                Verdict::Failure => latency.observe_failure(took, at, decay),
                // Cut short, it would have taken at least as long.
                Verdict::Abandoned if latency.read(at, decay) < Some(micros(took)) => {
                    latency.observe(took, at, decay)
                }
                Verdict::Abandoned | Verdict::Ignored => latency,
            });
        }
        let is_evidence = matches!(verdict, Verdict::Success | Verdict::Failure);
        if self.mode == Mode::Off || !is_evidence || self.count() < 2 {
            return;
        }
        let mut ejection = lock(&self.ejection);
        let address = endpoint.address.clone();
        ejection.machine.record(address, started, verdict, now);
        let events = self.carry_out(&mut ejection);
        drop(ejection);
        self.tell(&events);
    }

    /// Takes over a new set of endpoints; those that were there keep their state.
    pub fn set(&self, found: &[Found], now: Instant) {
        let at = self.at(now);
        let addresses: Vec<_> = found.iter().map(|found| found.address.clone()).collect();
        // Under the lock, so that no ejection falls between the old set and the new one.
        let mut ejection = lock(&self.ejection);
        let old = self.set.load_full();
        ejection.machine.set(&addresses, now);
        let events = self.carry_out(&mut ejection);
        let enter = |found: &Found| {
            let mut known = old.members.iter().map(|member| &member.endpoint);
            let known = known.find(|endpoint| endpoint.address == found.address);
            let endpoint = match known {
                Some(known) if known.host == found.host => {
                    known.set_way(&found.way);
                    Arc::clone(known)
                }
                _ => {
                    // Those of the first set have nobody to be compared with.
                    let at = if old.members.is_empty() { 0 } else { at };
                    let added = known.map_or(at, |known| known.added);
                    let until = ejection.machine.ejected_until(&found.address);
                    let until = until
                        .filter(|_| self.mode == Mode::Enforce)
                        .map_or(0, nanos);
                    let rises = self.risen(added.max(until));
                    self.unsettled_until.fetch_max(rises, Relaxed);
                    let (address, host) = (found.address.clone(), found.host.clone());
                    Endpoint::new(address, host, Arc::clone(&found.way), added, until)
                }
            };
            let weight = found.weight;
            Member { endpoint, weight }
        };
        let members: Vec<_> = found.iter().map(enter).collect();
        let first = members.first().map(|first| first.weight);
        let ring = matches!(self.balance.policy, Policy::RingHash(_)).then(|| {
            let name = |member: &Member| (member.endpoint.address.to_string(), member.weight);
            Ring::new(&members.iter().map(name).collect::<Vec<_>>())
        });
        self.set.store(Arc::new(Set {
            even: members.iter().all(|member| Some(member.weight) == first),
            ring,
            members,
        }));
        drop(ejection);
        self.tell(&events);
    }

    /// Ends the ejection of an address at an operator's word; says whether it was ejected.
    pub fn restore(&self, address: &Address, now: Instant) -> bool {
        let mut ejection = lock(&self.ejection);
        let restored = ejection.machine.restore(address, now);
        let events = self.carry_out(&mut ejection);
        let restored = restored && self.mode == Mode::Enforce;
        if restored {
            let at = self.at(now);
            self.set.load().eject(address, at);
            self.unsettled_until.fetch_max(self.risen(at), Relaxed);
        }
        drop(ejection);
        self.tell(&events);
        restored
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.set.load().members.len()
    }

    /// Says whether an address is among them.
    pub fn contains(&self, address: &Address) -> bool {
        let set = self.set.load();
        let mut members = set.members.iter();
        members.any(|member| member.endpoint.address == *address)
    }

    /// What a request is to be hashed by.
    pub const fn hash_key(&self) -> Option<&balance::HashKey> {
        match &self.balance.policy {
            Policy::RingHash(key) => Some(key),
            _ => None,
        }
    }

    /// What they look like now.
    pub fn view(&self, now: Instant) -> Vec<EndpointView> {
        let set = self.set.load();
        let at = self.at(now);
        if at >= self.interval_end.load(Relaxed) && set.members.len() > 1 {
            self.pass(now);
        }
        let view = |member: &Member| {
            let endpoint = &member.endpoint;
            let left = endpoint.ejected_until().saturating_sub(at);
            let micros = match self.balance.policy {
                Policy::PeakEwma { decay } => {
                    endpoint.latency().read(Duration::from_nanos(at), decay)
                }
                _ => None,
            };
            EndpointView {
                address: endpoint.address.clone(),
                in_flight: endpoint.in_flight(),
                weight: member.weight,
                ejected_for: (left > 0).then_some(Duration::from_nanos(left)),
                latency: micros.and_then(|us| Duration::try_from_secs_f64(us / 1e6).ok()),
            }
        };
        set.members.iter().map(view).collect()
    }

    /// What ejection has done up to now.
    pub fn ejection_view(&self, now: Instant) -> EjectionView {
        let mut ejection = lock(&self.ejection);
        ejection.machine.pass(now);
        let events = self.carry_out(&mut ejection);
        let (consecutive, failure_rate) = (ejection.consecutive, ejection.failure_rate);
        drop(ejection);
        self.tell(&events);
        let enforced = self.mode == Mode::Enforce;
        EjectionView {
            mode: self.mode,
            consecutive: if enforced { consecutive } else { 0 },
            failure_rate: if enforced { failure_rate } else { 0 },
            would_eject: if enforced {
                0
            } else {
                consecutive + failure_rate
            },
            panics: self.panics.load(Relaxed),
        }
    }

    /// Lets happen what was due up to now.
    fn pass(&self, now: Instant) {
        let mut ejection = lock(&self.ejection);
        ejection.machine.pass(now);
        let events = self.carry_out(&mut ejection);
        drop(ejection);
        self.tell(&events);
    }

    /// Counts what the machine has decided, and tells the endpoints. Returns are theirs to notice.
    fn carry_out(&self, ejection: &mut Ejection) -> Vec<Event<Address>> {
        if self.mode == Mode::Off {
            return Vec::new();
        }
        self.interval_end
            .store(nanos(ejection.machine.interval_end()), Relaxed);
        let events = ejection.machine.events();
        // Under the lock: a set that replaces an endpoint has either read this or is read here.
        let set = self.set.load();
        for event in &events {
            let Event::Ejected {
                key, until, cause, ..
            } = event
            else {
                continue;
            };
            match cause {
                Cause::ConsecutiveFailures => ejection.consecutive += 1,
                Cause::FailureRate => ejection.failure_rate += 1,
            }
            if self.mode == Mode::Enforce {
                let until = nanos(*until);
                // First, so that no pick takes the set for settled that is not.
                self.unsettled_until.fetch_max(self.risen(until), Relaxed);
                set.eject(key, until);
            }
        }
        events
    }

    /// Logs what happened, after the lock is released. A return is logged when the machine notices
    /// it: with the next verdict, scrape or end of an interval.
    fn tell(&self, events: &[Event<Address>]) {
        let upstream = &*self.name;
        for event in events {
            match event {
                Event::Ejected {
                    key, lasts, cause, ..
                } => {
                    let (endpoint, cause) = (key, cause.as_str());
                    let for_ms = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
                    if self.mode == Mode::Enforce {
                        tracing::warn!(upstream, %endpoint, cause, for_ms, "endpoint ejected");
                    } else {
                        tracing::warn!(
                            upstream, %endpoint, cause, for_ms, "endpoint would be ejected"
                        );
                    }
                }
                Event::Returned { key } if self.mode == Mode::Enforce => {
                    tracing::info!(upstream, endpoint = %key, "endpoint returned");
                }
                Event::Returned { .. } => {}
            }
        }
    }

    /// When the slow start is over that begins `since`; 0, if none does.
    fn risen(&self, since: u64) -> u64 {
        match self.balance.slow_start {
            Some(over) if since > 0 => since.saturating_add(nanos(over)),
            _ => since,
        }
    }

    fn at(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.origin))
    }
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoints")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Set {
    fn eject(&self, address: &Address, until: u64) {
        for member in &self.members {
            if member.endpoint.address == *address {
                member.endpoint.eject(until);
            }
        }
    }
}

/// The set as one pick sees it.
struct Sight<'a> {
    set: &'a Set,
    balance: &'a balance::Settings,
    settled: bool,
    avoid: &'a [Address],
    panic: bool,
    at: u64,
}

impl Sight<'_> {
    fn endpoint(&self, index: usize) -> Option<&Endpoint> {
        let member = self.set.members.get(index)?;
        Some(&member.endpoint)
    }
}

impl Loads for Sight<'_> {
    fn count(&self) -> usize {
        self.set.members.len()
    }

    fn share(&self, index: usize) -> u32 {
        let Some(Member { endpoint, weight }) = self.set.members.get(index) else {
            return 0;
        };
        if self.avoid.contains(&endpoint.address) {
            return 0;
        }
        if self.settled {
            return *weight;
        }
        let lasts = match endpoint.in_service(self.at) {
            Some(lasts) => lasts,
            None if self.panic => Duration::MAX,
            None => return 0,
        };
        let over = self.balance.slow_start.unwrap_or_default();
        weight.saturating_mul(balance::slow_start(lasts, over))
    }

    fn in_flight(&self, index: usize) -> usize {
        self.endpoint(index).map_or(usize::MAX, Endpoint::in_flight)
    }

    fn latency(&self, index: usize) -> Option<f64> {
        let Policy::PeakEwma { decay } = self.balance.policy else {
            return None;
        };
        let latency = self.endpoint(index)?.latency();
        latency.read(Duration::from_nanos(self.at), decay)
    }

    fn even(&self) -> bool {
        self.settled && self.set.even && self.avoid.is_empty()
    }
}

/// 584 years fit.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

#[cfg(test)]
#[cfg(not(outrigger_loom))]
mod tests;
