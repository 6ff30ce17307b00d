//! One connection: an exchange on it, and what becomes of it afterwards.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use http::header::TRANSFER_ENCODING;
use http::{HeaderValue, Request, Response};
use http_body::Body;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::dial;
use super::extended::{self, Extended};
use super::http2;
use super::interim::Interim;
use super::persistence::{Persistence, persistence};
use super::shared::{Shared, Slot};
use super::stream::{self, Uploading};
use super::{
    Closed, Dialing, Download, Inbound, Observer, Place, Pool, Raw, Socket, Spoken, Stream, Upload,
    Way,
};
use crate::lifecycle::tasks;
use crate::net::{Address, Rewound, SocketStream, Tap, Tapped};
use crate::tls;

/// Largest response head, bytes; also bounds what is buffered of a body. hyper would grow to 408 KiB.
pub(super) const MAX_BUFFER: usize = 64 * 1024;

/// Fields in a response head.
const MAX_HEADERS: usize = 128;

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

/// A connection without an exchange, as the shelf keeps it.
pub(super) struct Shelved {
    lease: Box<Lease>,
    pub(super) since: Instant,
    pub(super) expires: Instant,
}

/// A kept connection on its way to another exchange. Dropping it closes it.
pub struct Idle(Connection);

/// The hold on a connection's task; dropping it ends the task and so closes the socket.
pub(super) struct Lease {
    sender: SendRequest<Upload>,
    task: AbortHandle,
    /// Set where the next response may turn the connection into a tunnel.
    upgrades: Arc<AtomicBool>,
    /// What is left of the connection then.
    left: Option<oneshot::Receiver<Left>>,
    pub(super) peek: Option<Weak<SocketStream>>,
    /// Whether a byte came in since the last request was handed over.
    seen: Arc<AtomicBool>,
    endpoint: Address,
    worker: usize,
    retires: Option<Instant>,
    observer: Arc<dyn Observer>,
    /// What the observer is told when this is dropped, wherever that happens.
    pub(super) why: Closed,
}

/// What an upgrade leaves of a connection.
struct Left {
    stream: Rewound<Box<dyn Stream>>,
    place: Place,
}

/// Remembers that something came in.
struct Seen(Arc<AtomicBool>);

impl Tap for Seen {
    /// A response that nobody reads is held in two pieces of this. One less than 16 KiB, as the
    /// library doubles its buffer whenever a read fills it.
    const MOST: usize = 16 * 1024 - 1;

    fn read(&self, _: &[u8]) -> bool {
        self.0.store(true, Relaxed);
        true
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.task.abort();
        self.observer.closed(self.why);
    }
}

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

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload")
            .field("empty", &self.is_empty())
            .finish_non_exhaustive()
    }
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
            Fresh::Http1(http1(dialing, socket, now).await?)
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
    let opened = http1(dialing, socket, now).await?;
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

/// Starts the task of a fresh socket.
async fn http1(dialing: Dialing, socket: Socket, now: Instant) -> io::Result<Shelved> {
    let Dialing {
        pool,
        place,
        endpoint,
        worker,
    } = dialing;
    let seen = Arc::new(AtomicBool::new(false));
    let Socket { stream, peek, .. } = socket;
    let wire = Tapped {
        stream,
        tap: Seen(Arc::clone(&seen)),
    };
    let (sender, connection) = Builder::new()
        .max_buf_size(MAX_BUFFER)
        .max_headers(MAX_HEADERS)
        .preserve_header_case(pool.settings.keeps_header_case)
        .handshake(TokioIo::new(wire))
        .await
        .map_err(io::Error::other)?;
    let upgrades = Arc::new(AtomicBool::new(false));
    let (leave, left) = oneshot::channel();
    let upgraded = Arc::clone(&upgrades);
    let task = tasks::spawn_local("upstream connection", async move {
        // Its failure reaches whoever waits for a response; nobody else cares.
        let ended = connection.without_shutdown().await;
        match ended {
            Ok(parts) if upgraded.load(Relaxed) => {
                let stream = parts.io.into_inner().stream;
                let _ = leave.send(Left {
                    stream: Rewound::new(parts.read_buf, stream),
                    place,
                });
            }
            Ok(parts) => {
                let _ = parts.io.into_inner().shutdown().await;
                // The socket is closed by now: only then is its place free.
                drop(place);
            }
            Err(_) => drop(place),
        }
    });
    let retires = retires(&pool, now);
    let lease = Box::new(Lease {
        sender,
        task: task.abort_handle(),
        upgrades,
        left: Some(left),
        peek: peek.as_ref().map(Arc::downgrade),
        seen,
        endpoint,
        worker,
        retires,
        observer: Arc::clone(&pool.observer),
        why: Closed::Abandoned,
    });
    let kept = now + pool.limits().idle_timeout;
    Ok(Shelved {
        lease,
        since: now,
        expires: retires.map_or(kept, |retires| retires.min(kept)),
    })
}

