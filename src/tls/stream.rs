//! A byte stream within TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::{HandshakeKind, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Alpn;
use super::error::{Side, established};

/// A stream after its handshake. What is written goes out by a flush at the latest; an end of
/// stream that the peer did not announce (`close_notify`) is an `UnexpectedEof`, so that nobody
/// cuts a body short unseen. Other errors of TLS are found with [`reason_of`](super::reason_of).
#[derive(Debug)]
pub struct TlsStream<S> {
    pub(super) inner: tokio_rustls::TlsStream<S>,
    side: Side,
}

impl<S> TlsStream<S> {
    pub(super) fn new(inner: tokio_rustls::TlsStream<S>, side: Side) -> Self {
        Self { inner, side }
    }

    /// Returns the stream below.
    pub fn get_ref(&self) -> &S {
        self.inner.get_ref().0
    }

    /// Returns what was agreed to be spoken.
    pub fn alpn(&self) -> Alpn {
        Alpn::of(self.inner.get_ref().1.alpn_protocol())
    }

    /// Returns the version of TLS, such as `1.3`.
    pub fn version(&self) -> &'static str {
        match self.inner.get_ref().1.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "1.2",
            Some(ProtocolVersion::TLSv1_3) => "1.3",
            _ => "unknown",
        }
    }

    /// Tells whether an earlier session was taken up, which saves certificates and signatures.
    pub fn is_resumed(&self) -> bool {
        self.inner.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let side = self.side;
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        polled.map_err(|error| established(error, side))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
