//! Connections to upstreams: the only module that owns client sockets.
//!
//! One [`Pool`] per upstream. `max_connections` and `max_idle` hold for the whole process and
//! exactly so. HTTP/1 connections carry one exchange each; idle ones are kept per worker and reused
//! last-in first-out. HTTP/2 connections carry as many as the upstream allows, and are idle without
//! any. A request takes, in this order: an own idle connection or one with room for a stream, a share
//! in a dial of its worker, a fresh one below the cap, another worker's, the place of the oldest idle
//! connection, else it waits first-in first-out.
//!
//! Invariants: a connection of HTTP/1 with an abandoned exchange is never reused, a stream never;
//! every open socket holds one [`Place`], given back when the socket is closed and not before;
//! nothing is retried here. Knows nothing about policies, routes or replies. The client types of
//! hyper and h2 stop here.

mod body;
mod connection;
mod dial;
mod extended;
mod gate;
mod http1;
mod http2;
mod inbound;
mod interim;
mod join;
mod linger;
mod persistence;
mod pump;
mod raw;
mod replay;
mod shared;
mod shelf;
mod stream;
mod way;

pub use body::{Broken, Download, Upload, UploadObserver};
pub use connection::{Connection, Idle, SendError};
pub use dial::{Dial, DialSocket, Dialed, Socket, Spoken, Stream, is_our_limit};
pub use gate::Gate;
pub use inbound::{BrokenOff, Http2Body, Inbound};
pub use interim::Interim;
pub use join::{Joining, is_too_long};
pub use linger::{Linger, Lingering, linger};
pub use raw::Raw;
pub use replay::Unread;
pub use way::{Way, Won};

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use self::http1::Shelved;
use self::shared::Slot;
use self::shelf::{Ask, Shelf, Take};
use crate::config::model::{Http2, Protocol};
use crate::net::frames::Flood;
use crate::net::{Address, Rewound};
use crate::tls;

/// Limits of one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections, process-wide.
    pub max_connections: usize,
    /// Idle connections kept, process-wide.
    pub max_idle: usize,
    /// An idle connection is closed after this long.
    pub idle_timeout: Duration,
    /// A connection is not reused past this age, shortened by up to 10 % jitter.
    pub max_age: Option<Duration>,
}

/// What a pool is built with.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Its limits.
    pub limits: Limits,
    /// What may be spoken; [`Dial`] sees to it.
    pub protocol: Protocol,
    /// What HTTP/2 connections are opened with.
    pub http2: Http2,
    /// Whether [`Dial`] encrypts.
    pub tls: bool,
    /// Whether names of fields in responses of HTTP/1 are remembered as they were spelled. Those of
    /// requests are written as their listener has remembered them, if it has.
    pub keeps_header_case: bool,
}

/// Why a connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Closed {
    /// The upstream closed it while it was idle.
    Upstream,
    /// The upstream asked for it (`Connection: close`, HTTP/1.0).
    Asked,
    /// Its exchange was abandoned or failed.
    Abandoned,
    /// It was idle for too long.
    IdleTimeout,
    /// It reached its maximum age.
    MaxAge,
    /// There were enough idle ones.
    MaxIdle,
    /// Its place was needed for another endpoint.
    Evicted,
    /// Its endpoint is gone from discovery.
    Removed,
    /// It was a tunnel, which has ended.
    Tunnel,
    /// It gave no sign of life when asked.
    PingTimeout,
    /// The upstream floods us with frames.
    Flood,
}

impl Closed {
    /// Every reason, in the order of the enum.
    pub const ALL: [Self; 11] = [
        Self::Upstream,
        Self::Asked,
        Self::Abandoned,
        Self::IdleTimeout,
        Self::MaxAge,
        Self::MaxIdle,
        Self::Evicted,
        Self::Removed,
        Self::Tunnel,
        Self::PingTimeout,
        Self::Flood,
    ];

    /// The word for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Asked => "asked",
            Self::Abandoned => "abandoned",
            Self::IdleTimeout => "idle_timeout",
            Self::MaxAge => "max_age",
            Self::MaxIdle => "max_idle",
            Self::Evicted => "evicted",
            Self::Removed => "removed",
            Self::Tunnel => "tunnel",
            Self::PingTimeout => "ping_timeout",
            Self::Flood => "flood",
        }
    }
}

