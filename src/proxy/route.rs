//! Which route a request takes.

use std::sync::Arc;
use std::time::Duration;

use http::uri::Uri;
use http::{HeaderMap, HeaderName, Method, header};

use super::reply::Fallback;
use crate::balance::{self, HashKey};
use crate::config::model::{self, Mode};
use crate::resilience::classify::Rules;
use crate::resilience::hedge;
use crate::telemetry::metrics::RouteMetrics;
use crate::upstream::Upstream;
use crate::upstream::breaker::Breaker;
use crate::upstream::forward;
use crate::upstream::hedge::HedgeDelay;

/// The compiled routes of one listener: tried in order, the first that matches wins.
///
/// A linear walk: a sidecar has a handful of routes, and comparing a few short strings costs less
/// than hashing one.
pub struct RouteTable(Vec<(Matcher, Arc<Route>)>);

/// Where a request goes and by which rules.
pub struct Route {
    /// Label in metrics and logs.
    pub name: Arc<str>,
    /// Where it goes.
    pub upstream: Arc<Upstream>,
    /// Its own breaker, or the upstream's.
    pub breaker: Arc<Breaker>,
    /// Its timeouts.
    pub timeouts: model::Timeouts,
    /// Field that carries the caller's remaining milliseconds.
    pub deadline_header: Option<HeaderName>,
    /// What a response means.
    pub rules: Rules,
    /// A body that still flows this long after its head is a success.
    pub settle_after: Duration,
    /// Slower requests are always in the access log.
    pub slow: Option<Duration>,
    /// What is tried again.
    pub retry: model::Retry,
    /// What makes a request idempotent that is not so by its method, if anything.
    pub idempotency: Option<Idempotency>,
    /// Second attempts beside late ones, instead of retries.
    pub hedge: Option<Hedge>,
    /// Whether a request may be sent more than once.
    pub repeats: bool,
    /// Its class, whatever the request says.
    pub class: Option<usize>,
    /// The targets that callers name; a route to one of them takes the place of this one.
    pub targets: Option<Targets>,
    /// Where requests go that its upstream cannot answer.
    pub failover: Option<Arc<Self>>,
    /// Static reply instead of a local one.
    pub fallback: Option<Fallback>,
    /// Its counters; `None` for the way to a failover, whose requests stay those of the route that
    /// they came by.
    pub metrics: Option<RouteMetrics>,
}

/// The targets of an upstream, and the routes to each of them: one for each route to the upstream.
pub type Forward = forward::Forward<Vec<Arc<Route>>>;

/// One target, which a request holds to its end.
pub type Destination = forward::Destination<Vec<Arc<Route>>>;

/// Where callers name the host.
#[derive(Clone, Debug)]
pub struct Targets {
    /// Those that there are, shared by all routes to their upstream.
    pub table: Arc<Forward>,
    /// Which of a target's routes takes the place of this one.
    pub index: usize,
}

/// A field that makes a request idempotent, at an upstream that honours it
/// (draft-ietf-httpapi-idempotency-key-header).
#[derive(Clone, Debug)]
pub struct Idempotency {
    /// Its name.
    pub header: HeaderName,
    /// Whether requests that need one and have none are given one.
    pub mint: bool,
}

impl Idempotency {
    /// Whether the request carries a key: one, and not a blank one.
    pub fn is_in(&self, headers: &HeaderMap) -> bool {
        let mut keys = headers.get_all(&self.header).iter();
        let key = keys.next().filter(|_| keys.next().is_none());
        key.is_some_and(|key| !key.as_bytes().trim_ascii().is_empty())
    }

    /// Whether the request has no key, or nothing but a blank one: then it may be given one.
    pub fn is_missing(&self, headers: &HeaderMap) -> bool {
        let mut keys = headers.get_all(&self.header).iter();
        keys.all(|key| key.as_bytes().trim_ascii().is_empty())
    }
}

/// Hedging at run time.
#[derive(Debug)]
pub struct Hedge {
    /// Whether it acts.
    pub mode: Mode,
    /// How many, and where.
    pub settings: hedge::Settings,
    /// When.
    pub delay: HedgeDelay,
}

impl Route {
    /// The class of a request: the route's, or the one that the request names.
    pub fn class(&self, headers: &HeaderMap) -> usize {
        match (self.class, &self.upstream.classes) {
            (Some(class), _) => class,
            (None, Some(classes)) => classes.of(headers),
            (None, None) => 0,
        }
    }

    /// What the choice of an endpoint goes by, if by the request.
    pub fn hash(&self, headers: &HeaderMap) -> Option<u64> {
        let value = match self.upstream.hash_key()? {
            HashKey::Header(name) => headers.get(name)?.as_bytes(),
            HashKey::Cookie(name) => cookie(headers, name)?,
        };
        (!value.is_empty()).then(|| balance::hash(value))
    }
}

/// The value of a cookie (RFC 6265 §4.2.1).
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    let pairs = headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
    pairs
        .map(<[u8]>::trim_ascii)
        .find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// What a request must look like.
#[derive(Clone, Debug, Default)]
pub struct Matcher {
    host: Option<HostPattern>,
    path_prefix: Option<String>,
    methods: Vec<Method>,
}

