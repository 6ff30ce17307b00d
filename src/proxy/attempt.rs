//! One try against one endpoint: connection, send, first byte, verdict.

use std::cell::RefCell;
use std::future::pending;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::EXPECT;
use http::{HeaderValue, Request, Response, StatusCode};

use super::Caller;
use super::answer::{Answer, checked};
use super::body::{Carrier, Stream};
use super::error::ProxyError;
use super::exchange::Exchange;
use super::mangle::Mangle;
use super::outgoing::Outgoing;
use super::request;
use super::route::Route;
use super::survey::Survey;
use super::trial::{Trial, UploadState};
use crate::net::{Ends, proxy_protocol};
use crate::pool::{
    Checkout, Connection, Download, Gate, Granted, Idle, Interim, Raw, SendError, Upload,
    UploadObserver, Waiting, Want, is_our_limit, is_too_long,
};
use crate::resilience::Verdict;
use crate::resilience::fault::Action;
use crate::resilience::timeout::Deadline;
use crate::tls;
use crate::upstream::breaker::Permit;
use crate::upstream::endpoint::InFlight;
use crate::upstream::fault::Hit;
use crate::{rng, time};

/// What the attempts of a request at one upstream have in common.
pub(super) struct Call<'a, 'r> {
    pub(super) caller: &'a Caller,
    pub(super) route: &'a Arc<Route>,
    pub(super) survey: &'a Survey,
    pub(super) deadline: &'a Deadline,
    pub(super) exchange: &'a Exchange,
    pub(super) outgoing: &'a RefCell<Outgoing<'r>>,
    /// What the choice of an endpoint goes by, if by the request.
    pub(super) hash: Option<u64>,
}

/// Why an attempt brought no response head, and what that says about the upstream.
struct Failed(ProxyError, Verdict);

impl From<ProxyError> for Failed {
    fn from(error: ProxyError) -> Self {
        Self(error, error.row().verdict.unwrap_or(Verdict::Ignored))
    }
}

/// Tries one endpoint, from `now` on.
///
/// # Cancel safety
///
/// Dropping the future is an attempt cut short: the connection is closed, everything given back.
pub(super) async fn attempt(
    call: &Call<'_, '_>,
    endpoint: InFlight,
    permit: Permit,
    now: Instant,
) -> Result<Answer, ProxyError> {
    let Call {
        route, exchange, ..
    } = call;
    let mut trial = Trial::new(permit, &route.upstream, &endpoint);
    exchange.dispatched(&endpoint.endpoint().address);
    let has_body = call.outgoing.borrow().has_body();
    let min_rate = call.caller.listener.downstream.min_body_rate;
    let upload = has_body.then(|| UploadState::new(trial.clock(), min_rate, now));
    if has_body {
        exchange.upload.replace(upload.clone());
    }
    let mut attempt = Attempt {
        call,
        trial,
        upload,
        mangle: None,
    };
    match attempt.run(&endpoint, now).await {
        Ok((response, carrier)) => {
            let now = time::now();
            let took = attempt.trial.elapsed(now);
            exchange.first_byte.set(Some(took));
            attempt.trial.head(response.status().as_u16(), now);
            let (head, body) = response.into_parts();
            let head_tunnels = head.status == StatusCode::SWITCHING_PROTOCOLS;
            let stream = Box::new(Stream {
                status: head.status.as_u16(),
                head: Some(head),
                at: now,
                tunnels: call.survey.connects || head_tunnels,
                body,
                carrier,
                endpoint,
                slot: None,
                trailers: None,
                trial: None,
                upload: attempt.upload,
                mangle: attempt.mangle,
            });
            Ok(Answer::judged(stream, attempt.trial, route, exchange.grpc))
        }
        Err(Failed(error, verdict)) => {
            attempt.trial.fail(error, verdict, time::now());
            Err(error)
        }
    }
}

/// One attempt on its way.
struct Attempt<'a, 'r> {
    call: &'a Call<'a, 'r>,
    trial: Trial,
    upload: Option<Arc<UploadState>>,
    mangle: Option<Box<Mangle>>,
}

