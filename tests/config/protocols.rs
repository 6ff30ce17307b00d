//! What becomes of `http2`, `tls`, `forward` and the other keys of what is spoken.

use std::path::PathBuf;

use outrigger::config::Config;
use outrigger::config::model::{
    Forward, Forwarding, Http2, ListenerTls, Mode, Protocol, Timeouts, TlsVersion, UpstreamTls,
};

use super::model::good;
use super::policies::{a, ms};
use super::root;

const KIB: u32 = 1024;
const MIB: u32 = 1024 * KIB;

fn protocols() -> Config {
    let path = root().join("tests/fixtures/good/protocols.toml");
    good(&std::fs::read_to_string(path).unwrap())
}

#[test]
fn callers_are_bounded() {
    let config = protocols();
    let [ours, defaults] = [&config.listeners[5], &config.listeners[0]];
    let downstream = &defaults.downstream;
    assert_eq!(downstream.max_connections_per_client, Some(100));
    assert_eq!(downstream.max_target_bytes, 256);
    assert_eq!(downstream.min_body_rate, Some(1024));
    assert_eq!(downstream.upgrades, ["websocket", "spdy"]);
    let http2 = Http2 {
        max_streams: 1,
        stream_window: 2 * MIB,
        connection_window: 8 * MIB,
        ping_interval: None,
        ping_timeout: ms(10_000),
    };
    assert_eq!(downstream.http2, http2);
    assert!(ours.downstream.upgrades.is_empty());
    let max_streams = 8;
    assert_eq!(
        ours.downstream.http2,
        Http2 {
            max_streams,
            connection_window: 16 * MIB,
            ..http2
        }
    );
}

#[test]
fn callers_are_hardly_bounded_by_default() {
    let config = good("[upstreams.a]\nlisten = \"127.0.0.1:0\"\ndns = \"a:1\"");
    let listener = &config.listeners[0];
    assert_eq!((listener.protocol, &listener.tls), (Protocol::Auto, &None));
    let downstream = &listener.downstream;
    assert_eq!(downstream.max_connections_per_client, None);
    assert_eq!(downstream.max_target_bytes, 8 * 1024);
    assert_eq!(downstream.min_body_rate, None);
    assert_eq!(downstream.upgrades, ["websocket"]);
    let http2 = Http2 {
        max_streams: 128,
        stream_window: 64 * KIB,
        connection_window: 8 * MIB,
        ping_interval: Some(ms(30_000)),
        ping_timeout: ms(10_000),
    };
    assert_eq!(downstream.http2, http2);
}

#[test]
fn an_upstream_speaks_plain_http_by_default() {
    let upstream = a("", "");
    assert_eq!(upstream.protocol, Protocol::Auto);
    assert_eq!((upstream.tls, upstream.forward), (None, None));
    assert!(!upstream.proxy_protocol);
    assert_eq!(upstream.forwarding, Forwarding::default());
    assert_eq!(upstream.timeouts.tunnel_idle, Some(ms(3_600_000)));
    let http2 = Http2 {
        max_streams: 100,
        stream_window: 256 * KIB,
        connection_window: 25 * MIB,
        ping_interval: Some(ms(300_000)),
        ping_timeout: ms(10_000),
    };
    assert_eq!(upstream.http2, http2);
}

#[test]
fn what_is_spoken_is_read() {
    let config = protocols();
    let upstream = &config.upstreams[0];
    assert_eq!(upstream.protocol, Protocol::Http2);
    assert_eq!(upstream.timeouts.tunnel_idle, None);
    let http2 = Http2 {
        max_streams: 100,
        stream_window: 65_535,
        connection_window: 32 * MIB,
        ping_interval: Some(ms(300_000)),
        ping_timeout: ms(2_000),
    };
    assert_eq!(upstream.http2, http2);
    let forwarding = Forwarding {
        via: true,
        forwarded: false,
        x_forwarded: true,
    };
    assert_eq!(upstream.forwarding, forwarding);
    let tls = UpstreamTls {
        ca: Some(PathBuf::from("ca.pem")),
        server_name: Some("payments.internal".to_owned()),
        cert: Some(PathBuf::from("/etc/client.pem")),
        key: Some(PathBuf::from("/etc/client-key.pem")),
        min_version: TlsVersion::V1_3,
        pins: vec![std::array::from_fn(|at| u8::try_from(at).unwrap())],
    };
    assert_eq!(upstream.tls, Some(tls));
    let listener = &config.listeners[6];
    assert_eq!(listener.protocol, Protocol::Http2);
    let tls = ListenerTls {
        cert: PathBuf::from("/etc/cert.pem"),
        key: PathBuf::from("/etc/key.pem"),
        client_ca: Some(PathBuf::from("/etc/callers.pem")),
        min_version: TlsVersion::V1_3,
    };
    assert_eq!(listener.tls, Some(tls));
}

