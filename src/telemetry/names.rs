//! Every metric and label name, once.
//!
//! To add a metric: add its family here, its handle in [`super::metrics`] (or its reading in
//! `gauges`) and its row in `docs/metrics.md`; tests hold the three together. Names begin with
//! `outrigger_`, speak in base units and end in `_total` if they count. Label values come from the
//! configuration, from addresses it resolves to, or from an enum: never from a request.

/// Name of the listener that took the request.
pub const LISTENER: &str = "listener";
/// Name of the matched route; empty where none matched, or where a breaker is the upstream's own.
pub const ROUTE: &str = "route";
/// Name of the upstream; empty where no route matched.
pub const UPSTREAM: &str = "upstream";
/// Address of an endpoint, on gauges only: the set of endpoints changes while we run.
pub const ENDPOINT: &str = "endpoint";
/// Name of a class of requests, from the configuration.
pub const CLASS: &str = "class";
/// `1xx` to `5xx`.
pub const CODE_CLASS: &str = "code_class";
/// Stable word for why something was refused, broken off or closed.
pub const REASON: &str = "reason";
/// State of a breaker or of a connection.
pub const STATE: &str = "state";
/// What a policy learnt from a call, or did to it.
pub const VERDICT: &str = "verdict";
/// Why a breaker changed its state, or an endpoint was ejected.
pub const CAUSE: &str = "cause";
/// What an injected fault does.
pub const ACTION: &str = "action";
/// Which way bytes went.
pub const DIRECTION: &str = "direction";
/// The state left.
pub const FROM: &str = "from";
/// The state entered.
pub const TO: &str = "to";
/// What came of something that was tried.
pub const RESULT: &str = "result";
/// Version of the program, on the build info alone.
pub const VERSION: &str = "version";

/// Upper bounds of every duration histogram, seconds: a local hop takes well under a millisecond
/// and no sensible timeout is longer than a minute.
pub const DURATION_BUCKETS: [f64; 16] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];

/// What a family measures with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts durations by [`DURATION_BUCKETS`].
    Histogram,
}

impl Kind {
    /// The word of the exposition format.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric with its labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Its full name.
    pub name: &'static str,
    /// What it measures with.
    pub kind: Kind,
    /// Its labels, in the order in which values are given.
    pub labels: &'static [&'static str],
    /// Its `# HELP` line.
    pub help: &'static str,
}

macro_rules! families {
    ($($constant:ident = $kind:ident $name:literal $labels:expr, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $constant: Family = Family {
                name: $name,
                kind: Kind::$kind,
                labels: &$labels,
                help: $help,
            };
        )*
        /// Every family, in the order of the manual.
        pub const ALL: &[Family] = &[$($constant),*];
    };
}

