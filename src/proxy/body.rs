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
use super::tunnel::Tunnel;
use super::watch::Watch;
use crate::pool::{Broken, Connection, Download, Raw};
use crate::resilience::Verdict;
use crate::time;
use crate::upstream::bulkhead::Slot;
use crate::upstream::endpoint::InFlight;

/// What the caller is sent. Whatever the request holds is given back when this ends or is dropped.
pub struct ResponseBody {
    kind: Kind,
    /// `None` once the body became a tunnel, which ends it then.
    exchange: Option<Exchange>,
    watch: Rc<Watch>,
    /// When it ended, once it has.
    ended: Instant,
    /// The upstream has broken it off, which is passed on when what came before had its turn to be
    /// written.
    broken: Option<Broken>,
}

enum Kind {
    Local(Bytes),
    Upstream(Box<Stream>),
    Tunnel(Box<Tunnel>),
    Ended,
}

/// An answer of the upstream and what it holds.
pub(super) struct Stream {
    /// Its head, until that is handed over.
    pub(super) head: Option<http::response::Parts>,
    /// When the head came.
    pub(super) at: Instant,
    pub(super) body: Download,
    pub(super) carrier: Carrier,
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
    /// After the head comes a tunnel.
    pub(super) tunnels: bool,
    /// An injected fault.
    pub(super) mangle: Option<Box<Mangle>>,
}

/// What an answer came by.
pub(super) enum Carrier {
    /// An exchange of HTTP.
    Http(Connection),
    /// A connection that carries anything.
    Raw(Raw),
}

impl Carrier {
    /// The bytes of the connection, where the answer has made it a tunnel; `None` where it broke.
    pub(super) async fn into_raw(self) -> Option<Raw> {
        match self {
            Self::Http(connection) => connection.into_raw().await,
            Self::Raw(raw) => Some(raw),
        }
    }
}

impl Stream {
    /// The fields of its head, until that is handed over.
    pub(super) fn headers(&self) -> Option<&HeaderMap> {
        self.head.as_ref().map(|head| &head.headers)
    }