/// Told of what happens to connections. Called without a lock held; must be cheap.
pub trait Observer: Send + Sync {
    /// A connection was opened, in this time.
    fn opened(&self, took: Duration);
    /// An idle connection was taken for another exchange.
    fn reused(&self);
    /// A connection was given up.
    fn closed(&self, why: Closed);
    /// The upstream sends too much of this on a connection of HTTP/2, which is closed for it.
    fn flooded(&self, flood: Flood);
    /// A TLS connection failed, in the handshake or by what the upstream said after it.
    fn tls_failed(&self, reason: tls::Reason);
}

/// The connections to one upstream.
pub struct Pool {
    settings: Settings,
    /// Whether the last handshake agreed on HTTP/1.
    declined: AtomicBool,
    dial: Arc<dyn Dial>,
    observer: Arc<dyn Observer>,
    shelf: Mutex<Shelf>,
}

/// The right to have one socket open; given back on drop. `None` once it was handed on.
#[must_use]
struct Place(Option<Arc<Pool>>);

/// What a waiter is handed.
enum Grant {
    /// An idle connection to the endpoint it asked for.
    Idle(Shelved),
    /// A stream of one, which is fresh or not.
    Stream(Slot, bool),
    /// The right to open one.
    Place(Place),
}

/// What kind of connection a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Whichever there is.
    Any,
    /// One that is not open yet: kept ones have died unnoticed.
    Fresh,
    /// One that is opened for it alone.
    Alone,
}

/// What [`Pool::checkout`] found.
pub enum Checkout {
    /// A kept connection, to be looked at first: [`Idle::revive`].
    Idle(Idle),
    /// The right to open one.
    Dial(Dialing),
    /// A share in a dial that is under way.
    Join(Joining),
    /// All places are taken.
    Wait(Waiting),
}

/// What a wait for a connection brought.
pub enum Granted {
    /// A kept connection, to be looked at first: [`Idle::revive`].
    Idle(Idle),
    /// The right to open one.
    Dial(Dialing),
}

/// The right to open one connection to an endpoint.
#[must_use]
pub struct Dialing {
    pool: Arc<Pool>,
    place: Place,
    endpoint: Address,
    worker: usize,
}

/// A place in the queue for a connection; dropping it leaves the queue.
#[must_use]
pub struct Waiting {
    pool: Arc<Pool>,
    grant: oneshot::Receiver<Grant>,
    endpoint: Address,
    worker: usize,
}

impl Pool {
    /// Builds an empty pool for `workers` worker threads.
    pub fn new(
        settings: Settings,
        workers: usize,
        dial: Arc<dyn Dial>,
        observer: Box<dyn Observer>,
    ) -> Arc<Self> {
        Arc::new(Self {
            settings,
            declined: AtomicBool::new(false),
            dial,
            observer: observer.into(),
            shelf: Mutex::new(Shelf::new(workers)),
        })
    }

    /// Whether a request that is to turn its connection into a tunnel needs one of HTTP/1.1 of its own:
    /// where ALPN could agree on HTTP/2, as few upstreams take extended CONNECT.
    pub fn upgrades_alone(&self) -> bool {
        self.settings.protocol == Protocol::Auto && self.settings.tls
    }

    /// Its limits.
    pub fn limits(&self) -> &Limits {
        &self.settings.limits
    }

    /// Whether a fresh connection will probably be one to share.
    pub fn hopes_for_http2(&self) -> bool {
        match self.settings.protocol {
            Protocol::Http2 => true,
            Protocol::Auto => self.settings.tls && !self.declined.load(Relaxed),
            Protocol::Http1 | Protocol::Tcp => false,
        }
    }

    /// Takes an idle connection to `endpoint` or a stream of one, a share in a dial or a place to
    /// open one, as far as they are wanted, or queues for them.
    pub fn checkout(
        self: &Arc<Self>,
        worker: usize,
        endpoint: &Address,
        want: Want,
        now: Instant,
    ) -> Checkout {
        let ask = Ask {
            worker,
            endpoint,
            want,
            max: self.settings.limits.max_connections,
            max_joiners: self.settings.http2.max_streams as usize,
            now,
        };
        loop {
            let take = self.lock().take(ask);
            let pool = Arc::clone(self);
            match take {
                Take::Idle(idle) if idle.expires <= now => Self::expire(idle, now),
                Take::Idle(idle) => return Checkout::Idle(Idle::new(idle, pool)),
                Take::Stream(lent) => {
                    return Checkout::Idle(Idle::stream(Slot::new(lent, pool), false));
                }
                Take::Over(shared, why) => shared.close(why),
                Take::Join(joined, interest) => {
                    return Checkout::Join(Joining::new(pool, joined, interest));
                }
                Take::Place => {
                    return Checkout::Dial(Dialing {
                        place: Place(Some(Arc::clone(self))),
                        pool,
                        endpoint: endpoint.clone(),
                        worker,
                    });
                }
                Take::Wait(grant, evicted) => {
                    if let Some(evicted) = evicted {
                        evicted.close(Closed::Evicted);
                    }
                    return Checkout::Wait(Waiting {
                        pool,
                        grant,
                        endpoint: endpoint.clone(),
                        worker,
                    });
                }
            }
        }
    }

