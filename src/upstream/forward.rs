//! The targets of an upstream whose callers name the host.
//!
//! It protects one host from what another does: each target is an upstream of its own, with
//! bulkhead, breaker, limits and connections that nobody else uses, made when it is first asked for.
//! It protects us from callers who name many: there are at most `max_targets`, and those that
//! nobody asks for are forgotten. And it protects what is near us from all of them: the allow list
//! and [`Gate`] decide before anything is dialled, and what is dialled is an address that [`Gate`]
//! was asked about. Knows neither requests nor routes: what a target is for those (`W`) is made
//! beside its upstream, by the composition root. Its settings: `forward` of an upstream.

mod gate;
mod table;
#[cfg(test)]
#[cfg(not(outrigger_loom))]
mod tests;

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

pub use self::gate::Gate;
pub use self::table::{Full, InUse, Table};
use super::Upstream;
use super::resolve::{Lookup, Outlook, Resolution};
use super::view::TargetView;
use crate::config::model::{self, EndpointAddress};
use crate::net::allow::AllowList;
use crate::net::guard::AddressGuard;
use crate::net::target::{Host, Target};
use crate::resilience::breaker::State;
use crate::sync::{Mutex, lock};

/// What is made for a target.
pub struct Made<W> {
    /// Its upstream, without endpoints.
    pub upstream: Arc<Upstream>,
    /// What requests to it need beside.
    pub ways: W,
}

/// Makes what is needed for a target.
pub type Make<W> = Box<dyn Fn(&Target) -> Made<W> + Send + Sync>;

/// One target. A request holds it to its end: what is held is not forgotten.
pub struct Destination<W> {
    /// What callers call it.
    pub target: Target,
    /// Its own upstream.
    pub upstream: Arc<Upstream>,
    /// What requests to it need beside.
    pub ways: W,
    resolution: Arc<Resolution>,
    /// Its resolution ends with this.
    _following: oneshot::Sender<Infallible>,
}

impl<W> Destination<W> {
    /// Whether a breaker of it has learnt something, or was told: forgotten, the target would be
    /// called anew as if nothing had happened.
    fn is_in_doubt(&self, now: Instant) -> bool {
        let mut breakers = self.upstream.breakers();
        breakers.any(|(_, breaker)| breaker.view(now).state != State::Closed)
    }

    /// What has come of looking its name up.
    pub fn outlook(&self) -> Outlook {
        self.resolution.outlook()
    }

    /// Waits until its name was looked up, once; says what came of it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn looked_up(&self) -> Outlook {
        self.resolution.looked_up().await
    }
}

/// Why a caller does not get to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// It is not in the allow list.
    Target,
    /// It is an address that must not be reached; the word says why.
    Address(&'static str),
    /// As many targets as there may be are in use.
    TooMany,
}

/// A target whose name is to be kept current for as long as the target is.
pub struct Following {
    resolution: Arc<Resolution>,
    gone: oneshot::Receiver<Infallible>,
}

impl Following {
    /// Resolves it until the target is forgotten.
    pub async fn run(self, lookup: Arc<Lookup>) {
        let Some(name) = self.resolution.names().pop() else {
            return;
        };
        tokio::select! {
            () = self.resolution.keep_current(name, lookup, || ()) => {}
            _ = self.gone => {}
        }
    }
}

/// The targets of one upstream.
pub struct Forward<W> {
    allow: AllowList,
    gate: Arc<Gate>,
    make: Make<W>,
    table: Mutex<Table<Target, Arc<Destination<W>>>>,
    /// Forgotten, with connections that are still open.
    retired: Mutex<Vec<Arc<Upstream>>>,
    /// Takes names to the control thread.
    follow: UnboundedSender<Following>,
}

impl<W> Forward<W> {
    /// Prepares a table without targets; `follow` takes their names to where they are resolved. A
    /// pattern or network that is none allows nothing: the configuration has refused it.
    pub fn new(
        settings: &model::Forward,
        make: Make<W>,
        follow: UnboundedSender<Following>,
    ) -> Arc<Self> {
        let allow = settings.allow.iter().filter_map(|text| text.parse().ok());
        let exceptions = settings.allow_addresses.iter();
        let guard = AddressGuard {
            exceptions: exceptions.filter_map(|text| text.parse().ok()).collect(),
        };
        Arc::new(Self {
            allow: AllowList(allow.collect()),
            gate: Arc::new(Gate::new(guard)),
            make,
            table: Mutex::new(Table::new(settings.max_targets, settings.idle_timeout)),
            retired: Mutex::default(),
            follow,
        })
    }

    /// Finds what is kept for `target`, or makes it.
    ///
    /// # Errors
    ///
    /// Says why the caller does not get there.
    pub fn find(&self, target: &Target, now: Instant) -> Result<Arc<Destination<W>>, Denied> {
        {
            let mut table = lock(&self.table);
            if let Some(known) = table.get(target, now) {
                return Ok(known);
            }
            self.admits(target)?;
            if !table.has_room() {
                return Err(Denied::TooMany);
            }
        }
        // Outside the lock: it takes many times as long as a look-up.
        let (made, following) = self.make(target);
        let mut table = lock(&self.table);
        if let Some(known) = table.get(target, now) {
            return Ok(known);
        }
        let spares = |known: &Arc<Destination<W>>| known.is_in_doubt(now);
        let inserted = table.insert(target.clone(), Arc::clone(&made), now, spares);
        drop(table);
        let evicted = inserted.map_err(|Full| Denied::TooMany)?;
        self.retire(evicted, now);
        // Nobody listens at the end of the process.
        let _ = self.follow.send(following);
        Ok(made)
    }