    /// Whether all was read that was declared.
    fn is_read(&self) -> bool {
        let whole = self.body.size_hint().exact() == Some(0);
        whole && self.mangle.as_ref().is_none_or(|mangle| mangle.is_empty())
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
                return Poll::Ready(Some(
                    part.map(Frame::data).map_err(|Cut| Broken { code: None }),
                ));
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
pub struct Aborted {
    error: ProxyError,
    /// By which code of HTTP/2 the upstream broke it off, if by one.
    pub code: Option<u32>,
}

impl std::fmt::Display for Aborted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.error.row().title)
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
            exchange: Some(exchange),
            watch,
            ended,
            broken: None,
        }
    }

    /// A body of the upstream; ends at once where there is none.
    pub(super) fn upstream(stream: Box<Stream>, exchange: Exchange) -> Self {
        let now = stream.at;
        let watch = Rc::clone(&exchange.caller().watch);
        let ended = stream.is_end();
        let mut body = Self {
            kind: Kind::Upstream(stream),
            exchange: Some(exchange),
            watch,
            ended: now,
            broken: None,
        };
        if ended {
            body.finish(now);
        }
        body
    }

    /// No body: after the head, the connection or stream is a tunnel.
    pub(super) fn tunnel(tunnel: Box<Tunnel>, watch: Rc<Watch>, now: Instant) -> Self {
        Self {
            kind: Kind::Tunnel(tunnel),
            exchange: None,
            watch,
            ended: now,
            broken: None,
        }
    }

    /// What follows the head in place of a body, if it is a tunnel.
    pub fn take_tunnel(&mut self) -> Option<Box<Tunnel>> {
        match std::mem::replace(&mut self.kind, Kind::Ended) {
            Kind::Tunnel(tunnel) => Some(tunnel),
            other => {
                self.kind = other;
                None
            }
        }
    }

    fn end(&mut self, now: Instant) {
        if let Some(exchange) = &mut self.exchange {
            exchange.end(now);
        }
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
        let uploaded = self.exchange.as_ref().is_none_or(Exchange::is_uploaded);
        let Stream {
            carrier,
            endpoint,
            slot,
            ..
        } = *stream;
        if uploaded && let Carrier::Http(connection) = carrier {
            connection.checkin(now);
        }
        drop((endpoint, slot));
        self.end(now);
    }

    /// What the whole or broken stream says about the upstream.
    fn verdict(&self, stream: &Stream, whole: bool) -> Verdict {
        let exchange = self.exchange.as_ref();
        let grpc = exchange.filter(|exchange| exchange.grpc);
        match grpc.and_then(Exchange::serving) {
            Some(route) => {
                let status = stream.trailers.as_ref().and_then(grpc_status);
                route.rules.grpc(stream.status, status, whole)
            }
            _ if whole => Verdict::Success,
            _ => Verdict::Failure,
        }
    }

    /// The upstream broke its body off.
    fn fail(&mut self, Broken { code }: Broken, now: Instant) -> Aborted {
        let mut error = ProxyError::UpstreamReset;
        self.ended = now;
        if let Kind::Upstream(stream) = std::mem::replace(&mut self.kind, Kind::Ended) {
            let mut verdict = self.verdict(&stream, false);
            // We broke it off ourselves where the caller did not send what it had begun.
            let upload = self
                .exchange
                .as_ref()
                .and_then(|exchange| exchange.upload_broken());
            if let Some(broken) = upload {
                (error, verdict) = (broken, Verdict::Abandoned);
            }
            if let Some(trial) = self.watch.end().and_then(|flow| flow.trial) {
                trial.judge(verdict, now);
            }
        }
        if let Some(exchange) = &mut self.exchange {
            exchange.abort(error);
            exchange.end(now);
        }
        Aborted { error, code }
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
        if let Some(broken) = this.broken.take() {
            return Poll::Ready(Some(Err(this.fail(broken, time::now()))));
        }
        let stream = match &mut this.kind {
            Kind::Ended | Kind::Tunnel(_) => return Poll::Ready(None),
            Kind::Local(body) => {
                let body = std::mem::take(body);
                this.kind = Kind::Ended;
                this.ended = time::now();
                if let Some(exchange) = &mut this.exchange {
                    exchange.bytes_out = body.len() as u64;
                    exchange.end(this.ended);
                }
                return Poll::Ready((!body.is_empty()).then(|| Ok(Frame::data(body))));
            }
            Kind::Upstream(stream) => stream,
        };
        if this.watch.is_full(cx) {
            return Poll::Pending;
        }
        let Poll::Ready(polled) = stream.poll_frame(&this.watch, cx) else {
            this.watch.waits_for_upstream();
            return Poll::Pending;
        };
        let now = time::now();
        match polled {
            Some(Ok(frame)) => {
                this.watch.got(now);
                this.watch.gave(frame.data_ref().map_or(0, Bytes::len));
                if let Some(exchange) = &mut this.exchange {
                    if let Some(data) = frame.data_ref() {
                        exchange.bytes_out += data.len() as u64;
                    } else if let Some(trailers) = frame.trailers_ref()
                        && exchange.grpc
                    {
                        stream.trailers = Some(trailers.clone());
                    }
                }
                // Nothing follows trailers, and nobody asks whether something does.
                if stream.is_end() || frame.is_trailers() {
                    this.finish(now);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(broken)) => {
                this.broken = Some(broken);
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
            Kind::Ended | Kind::Tunnel(_) => true,
            Kind::Local(body) => body.is_empty(),
            Kind::Upstream(stream) => stream.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Ended | Kind::Tunnel(_) => SizeHint::with_exact(0),
            Kind::Local(body) => SizeHint::with_exact(body.len() as u64),
            Kind::Upstream(stream) => stream.body.size_hint(),
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.kind, Kind::Ended) {
            // A tunnel that nobody took breaks off with its exchange.
            Kind::Ended | Kind::Tunnel(_) => {}
            // A body that nobody polled: the head said it all, or the caller asked for the head.
            Kind::Local(_) => self.ended = time::now(),
            // Who writes by the length asks no more once it is written.
            Kind::Upstream(stream)
                if self.broken.is_none()
                    && (stream.is_read()
                        || self.exchange.as_ref().is_some_and(Exchange::is_bodiless)) =>
            {
                self.kind = Kind::Upstream(stream);
                self.finish(time::now());
            }
            Kind::Upstream(_stream) => {
                self.ended = time::now();
                // Whoever stopped this said why in the flow; else it was the caller.
                if let Some(flow) = self.watch.end() {
                    let gone = (ProxyError::ClientGone, Verdict::Abandoned);
                    let (error, verdict) = flow.broken.unwrap_or(gone);
                    if let Some(trial) = flow.trial {
                        trial.judge(verdict, self.ended);
                    }
                    if let Some(exchange) = &mut self.exchange {
                        exchange.abort(error);
                    }
                }
            }
        }
        self.end(self.ended);
        self.watch.idle(self.ended);
    }
}