impl Attempt<'_, '_> {
    async fn run(
        &mut self,
        endpoint: &InFlight,
        now: Instant,
    ) -> Result<(Response<Download>, Carrier), Failed> {
        let mut now = now;
        if let Some(hit) = self.fault(now) {
            Box::pin(self.suffer(hit, now)).await?;
            now = time::now();
        }
        if self.call.survey.connects {
            let raw = Box::pin(self.connect_raw(endpoint, now)).await?;
            return Ok((Response::new(Download::none()), Carrier::Raw(raw)));
        }
        // At most twice: a kept connection may have died unnoticed, a fresh one has no excuse.
        let mut fresh = false;
        loop {
            let mut connection = self.connect(endpoint, fresh, now).await?;
            let doubtful = connection.reused();
            let outgoing = self.address(endpoint, doubtful)?;
            let sent = self.send(&mut connection, outgoing, now).await;
            let sent = sent.inspect_err(|Failed(error, _)| {
                if matches!(error, ProxyError::AttemptTimeout) {
                    connection.distrust();
                }
            })?;
            let broken = self.upload.as_ref().and_then(|upload| upload.broken());
            let mut outgoing = self.call.outgoing.borrow_mut();
            match sent {
                Ok(mut response) => {
                    if connection.is_stream() {
                        self.call.survey.prove(&mut response);
                    }
                    let response = checked(response, self.call.survey)?;
                    return Ok((response, Carrier::Http(connection)));
                }
                // Whatever the connection says of it, the caller was first.
                Err(_) if broken.is_some() => {
                    return Err(broken.unwrap_or(ProxyError::ClientGone).into());
                }
                Err(SendError::Unsent(back)) => {
                    outgoing.give_back(*back);
                    if !doubtful {
                        return Err(if connection.was_turned_away() {
                            ProxyError::UpstreamRefused.into()
                        } else {
                            ProxyError::UpstreamClosed.into()
                        });
                    }
                }
                Err(SendError::Refused(back)) => {
                    outgoing.refused(back);
                    return Err(ProxyError::UpstreamRefused.into());
                }
                Err(SendError::Reset { answered: false })
                    if doubtful && outgoing.is_harmless() && outgoing.is_here() => {}
                Err(SendError::Reset { .. }) => return Err(ProxyError::UpstreamReset.into()),
                Err(SendError::Tls(reason)) => return Err(ProxyError::Tls(reason).into()),
                Err(SendError::Unsupported) => return Err(ProxyError::UpgradeUnsupported.into()),
                Err(SendError::Invalid) => return Err(ProxyError::BadResponse.into()),
                Err(SendError::Upload) => return Err(ProxyError::ClientGone.into()),
            }
            self.call.route.upstream.metrics.resent();
            fresh = true;
        }
    }

    /// The fault that hits this attempt, if one does.
    fn fault(&self, now: Instant) -> Option<Hit> {
        let outgoing = self.call.outgoing.borrow();
        let headers = outgoing.headers();
        let field = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
        let (method, path) = (outgoing.method().as_str(), outgoing.path());
        let faults = &self.call.route.upstream.faults;
        faults.pick(method, path, field, rng::u64, now)
    }

    async fn suffer(&mut self, hit: Hit, now: Instant) -> Result<(), Failed> {
        let route = self.call.route;
        route.upstream.metrics.fault_injected(hit.action);
        self.call.exchange.fault.set(Some(hit.action.as_str()));
        if !hit.counted {
            self.trial.do_not_count(now);
        }
        match hit.action {
            Action::Delay(delay) => self.pause(now, delay).await,
            Action::Abort(status) => Err(Failed(
                ProxyError::FaultAbort(status),
                route.rules.status(status),
            )),
            Action::Reset => Err(Failed(ProxyError::FaultReset, Verdict::Failure)),
            Action::Truncate(after) => {
                self.mangle = Some(Box::new(Mangle::truncate(after)));
                Ok(())
            }
            Action::SlowBody(rate) => {
                self.mangle = Some(Box::new(Mangle::slow(rate)));
                Ok(())
            }
        }
    }

    async fn pause(&self, now: Instant, delay: Duration) -> Result<(), Failed> {
        let at = now.checked_add(delay);
        let alarm = &self.call.caller.watch.alarm;
        // `Ok` is the end of the pause, `Err` that of the attempt's time.
        let expiry = |now| match at {
            Some(at) if at <= now => Err(None),
            at => match self.expiry(now, None) {
                Ok(next) => Ok([at, next].into_iter().flatten().min()),
                Err(error) => Err(Some(error)),
            },
        };
        match alarm.race(now, pin!(pending::<()>()), expiry).await {
            Ok(()) | Err(None) => Ok(()),
            Err(Some(error)) => Err(error.into()),
        }
    }

