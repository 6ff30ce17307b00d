//! The keys of the file, but for the policy tables.

mod listeners;

pub use listeners::{LISTENER, ROUTE};

use super::Default::{Derived, Value};
use super::policies::{
    ADAPTIVE, BALANCE, BREAKER, BULKHEAD, DOWNSTREAM, EJECTION, FALLBACK, FAULT, HEDGE, PRIORITY,
    RATE_LIMIT, RETRY, TIMEOUTS,
};
use super::protocols::{FORWARD, FORWARDING, HTTP2, UPSTREAM_TLS};
use super::{
    DURATION, DURATION_OR_ZERO, Key, Kind, RATIO, Table, form, group, integer, integer_or, key,
};
use crate::config::value;

const ADDRESS: Kind = form(
    "an address such as `\"127.0.0.1:9001\"` or `\"unix:/run/a.sock\"`",
    value::address,
);

const ADDRESS_OR_OFF: Kind = form(
    "an address such as `\"127.0.0.1:9901\"` or `\"unix:/run/a.sock\"`, or `\"off\"`",
    value::address_or_off,
);

const NAME: Kind = form("a name", value::name);

// The policy tables that `[defaults]` and upstreams share.

const RATE_LIMIT_KEY: Key = group(
    "rate_limit",
    Kind::Optional(&RATE_LIMIT),
    "How many requests it gets.",
);

const PRIORITY_KEY: Key = group(
    "priority",
    Kind::Optional(&PRIORITY),
    "Which requests have places of their own.",
);

const BULKHEAD_KEY: Key = group(
    "bulkhead",
    Kind::Table(&BULKHEAD),
    "Concurrency and connections.",
);

const ADAPTIVE_KEY: Key = group(
    "adaptive",
    Kind::Optional(&ADAPTIVE),
    "Concurrency that follows the latency.",
);

const TIMEOUTS_KEY: Key = group(
    "timeouts",
    Kind::Table(&TIMEOUTS),
    "How long things may take.",
);

const BREAKER_KEY: Key = group("breaker", Kind::Switch(&BREAKER), "When to cut it loose.");

const HTTP2_KEY: Key = group("http2", Kind::Table(&HTTP2), "HTTP/2 connections to it.");

const FORWARDING_KEY: Key = group(
    "forwarding",
    Kind::Table(&FORWARDING),
    "What it is told about the way of a request.",
);

const RETRY_KEY: Key = group("retry", Kind::Switch(&RETRY), "What is sent again.");

const HEDGE_KEY: Key = group(
    "hedge",
    Kind::Optional(&HEDGE),
    "When to try a second time while the first still runs.",
);

const BALANCE_KEY: Key = group(
    "balance",
    Kind::Table(&BALANCE),
    "How an endpoint is chosen.",
);

const EJECTION_KEY: Key = group(
    "ejection",
    Kind::Switch(&EJECTION),
    "When an endpoint is left out.",
);

const FALLBACK_KEY: Key = group(
    "fallback",
    Kind::Optional(&FALLBACK),
    "What to answer instead of an error.",
);

/// The file.
pub static ROOT: Table = Table {
    title: "the file",
    doc: "One TOML file describes everything.",
    keys: &[
        group("runtime", Kind::Table(&RUNTIME), "Threads and shutdown."),
        group("admin", Kind::Table(&ADMIN), "The admin listener."),
        group(
            "metrics",
            Kind::Table(&METRICS),
            "The read-only listener for Prometheus and orchestrators.",
        ),
        group(
            "log",
            Kind::Table(&LOG),
            "The process log, on standard error.",
        ),
        group(
            "access_log",
            Kind::Table(&ACCESS_LOG),
            "One line a request.",
        ),
        group(
            "discovery",
            Kind::Table(&DISCOVERY),
            "How endpoints are found.",
        ),
        group(
            "defaults",
            Kind::Table(&DEFAULTS),
            "What holds for every upstream and listener.",
        ),
        group(
            "upstreams",
            Kind::Named(&UPSTREAM),
            "What is called, by name.",
        ),
        group(
            "listeners",
            Kind::Tables(&LISTENER),
            "Where callers connect.",
        ),
    ],
};

