//! `grpc.health.v1.Health` over HTTP/2: what probes and clients with health checks of their own ask.
//!
//! Answers from readiness and from what an upstream looks like. Anybody who reaches the metrics
//! listener may ask, so all of it is bounded: connections, streams, watches, request bodies, and how
//! long a request may take to come. A peer that vanished is found out by a ping, one that floods us
//! ([`crate::net::frames`]) is let go of. Pages are not served here.

use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt};
use h2::server::{Builder, SendResponse};
use h2::{Ping, PingPong, Reason, RecvStream, SendStream};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};

use super::Site;
use super::grpc_health::{BadRequest, MAX_BODY, ServingStatus, decode, encode};
use super::server::{CONNECTION_TIMEOUT, HEADER_TIMEOUT};
use crate::config::model::Mode;
use crate::net::frames::{FrameLimits, FrameMeter};
use crate::net::{Tap, Tapped};
use crate::resilience::breaker::State;
use crate::upstream::view::UpstreamView;

/// Requests at once on one connection.
const MAX_STREAMS: u32 = 16;

/// Bytes of a request head.
const MAX_HEAD: usize = 16 << 10;

/// Octets of what a client says first (RFC 9113 §3.4).
const PREFACE: u32 = 24;

/// So long a connection may last; who watches comes back. A peer that asks now and then would keep
/// its place for ever.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// How often a watch looks.
const LOOK: Duration = Duration::from_secs(1);

/// The name under which we answer for ourselves, beside the empty one.
const OURSELVES: &str = "outrigger";

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// How a call ends: a gRPC status, and for people why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Status(u8, &'static str);

impl Status {
    const OK: Self = Self(0, "");
    const TOO_SLOW: Self = Self(4, "the request did not come in time");
    const NOT_FOUND: Self = Self(5, "no upstream has this name");
    const ENOUGH: Self = Self(8, "as many watch as may");
    const NO_METHOD: Self = Self(12, "there are Check and Watch of grpc.health.v1.Health");
    const NO_CODEC: Self = Self(12, "messages are protobuf");
    const DRAINING: Self = Self(14, "draining");
    const OLD: Self = Self(14, "the connection has lasted long enough");

    fn fields(self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let Self(code, message) = self;
        let status = (GRPC_STATUS, HeaderValue::from(u16::from(code)));
        let message = (GRPC_MESSAGE, HeaderValue::from_static(message));
        [status, message]
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
    }
}

impl From<BadRequest> for Status {
    fn from(bad: BadRequest) -> Self {
        match bad {
            BadRequest::Compressed => Self(12, "no compression is known"),
            BadRequest::TooLarge => Self(8, "the message is longer than a health check"),
            BadRequest::Garbage => Self(3, "not one message of grpc.health.v1"),
        }
    }
}

/// Serves a connection until its peer closes it, has nothing to ask or does not answer any more, or
/// it is old.
///
/// # Cancel safety
///
/// Dropping the future closes the connection.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    socket: S,
    site: &Site,
    watches: &Semaphore,
) -> Result<(), h2::Error> {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX));
    let flooded = Arc::new(Notify::new());
    let limits = FrameLimits::of_heads(MAX_HEAD);
    let socket = Tapped {
        stream: socket,
        tap: Metered {
            meter: RefCell::new(FrameMeter::new(limits, PREFACE, crate::time::now())),
            flooded: Arc::clone(&flooded),
        },
    };
    let Ok(wire) = timeout(HEADER_TIMEOUT, builder.handshake::<_, Bytes>(socket)).await else {
        return Ok(());
    };
    let mut wire = wire?;
    let mut gone = pin!(unanswered(wire.ping_pong()));
    let is_old = AtomicBool::new(false);
    let mut age = pin!(sleep_until(after(MAX_AGE)));
    let mut calls = FuturesUnordered::new();
    let mut rest = pin!(sleep_until(after(CONNECTION_TIMEOUT)));
    let mut is_leaving = false;
    loop {
        tokio::select! {
            accepted = wire.accept() => match accepted {
                Some(accepted) => {
                    let (request, respond) = accepted?;
                    calls.push(call(request, respond, site, watches, &is_old));
                }
                None => return Ok(()),
            },
            Some(()) = calls.next() => {
                rest.as_mut().reset(after(CONNECTION_TIMEOUT));
            }
            () = &mut age, if !is_old.load(Relaxed) => {
                is_old.store(true, Relaxed);
                is_leaving = true;
                wire.graceful_shutdown();
                rest.as_mut().reset(after(HEADER_TIMEOUT));
            }
            () = &mut rest, if calls.is_empty() || is_old.load(Relaxed) => {
                if is_leaving {
                    return Ok(());
                }
                is_leaving = true;
                wire.graceful_shutdown();
                rest.as_mut().reset(after(HEADER_TIMEOUT));
            }
            () = &mut gone => return Ok(()),
            () = flooded.notified() => {
                wire.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                let closed = timeout(LOOK, poll_fn(|cx| wire.poll_closed(cx)));
                return closed.await.unwrap_or(Ok(()));
            }
        }
    }
}

