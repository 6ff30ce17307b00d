//! The accept loop and the limits of a connection.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tracing::{debug, warn};

use super::routes::respond;
use super::{Site, Surface, health};
use crate::lifecycle::tasks;
use crate::net::{Bound, Rewound, SocketStream, sniff};
use crate::telemetry::limited::Limited;

/// Connections served at once per listener; more wait to be accepted.
const MAX_CONNECTIONS: usize = 1024;

/// Callers of `Health/Watch` per listener; more are told that there are enough.
const MAX_WATCHES: usize = 256;

/// From accept to the end of the request head.
pub(super) const HEADER_TIMEOUT: Duration = Duration::from_secs(2);

/// From accept to the end of the response: a reader that stalls keeps its place no longer.
pub(super) const CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);

/// After a failed accept, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

static ACCEPT_FAILED: Limited = Limited::every(Duration::from_secs(10));

/// Serves `surface` on a bound listener until dropped; connections already accepted go on.
///
/// One request a connection of HTTP/1: scrapes and probes are seconds apart, and so every connection
/// has an end that its peer cannot put off. HTTP/2 is for [`health`]. Fails only where the listener cannot be registered with the
/// runtime.
pub async fn serve(listener: Bound, surface: Surface, site: Arc<Site>) -> io::Result<()> {
    let listener = listener.listen()?;
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let watches = Arc::new(Semaphore::new(MAX_WATCHES));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            // The semaphore is never closed.
            return Ok(());
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (site, watches) = (Arc::clone(&site), Arc::clone(&watches));
                tasks::spawn("admin connection", async move {
                    let peer = peer.map_or_else(|| stream.process(), |peer| peer.to_string());
                    connection(stream, &peer, surface, site, &watches).await;
                    drop(place);
                });
            }
            Err(error) => {
                if let Some(suppressed) = ACCEPT_FAILED.admit(crate::time::now()) {
                    warn!(%error, suppressed, "admin accept failed");
                }
                crate::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    mut stream: SocketStream,
    peer: &str,
    surface: Surface,
    site: Arc<Site>,
    watches: &Semaphore,
) {
    let mut before = Bytes::new();
    if surface == Surface::Metrics {
        let sniffed = tokio::time::timeout(HEADER_TIMEOUT, sniff(&mut stream, || {})).await;
        let Ok(Some((is_http2, read))) = sniffed else {
            return;
        };
        if is_http2 {
            let stream = Rewound::new(read, stream);
            if let Err(error) = health::serve(stream, &site, watches).await {
                debug!(%error, peer, "admin connection failed");
            }
            return;
        }
        before = read;
    }
    let stream = Rewound::new(before, stream);
    let service = service_fn(|request| {
        let response = respond(surface, &site, peer, &request);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .keep_alive(false)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, peer, "admin connection failed"),
        Err(_) => debug!(error = "timed out", peer, "admin connection failed"),
    }
}
