//! The validated configuration: what is valid, resolved and cross-checked.
//!
//! Built by [`super::load`] alone; nothing here is ever deserialised. Everyone may read it. Every
//! inheritance (`defaults` → upstream → route) has already happened: a value here is the value
//! that applies.

mod policies;
mod protocols;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use self::policies::{
    Adaptive, Breaker, Bulkhead, Class, Ejection, Fallback, Fault, Hedge, Mode, Priority,
    RateLimit, Retry, Timeouts,
};
pub use self::protocols::{
    Forward, Forwarding, Http2, ListenerTls, Protocol, TlsVersion, UpstreamTls,
};
use crate::balance;
use crate::net::Address;
use crate::resilience::budget;

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