    /// Readies the request for its connection: only now, as the time that is left is sent on and
    /// connecting takes time.
    fn address(&self, endpoint: &InFlight, doubtful: bool) -> Result<Request<Upload>, ProxyError> {
        let Call {
            route,
            survey,
            deadline,
            exchange,
            ..
        } = self.call;
        let now = time::now();
        if let Some(limit) = deadline.past(now) {
            return Err(ProxyError::out_of_time(limit, ProxyError::Deadline));
        }
        // What an attempt before this one read on meanwhile may be more than is kept.
        let request = self.call.outgoing.borrow_mut().send(doubtful);
        let mut request = request.ok_or(ProxyError::UpstreamReset)?;
        let target = (&***route, endpoint.endpoint());
        let before = exchange.attempts.get().saturating_sub(1);
        request::address(&mut request, target, deadline, survey, before, now);
        match request.body().gate().cloned() {
            Some(gate) => {
                let interim = Interim::new(move |status| {
                    if status == StatusCode::CONTINUE {
                        gate.open();
                    }
                });
                request.extensions_mut().insert(interim);
            }
            None if survey.has_expect => {
                request.headers_mut().remove(EXPECT);
            }
            None => {}
        }
        if let Some(upload) = &self.upload {
            let observer: Arc<dyn UploadObserver> = Arc::clone(upload) as _;
            request.body_mut().observe(observer);
        }
        Ok(request)
    }

    /// Checks a connection out, waiting for one or opening one if need be.
    async fn connect(
        &mut self,
        endpoint: &InFlight,
        fresh: bool,
        mut now: Instant,
    ) -> Result<Connection, Failed> {
        let Call { caller, route, .. } = self.call;
        let pool = &route.upstream.pool;
        let (worker, address) = (caller.proxy.worker, &endpoint.endpoint().address);
        let alone = self.call.survey.upgrade.is_some() && pool.upgrades_alone();
        let want = match (alone, fresh) {
            (true, _) => Want::Alone,
            (false, true) => Want::Fresh,
            (false, false) => Want::Any,
        };
        // One allowance for all waits, however often a kept connection turns out dead.
        let give_up = now.checked_add(route.upstream.queue_timeout);
        loop {
            let granted = match pool.checkout(worker, address, want, now) {
                Checkout::Idle(idle) => Granted::Idle(idle),
                Checkout::Dial(dialing) => Granted::Dial(dialing),
                Checkout::Join(joining) => {
                    if let Some(connection) = self.dial(Box::pin(joining.joined())).await? {
                        return Ok(connection);
                    }
                    now = time::now();
                    continue;
                }
                Checkout::Wait(waiting) => self.wait(waiting, give_up).await?,
            };
            let connection = match granted {
                Granted::Dial(dialing) if alone => {
                    let way = endpoint.endpoint().way();
                    Some(self.dial(Box::pin(dialing.open_http1(&way))).await?)
                }
                Granted::Dial(dialing) => {
                    let way = endpoint.endpoint().way();
                    let opening = dialing.open(&way, route.timeouts.connect);
                    self.dial(Box::pin(opening)).await?
                }
                Granted::Idle(idle) => self.revive(idle, now).await?,
            };
            if let Some(connection) = connection {
                return Ok(connection);
            }
            now = time::now();
        }
    }

    /// Opens a connection that is the caller's alone.
    async fn connect_raw(&mut self, endpoint: &InFlight, now: Instant) -> Result<Raw, Failed> {
        let Call { caller, route, .. } = self.call;
        let pool = &route.upstream.pool;
        let address = &endpoint.endpoint().address;
        let give_up = now.checked_add(route.upstream.queue_timeout);
        loop {
            let granted = match pool.checkout(caller.proxy.worker, address, Want::Alone, now) {
                Checkout::Idle(idle) => Granted::Idle(idle),
                Checkout::Dial(dialing) => Granted::Dial(dialing),
                Checkout::Wait(waiting) => self.wait(waiting, give_up).await?,
                Checkout::Join(_) => continue,
            };
            // Only a place is of use.
            if let Granted::Dial(dialing) = granted {
                let Ends { peer, local, .. } = caller.ends;
                let tells = route.upstream.proxy_protocol;
                let first = tells.then(|| proxy_protocol::header(peer, local));
                let way = endpoint.endpoint().way();
                let opened = dialing.open_raw(&way, first.unwrap_or_default());
                return self.dial(Box::pin(opened)).await;
            }
        }
    }

    /// Readies a kept connection, which may have died while nobody watched.
    async fn revive(&self, idle: Idle, now: Instant) -> Result<Option<Connection>, Failed> {
        let alarm = &self.call.caller.watch.alarm;
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
        let alarm = &self.call.caller.watch.alarm;
        let mut granted = Box::pin(waiting.granted());
        let expiry = |now| self.expiry(now, own);
        let waited = alarm.race(now, granted.as_mut(), expiry).await;
        clock.iter().for_each(|clock| clock.resume(time::now()));
        waited.map_err(|error| Failed(error, Verdict::Ignored))
    }

