//! One try against one endpoint: permit, endpoint, connection, send, first byte, verdict.

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::Body;

use super::body::{ResponseBody, Stream, grpc_status};
use super::error::{ProxyError, Side};
use super::exchange::Exchange;
use super::request::Survey;
use super::route::Route;
use super::trial::{Trial, UploadState};
use super::watch::Flow;
use super::{Caller, request};
use crate::pool::{
    Checkout, Connection, Dialing, Download, Granted, Idle, SendError, Upload, UploadObserver,
    Waiting, is_our_limit,
};
use crate::resilience::Verdict;
use crate::resilience::timeout::Deadline;
use crate::time;
use crate::upstream::bulkhead::Slot;
use crate::upstream::endpoint::InFlight;

/// The upstream's answer: its head, and its body to come with what the request holds.
pub(super) struct Answer {
    head: http::response::Parts,
    stream: Box<Stream>,
    at: Instant,
}

/// Why an attempt brought no response head, and what that says about the upstream.
struct Failed(ProxyError, Verdict);

impl From<ProxyError> for Failed {
    fn from(error: ProxyError) -> Self {
        Self(error, error.row().verdict.unwrap_or(Verdict::Ignored))
    }
}

/// Tries one endpoint.
///
/// # Cancel safety
///
/// Dropping the future is an attempt cut short: the connection is closed, everything given back.
pub(super) async fn attempt(
    caller: &Caller,
    route: &Arc<Route>,
    request: &mut Request<Upload>,
    survey: &Survey,
    deadline: &Deadline,
    slot: Slot,
    exchange: &mut Exchange,
) -> Result<Answer, ProxyError> {
    // The time of the request's head, unless it had to wait since.
    let now = exchange.queued.map_or(exchange.started, |_| time::now());
    let permit = route.breaker.admit(now)?;
    let mut trial = Trial::new(permit, &route.upstream);
    exchange.attempts += 1;
    if !request.body().is_empty() {
        let state = UploadState::new(trial.clock(), now);
        let observer: Arc<dyn UploadObserver> = Arc::clone(&state) as _;
        request.body_mut().observe(observer);
        exchange.upload = Some(state);
    }
    let mut attempt = Attempt {
        caller,
        route,
        deadline,
        trial,
    };
    match attempt.run(request, survey, exchange, now).await {
        Ok((response, connection, endpoint)) => {
            let now = time::now();
            exchange.first_byte = Some(attempt.trial.elapsed(now));
            attempt.trial.head(now);
            let (head, body) = response.into_parts();
            let stream = Box::new(Stream {
                body,
                connection,
                endpoint,
                slot,
                status: head.status.as_u16(),
                trailers: None,
            });
            let answer = Answer {
                head,
                stream,
                at: now,
            };
            Ok(answer.judged(attempt.trial, caller, route, deadline, exchange.grpc))
        }
        Err(Failed(error, verdict)) => {
            let local = error.row().side == Side::Local;
            attempt.trial.fail(verdict, local, time::now());
            Err(error)
        }
    }
}

impl Answer {
    /// Judges the attempt by the head where that decides; else the verdict falls with the body.
    fn judged(
        mut self,
        trial: Trial,
        caller: &Caller,
        route: &Route,
        deadline: &Deadline,
        is_grpc: bool,
    ) -> Self {
        let (now, status) = (self.at, self.stream.status);
        let ended = self.stream.body.is_end_stream();
        let grpc = if is_grpc {
            grpc_status(&self.head.headers)
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
                trial.judge(verdict, now);
                None
            }
            None => Some(trial),
        };
        if !ended {
            let flow = Flow {
                trial,
                settle_at: now + route.settle_after,
                idle: route.timeouts.stream_idle,
                total_at: deadline.total_at,
                upstream_waits: true,
                broken: None,
            };
            caller.watch.begin(flow, now);
        }
        request::clean(&mut self.head.headers);
        // What we speak to the caller, whatever the upstream spoke to us.
        self.head.version = Version::HTTP_11;
        self
    }

    /// Hands the answer over; its body carries everything that ends with it.
    pub(super) fn into_response(self, mut exchange: Exchange) -> Response<ResponseBody> {
        let mut head = self.head;
        exchange.status = self.stream.status;
        if exchange
            .upload
            .as_ref()
            .is_some_and(|upload| !upload.finished())
        {
            // Nobody reads the rest of the upload: the connection ends with this answer.
            let close = HeaderValue::from_static("close");
            head.headers.insert(header::CONNECTION, close);
        }
        Response::from_parts(head, ResponseBody::upstream(self.stream, exchange, self.at))
    }
}

