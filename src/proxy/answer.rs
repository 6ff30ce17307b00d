//! The upstream's answer: judged by its head, kept while it may be thrown away, handed over.

use std::sync::Arc;
use std::time::Instant;

use http::{HeaderValue, Response, StatusCode, Version, header};
use http_body::Body;

use super::body::{ResponseBody, Stream, grpc_status};
use super::error::ProxyError;
use super::exchange::Exchange;
use super::request;
use super::route::Route;
use super::trial::{Trial, UploadState};
use super::watch::Flow;
use super::{Caller, reply};
use crate::pool::Download;
use crate::resilience::Verdict;
use crate::resilience::retry::Ended;
use crate::resilience::timeout::Deadline;
use crate::upstream::bulkhead::Slot;

/// A head, and its body to come with what the request holds.
///
/// Dropped before [`Self::deliver`], it ends its attempt and closes its connection.
pub(super) struct Answer {
    pub(super) head: http::response::Parts,
    pub(super) stream: Box<Stream>,
    /// The attempt, unless the head has decided its verdict.
    trial: Option<Trial>,
    upload: Option<Arc<UploadState>>,
    at: Instant,
}

impl Answer {
    /// Judges the attempt by the head where that decides; else the verdict falls with the body.
    pub(super) fn judged(
        head: http::response::Parts,
        stream: Box<Stream>,
        trial: Trial,
        upload: Option<Arc<UploadState>>,
        (route, is_grpc): (&Route, bool),
        at: Instant,
    ) -> Self {
        let status = stream.status;
        let ended = stream.body.is_end_stream();
        let grpc = if is_grpc {
            grpc_status(&head.headers)
        } else {
            None
        };
        let verdict = match route.rules.status(status) {
            _ if is_grpc && (ended || grpc.is_some()) => Some(route.rules.grpc(status, grpc, true)),
            Verdict::Success if ended => Some(Verdict::Success),
            Verdict::Success => None,
            _ if is_grpc && status == 200 => None,
            verdict => Some(verdict),
        };
        let trial = match verdict {
            Some(verdict) => {
                trial.judge(verdict, at);
                None
            }
            None => Some(trial),
        };
        Self {
            head,
            stream,
            trial,
            upload,
            at,
        }
    }

    /// How its attempt ended, as far as another one is concerned.
    pub(super) fn ended(&self, is_grpc: bool) -> Ended {
        let grpc = if is_grpc {
            grpc_status(&self.head.headers)
        } else {
            None
        };
        match grpc {
            Some(status) => Ended::Grpc(status),
            None => Ended::Status(self.stream.status),
        }
    }

    /// Whether its head is that of a success, by the rules of `route`.
    pub(super) fn is_success(&self, route: &Route) -> bool {
        route.rules.status(self.stream.status) == Verdict::Success
    }

    /// It is not what the caller gets. An upstream that answered well is not blamed for a body that
    /// nobody reads.
    pub(super) fn discard(mut self) {
        if let Some(trial) = self.trial.take() {
            trial.judge(Verdict::Success, self.at);
        }
    }

    /// It is what the caller gets: from here on its body is watched, and ends what `slot` began.
    pub(super) fn deliver(
        mut self,
        caller: &Caller,
        route: &Route,
        deadline: &Deadline,
        slot: Slot,
    ) -> Self {
        self.stream.slot = Some(slot);
        if !self.stream.body.is_end_stream() {
            let flow = Flow {
                trial: self.trial.take(),
                settle_at: self.at + route.settle_after,
                idle: route.timeouts.stream_idle,
                total_at: deadline.total_at,
                upstream_waits: true,
                broken: None,
            };
            caller.watch.begin(flow, self.at);
        }
        request::clean(&mut self.head.headers);
        // What we speak to the caller, whatever the upstream spoke to us.
        self.head.version = Version::HTTP_11;
        self
    }

    /// Hands it over; its body carries everything that ends with it.
    pub(super) fn into_response(self, mut exchange: Exchange) -> Response<ResponseBody> {
        let mut head = self.head;
        exchange.status = self.stream.status;
        if let Some(upload) = self.upload {
            if !upload.finished() {
                // Nobody reads the rest of the upload: the connection ends with this answer.
                let close = HeaderValue::from_static("close");
                head.headers.insert(header::CONNECTION, close);
            }
            exchange.upload.replace(Some(upload));
        }
        if let Some(served) = &exchange.served {
            reply::say_failover(&mut head.headers, served);
        }
        Response::from_parts(head, ResponseBody::upstream(self.stream, exchange, self.at))
    }
}

/// Refuses an answer that we did not ask for or that cannot be framed.
pub(super) fn checked(response: Response<Download>) -> Result<Response<Download>, ProxyError> {
    let (mut codings, mut lengths) = (0, 0);
    for (name, value) in response.headers() {
        if *name == header::CONTENT_LENGTH {
            lengths += 1;
            if !value.as_bytes().iter().all(u8::is_ascii_digit) {
                return Err(ProxyError::BadResponse);
            }
        }
        if *name == header::TRANSFER_ENCODING {
            codings += 1;
            if codings > 1 || !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err(ProxyError::BadResponse);
            }
        }
    }
    if codings > 0 && lengths > 0 {
        return Err(ProxyError::BadResponse);
    }
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(ProxyError::BadResponse);
    }
    Ok(response)
}
