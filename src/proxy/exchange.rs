//! What is remembered of one request until its end: for the log and the counters.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request};

use super::Caller;
use super::error::{ProxyError, Reason};
use super::request::REQUEST_ID;
use super::route::{Destination, Route};
use super::trial::UploadState;
use super::websocket::Extended;
use crate::net::Address;
use crate::pool::Upload;
use crate::telemetry::access_log::Entry;
use crate::time;

/// One request from its head to the end of its response. Dropping it before [`Exchange::end`]
/// means that the caller went away.
pub(super) struct Exchange {
    caller: Rc<Caller>,
    /// When its head was received.
    pub(super) started: Instant,
    /// The last instant that was read on its way: another look at the clock is saved where nothing
    /// was waited for since.
    pub(super) now: Instant,
    pub(super) route: Option<Arc<Route>>,
    /// The host that the caller named, where callers do; held, so that it is not forgotten.
    pub(super) target: Option<Arc<Destination>>,
    pub(super) grpc: bool,
    /// The caller waits to be told before it sends its body.
    pub(super) expects: bool,
    method: Method,
    /// Any success is a tunnel to the caller.
    asks_for_tunnel: bool,
    path: Option<PathAndQuery>,
    request_id: Option<HeaderValue>,
    /// The failover that is asked in place of the route's upstream.
    pub(super) served: Option<Arc<Route>>,
    /// The caller's body was read to its end, whatever became of it.
    pub(super) read: bool,
    /// Some of the request's body has not been read.
    pub(super) unread: bool,
    pub(super) queued: Option<Duration>,
    // What the attempts tell, of which several may run at once: that of the last one stands.
    pub(super) upload: RefCell<Option<Arc<UploadState>>>,
    endpoint: RefCell<Option<Address>>,
    pub(super) attempts: Cell<u32>,
    pub(super) connected: Cell<Option<Duration>>,
    pub(super) first_byte: Cell<Option<Duration>>,
    /// The answer is that of a hedge.
    pub(super) hedged: Cell<bool>,
    pub(super) fault: Cell<Option<&'static str>>,
    pub(super) status: u16,
    pub(super) bytes_out: u64,
    /// Bytes of the caller that passed through a tunnel.
    pub(super) bytes_in: u64,
    reason: Option<Reason>,
    aborted: bool,
    ended: bool,
}

impl Exchange {
    pub(super) fn begin(caller: &Rc<Caller>, request: &Request<Upload>, now: Instant) -> Self {
        let logged = caller.proxy.access_log.is_on();
        caller.proxy.activity.begin();
        Self {
            caller: Rc::clone(caller),
            started: now,
            now,
            route: None,
            target: None,
            grpc: false,
            expects: false,
            method: request.method().clone(),
            asks_for_tunnel: request.method() == Method::CONNECT
                || request.extensions().get::<Extended>().is_some(),
            path: logged
                .then(|| request.uri().path_and_query().cloned())
                .flatten(),
            request_id: None,
            served: None,
            read: false,
            unread: false,
            queued: None,
            upload: RefCell::new(None),
            endpoint: RefCell::new(None),
            attempts: Cell::new(0),
            connected: Cell::new(None),
            first_byte: Cell::new(None),
            hedged: Cell::new(false),
            fault: Cell::new(None),
            status: 0,
            bytes_out: 0,
            bytes_in: 0,
            reason: None,
            aborted: false,
            ended: false,
        }
    }

    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Whether the caller asks for a tunnel: then every reply of ours has to be an error.
    pub(super) const fn asks_for_tunnel(&self) -> bool {
        self.asks_for_tunnel
    }

    /// Notes the id that the request goes on with.
    pub(super) fn identify(&mut self, headers: &http::HeaderMap) {
        if self.path.is_some() {
            self.request_id = headers.get(REQUEST_ID).cloned();
        }
    }

    /// The route by whose rules the request is served: its own, or that of a failover.
    pub(super) const fn serving(&self) -> Option<&Arc<Route>> {
        match &self.served {
            Some(served) => Some(served),
            None => self.route.as_ref(),
        }
    }

