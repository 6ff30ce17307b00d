//! The request head on its way out: what is taken away and added.

use std::time::{Duration, Instant};

use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version};

use super::forwarded::{self, Origin, Seen};
use super::route::Route;
use super::survey::Survey;
use crate::resilience::timeout::{self, Deadline};
use crate::upstream::HostHeader;
use crate::upstream::endpoint::Endpoint;

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const GRPC_PREVIOUS_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
/// The request id, made where there is none.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Fields that concern one connection only (RFC 9110 §7.6.1), apart from `Transfer-Encoding`,
/// which is chunked or refused and tells hyper to chunk again.
pub(super) fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection" | "keep-alive" | "proxy-connection" | "te" | "upgrade"
    )
}

/// Whether the method is idempotent (RFC 9110 §9.2.2).
pub(super) fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}

/// The time that the caller still gives us, by `grpc-timeout` or the route's own field.
pub(super) fn client_time(survey: &Survey, headers: &HeaderMap, route: &Route) -> Option<Duration> {
    let grpc = survey.grpc_timeout.as_ref();
    let grpc = grpc.and_then(|value| timeout::parse_grpc_timeout(value.as_bytes()));
    let own = route
        .deadline_header
        .as_ref()
        .and_then(|name| headers.get(name))
        .and_then(|value| timeout::parse_millis(value.as_bytes()));
    match (grpc, own) {
        (Some(grpc), Some(own)) => Some(grpc.min(own)),
        (grpc, own) => grpc.or(own),
    }
}

/// Makes the caller's head ours: origin form, HTTP/1.1, no hop-by-hop fields, a request id.
pub fn prepare<B>(request: &mut Request<B>, survey: &Survey, origin: Option<Origin>) {
    let origin = origin.map(|origin| (origin, request.version(), forwarded::asked_host(request)));
    *request.version_mut() = Version::HTTP_11;
    if let Some(authority) = request.uri().authority() {
        if !request.headers().contains_key(HOST) {
            let host = HeaderValue::from_str(authority.as_str());
            let host = host.unwrap_or_else(|_| HeaderValue::from_static(""));
            request.headers_mut().insert(HOST, host);
        }
        let asterisk = request.method() == Method::OPTIONS && request.uri().path() == "*";
        let path = if asterisk {
            Some(PathAndQuery::from_static("*"))
        } else {
            None
        };
        let path = path.or_else(|| request.uri().path_and_query().map(origin_form));
        *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    }
    if survey.has_hop_by_hop {
        strip_hop_by_hop(request.headers_mut());
    }
    if let Some((origin, version, host)) = origin {
        let seen = Seen {
            peer: origin.peer,
            is_tls: origin.is_tls,
            version,
            host: host.as_ref(),
        };
        forwarded::add(request.headers_mut(), origin.forwarding, &seen);
    }
    if survey.takes_trailers {
        let headers = request.headers_mut();
        headers.insert(TE, HeaderValue::from_static("trailers"));
        // RFC 9110 §10.1.4.
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    if let Some(upgrade) = &survey.upgrade {
        let headers = request.headers_mut();
        headers.insert(UPGRADE, upgrade.protocol.clone());
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
    if survey.has_crumbs {
        join_cookies(request.headers_mut());
    }
    // Asked again where the caller may have named it in `Connection`.
    let has_id = survey.has_request_id
        && (!survey.has_hop_by_hop || request.headers().contains_key(REQUEST_ID));
    if !has_id {
        request.headers_mut().insert(REQUEST_ID, request_id());
    }
}

/// A path and query with the slash that an absolute target may leave away (RFC 9112 §3.2.1).
fn origin_form(target: &PathAndQuery) -> PathAndQuery {
    // Of nothing but a fragment nothing is left, and a request line would have no target.
    if target.as_str() == "/" {
        return PathAndQuery::from_static("/");
    }
    if target.as_str().starts_with('?') {
        let slashed = format!("/{}", target.as_str());
        return PathAndQuery::try_from(slashed).unwrap_or_else(|_| PathAndQuery::from_static("/"));
    }
    target.clone()
}

/// One `Cookie` field of several, for those that know only one (RFC 9113 §8.2.3).
#[cold]
fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        // White space would stand at the end of the value, which HTTP/2 forbids.
        .filter(|crumb| !crumb.is_empty())
        .collect();
    if let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(COOKIE, cookie);
    }
}

/// What differs from attempt to attempt: `Host`, the remaining time, and for gRPC how many attempts
/// went `before` (gRPC retry design A6).
pub(super) fn address<B>(
    request: &mut Request<B>,
    (route, endpoint): (&Route, &Endpoint),
    deadline: &Deadline,
    survey: &Survey,
    before: u32,
    now: Instant,
) {
    let headers = request.headers_mut();
    match &route.upstream.host {
        HostHeader::Endpoint => {
            headers.insert(HOST, endpoint.host.clone());
        }
        HostHeader::Literal(host) => {
            headers.insert(HOST, host.clone());
        }
        HostHeader::Preserve => {
            // HTTP/1.0 may come without, HTTP/1.1 may not go without.
            headers.entry(HOST).or_insert_with(|| endpoint.host.clone());
        }
    }
    if survey.grpc && before > 0 {
        headers.insert(GRPC_PREVIOUS_ATTEMPTS, HeaderValue::from(before));
    }
    let Some(remaining) = deadline.remaining(now) else {
        return;
    };
    if survey.grpc_timeout.is_some() {
        set(
            headers,
            &GRPC_TIMEOUT,
            timeout::format_grpc_timeout(remaining),
        );
    }
    if let Some(name) = &route.deadline_header {
        set(headers, name, timeout::format_millis(remaining));
    }
}

fn set(headers: &mut HeaderMap, name: &HeaderName, value: Option<String>) {
    let zero = || HeaderValue::from_static("0");
    let value = value
        .and_then(|value| HeaderValue::try_from(value).ok())
        .unwrap_or_else(zero);
    headers.insert(name, value);
}

fn request_id() -> HeaderValue {
    HeaderValue::from_bytes(&random_id()).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

/// A key for a request that has none, as the string that the draft asks for (RFC 8941 §3.3.3).
pub(super) fn idempotency_key() -> HeaderValue {
    let mut text = [b'"'; 34];
    if let Some(inner) = text.get_mut(1..33) {
        inner.copy_from_slice(&random_id());
    }
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("\"0\""))
}

/// 128 random bits in hexadecimal.
fn random_id() -> [u8; 32] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0_u8; 32];
    let mut bits = (u128::from(crate::rng::u64()) << 64) | u128::from(crate::rng::u64());
    for digit in &mut text {
        *digit = DIGITS.get((bits & 15) as usize).copied().unwrap_or(b'0');
        bits >>= 4;
    }
    text
}

/// Takes away what concerns one connection only (RFC 9110 §7.6.1), if there is any.
pub fn clean(headers: &mut HeaderMap) {
    if headers.keys().any(|name| is_hop_by_hop(name.as_str())) {
        strip_hop_by_hop(headers);
    }
}

#[cold]
fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderValue> = headers.get_all(CONNECTION).iter().cloned().collect();
    for token in named
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
    {
        if let Ok(name) = HeaderName::from_bytes(token.trim_ascii())
            && !matches!(name, CONTENT_LENGTH | TRANSFER_ENCODING | HOST)
        {
            headers.remove(name);
        }
    }
    for name in [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TE, UPGRADE] {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests;