/// The context of one attempt.
struct Attempt<'a> {
    caller: &'a Caller,
    route: &'a Arc<Route>,
    deadline: &'a Deadline,
    trial: Trial,
}

type Answered = (Response<Download>, Connection, InFlight);

impl Attempt<'_> {
    async fn run(
        &mut self,
        request: &mut Request<Upload>,
        survey: &Survey,
        exchange: &mut Exchange,
        now: Instant,
    ) -> Result<Answered, Failed> {
        let upstream = &self.route.upstream;
        let endpoint = upstream.pick().ok_or(ProxyError::NoEndpoint)?;
        exchange.endpoint = Some(endpoint.endpoint().address);
        // At most twice: a kept connection may have died unnoticed, a fresh one has no excuse.
        let mut fresh = false;
        loop {
            let mut connection = self.connect(&endpoint, fresh, exchange, now).await?;
            self.address(request, survey, &endpoint)?;
            let reused = connection.reused();
            let resendable = reused && request.body().is_empty();
            let spare =
                (resendable && request::is_idempotent(request.method())).then(|| copy(request));
            let outgoing = std::mem::take(request);
            let sent = self.send(&mut connection, outgoing, exchange, now).await?;
            let broken = exchange.upload.as_ref().and_then(|upload| upload.broken());
            match sent {
                Ok(response) => return Ok((checked(response)?, connection, endpoint)),
                // Whatever the connection says of it, the caller was first.
                Err(_) if broken.is_some() => {
                    return Err(broken.unwrap_or(ProxyError::ClientGone).into());
                }
                Err(SendError::Unsent(back)) if reused => *request = *back,
                Err(SendError::Reset { answered: false }) if let Some(spare) = spare => {
                    *request = spare;
                }
                Err(SendError::Unsent(_) | SendError::Reset { .. }) => {
                    return Err(ProxyError::UpstreamReset.into());
                }
                Err(SendError::Invalid) => return Err(ProxyError::BadResponse.into()),
                Err(SendError::Upload) => return Err(ProxyError::ClientGone.into()),
            }
            upstream.metrics.resent();
            fresh = true;
        }
    }

    /// Readies the request for its connection: only now, as the time that is left is sent on and
    /// connecting takes time.
    fn address(
        &self,
        request: &mut Request<Upload>,
        survey: &Survey,
        endpoint: &InFlight,
    ) -> Result<(), ProxyError> {
        let now = time::now();
        if let Some(limit) = self.deadline.past(now) {
            return Err(ProxyError::out_of_time(limit, ProxyError::Deadline));
        }
        let endpoint = endpoint.endpoint();
        request::address(request, self.route, endpoint, self.deadline, survey, now);
        Ok(())
    }

    /// Checks a connection out, waiting for one or opening one if need be.
    async fn connect(
        &mut self,
        endpoint: &InFlight,
        fresh: bool,
        exchange: &mut Exchange,
        mut now: Instant,
    ) -> Result<Connection, Failed> {
        let pool = &self.route.upstream.pool;
        let (worker, address) = (self.caller.proxy.worker, endpoint.endpoint().address);
        // One allowance for all waits, however often a kept connection turns out dead.
        let give_up = now.checked_add(self.route.upstream.queue_timeout);
        loop {
            let granted = match pool.checkout(worker, address, fresh, now) {
                Checkout::Idle(idle) => Granted::Idle(idle),
                Checkout::Dial(dialing) => Granted::Dial(dialing),
                Checkout::Wait(waiting) => self.wait(waiting, give_up).await?,
            };
            match granted {
                Granted::Dial(dialing) => return self.dial(dialing, exchange).await,
                Granted::Idle(idle) => {
                    if let Some(connection) = self.revive(idle, now).await? {
                        return Ok(connection);
                    }
                    now = time::now();
                }
            }
        }
    }

    /// Readies a kept connection, which may have died while nobody watched.
    async fn revive(&self, idle: Idle, now: Instant) -> Result<Option<Connection>, Failed> {
        let alarm = &self.caller.watch.alarm;
        let revived = pin!(idle.revive());
        Ok(alarm
            .race(now, revived, |now| self.expiry(now, None))
            .await?)
    }

    /// Waits for a connection or the right to open one. That wait is ours, not the upstream's: the
    /// attempt clock stands still.
    async fn wait(
        &mut self,
        waiting: Waiting,
        give_up: Option<Instant>,
    ) -> Result<Granted, Failed> {
        let now = time::now();
        let clock = self.trial.clock();
        clock.iter().for_each(|clock| clock.pause(now));
        let own = give_up.map(|at| (at, ProxyError::PoolFull));
        let alarm = &self.caller.watch.alarm;
        let mut granted = Box::pin(waiting.granted());
        let expiry = |now| self.expiry(now, own);
        let waited = alarm.race(now, granted.as_mut(), expiry).await;
        clock.iter().for_each(|clock| clock.resume(time::now()));
        waited.map_err(|error| Failed(error, Verdict::Ignored))
    }

    async fn dial(&self, dialing: Dialing, exchange: &mut Exchange) -> Result<Connection, Failed> {
        let now = time::now();
        let own = self
            .route
            .timeouts
            .connect
            .and_then(|connect| now.checked_add(connect));
        let own = own.map(|at| (at, ProxyError::ConnectTimeout));
        let alarm = &self.caller.watch.alarm;
        let mut opening = Box::pin(dialing.open());
        let expiry = |now| self.expiry(now, own);
        let opened = alarm.race(now, opening.as_mut(), expiry).await?;
        exchange.connected = Some(time::now().saturating_duration_since(now));
        opened.map_err(|error| {
            if is_our_limit(&error) {
                Failed(ProxyError::PoolFull, Verdict::Ignored)
            } else {
                ProxyError::ConnectFailed.into()
            }
        })
    }

    async fn send(
        &self,
        connection: &mut Connection,
        request: Request<Upload>,
        exchange: &Exchange,
        now: Instant,
    ) -> Result<Result<Response<Download>, SendError>, Failed> {
        let upload = exchange.upload.as_ref();
        upload.inspect(|upload| upload.begin(time::now()));
        let idle = self.route.timeouts.stream_idle;
        let sent = pin!(connection.send(request));
        let alarm = &self.caller.watch.alarm;
        let expiry = |now| {
            let stalled = upload.and_then(|upload| upload.stalled());
            let next = self.expiry(now, None);
            let next = next.map_err(|error| match (error, stalled) {
                // The upstream has nothing to answer yet.
                (ProxyError::Deadline, Some((_, true))) => Failed(error, Verdict::Ignored),
                _ => error.into(),
            })?;
            let Some((moved, by_caller)) = stalled else {
                return Ok(next);
            };
            match idle.and_then(|idle| moved.checked_add(idle)) {
                Some(at) if at <= now && by_caller => Err(ProxyError::ClientIdle.into()),
                Some(at) if at <= now => Err(ProxyError::UpstreamIdle.into()),
                Some(at) => Ok(Some(next.map_or(at, |next| next.min(at)))),
                None => Ok(next),
            }
        };
        alarm.race(now, sent, expiry).await
    }

    /// Whether the time of this attempt is over at `now`: of the wait itself (`own`), of the
    /// attempt, of the request; else when to ask again.
    fn expiry(
        &self,
        now: Instant,
        own: Option<(Instant, ProxyError)>,
    ) -> Result<Option<Instant>, ProxyError> {
        if let Some((at, error)) = own
            && at <= now
        {
            return Err(error);
        }
        let first_byte = match self.route.timeouts.first_byte {
            None => None,
            Some(first_byte) => {
                let elapsed = self.trial.elapsed(now);
                if elapsed >= first_byte {
                    return Err(ProxyError::AttemptTimeout);
                }
                // Too early where the clock is paused meanwhile: it is asked again then.
                now.checked_add(first_byte - elapsed)
            }
        };
        if let Some(limit) = self.deadline.past(now) {
            return Err(ProxyError::out_of_time(limit, ProxyError::Deadline));
        }
        let own = own.map(|(at, _)| at);
        Ok([own, first_byte, self.deadline.at]
            .into_iter()
            .flatten()
            .min())
    }
}

/// A second copy of a request without a body.
fn copy(request: &Request<Upload>) -> Request<Upload> {
    let mut copy = Request::new(Upload::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    request.headers().clone_into(copy.headers_mut());
    copy
}

/// Refuses an answer that we did not ask for or that cannot be framed.
fn checked(response: Response<Download>) -> Result<Response<Download>, ProxyError> {
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