/// Says how a body ends that came without a length, as HTTP/2 allows: hyper would send none with a
/// GET or a HEAD.
fn frame(request: &mut Request<Upload>) {
    if !request.body().is_empty() && request.body().size_hint().exact().is_none() {
        let chunked = HeaderValue::from_static("chunked");
        request.headers_mut().insert(TRANSFER_ENCODING, chunked);
    }
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
                if let Some(lease) = lease {
                    lease.upgrades.store(true, Relaxed);
                }
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
        let lease = match self.carrier {
            Carrier::Http1 { lease, .. } => lease,
            Carrier::Http2 { tunnel, slot, .. } => {
                let Extended::Open(duplex, resets) = tunnel else {
                    return None;
                };
                return Some(Raw::stream(duplex, resets, slot));
            }
        };
        let mut lease = lease?;
        let Left { stream, place } = lease.left.take()?.await.ok()?;
        Some(Raw::upgraded(stream, place, lease))
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
            } => {
                lease.seen.store(false, Relaxed);
                if let Some(interim) = interim {
                    interim.tell_of_http1(&mut request);
                }
                frame(&mut request);
                Ok(Sent::Http1(lease.sender.try_send_request(request)))
            }
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
            } => lease.seen.load(Relaxed),
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
        lease.upgrades.store(false, Relaxed);
        if !after.persistent {
            lease.why = Closed::Asked;
            return;
        }
        if lease.sender.is_closed() {
            lease.why = Closed::Upstream;
            return;
        }
        let mut kept = pool.limits().idle_timeout;
        if let Some(theirs) = after.keep_alive {
            kept = kept.min(theirs.saturating_sub(Duration::from_secs(1)));
        }
        let expires = now + kept;
        let expires = lease
            .retires
            .map_or(expires, |retires| retires.min(expires));
        let shelved = Shelved {
            lease,
            since: now,
            expires,
        };
        pool.checkin(shelved, now);
    }
}

/// A request that was handed over.
enum Sent<F> {
    Http1(F),
    Http2(Box<stream::Begun>),
    Extended(Box<extended::Begun>),
}

impl Shelved {
    pub(super) fn endpoint(&self) -> &Address {
        &self.lease.endpoint
    }

    /// The worker that drives it.
    pub(super) fn worker(&self) -> usize {
        self.lease.worker
    }

    /// Closes it.
    pub(super) fn close(mut self, why: Closed) {
        self.lease.why = why;
    }

    /// Whether its upstream is known to have closed it.
    pub(super) fn is_dead(&self) -> bool {
        self.lease.sender.is_closed()
    }

    /// Whether it is its age that ended it.
    pub(super) fn too_old(&self, now: Instant) -> bool {
        self.lease.retires.is_some_and(|at| at <= now)
    }
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
                // What the kernel already has, its task may not have been told of yet.
                let silent = lease.peek.as_ref().is_none_or(|peek| {
                    peek.upgrade()
                        .is_some_and(|socket| dial::is_silent(&socket))
                });
                if !(silent && (lease.sender.is_ready() || lease.sender.ready().await.is_ok())) {
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