    /// Waits for a connection that is being opened. Boxed: it is seldom, and long.
    async fn dial<T>(
        &self,
        mut opening: Pin<Box<impl Future<Output = io::Result<T>>>>,
    ) -> Result<T, Failed> {
        let now = time::now();
        let own = self
            .call
            .route
            .timeouts
            .connect
            .and_then(|connect| now.checked_add(connect));
        let own = own.map(|at| (at, ProxyError::ConnectTimeout));
        let alarm = &self.call.caller.watch.alarm;
        let expiry = |now| self.expiry(now, own);
        let opened = alarm.race(now, opening.as_mut(), expiry).await?;
        let took = time::now().saturating_duration_since(now);
        self.call.exchange.connected.set(Some(took));
        opened.map_err(|error| {
            if is_our_limit(&error) {
                Failed(ProxyError::PoolFull, Verdict::Ignored)
            } else if is_too_long(&error) {
                ProxyError::ConnectTimeout.into()
            } else if let Some(reason) = tls::reason_of(&error) {
                ProxyError::Tls(reason).into()
            } else {
                ProxyError::ConnectFailed.into()
            }
        })
    }

    async fn send(
        &self,
        connection: &mut Connection,
        request: Request<Upload>,
        now: Instant,
    ) -> Result<Result<Response<Download>, SendError>, Failed> {
        let upload = self.upload.as_ref();
        let begun = time::now();
        upload.inspect(|upload| upload.begin(begun));
        let idle = self.call.route.timeouts.stream_idle;
        if self.call.survey.upgrade.is_some() {
            connection.may_upgrade();
        }
        let gate = request.body().gate().cloned();
        let sent = pin!(connection.send(request));
        let sent = pin!(unless_impatient(
            sent,
            gate.as_ref(),
            &self.call.caller.ends
        ));
        let alarm = &self.call.caller.watch.alarm;
        // Time is left for an answer then.
        let first_byte = self.call.route.timeouts.first_byte;
        let told_at = begun + first_byte.map_or(PATIENCE, |limit| PATIENCE.min(limit / 2));
        let expiry = |now| {
            let stalled = upload.and_then(|upload| upload.stalled());
            let next = self.expiry(now, None);
            let told = gate.as_ref().and_then(|gate| patience(gate, told_at, now));
            let next = next.map_err(|error| match (error, stalled) {
                // The upstream has nothing to answer yet.
                (ProxyError::Deadline, Some((_, true))) => Failed(error, Verdict::Ignored),
                _ => error.into(),
            })?;
            let next = [next, told].into_iter().flatten().min();
            let pace = upload.and_then(|upload| upload.too_slow(now));
            let next = match pace {
                Some((_, true)) => return Err(ProxyError::ClientSlow.into()),
                Some((at, false)) => Some(next.map_or(at, |next| next.min(at))),
                None => next,
            };
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
        let first_byte = match self.call.route.timeouts.first_byte {
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
        if let Some(limit) = self.call.deadline.past(now) {
            return Err(ProxyError::out_of_time(limit, ProxyError::Deadline));
        }
        let own = own.map(|(at, _)| at);
        Ok([own, first_byte, self.call.deadline.at]
            .into_iter()
            .flatten()
            .min())
    }
}

/// A caller that waits to be told to send its body is told so after this long, whatever the
/// upstream says, and after half of `first_byte` if that is less: an older one may not know `Expect`
/// (RFC 9110 §10.1.1 lets nobody wait for ever).
const PATIENCE: Duration = Duration::from_secs(3);

/// Opens the gate when it was closed for long enough; else when that will be.
fn patience(gate: &Gate, at: Instant, now: Instant) -> Option<Instant> {
    if at <= now {
        gate.open();
    }
    (!gate.is_open()).then_some(at)
}

/// Awaits `sent`, and opens the gate for a caller that sends its body without being told to.
async fn unless_impatient<T>(
    mut sent: Pin<&mut impl Future<Output = T>>,
    gate: Option<&Gate>,
    ends: &Ends,
) -> T {
    if let (Some(gate), Some(socket)) = (gate, ends.socket()) {
        tokio::select! {
            biased;
            sent = &mut sent => return sent,
            () = socket.arrived() => gate.open(),
        }
    }
    sent.await
}
