//! One request from its head to its response: the order of the policies.

use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::header::EXPECT;
use http::{Request, Response};

use super::attempt::{self, Answer};
use super::body::ResponseBody;
use super::error::ProxyError;
use super::exchange::Exchange;
use super::route::Route;
use super::{Caller, reply, request};
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
                    exchange.unread = is_unread(&mut request, &exchange);
                    reply::local(error, exchange)
                }
            })
        }
    }

    async fn forward(
        &self,
        request: &mut Request<Upload>,
        exchange: &mut Exchange,
    ) -> Result<Answer, ProxyError> {
        let now = exchange.started;

        let survey = request::survey(request, self.listener.downstream.max_header_bytes)?;
        exchange.grpc = survey.grpc;
        let routes = self.listener.routes.load();
        let route = routes.find(request.method(), request.uri(), request.headers());
        let route = Arc::clone(route.ok_or(ProxyError::NoRoute)?);
        drop(routes);
        exchange.route = Some(Arc::clone(&route));

        let timeouts = &route.timeouts;
        let client_time = request::client_time(&survey, request.headers(), &route);
        let deadline = Deadline::new(now, timeouts.request, timeouts.total, client_time);
        if let Some(limit) = deadline.past(now) {
            return Err(ProxyError::out_of_time(limit, ProxyError::Deadline));
        }

        route.breaker.peek(now)?;
        let slot = self.slot(&route, &deadline, exchange).await?;

        request::prepare(request, &survey);
        exchange.identify(request.headers());
        attempt::attempt(self, &route, request, &survey, &deadline, slot, exchange).await
    }

    /// Enters the bulkhead, waiting in its queue if need be.
    async fn slot(
        &self,
        route: &Arc<Route>,
        deadline: &Deadline,
        exchange: &mut Exchange,
    ) -> Result<Slot, ProxyError> {
        let upstream = &route.upstream;
        let waiting = match upstream.bulkhead.enter() {
            Entry::Slot(slot) => return Ok(slot),
            Entry::Full => {
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
        let queued = time::now().saturating_duration_since(since);
        exchange.queued = Some(queued);
        upstream.metrics.queued_for(queued);
        if matches!(waited, Err(ProxyError::QueueTimeout)) {
            upstream.metrics.bulkhead_rejected(Refusal::Timeout);
        }
        waited
    }
}

/// Whether some of the request's body is still on its way when a local reply is due: then the
/// connection cannot carry another request. What has come with the head is no obstacle.
fn is_unread(request: &mut Request<Upload>, exchange: &Exchange) -> bool {
    if request.body().is_empty() {
        // It had none, or it was taken to be sent.
        exchange
            .upload
            .as_ref()
            .is_some_and(|upload| !upload.finished())
    } else if request.headers().contains_key(EXPECT) {
        // A caller that asks first has sent nothing, and reading would tell it to go on.
        true
    } else {
        !request.body_mut().is_all_here()
    }
}

fn not_over(
    due: Option<Due>,
    now: Instant,
    own: ProxyError,
) -> Result<Option<Instant>, ProxyError> {
    match due {
        Some(due) if due.is_over(now) => Err(ProxyError::out_of_time(due.limit, own)),
        due => Ok(due.map(|due| due.at)),
    }
}
