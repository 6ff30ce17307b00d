//! The validated configuration: what is valid, resolved and cross-checked.
//!
//! Built by [`super::load`] alone; nothing here is ever deserialised. Everyone may read it. Every
//! inheritance (`defaults` → upstream → route) has already happened: a value here is the value
//! that applies.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::balance;
use crate::net::Address;
use crate::resilience::{
    adaptive, breaker, budget, classify, ejection, fault, hedge, rate_limit, retry,
};

/// The whole of one configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Threads and shutdown.
    pub runtime: Runtime,
    /// Where the admin listener binds; `None` is `listen = "off"`.
    pub admin: Option<Address>,
    /// Where `/metrics`, `/livez` and `/readyz` are served; `None` is `listen = "off"`.
    pub metrics: Option<Address>,
    /// The process log.
    pub log: Log,
    /// One line a request.
    pub access_log: AccessLog,
    /// Resolution of endpoint names.
    pub dns: Dns,
    /// Bound sockets with their routes; the `listen` shorthand of an upstream is one of them.
    pub listeners: Vec<Listener>,
    /// Named upstreams, in the order of the file.
    pub upstreams: Vec<Upstream>,
}

/// `[runtime]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Runtime {
    /// Number of worker threads; `None` is `"auto"`.
    pub workers: Option<NonZeroUsize>,
    /// A draining process ends once no request was in flight for this long.
    pub drain_quiet: Duration,
    /// A draining process ends after this time at the latest.
    pub drain_grace: Duration,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// A `tracing-subscriber` filter such as `info` or `info,outrigger::pool=debug`.
    pub level: String,
    /// How a line is written to standard error.
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Plain text for people.
    Text,
}

/// `[access_log]`.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessLog {
    /// Which requests are written.
    pub mode: AccessLogMode,
    /// Share of fast successes written in `sampled` mode, 0-1.
    pub sample_ratio: f64,
}

/// Which requests the access log writes. Slow and failed ones are in all but `Off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLogMode {
    /// None.
    Off,
    /// Those that failed (5xx, local replies, aborts) or were slow.
    Errors,
    /// As `Errors`, and a share of the rest.
    Sampled,
    /// All.
    All,
}

/// `[discovery.dns]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Dns {
    /// Servers to ask; empty means those of the system's resolv.conf.
    pub servers: Vec<SocketAddr>,
    /// Answers are kept at least this long, whatever their TTL.
    pub min_ttl: Duration,
    /// Answers are kept at most this long, whatever their TTL.
    pub max_ttl: Duration,
    /// One query may take this long.
    pub timeout: Duration,
}

/// `[[listeners]]`, or the `listen` of an upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Label in metrics and logs; unique.
    pub name: Arc<str>,
    /// Where it binds.
    pub address: Address,
    /// What is spoken on it. TCP where its one route leads to a TCP upstream.
    pub protocol: Protocol,
    /// Whether it is encrypted.
    pub tls: Option<ListenerTls>,
    /// What its clients may do.
    pub downstream: Downstream,
    /// Tried in order; the first that matches wins.
    pub routes: Vec<Route>,
}

/// `[defaults.downstream]` and `downstream` of a listener.
#[derive(Clone, Debug, PartialEq)]
pub struct Downstream {
    /// From the first byte of a request head to its last.
    pub header_timeout: Duration,
    /// A keep-alive connection without a request is closed after this long.
    pub idle_timeout: Duration,
    /// Size of a request head, bytes (8 KiB at least).
    pub max_header_bytes: usize,
    /// Number of fields in a request head.
    pub max_headers: usize,
    /// Connections open at once on this listener; more are closed at accept.
    pub max_connections: usize,
    /// Whether a caller that half-closes is still answered.
    pub half_close: bool,
    /// Whether names of fields go on between peers of HTTP/1 as they were spelled.
    pub keep_header_case: bool,
    /// Connections open at once from one client address; `None` is `"off"`.
    pub max_connections_per_client: Option<usize>,
    /// Length of the request target, bytes; longer ones are answered with 414.
    pub max_target_bytes: usize,
    /// Least rate of a request body, bytes per second over any ten of them; `None` is `"off"`.
    pub min_body_rate: Option<u64>,
    /// Protocols that a caller may upgrade to, lower case.
    pub upgrades: Vec<String>,
    /// HTTP/2 connections of callers.
    pub http2: Http2,
}

