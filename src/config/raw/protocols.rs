//! The keys of what is spoken: `http2`, `tls`, `forwarding` and `forward`.

use super::Default::{Derived, Required, Value};
use super::{DURATION, DURATION_OR_OFF, Key, Kind, Table, form, integer, key, size};
use crate::config::value;

/// What an HTTP/2 peer may count on at the least (RFC 9113, section 6.9.2).
const LEAST_WINDOW: u64 = 65_535;

/// Most that a peer may send ahead on one connection.
pub const MAX_CONNECTION_WINDOW: u64 = 1 << 30;

const WINDOW: Kind = size(LEAST_WINDOW, 16 << 20);

/// The window of a connection, with its default. HTTP/2 allows one octet less than 2 GiB.
const fn connection_window(default: &'static str) -> Key {
    key(
        "connection_window",
        size(LEAST_WINDOW, MAX_CONNECTION_WINDOW),
        Value(default),
        "The same for all bodies of a connection: at least `max_streams` times `stream_window`, so that slow readers leave room for the others; an inherited value counts as that where that is more.",
    )
}

const PATH: Kind = form("the path of a file", value::file);

/// How long a connection may be silent, with its default.
const fn ping_interval(default: &'static str, doc: &'static str) -> Key {
    key("ping_interval", DURATION_OR_OFF, Value(default), doc)
}

const PING_TIMEOUT: Key = key(
    "ping_timeout",
    DURATION,
    Value("\"10s\""),
    "A connection that then gives none within this time is closed.",
);

const MIN_VERSION: Key = key(
    "min_version",
    Kind::Word(&["1.2", "1.3"]),
    Value("\"1.2\""),
    "Oldest version of TLS that is spoken.",
);

/// `downstream.http2`.
pub static DOWNSTREAM_HTTP2: Table = Table {
    title: "`downstream.http2`",
    doc: "HTTP/2 connections of callers.\nWhat they send ahead is held in memory.",
    keys: &[
        key(
            "max_streams",
            integer(1, 10_000),
            Value("128"),
            "Requests at once on one connection.",
        ),
        key(
            "stream_window",
            WINDOW,
            Value("\"64KiB\""),
            "How much of a request body a caller may send ahead.",
        ),
        connection_window("\"8MiB\""),
        ping_interval(
            "\"30s\"",
            "A connection that is silent for this long is asked for a sign of life.",
        ),
        PING_TIMEOUT,
    ],
};

/// `http2` of an upstream.
pub static HTTP2: Table = Table {
    title: "`http2`",
    doc: "HTTP/2 connections to an upstream.",
    keys: &[
        key(
            "max_streams",
            integer(1, 10_000),
            Value("100"),
            "Requests at once on one connection; fewer where the upstream says so.",
        ),
        key(
            "stream_window",
            WINDOW,
            Value("\"256KiB\""),
            "How much of a response body the upstream may send ahead.",
        ),
        connection_window("\"25MiB\""),
        // What servers of gRPC allow at the least before they say "too_many_pings" and hang up.
        ping_interval(
            "\"5m\"",
            "A connection that owes an answer and is silent for this long is asked for a sign of life; servers of gRPC hang up on who asks more often than each five minutes, unless they are set up for that.",
        ),
        PING_TIMEOUT,
    ],
};

/// `tls` of a listener.
pub static LISTENER_TLS: Table = Table {
    title: "`tls` of a listener",
    doc: "A listener speaks TLS where this table is given, with its `cert` and `key`.\nThe files are read again when they change; those that do not fit together leave the old ones in use.",
    keys: &[
        key(
            "cert",
            PATH,
            Required("\"/etc/outrigger/cert.pem\""),
            "File with the certificate and those that lead from it to a root, PEM.",
        ),
        key(
            "key",
            PATH,
            Required("\"/etc/outrigger/key.pem\""),
            "File with the private key of the certificate, PEM.",
        ),
        key(
            "client_ca",
            PATH,
            Derived(
                "callers need no certificate",
                "\"/etc/outrigger/callers.pem\"",
            ),
            "File with the roots, PEM, to one of which the certificate of every caller must lead.",
        ),
        MIN_VERSION,
    ],
};

/// `tls` of an upstream.
pub static UPSTREAM_TLS: Table = Table {
    title: "`tls` of an upstream",
    doc: "How an upstream is spoken to over TLS; its certificate is always checked.\n`https://` endpoints need no such table; those of `dns`, `tcp://` and `unix:` are spoken to over TLS where it is given, `tls = {}` at the least.\nThe files are read again when they change.",
    keys: &[
        key(
            "ca",
            PATH,
            Derived("those of the system", "\"/etc/outrigger/ca.pem\""),
            "File with the roots to trust, PEM, in place of the system's.",
        ),
        key(
            "server_name",
            form("a host name or an IP address", value::server_name),
            Derived("the host of the endpoint", "\"payments.internal\""),
            "The name to ask for, which the certificate must bear.",
        ),
        key(
            "cert",
            PATH,
            Derived("none", "\"/etc/outrigger/client.pem\""),
            "File with the certificate that is shown to the upstream, PEM; it goes with `key`.",
        ),
        key(
            "key",
            PATH,
            Derived("none", "\"/etc/outrigger/client-key.pem\""),
            "File with the private key of that certificate, PEM.",
        ),
        MIN_VERSION,
        key(
            "pins",
            Kind::List(&form("`\"sha256/BASE64\"`", value::pin)),
            Value("[]"),
            "SHA-256 of public keys, one of which the upstream must have; none means any.",
        ),
    ],
};

/// `forwarding`.
pub static FORWARDING: Table = Table {
    title: "`forwarding`",
    doc: "What an upstream is told about the way that a request came.",
    keys: &[
        key("via", Kind::Bool, Value("false"), "Whether `Via` is added."),
        key(
            "forwarded",
            Kind::Bool,
            Value("false"),
            "Whether the caller's address, its host and scheme stand in `Forwarded`, behind those of hops before.",
        ),
        key(
            "x_forwarded",
            Kind::Bool,
            Value("false"),
            "Whether the caller's address stands last in `X-Forwarded-For`, and what it asked for in `X-Forwarded-Proto` and `X-Forwarded-Host`, in place of what it sent there.",
        ),
    ],
};

/// `forward`.
pub static FORWARD: Table = Table {
    title: "`forward`",
    doc: "Where this table stands, callers name the host, as clients of `HTTP_PROXY` and `HTTPS_PROXY` do; the upstream then has no endpoints of its own.\nEach target has a bulkhead, a breaker and connections of its own, with the settings of the upstream.",
    keys: &[
        key(
            "allow",
            Kind::List(&form(
                "a host, `\"*.\"` and a host, a network or `\"*\"`, each with a port or without",
                value::target,
            )),
            Required("[\"api.example.com\", \"*.example.org:443\"]"),
            "Targets that callers may name; `*.` stands for one or more labels, `:*` for any port, and no port for 80 and 443.",
        ),
        key(
            "allow_addresses",
            Kind::List(&form(
                "an address or a network such as `\"10.0.0.0/8\"`",
                value::network,
            )),
            Value("[]"),
            "Addresses that may be reached although they are loopback, link-local or those of a metadata service, which no name may resolve to otherwise.",
        ),
        key(
            "max_targets",
            integer(1, 100_000),
            Value("256"),
            "Targets that are kept at once; with all of them in use, further ones are refused.",
        ),
        key(
            "idle_timeout",
            DURATION,
            Value("\"5m\""),
            "A target that nobody asked for is forgotten after this long.",
        ),
    ],
};
