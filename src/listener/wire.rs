//! The bytes of a caller, encrypted or not: one type, so that each protocol is compiled once.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::net::Rewound;
use crate::time::{self, Alarm};
use crate::tls::TlsStream;

/// A caller that does not read may delay the end of its connection for so long.
pub(super) const FAREWELL: Duration = Duration::from_secs(5);

/// A byte stream of a caller.
pub(super) enum Wire<S> {
    /// As it is.
    Plain(Rewound<S>),
    /// Within TLS. Apart, for it has a kilobyte of its own.
    Tls(Box<TlsStream<S>>),
}

/// Does the same to either kind.
macro_rules! either {
    ($wire:expr, $stream:ident => $does:expr) => {
        match $wire {
            Wire::Plain($stream) => $does,
            Wire::Tls($stream) => $does,
        }
    };
}

impl<S> Wire<S> {
    /// A stream from which nothing has been read yet.
    pub(super) const fn plain(stream: S) -> Self {
        Self::Plain(Rewound::new(Bytes::new(), stream))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Ends the connection in order: a TLS caller is told that nothing was cut off, and one that
    /// still sends is read until it stops, as a socket that is closed with bytes unread takes back
    /// what was said last (RFC 9112 §9.6). One that takes longer than `most`, or sends more bytes, is
    /// not waited for. Must run in the task of `alarm`.
    pub(super) async fn close(&mut self, alarm: &Alarm, most: (Duration, usize)) {
        let (within, mut left) = most;
        let at = time::now() + within;
        alarm.want(at);
        let overdue = |now| {
            if now < at {
                alarm.want(at);
            }
            now >= at
        };
        let farewell = pin!(async {
            // Apart: a connection does not keep room for it.
            let mut dropped = vec![0; 8 * 1024];
            if self.shutdown().await.is_err() {
                return;
            }
            while let Ok(read @ 1..) = self.read(&mut dropped).await {
                let Some(rest) = left.checked_sub(read) else {
                    return;
                };
                left = rest;
            }
        });
        // Whether it was heard does not matter any more.
        let _ = time::drive(alarm, farewell, overdue).await;
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        either!(self, stream => stream.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests;