#[cfg(test)]
impl Downstream {
    /// Wide limits.
    pub(crate) fn for_tests() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            max_header_bytes: 65536,
            max_headers: 100,
            max_connections: 100,
            half_close: false,
            keep_header_case: false,
            max_connections_per_client: None,
            max_target_bytes: 8192,
            min_body_rate: None,
            upgrades: Vec::new(),
            http2: Http2 {
                max_streams: 100,
                stream_window: 65535,
                connection_window: 65535,
                ping_interval: None,
                ping_timeout: Duration::from_secs(10),
            },
        }
    }
}

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// By TLS, what ALPN agrees on. Without, what the caller's first bytes say on a listener, and
    /// HTTP/1.1 to an upstream.
    Auto,
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 alone, without TLS by prior knowledge.
    Http2,
    /// Bytes.
    Tcp,
}

/// `http2` table of a listener's `downstream` and of an upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct Http2 {
    /// Streams open at once on one connection.
    pub max_streams: u32,
    /// Bytes that the peer may send ahead on one stream.
    pub stream_window: u32,
    /// Bytes that the peer may send ahead on all streams of a connection.
    pub connection_window: u32,
    /// A connection that was silent for this long is asked for a sign of life; `None` is `"off"`.
    pub ping_interval: Option<Duration>,
    /// One that gives no sign within this time is closed.
    pub ping_timeout: Duration,
}

/// `tls` table of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// File with the certificate chain, PEM.
    pub cert: PathBuf,
    /// File with its private key, PEM.
    pub key: PathBuf,
    /// File with the roots that a caller's certificate must lead to, PEM; `None`: none is asked for.
    pub client_ca: Option<PathBuf>,
    /// Oldest version that is spoken.
    pub min_version: TlsVersion,
}

/// `tls` table of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// File with the roots to trust, PEM; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// Name to ask for and to check; `None`: that of the endpoint.
    pub server_name: Option<String>,
    /// File with our certificate chain, PEM.
    pub cert: Option<PathBuf>,
    /// File with its private key, PEM. Given where `cert` is, and not otherwise.
    pub key: Option<PathBuf>,
    /// Oldest version that is spoken.
    pub min_version: TlsVersion,
    /// SHA-256 of the public keys of which the upstream must have one; empty: any.
    pub pins: Vec<[u8; 32]>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// `forwarding` table: what an upstream is told about the way that a request came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forwarding {
    /// `Via` (RFC 9110 §7.6.3).
    pub via: bool,
    /// `Forwarded` (RFC 7239).
    pub forwarded: bool,
    /// `X-Forwarded-For`, `-Proto` and `-Host`.
    pub x_forwarded: bool,
}

/// `forward` table: the upstream is whatever host the caller names.
#[derive(Clone, Debug, PartialEq)]
pub struct Forward {
    /// Targets that may be reached, as host patterns with ports.
    pub allow: Vec<String>,
    /// Networks and addresses that may be reached although they are link-local, loopback or those
    /// of a metadata service.
    pub allow_addresses: Vec<String>,
    /// Targets that are kept at once, each with its own bulkhead, breaker and connections.
    pub max_targets: usize,
    /// A target that nobody asked for is forgotten after this long.
    pub idle_timeout: Duration,
}

/// One match rule and where it leads.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Label in metrics and logs; unique in its listener.
    pub name: Arc<str>,
    /// Matches the host (without port, lower case, IPv6 in brackets); `*.example.com` matches one
    /// or more labels in place of the star.
    pub host: Option<String>,
    /// Matches whole path segments: `/v2` matches `/v2` and `/v2/x`, not `/v20`. Begins with a
    /// slash and does not end with one.
    pub path_prefix: Option<String>,
    /// Matches these methods; empty matches any.
    pub methods: Vec<String>,
    /// Index into [`Config::upstreams`].
    pub upstream: usize,
    /// Timeouts that apply here.
    pub timeouts: Timeouts,
    /// Own breaker, where the route has `timeouts` or `breaker`; else the upstream's is shared.
    pub breaker: Option<Breaker>,
    /// Retries that apply here.
    pub retry: Retry,
    /// Hedges that apply here, if any; those that are enforced take the place of retries.
    pub hedge: Option<Hedge>,
    /// Class of its requests, whatever their field says: index into the classes of the upstream's
    /// [`Priority`].
    pub class: Option<usize>,
    /// Static reply instead of an upstream-side local reply.
    pub fallback: Option<Fallback>,
}

