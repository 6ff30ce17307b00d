//! The data plane: the only module that knows the order of a request.
//!
//! [`handle`] holds that order in one function; `attempt` is one try against one endpoint. What
//! happens here speaks in heads, bodies and outcomes: hyper's types stop at [`crate::listener`]
//! and [`crate::pool`].

pub mod advice;
pub mod answer;
mod attempt;
pub mod body;
pub mod error;
mod exchange;
mod forward;
pub mod forwarded;
pub mod handle;
mod hedge;
mod mangle;
mod outgoing;
mod reply;
pub mod request;
mod retry;
pub mod route;
pub mod survey;
mod trial;
pub mod tunnel;
pub mod watch;
pub mod websocket;

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use arc_swap::ArcSwap;

use self::route::RouteTable;
use self::watch::Watch;
use crate::config::model;
use crate::net::Ends;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::ListenerMetrics;
use crate::tls;

pub use self::reply::Fallback;

/// What the requests of one worker share.
pub struct Proxy {
    /// Which worker.
    pub worker: usize,
    /// Where requests are logged.
    pub access_log: Arc<AccessLog>,
    /// Tells a drain when this worker is quiet.
    pub activity: Arc<Activity>,
}

/// A listener at run time.
pub struct Listener {
    /// Its name.
    pub name: Arc<str>,
    /// What is spoken on it.
    pub protocol: model::Protocol,
    /// How it is encrypted, if it is.
    pub tls: Option<Arc<tls::server::Server>>,
    /// What its callers may do.
    pub downstream: model::Downstream,
    /// Its routes; each request takes one look.
    pub routes: ArcSwap<RouteTable>,
    /// Its counters.
    pub metrics: ListenerMetrics,
}

impl Listener {
    /// Whether what its callers send is encrypted.
    pub const fn is_tls(&self) -> bool {
        self.tls.is_some()
    }
}

/// One connection of a caller.
pub struct Caller {
    /// The worker that serves it.
    pub proxy: Rc<Proxy>,
    /// Where it was accepted.
    pub listener: Arc<Listener>,
    /// Its address; `None` where it came by a Unix socket.
    pub ends: Ends,
    /// Its timer.
    pub watch: Rc<Watch>,
}

impl Caller {
    /// The same caller, on a stream of its connection.
    #[must_use]
    pub fn on_stream(&self, watch: Rc<Watch>) -> Self {
        Self {
            proxy: Rc::clone(&self.proxy),
            listener: Arc::clone(&self.listener),
            watch,
            ends: self.ends.clone(),
        }
    }
}

/// Requests in flight on one worker, and when the last one ended.
#[derive(Debug)]
pub struct Activity {
    start: Instant,
    in_flight: AtomicUsize,
    /// Milliseconds after `start`.
    last: AtomicU64,
}

impl Activity {
    /// Nothing in flight, nothing since `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            start: now,
            in_flight: AtomicUsize::new(0),
            last: AtomicU64::new(0),
        }
    }

    fn begin(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    fn end(&self, now: Instant) {
        let millis = now.saturating_duration_since(self.start).as_millis();
        self.last
            .store(u64::try_from(millis).unwrap_or(u64::MAX), Relaxed);
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// Requests in flight, until the end of their responses.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    /// When the last request ended.
    pub fn last(&self) -> Instant {
        self.start + std::time::Duration::from_millis(self.last.load(Relaxed))
    }
}
