//! The request head on its way out: what is refused, taken away and added.

use std::time::{Duration, Instant};

use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, SEC_WEBSOCKET_ACCEPT, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};

use super::error::ProxyError;
use super::forwarded::{self, Origin, Seen};
use super::route::Route;
use super::websocket::{self, Extended};
use crate::config::model;
use crate::resilience::classify::is_grpc;
use crate::resilience::timeout::{self, Deadline};
use crate::upstream::HostHeader;
use crate::upstream::endpoint::Endpoint;

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const GRPC_PREVIOUS_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
/// The request id, made where there is none.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the fields of a request head say, gathered in one pass: each look-up in the map would hash
/// its name again.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// It is a gRPC call: its outcome stands in the trailers.
    pub(super) grpc: bool,
    grpc_timeout: Option<HeaderValue>,
    has_request_id: bool,
    /// The caller waits to be told before it sends its body.
    pub(super) has_expect: bool,
    has_hop_by_hop: bool,
    /// What the caller wants the connection to become, where it may.
    pub(super) upgrade: Option<Upgrade>,
    /// All that is asked for is a connection.
    pub(super) connects: bool,
    /// The caller takes trailers.
    takes_trailers: bool,
    /// `Cookie` comes in pieces, as HTTP/2 allows.
    has_crumbs: bool,
}

/// Another protocol that a request asks for.
#[derive(Debug)]
pub(super) struct Upgrade {
    /// Its name, as the caller wrote it.
    protocol: HeaderValue,
    /// What an upstream has to prove that it understood, for WebSocket.
    key: Option<String>,
    /// The caller takes any success for a tunnel.
    extended: bool,
}

impl Survey {
    /// Of what is no request: a connection that goes where its listener leads.
    pub(super) fn of_connection() -> Self {
        Self {
            connects: true,
            ..Self::default()
        }
    }

    /// Answers the key of a handshake in the name of an upstream that has none: HTTP/2 does without.
    pub(super) fn prove<B>(&self, response: &mut Response<B>) {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS
            && let Some(Upgrade { key: Some(key), .. }) = &self.upgrade
            && let Ok(accept) = HeaderValue::try_from(websocket::accept_key(key))
        {
            let headers = response.headers_mut();
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        }
    }

    /// Whether the caller would take an answer of this status for a tunnel that it is not.
    pub(super) fn is_misleading(&self, status: StatusCode) -> bool {
        let extended = self
            .upgrade
            .as_ref()
            .is_some_and(|upgrade| upgrade.extended);
        extended && status.is_success()
    }

    /// Whether it is this answer that was asked for by `Upgrade`.
    pub(super) fn is_upgraded_by<B>(&self, response: &Response<B>) -> bool {
        let Some(Upgrade { protocol, key, .. }) = &self.upgrade else {
            return false;
        };
        let agreed = response.headers().get(UPGRADE);
        let agreed = agreed
            .is_some_and(|agreed| agreed.as_bytes().eq_ignore_ascii_case(protocol.as_bytes()));
        let proved = |key| websocket::is_accepted(response, key);
        agreed && key.as_deref().is_none_or(proved)
    }
}

/// What a field takes beside its name and value: a colon, a space, the line's end.
const FIELD_OVERHEAD: usize = 4;

