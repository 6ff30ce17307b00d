//! A body as it comes off a connection, whichever version of HTTP that speaks, without trailers that
//! must not be any.

use std::error::Error;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::Linger;
use crate::net::trailers;

/// What a peer sends: read once, at the pace of whoever reads it.
pub enum Inbound {
    /// HTTP/1.
    Http1(Incoming),
    /// HTTP/2.
    Http2(Http2Body),
}

/// The body of one stream.
pub struct Http2Body {
    /// Until it was left to linger.
    stream: Option<RecvStream>,
    linger: Option<Linger>,
    /// What has come while nobody read.
    early: Option<Bytes>,
    /// Bytes still to be read, where their number was declared.
    left: Option<u64>,
    /// All data has come; trailers may follow.
    data_ended: bool,
}

/// Why a body did not come whole.
#[derive(Debug)]
pub enum BrokenOff {
    /// By HTTP/1.
    Http1(hyper::Error),
    /// By HTTP/2.
    Http2(h2::Error),
}

impl Inbound {
    /// Wraps the body of a stream whose head has these fields; with all that was declared, but
    /// without its end, the stream is left to `linger`.
    pub fn http2(stream: RecvStream, headers: &HeaderMap, linger: Option<&Linger>) -> Self {
        let length = headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        Self::Http2(Http2Body {
            stream: Some(stream),
            linger: linger.cloned(),
            early: None,
            left: length,
            data_ended: false,
        })
    }

    /// Waits until something of it has come, its end included, and leaves it there: the peer is
    /// not given room for more. Of HTTP/1 that cannot be told, where to ask would be to tell the
    /// peer to go on.
    pub(super) fn poll_arrived(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Http1(_) => Poll::Pending,
            Self::Http2(body) => body.poll_arrived(cx),
        }
    }
}

impl BrokenOff {
    /// Whether its framing was wrong, rather than its end missing.
    pub fn is_malformed(&self) -> bool {
        match self {
            Self::Http1(error) => {
                let cause = error.source();
                let cause = cause.and_then(|cause| cause.downcast_ref::<io::Error>());
                cause.is_some_and(|cause| {
                    matches!(
                        cause.kind(),
                        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
                    )
                })
            }
            // What the peer sends itself is a change of its mind; what we send is our verdict.
            Self::Http2(error) => {
                !error.is_remote() && error.reason() == Some(Reason::PROTOCOL_ERROR)
            }
        }
    }

    /// The code by which the peer reset the stream, if that is what it did (RFC 9113 §7).
    pub(super) fn code(&self) -> Option<u32> {
        match self {
            Self::Http2(error) if error.is_remote() => error.reason().map(Into::into),
            Self::Http1(_) | Self::Http2(_) => None,
        }
    }
}

impl fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http1(error) => error.fmt(f),
            Self::Http2(error) => error.fmt(f),
        }
    }
}

impl Error for BrokenOff {}

impl Body for Inbound {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let this = self.get_mut();
        loop {
            let frame = ready!(match this {
                Self::Http1(body) => Pin::new(body).poll_frame(cx).map_err(BrokenOff::Http1),
                Self::Http2(body) => body.poll_frame(cx).map_err(BrokenOff::Http2),
            });
            let frame = match frame {
                Some(Ok(frame)) if frame.is_trailers() => frame,
                other => return Poll::Ready(other),
            };
            let trailers = frame.into_trailers().unwrap_or_default();
            if let Some(trailers) = trailers::lawful(trailers) {
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) if body.is_end() => SizeHint::with_exact(0),
            Self::Http2(body) => body.left.map_or_else(SizeHint::new, SizeHint::with_exact),
        }
    }
}

impl Http2Body {
    fn is_end(&self) -> bool {
        self.early.is_none() && self.stream.as_ref().is_none_or(RecvStream::is_end_stream)
    }

    fn poll_arrived(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let (None, false, Some(stream)) = (&self.early, self.data_ended, &mut self.stream) {
            match ready!(stream.poll_data(cx)) {
                Some(Ok(data)) => self.early = Some(data),
                None => self.data_ended = true,
                // Whoever reads is told of it once more.
                Some(Err(_)) => {}
            }
        }
        Poll::Ready(())
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(None);
        };
        let early = self.early.take();
        if early.is_some() || !self.data_ended {
            let data = match early {
                Some(data) => Some(Ok(data)),
                None => ready!(stream.poll_data(cx)),
            };
            match data {
                Some(Ok(data)) => {
                    // Whoever asked for it takes it: the peer may send as much again.
                    let _ = stream.flow_control().release_capacity(data.len());
                    if let Some(left) = &mut self.left {
                        *left = left.saturating_sub(data.len() as u64);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.data_ended = true,
            }
        }
        let trailers = ready!(stream.poll_trailers(cx))?;
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }
}

impl Drop for Http2Body {
    fn drop(&mut self) {
        if self.left == Some(0)
            && !self.is_end()
            && let (Some(stream), Some(linger)) = (self.stream.take(), &self.linger)
        {
            linger.leave(stream);
        }
    }
}
