//! The request on its way out, kept for as long as it may have to be sent once more.

use http::{HeaderMap, Method, Request};

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
}

impl<'r> Outgoing<'r> {
    pub(super) fn new(request: &'r mut Request<Upload>) -> Self {
        Self {
            request,
            here: true,
            idempotent: false,
            kept: false,
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
            if key.mint && !headers.contains_key(&key.header) {
                headers.insert(key.header.clone(), request::idempotency_key());
                route.upstream.metrics.idempotency_key_minted();
            }
            self.idempotent = headers.contains_key(&key.header);
        }
        let retry = &route.retry.settings;
        let may_repeat = self.idempotent || retry.non_idempotent;
        self.kept = may_repeat && route.repeats;
        if self.kept && !self.request.body().is_empty() {
            self.request.body_mut().keep(retry.max_body_buffer);
        }
    }

    /// Whether doing it twice is as good as once.
    pub(super) const fn is_idempotent(&self) -> bool {
        self.idempotent
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

    /// The request itself, to be readied for its connection.
    pub(super) fn request_mut(&mut self) -> &mut Request<Upload> {
        self.request
    }

    /// Hands it out to be sent. A copy stays if it is to be kept or, where sending it twice is as
    /// good as once, if the connection is `doubtful`.
    pub(super) fn send(&mut self, doubtful: bool) -> Request<Upload> {
        let keeps = self.kept || (doubtful && self.idempotent);
        let again = if keeps {
            self.request.body().again()
        } else {
            None
        };
        let Some(body) = again else {
            self.here = false;
            return std::mem::take(self.request);
        };
        let mut copy = Request::new(body);
        *copy.method_mut() = self.request.method().clone();
        *copy.uri_mut() = self.request.uri().clone();
        *copy.version_mut() = self.request.version();
        self.request.headers().clone_into(copy.headers_mut());
        copy
    }

    /// Takes it back: no byte of it was sent.
    pub(super) fn give_back(&mut self, unsent: Request<Upload>) {
        if !self.here {
            *self.request = unsent;
            self.here = true;
        }
    }
}
