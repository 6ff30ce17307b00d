//! The request head as it comes: what is refused, and what is found out in one pass.

use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};

use super::error::ProxyError;
use super::request::is_hop_by_hop;
use super::websocket::{self, Extended};
use crate::config::model;
use crate::resilience::classify::is_grpc;

/// What the fields of a request head say, gathered in one pass: each look-up in the map would hash
/// its name again.
#[derive(Debug, Default)]
pub struct Survey {
    /// It is a gRPC call: its outcome stands in the trailers.
    pub(super) grpc: bool,
    pub(super) grpc_timeout: Option<HeaderValue>,
    pub(super) has_request_id: bool,
    /// The caller waits to be told before it sends its body.
    pub(super) has_expect: bool,
    pub(super) has_hop_by_hop: bool,
    /// What the caller wants the connection to become, where it may.
    pub(super) upgrade: Option<Upgrade>,
    /// All that is asked for is a connection.
    pub(super) connects: bool,
    /// The caller takes trailers.
    pub(super) takes_trailers: bool,
    /// `Cookie` comes in pieces, as HTTP/2 allows.
    pub(super) has_crumbs: bool,
}

/// Another protocol that a request asks for.
#[derive(Debug)]
pub(super) struct Upgrade {
    /// Its name, as the caller wrote it.
    pub(super) protocol: HeaderValue,
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
pub fn survey<B>(request: &Request<B>, limits: &model::Downstream) -> Result<Survey, ProxyError> {
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
        survey.grpc = false;
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
    // A fragment alone, which `http` has cut off.
    if uri.path().is_empty() && uri.authority().is_none() {
        return Err("a target without a path (RFC 9113 §8.3.1)");
    }
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
pub(super) fn is_host(value: &[u8]) -> bool {
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

/// Whether a list of tokens has this one.
fn has_token(list: &HeaderValue, token: &[u8]) -> bool {
    let mut tokens = list.as_bytes().split(|byte| *byte == b',');
    tokens.any(|found| found.trim_ascii().eq_ignore_ascii_case(token))
}
