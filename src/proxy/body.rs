//! A response body and everything that has to end with it.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::error::ProxyError;
use super::exchange::Exchange;
use super::mangle::{Cut, Mangle};
use super::trial::{Trial, UploadState};
use super::watch::Watch;
use crate::pool::{Broken, Connection, Download};
use crate::resilience::Verdict;
use crate::time;
use crate::upstream::bulkhead::Slot;
use crate::upstream::endpoint::InFlight;

/// What the caller is sent. Whatever the request holds is given back when this ends or is dropped.
pub struct ResponseBody {
    kind: Kind,
    exchange: Exchange,
    watch: Rc<Watch>,
    /// When it ended, once it has.
    ended: Instant,
    /// The upstream has broken it off, which is passed on when what came before had its turn to be
    /// written.
    broken: bool,
}

enum Kind {
    Local(Bytes),
    Upstream(Box<Stream>),
    Ended,
}

/// An answer of the upstream and what it holds.
pub(super) struct Stream {
    /// Its head, until that is handed over.
    pub(super) head: Option<http::response::Parts>,
    /// When the head came.
    pub(super) at: Instant,
    pub(super) body: Download,
    pub(super) connection: Connection,
    pub(super) endpoint: InFlight,
    /// The request's slot, once this is what the caller gets.
    pub(super) slot: Option<Slot>,
    /// The status of the head, for the verdict of a gRPC call.
    pub(super) status: u16,
    pub(super) trailers: Option<HeaderMap>,
    /// The attempt, while nobody watches the body and unless the head has decided its verdict.
    pub(super) trial: Option<Trial>,
    /// How far the caller's body has come, if there is one.
    pub(super) upload: Option<Arc<UploadState>>,
    /// An injected fault.
    pub(super) mangle: Option<Box<Mangle>>,
}

impl Stream {
    /// The fields of its head, until that is handed over.
    pub(super) fn headers(&self) -> Option<&HeaderMap> {
        self.head.as_ref().map(|head| &head.headers)
    }

    /// Whether nothing more is to come.
    pub(super) fn is_end(&self) -> bool {
        self.body.is_end_stream() && self.mangle.as_ref().is_none_or(|mangle| mangle.is_empty())
    }

    /// The next frame, after an injected fault has had its way with it.
    fn poll_frame(
        &mut self,
        watch: &Watch,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Some(mangle) = &mut self.mangle else {
            return Pin::new(&mut self.body).poll_frame(cx);
        };
        loop {
            if !mangle.is_empty() {
                let part = ready!(mangle.poll_held(&watch.alarm, time::now()));
                return Poll::Ready(Some(part.map(Frame::data).map_err(|Cut| Broken)));
            }
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                other => return Poll::Ready(other),
            };
            match frame.into_data().map(|data| mangle.take(data)) {
                Ok(passing) if passing.is_empty() => {}
                Ok(passing) => return Poll::Ready(Some(Ok(Frame::data(passing)))),
                Err(other) => return Poll::Ready(Some(Ok(other))),
            }
        }
    }
}

/// The response cannot be finished: the connection to the caller has to be broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aborted(ProxyError);

impl std::fmt::Display for Aborted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.row().title)
    }
}

impl std::error::Error for Aborted {}

impl ResponseBody {
    /// A body of ours.
    pub(super) fn local(body: Bytes, exchange: Exchange) -> Self {
        let watch = Rc::clone(&exchange.caller().watch);
        let ended = exchange.started;
        Self {
            kind: Kind::Local(body),
            exchange,
            watch,
            ended,
            broken: false,
        }
    }

    /// A body of the upstream; ends at once where there is none.
    pub(super) fn upstream(stream: Box<Stream>, exchange: Exchange) -> Self {
        let now = stream.at;
        let watch = Rc::clone(&exchange.caller().watch);
        let ended = stream.is_end();
        let mut body = Self {
            kind: Kind::Upstream(stream),
            exchange,
            watch,
            ended: now,
            broken: false,
        };
        if ended {
            body.finish(now);
        }
        body
    }

