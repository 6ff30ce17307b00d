//! Streams of which all that was declared has come, while their end has not.
//!
//! A peer may end its stream by an empty frame of its own. Whoever reads by the length is done
//! before; to drop the stream then would reset it, and a peer that is still to send its last frame
//! may take that for a failure.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use h2::RecvStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::time;

/// So long the end of a stream is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where streams that only lack their end are left to. Clones lead to the same place.
#[derive(Clone, Debug)]
pub struct Linger(UnboundedSender<RecvStream>);

/// Those of one connection.
#[derive(Debug)]
pub struct Lingering {
    coming: UnboundedReceiver<RecvStream>,
    held: Vec<(RecvStream, Instant)>,
}

/// A place for the streams of one connection.
pub fn linger() -> (Linger, Lingering) {
    let (sender, coming) = unbounded_channel();
    let held = Vec::new();
    (Linger(sender), Lingering { coming, held })
}

impl Linger {
    pub(super) fn leave(&self, stream: RecvStream) {
        // Where the connection is gone, so is the stream.
        let _ = self.0.send(stream);
    }
}

impl Lingering {
    /// Lets go of those that have ended or were waited for long enough; when it is to be polled
    /// again at the latest.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Option<Instant> {
        while let Poll::Ready(Some(stream)) = self.coming.poll_recv(cx) {
            self.held.push((stream, time::now() + PATIENCE));
        }
        if self.held.is_empty() {
            return None;
        }
        let now = time::now();
        self.held
            .retain_mut(|(stream, until)| *until > now && stream.poll_data(cx).is_pending());
        self.held.iter().map(|(_, until)| *until).min()
    }
}