/// Counts the frames of the peer.
struct Metered {
    meter: RefCell<FrameMeter>,
    flooded: Arc<Notify>,
}

impl Tap for Metered {
    fn read(&self, bytes: &[u8]) -> bool {
        let is_calm = self
            .meter
            .borrow_mut()
            .feed(bytes, crate::time::now())
            .is_ok();
        if !is_calm {
            self.flooded.notify_one();
        }
        is_calm
    }
}

fn after(wait: Duration) -> Instant {
    (crate::time::now() + wait).into()
}

/// Ends when the peer has left a ping unanswered for as long as pings are apart.
async fn unanswered(pings: Option<PingPong>) {
    let Some(mut pings) = pings else {
        return pending().await;
    };
    loop {
        crate::time::sleep(CONNECTION_TIMEOUT).await;
        let asked = timeout(CONNECTION_TIMEOUT, pings.ping(Ping::opaque())).await;
        if !matches!(asked, Ok(Ok(_))) {
            return;
        }
    }
}

/// Answers one request.
async fn call(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    site: &Site,
    watches: &Semaphore,
    is_old: &AtomicBool,
) {
    let (head, body) = request.into_parts();
    let Some(is_protobuf) = grpc(&head.headers) else {
        return refuse(respond, &head.method);
    };
    let watches_on = match head.uri.path() {
        _ if head.method != Method::POST => return refuse(respond, &head.method),
        _ if !is_protobuf => return fail(respond, Status::NO_CODEC),
        "/grpc.health.v1.Health/Check" => false,
        "/grpc.health.v1.Health/Watch" => true,
        _ => return fail(respond, Status::NO_METHOD),
    };
    let read = match timeout(HEADER_TIMEOUT, collect(body)).await {
        Ok(Some(read)) => read,
        // The peer has reset it.
        Ok(None) => return,
        Err(_) => return fail(respond, Status::TOO_SLOW),
    };
    let service = match decode(&read) {
        Ok(service) => service,
        Err(bad) => return fail(respond, bad.into()),
    };
    if watches_on {
        return match watches.try_acquire() {
            Ok(_watch) => watch(respond, site, service, is_old).await,
            Err(_) => fail(respond, Status::ENOUGH),
        };
    }
    let status = look(site, service);
    if status == ServingStatus::ServiceUnknown {
        return fail(respond, Status::NOT_FOUND);
    }
    if let Ok(mut stream) = respond.send_response(begin(), false) {
        let _ = stream.send_data(Bytes::from_static(encode(status)), false);
        end(&mut stream, Status::OK);
    }
}

