//! The request on its way out, kept for as long as it may have to be sent once more.

use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method, Request};

use super::request;
use super::route::Route;
use crate::pool::Upload;

/// A prepared request and what is known about sending it again.
pub(super) struct Outgoing<'r> {
    request: &'r mut Request<Upload>,
    /// Whether it is in there: not once its only copy was sent.
    here: bool,
    /// Whether doing it twice is as good as once, for the upstream that it goes to now.
    idempotent: bool,
    /// Whether a copy stays here when it is sent.
    kept: bool,
    /// Copies that were sent: each may have been processed.
    sent: u32,
    /// What the caller wrote in `Host`, while the request itself is out.
    host: Option<HeaderValue>,
}

impl<'r> Outgoing<'r> {
    pub(super) fn new(request: &'r mut Request<Upload>) -> Self {
        Self {
            request,
            here: true,
            idempotent: false,
            kept: false,
            sent: 0,
            host: None,
        }
    }

    /// Readies it for the upstream of a route: finds out whether it is idempotent there, by its
    /// method or by a key that the upstream honours, and keeps its body if that has a use.
    pub(super) fn aim(&mut self, route: &Route) {
        self.idempotent = request::is_idempotent(self.request.method());
        if !self.idempotent
            && let Some(key) = &route.idempotency
        {
            let headers = self.request.headers_mut();
            if key.mint && key.is_missing(headers) {
                headers.insert(key.header.clone(), request::idempotency_key());
                route.upstream.metrics.idempotency_key_minted();
            }
            self.idempotent = key.is_in(headers);
        }
        let retry = &route.retry.settings;
        // HTTP/2 says of requests that were sent whole that they were not processed.
        let is_told = route.upstream.pool.hopes_for_http2();
        let may_repeat = self.idempotent || retry.non_idempotent || is_told;
        self.kept = may_repeat && route.repeats;
        if self.kept && !self.request.body().is_empty() {
            self.request.body_mut().keep(retry.max_body_buffer);
        }
    }

    /// Whether doing it twice is as good as once.
    pub(super) const fn is_idempotent(&self) -> bool {
        self.idempotent
    }

    /// Whether doing it twice costs next to nothing as well: then a connection found dead need not
    /// be called a failure.
    pub(super) fn is_harmless(&self) -> bool {
        !self.has_body() && request::is_idempotent(self.request.method())
    }

    /// Whether it may go to the upstream of `route`, whatever became of it elsewhere: if it was
    /// never processed, or is idempotent there as well. A key counts where that upstream honours
    /// the same field.
    pub(super) fn may_go_to(&self, route: &Route) -> bool {
        let keyed = || {
            let key = route.idempotency.as_ref();
            key.is_some_and(|key| key.is_in(self.request.headers()))
        };
        let safe = self.sent == 0 || request::is_idempotent(self.request.method()) || keyed();
        safe && self.is_here()
    }

    /// Whether it can be sent from its beginning.
    pub(super) fn is_here(&self) -> bool {
        self.here && self.request.body().is_intact()
    }

    /// Whether it can be sent from its beginning to its end without the caller.
    pub(super) fn is_whole(&self) -> bool {
        self.here && self.request.body().is_whole()
    }

    pub(super) fn has_body(&self) -> bool {
        !self.request.body().is_empty()
    }

    pub(super) fn method(&self) -> &Method {
        self.request.method()
    }

    pub(super) fn path(&self) -> &str {
        self.request.uri().path()
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    /// Hands it out to be sent; `None` where it is not here any more. A copy stays if it is to be
    /// kept or, where sending it twice does no harm, if the connection is `doubtful`.
    pub(super) fn send(&mut self, doubtful: bool) -> Option<Request<Upload>> {
        if !self.is_here() {
            return None;
        }
        self.sent += 1;
        let keeps = self.kept || (doubtful && self.is_harmless());
        let again = if keeps {
            self.request.body().again()
        } else {
            None
        };
        let Some(body) = again else {
            self.here = false;
            self.host = self.request.headers().get(HOST).cloned();
            return Some(std::mem::take(self.request));
        };
        let mut copy = Request::new(body);
        *copy.method_mut() = self.request.method().clone();
        *copy.uri_mut() = self.request.uri().clone();
        *copy.version_mut() = self.request.version();
        self.request.headers().clone_into(copy.headers_mut());
        // How names were spelled, where that is kept.
        self.request.extensions().clone_into(copy.extensions_mut());
        Some(copy)
    }

    /// The upstream has not processed the copy that was sent last, which may be here again.
    pub(super) fn refused(&mut self, back: Option<Box<Request<Upload>>>) {
        match back {
            Some(back) => self.give_back(*back),
            None => self.sent = self.sent.saturating_sub(1),
        }
    }

    /// Takes it back: it was not processed, and none of its body was sent.
    pub(super) fn give_back(&mut self, unsent: Request<Upload>) {
        self.sent = self.sent.saturating_sub(1);
        if !self.here {
            *self.request = unsent;
            if let Some(host) = self.host.take() {
                self.request.headers_mut().insert(HOST, host);
            }
            self.here = true;
        }
    }
}
