//! The request head on its way out: what is refused, taken away and added.

use std::time::{Duration, Instant};

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version};

use super::error::ProxyError;
use super::route::Route;
use crate::resilience::timeout::{self, Deadline};
use crate::upstream::HostHeader;
use crate::upstream::endpoint::Endpoint;

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
/// The request id, made where there is none.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Refuses what two parsers could read differently, as far as a parsed head shows it.
///
/// # Errors
///
/// [`ProxyError::BadRequest`] with the rule that is broken.
pub(super) fn check(head: &Parts) -> Result<(), ProxyError> {
    let bad = |rule| Err(ProxyError::BadRequest(rule));
    let mut hosts = head.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => return bad("more than one Host field (RFC 9112 §3.2)"),
        (None, _) if head.version >= Version::HTTP_11 => {
            return bad("no Host field (RFC 9112 §3.2)");
        }
        (Some(host), None) if !is_host(host) => return bad("malformed Host field"),
        _ => {}
    }
    if head.headers.contains_key(TRANSFER_ENCODING) {
        let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
        let only_chunked = codings
            .next()
            .is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
        if !only_chunked || codings.next().is_some() {
            return bad("a Transfer-Encoding other than chunked (RFC 9112 §6.1)");
        }
        if head.headers.contains_key(CONTENT_LENGTH) {
            return bad("both Content-Length and Transfer-Encoding (RFC 9112 §6.1)");
        }
        if head.version < Version::HTTP_11 {
            return bad("Transfer-Encoding in HTTP/1.0 (RFC 9112 §6.1)");
        }
    }
    if head.headers.get_all(CONTENT_LENGTH).iter().count() > 1 {
        return bad("more than one Content-Length field (RFC 9110 §8.6)");
    }
    if head.method == Method::CONNECT {
        return bad("CONNECT is not served here");
    }
    Ok(())
}

/// Characters of `uri-host [":" port]` (RFC 3986 §3.2.2); empty is legal.
fn is_host(value: &HeaderValue) -> bool {
    value
        .as_bytes()
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte))
}

/// Whether the method is idempotent (RFC 9110 §9.2.2).
pub(super) fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}

/// Whether it is a gRPC call, so that its outcome stands in the trailers.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// The time that the caller still gives us, by `grpc-timeout` or the route's own field.
pub(super) fn client_time(head: &Parts, route: &Route) -> Option<Duration> {
    let grpc = head
        .headers
        .get(GRPC_TIMEOUT)
        .and_then(|value| timeout::parse_grpc_timeout(value.as_bytes()));
    let own = route
        .deadline_header
        .as_ref()
        .and_then(|name| head.headers.get(name))
        .and_then(|value| timeout::parse_millis(value.as_bytes()));
    match (grpc, own) {
        (Some(grpc), Some(own)) => Some(grpc.min(own)),
        (grpc, own) => grpc.or(own),
    }
}

/// Makes the caller's head ours: origin form, HTTP/1.1, no hop-by-hop fields, a request id.
pub(super) fn prepare(head: &mut Parts) {
    head.version = Version::HTTP_11;
    if head.uri.scheme().is_some() || head.uri.authority().is_some() {
        let asterisk = head.method == Method::OPTIONS && head.uri.path() == "*";
        let path = if asterisk {
            Some(PathAndQuery::from_static("*"))
        } else {
            None
        };
        let path = path.or_else(|| head.uri.path_and_query().cloned());
        head.uri = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    }
    strip_hop_by_hop(&mut head.headers);
    head.headers.remove(EXPECT);
    if !head.headers.contains_key(REQUEST_ID) {
        head.headers.insert(REQUEST_ID, request_id());
    }
}

/// What differs from attempt to attempt: `Host` and the remaining time.
pub(super) fn address<B>(
    request: &mut Request<B>,
    route: &Route,
    endpoint: &Endpoint,
    deadline: &Deadline,
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
    let Some(remaining) = deadline.remaining(now) else {
        return;
    };
    if headers.contains_key(GRPC_TIMEOUT) {
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

/// 128 random bits in hexadecimal.
fn request_id() -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0_u8; 32];
    let mut bits = (u128::from(crate::rng::u64()) << 64) | u128::from(crate::rng::u64());
    for digit in &mut text {
        *digit = DIGITS.get((bits & 15) as usize).copied().unwrap_or(b'0');
        bits >>= 4;
    }
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

/// Takes away what concerns one connection only (RFC 9110 §7.6.1), in either direction.
///
/// `Transfer-Encoding` stays: it is chunked or refused, and tells hyper to chunk again.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderValue> = headers.get_all(CONNECTION).iter().cloned().collect();
        headers.remove(CONNECTION);
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
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, TE, UPGRADE] {
        headers.remove(name);
    }
}