/// As it is where the table says nothing.
fn plain_tls() -> UpstreamTls {
    UpstreamTls {
        ca: None,
        server_name: None,
        cert: None,
        key: None,
        min_version: TlsVersion::V1_2,
        pins: Vec::new(),
    }
}

#[test]
fn endpoints_are_encrypted_by_scheme_or_by_table() {
    let config = protocols();
    let secure = |n: usize| {
        let endpoints = config.upstreams[n].endpoints.iter();
        endpoints.map(|endpoint| endpoint.tls).collect::<Vec<_>>()
    };
    // `dns` and `tcp://` by the table, `https://` without.
    assert_eq!(secure(0), [true]);
    assert_eq!(secure(1), [true]);
    assert_eq!(secure(2), [false, false]);
    assert_eq!(secure(4), [true, true]);
    assert_eq!(secure(5), [true, true]);
    assert_eq!(config.upstreams[2].tls, None);
    assert_eq!(config.upstreams[4].tls, Some(plain_tls()));
    assert!(config.upstreams[5].tls.is_some());
}

#[test]
fn a_tcp_upstream_makes_a_tcp_listener() {
    let config = protocols();
    let db = &config.upstreams[1];
    assert_eq!(db.protocol, Protocol::Tcp);
    assert!(db.proxy_protocol);
    assert_eq!(db.tls, Some(plain_tls()));
    let spoken: Vec<_> = config.listeners.iter().map(|each| each.protocol).collect();
    let [auto, tcp] = [Protocol::Auto, Protocol::Tcp];
    assert_eq!(spoken, [auto, tcp, auto, auto, tcp, tcp, Protocol::Http2]);
}

#[test]
fn a_tcp_upstream_is_slow_when_it_is_slow_to_connect() {
    let config = protocols();
    let slow = |breaker: &outrigger::config::model::Breaker| breaker.settings.slow_call;
    assert_eq!(slow(&config.upstreams[1].breaker), Some(ms(250)));
    let route = &config.listeners[5].routes[0];
    assert_eq!(slow(route.breaker.as_ref().unwrap()), Some(ms(1_000)));
}

#[test]
fn a_tcp_upstream_inherits_nothing_of_http() {
    let config = good(
        r#"
        [defaults]
        timeouts = { request = "8s", total = "1h", deadline_header = "x-left" }
        retry.retries = 2
        forwarding.via = true
        fallback = { status = 200 }
        adaptive = { mode = "enforce" }
        priority.classes.live = {}
        [upstreams.db]
        listen = "127.0.0.1:0"
        dns = "db:5432"
        protocol = "tcp"
        [[listeners]]
        address = "127.0.0.1:0"
        routes = [{ upstream = "db", timeouts = { tunnel_idle = "1m" } }]
        "#,
    );
    let db = &config.upstreams[0];
    let timeouts = Timeouts {
        connect: Some(ms(1_000)),
        first_byte: Some(ms(1_000)),
        request: None,
        stream_idle: None,
        tunnel_idle: Some(ms(3_600_000)),
        total: None,
        deadline_header: None,
    };
    assert_eq!(db.timeouts, timeouts);
    assert_eq!(db.retry.mode, Mode::Enforce);
    assert_eq!(db.forwarding, Forwarding::default());
    assert_eq!((&db.fallback, &db.adaptive), (&None, &None));
    assert_eq!(db.priority, None);
    let route = &config.listeners[1].routes[0];
    let tunnel_idle = Some(ms(60_000));
    assert_eq!(
        route.timeouts,
        Timeouts {
            tunnel_idle,
            ..timeouts
        }
    );
    assert_eq!((route.retry.mode, &route.fallback), (Mode::Enforce, &None));
}

#[test]
fn an_upstream_may_leave_the_host_to_callers() {
    let config = protocols();
    let outside = &config.upstreams[3];
    assert!(outside.endpoints.is_empty());
    let forward = Forward {
        allow: [
            "api.example.com",
            "*.example.org:443",
            "[2001:db8::1]:443",
            "10.0.0.7",
            "*:8443",
            "192.168.0.0/16:*",
        ]
        .map(str::to_owned)
        .to_vec(),
        allow_addresses: ["127.0.0.1", "10.0.0.0/8", "fd00::/8", "0.0.0.0/0"]
            .map(str::to_owned)
            .to_vec(),
        max_targets: 8,
        idle_timeout: ms(300_000),
    };
    assert_eq!(outside.forward, Some(forward));
}
