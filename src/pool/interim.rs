//! Interim responses: they are told of, and the final one is waited for all the same.

use std::sync::Arc;

use http::{Request, StatusCode};

use super::Upload;

/// Told of the status of each interim response (RFC 9110 §15.2) to a request; an extension of it. Must
/// be cheap: the task of the connection calls it.
#[derive(Clone)]
pub struct Interim(Arc<dyn Fn(StatusCode) + Send + Sync>);

impl Interim {
    /// Has `hear` called.
    pub fn new(hear: impl Fn(StatusCode) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hear))
    }

    /// One has come.
    pub(super) fn tell(&self, status: StatusCode) {
        (self.0)(status);
    }

    /// Has it told of what comes over HTTP/1.
    pub(super) fn tell_of_http1(self, request: &mut Request<Upload>) {
        hyper::ext::on_informational(request, move |interim| self.tell(interim.status()));
    }
}