/// Tells how `service` is, and again whenever that has changed. The drain ends what it finds; who
/// comes later is kept, since whoever is sent away comes back at once. So does the age of the
/// connection.
async fn watch(mut respond: SendResponse<Bytes>, site: &Site, service: &str, is_old: &AtomicBool) {
    let Ok(mut stream) = respond.send_response(begin(), false) else {
        return;
    };
    let drains = || site.admin.ready() == Err("draining");
    let ends_with_drain = !drains();
    let mut told = None;
    loop {
        let status = look(site, service);
        if told != Some(status) {
            let message = Bytes::from_static(encode(status));
            stream.reserve_capacity(message.len());
            // To who does not read, the state of the time when he does is told.
            if stream.capacity() >= message.len() {
                if stream.send_data(message, false).is_err() {
                    return;
                }
                told = Some(status);
            }
        }
        if ends_with_drain && drains() {
            return end(&mut stream, Status::DRAINING);
        }
        if is_old.load(Relaxed) {
            return end(&mut stream, Status::OLD);
        }
        let reset = pin!(poll_fn(|cx| stream.poll_reset(cx)));
        if let Either::Left(_) = select(reset, pin!(crate::time::sleep(LOOK))).await {
            return;
        }
    }
}

/// How a service is: we ourselves, or the upstream of that name.
fn look(site: &Site, service: &str) -> ServingStatus {
    let serving = |is_serving| match (is_serving, site.admin.ready()) {
        (true, Ok(())) => ServingStatus::Serving,
        _ => ServingStatus::NotServing,
    };
    if matches!(service, "" | OURSELVES) {
        return serving(true);
    }
    let view = site.admin.view(service);
    view.map_or(ServingStatus::ServiceUnknown, |view| {
        serving(is_serving(&view))
    })
}

/// Whether requests to an upstream have a chance: it has an address or its callers name one, and its
/// breaker lets them pass.
fn is_serving(view: &UpstreamView) -> bool {
    let rejects = view.breakers.iter().any(|breaker| {
        breaker.route.is_none()
            && match breaker.view.state {
                State::Open => breaker.mode == Mode::Enforce,
                State::ForcedOpen => true,
                State::Closed | State::HalfOpen | State::MetricsOnly | State::Disabled => false,
            }
    });
    (view.targets.is_some() || !view.endpoints.is_empty()) && !rejects
}

/// Whether a gRPC call has messages of protobuf; `None` where it is no gRPC call.
fn grpc(headers: &HeaderMap) -> Option<bool> {
    let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let kind = content_type.strip_prefix("application/grpc")?;
    let kind = kind.split(';').next().unwrap_or_default().trim_end();
    (kind.is_empty() || kind.starts_with('+')).then_some(matches!(kind, "" | "+proto"))
}

/// Reads a body as far as it may be of use; `None` where it broke off.
async fn collect(mut body: RecvStream) -> Option<Vec<u8>> {
    let mut read = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.ok()?;
        let _ = body.flow_control().release_capacity(data.len());
        read.extend_from_slice(&data);
        if read.len() > MAX_BODY {
            break;
        }
    }
    Some(read)
}

fn begin() -> Response<()> {
    let mut head = Response::new(());
    head.headers_mut().insert(CONTENT_TYPE, GRPC);
    head
}

fn end(stream: &mut SendStream<Bytes>, status: Status) {
    let _ = stream.send_trailers(status.fields().collect());
}

/// A head that is the end as well.
fn fail(mut respond: SendResponse<Bytes>, status: Status) {
    let mut head = begin();
    head.headers_mut().extend(status.fields());
    let identity = HeaderValue::from_static("identity");
    head.headers_mut().insert(GRPC_ACCEPT_ENCODING, identity);
    let _ = respond.send_response(head, true);
}

/// Not for gRPC: pages are had by HTTP/1, which clients that know both turn to.
fn refuse(mut respond: SendResponse<Bytes>, method: &Method) {
    if method == Method::POST {
        let mut head = Response::new(());
        *head.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        let _ = respond.send_response(head, true);
    } else {
        respond.send_reset(Reason::HTTP_1_1_REQUIRED);
    }
}

#[cfg(test)]
mod tests;
