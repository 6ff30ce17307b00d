//! The opening handshakes of WebSocket: HTTP/1.1 `Upgrade` (RFC 6455 §4) and extended CONNECT over
//! HTTP/2 (RFC 8441), so that a caller of one can talk to an upstream of the other.
//!
//! HTTP/1.1 proves by a key and its digest that both ends mean WebSocket; HTTP/2 has no key. Where
//! the two meet, the key is ours: made for an upstream of HTTP/1.1 and its answer checked, or
//! answered to a caller of HTTP/1.1 in the name of an upstream of HTTP/2. What is absent: frames;
//! those pass as bytes.

use std::fmt;

use data_encoding::BASE64;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::header::{HeaderName, SEC_WEBSOCKET_VERSION};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use sha1::{Digest, Sha1};

/// What every answer to a key has in it (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Octets of a key, before base64.
const KEY: usize = 16;

/// An extension of a request that came as an extended CONNECT, whose success is a tunnel and nothing
/// else. Still a CONNECT, it asks for a protocol that we do not know.
#[derive(Clone, Copy, Debug)]
pub struct Extended;

/// Why a request is no opening handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHandshake {
    /// Another method than GET, or another version than HTTP/1.1.
    Request,
    /// `Upgrade` or `Connection` does not ask for it.
    Upgrade,
    /// `Sec-WebSocket-Version` is not 13: due a 426 that names 13 (RFC 6455 §4.4).
    Version,
    /// `Sec-WebSocket-Key` is not one of 16 octets in base64.
    Key,
}

/// Looks at the opening handshake of a caller of HTTP/1.1, and gives its key.
///
/// # Errors
///
/// See [`BadHandshake`]; what is not [`BadHandshake::Version`] is due a 400.
pub fn key_of<B>(request: &Request<B>) -> Result<&str, BadHandshake> {
    let headers = request.headers();
    if request.method() != Method::GET || request.version() != Version::HTTP_11 {
        return Err(BadHandshake::Request);
    }
    if !asks_for_websocket(headers) {
        return Err(BadHandshake::Upgrade);
    }
    check_version(headers)?;
    let key = only(headers, &SEC_WEBSOCKET_KEY).and_then(|value| value.to_str().ok());
    key.filter(|key| is_key(key)).ok_or(BadHandshake::Key)
}

/// Looks at the version that a caller speaks, in either version of HTTP.
///
/// # Errors
///
/// [`BadHandshake::Version`].
pub fn check_version(headers: &HeaderMap) -> Result<(), BadHandshake> {
    match only(headers, &SEC_WEBSOCKET_VERSION) {
        Some(version) if version == "13" => Ok(()),
        _ => Err(BadHandshake::Version),
    }
}

/// Makes a key for a handshake of ours. It tells answers apart and is no secret.
pub fn new_key() -> String {
    let halves = [crate::rng::u64(), crate::rng::u64()];
    BASE64.encode(halves.map(u64::to_be_bytes).as_flattened())
}

/// Answers a key (RFC 6455 §4.2.2): what stands in `Sec-WebSocket-Accept`.
pub fn accept_key(key: &str) -> String {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    BASE64.encode(&digest)
}

/// Whether an upstream of HTTP/1.1 took the handshake with this key.
pub fn is_accepted<B>(response: &Response<B>, key: &str) -> bool {
    let headers = response.headers();
    let answer = only(headers, &SEC_WEBSOCKET_ACCEPT);
    response.status() == StatusCode::SWITCHING_PROTOCOLS
        && asks_for_websocket(headers)
        && answer.is_some_and(|answer| answer == accept_key(key).as_str())
}

fn asks_for_websocket(headers: &HeaderMap) -> bool {
    let websocket = only(headers, &UPGRADE);
    let websocket =
        websocket.is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let connection = headers.get_all(CONNECTION).iter();
    let mut options = connection.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    websocket && options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

/// The value of a field that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

fn is_key(key: &str) -> bool {
    let octets = BASE64.decode(key.as_bytes());
    // Written anew, as padding is also taken within, where pieces were joined.
    octets.is_ok_and(|octets| octets.len() == KEY && BASE64.encode(&octets) == key)
}

impl fmt::Display for BadHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "a WebSocket opens by GET in HTTP/1.1 (RFC 6455 §4.1)",
            Self::Upgrade => "Upgrade and Connection do not ask for a WebSocket (RFC 6455 §4.2.1)",
            Self::Version => "Sec-WebSocket-Version is not 13 (RFC 6455 §4.2.1)",
            Self::Key => "Sec-WebSocket-Key is not 16 octets in base64 (RFC 6455 §4.2.1)",
        })
    }
}

#[cfg(test)]
mod tests;
