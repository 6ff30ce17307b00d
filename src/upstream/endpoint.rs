//! One address of an upstream and what is known about it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use http::HeaderValue;

/// An address that requests can be sent to. Survives re-resolution as long as the address does.
#[derive(Debug)]
pub struct Endpoint {
    /// Where to connect.
    pub address: SocketAddr,
    /// `Host` of the endpoint as configured.
    pub host: HeaderValue,
    in_flight: AtomicUsize,
}

impl Endpoint {
    /// Builds an endpoint without attempts.
    pub fn new(address: SocketAddr, host: HeaderValue) -> Arc<Self> {
        Arc::new(Self {
            address,
            host,
            in_flight: AtomicUsize::new(0),
        })
    }

    /// Attempts in flight, until the end of their response bodies.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    /// Counts an attempt for as long as the guard lives.
    pub fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(Arc::clone(self))
    }
}

/// Counts one attempt of an endpoint.
#[derive(Debug)]
#[must_use = "a dropped guard counts nothing"]
pub struct InFlight(Arc<Endpoint>);

impl InFlight {
    /// The endpoint.
    pub fn endpoint(&self) -> &Endpoint {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}
