//! Dials that several requests share.
//!
//! While a worker opens a connection that will probably speak HTTP/2, its other requests to the same
//! endpoint join that dial instead of opening one each. The dial is a task of its own: it outlives
//! the request that began it, and ends when nobody waits for it any more. Its outcome is
//! everybody's, failure included; where it turns out to speak HTTP/1, one has the connection and the
//! others dial for themselves.

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::oneshot;

use super::connection::{self, Fresh};
use super::http1::Shelved;
use super::shared::{Shared, Slot};
use super::{Connection, Dialing, Pool, Way};
use crate::lifecycle::tasks;
use crate::net::Address;
use crate::tls::TlsError;

/// Held by everybody who waits for a dial; the last to go ends it.
pub(super) struct Interest {
    _end: oneshot::Sender<()>,
}

/// A dial that others may join.
pub(super) struct UnderWay {
    worker: usize,
    endpoint: Address,
    interest: Weak<Interest>,
    joiners: Vec<oneshot::Sender<Joined>>,
}

/// What a dial brought to one of those who waited for it.
pub(super) enum Joined {
    /// A stream, and whether it is the first of its connection.
    Stream(Slot, bool),
    /// The connection itself.
    Http1(Shelved),
    /// There is none for it here: check out again.
    Again,
    /// It failed.
    Failed(io::Error),
}

/// A share in a dial; dropping it gives up the share.
#[must_use]
pub struct Joining {
    pool: Arc<Pool>,
    joined: oneshot::Receiver<Joined>,
    _interest: Arc<Interest>,
}

/// The dial took longer than it may.
#[derive(Debug)]
struct TookTooLong;

impl std::fmt::Display for TookTooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the dial took too long")
    }
}

impl std::error::Error for TookTooLong {}

/// Whether a dial was ended by its own time limit, not by the kernel.
pub fn is_too_long(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|cause| cause.is::<TookTooLong>())
}

