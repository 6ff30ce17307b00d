//! What an upstream looks like from outside at one instant: read by metrics and the status page.

use std::net::SocketAddr;
use std::sync::Arc;

use super::bulkhead::WouldHave;
use crate::config::model::Mode;
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
    /// Requests waiting for a slot.
    pub queued: usize,
    /// `max_queued`.
    pub max_queued: usize,
    /// What the bulkhead would have done while in observe mode.
    pub would_have: WouldHave,
    /// Open connections that carry an exchange (or are being opened).
    pub connections_active: usize,
    /// Open connections that do not.
    pub connections_idle: usize,
    /// `max_connections`.
    pub max_connections: usize,
    /// Known addresses.
    pub endpoints: Vec<EndpointView>,
    /// The upstream's own breaker first (`route` is `None`), then those of routes with overrides.
    pub breakers: Vec<BreakerView>,
}

/// One address of an upstream.
#[derive(Clone, Debug)]
pub struct EndpointView {
    /// Its address.
    pub address: SocketAddr,
    /// Attempts in flight.
    pub in_flight: usize,
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
