//! The policies of upstreams and routes: mostly the settings of a machine and whether it acts.

use std::sync::Arc;
use std::time::Duration;

use crate::resilience::{adaptive, breaker, classify, ejection, fault, hedge, rate_limit, retry};

/// Whether a policy acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It decides.
    Enforce,
    /// It decides and counts what it would have done; the request passes.
    Observe,
    /// It is not consulted.
    Off,
}

/// `bulkhead` table.
#[derive(Clone, Debug, PartialEq)]
pub struct Bulkhead {
    /// Whether `max_requests` and the queue act. The connection cap always does.
    pub mode: Mode,
    /// Requests in flight, process-wide, until the end of the response body.
    pub max_requests: usize,
    /// Requests waiting for a slot; beyond it they are refused at once.
    pub max_queued: usize,
    /// Longest wait for a slot, and then for a connection.
    pub queue_timeout: Duration,
    /// Open upstream connections, process-wide.
    pub max_connections: usize,
    /// Idle upstream connections kept, process-wide.
    pub max_idle: usize,
    /// An idle connection is closed after this long.
    pub idle_timeout: Duration,
    /// A connection is not reused past this age (10 % jitter, shortening); `None` is `"off"`.
    pub max_age: Option<Duration>,
}

/// `timeouts` table. `None` is `"off"`, and what is of no use to a TCP upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeouts {
    /// Dial to usable connection.
    pub connect: Option<Duration>,
    /// Dispatch of an attempt to its response head, on the attempt clock; `connect` for a TCP
    /// upstream.
    pub first_byte: Option<Duration>,
    /// Request head received to response head sent: queue and all attempts.
    pub request: Option<Duration>,
    /// No byte in either direction while a body flows.
    pub stream_idle: Option<Duration>,
    /// No byte in either direction of an upgraded connection, a CONNECT or a TCP upstream.
    pub tunnel_idle: Option<Duration>,
    /// Request head received to end of response body; expiry aborts.
    pub total: Option<Duration>,
    /// Lower-case name of the field that carries the caller's remaining time in milliseconds.
    pub deadline_header: Option<String>,
}

/// `breaker` table.
#[derive(Clone, Debug, PartialEq)]
pub struct Breaker {
    /// Whether it acts.
    pub mode: Mode,
    /// The machine's settings (`slow_call` is resolved: half of `first_byte` unless given).
    pub settings: breaker::Settings,
    /// Which responses are failures and which are no evidence.
    pub rules: classify::Rules,
    /// A body that still flows this long after its head is a success.
    pub settle_after: Duration,
}

/// `fallback` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// Status, 200-599.
    pub status: u16,
    /// Body, sent as it is.
    pub body: String,
    /// `content-type` of the body.
    pub content_type: String,
}

/// `retry` table.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// Whether it acts: never beside a hedge that is enforced. With `Off` the settings still say
    /// what a hedge may follow up, and what is kept for it.
    pub mode: Mode,
    /// Which outcomes, how often, after how long.
    pub settings: retry::Settings,
    /// Whether the upstream honours idempotency keys, so that a keyed request is idempotent.
    pub honours_idempotency_key: bool,
    /// Whether requests that need a key and have none are given one.
    pub mint_idempotency_key: bool,
    /// Lower-case name of the field that carries the key.
    pub idempotency_key_header: String,
}

/// `hedge` table; there is none in mode `off`.
#[derive(Clone, Debug, PartialEq)]
pub struct Hedge {
    /// Whether it acts.
    pub mode: Mode,
    /// When and how many.
    pub settings: hedge::Settings,
}

/// `rate_limit` table; there is none in mode `off`.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimit {
    /// Whether it acts.
    pub mode: Mode,
    /// The bucket.
    pub settings: rate_limit::Settings,
}

/// `priority` table; there is none in mode `off`.
#[derive(Clone, Debug, PartialEq)]
pub struct Priority {
    /// Whether it acts.
    pub mode: Mode,
    /// Lower-case name of the field that names the class; `None` if only routes do.
    pub header: Option<String>,
    /// The classes, in the order of the file; at least one.
    pub classes: Vec<Class>,
    /// Class of requests that name none, or one that there is not: index into `classes`.
    pub default: usize,
}

/// One class of requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// Its name, as the field and routes give it.
    pub name: Arc<str>,
    /// Reserved share of slots and queue places, thousandths of a percent. All together are at
    /// most the whole.
    pub share: u32,
}

/// `adaptive` table; there is none in mode `off`.
#[derive(Clone, Debug, PartialEq)]
pub struct Adaptive {
    /// Whether it acts; `Observe` unless the file says otherwise.
    pub mode: Mode,
    /// How the limit follows.
    pub settings: adaptive::Settings,
}

/// `ejection` table.
#[derive(Clone, Debug, PartialEq)]
pub struct Ejection {
    /// Whether it acts.
    pub mode: Mode,
    /// When and for how long.
    pub settings: ejection::Settings,
}

/// An item of `faults`.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// What and to which requests.
    pub settings: fault::Settings,
    /// When it ends, since the Unix epoch.
    pub until: Duration,
}
