//! What operators and orchestrators see and do over HTTP, on two small servers.
//!
//! The metrics listener may face the network and only reads: `/metrics`, `/livez`, `/readyz`, and
//! `grpc.health.v1` over HTTP/2. The
//! admin listener is bound to loopback or a Unix socket and adds the status page, and operations on breakers,
//! faults and endpoints. Both run on the control thread; nothing here is on the path of a request,
//! and nothing here knows more of the data plane than the [`Admin`] trait tells.

mod fault;
pub mod grpc_health;
mod health;
mod operation;
mod restore;
mod routes;
mod server;
mod status;

use std::sync::Arc;

pub use self::fault::FaultOperation;
pub use self::server::serve;
use crate::net::Address;
use crate::resilience::breaker::{Operation, Refused};
use crate::telemetry::metrics::Metrics;
use crate::upstream::Upstream;
use crate::upstream::view::UpstreamView;

/// What the servers ask of the process.
pub trait Admin: Send + Sync {
    /// What every upstream looks like now.
    fn views(&self) -> Vec<UpstreamView>;

    /// What the upstream of this name looks like now, if there is one.
    fn view(&self, upstream: &str) -> Option<UpstreamView>;

    /// Whether traffic is welcome; else one word why not, such as `starting` or `draining`.
    fn ready(&self) -> Result<(), &'static str>;

    /// Does `operation` to the breaker of an upstream, or of its route named `listener/route`.
    /// [`operate`] is how.
    fn operate(
        &self,
        upstream: &str,
        route: Option<&str>,
        operation: Operation,
    ) -> Result<(), OperateError>;

    /// Does `operation` to the faults of an upstream; returns the number of a fault that was
    /// begun. [`fault()`] is how.
    fn fault(&self, upstream: &str, operation: FaultOperation) -> Result<Option<u64>, FaultError>;

    /// Ends the ejection of an endpoint; says whether it was ejected, `None` where no upstream has
    /// this name. [`restore()`] is how.
    fn restore(&self, upstream: &str, endpoint: &Address) -> Option<bool>;
}

/// Why a breaker operation was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperateError {
    /// No upstream has this name.
    NoUpstream,
    /// The upstream has no breaker for this route.
    NoRoute,
    /// The breaker refused.
    Refused(Refused),
}

/// Why an operation on faults was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultError {
    /// No upstream has this name.
    NoUpstream,
    /// The upstream has no fault of this number, or not any more.
    NoFault,
    /// The upstream has as many faults as it may.
    Full,
}

/// Finds the breaker among `upstreams` and does `operation` to it.
pub fn operate<'a>(
    upstreams: impl IntoIterator<Item = &'a Arc<Upstream>>,
    upstream: &str,
    route: Option<&str>,
    operation: Operation,
) -> Result<(), OperateError> {
    let upstream = find(upstreams, upstream).ok_or(OperateError::NoUpstream)?;
    let upstream = &*upstream;
    let found = upstream
        .breakers()
        .find(|(owner, _)| owner.as_deref() == route);
    let (_, breaker) = found.ok_or(OperateError::NoRoute)?;
    breaker
        .operate(operation, crate::time::now())
        .map_err(OperateError::Refused)
}

/// Finds the upstream among `upstreams` and does `operation` to its faults.
pub fn fault<'a>(
    upstreams: impl IntoIterator<Item = &'a Arc<Upstream>>,
    upstream: &str,
    operation: FaultOperation,
) -> Result<Option<u64>, FaultError> {
    let upstream = find(upstreams, upstream).ok_or(FaultError::NoUpstream)?;
    let faults = &upstream.faults;
    let now = crate::time::now();
    match operation {
        FaultOperation::Inject { settings, lasts } => faults
            .add(settings, now + lasts, now)
            .map(Some)
            .map_err(|_| FaultError::Full),
        FaultOperation::Clear(Some(id)) if !faults.remove(id, now) => Err(FaultError::NoFault),
        FaultOperation::Clear(Some(_)) => Ok(None),
        FaultOperation::Clear(None) => {
            faults.clear();
            Ok(None)
        }
    }
}

/// Finds the upstream among `upstreams` and ends the ejection of its endpoint.
pub fn restore<'a>(
    upstreams: impl IntoIterator<Item = &'a Arc<Upstream>>,
    upstream: &str,
    endpoint: &Address,
) -> Option<bool> {
    let upstream = find(upstreams, upstream)?;
    Some(upstream.restore(endpoint, crate::time::now()))
}

/// The upstream of this name; of one whose callers name the host, a target by `NAME@host:port`.
fn find<'a>(
    upstreams: impl IntoIterator<Item = &'a Arc<Upstream>>,
    name: &str,
) -> Option<Arc<Upstream>> {
    let (name, target) = match name.split_once('@') {
        Some((name, target)) => (name, Some(target)),
        None => (name, None),
    };
    let mut all = upstreams.into_iter();
    let found = all.find(|candidate| &*candidate.name == name)?;
    match target {
        None => Some(Arc::clone(found)),
        Some(target) => found.targets.as_ref()?.upstream(target),
    }
}

/// What a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// Metrics and health, read-only.
    Metrics,
    /// Those, the status page and the operations.
    Admin,
}

/// What the servers show.
pub struct Site {
    /// The process.
    pub admin: Arc<dyn Admin>,
    /// Its metrics.
    pub metrics: Metrics,
}

#[cfg(test)]
mod tests;
