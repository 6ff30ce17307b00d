//! What passes a socket: a byte stream that tells somebody when bytes move.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Hears of bytes as they pass. Called on every read and write: must be cheap.
pub(crate) trait Tap {
    /// Bytes of one read, at most.
    const MOST: usize = usize::MAX;

    /// A read brought bytes. Says whether they are passed on; where they are not, nothing is read
    /// any more until something else wakes the task.
    fn read(&self, bytes: &[u8]) -> bool;
    /// A write took bytes.
    fn wrote(&self, _bytes: usize) {}
    /// All that was to be written is.
    fn flushed(&self) {}
}

/// Passes everything through.
pub(crate) struct Tapped<S, T> {
    pub(crate) stream: S,
    pub(crate) tap: T,
}

impl<S: AsyncRead + Unpin, T: Tap + Unpin> AsyncRead for Tapped<S, T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = if buf.remaining() > T::MOST {
            let mut part = ReadBuf::new(buf.initialize_unfilled_to(T::MOST));
            let result = Pin::new(&mut self.stream).poll_read(cx, &mut part);
            let read = part.filled().len();
            buf.advance(read);
            result
        } else {
            Pin::new(&mut self.stream).poll_read(cx, buf)
        };
        let bytes = buf.filled().get(before..).unwrap_or_default();
        if !bytes.is_empty() && !self.tap.read(bytes) {
            buf.set_filled(before);
            return Poll::Pending;
        }
        result
    }
}

impl<S, T: Tap> Tapped<S, T> {
    fn wrote(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes @ 1..)) = result {
            self.tap.wrote(bytes);
        }
        result
    }
}

impl<S: AsyncWrite + Unpin, T: Tap + Unpin> AsyncWrite for Tapped<S, T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_ready() {
            self.tap.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A byte stream from which something was read that is to be read again.
pub(crate) struct Rewound<S> {
    before: Bytes,
    stream: S,
}

impl<S> Rewound<S> {
    /// Puts `before` in front of what `stream` gives.
    pub(crate) const fn new(before: Bytes, stream: S) -> Self {
        Self { before, stream }
    }

    /// Puts `before`, which was read from it, in front again.
    pub(crate) fn rewind(self, before: Bytes) -> Self {
        debug_assert!(self.before.is_empty(), "what is left would be lost");
        Self { before, ..self }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.before.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let taken = self.before.len().min(buf.remaining());
        buf.put_slice(&self.before.split_to(taken));
        if self.before.is_empty() {
            // What it was cut from is not kept for the life of the connection.
            self.before = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