    /// The end of the body was reached.
    fn finish(&mut self, now: Instant) {
        self.ended = now;
        let Kind::Upstream(stream) = std::mem::replace(&mut self.kind, Kind::Ended) else {
            return;
        };
        if let Some(trial) = self.watch.end().and_then(|flow| flow.trial) {
            let verdict = self.verdict(&stream, true);
            trial.judge(verdict, now);
        }
        // An answer that came before the upload's end leaves the connection in the middle of it.
        let uploaded = self.exchange.is_uploaded();
        let Stream {
            connection,
            endpoint,
            slot,
            ..
        } = *stream;
        if uploaded {
            connection.checkin(now);
        }
        drop((endpoint, slot));
        self.exchange.end(now);
    }

    /// What the whole or broken stream says about the upstream.
    fn verdict(&self, stream: &Stream, whole: bool) -> Verdict {
        match self.exchange.serving() {
            Some(route) if self.exchange.grpc => {
                let status = stream.trailers.as_ref().and_then(grpc_status);
                route.rules.grpc(stream.status, status, whole)
            }
            _ if whole => Verdict::Success,
            _ => Verdict::Failure,
        }
    }

    /// The upstream broke its body off.
    fn fail(&mut self, now: Instant) -> Aborted {
        self.broken = false;
        let error = ProxyError::UpstreamReset;
        self.ended = now;
        if let Kind::Upstream(stream) = std::mem::replace(&mut self.kind, Kind::Ended)
            && let Some(trial) = self.watch.end().and_then(|flow| flow.trial)
        {
            let verdict = self.verdict(&stream, false);
            trial.judge(verdict, now);
        }
        self.exchange.abort(error);
        self.exchange.end(now);
        Aborted(error)
    }
}

/// `grpc-status` of a head or of trailers.
pub(super) fn grpc_status(headers: &HeaderMap) -> Option<u32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        let this = self.get_mut();
        if this.broken {
            return Poll::Ready(Some(Err(this.fail(time::now()))));
        }
        let stream = match &mut this.kind {
            Kind::Ended => return Poll::Ready(None),
            Kind::Local(body) => {
                let body = std::mem::take(body);
                this.kind = Kind::Ended;
                this.exchange.bytes_out = body.len() as u64;
                this.ended = time::now();
                this.exchange.end(this.ended);
                return Poll::Ready((!body.is_empty()).then(|| Ok(Frame::data(body))));
            }
            Kind::Upstream(stream) => stream,
        };
        let Poll::Ready(polled) = stream.poll_frame(&this.watch, cx) else {
            this.watch.waits_for_upstream();
            return Poll::Pending;
        };
        let now = time::now();
        match polled {
            Some(Ok(frame)) => {
                this.watch.got(now);
                if let Some(data) = frame.data_ref() {
                    this.exchange.bytes_out += data.len() as u64;
                } else if let Some(trailers) = frame.trailers_ref()
                    && this.exchange.grpc
                {
                    stream.trailers = Some(trailers.clone());
                }
                // Nothing follows trailers, and nobody asks whether something does.
                if stream.is_end() || frame.is_trailers() {
                    this.finish(now);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(_)) => {
                this.broken = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None => {
                this.finish(now);
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Ended => true,
            Kind::Local(body) => body.is_empty(),
            Kind::Upstream(stream) => stream.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Ended => SizeHint::with_exact(0),
            Kind::Local(body) => SizeHint::with_exact(body.len() as u64),
            Kind::Upstream(stream) => stream.body.size_hint(),
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.kind, Kind::Ended) {
            Kind::Ended => {}
            // A body that nobody polled: the head said it all, or the caller asked for the head.
            Kind::Local(_) => self.ended = time::now(),
            Kind::Upstream(_stream) => {
                self.ended = time::now();
                // Whoever stopped this said why in the flow; else it was the caller.
                if let Some(flow) = self.watch.end() {
                    let gone = (ProxyError::ClientGone, Verdict::Abandoned);
                    let (error, verdict) = flow.broken.unwrap_or(gone);
                    if let Some(trial) = flow.trial {
                        trial.judge(verdict, self.ended);
                    }
                    self.exchange.abort(error);
                }
            }
        }
        self.exchange.end(self.ended);
        self.watch.idle(self.ended);
    }
}
