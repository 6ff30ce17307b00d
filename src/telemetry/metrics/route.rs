//! Handles of the side that callers see: listeners and routes.

use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

use super::Metrics;
use super::words::words;
use crate::net::frames::Flood;
use crate::proxy::error::Reason;
use crate::tls;

const CODE_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

impl Metrics {
    /// Resolves the handles of a listener.
    pub fn listener(&self, name: &str) -> ListenerMetrics {
        let families = &*self.families;
        ListenerMetrics {
            open: families.downstream_connections.with_label_values(&[name]),
            accepted: families.downstream_accepted.with_label_values(&[name]),
            rejected: Crowded::ALL.map(|limit| {
                let labels = [name, limit.as_str()];
                families.downstream_rejected.with_label_values(&labels)
            }),
            header_timeouts: families
                .downstream_header_timeouts
                .with_label_values(&[name]),
            handshakes: families
                .downstream_tls_handshakes
                .with_label_values(&[name]),
            handshake_failures: tls::Reason::ALL.map(|reason| {
                let vec = &families.downstream_tls_failures;
                vec.with_label_values(&[name, reason.word()])
            }),
            floods: Flood::ALL.map(|flood| {
                let labels = [name, flood.word()];
                families.http2_floods.with_label_values(&labels)
            }),
            unrouted: self.route(name, "", ""),
        }
    }

    /// Resolves the handles of a route.
    pub fn route(&self, listener: &str, route: &str, upstream: &str) -> RouteMetrics {
        let families = &*self.families;
        let labels = [listener, route, upstream];
        let with = |vec: &IntCounterVec, last: &str| {
            vec.with_label_values(&[listener, route, upstream, last])
        };
        RouteMetrics {
            requests: CODE_CLASSES.map(|class| with(&families.requests, class)),
            local_replies: Reason::ALL.map(|reason| with(&families.local_replies, reason.as_str())),
            aborted: Reason::ALL.map(|reason| with(&families.aborted_responses, reason.as_str())),
            duration: families.request_duration.with_label_values(&labels),
        }
    }
}

/// Handles of one listener.
#[derive(Clone, Debug)]
pub struct ListenerMetrics {
    open: IntGauge,
    accepted: IntCounter,
    rejected: [IntCounter; Crowded::ALL.len()],
    header_timeouts: IntCounter,
    handshakes: IntCounter,
    handshake_failures: [IntCounter; tls::Reason::ALL.len()],
    floods: [IntCounter; Flood::ALL.len()],
    /// Counts requests that no route matched or that were not valid: route and upstream are empty.
    pub unrouted: RouteMetrics,
}

impl ListenerMetrics {
    /// Counts a connection accepted, and open until the guard is dropped.
    pub fn connection_opened(&self) -> OpenConnection {
        self.accepted.inc();
        self.open.inc();
        OpenConnection(self.open.clone())
    }

    /// Counts a connection closed at accept because as many as this limit allows were open.
    pub fn connection_rejected(&self, limit: Crowded) {
        self.rejected[limit as usize].inc();
    }

    /// Counts a connection closed because a request head took too long.
    pub fn header_timed_out(&self) {
        self.header_timeouts.inc();
    }

    /// Counts a TLS handshake that was completed.
    pub fn handshake_completed(&self) {
        self.handshakes.inc();
    }

    /// Counts a TLS handshake that failed.
    pub fn handshake_failed(&self, reason: tls::Reason) {
        self.handshake_failures[reason as usize].inc();
    }

    /// Counts an HTTP/2 connection closed because its client sends too much of this.
    pub fn flooded(&self, flood: Flood) {
        self.floods[flood as usize].inc();
    }
}

words! {
    /// A limit of open connections, named as its key.
    pub Crowded {
        /// Those of the listener.
        Listener = "max_connections",
        /// Those from one address.
        Client = "max_connections_per_client",
    }
}

/// A downstream connection, counted as open while this lives.
#[derive(Debug)]
#[must_use = "the connection counts as closed once this is dropped"]
pub struct OpenConnection(IntGauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Handles of one route.
#[derive(Clone, Debug)]
pub struct RouteMetrics {
    requests: [IntCounter; CODE_CLASSES.len()],
    local_replies: [IntCounter; Reason::ALL.len()],
    aborted: [IntCounter; Reason::ALL.len()],
    duration: Histogram,
}

impl RouteMetrics {
    /// Counts a request at its end: by `status` sent, and `total` from its head received to the end
    /// of the response body.
    pub fn finished(&self, status: u16, total: Duration) {
        self.requests[usize::from((status / 100).clamp(1, 5)) - 1].inc();
        self.duration.observe(total.as_secs_f64());
    }

    /// Counts a local reply, beside [`Self::finished`].
    pub fn local_reply(&self, reason: Reason) {
        self.local_replies[reason.index()].inc();
    }

    /// Counts a response broken off after its head, beside [`Self::finished`].
    pub fn aborted(&self, reason: Reason) {
        self.aborted[reason.index()].inc();
    }
}