/// The same error once more: each of those who waited is told of it.
fn copy(error: &io::Error) -> io::Error {
    if is_too_long(error) {
        return io::Error::new(error.kind(), TookTooLong);
    }
    // With its reason, not its text alone.
    let tls = error
        .get_ref()
        .and_then(|cause| cause.downcast_ref::<TlsError>());
    if let Some(tls) = tls {
        return io::Error::new(error.kind(), tls.clone());
    }
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

impl UnderWay {
    /// A share in it, where it leads to `endpoint` and has fewer than `max` already.
    pub(super) fn join(
        &mut self,
        worker: usize,
        endpoint: &Address,
        max: usize,
    ) -> Option<(oneshot::Receiver<Joined>, Arc<Interest>)> {
        if self.worker != worker || self.endpoint != *endpoint {
            return None;
        }
        // One that everybody has left is about to end.
        let interest = self.interest.upgrade()?;
        self.joiners.retain(|joiner| !joiner.is_closed());
        if self.joiners.len() >= max {
            return None;
        }
        let (joiner, joined) = oneshot::channel();
        self.joiners.push(joiner);
        Some((joined, interest))
    }

    /// Whether it is the one that `interest` is of.
    pub(super) fn is(&self, interest: *const Interest) -> bool {
        std::ptr::eq(self.interest.as_ptr(), interest)
    }

    pub(super) fn into_joiners(self) -> Vec<oneshot::Sender<Joined>> {
        self.joiners
    }
}

impl Joining {
    pub(super) fn new(
        pool: Arc<Pool>,
        joined: oneshot::Receiver<Joined>,
        interest: Arc<Interest>,
    ) -> Self {
        Self {
            pool,
            joined,
            _interest: interest,
        }
    }

    /// Waits for the dial; `None` where it brought nothing for this one, which is to check out again.
    ///
    /// # Errors
    ///
    /// The dial failed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the share; what it was given in that moment passes on. The dial
    /// goes on while somebody else waits for it.
    pub async fn joined(self) -> io::Result<Option<Connection>> {
        match self.joined.await {
            Ok(joined) => joined.connection(&self.pool),
            Err(_) => Err(io::Error::other("the dial came to no end")),
        }
    }
}

impl Joined {
    fn connection(self, pool: &Arc<Pool>) -> io::Result<Option<Connection>> {
        match self {
            Self::Stream(slot, first) => {
                if !first {
                    pool.observer.reused();
                }
                Ok(Some(Connection::stream(slot, false)))
            }
            Self::Http1(fresh) => Ok(Some(Connection::http1(fresh, Arc::clone(pool), false))),
            Self::Again => Ok(None),
            Self::Failed(error) => Err(error),
        }
    }
}

impl Dialing {
    /// Opens the connection: within `connect` where others may join, else for as long as the caller
    /// lets it, who races its own timer against this. `None`: check out again.
    ///
    /// # Errors
    ///
    /// The connection was refused, reset or has no route, the handshake failed, or it took too long
    /// ([`is_too_long`]).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the socket and gives the place back, unless others have joined.
    pub async fn open(
        self,
        way: &Arc<Way>,
        connect: Option<Duration>,
    ) -> io::Result<Option<Connection>> {
        let pool = Arc::clone(&self.pool);
        if pool.hopes_for_http2() {
            return self.begin(Arc::clone(way), connect).joined().await;
        }
        match connection::open(self, way).await? {
            Fresh::Http1(fresh) => Joined::Http1(fresh),
            Fresh::Http2(shared) => {
                let (joiner, mut joined) = oneshot::channel();
                pool.publish(shared, vec![joiner]);
                joined.try_recv().unwrap_or(Joined::Again)
            }
        }
        .connection(&pool)
    }

    /// Opens a connection on which HTTP/1.1 is spoken, for an exchange that nobody shares.
    ///
    /// # Errors
    ///
    /// # Cancel safety
    ///
    /// As [`Self::open`].
    pub async fn open_http1(self, way: &Arc<Way>) -> io::Result<Connection> {
        connection::open_http1(self, way).await
    }

    /// Starts the dial's task, with a first share in it.
    fn begin(self, way: Arc<Way>, connect: Option<Duration>) -> Joining {
        let (end, ended) = oneshot::channel();
        let interest = Arc::new(Interest { _end: end });
        let (joiner, joined) = oneshot::channel();
        let pool = Arc::clone(&self.pool);
        pool.lock().dialling(UnderWay {
            worker: self.worker,
            endpoint: self.endpoint.clone(),
            interest: Arc::downgrade(&interest),
            joiners: vec![joiner],
        });
        // Only compared: the task must not keep up the interest itself.
        let id = UnderWayId(Arc::downgrade(&interest), Arc::clone(&pool));
        tasks::spawn_local("upstream dial", async move {
            let limit = async {
                match connect {
                    Some(connect) => crate::time::sleep(connect).await,
                    None => std::future::pending().await,
                }
            };
            let opened = tokio::select! {
                biased;
                opened = connection::open(self, &way) => opened,
                _ = ended => return,
                () = limit => Err(io::Error::new(io::ErrorKind::TimedOut, TookTooLong)),
            };
            id.end(opened);
        });
        Joining::new(pool, joined, interest)
    }
}

/// The entry of a dial on the shelf, taken off on drop.
struct UnderWayId(Weak<Interest>, Arc<Pool>);

impl UnderWayId {
    fn end(self, opened: io::Result<Fresh>) {
        let pool = Arc::clone(&self.1);
        let joiners = pool.lock().dialled(self.0.as_ptr());
        match opened {
            Ok(Fresh::Http2(shared)) => pool.publish(shared, joiners),
            Ok(Fresh::Http1(fresh)) => {
                let mut fresh = Some(fresh);
                for joiner in joiners {
                    let Some(connection) = fresh.take() else {
                        let _ = joiner.send(Joined::Again);
                        continue;
                    };
                    if let Err(Joined::Http1(back)) = joiner.send(Joined::Http1(connection)) {
                        fresh = Some(back);
                    }
                }
                if let Some(unwanted) = fresh {
                    pool.checkin(unwanted, crate::time::now());
                }
            }
            Err(error) => {
                for joiner in joiners {
                    let _ = joiner.send(Joined::Failed(copy(&error)));
                }
            }
        }
    }
}

impl Drop for UnderWayId {
    fn drop(&mut self) {
        let left = self.1.lock().dialled(self.0.as_ptr());
        drop(left);
    }
}

impl Pool {
    /// Puts a connection to use that has just been opened: each of `joiners` has a stream as long as
    /// there are any, then those who wait, and the shelf has the rest.
    fn publish(self: &Arc<Self>, mut shared: Shared, joiners: Vec<oneshot::Sender<Joined>>) {
        let hold = shared.hold();
        let mut outcomes = Vec::with_capacity(joiners.len());
        let mut shelf = self.lock();
        let mut first = true;
        for joiner in joiners.into_iter().filter(|joiner| !joiner.is_closed()) {
            let joined = if shared.has_room() {
                let slot = Slot::new(shared.lend(), Arc::clone(self));
                Joined::Stream(slot, std::mem::take(&mut first))
            } else {
                Joined::Again
            };
            outcomes.push((joiner, joined));
        }
        if hold.streams() == 0 {
            shared.rest(self.settings.limits.idle_timeout, crate::time::now());
        }
        shelf.put_shared(shared);
        drop(shelf);
        for (joiner, joined) in outcomes {
            let _ = joiner.send(joined);
        }
        self.serve(&hold, true);
    }
}
