//! A stream of HTTP/2 as a byte stream: what a CONNECT makes of it (RFC 9113 §8.5).

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::sync::{Mutex, lock};

/// Both halves of a stream. Dropped before its end was sent, it is reset: never by NO_ERROR, and
/// towards a caller not by CANCEL either, as there are clients that take them for an end in order.
pub(crate) struct Duplex {
    received: RecvStream,
    /// What was received and not read yet; the peer may send as much again once it is.
    unread: Bytes,
    sent: Arc<Mutex<SendStream<Bytes>>>,
    /// Whether its end was.
    ended: bool,
    /// What a reset says.
    broken_by: Reason,
}

/// Tells of the reset of a stream that somebody else reads and writes: who has read its end, or
/// waits for another stream, hears nothing of it.
pub(crate) struct Resets(Arc<Mutex<SendStream<Bytes>>>);

impl Duplex {
    /// A stream of which a peer is told by `broken_by` that it broke (RFC 9113 §8.5).
    pub(crate) fn new(received: RecvStream, sent: SendStream<Bytes>, broken_by: Reason) -> Self {
        Self {
            received,
            unread: Bytes::new(),
            sent: Arc::new(Mutex::new(sent)),
            ended: false,
            broken_by,
        }
    }

    pub(crate) fn resets(&self) -> Resets {
        Resets(Arc::clone(&self.sent))
    }
}

impl Resets {
    /// Waits until the peer has reset the stream, or it has gone with its connection. To be polled
    /// by the task that writes: the stream wakes one alone.
    pub(crate) async fn reset(&self) -> io::Error {
        let reset = poll_fn(|cx| lock(&self.0).poll_reset(cx)).await;
        reset.map_or_else(reset_by, |reason| reset_by(reason.into()))
    }
}

impl AsyncRead for Duplex {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.unread.is_empty() {
            match ready!(this.received.poll_data(cx)) {
                Some(Ok(data)) => this.unread = data,
                Some(Err(error)) => return Poll::Ready(Err(reset_by(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let taken = this.unread.len().min(buf.remaining());
        buf.put_slice(this.unread.get(..taken).unwrap_or_default());
        this.unread.advance(taken);
        let _ = this.received.flow_control().release_capacity(taken);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Duplex {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut sent = lock(&self.sent);
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        sent.reserve_capacity(buf.len());
        while sent.capacity() == 0 {
            match ready!(sent.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(reset_by(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let taken = buf.len().min(sent.capacity());
        let data = Bytes::copy_from_slice(buf.get(..taken).unwrap_or_default());
        let done = sent.send_data(data, false).map(|()| taken);
        Poll::Ready(done.map_err(reset_by))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = lock(&self.sent).send_data(Bytes::new(), true);
        self.get_mut().ended = ended.is_ok();
        Poll::Ready(ended.map_err(reset_by))
    }
}

impl Drop for Duplex {
    fn drop(&mut self) {
        if !self.ended {
            lock(&self.sent).send_reset(self.broken_by);
        }
    }
}

/// A reset is to a stream what it is to a connection.
fn reset_by(error: h2::Error) -> io::Error {
    match error.reason() {
        Some(Reason::CANCEL | Reason::CONNECT_ERROR | Reason::NO_ERROR) => {
            io::Error::new(io::ErrorKind::ConnectionReset, error)
        }
        _ => io::Error::other(error),
    }
}