/// Looks a request head through, and refuses what two parsers could read differently as far as a
/// parsed head shows it: hyper has settled several lengths, or a length beside a coding, by now.
///
/// # Errors
///
/// [`ProxyError::BadRequest`] with the rule that is broken, or [`ProxyError::HeadTooLarge`].
pub(super) fn survey<B>(
    request: &Request<B>,
    limits: &model::Downstream,
) -> Result<Survey, ProxyError> {
    let bad = |rule| Err(ProxyError::BadRequest(rule));
    let mut survey = Survey::default();
    let (mut hosts, mut codings, mut lengths, mut cookies) = (0, 0, 0, 0);
    let target = target(request).map_err(ProxyError::BadRequest)?;
    let mut bytes = target.len();
    if bytes > limits.max_target_bytes {
        return Err(ProxyError::TargetTooLong);
    }
    for (name, value) in request.headers() {
        bytes += name.as_str().len() + value.len() + FIELD_OVERHEAD;
        if is_padded(value) {
            return bad("white space around a value (RFC 9113 §8.2.1)");
        }
        match name.as_str() {
            "host" => {
                hosts += 1;
                if !is_host(value.as_bytes()) {
                    return bad("malformed Host field (RFC 9112 §3.2)");
                }
            }
            "transfer-encoding" => {
                codings += 1;
                if !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                    return bad("a Transfer-Encoding other than chunked (RFC 9112 §6.1)");
                }
            }
            "content-length" => {
                lengths += 1;
                if !is_length(value) {
                    return bad("a Content-Length that is no number (RFC 9110 §8.6)");
                }
            }
            // A gateway that turns `-` into `_` takes them for the real ones.
            "content_length" | "transfer_encoding" => {
                return bad("a length or coding spelled with an underscore (RFC 3875 §4.1.18)");
            }
            "content-type" => survey.grpc = is_grpc(value.as_bytes()),
            "grpc-timeout" => survey.grpc_timeout = Some(value.clone()),
            "x-request-id" => survey.has_request_id = true,
            "expect" => survey.has_expect = true,
            "cookie" => cookies += 1,
            "te" => {
                survey.has_hop_by_hop = true;
                survey.takes_trailers |= has_token(value, b"trailers");
            }
            name => survey.has_hop_by_hop |= is_hop_by_hop(name),
        }
    }
    // hyper looks at the size only where a head comes in several reads.
    if bytes > limits.max_header_bytes || request.headers().len() > limits.max_headers {
        return Err(ProxyError::HeadTooLarge);
    }
    if hosts > 1 {
        return bad("more than one Host field (RFC 9112 §3.2)");
    }
    let says_host = match request.version() {
        Version::HTTP_09 | Version::HTTP_10 => true,
        Version::HTTP_11 => hosts > 0,
        _ => hosts > 0 || request.uri().authority().is_some(),
    };
    if !says_host {
        return bad("no Host field (RFC 9112 §3.2)");
    }
    if codings > 1 {
        return bad("more than one Transfer-Encoding field (RFC 9112 §6.1)");
    }
    if codings > 0 && request.version() < Version::HTTP_11 {
        return bad("Transfer-Encoding in HTTP/1.0 (RFC 9112 §6.1)");
    }
    if lengths > 1 {
        return bad("more than one Content-Length (RFC 9110 §8.6)");
    }
    if lengths > 0 && codings > 0 {
        return bad("a Content-Length beside a Transfer-Encoding (RFC 9112 §6.3)");
    }
    if let (Some(target), Some(host)) = (request.uri().authority(), request.headers().get(HOST))
        && !is_same_host(target.as_str(), host.as_bytes())
        // Some leave the port away there, which CONNECT cannot.
        && !(request.method() == Method::CONNECT
            && target.host().as_bytes().eq_ignore_ascii_case(host.as_bytes()))
    {
        return bad("a target of another host than the Host field's (RFC 9112 §3.2.2)");
    }
    if survey.has_hop_by_hop && codings == 0 {
        survey.upgrade = upgrade(request, limits);
    }
    survey.has_crumbs = cookies > 1;
    if request.extensions().get::<Extended>().is_some() {
        if request.method() == Method::CONNECT {
            return Err(ProxyError::UnknownProtocol);
        }
        if survey.upgrade.is_none() {
            return bad("an extended CONNECT that opens no WebSocket (RFC 8441 §5)");
        }
    }
    if request.method() == Method::CONNECT {
        let length = request.headers().get(CONTENT_LENGTH);
        let has_body = codings > 0 || length.is_some_and(|length| length != "0");
        if has_body {
            return bad("a CONNECT with a body (RFC 9110 §9.3.6)");
        }
        if request.uri().scheme().is_some() {
            return bad("a CONNECT of more than a host and a port (RFC 9112 §3.2.3)");
        }
        survey.connects = true;
        // What answers is a tunnel, whatever the caller wants to send through it.
        survey.grpc = false;
        survey.upgrade = None;
    }
    Ok(survey)
}

/// Whether a request with these fields is a gRPC call.
pub(super) fn is_grpc_call(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE);
    content_type.is_some_and(|content_type| is_grpc(content_type.as_bytes()))
}