    /// Whether a caller may name this target, as far as it can be told from its text.
    fn admits(&self, target: &Target) -> Result<(), Denied> {
        if !self.allow.allows(target) {
            return Err(Denied::Target);
        }
        let refused = literal(&target.host)
            .and_then(|ip| self.gate.refuses(SocketAddr::new(ip, target.port)));
        refused.map_or(Ok(()), |why| Err(Denied::Address(why)))
    }

    fn make(&self, target: &Target) -> (Arc<Destination<W>>, Following) {
        let Made { upstream, ways } = (self.make)(target);
        let host = match (&target.host, literal(&target.host)) {
            (_, Some(ip)) => ip.to_string(),
            (host, None) => host.to_string(),
        };
        let address = EndpointAddress::Name {
            host,
            port: target.port,
        };
        let endpoint = model::Endpoint {
            address,
            tls: false,
            weight: 1,
        };
        let gate = Some(Arc::clone(&self.gate));
        let resolution = Resolution::gated(&upstream, &[endpoint], gate);
        let (alive, gone) = oneshot::channel();
        let following = Following {
            resolution: Arc::clone(&resolution),
            gone,
        };
        let destination = Destination {
            target: target.clone(),
            upstream,
            ways,
            resolution,
            _following: alive,
        };
        (Arc::new(destination), following)
    }

    /// Closes what forgotten targets have open, now and whenever something of it comes back.
    fn retire(&self, gone: impl IntoIterator<Item = Arc<Destination<W>>>, now: Instant) {
        for destination in gone {
            let upstream = Arc::clone(&destination.upstream);
            upstream.set_endpoints(&[], now);
            if upstream.pool.counts() != (0, 0) {
                lock(&self.retired).push(upstream);
            }
        }
    }

    fn upstreams(&self) -> Vec<Arc<Upstream>> {
        // Not the destinations: that would look like a request.
        let table = lock(&self.table);
        let all = table.iter(crate::time::now());
        all.map(|(_, known, _)| Arc::clone(&known.upstream))
            .collect()
    }
}

/// What the upstream does with its targets without knowing what routes make of them.
pub trait Targets: Send + Sync {
    /// What each looks like now, by name.
    fn view(&self, now: Instant) -> Vec<TargetView>;

    /// Closes connections whose time is over, and forgets targets. Called about twice a second.
    fn reap(&self, now: Instant);

    /// The upstream of a target that is known, as `host:port`.
    fn upstream(&self, target: &str) -> Option<Arc<Upstream>>;

    /// Tells where we listen ourselves.
    fn set_own(&self, own: &[SocketAddr]);
}

impl<W: Send + Sync> Targets for Forward<W> {
    fn view(&self, now: Instant) -> Vec<TargetView> {
        let all: Vec<_> = {
            let table = lock(&self.table);
            let all = table.iter(now);
            all.map(|(target, known, idle)| {
                let outlook = known.resolution.outlook();
                (target.clone(), Arc::clone(&known.upstream), idle, outlook)
            })
            .collect()
        };
        let view = |(target, upstream, idle, outlook): (_, Arc<Upstream>, _, _)| TargetView {
            target,
            idle,
            refused: match outlook {
                Outlook::Refused(why) => Some(why),
                Outlook::Pending | Outlook::Tried => None,
            },
            view: upstream.view(now),
        };
        let mut views: Vec<_> = all.into_iter().map(view).collect();
        views.sort_by(|a, b| a.target.cmp(&b.target));
        views
    }

    fn reap(&self, now: Instant) {
        let expired = lock(&self.table).expire(now);
        self.retire(expired, now);
        for upstream in self.upstreams() {
            upstream.reap(now);
        }
        let retired = std::mem::take(&mut *lock(&self.retired));
        let still_open = |upstream: &Arc<Upstream>| {
            upstream.pool.retain(|_| false);
            upstream.pool.counts() != (0, 0)
        };
        let mut retired: Vec<_> = retired.into_iter().filter(still_open).collect();
        lock(&self.retired).append(&mut retired);
    }

    fn upstream(&self, target: &str) -> Option<Arc<Upstream>> {
        let target = Target::parse(target, None).ok()?;
        let table = lock(&self.table);
        let mut all = table.iter(crate::time::now());
        let (_, known, _) = all.find(|(known, _, _)| **known == target)?;
        Some(Arc::clone(&known.upstream))
    }

    fn set_own(&self, own: &[SocketAddr]) {
        self.gate.set_own(own);
    }
}

impl<W> fmt::Debug for Forward<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let targets = lock(&self.table).count();
        f.debug_struct("Forward")
            .field("targets", &targets)
            .finish_non_exhaustive()
    }
}

/// The address that a host is without resolution.
fn literal(host: &Host) -> Option<IpAddr> {
    match host {
        Host::Ip(ip) => Some(*ip),
        Host::Name(name) if **name == *"localhost" => Some(Ipv4Addr::LOCALHOST.into()),
        Host::Name(_) => None,
    }
}
