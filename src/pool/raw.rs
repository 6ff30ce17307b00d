//! A connection that is not HTTP, or not any more: bytes both ways, until it is dropped.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::http1::Lease;
use super::shared::Slot;
use super::{Closed, Observer, Place, Stream};
use crate::net::{Breaks, Resets, Rewound, SocketStream};

/// The bytes of one connection. It holds the connection's place; dropping it closes the socket.
pub struct Raw {
    stream: Rewound<Box<dyn Stream>>,
    peek: Option<Weak<SocketStream>>,
    /// Tells of its reset, where it is a stream.
    resets: Option<Resets>,
    /// Told of the end, where it was never anything else.
    observer: Option<Arc<dyn Observer>>,
    /// Tells of the end, where it was HTTP before.
    _lease: Option<Box<Lease>>,
    _hold: Hold,
}

/// What is given back at its end.
#[expect(dead_code, reason = "they act by being dropped")]
enum Hold {
    /// The place of a connection.
    Place(Place),
    /// That of a stream.
    Slot(Slot),
}

impl Raw {
    /// What an upgrade left of a connection.
    pub(super) fn upgraded(
        stream: Rewound<Box<dyn Stream>>,
        place: Place,
        mut lease: Box<Lease>,
    ) -> Self {
        lease.why = Closed::Tunnel;
        Self {
            stream,
            peek: lease.peek.clone(),
            resets: None,
            observer: None,
            _lease: Some(lease),
            _hold: Hold::Place(place),
        }
    }

    /// A stream of HTTP/2 that was opened by CONNECT.
    pub(super) fn stream(stream: Box<dyn Stream>, resets: Resets, slot: Slot) -> Self {
        Self {
            stream: Rewound::new(Bytes::new(), stream),
            peek: None,
            resets: Some(resets),
            observer: None,
            _lease: None,
            _hold: Hold::Slot(slot),
        }
    }

    /// A fresh connection.
    pub(super) fn dialled(
        stream: Rewound<Box<dyn Stream>>,
        peek: Option<Weak<SocketStream>>,
        place: Place,
        observer: Arc<dyn Observer>,
    ) -> Self {
        Self {
            stream,
            peek,
            resets: None,
            observer: Some(observer),
            _lease: None,
            _hold: Hold::Place(place),
        }
    }

    /// What tells of its break while something else is waited for.
    pub(crate) fn breaks(&mut self) -> Breaks {
        Breaks::of(self.resets.take(), self.socket())
    }

    /// The socket beneath it, to look at; a stream has none of its own.
    fn socket(&self) -> Option<Arc<SocketStream>> {
        self.peek.as_ref().and_then(Weak::upgrade)
    }

    /// Has its drop break the connection off rather than end it in order.
    pub fn break_off(&self) {
        self.socket().inspect(|socket| socket.break_off());
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(observer) = &self.observer {
            observer.closed(Closed::Tunnel);
        }
    }
}

impl AsyncRead for Raw {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Raw {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