/// What the request asks the connection to become, if it may become that. What it may not is left
/// out, and the request goes on without (RFC 9110 §7.8).
#[cold]
fn upgrade<B>(request: &Request<B>, limits: &model::Downstream) -> Option<Upgrade> {
    let headers = request.headers();
    let mut protocols = headers.get_all(UPGRADE).iter();
    let protocol = protocols.next().filter(|_| protocols.next().is_none())?;
    let mut allowed = limits.upgrades.iter();
    allowed.find(|name| protocol.as_bytes().eq_ignore_ascii_case(name.as_bytes()))?;
    let mut options = headers.get_all(CONNECTION).iter();
    let has_body = headers
        .get(CONTENT_LENGTH)
        .is_some_and(|length| length != "0");
    if has_body
        || request.version() != Version::HTTP_11
        || !options.any(|options| has_token(options, b"upgrade"))
    {
        return None;
    }
    let is_websocket = protocol.as_bytes().eq_ignore_ascii_case(b"websocket");
    let key = is_websocket.then(|| websocket::key_of(request).ok().map(ToOwned::to_owned));
    Some(Upgrade {
        protocol: protocol.clone(),
        // A handshake that is none is for the upstream to refuse.
        key: match key {
            Some(key) => Some(key?),
            None => None,
        },
        extended: request.extensions().get::<Extended>().is_some(),
    })
}

/// A target's path and query; or the rule that the target breaks.
fn target<B>(request: &Request<B>) -> Result<&str, &'static str> {
    let uri = request.uri();
    let path = uri.path_and_query().map_or("", PathAndQuery::as_str);
    if path.starts_with('*') && (path != "*" || request.method() != Method::OPTIONS) {
        return Err("an asterisk for another method than OPTIONS (RFC 9112 §3.2.4)");
    }
    if path.starts_with('?') && request.version() > Version::HTTP_11 {
        return Err("a path without its slash (RFC 9113 §8.3.1)");
    }
    if !path.is_ascii() {
        return Err("a target that is not ASCII (RFC 9112 §3.2)");
    }
    if let Some(authority) = uri.authority() {
        if uri.scheme().is_none() && request.method() != Method::CONNECT {
            return Err("a target of another form than this method takes (RFC 9112 §3.2)");
        }
        if uri.scheme_str().is_some_and(str::is_empty) {
            return Err("an empty scheme (RFC 3986 §3.1)");
        }
        if !is_host(authority.as_str().as_bytes()) {
            return Err("a target of no legal host (RFC 9110 §4.2)");
        }
    }
    Ok(path)
}

/// Fields that concern one connection only (RFC 9110 §7.6.1), apart from `Transfer-Encoding`,
/// which is chunked or refused and tells hyper to chunk again.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection" | "keep-alive" | "proxy-connection" | "te" | "upgrade"
    )
}

/// Whether both name the same host and port; 80 goes without saying.
fn is_same_host(target: &str, host: &[u8]) -> bool {
    let target = target.as_bytes();
    let bare = |name: &'_ [u8]| {
        name.strip_suffix(b":80")
            .unwrap_or(name)
            .to_ascii_lowercase()
    };
    bare(target) == bare(host)
}

/// `uri-host [":" port]` (RFC 3986 §3.2.2), but for commas, which lists have; empty is legal.
fn is_host(value: &[u8]) -> bool {
    let digits = |port: &[u8]| {
        let number = port.iter().try_fold(0_u16, |number, digit| {
            let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
            number.checked_mul(10)?.checked_add(digit.into())
        });
        number.is_some()
    };
    let (name, port) = if let Some(rest) = value.strip_prefix(b"[") {
        let Some(end) = rest.iter().position(|byte| *byte == b']') else {
            return false;
        };
        let (address, port) = rest.split_at(end);
        let is_address = std::str::from_utf8(address)
            .is_ok_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
        if !is_address {
            return false;
        }
        (value, port.get(1..).unwrap_or_default())
    } else {
        let end = value.iter().position(|byte| *byte == b':');
        let (name, port) = value.split_at(end.unwrap_or(value.len()));
        if !is_name(name) {
            return false;
        }
        (name, port)
    };
    match port.split_first() {
        None => true,
        Some((b':', port)) => !name.is_empty() && digits(port),
        Some(_) => false,
    }
}

/// `reg-name` (RFC 3986 §3.2.2) without commas.
fn is_name(name: &[u8]) -> bool {
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=".contains(byte);
    let escape = |rest: &[u8]| {
        let digits = rest.get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    name.iter().all(legal) && name.split(|byte| *byte == b'%').skip(1).all(escape)
}

/// Whether white space stands around a value. HTTP/1 takes it for that of the line; HTTP/2 forbids
/// it, which its library does not see to.
pub(super) fn is_padded(value: &HeaderValue) -> bool {
    let is_white = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    is_white(value.as_bytes().first()) || is_white(value.as_bytes().last())
}

/// Digits alone, one at least (RFC 9110 §8.6).
pub(super) fn is_length(value: &HeaderValue) -> bool {
    !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit)
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
pub(super) fn prepare<B>(request: &mut Request<B>, survey: &Survey, origin: Option<Origin>) {
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
        .collect();
    if let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(COOKIE, cookie);
    }
}

