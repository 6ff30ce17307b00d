//! The fields that tell the next hop where a message came from: `Via` (RFC 9110 §7.6.3),
//! `Forwarded` (RFC 7239) and `X-Forwarded-For`, `-Proto`, `-Host`.
//!
//! What earlier hops wrote is kept and ours comes last, in one field line, since many readers look
//! at one line alone. `X-Forwarded-Proto` and `-Host` have no place for two: they say what we saw.
//! The last element is always ours to the letter: a `Forwarded` with a quote that never closes would
//! swallow what comes after it, and is dropped. What is absent: trust (whether an earlier element
//! is true is the reader's to decide) and detection of loops. Settings: [`Forwarding`].

use std::net::IpAddr;

use http::header::{FORWARDED, HOST, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, Version};

use crate::config::model::Forwarding;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What we saw of a request.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Who sent it.
    pub peer: Peer,
    /// Whether it came over TLS.
    pub is_tls: bool,
    /// The version it came in.
    pub version: Version,
    /// The host that it asked for (`Host` or `:authority`), if it named one.
    pub host: Option<&'a HeaderValue>,
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// An address.
    Ip(IpAddr),
    /// A process of this host, by a unix socket.
    Unix,
    /// Nobody knows.
    Unknown,
}

/// Where a request comes from, and what of it the upstream is told.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// What is added.
    pub forwarding: Forwarding,
    /// Who sent it.
    pub peer: Peer,
    /// Whether it came over TLS.
    pub is_tls: bool,
}

impl Seen<'_> {
    const fn proto(&self) -> &'static str {
        if self.is_tls { "https" } else { "http" }
    }
}

/// Adds to a request's fields what is switched on.
pub fn add(headers: &mut HeaderMap, forwarding: Forwarding, seen: &Seen<'_>) {
    if forwarding.via {
        add_via(headers, seen.version);
    }
    if forwarding.forwarded {
        if !headers.get_all(FORWARDED).iter().all(is_closed) {
            headers.remove(FORWARDED);
        }
        append(headers, FORWARDED, &element(seen));
    }
    if forwarding.x_forwarded {
        let peer = match seen.peer {
            Peer::Ip(ip) => ip.to_canonical().to_string(),
            Peer::Unix | Peer::Unknown => "unknown".to_owned(),
        };
        append(headers, X_FORWARDED_FOR, peer.as_bytes());
        let proto = HeaderValue::from_static(seen.proto());
        headers.insert(X_FORWARDED_PROTO, proto);
        match seen.host {
            Some(host) => headers.insert(X_FORWARDED_HOST, host.clone()),
            None => headers.remove(X_FORWARDED_HOST),
        };
    }
}

/// Adds us to the `Via` of a message that came in this version: of a request, or of a response on
/// its way back.
pub fn add_via(headers: &mut HeaderMap, version: Version) {
    append(
        headers,
        VIA,
        match version {
            Version::HTTP_09 => b"0.9 outrigger",
            Version::HTTP_10 => b"1.0 outrigger",
            Version::HTTP_2 => b"2 outrigger",
            Version::HTTP_3 => b"3 outrigger",
            _ => b"1.1 outrigger",
        },
    );
}

/// The host that a request asks for: its target's if it has one, else the `Host` field's.
pub fn asked_host<B>(request: &http::Request<B>) -> Option<HeaderValue> {
    match request.uri().authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => request.headers().get(HOST).cloned(),
    }
}

/// Puts an element at the end of a list, in one field line.
fn append(headers: &mut HeaderMap, name: HeaderName, element: &[u8]) {
    let mut list = Vec::new();
    for value in headers.get_all(&name) {
        if !value.is_empty() {
            list.extend(value.as_bytes());
            list.extend(b", ");
        }
    }
    list.extend(element);
    // Valid values joined by valid octets are one.
    if let Ok(value) = HeaderValue::from_bytes(&list) {
        headers.insert(name, value);
    }
}

/// Our `forwarded-element` (RFC 7239 §4).
fn element(seen: &Seen<'_>) -> Vec<u8> {
    let mut element = b"for=".to_vec();
    match seen.peer {
        Peer::Ip(ip) => match ip.to_canonical() {
            IpAddr::V4(ip) => element.extend(ip.to_string().bytes()),
            IpAddr::V6(ip) => element.extend(format!("\"[{ip}]\"").bytes()),
        },
        Peer::Unix => element.extend(b"_unix"),
        Peer::Unknown => element.extend(b"unknown"),
    }
    element.extend(b";proto=");
    element.extend(seen.proto().bytes());
    let host = seen.host.map(HeaderValue::as_bytes).unwrap_or_default();
    if !host.is_empty() {
        element.extend(b";host=");
        push_value(&mut element, host);
    }
    element
}

/// Writes a value as a token if it is one, else as a quoted string (RFC 9110 §5.6.4).
fn push_value(element: &mut Vec<u8>, value: &[u8]) {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if value.iter().all(is_token) {
        element.extend(value);
        return;
    }
    element.push(b'"');
    for &byte in value {
        if matches!(byte, b'"' | b'\\') {
            element.push(b'\\');
        }
        element.push(byte);
    }
    element.push(b'"');
}

/// Whether every quoted string in it ends.
fn is_closed(value: &HeaderValue) -> bool {
    let (mut quoted, mut escaped) = (false, false);
    for &byte in value.as_bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
    }
    !quoted
}

#[cfg(test)]
mod tests;
