//! What passes a socket: a byte stream that tells somebody when bytes move.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Hears of bytes as they pass. Called on every read and write: must be cheap.
pub(crate) trait Tap {
    /// Bytes of one read, at most.
    const MOST: usize = usize::MAX;

    /// Whether more may be read before the task has had another turn, for which it is woken
    /// otherwise.
    fn may_read(&self) -> bool {
        true
    }
    /// A read brought bytes. Says whether they are passed on; where they are not, nothing is read
    /// any more until something else wakes the task.
    fn read(&self, bytes: &[u8]) -> bool;
    /// The same, where only the first of them may be: how many.
    fn passed(&self, bytes: &[u8]) -> usize {
        if self.read(bytes) { bytes.len() } else { 0 }
    }
    /// A write took bytes.
    fn wrote(&self, _bytes: usize) {}
    /// All that was to be written is.
    fn flushed(&self) {}
}

/// What a turn of an HTTP/2 connection's task has read.
///
/// The library takes in all that a socket has before a stream's reader has its turn, and counts
/// small DATA frames that nobody has read yet as a flood. So a turn reads no more than [`Turn::MOST`]:
/// frames that are read as they come never add up. Nor does a peer that floods us hold up the other
/// connections for long until it is found out, as small frames weigh more than their octets.
#[derive(Debug, Default)]
pub(crate) struct Turn(Cell<usize>);

impl Turn {
    /// Octets that one turn reads, or a read more: as much as the window of a stream, in which
    /// there are 6554 DATA frames at the most.
    pub(crate) const MOST: usize = 64 * 1024;

    /// Octets that take as long to pass on as a frame does to be judged and taken up.
    const FRAME: usize = 256;

    /// What the octets of unread DATA frames may lack to 256 in each before it is a flood: as much
    /// again as the window, and all that one turn may bring, whatever the window.
    pub(crate) fn data_frame_budget(connection_window: u32) -> usize {
        let window = usize::try_from(connection_window).unwrap_or(usize::MAX);
        window.max(Self::MOST / 10 * 256)
    }

    /// Begins the next one.
    pub(crate) fn begin(&self) {
        self.0.set(0);
    }

    /// A read brought so many octets, in which so many frames began.
    pub(crate) fn read(&self, octets: usize, frames: usize) {
        let weight = octets.max(frames.saturating_mul(Self::FRAME));
        self.0.set(self.0.get().saturating_add(weight));
    }

    /// Whether it is not over.
    pub(crate) fn may_read(&self) -> bool {
        self.0.get() < Self::MOST
    }
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
        if !self.tap.may_read() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
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
        if !bytes.is_empty() {
            let passed = self.tap.passed(bytes);
            if passed == 0 {
                buf.set_filled(before);
                return Poll::Pending;
            }
            buf.set_filled(before + passed);
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
