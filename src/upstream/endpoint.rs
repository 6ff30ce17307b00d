//! One address of an upstream and what is known about it: all that a pick reads, without a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::HeaderValue;

use crate::balance::Ewma;
use crate::net::Address;
use crate::pool::Way;

/// An address that requests can be sent to. Survives re-resolution as long as the address does.
/// Instants are nanoseconds since its upstream was made.
#[derive(Debug)]
pub struct Endpoint {
    /// Where to connect.
    pub address: Address,
    /// `Host` of the endpoint as configured.
    pub host: HeaderValue,
    /// The rest of the way to it, as it was found last.
    way: ArcSwap<Way>,
    /// When it came; 0 for those that were there from the start.
    pub(super) added: u64,
    /// End of its last ejection, perhaps to come; 0 if there was none.
    ejected_until: AtomicU64,
    in_flight: AtomicUsize,
    /// [`Ewma`].
    latency: AtomicU64,
}

impl Endpoint {
    /// Builds an endpoint without attempts.
    pub(super) fn new(
        address: Address,
        host: HeaderValue,
        way: Arc<Way>,
        added: u64,
        ejected_until: u64,
    ) -> Arc<Self> {
        Arc::new(Self {
            address,
            host,
            way: ArcSwap::new(way),
            added,
            ejected_until: AtomicU64::new(ejected_until),
            in_flight: AtomicUsize::new(0),
            latency: AtomicU64::new(0),
        })
    }

    /// The rest of the way to it.
    pub fn way(&self) -> Arc<Way> {
        self.way.load_full()
    }

    /// It was found again.
    pub(super) fn set_way(&self, way: &Arc<Way>) {
        self.way.store(Arc::clone(way));
    }

    /// Attempts in flight, until the end of their response bodies.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    pub(super) fn ejected_until(&self) -> u64 {
        self.ejected_until.load(Relaxed)
    }

    pub(super) fn eject(&self, until: u64) {
        self.ejected_until.store(until, Relaxed);
    }

    /// Time since it came or returned, for ever if it was there from the start; `None` while it is
    /// ejected.
    pub(super) fn in_service(&self, at: u64) -> Option<Duration> {
        let until = self.ejected_until();
        let lasts = match self.added.max(until) {
            0 => Duration::MAX,
            since => Duration::from_nanos(at.saturating_sub(since)),
        };
        (at >= until).then_some(lasts)
    }

    pub(super) fn latency(&self) -> Ewma {
        Ewma::from_bits(self.latency.load(Relaxed))
    }

    /// Moves the average latency; two at the same time both count.
    pub(super) fn move_latency(&self, moved: impl Fn(Ewma) -> Ewma) {
        let moved = |bits| Some(moved(Ewma::from_bits(bits)).to_bits());
        // It never refuses.
        let _ = self.latency.fetch_update(Relaxed, Relaxed, moved);
    }

    /// Counts an attempt for as long as the guard lives.
    pub(super) fn enter(self: &Arc<Self>, picked: Instant, learns: bool) -> InFlight {
        self.in_flight.fetch_add(1, Relaxed);
        InFlight {
            endpoint: Arc::clone(self),
            picked,
            learns,
        }
    }
}

/// Counts one attempt of an endpoint.
#[derive(Debug)]
#[must_use = "a dropped guard counts nothing"]
pub struct InFlight {
    endpoint: Arc<Endpoint>,
    picked: Instant,
    learns: bool,
}

impl InFlight {
    /// The endpoint.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What is to be handed to [`super::Upstream::learn`] with the verdict, which may fall after
    /// or before this guard goes; `None` where nothing would be learnt.
    pub fn witness(&self) -> Option<Witness> {
        self.learns.then(|| Witness {
            endpoint: Arc::clone(&self.endpoint),
            started: self.picked,
        })
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.endpoint.in_flight.fetch_sub(1, Relaxed);
    }
}

/// Knows which endpoint an attempt was made at, and since when. One that is dropped says nothing.
#[derive(Debug)]
pub struct Witness {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) started: Instant,
}
