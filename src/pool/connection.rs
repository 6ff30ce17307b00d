//! One connection: an exchange on it, and what becomes of it afterwards.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use http::{Request, Response};

use super::extended::{self, Extended};
use super::http1::{self, Lease, Shelved};
use super::http2;
use super::interim::Interim;
use super::persistence::{Persistence, persistence};
use super::shared::{Shared, Slot};
use super::stream::{self, Uploading};
use super::{Closed, Dialing, Download, Inbound, Pool, Raw, Spoken, Upload, Way};
use crate::tls;

/// Largest response head, bytes; also bounds what is buffered of a body. hyper would grow to 408 KiB.
pub(super) const MAX_BUFFER: usize = 64 * 1024;

/// What carries one exchange: a connection, or a stream of one. Dropping it closes it, a stream
/// alone.
pub struct Connection {
    carrier: Carrier,
    reused: bool,
}

enum Carrier {
    Http1 {
        /// `None` once it was given back.
        lease: Option<Box<Lease>>,
        pool: Arc<Pool>,
        /// What the last response says about another exchange.
        after: Persistence,
    },
    Http2 {
        /// The rest of the upload, before the slot: it is broken off first.
        uploading: Option<Uploading>,
        tunnel: Extended,
        slot: Slot,
    },
}

/// A connection that has just been opened.
pub(super) enum Fresh {
    Http1(Shelved),
    Http2(Shared),
}

/// A kept connection on its way to another exchange. Dropping it closes it.
pub struct Idle(Connection);

/// Why an exchange brought no response head.
#[derive(Debug)]
pub enum SendError {
    /// The connection was over before it took the request; here it is back.
    Unsent(Box<Request<Upload>>),
    /// The upstream says that it has not processed the request; here it is back, unless some of its
    /// body was sent.
    Refused(Option<Box<Request<Upload>>>),
    /// The connection ended before the response head was whole.
    Reset {
        /// Whether any byte of a response had come, or over HTTP/2 anything at all that shows that
        /// the connection had not died before.
        answered: bool,
    },
    /// The upstream refused us, as TLS 1.3 does after the handshake.
    Tls(tls::Reason),
    /// The upstream takes no upgrades on this connection; nothing was sent.
    Unsupported,
    /// What came is not an HTTP response, or its head exceeds a limit.
    Invalid,
    /// The caller's body broke off.
    Upload,
}

/// Opens a connection, and starts its task.
///
/// # Errors
///
/// The connection was refused, reset or has no route, or a handshake failed.
///
/// # Cancel safety
///
/// Dropping the future closes the socket and gives the place back.
pub(super) async fn open(dialing: Dialing, way: &Arc<Way>) -> io::Result<Fresh> {
    let started = crate::time::now();
    let pool = Arc::clone(&dialing.pool);
    let dialed = pool.dial.dial(&dialing.endpoint, way).await;
    let socket = told(dialed, &pool)?;
    let now = crate::time::now();
    let opened = match socket.protocol {
        Spoken::Http1 => {
            pool.observer.opened(now.saturating_duration_since(started));
            Fresh::Http1(http1::open(dialing, socket, now).await?)
        }
        Spoken::Http2 => {
            let shared = told(http2::open(dialing, socket, now).await, &pool)?;
            let took = crate::time::now().saturating_duration_since(started);
            pool.observer.opened(took);
            Fresh::Http2(shared)
        }
    };
    let declined = matches!(opened, Fresh::Http1(_));
    pool.declined.store(declined, Relaxed);
    Ok(opened)
}

/// Opens a connection on which HTTP/1.1 is spoken, for an exchange that nobody shares.
///
/// # Errors
///
/// # Cancel safety
///
/// As [`open`].
pub(super) async fn open_http1(dialing: Dialing, way: &Arc<Way>) -> io::Result<Connection> {
    let started = crate::time::now();
    let pool = Arc::clone(&dialing.pool);
    let dialed = pool.dial.dial_http1(&dialing.endpoint, way).await;
    let socket = told(dialed, &pool)?;
    let now = crate::time::now();
    pool.observer.opened(now.saturating_duration_since(started));
    let opened = http1::open(dialing, socket, now).await?;
    Ok(Connection::http1(opened, pool, false))
}

