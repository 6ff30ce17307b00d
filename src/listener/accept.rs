//! Accepting connections and handing them out.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::clients::{Clients, OfClient};
use crate::net::{Bound, Detached};
use crate::proxy::Listener;
use crate::telemetry::limited::Limited;
use crate::telemetry::metrics::{Crowded, OpenConnection};
use crate::time;

/// A socket on its way to a worker.
pub struct Accepted {
    /// The socket.
    pub socket: Detached,
    /// Address of the caller, where it has one.
    pub peer: Option<SocketAddr>,
    /// Where it came in.
    pub listener: Arc<Listener>,
    /// Counts it as open on its worker and listener.
    pub open: Open,
}

/// Counts one open connection until it is dropped.
#[must_use = "the connection counts as closed once this is dropped"]
pub struct Open {
    load: Arc<AtomicUsize>,
    listener: Arc<AtomicUsize>,
    _of_client: Option<OfClient>,
    _metric: OpenConnection,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.load.fetch_sub(1, Relaxed);
        self.listener.fetch_sub(1, Relaxed);
    }
}

/// The way into one worker.
#[derive(Clone)]
pub struct Door {
    /// Where sockets are handed in.
    pub sender: UnboundedSender<Accepted>,
    /// Its open connections.
    pub load: Arc<AtomicUsize>,
}

/// After an accept that failed for want of descriptors or memory: long enough not to spin, short
/// enough not to be noticed.
const PAUSE: Duration = Duration::from_millis(20);

/// Accepts for ever, handing each socket to the worker with the fewest open connections.
///
/// # Errors
///
/// Fails only where the socket cannot be registered with the reactor.
pub async fn accept(socket: Bound, listener: Arc<Listener>, doors: Vec<Door>) -> io::Result<()> {
    let socket = socket.listen()?;
    let open = Arc::new(AtomicUsize::new(0));
    let clients = Arc::new(Clients::default());
    let limited = Limited::every(Duration::from_secs(10));
    loop {
        // Taken from this thread's reactor again at once: the worker has its own.
        let accepted = socket
            .accept()
            .await
            .and_then(|(stream, peer)| Ok((stream.detach()?, peer)));
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_the_connection(&error) => continue,
            Err(error) => {
                if let Some(suppressed) = limited.admit(time::now()) {
                    tracing::warn!(listener = &*listener.name, %error, suppressed, "accept failed");
                }
                time::sleep(PAUSE).await;
                continue;
            }
        };
        if open.load(Relaxed) >= listener.downstream.max_connections {
            listener.metrics.connection_rejected(Crowded::Listener);
            continue;
        }
        let limit = listener.downstream.max_connections_per_client;
        // Whoever comes by a unix socket has no address to be known by.
        let of_client = match peer.zip(limit) {
            None => None,
            Some((peer, limit)) => match clients.enter(peer.ip(), limit) {
                Some(of_client) => Some(of_client),
                None => {
                    listener.metrics.connection_rejected(Crowded::Client);
                    continue;
                }
            },
        };
        if stream.set_nodelay().is_err() {
            continue;
        }
        let Some(door) = doors.iter().min_by_key(|door| door.load.load(Relaxed)) else {
            return Ok(());
        };
        door.load.fetch_add(1, Relaxed);
        open.fetch_add(1, Relaxed);
        let open = Open {
            load: Arc::clone(&door.load),
            listener: Arc::clone(&open),
            _of_client: of_client,
            _metric: listener.metrics.connection_opened(),
        };
        let accepted = Accepted {
            socket: stream,
            peer,
            listener: Arc::clone(&listener),
            open,
        };
        if door.sender.send(accepted).is_err() {
            return Ok(());
        }
    }
}

/// Errors of a connection that ended before it was accepted.
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