    /// An attempt goes to this endpoint.
    pub(super) fn dispatched(&self, endpoint: &Address) {
        self.attempts.set(self.attempts.get() + 1);
        self.endpoint.replace(Some(endpoint.clone()));
    }

    /// It was this endpoint that answered.
    pub(super) fn answered(&self, endpoint: &Address) {
        self.endpoint.replace(Some(endpoint.clone()));
    }

    /// Where the last attempt went.
    pub(super) fn endpoint(&self) -> Option<Address> {
        self.endpoint.borrow().clone()
    }

    /// Whether the caller's body was sent to its end, or there was none to send.
    pub(super) fn is_uploaded(&self) -> bool {
        self.upload
            .borrow()
            .as_ref()
            .is_none_or(|upload| upload.finished())
    }

    /// Whether its answer has no body, whatever its head says (RFC 9110 §6.4.1).
    pub(super) fn is_bodiless(&self) -> bool {
        self.method == Method::HEAD || matches!(self.status, 204 | 304)
    }

    /// Why the caller's body will not end, if it will not.
    pub(super) fn upload_broken(&self) -> Option<ProxyError> {
        let upload = self.upload.borrow();
        upload.as_ref().and_then(|upload| upload.broken())
    }

    /// A local reply takes the place of the upstream's answer.
    pub(super) fn reply(&mut self, status: u16, reason: Reason) {
        self.status = status;
        self.reason = Some(reason);
    }

    /// The response is broken off after its head.
    pub(super) fn abort(&mut self, error: ProxyError) {
        self.reason = Some(error.row().reason);
        self.aborted = true;
    }

    /// Counts and logs it. Later calls do nothing.
    pub(super) fn end(&mut self, now: Instant) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.caller.proxy.activity.end(now);
        let total = now.saturating_duration_since(self.started);
        let unrouted = &self.caller.listener.metrics.unrouted;
        let metrics = self.route.as_ref().and_then(|route| route.metrics.as_ref());
        let metrics = metrics.unwrap_or(unrouted);
        metrics.finished(self.status, total);
        if let Some(reason) = self.reason {
            if self.aborted {
                metrics.aborted(reason);
            } else {
                metrics.local_reply(reason);
            }
        }
        let slow = self.route.as_ref().and_then(|route| route.slow);
        let slow = slow.is_some_and(|slow| total > slow);
        let failed = self.reason.is_some() || self.status >= 500;
        let log = &self.caller.proxy.access_log;
        if log.wants(failed, slow) {
            let endpoint = self.endpoint.borrow();
            log.write(&self.entry(total, endpoint.as_ref()));
        }
    }

    fn entry<'e>(&'e self, total: Duration, endpoint: Option<&'e Address>) -> Entry<'e> {
        let route = self.route.as_deref();
        let answered = self.reason.is_none() || self.aborted;
        let served = self.served.as_ref().filter(|_| answered);
        Entry {
            time: time::unix_now().saturating_sub(total),
            listener: &self.caller.listener.name,
            route: route.map(|route| &*route.name),
            upstream: route.map(|route| &*route.upstream.name),
            host: self.target.as_ref().map(|target| &target.target),
            method: self.method.as_str(),
            path: self.path.as_ref().map_or("*", PathAndQuery::path),
            status: self.status,
            reason: self.reason,
            endpoint,
            attempts: self.attempts.get(),
            served_by: served.map(|route| &*route.upstream.name),
            hedged: self.hedged.get(),
            fault: self.fault.get(),
            request_id: self.request_id.as_ref().and_then(|id| id.to_str().ok()),
            queue: self.queued,
            connect: self.connected.get(),
            first_byte: self.first_byte.get(),
            total,
            bytes_in: self
                .upload
                .borrow()
                .as_ref()
                .map_or(self.bytes_in, |upload| upload.bytes()),
            bytes_out: self.bytes_out,
            aborted: self.aborted,
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // Nobody is there to read a reply; with a head on its way it is an abort.
        let gone = ProxyError::ClientGone.row();
        if self.status == 0 {
            self.reply(gone.status, gone.reason);
        } else if !self.aborted {
            self.abort(ProxyError::ClientGone);
        }
        self.end(time::now());
    }
}