/// Tells of a handshake that failed: once, however many wait for it.
fn told<T>(opened: io::Result<T>, pool: &Pool) -> io::Result<T> {
    opened.inspect_err(|error| {
        if let Some(reason) = tls::reason_of(error) {
            pool.observer.tls_failed(reason);
        }
    })
}

/// When a connection that is opened now takes no more exchanges.
pub(super) fn retires(pool: &Pool, now: Instant) -> Option<Instant> {
    pool.limits().max_age.map(|age| now + shortened(age))
}

/// Takes up to a tenth off, so that connections opened together do not retire together.
fn shortened(age: Duration) -> Duration {
    let tenth = u64::try_from(age.as_micros() / 10).unwrap_or(u64::MAX);
    let cut = crate::rng::u64() % tenth.max(1);
    age.saturating_sub(Duration::from_micros(cut))
}

impl Connection {
    /// One without an exchange.
    pub(super) fn http1(shelved: Shelved, pool: Arc<Pool>, reused: bool) -> Self {
        let carrier = Carrier::Http1 {
            lease: Some(shelved.lease),
            pool,
            after: Persistence::default(),
        };
        Self { carrier, reused }
    }

    /// A stream.
    pub(super) fn stream(slot: Slot, reused: bool) -> Self {
        let carrier = Carrier::Http2 {
            uploading: None,
            tunnel: Extended::No,
            slot,
        };
        Self { carrier, reused }
    }

    /// Whether it may have carried an exchange before, and so be dead without anybody's fault.
    pub fn reused(&self) -> bool {
        self.reused
    }

    /// Readies it for a request whose response may turn it into a tunnel.
    pub fn may_upgrade(&mut self) {
        match &mut self.carrier {
            Carrier::Http1 { lease, .. } => {
                lease.iter().for_each(|lease| lease.may_upgrade(true));
            }
            Carrier::Http2 { tunnel, .. } => *tunnel = Extended::Asked,
        }
    }

    /// Whether it is a stream that the upstream has not processed, as it said when it took leave.
    pub fn was_turned_away(&mut self) -> bool {
        match &mut self.carrier {
            Carrier::Http2 { slot, .. } => slot.said_farewell(),
            Carrier::Http1 { .. } => false,
        }
    }

    /// Its answer was waited for in vain. A stream goes alone, but with it goes the trust in its
    /// connection, where that was silent all the while.
    pub fn distrust(&self) {
        if let Carrier::Http2 { slot, .. } = &self.carrier {
            slot.distrust();
        }
    }

    /// Whether it is a stream of HTTP/2.
    pub const fn is_stream(&self) -> bool {
        matches!(self.carrier, Carrier::Http2 { .. })
    }

