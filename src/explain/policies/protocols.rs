//! What is spoken with an upstream: TLS, HTTP/2, and hosts that callers name.

use super::{Policy, list};
use crate::config::model::{Forward, Http2, Protocol, TlsVersion, UpstreamTls};
use crate::explain::way::Way;

/// What is spoken, in words.
pub(in crate::explain) fn spoken(way: &Way<'_>) -> String {
    let upstream = way.upstream;
    let words = match (upstream.protocol, &upstream.tls) {
        (Protocol::Auto, Some(_)) => "HTTP/2 or HTTP/1.1, as TLS agrees on",
        (Protocol::Auto, None) | (Protocol::Http1, _) => "HTTP/1.1",
        (Protocol::Http2, _) => "HTTP/2",
        (Protocol::Tcp, _) => "TCP: bytes pass as they are",
    };
    match (upstream.protocol, &upstream.tls) {
        (Protocol::Auto, _) | (_, None) => words.to_owned(),
        (_, Some(_)) => format!("{words}, over TLS"),
    }
}

/// Of the tables that say what is spoken, those that matter here.
pub(super) fn all(way: &Way<'_>) -> Vec<Policy> {
    let upstream = way.upstream;
    let mut all = Vec::new();
    all.extend(upstream.tls.as_ref().map(tls));
    match (upstream.protocol, &upstream.tls) {
        (Protocol::Http2, _) => all.push(http2(&upstream.http2)),
        (Protocol::Auto, Some(_)) => {
            all.push(http2(&upstream.http2).note("where TLS agrees on HTTP/2"));
        }
        _ => {}
    }
    if upstream.proxy_protocol {
        let policy = Policy::new("proxy_protocol", None).set("version", 2);
        all.push(policy.note("each connection begins with the addresses of the caller's"));
    }
    let forwarding = &upstream.forwarding;
    let told: Vec<_> = [
        ("via", forwarding.via),
        ("forwarded", forwarding.forwarded),
        ("x_forwarded", forwarding.x_forwarded),
    ]
    .into_iter()
    .filter(|(_, told)| *told)
    .collect();
    if !told.is_empty() {
        let policy = Policy::new("forwarding", None);
        all.push(
            told.iter()
                .fold(policy, |policy, (key, told)| policy.set(key, told)),
        );
    }
    all.extend(upstream.forward.as_ref().map(|table| forward(way, table)));
    all
}

fn tls(tls: &UpstreamTls) -> Policy {
    let file =
        |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let given = [
        ("server_name", tls.server_name.clone()),
        ("cert", file(&tls.cert)),
    ];
    let policy = Policy::new("tls", None)
        .set("min_version", version(tls.min_version))
        .set(
            "ca",
            file(&tls.ca).unwrap_or_else(|| "that of the system".to_owned()),
        );
    let policy = given
        .into_iter()
        .fold(policy, |policy, (key, value)| match value {
            Some(value) => policy.set(key, value),
            None => policy,
        });
    match tls.pins.len() {
        0 => policy,
        pins => policy.set("pins", pins),
    }
}

/// A version as the configuration writes it.
const fn version(version: TlsVersion) -> &'static str {
    match version {
        TlsVersion::V1_2 => "1.2",
        TlsVersion::V1_3 => "1.3",
    }
}

fn http2(http2: &Http2) -> Policy {
    Policy::new("http2", None)
        .set("max_streams", http2.max_streams)
        .set("stream_window", http2.stream_window)
        .set("connection_window", http2.connection_window)
        .time("ping_interval", http2.ping_interval)
        .time("ping_timeout", http2.ping_timeout)
}

fn forward(way: &Way<'_>, forward: &Forward) -> Policy {
    let policy = Policy::new("forward", None).set("allow", list(forward.allow.iter()));
    let policy = if forward.allow_addresses.is_empty() {
        policy
    } else {
        policy.set("allow_addresses", list(forward.allow_addresses.iter()))
    };
    policy
        .set("max_targets", forward.max_targets)
        .time("idle_timeout", forward.idle_timeout)
        .note(match way.names(forward) {
            Some((target, false)) => format!("{target} is refused with 403: `allow` has no match"),
            Some((target, true)) => format!(
                "{target} may be named, and has a bulkhead, breaker and connections of its own"
            ),
            None => "a request that names no host is refused with 400".to_owned(),
        })
}