/// `[runtime]`.
pub static RUNTIME: Table = Table {
    title: "`[runtime]`",
    doc: "Threads and shutdown.",
    keys: &[
        key(
            "workers",
            integer_or("auto", 1, 1024),
            Value("\"auto\""),
            "Worker threads; `auto` is the CPU quota of the cgroup rounded up, at most the cores present.",
        ),
        key(
            "drain_quiet",
            DURATION_OR_ZERO,
            Value("\"5s\""),
            "A draining process ends once no request was in flight for this long.",
        ),
        key(
            "drain_grace",
            DURATION_OR_ZERO,
            Value("\"25s\""),
            "A draining process ends after this time at the latest.",
        ),
    ],
};

/// `[admin]`.
pub static ADMIN: Table = Table {
    title: "`[admin]`",
    doc: "The listener for operators.",
    keys: &[key(
        "listen",
        ADDRESS_OR_OFF,
        Value("\"127.0.0.1:9901\""),
        "Where the admin listener binds; it must be a loopback address or a Unix socket.",
    )],
};

/// `[metrics]`.
pub static METRICS: Table = Table {
    title: "`[metrics]`",
    doc: "The read-only listener for Prometheus and orchestrators.",
    keys: &[key(
        "listen",
        ADDRESS_OR_OFF,
        Value("\"0.0.0.0:9902\""),
        "Where `/metrics`, `/livez` and `/readyz` are served.",
    )],
};

/// `[log]`.
pub static LOG: Table = Table {
    title: "`[log]`",
    doc: "The process log, on standard error.",
    keys: &[
        key(
            "level",
            form(
                "a level, or several `target=level` with commas between",
                value::log_level,
            ),
            Value("\"info\""),
            "What is logged: `off`, `error`, `warn`, `info`, `debug` or `trace`; `info,outrigger::pool=debug` sets one module apart.",
        ),
        key(
            "format",
            Kind::Word(&["json", "text"]),
            Value("\"json\""),
            "One JSON object a line for machines, or text for people.",
        ),
    ],
};

/// `[access_log]`.
pub static ACCESS_LOG: Table = Table {
    title: "`[access_log]`",
    doc: "One line a request.",
    keys: &[
        key(
            "mode",
            Kind::Word(&["off", "errors", "sampled", "all"]),
            Value("\"sampled\""),
            "Which requests are written; slow and failed ones are in all modes but `off`.",
        ),
        key(
            "sample_ratio",
            RATIO,
            Value("0.01"),
            "Share of fast successes that is written in mode `sampled`.",
        ),
    ],
};

/// `[discovery]`.
pub static DISCOVERY: Table = Table {
    title: "`[discovery]`",
    doc: "How endpoints are found.",
    keys: &[group("dns", Kind::Table(&DNS), "Resolution of names.")],
};

/// `[discovery.dns]`.
pub static DNS: Table = Table {
    title: "`[discovery.dns]`",
    doc: "Names of endpoints are resolved off the request path, again and again as their answers expire.\nThe endpoints of a name are its addresses of the family that has more of them, IPv6 where both have as many; those of the other are tried beside them while connecting, after 250 ms or at once where the first fails (RFC 8305).",
    keys: &[
        key(
            "servers",
            Kind::List(&form(
                "an IP address, with a port unless it is 53",
                value::dns_server,
            )),
            Value("[]"),
            "Servers to ask; none means those of the system's `resolv.conf`.",
        ),
        key(
            "min_ttl",
            DURATION,
            Value("\"1s\""),
            "Answers are kept at least this long, whatever their TTL.",
        ),
        key(
            "max_ttl",
            DURATION,
            Value("\"5m\""),
            "Answers are kept at most this long, whatever their TTL.",
        ),
        key(
            "timeout",
            DURATION,
            Value("\"2s\""),
            "How long one query may take.",
        ),
    ],
};