    /// What is left of it after a response that made it a tunnel; `None` where it broke meanwhile.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn into_raw(self) -> Option<Raw> {
        match self.carrier {
            Carrier::Http1 { lease, .. } => lease?.into_raw().await,
            Carrier::Http2 { tunnel, slot, .. } => match tunnel {
                Extended::Open(duplex, resets) => Some(Raw::stream(duplex, resets, slot)),
                Extended::No | Extended::Asked => None,
            },
        }
    }

    /// Sends a request and waits for the response head.
    ///
    /// # Errors
    ///
    /// See [`SendError`]; the connection cannot be used again.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future abandons the exchange: drop the connection too.
    pub fn send(
        &mut self,
        mut request: Request<Upload>,
    ) -> impl Future<Output = Result<Response<Download>, SendError>> {
        let interim = request.extensions_mut().remove::<Interim>();
        // Handed over before the first await: the future need not keep the request.
        let sent = match &mut self.carrier {
            Carrier::Http1 {
                lease: Some(lease), ..
            } => Ok(Sent::Http1(lease.send(request, interim))),
            Carrier::Http1 { lease: None, .. } => Err(SendError::Unsent(Box::new(request))),
            Carrier::Http2 {
                slot,
                tunnel: Extended::Asked,
                ..
            } => extended::begin(slot, request).map(Sent::Extended),
            Carrier::Http2 { slot, .. } => stream::begin(slot, request, interim).map(Sent::Http2),
        };
        async move {
            let answered = match sent? {
                Sent::Http1(sent) => sent.await,
                Sent::Http2(begun) => {
                    let (response, rest) = begun.answered().await?;
                    if let Carrier::Http2 { uploading, .. } = &mut self.carrier {
                        *uploading = rest;
                    }
                    return Ok(response);
                }
                Sent::Extended(begun) => {
                    let (response, opened) = Box::pin(begun.answered()).await?;
                    if let Carrier::Http2 { tunnel, .. } = &mut self.carrier {
                        *tunnel = opened;
                    }
                    return Ok(response);
                }
            };
            match answered {
                Ok(response) => {
                    if let Carrier::Http1 { after, .. } = &mut self.carrier {
                        *after = persistence(response.version(), response.headers());
                    }
                    Ok(response.map(|body| Download::new(Inbound::Http1(body))))
                }
                Err(mut error) => Err(match error.take_message() {
                    Some(request) => SendError::Unsent(Box::new(request)),
                    None if error.error().is_parse() => SendError::Invalid,
                    None if error.error().is_user() => SendError::Upload,
                    None => match tls::reason_of(error.error()) {
                        Some(reason) => {
                            if let Carrier::Http1 { pool, .. } = &self.carrier {
                                pool.observer.tls_failed(reason);
                            }
                            SendError::Tls(reason)
                        }
                        None => SendError::Reset {
                            answered: self.has_heard(),
                        },
                    },
                }),
            }
        }
    }

    /// Whether a byte came in since the request was handed over.
    fn has_heard(&self) -> bool {
        match &self.carrier {
            Carrier::Http1 {
                lease: Some(lease), ..
            } => lease.has_heard(),
            _ => false,
        }
    }

    /// Gives the connection back after a whole exchange, for reuse where the response allows it.
    pub fn checkin(self, now: Instant) {
        // A stream is given back by its drop.
        let Carrier::Http1 { lease, pool, after } = self.carrier else {
            return;
        };
        let Some(mut lease) = lease else { return };
        // It has become no tunnel, and is none when it ends.
        lease.may_upgrade(false);
        if !after.persistent {
            lease.why = Closed::Asked;
            return;
        }
        if lease.is_closed() {
            lease.why = Closed::Upstream;
            return;
        }
        let mut kept = pool.limits().idle_timeout;
        if let Some(theirs) = after.keep_alive {
            kept = kept.min(theirs.saturating_sub(Duration::from_secs(1)));
        }
        pool.checkin(lease.shelve(kept, now), now);
    }
}

/// A request that was handed over.
enum Sent<F> {
    Http1(F),
    Http2(Box<stream::Begun>),
    Extended(Box<extended::Begun>),
}

impl Idle {
    pub(super) fn new(shelved: Shelved, pool: Arc<Pool>) -> Self {
        Self(Connection::http1(shelved, pool, true))
    }

    /// A stream of a connection that is `fresh`, or was there before.
    pub(super) fn stream(slot: Slot, fresh: bool) -> Self {
        Self(Connection::stream(slot, !fresh))
    }

    /// Readies it for another exchange; `None` where the upstream has closed it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection, or gives the stream back.
    pub async fn revive(self) -> Option<Connection> {
        let Self(mut connection) = self;
        let pool = match &mut connection.carrier {
            Carrier::Http1 { lease, pool, .. } => {
                let lease = lease.as_mut()?;
                if !lease.is_alive().await {
                    lease.why = Closed::Upstream;
                    return None;
                }
                pool
            }
            Carrier::Http2 { slot, .. } => {
                if !slot.is_alive().await {
                    return None;
                }
                slot.pool()
            }
        };
        pool.observer.reused();
        Some(connection)
    }
}
