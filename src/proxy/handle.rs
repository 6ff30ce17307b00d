//! One request from its head to its response: the order of the policies.

use std::cell::RefCell;
use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::{Request, Response};

use super::answer::Answer;
use super::attempt::Call;
use super::body::ResponseBody;
use super::error::{ProxyError, Resend, Side};
use super::exchange::Exchange;
use super::forwarded::{Origin, Peer};
use super::outgoing::Outgoing;
use super::route::Route;
use super::survey::{self, Survey};
use super::{Caller, hedge, reply, request, retry};
use crate::config::model::{Forwarding, Mode, Protocol};
use crate::pool::Upload;
use crate::resilience::timeout::{Deadline, Due};
use crate::telemetry::metrics::Refusal;
use crate::time;
use crate::upstream::bulkhead::{Entry, Slot};

impl Caller {
    /// Answers a request: with the upstream's answer or a local reply, never with an error.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future at any point gives back whatever the request held; it is logged and
    /// counted as a caller that went away.
    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` keeps what it takes by value twice"
    )]
    pub fn handle(
        self: Rc<Self>,
        mut request: Request<Upload>,
    ) -> impl Future<Output = Result<Response<ResponseBody>, Infallible>> {
        // The future is moved once per request: its size is paid for each time.
        async move {
            let now = time::now();
            self.watch.busy();
            let mut exchange = Exchange::begin(&self, &request, now);
            let forwarded = self.forward(&mut request, &mut exchange).await;
            Ok(match forwarded {
                Ok(answer) => answer.into_response(exchange),
                Err(error) => {
                    exchange.read = !request.body().is_empty() && request.body().is_whole();
                    exchange.unread = is_unread(&mut request, &exchange);
                    reply::local(error, exchange)
                }
            })
        }
    }

    /// What an upstream is told of the way of a request, if anything.
    fn origin(&self, forwarding: Forwarding) -> Option<Origin> {
        let peer = self.ends.peer;
        (forwarding != Forwarding::default()).then(|| Origin {
            forwarding,
            peer: peer.map_or(Peer::Unix, |peer| Peer::Ip(peer.ip())),
            is_tls: self.listener.is_tls(),
        })
    }

    /// The order of a request: what is asked, of whom, and in which order it may say no.
    async fn forward(
        &self,
        request: &mut Request<Upload>,
        exchange: &mut Exchange,
    ) -> Result<Answer, ProxyError> {
        let survey = match self.listener.protocol {
            Protocol::Tcp => Survey::of_connection(),
            _ => survey::survey(request, &self.listener.downstream)
                // Who speaks gRPC is refused in gRPC.
                .inspect_err(|_| exchange.grpc = survey::is_grpc_call(request.headers()))?,
        };
        exchange.grpc = survey.grpc;
        exchange.expects = survey.has_expect;
        let routes = self.listener.routes.load();
        let route = routes.find(request.method(), request.uri(), request.headers());
        let mut route = Arc::clone(route.ok_or(ProxyError::NoRoute)?);
        drop(routes);
        exchange.route = Some(Arc::clone(&route));
        if survey.connects && route.targets.is_none() && self.listener.protocol != Protocol::Tcp {
            return Err(ProxyError::BadRequest("CONNECT is not served here"));
        }

        let timeouts = &route.timeouts;
        let client_time = request::client_time(&survey, request.headers(), &route);
        let started = exchange.started;
        let deadline = Deadline::new(started, timeouts.request, timeouts.total, client_time);
        if let Some(limit) = deadline.past(started) {
            return Err(ProxyError::out_of_time(limit, ProxyError::Deadline));
        }

        if survey.has_expect && !self.watch.is_ahead() {
            request.body_mut().hold_back();
        }
        if let Some(targets) = &route.targets {
            // Seldom, and long.
            route = Box::pin(self.target(targets, request, &deadline, exchange)).await?;
        }
        request::prepare(request, &survey, self.origin(route.upstream.forwarding));
        exchange.identify(request.headers());
        let outgoing = RefCell::new(Outgoing::new(request));
        // An answer that a failover is to better: it stands until that one admits the request.
        let mut kept: Option<Kept> = None;
        loop {
            let asked = self.ask(&route, &survey, &deadline, &outgoing, exchange, &mut kept);
            let outcome = asked.await;
            let next = failover(&route, &outcome, &outgoing, &deadline, survey.grpc);
            let Some(next) = next.map(Arc::clone) else {
                exchange.read = outgoing.borrow().is_whole();
                let (answer, slot) = match (outcome, kept) {
                    (Err(error), Some(before)) if error.row().side == Side::Local => {
                        route = before.route;
                        exchange.served = before.served;
                        before.answer
                    }
                    (outcome, _) => outcome?,
                };
                return Ok(answer.deliver(self, &route, &deadline, slot));
            };
            route.upstream.metrics.failed_over();
            let served = exchange.served.replace(Arc::clone(&next));
            if let Ok(answer) = outcome {
                kept = Some(Kept {
                    answer,
                    route,
                    served,
                });
            }
            exchange.now = time::now();
            route = next;
        }
    }

    /// Asks one upstream: past its limits, then in one attempt or several.
    async fn ask<'r>(
        &self,
        route: &Arc<Route>,
        survey: &Survey,
        deadline: &Deadline,
        outgoing: &RefCell<Outgoing<'r>>,
        exchange: &mut Exchange,
        kept: &mut Option<Kept>,
    ) -> Result<(Answer, Slot), ProxyError> {
        let upstream = &route.upstream;
        self.token(route, deadline, exchange).await?;
        route.breaker.peek(exchange.now)?;
        let class = route.class(outgoing.borrow().headers());
        let slot = self.slot(route, class, deadline, exchange).await?;

        let now = exchange.now;
        outgoing.borrow_mut().aim(route);
        let hash = route.hash(outgoing.borrow().headers());
        let endpoint = upstream.pick(&[], hash, now);
        let endpoint = endpoint.ok_or(ProxyError::NoEndpoint)?;
        let first = (endpoint, route.breaker.admit(now)?, now);
        upstream.budget.deposit(now);
        if let Some(Kept { answer, .. }) = kept.take() {
            answer.0.discard();
        }
        let call = Call {
            caller: self,
            route,
            survey,
            deadline,
            exchange,
            outgoing,
            hash,
        };
        let answer = match &route.hedge {
            None => retry::attempts(&call, first).await?,
            Some(hedge) if hedge.mode == Mode::Enforce => {
                Box::pin(hedge::hedged(&call, hedge, first)).await?
            }
            Some(hedge) => Box::pin(hedge::observed(&call, hedge, first)).await?,
        };
        Ok((answer, slot))
    }

    /// Takes a token of the rate limit, waiting for it if need be.
    async fn token(
        &self,
        route: &Route,
        deadline: &Deadline,
        exchange: &mut Exchange,
    ) -> Result<(), ProxyError> {
        let Some(limit) = &route.upstream.rate_limit else {
            return Ok(());
        };
        let since = exchange.now;
        let acquired = limit.acquire(deadline.remaining(since), since);
        let reservation =
            acquired.map_err(|retry_after| ProxyError::RateLimited { retry_after })?;
        let Some(reservation) = reservation else {
            return Ok(());
        };
        self.watch.alarm.until(since, reservation.at()).await;
        reservation.spend();
        exchange.now = time::now();
        let waited = exchange.now.saturating_duration_since(since);
        route.upstream.metrics.rate_limit_waited(waited);
        Ok(())
    }

    /// Enters the bulkhead, waiting in its queue if need be.
    async fn slot(
        &self,
        route: &Route,
        class: usize,
        deadline: &Deadline,
        exchange: &mut Exchange,
    ) -> Result<Slot, ProxyError> {
        let upstream = &route.upstream;
        let waiting = match upstream.bulkhead.enter(class) {
            Entry::Slot(slot) => return Ok(slot),
            Entry::Full { adaptive: true } => {
                upstream.metrics.bulkhead_rejected(Refusal::Adaptive);
                return Err(ProxyError::AdaptiveLimit);
            }
            Entry::Full { adaptive: false } => {
                upstream.metrics.bulkhead_rejected(Refusal::Full);
                return Err(ProxyError::BulkheadFull);
            }
            Entry::Wait(waiting) => waiting,
        };
        let since = time::now();
        let due = deadline.bound(since.checked_add(upstream.queue_timeout));
        let waiting = pin!(waiting);
        let waited = self
            .watch
            .alarm
            .race(since, waiting, |now| {
                not_over(due, now, ProxyError::QueueTimeout)
            })
            .await;
        exchange.now = time::now();
        let queued = exchange.now.saturating_duration_since(since);
        exchange.queued = Some(queued);
        upstream.metrics.queued_for(queued);
        if matches!(waited, Err(ProxyError::QueueTimeout)) {
            upstream.metrics.bulkhead_rejected(Refusal::Timeout);
        }
        waited
    }
}

/// An answer that stands until something better comes.
struct Kept {
    answer: (Answer, Slot),
    route: Arc<Route>,
    served: Option<Arc<Route>>,
}

/// The upstream that is asked in place of one that cannot answer: where the request may be sent
/// again and there is time for it. Whoever exceeds a rate limit is told so.
fn failover<'r>(
    route: &'r Route,
    outcome: &Result<(Answer, Slot), ProxyError>,
    outgoing: &RefCell<Outgoing<'_>>,
    deadline: &Deadline,
    is_grpc: bool,
) -> Option<&'r Arc<Route>> {
    let next = route.failover.as_ref()?;
    let outgoing = outgoing.borrow();
    let is_listed = |ended| route.retry.settings.why(ended).is_some();
    let may_repeat = match outcome {
        Err(ProxyError::RateLimited { .. }) => false,
        // As if the upstream had answered.
        Err(error @ (ProxyError::FaultAbort(_) | ProxyError::FaultReset)) => {
            is_listed(error.ended()) && outgoing.is_idempotent()
        }
        Err(error) => error.row().resend != Resend::Never,
        Ok((answer, _)) => is_listed(answer.ended(is_grpc)),
    };
    let in_time = || deadline.past(time::now()).is_none();
    (may_repeat && outgoing.may_go_to(next) && in_time()).then_some(next)
}

/// Whether some of the request's body is still on its way when a local reply is due: then the
/// connection cannot carry another request. What has come with the head is no obstacle.
fn is_unread(request: &mut Request<Upload>, exchange: &Exchange) -> bool {
    if exchange.read {
        false
    } else if request.body().is_empty() {
        // It had none, or it was taken to be sent.
        !exchange.is_uploaded()
    } else if exchange.expects && request.body().gate().is_some() {
        // A caller that asks first may have sent nothing, and reading would tell it to go on.
        true
    } else {
        !request.body_mut().is_all_here()
    }
}

/// When a wait ends by itself or by the request's time, unless it is over.
pub(super) fn not_over(
    due: Option<Due>,
    now: Instant,
    own: ProxyError,
) -> Result<Option<Instant>, ProxyError> {
    match due {
        Some(due) if due.is_over(now) => Err(ProxyError::out_of_time(due.limit, own)),
        due => Ok(due.map(|due| due.at)),
    }
}