/// `[defaults]`.
pub static DEFAULTS: Table = Table {
    title: "`[defaults]`",
    doc: "Any policy table can be given here, for all upstreams and listeners; each key is overridden on its own.",
    keys: &[
        group(
            "downstream",
            Kind::Table(&DOWNSTREAM),
            "What callers may do.",
        ),
        RATE_LIMIT_KEY,
        PRIORITY_KEY,
        BULKHEAD_KEY,
        ADAPTIVE_KEY,
        TIMEOUTS_KEY,
        BREAKER_KEY,
        RETRY_KEY,
        HEDGE_KEY,
        BALANCE_KEY,
        EJECTION_KEY,
        FALLBACK_KEY,
        HTTP2_KEY,
        FORWARDING_KEY,
    ],
};

/// `[upstreams.NAME]`.
pub static UPSTREAM: Table = Table {
    title: "`[upstreams.NAME]`",
    doc: "A service that is called, by a name that metrics and logs use.\nOne of `endpoints`, `dns` and `forward` is required.",
    keys: &[
        key(
            "listen",
            ADDRESS,
            Derived("none", "\"127.0.0.1:9001\""),
            "Short for a listener of the upstream's name with one route that takes everything here.",
        ),
        key(
            "endpoints",
            Kind::List(&form(
                "`\"http://host:port\"`, `\"https://host:port\"`, `\"tcp://host:port\"` or `\"unix:/path\"`",
                value::endpoint,
            )),
            Derived(
                "none",
                "[\"http://payments-a:8080\", \"http://payments-b:8080\"]",
            ),
            "Where it is; every address that a name resolves to is an endpoint.",
        ),
        key(
            "dns",
            form("`\"host:port\"`", value::dns_name),
            Derived("none", "\"search.internal:8080\""),
            "A name whose every address is an endpoint, instead of `endpoints`.",
        ),
        key(
            "weights",
            Kind::List(&integer(1, 1000)),
            Derived("1 each", "[3, 1]"),
            "One number for each of `endpoints`; under `balance.policy = \"weighted\"` the share of each is in proportion.",
        ),
        key(
            "protocol",
            Kind::Word(&["auto", "http1", "http2", "tcp"]),
            Value("\"auto\""),
            "What is spoken with it: what TLS agrees on and HTTP/1.1 without TLS, HTTP/1.1 alone, HTTP/2 alone, or bytes that are passed on as they are.",
        ),
        key(
            "proxy_protocol",
            Kind::Bool,
            Value("false"),
            "Of `protocol = \"tcp\"`: whether a connection begins with a PROXY protocol header, version 2, that names the caller; it comes before the handshake of `tls`.",
        ),
        key(
            "host",
            form(
                "`\"endpoint\"`, `\"preserve\"` or a host",
                value::host_header,
            ),
            Value("\"endpoint\""),
            "What the upstream sees in `Host`: the endpoint as configured, what the caller sent, or this value.",
        ),
        key(
            "failover",
            form("the name of an upstream", value::text),
            Derived("none", "\"search\""),
            "Where requests go that this one cannot answer, with the policies of that upstream.",
        ),
        RATE_LIMIT_KEY,
        PRIORITY_KEY,
        BULKHEAD_KEY,
        ADAPTIVE_KEY,
        TIMEOUTS_KEY,
        BREAKER_KEY,
        RETRY_KEY,
        HEDGE_KEY,
        BALANCE_KEY,
        EJECTION_KEY,
        FALLBACK_KEY,
        HTTP2_KEY,
        FORWARDING_KEY,
        group("tls", Kind::Table(&UPSTREAM_TLS), "How it is encrypted."),
        group(
            "forward",
            Kind::Table(&FORWARD),
            "Which hosts callers may name.",
        ),
        group(
            "downstream",
            Kind::Table(&DOWNSTREAM),
            "What callers may do on `listen`.",
        ),
        group(
            "faults",
            Kind::Tables(&FAULT),
            "Faults to inject, for a limited time.",
        ),
    ],
};
