//! Whether a connection of HTTP/1 may carry another exchange, and for how long it is kept.

use std::time::Duration;

use http::{HeaderMap, Version};

/// What a response head says about the connection afterwards.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Persistence {
    /// Whether it may carry another exchange (RFC 9112 §9.3).
    pub(super) persistent: bool,
    /// `timeout` of a `Keep-Alive` field (RFC 2068 §19.7.1.1).
    pub(super) keep_alive: Option<Duration>,
}

pub(super) fn persistence(version: Version, headers: &HeaderMap) -> Persistence {
    let (mut close, mut keep) = (false, version >= Version::HTTP_11);
    let mut keep_alive = None;
    for (name, value) in headers {
        match name.as_str() {
            "connection" => {
                for token in value.as_bytes().split(|byte| *byte == b',') {
                    close |= token.trim_ascii().eq_ignore_ascii_case(b"close");
                    keep |= token.trim_ascii().eq_ignore_ascii_case(b"keep-alive");
                }
            }
            "keep-alive" => keep_alive = value.to_str().ok().and_then(timeout),
            _ => {}
        }
    }
    Persistence {
        persistent: keep && !close,
        keep_alive,
    }
}

/// `timeout` among the parameters of a `Keep-Alive` field, seconds.
fn timeout(value: &str) -> Option<Duration> {
    let seconds = value.split(',').find_map(|part| {
        let (name, seconds) = part.split_once('=')?;
        let seconds = seconds.trim().parse::<u32>();
        name.trim()
            .eq_ignore_ascii_case("timeout")
            .then_some(seconds)?
            .ok()
    })?;
    Some(Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.append(name, HeaderValue::from_static(value));
        headers
    }

    #[test]
    fn persistence_follows_version_and_connection() {
        let persistent = |version, headers: &HeaderMap| persistence(version, headers).persistent;
        let close = headers("connection", "Foo, Close");
        let keep = headers("connection", "keep-alive");
        assert!(persistent(Version::HTTP_11, &HeaderMap::new()));
        assert!(!persistent(Version::HTTP_11, &close));
        assert!(!persistent(Version::HTTP_10, &HeaderMap::new()));
        assert!(persistent(Version::HTTP_10, &keep));
    }

    #[test]
    fn keep_alive_is_read_or_left() {
        let parsed =
            |value| persistence(Version::HTTP_11, &headers("keep-alive", value)).keep_alive;
        assert_eq!(parsed("timeout=5, max=100"), Some(Duration::from_secs(5)));
        assert_eq!(parsed("max=3, Timeout = 7"), Some(Duration::from_secs(7)));
        assert_eq!(parsed("max=3"), None);
        assert_eq!(parsed("timeout=soon"), None);
    }
}
