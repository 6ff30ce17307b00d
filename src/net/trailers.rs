//! Which fields may come behind a body.
//!
//! Protects from a recipient that merges trailers into the head (RFC 9110 §6.5.1): what decides on
//! framing, routing, access or how a message is read must have stood before the body. What is
//! absent: whether a trailer was announced, and whether anybody takes it.

use http::HeaderMap;

/// Trailers without the fields that must not be any; `None` where nothing is left.
pub(crate) fn lawful(mut trailers: HeaderMap) -> Option<HeaderMap> {
    if trailers.keys().any(|name| is_forbidden(name.as_str())) {
        let names: Vec<_> = trailers.keys().cloned().collect();
        for name in names.iter().filter(|name| is_forbidden(name.as_str())) {
            trailers.remove(name);
        }
    }
    (!trailers.is_empty()).then_some(trailers)
}

/// Fields that are of use in a head alone, by what they decide.
#[rustfmt::skip] // one kind a line
fn is_forbidden(name: &str) -> bool {
    matches!(
        name,
        "content-length" | "transfer-encoding" | "trailer" | "te" | "upgrade"
            | "connection" | "keep-alive" | "proxy-connection" | "content_length" | "transfer_encoding"
            | "host" | "forwarded" | "via" | "max-forwards" | "location"
            | "authorization" | "proxy-authorization" | "www-authenticate" | "proxy-authenticate"
            | "cookie" | "set-cookie"
            | "content-encoding" | "content-type" | "content-range"
            | "cache-control" | "pragma" | "expires" | "age" | "vary" | "retry-after"
            | "expect" | "range" | "if-match" | "if-none-match" | "if-modified-since"
            | "if-unmodified-since" | "if-range"
    ) || name.starts_with("x-forwarded-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trailers(names: &[&'static str]) -> HeaderMap {
        let mut trailers = HeaderMap::new();
        for name in names {
            trailers.append(*name, http::HeaderValue::from_static("x"));
        }
        trailers
    }

    #[test]
    fn what_belongs_in_a_head_is_dropped() {
        let mixed = trailers(&[
            "content-length",
            "x-sum",
            "host",
            "x-sum",
            "x-forwarded-for",
        ]);
        assert_eq!(lawful(mixed), Some(trailers(&["x-sum", "x-sum"])));
        let grpc = trailers(&["grpc-status", "grpc-message", "server-timing", "etag"]);
        assert_eq!(lawful(grpc.clone()), Some(grpc));
        assert_eq!(lawful(trailers(&["authorization", "set-cookie"])), None);
        assert_eq!(lawful(HeaderMap::new()), None);
    }
}
