//! The upstream's answer: judged by its head, kept while it may be thrown away, handed over.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version, header};
use http_body::Body;

use super::body::{ResponseBody, Stream, grpc_status};
use super::error::ProxyError;
use super::exchange::Exchange;
use super::forwarded;
use super::request;
use super::route::Route;
use super::survey::{self, Survey};
use super::trial::Trial;
use super::tunnel::Tunnel;
use super::watch::Flow;
use super::{Caller, reply};
use crate::resilience::Verdict;
use crate::resilience::retry::Ended;
use crate::resilience::timeout::Deadline;
use crate::upstream::bulkhead::Slot;

/// A head, and its body to come with what the request holds. In a box, as it changes hands often.
///
/// Dropped before [`Self::deliver`], it ends its attempt and closes its connection.
pub(super) struct Answer(Box<Stream>);

impl Answer {
    /// Judges the attempt by the head where that decides; else the verdict falls with the body.
    pub(super) fn judged(
        mut stream: Box<Stream>,
        trial: Trial,
        route: &Route,
        is_grpc: bool,
    ) -> Self {
        let status = stream.status;
        let ended = stream.body.is_end_stream();
        let grpc = grpc(&stream, is_grpc);
        let verdict = match route.rules.status(status) {
            _ if is_grpc && (ended || grpc.is_some()) => Some(route.rules.grpc(status, grpc, true)),
            Verdict::Success if ended => Some(Verdict::Success),
            Verdict::Success => None,
            _ if is_grpc && status == 200 => None,
            verdict => Some(verdict),
        };
        match verdict {
            Some(verdict) => trial.judge(verdict, stream.at),
            None => stream.trial = Some(trial),
        }
        Self(stream)
    }

    /// How its attempt ended, as far as another one is concerned.
    pub(super) fn ended(&self, is_grpc: bool) -> Ended {
        match grpc(&self.0, is_grpc) {
            Some(status) => Ended::Grpc(status),
            None => Ended::Status(self.0.status),
        }
    }

    /// Whether its head is that of a success, by the rules of `route`.
    pub(super) fn is_success(&self, route: &Route) -> bool {
        route.rules.status(self.0.status) == Verdict::Success
    }

    /// It is not what the caller gets. An upstream that answered well is not blamed for a body that
    /// nobody reads.
    pub(super) fn discard(mut self) {
        if let Some(trial) = self.0.trial.take() {
            trial.judge(Verdict::Success, self.0.at);
        }
    }

    /// Its fields.
    pub(super) fn headers(&self) -> Option<&HeaderMap> {
        self.0.headers()
    }

    /// It is what the caller gets: from here on its body is watched, and ends what `slot` began.
    pub(super) fn deliver(
        mut self,
        caller: &Caller,
        route: &Route,
        deadline: &Deadline,
        slot: Slot,
    ) -> Self {
        let stream = &mut *self.0;
        stream.slot = Some(slot);
        if !stream.body.is_end_stream() {
            let flow = Flow {
                trial: stream.trial.take(),
                settle_at: stream.at + route.settle_after,
                idle: route.timeouts.stream_idle,
                total_at: deadline.total_at,
                upload: stream.upload.clone(),
                upstream_waits: true,
                broken: None,
            };
            caller.watch.begin(flow, stream.at);
        }
        self
    }

    /// Hands it over; its body carries everything that ends with it.
    pub(super) fn into_response(self, mut exchange: Exchange) -> Response<ResponseBody> {
        let Self(mut stream) = self;
        exchange.status = stream.status;
        let head = stream.head.take();
        if stream.tunnels {
            return tunnel(*stream, head, exchange);
        }
        let upload = stream.upload.take();
        let unread = upload.as_ref().is_some_and(|upload| !upload.finished()) && !exchange.read;
        if upload.is_some() {
            exchange.upload.replace(upload);
        }
        let via = exchange
            .serving()
            .is_some_and(|route| route.upstream.forwarding.via);
        let version = head.as_ref().map_or(Version::HTTP_11, |head| head.version);
        let served = exchange.served.clone();
        let mut response = Response::new(ResponseBody::upstream(stream, exchange));
        if let Some(head) = head {
            *response.status_mut() = head.status;
            *response.headers_mut() = head.headers;
            *response.extensions_mut() = head.extensions;
        }
        let has_no_length = response.status() == StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        request::clean(headers);
        if has_no_length {
            // Some would wait for as much (RFC 9110 §8.6).
            headers.remove(header::CONTENT_LENGTH);
        }
        if via {
            forwarded::add_via(headers, version);
        }
        if unread {
            // Nobody reads the rest of the upload: the connection ends with this answer.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(served) = served {
            reply::say_failover(headers, &served);
        }
        response
    }
}

/// The head after which the caller and the upstream have each other to themselves.
fn tunnel(
    stream: Stream,
    head: Option<http::response::Parts>,
    exchange: Exchange,
) -> Response<ResponseBody> {
    let upgrade = head
        .as_ref()
        .and_then(|head| head.headers.get(header::UPGRADE).cloned());
    let watch = Rc::clone(&exchange.caller().watch);
    let body = match exchange.serving().cloned() {
        Some(route) => ResponseBody::tunnel(
            Box::new(Tunnel {
                carrier: stream.carrier,
                exchange,
                upstream: Arc::clone(&route.upstream),
                idle: route.timeouts.tunnel_idle,
                hold: (stream.endpoint, stream.slot),
            }),
            watch,
            stream.at,
        ),
        None => ResponseBody::local(Bytes::new(), exchange),
    };
    let mut response = Response::new(body);
    if let Some(head) = head {
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        *response.extensions_mut() = head.extensions;
    }
    let headers = response.headers_mut();
    request::clean(headers);
    headers.remove(header::TRANSFER_ENCODING);
    headers.remove(header::CONTENT_LENGTH);
    if let Some(upgrade) = upgrade {
        headers.insert(header::UPGRADE, upgrade);
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    response
}

/// The gRPC status that stands in the head, where there is one to look for.
fn grpc(stream: &Stream, is_grpc: bool) -> Option<u32> {
    stream.headers().filter(|_| is_grpc).and_then(grpc_status)
}

/// Refuses an answer that we did not ask for or that cannot be framed.
///
/// # Errors
///
/// [`ProxyError::BadResponse`].
pub fn checked<B>(response: Response<B>, survey: &Survey) -> Result<Response<B>, ProxyError> {
    let (mut codings, mut lengths) = (0, 0);
    for (name, value) in response.headers() {
        let is_bad = match name.as_str() {
            "content-length" => {
                lengths += 1;
                lengths > 1 || !survey::is_length(value)
            }
            "transfer-encoding" => {
                codings += 1;
                codings > 1 || !value.as_bytes().eq_ignore_ascii_case(b"chunked")
            }
            // As in a request: some take them for the real ones.
            "content_length" | "transfer_encoding" => true,
            _ => false,
        };
        if is_bad || survey::is_padded(value) {
            return Err(ProxyError::BadResponse);
        }
    }
    if codings > 0 && lengths > 0 {
        return Err(ProxyError::BadResponse);
    }
    if response.status() == StatusCode::SWITCHING_PROTOCOLS && !survey.is_upgraded_by(&response)
        || survey.is_misleading(response.status())
    {
        return Err(ProxyError::BadResponse);
    }
    Ok(response)
}