/// Whether a list of tokens has this one.
fn has_token(list: &HeaderValue, token: &[u8]) -> bool {
    let mut tokens = list.as_bytes().split(|byte| *byte == b',');
    tokens.any(|found| found.trim_ascii().eq_ignore_ascii_case(token))
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
pub(super) fn clean(headers: &mut HeaderMap) {
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
mod tests {
    use super::*;

    fn limits(max_header_bytes: usize) -> model::Downstream {
        model::Downstream {
            max_header_bytes,
            ..model::Downstream::for_tests()
        }
    }

    fn head(target: &str, fields: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::get(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    #[test]
    fn what_two_parsers_could_read_differently_is_refused() {
        let host = ("host", "a");
        for (target, fields, refused) in [
            ("/", &[host] as &[_], false),
            ("/", &[], true),
            ("/", &[host, host], true),
            ("/", &[("host", "a b")], true),
            ("http://a/", &[host], false),
            ("http://a:80/", &[host], false),
            ("http://b/", &[host], true),
            ("/", &[host, ("transfer-encoding", "Chunked")], false),
            ("/", &[host, ("transfer-encoding", "gzip, chunked")], true),
            (
                "/",
                &[
                    host,
                    ("transfer-encoding", "chunked"),
                    ("transfer-encoding", "chunked"),
                ],
                true,
            ),
            ("/", &[host, ("transfer_encoding", "chunked")], true),
            ("/", &[host, ("content-length", "5")], false),
            ("/", &[host, ("content-length", "")], true),
            ("/", &[host, ("content-length", "+5")], true),
            (
                "/",
                &[host, ("content-length", "5"), ("content-length", "5")],
                true,
            ),
            (
                "/",
                &[
                    host,
                    ("content-length", "5"),
                    ("transfer-encoding", "chunked"),
                ],
                true,
            ),
            ("*", &[host], true),
            ("a", &[host], true),
            ("/\u{e9}", &[host], true),
        ] {
            let found = survey(&head(target, fields), &limits(8192));
            let found = matches!(found, Err(ProxyError::BadRequest(_)));
            assert_eq!(found, refused, "{target} {fields:?}");
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_and_a_port() {
        for host in [
            "",
            "a",
            "a.b-c_d",
            "a:",
            "a:80",
            "a:65535",
            "1.2.3.4:80",
            "[::1]",
            "[::1]:80",
            "a%20b",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            ":80", "a:b", "a:65536", "a:+1", "a:80:81", "a b", "a,b", "a/b", "a@b", "a%2", "a%zz",
            "[::1", "::1", "[::1]a", "[a]", "[]", "[::1]:x", "\u{e9}",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn a_head_is_measured_whole() {
        let request = head("/ten-bytes", &[("host", "a"), ("x-y", "z")]);
        let size = 10 + (4 + 1 + 4) + (3 + 1 + 4);
        assert!(survey(&request, &limits(size)).is_ok());
        assert_eq!(
            survey(&request, &limits(size - 1)).err(),
            Some(ProxyError::HeadTooLarge)
        );
    }

    #[test]
    fn fields_of_this_hop_go_no_further_and_an_id_is_made() {
        let mut request = head(
            "http://a/x?y",
            &[
                ("host", "a"),
                ("connection", "keep-alive, X-Mine, x-request-id, host"),
                ("x-mine", "1"),
                ("x-request-id", "2"),
                ("te", "trailers"),
                ("upgrade", "h2c"),
                ("expect", "100-continue"),
                ("x-kept", "3"),
            ],
        );
        let surveyed = survey(&request, &limits(8192)).unwrap();
        prepare(&mut request, &surveyed, None);
        let mut names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        // That trailers are taken is said again to the next hop.
        assert_eq!(
            names,
            [
                "connection",
                "expect",
                "host",
                "te",
                "x-kept",
                "x-request-id"
            ]
        );
        assert_eq!(request.headers()["connection"], "te");
        assert_ne!(request.headers()["x-request-id"], "2");
        assert_eq!(request.uri(), "/x?y");
    }
}