#[derive(Clone, Debug)]
enum HostPattern {
    Exact(String),
    /// The part after `*`, with its leading dot.
    Suffix(String),
}

impl Matcher {
    /// Compiles the match rules of a route. A method that is none is left out: the configuration
    /// has refused it.
    pub fn new(route: &model::Route) -> Self {
        let host = route
            .host
            .as_deref()
            .map(|host| match host.strip_prefix('*') {
                Some(suffix) => HostPattern::Suffix(suffix.to_ascii_lowercase()),
                None => HostPattern::Exact(host.to_ascii_lowercase()),
            });
        let prefix = route
            .path_prefix
            .as_deref()
            .map(|prefix| prefix.trim_end_matches('/'));
        Self {
            host,
            path_prefix: prefix.filter(|prefix| !prefix.is_empty()).map(Into::into),
            methods: route
                .methods
                .iter()
                .filter_map(|method| method.parse().ok())
                .collect(),
        }
    }

    fn matches(&self, method: &Method, host: &str, path: &str) -> bool {
        self.fits_host(host) && self.fits_path(path) && self.fits_method(method)
    }

    /// Whether the host without its port is one of those that match.
    pub fn fits_host(&self, host: &str) -> bool {
        match &self.host {
            None => true,
            Some(HostPattern::Exact(name)) => host.eq_ignore_ascii_case(name),
            Some(HostPattern::Suffix(suffix)) => {
                host.len() > suffix.len()
                    && host
                        .get(host.len() - suffix.len()..)
                        .is_some_and(|end| end.eq_ignore_ascii_case(suffix))
            }
        }
    }

    /// Whether the path begins with the segments that match.
    pub fn fits_path(&self, path: &str) -> bool {
        self.path_prefix.as_deref().is_none_or(|prefix| {
            path.strip_prefix(prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// Whether the method is one of those that match.
    pub fn fits_method(&self, method: &Method) -> bool {
        self.methods.is_empty() || self.methods.contains(method)
    }
}

impl RouteTable {
    /// Builds a table of routes in the order of the file.
    pub fn new(routes: Vec<(Matcher, Arc<Route>)>) -> Self {
        Self(routes)
    }

    /// The first route that matches.
    pub fn find(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<&Arc<Route>> {
        let host = host(uri, headers);
        let path = uri.path();
        self.0
            .iter()
            .find(|(matcher, _)| matcher.matches(method, host, path))
            .map(|(_, route)| route)
    }
}

/// The host that the request names, without port; empty where it names none.
fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> &'a str {
    uri.host().unwrap_or_else(|| host_field(headers))
}

/// What the `Host` field says, without its port; empty where there is none.
pub(crate) fn host_field(headers: &HeaderMap) -> &str {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let port = host
        .rfind(':')
        .filter(|colon| host.find(']').is_none_or(|end| *colon > end));
    port.and_then(|colon| host.get(..colon)).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(host: Option<&str>, prefix: Option<&str>, methods: &[&str]) -> Matcher {
        let lower = |suffix: &str| suffix.to_ascii_lowercase();
        Matcher {
            host: host.map(|host| match host.strip_prefix('*') {
                Some(suffix) => HostPattern::Suffix(lower(suffix)),
                None => HostPattern::Exact(lower(host)),
            }),
            path_prefix: prefix.map(Into::into),
            methods: methods.iter().map(|m| m.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn a_prefix_matches_whole_segments() {
        let v2 = matcher(None, Some("/v2"), &[]);
        let fits = |path| v2.matches(&Method::GET, "", path);
        assert!(fits("/v2") && fits("/v2/") && fits("/v2/x"));
        assert!(!fits("/v20") && !fits("/") && !fits("/x/v2"));
    }

    #[test]
    fn hosts_match_without_case_and_by_suffix() {
        let exact = matcher(Some("Search.Local"), None, &[]);
        assert!(exact.matches(&Method::GET, "search.local", "/"));
        assert!(!exact.matches(&Method::GET, "a.search.local", "/"));
        let any = matcher(Some("*.local"), None, &[]);
        assert!(any.matches(&Method::GET, "A.B.LOCAL", "/"));
        assert!(!any.matches(&Method::GET, ".local", "/"));
        assert!(!any.matches(&Method::GET, "local", "/"));
    }

    #[test]
    fn methods_match_exactly() {
        let get = matcher(None, None, &["GET", "PURGE"]);
        assert!(get.matches(&Method::GET, "", "/"));
        assert!(get.matches(&"PURGE".parse().unwrap(), "", "/"));
        assert!(!get.matches(&Method::POST, "", "/"));
    }

    #[test]
    fn the_port_of_a_host_is_left_out() {
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, http::HeaderValue::from_static(value));
            host(&Uri::from_static("/"), &headers).to_owned()
        };
        assert_eq!(of("a.b:80"), "a.b");
        assert_eq!(of("a.b"), "a.b");
        assert_eq!(of("[::1]:80"), "[::1]");
        assert_eq!(of("[::1]"), "[::1]");
        assert_eq!(
            host(&Uri::from_static("http://x.y:1/z"), &HeaderMap::new()),
            "x.y"
        );
    }
}