impl Route {
    /// A route to the upstream at `index` that matches everything and changes nothing.
    pub fn to(index: usize, upstream: &Upstream) -> Self {
        Self {
            name: Arc::clone(&upstream.name),
            host: None,
            path_prefix: None,
            methods: Vec::new(),
            upstream: index,
            timeouts: upstream.timeouts.clone(),
            breaker: None,
            retry: upstream.retry.clone(),
            hedge: upstream.hedge.clone(),
            class: None,
            fallback: upstream.fallback.clone(),
        }
    }
}

/// `[upstreams.NAME]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// Its name: label in metrics and logs.
    pub name: Arc<str>,
    /// Configured endpoints, at least one; none where `forward` is given.
    pub endpoints: Vec<Endpoint>,
    /// What is spoken with it.
    pub protocol: Protocol,
    /// How it is encrypted; given where its endpoints are.
    pub tls: Option<UpstreamTls>,
    /// HTTP/2 connections to it.
    pub http2: Http2,
    /// What it is told about the way of a request.
    pub forwarding: Forwarding,
    /// Whether its connections begin with a PROXY protocol header, version 2; TCP alone.
    pub proxy_protocol: bool,
    /// Whether the caller names the host.
    pub forward: Option<Forward>,
    /// What the upstream sees in `Host`.
    pub host: HostHeader,
    /// Concurrency and connections.
    pub bulkhead: Bulkhead,
    /// Timeouts of the upstream (routes carry their own copy).
    pub timeouts: Timeouts,
    /// The upstream's breaker.
    pub breaker: Breaker,
    /// Retries of the upstream (routes carry their own copy).
    pub retry: Retry,
    /// What bounds retries and hedges of all its routes.
    pub budget: budget::Settings,
    /// Hedges of the upstream (routes carry their own copy).
    pub hedge: Option<Hedge>,
    /// Greatest rate of requests.
    pub rate_limit: Option<RateLimit>,
    /// Classes of requests and their shares of the bulkhead.
    pub priority: Option<Priority>,
    /// A limit below `max_requests` that follows the latency.
    pub adaptive: Option<Adaptive>,
    /// How an endpoint is chosen.
    pub balance: balance::Settings,
    /// When an endpoint is left out.
    pub ejection: Ejection,
    /// Where requests go that this upstream cannot answer: index into [`Config::upstreams`]. Never
    /// leads in a circle.
    pub failover: Option<usize>,
    /// Faults to inject.
    pub faults: Vec<Fault>,
    /// Static reply instead of an upstream-side local reply.
    pub fallback: Option<Fallback>,
}

/// One configured endpoint; a name may resolve to many addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Where it is.
    pub address: EndpointAddress,
    /// Whether it is spoken to over TLS (`https`). The same for all endpoints of an upstream.
    pub tls: bool,
    /// Its share of the requests is in proportion to this (1-1000).
    pub weight: u32,
}

impl Endpoint {
    /// The port of its scheme.
    pub const fn default_port(&self) -> u16 {
        if self.tls { 443 } else { 80 }
    }
}

/// Where an endpoint is, as configured.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EndpointAddress {
    /// A host and a port.
    Name {
        /// Host name or IP literal (without brackets).
        host: String,
        /// TCP port.
        port: u16,
    },
    /// A Unix socket at an absolute path.
    Unix(Arc<Path>),
}

/// `host` of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostHeader {
    /// The endpoint as configured, with its port unless it is the one of its scheme; `localhost`
    /// for a Unix socket.
    Endpoint,
    /// As the caller sent it.
    Preserve,
    /// This value.
    Literal(String),
}

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
