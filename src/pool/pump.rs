//! A request body on its way into an HTTP/2 stream.
//!
//! The caller's body is polled only when the stream takes bytes, so that the upstream's pace is the
//! caller's. At most one piece of it waits beyond what the upstream has asked for.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body;

use super::Upload;
use crate::net::frames::Earnings;

/// See the module.
pub(super) struct Pump {
    stream: SendStream<Bytes>,
    upload: Upload,
    earnings: Arc<Earnings>,
    /// Whether a piece of the body was taken off it.
    begun: bool,
}

/// Why a body was not sent to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// The caller's body broke off; the stream was reset.
    Caller,
    /// The upstream takes no more of it.
    Upstream,
}

impl Pump {
    pub(super) fn new(stream: SendStream<Bytes>, upload: Upload, earnings: Arc<Earnings>) -> Self {
        Self {
            stream,
            upload,
            earnings,
            begun: false,
        }
    }

    /// The body, where nothing of it was sent.
    pub(super) fn into_untouched(self) -> Option<Upload> {
        (!self.begun).then_some(self.upload)
    }

    /// Sends what can be sent; ready when that was the end.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        loop {
            // Both are asked of the same waker: a reset wakes whoever waits for room.
            if self.stream.poll_reset(cx).is_ready() {
                return Poll::Ready(Err(Stopped::Upstream));
            }
            if self.stream.capacity() == 0 {
                self.stream.reserve_capacity(1);
                match ready!(self.stream.poll_capacity(cx)) {
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Poll::Ready(Err(Stopped::Upstream)),
                }
            }
            let sent = match ready!(Pin::new(&mut self.upload).poll_frame(cx)) {
                None => {
                    self.begun = true;
                    let sent = self.stream.send_data(Bytes::new(), true);
                    return Poll::Ready(sent.map_err(|_| Stopped::Upstream));
                }
                Some(Err(_)) => {
                    self.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(Err(Stopped::Caller));
                }
                Some(Ok(frame)) => {
                    self.begun = true;
                    match frame.into_data() {
                        Ok(data) => {
                            let last = self.upload.is_end_stream();
                            self.earnings.sent(data.len());
                            let sent = self.stream.send_data(data, last);
                            sent.map(|()| last)
                        }
                        Err(frame) => {
                            let trailers = frame.into_trailers().unwrap_or_default();
                            self.stream.send_trailers(trailers).map(|()| true)
                        }
                    }
                }
            };
            match sent {
                Ok(true) => return Poll::Ready(Ok(())),
                Ok(false) => {}
                Err(_) => return Poll::Ready(Err(Stopped::Upstream)),
            }
        }
    }
}