families! {
    REQUESTS = Counter "outrigger_requests_total" [LISTENER, ROUTE, UPSTREAM, CODE_CLASS],
        "Requests ended, by class of the status sent, local replies included.";
    LOCAL_REPLIES = Counter "outrigger_local_replies_total" [LISTENER, ROUTE, UPSTREAM, REASON],
        "Requests that got a reply of ours instead of the upstream's, or none as nobody was there to read it.";
    ABORTED_RESPONSES = Counter "outrigger_aborted_responses_total" [LISTENER, ROUTE, UPSTREAM, REASON],
        "Responses broken off after their head was sent.";
    REQUEST_DURATION = Histogram "outrigger_request_duration_seconds" [LISTENER, ROUTE, UPSTREAM],
        "Request head received to end of the response body.";

    ATTEMPTS = Counter "outrigger_attempts_total" [UPSTREAM, VERDICT],
        "Attempts, by what they told about the upstream.";
    ATTEMPT_DURATION = Histogram "outrigger_attempt_duration_seconds" [UPSTREAM],
        "Dispatch of an attempt to its response head or error, on the attempt clock.";
    RESENDS = Counter "outrigger_transparent_resends_total" [UPSTREAM],
        "Attempts sent once more because a reused connection had died.";

    RETRIES = Counter "outrigger_retries_total" [UPSTREAM, REASON],
        "Retries sent, by the outcome that each follows.";
    RETRIES_DENIED = Counter "outrigger_retries_denied_total" [UPSTREAM, REASON],
        "Outcomes that called for a retry and were delivered all the same.";
    WOULD_RETRY = Counter "outrigger_would_retry_total" [UPSTREAM],
        "Retries that observe mode did not send.";
    RETRY_BUDGET_BALANCE = Gauge "outrigger_retry_budget_balance" [UPSTREAM],
        "Retries and hedges that the budget still allows; below 1 it allows none, and it may be negative.";
    IDEMPOTENCY_KEYS = Counter "outrigger_idempotency_keys_minted_total" [UPSTREAM],
        "Requests that were given an idempotency key.";
    HEDGES = Counter "outrigger_hedges_total" [UPSTREAM],
        "Hedges sent.";
    HEDGES_WON = Counter "outrigger_hedges_won_total" [UPSTREAM],
        "Hedges whose answer came first.";
    HEDGES_SKIPPED = Counter "outrigger_hedges_skipped_total" [UPSTREAM, REASON],
        "Hedges that were due and not sent.";
    WOULD_HEDGE = Counter "outrigger_would_hedge_total" [UPSTREAM],
        "Hedges that observe mode did not send.";
    FAILOVERS = Counter "outrigger_failovers_total" [UPSTREAM],
        "Requests that this upstream could not answer and that went to its failover.";

    TUNNELS = Counter "outrigger_tunnels_total" [UPSTREAM],
        "Connections that became tunnels: upgrades, CONNECT and TCP.";
    TUNNEL_BYTES = Counter "outrigger_tunnel_bytes_total" [UPSTREAM, DIRECTION],
        "Bytes that passed through tunnels, towards the upstream and towards the caller.";

    BULKHEAD_IN_FLIGHT = Gauge "outrigger_bulkhead_in_flight" [UPSTREAM],
        "Requests that hold a slot.";
    BULKHEAD_MAX_REQUESTS = Gauge "outrigger_bulkhead_max_requests" [UPSTREAM],
        "Slots.";
    BULKHEAD_EFFECTIVE = Gauge "outrigger_bulkhead_effective_max_requests" [UPSTREAM],
        "Slots that may be taken now: max_requests, or the adaptive limit below it.";
    BULKHEAD_QUEUED = Gauge "outrigger_bulkhead_queued" [UPSTREAM],
        "Requests that wait for a slot.";
    BULKHEAD_MAX_QUEUED = Gauge "outrigger_bulkhead_max_queued" [UPSTREAM],
        "Queue places.";
    BULKHEAD_REJECTED = Counter "outrigger_bulkhead_rejected_total" [UPSTREAM, REASON],
        "Requests refused by the bulkhead.";
    BULKHEAD_WOULD_QUEUE = Counter "outrigger_bulkhead_would_queue_total" [UPSTREAM],
        "Requests let pass in observe mode that would have waited for a slot.";
    BULKHEAD_WOULD_REJECT = Counter "outrigger_bulkhead_would_reject_total" [UPSTREAM],
        "Requests let pass in observe mode that the bulkhead would have refused at once.";
    QUEUE_DURATION = Histogram "outrigger_queue_duration_seconds" [UPSTREAM],
        "Wait for a slot of the bulkhead, of requests that had to wait.";
    CLASS_RESERVED = Gauge "outrigger_bulkhead_class_reserved" [UPSTREAM, CLASS],
        "Slots reserved for a class.";
    CLASS_IN_FLIGHT = Gauge "outrigger_bulkhead_class_in_flight" [UPSTREAM, CLASS],
        "Requests of a class that hold a slot.";
    CLASS_QUEUED = Gauge "outrigger_bulkhead_class_queued" [UPSTREAM, CLASS],
        "Requests of a class that wait for a slot.";
    CLASS_REJECTED = Counter "outrigger_bulkhead_class_rejected_total" [UPSTREAM, CLASS],
        "Requests of a class refused by the bulkhead.";
    WOULD_REORDER = Counter "outrigger_bulkhead_would_reorder_total" [UPSTREAM],
        "Slots that classes in observe mode would have given to another waiter.";

    ADAPTIVE_LIMIT = Gauge "outrigger_adaptive_limit" [UPSTREAM],
        "Requests in flight that the adaptive limit has found right.";
    ADAPTIVE_MIN = Gauge "outrigger_adaptive_min" [UPSTREAM],
        "The least that the adaptive limit may be.";
    ADAPTIVE_BASELINE = Gauge "outrigger_adaptive_baseline_seconds" [UPSTREAM],
        "Long-term response time that the adaptive limit compares with, once known.";
    ADAPTIVE_LATENCY = Gauge "outrigger_adaptive_latency_seconds" [UPSTREAM],
        "Mean response time of the last window of the adaptive limit, once known.";
    ADAPTIVE_SAMPLES = Counter "outrigger_adaptive_samples_total" [UPSTREAM],
        "Attempts that the adaptive limit learnt from.";
    ADAPTIVE_DROPS = Counter "outrigger_adaptive_drops_total" [UPSTREAM],
        "Those of them that showed overload: timed out, or refused by the upstream.";

    RATE_LIMIT_TOKENS = Gauge "outrigger_rate_limit_tokens" [UPSTREAM],
        "Requests that may come at once; negative while requests wait for theirs.";
    RATE_LIMIT_REJECTED = Counter "outrigger_rate_limit_rejected_total" [UPSTREAM],
        "Requests refused by the rate limit.";
    RATE_LIMIT_DELAYED = Counter "outrigger_rate_limit_delayed_total" [UPSTREAM],
        "Requests that had to wait for their token.";
    RATE_LIMIT_WOULD_REJECT = Counter "outrigger_rate_limit_would_reject_total" [UPSTREAM],
        "Requests let pass in observe mode that the rate limit would have refused.";
    RATE_LIMIT_WAIT = Histogram "outrigger_rate_limit_wait_seconds" [UPSTREAM],
        "Wait for a token of the rate limit, of requests that had to wait.";

    POOL_CONNECTIONS = Gauge "outrigger_pool_connections" [UPSTREAM, STATE],
        "Open upstream connections.";
    POOL_MAX_CONNECTIONS = Gauge "outrigger_pool_max_connections" [UPSTREAM],
        "Cap of open upstream connections.";
    POOL_OPENED = Counter "outrigger_pool_connections_opened_total" [UPSTREAM],
        "Upstream connections opened.";
    POOL_REUSED = Counter "outrigger_pool_connections_reused_total" [UPSTREAM],
        "Checkouts that got an idle connection.";
    POOL_CLOSED = Counter "outrigger_pool_connections_closed_total" [UPSTREAM, REASON],
        "Upstream connections closed.";
    CONNECT_DURATION = Histogram "outrigger_connect_duration_seconds" [UPSTREAM],
        "Dial to usable connection.";

    BREAKER_STATE = Gauge "outrigger_breaker_state" [UPSTREAM, ROUTE, STATE],
        "1 for the state that the breaker is in, 0 for the others.";
    BREAKER_TRANSITIONS = Counter "outrigger_breaker_transitions_total" [UPSTREAM, ROUTE, FROM, TO, CAUSE],
        "Changes of state.";
    BREAKER_CALLS = Counter "outrigger_breaker_calls_total" [UPSTREAM, ROUTE, VERDICT],
        "Calls, by what the breaker learnt from them or did to them.";
    BREAKER_SLOW_CALLS = Counter "outrigger_breaker_slow_calls_total" [UPSTREAM, ROUTE],
        "Recorded calls that took longer than slow_call.";
    BREAKER_FAILURE_RATE = Gauge "outrigger_breaker_failure_rate" [UPSTREAM, ROUTE],
        "Share of failures in the window, 0-1; absent below min_calls.";
    BREAKER_SLOW_RATE = Gauge "outrigger_breaker_slow_rate" [UPSTREAM, ROUTE],
        "Share of slow calls in the window, 0-1; absent below min_calls.";
    BREAKER_WINDOW_CALLS = Gauge "outrigger_breaker_window_calls" [UPSTREAM, ROUTE],
        "Recorded calls in the window.";
    BREAKER_OVERDUE = Gauge "outrigger_breaker_overdue_calls" [UPSTREAM, ROUTE],
        "Running calls past slow_call without a response head.";
    BREAKER_OPENS = Gauge "outrigger_breaker_consecutive_opens" [UPSTREAM, ROUTE],
        "Openings since the breaker was last closed.";
    BREAKER_WOULD_TRIP = Counter "outrigger_breaker_would_trip_total" [UPSTREAM, ROUTE],
        "Times that the breaker would have tripped while an operator held it to counting.";

    DOWNSTREAM_CONNECTIONS = Gauge "outrigger_downstream_connections" [LISTENER],
        "Open client connections.";
    DOWNSTREAM_ACCEPTED = Counter "outrigger_downstream_connections_accepted_total" [LISTENER],
        "Client connections accepted and served.";
    DOWNSTREAM_REJECTED = Counter "outrigger_downstream_connections_rejected_total" [LISTENER, REASON],
        "Client connections closed at accept, by the limit that was reached.";
    DOWNSTREAM_HEADER_TIMEOUTS = Counter "outrigger_downstream_header_timeouts_total" [LISTENER],
        "Client connections closed because a request head took too long.";
    HTTP2_FLOODS = Counter "outrigger_http2_floods_total" [LISTENER, REASON],
        "HTTP/2 connections of clients closed because of what they sent too much of.";
    UPSTREAM_HTTP2_FLOODS = Counter "outrigger_upstream_http2_floods_total" [UPSTREAM, REASON],
        "HTTP/2 connections to upstreams closed because of what those sent too much of.";

    DOWNSTREAM_TLS_HANDSHAKES = Counter "outrigger_downstream_tls_handshakes_total" [LISTENER],
        "TLS handshakes of callers that were completed.";
    DOWNSTREAM_TLS_FAILURES = Counter "outrigger_downstream_tls_failures_total" [LISTENER, REASON],
        "TLS handshakes of callers that failed.";
    UPSTREAM_TLS_FAILURES = Counter "outrigger_upstream_tls_failures_total" [UPSTREAM, REASON],
        "TLS connections to an upstream that failed.";
    TLS_EXPIRY = Gauge "outrigger_tls_certificate_expiry_timestamp_seconds" [LISTENER, UPSTREAM],
        "End of our certificate in use, seconds since the Unix epoch.";
    TLS_RELOADS = Counter "outrigger_tls_reloads_total" [LISTENER, UPSTREAM, RESULT],
        "Changes of certificate, key or roots that were noticed.";

    FORWARD_TARGETS = Gauge "outrigger_forward_targets" [UPSTREAM, STATE],
        "Targets that callers have named and that are kept, by the state of their breaker.";
    ENDPOINTS = Gauge "outrigger_endpoints" [UPSTREAM],
        "Known addresses.";
    ENDPOINT_IN_FLIGHT = Gauge "outrigger_endpoint_in_flight" [UPSTREAM, ENDPOINT],
        "Attempts in flight to one address.";
    ENDPOINT_LATENCY = Gauge "outrigger_endpoint_latency_seconds" [UPSTREAM, ENDPOINT],
        "Response time of one address, averaged over the last seconds, where it is measured.";
    ENDPOINT_EJECTED = Gauge "outrigger_endpoint_ejected" [UPSTREAM, ENDPOINT],
        "1 while the address is ejected, else 0.";
    ENDPOINTS_EJECTED = Gauge "outrigger_endpoints_ejected" [UPSTREAM],
        "Addresses ejected now.";
    EJECTIONS = Counter "outrigger_ejections_total" [UPSTREAM, CAUSE],
        "Ejections.";
    WOULD_EJECT = Counter "outrigger_would_eject_total" [UPSTREAM],
        "Ejections that observe mode did not carry out.";
    EJECTION_PANICS = Counter "outrigger_ejection_panics_total" [UPSTREAM],
        "Times that all addresses were ejected and picked from all the same.";
    DNS_RESOLUTIONS = Counter "outrigger_dns_resolutions_total" [UPSTREAM],
        "Resolutions of endpoint names, failed ones included.";
    DNS_FAILURES = Counter "outrigger_dns_failures_total" [UPSTREAM, REASON],
        "Resolutions that gave no address; the addresses known before stay in use.";

    FAULTS_ACTIVE = Gauge "outrigger_faults_active" [UPSTREAM, ACTION],
        "Faults that are being injected on purpose.";
    FAULTS = Counter "outrigger_faults_injected_total" [UPSTREAM, ACTION],
        "Attempts to which a fault was done on purpose.";

    PANICS = Counter "outrigger_panics_total" [],
        "Tasks that panicked.";
    ACCESS_LOG_LINES = Counter "outrigger_access_log_lines_total" [],
        "Access log lines accepted for writing.";
    ACCESS_LOG_DROPPED = Counter "outrigger_access_log_dropped_total" [],
        "Access log lines lost because the queue was full or the sink failed.";
    READY = Gauge "outrigger_ready" [],
        "1 while /readyz says ready, else 0.";
    WORKERS = Gauge "outrigger_workers" [],
        "Worker threads.";
    CONFIG_GENERATION = Gauge "outrigger_config_generation" [],
        "Number of the configuration in use; the one read at start is 1.";
    BUILD_INFO = Gauge "outrigger_build_info" [VERSION],
        "Always 1; says what is running.";
}

#[cfg(test)]
mod tests;
