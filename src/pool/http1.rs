//! HTTP/1 connections: how they are opened, the task that drives one, and the hold on it.
//!
//! The task holds the connection's place until the socket is closed, or hands both on where an
//! upgrade leaves them. Whoever lets go of the hold ends the task. What is buffered of a response is
//! bounded, its head as well; whether the connection may carry another exchange is not judged here.

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use http::header::TRANSFER_ENCODING;
use http::{HeaderValue, Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::connection::{MAX_BUFFER, retires};
use super::interim::Interim;
use super::{Closed, Dialing, Observer, Place, Raw, Socket, Stream, Upload, dial};
use crate::lifecycle::tasks;
use crate::net::{Address, Rewound, SocketStream, Tap, Tapped};

/// Fields in a response head.
const MAX_HEADERS: usize = 128;

/// A connection without an exchange, as the shelf keeps it.
pub(super) struct Shelved {
    pub(super) lease: Box<Lease>,
    pub(super) since: Instant,
    pub(super) expires: Instant,
}

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

/// Speaks HTTP/1 on a socket, from `now` on, and starts the connection's task.
pub(super) async fn open(dialing: Dialing, socket: Socket, now: Instant) -> io::Result<Shelved> {
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
    let lease = Box::new(Lease {
        sender,
        task: task.abort_handle(),
        upgrades,
        left: Some(left),
        peek: peek.as_ref().map(Arc::downgrade),
        seen,
        endpoint,
        worker,
        retires: retires(&pool, now),
        observer: Arc::clone(&pool.observer),
        why: Closed::Abandoned,
    });
    Ok(lease.shelve(pool.limits().idle_timeout, now))
}

impl Lease {
    /// Whether the response to the next request may turn the connection into a tunnel.
    pub(super) fn may_upgrade(&self, may: bool) {
        self.upgrades.store(may, Relaxed);
    }

    /// What is left of the connection after a response that made it a tunnel; `None` where it broke
    /// meanwhile.
    pub(super) async fn into_raw(mut self: Box<Self>) -> Option<Raw> {
        let Left { stream, place } = self.left.take()?.await.ok()?;
        Some(Raw::upgraded(stream, place, self))
    }

    /// Hands a request over.
    pub(super) fn send(
        &mut self,
        mut request: Request<Upload>,
        interim: Option<Interim>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Upload>>>> + use<>
    {
        self.seen.store(false, Relaxed);
        if let Some(interim) = interim {
            interim.tell_of_http1(&mut request);
        }
        frame(&mut request);
        self.sender.try_send_request(request)
    }

    /// Whether a byte came in since the request was handed over.
    pub(super) fn has_heard(&self) -> bool {
        self.seen.load(Relaxed)
    }

    /// Whether its upstream is known to have closed it.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Waits until it can carry another exchange, or has turned out to be closed.
    pub(super) async fn is_alive(&mut self) -> bool {
        // What the kernel already has, its task may not have been told of yet.
        let silent = self.peek.as_ref().is_none_or(|peek| {
            peek.upgrade()
                .is_some_and(|socket| dial::is_silent(&socket))
        });
        silent && (self.sender.is_ready() || self.sender.ready().await.is_ok())
    }

    /// Without an exchange, from `now` on, for as long as it may be `kept`.
    pub(super) fn shelve(self: Box<Self>, kept: Duration, now: Instant) -> Shelved {
        let expires = now + kept;
        Shelved {
            expires: self.retires.map_or(expires, |at| at.min(expires)),
            since: now,
            lease: self,
        }
    }
}

/// Says how a body ends that came without a length, as HTTP/2 allows: hyper would send none with a
/// GET or a HEAD.
fn frame(request: &mut Request<Upload>) {
    if !request.body().is_empty() && request.body().size_hint().exact().is_none() {
        let chunked = HeaderValue::from_static("chunked");
        request.headers_mut().insert(TRANSFER_ENCODING, chunked);
    }
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
        self.lease.is_closed()
    }

    /// Whether it is its age that ended it.
    pub(super) fn too_old(&self, now: Instant) -> bool {
        self.lease.retires.is_some_and(|at| at <= now)
    }
}
