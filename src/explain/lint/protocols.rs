//! What is spoken: pins, hosts that callers name, gRPC.

use super::{Lint, report};
use crate::config::model::{Listener, Protocol};
use crate::explain::time;
use crate::explain::way::Way;

pub(super) fn pins(way: &Way<'_>, lints: &mut Vec<Lint>) {
    let pins = way.upstream.tls.as_ref().map(|tls| tls.pins.as_slice());
    if let Some([first, rest @ ..]) = pins
        && rest.iter().all(|pin| pin == first)
    {
        report(
            lints,
            "no-backup-pin",
            "one key is pinned: on the day the upstream changes it, every connection fails",
            "add the pin of the key that comes next, kept where the upstream is not",
        );
    }
}

pub(super) fn forward(way: &Way<'_>, lints: &mut Vec<Lint>) {
    let Some(forward) = &way.upstream.forward else {
        return;
    };
    let is_open = |pattern: &&String| matches!(pattern.as_str(), "*" | "*:*");
    if let Some(pattern) = forward.allow.iter().find(is_open) {
        report(
            lints,
            "forward-allows-everything",
            format!("`{pattern}` takes callers to any host that is not local"),
            "name the hosts that they need, or the one port, as in `\"*:443\"`",
        );
    }
}

/// gRPC needs HTTP/2, and its streams may say nothing for long.
pub(super) fn grpc(way: &Way<'_>, listener: &Listener, lints: &mut Vec<Lint>) {
    if !way.is_grpc() {
        return;
    }
    let http1 = [
        (listener.protocol == Protocol::Http1, "the listener"),
        (way.is_http2() == Some(false), "the upstream"),
    ];
    for (_, side) in http1.into_iter().filter(|(is_http1, _)| *is_http1) {
        report(
            lints,
            "grpc-over-http1",
            format!("gRPC needs HTTP/2, and {side} speaks HTTP/1.1: no such call succeeds"),
            "write `protocol = \"http2\"` there, or `\"auto\"` with TLS",
        );
    }
    if let Some(rate) = listener.downstream.min_body_rate {
        report(
            lints,
            "body-rate-ends-streams",
            format!(
                "a call that streams to the upstream ends with 408 once it sends less than {rate} \
                 bytes/s, whatever `stream_idle` allows ({})",
                way.timeouts
                    .stream_idle
                    .map_or_else(|| "off".to_owned(), time)
            ),
            "set `min_body_rate = \"off\"` on the listener of streams",
        );
    }
}