    fn expire(idle: Shelved, now: Instant) {
        let why = if idle.is_dead() {
            Closed::Upstream
        } else if idle.too_old(now) {
            Closed::MaxAge
        } else {
            Closed::IdleTimeout
        };
        idle.close(why);
    }

    /// Whether a checkout would not have to wait, as it looks now.
    pub fn has_room(&self, endpoint: &Address) -> bool {
        let max = self.settings.limits.max_connections;
        self.lock().has_room(endpoint, max)
    }

    /// Takes a connection back after a whole exchange: for a waiter, or onto the shelf.
    fn checkin(&self, mut idle: Shelved, now: Instant) {
        if idle.expires <= now {
            return Self::expire(idle, now);
        }
        loop {
            let mut shelf = self.lock();
            let Some(waiter) = shelf.next_waiter() else {
                let surplus = shelf.put(idle, self.settings.limits.max_idle);
                drop(shelf);
                if let Some(surplus) = surplus {
                    surplus.close(Closed::MaxIdle);
                }
                return;
            };
            if !waiter.takes_kept(idle.endpoint()) {
                // Its place goes to this waiter once the socket is closed.
                shelf.requeue(waiter);
                drop(shelf);
                return idle.close(Closed::Evicted);
            }
            drop(shelf);
            match waiter.offer_idle(idle) {
                Ok(()) => return,
                Err(back) => idle = back,
            }
        }
    }

    /// Closes idle connections that are dead or whose time is over. Called about once a second.
    pub fn reap(&self, now: Instant) {
        let (idle, shared) = self.lock().expired(now);
        for idle in idle {
            Self::expire(idle, now);
        }
        for (shared, why) in shared {
            shared.close(why);
        }
    }

    /// Closes connections to endpoints that `keep` refuses: idle ones at once, those with streams
    /// when the last of them has ended.
    pub fn retain(&self, keep: impl Fn(&Address) -> bool) {
        let removed = self.lock().retain(keep);
        for surplus in removed {
            surplus.close(Closed::Removed);
        }
    }

    /// Open connections: those with an exchange (or being opened), and those without.
    pub fn counts(&self) -> (usize, usize) {
        let shelf = self.lock();
        let idle = shelf.idle();
        (shelf.open().saturating_sub(idle), idle)
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        // The shelf's methods cannot panic half-way, so a poisoned one is whole.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Dialing {
    /// Opens the connection for bytes of any protocol, which begin with `first`, not encrypted.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    ///
    /// # Cancel safety
    ///
    /// As [`Self::open`].
    pub async fn open_raw(self, way: &Arc<Way>, first: Vec<u8>) -> io::Result<Raw> {
        let started = crate::time::now();
        let dialed = self.pool.dial.dial_raw(&self.endpoint, way, first);
        let Socket { stream, peek, .. } = dialed.await?;
        let took = crate::time::now().saturating_duration_since(started);
        let observer = Arc::clone(&self.pool.observer);
        observer.opened(took);
        let stream = Rewound::new(Bytes::new(), stream);
        let peek = peek.as_ref().map(Arc::downgrade);
        Ok(Raw::dialled(stream, peek, self.place, observer))
    }
}

impl Waiting {
    /// Waits for a connection or a place.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the queue; what was granted in that moment passes on.
    pub async fn granted(self) -> Granted {
        let Self {
            pool,
            grant,
            endpoint,
            worker,
        } = self;
        match grant.await {
            Ok(Grant::Idle(idle)) => Granted::Idle(Idle::new(idle, pool)),
            Ok(Grant::Stream(slot, fresh)) => Granted::Idle(Idle::stream(slot, fresh)),
            Ok(Grant::Place(place)) => Granted::Dial(Dialing {
                pool,
                place,
                endpoint,
                worker,
            }),
            // The pool drops a sender only when it ends itself, and we hold it.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Place {
    /// Makes it give nothing back.
    fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(pool) = self.0.take() else { return };
        loop {
            let waiter = pool.lock().leave();
            let Some(waiter) = waiter else { return };
            // The place stays counted while it changes hands.
            if waiter.offer_place(Self(Some(Arc::clone(&pool)))) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
