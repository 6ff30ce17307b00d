//! The keys themselves.

use super::{Default, Form, Key, Kind, Table};
use crate::config::section::Setting;
use crate::config::value::{self, Invalid};

use Default::{Derived, Required, Value};

const fn key(name: &'static str, kind: Kind, default: Default, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        default,
        doc,
    }
}

const fn form(name: &'static str, parse: fn(&str) -> Result<Setting, Invalid>) -> Kind {
    Kind::Text(Form { name, parse })
}

const fn integer(min: u64, max: u64) -> Kind {
    Kind::Integer {
        min,
        max,
        word: None,
    }
}

const fn integer_or(word: &'static str, min: u64, max: u64) -> Kind {
    Kind::Integer {
        min,
        max,
        word: Some(word),
    }
}

/// Rates are kept in thousandths of a percent: this is the smallest that can trip.
const LEAST_RATE: f64 = 0.000_01;

const RATE: Kind = Kind::Number {
    min: LEAST_RATE,
    max: 1.0,
};

const RATIO: Kind = Kind::Number { min: 0.0, max: 1.0 };

const DURATION: Kind = Kind::Duration {
    zero: false,
    off: false,
};

const DURATION_OR_ZERO: Kind = Kind::Duration {
    zero: true,
    off: false,
};

const DURATION_OR_OFF: Kind = Kind::Duration {
    zero: false,
    off: true,
};

const ADDRESS: Kind = form("an address such as `\"127.0.0.1:9001\"`", value::address);

const ADDRESS_OR_OFF: Kind = form(
    "an address such as `\"127.0.0.1:9901\"`, or `\"off\"`",
    value::address_or_off,
);

const NAME: Kind = form("a name", value::name);

const MODE: Kind = Kind::Word(&["enforce", "observe", "off"]);

/// The file.
pub static ROOT: Table = Table {
    title: "the file",
    doc: "One TOML file describes everything.",
    keys: &[
        key(
            "runtime",
            Kind::Table(&RUNTIME),
            Default::Table,
            "Threads and shutdown.",
        ),
        key(
            "admin",
            Kind::Table(&ADMIN),
            Default::Table,
            "The admin listener.",
        ),
        key(
            "metrics",
            Kind::Table(&METRICS),
            Default::Table,
            "The read-only listener for Prometheus and orchestrators.",
        ),
        key(
            "log",
            Kind::Table(&LOG),
            Default::Table,
            "The process log, on standard error.",
        ),
        key(
            "access_log",
            Kind::Table(&ACCESS_LOG),
            Default::Table,
            "One line a request, on standard output.",
        ),
        key(
            "discovery",
            Kind::Table(&DISCOVERY),
            Default::Table,
            "How endpoints are found.",
        ),
        key(
            "defaults",
            Kind::Table(&DEFAULTS),
            Default::Table,
            "What holds for every upstream and listener.",
        ),
        key(
            "upstreams",
            Kind::Named(&UPSTREAM),
            Default::Table,
            "What is called, by name.",
        ),
        key(
            "listeners",
            Kind::Tables(&LISTENER),
            Default::Table,
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
        "Where the admin listener binds; it must be a loopback address.",
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
    doc: "One line a request, on standard output.",
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
    keys: &[key(
        "dns",
        Kind::Table(&DNS),
        Default::Table,
        "Resolution of names.",
    )],
};

/// `[discovery.dns]`.
pub static DNS: Table = Table {
    title: "`[discovery.dns]`",
    doc: "Names of endpoints are resolved off the request path, again and again as their answers expire.",
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
        key(
            "downstream",
            Kind::Table(&DOWNSTREAM),
            Default::Table,
            "What callers may do.",
        ),
        key(
            "bulkhead",
            Kind::Table(&BULKHEAD),
            Default::Table,
            "Concurrency and connections.",
        ),
        key(
            "timeouts",
            Kind::Table(&TIMEOUTS),
            Default::Table,
            "How long things may take.",
        ),
        key(
            "breaker",
            Kind::Switch(&BREAKER),
            Default::Table,
            "When to cut an upstream loose.",
        ),
        key(
            "fallback",
            Kind::Switch(&FALLBACK),
            Default::Table,
            "What to answer instead of an error.",
        ),
    ],
};

/// `downstream`.
pub static DOWNSTREAM: Table = Table {
    title: "`downstream`",
    doc: "What the callers of a listener may do.",
    keys: &[
        key(
            "header_timeout",
            DURATION,
            Value("\"10s\""),
            "How long a request head may take, from its first byte to its last.",
        ),
        key(
            "idle_timeout",
            DURATION,
            Value("\"5m\""),
            "A keep-alive connection without a request is closed after this long.",
        ),
        key(
            "max_header_bytes",
            Kind::Size {
                min: 8 << 10,
                max: 16 << 20,
            },
            Value("\"64KiB\""),
            "Greatest size of a request head.",
        ),
        key(
            "max_headers",
            integer(1, 10_000),
            Value("100"),
            "Greatest number of fields in a request head.",
        ),
        key(
            "max_connections",
            integer(1, 1_000_000),
            Value("10000"),
            "Connections open at once on this listener; more are closed at accept.",
        ),
        key(
            "half_close",
            Kind::Bool,
            Value("false"),
            "Whether a caller that closes its sending side is still answered; if not, that cancels its request.",
        ),
    ],
};

/// `bulkhead`.
pub static BULKHEAD: Table = Table {
    title: "`bulkhead`",
    doc: "Limits of concurrency, exact and for the whole process, so that one slow upstream cannot take everything.",
    keys: &[
        key(
            "mode",
            MODE,
            Value("\"enforce\""),
            "Whether `max_requests` and the queue act; `observe` only counts what they would refuse; `max_connections` always acts.",
        ),
        key(
            "max_requests",
            integer(1, 1_000_000),
            Value("64"),
            "Requests in flight, each until the end of its response body.",
        ),
        key(
            "max_queued",
            integer(0, 1_000_000),
            Value("32"),
            "Requests that may wait for a place, in order; beyond it they are refused at once.",
        ),
        key(
            "queue_timeout",
            DURATION_OR_ZERO,
            Value("\"100ms\""),
            "Longest wait for a place, and then for a connection.",
        ),
        key(
            "max_connections",
            integer(1, 1_000_000),
            Value("64"),
            "Open connections to the upstream.",
        ),
        key(
            "max_idle",
            integer(0, 1_000_000),
            Value("32"),
            "Idle connections that are kept; an inherited value counts as `max_connections` where that is less.",
        ),
        key(
            "idle_timeout",
            DURATION,
            Value("\"4s\""),
            "An idle connection is closed after this long, or a second before the upstream's `Keep-Alive: timeout` if that is sooner.",
        ),
        key(
            "max_age",
            DURATION_OR_OFF,
            Value("\"5m\""),
            "A connection is not used again past this age, less up to a tenth at random.",
        ),
    ],
};

/// `timeouts`.
pub static TIMEOUTS: Table = Table {
    title: "`timeouts`",
    doc: "How long things may take.",
    keys: &[
        key(
            "connect",
            DURATION_OR_OFF,
            Value("\"1s\""),
            "From dialling to a usable connection.",
        ),
        key(
            "first_byte",
            DURATION_OR_OFF,
            Value("\"5s\""),
            "From the dispatch of an attempt to its response head, not counting waits for the caller's upload.",
        ),
        key(
            "request",
            DURATION_OR_OFF,
            Value("\"10s\""),
            "From the request head received to the response head sent: queue and all attempts.",
        ),
        key(
            "stream_idle",
            DURATION_OR_OFF,
            Value("\"5m\""),
            "How long a body may stand still, in both directions.",
        ),
        key(
            "total",
            DURATION_OR_OFF,
            Value("\"off\""),
            "From the request head received to the end of the response body; what is unfinished then is aborted.",
        ),
        key(
            "deadline_header",
            form("a header field name, or `\"\"`", value::field_name),
            Value("\"\""),
            "The field in which callers say how many milliseconds they still wait; the rest of it is sent on to the upstream.",
        ),
    ],
};

/// `breaker`.
pub static BREAKER: Table = Table {
    title: "`breaker`",
    doc: "When an upstream is cut loose, and how it is tried again.\nWhere this table stands, `breaker = false` is short for `breaker = { mode = \"off\" }`.",
    keys: &[
        key(
            "mode",
            MODE,
            Value("\"enforce\""),
            "Whether the breaker acts; `observe` only counts what it would refuse.",
        ),
        key(
            "window",
            Kind::Window,
            Value("\"10s\""),
            "What the rates are computed over: the last seconds, or the last calls.",
        ),
        key(
            "min_calls",
            integer(1, 100_000),
            Value("20"),
            "Rates count only from this many calls in the window on.",
        ),
        key(
            "failure_rate",
            RATE,
            Value("0.5"),
            "The breaker opens at this share of failed calls.",
        ),
        key(
            "slow_call",
            DURATION_OR_OFF,
            Derived("half of `timeouts.first_byte`", "\"2500ms\""),
            "A call is slow if its response head took longer than this.",
        ),
        key(
            "slow_rate",
            RATE,
            Value("0.5"),
            "The breaker opens at this share of slow calls.",
        ),
        key(
            "count_overdue",
            Kind::Bool,
            Value("true"),
            "Whether calls that already run longer than `slow_call` count while they still run.",
        ),
        key(
            "consecutive_failures",
            integer_or("off", 1, 100_000),
            Value("7"),
            "The breaker opens after this many failures in a row, whatever `min_calls` says.",
        ),
        key(
            "open_for",
            DURATION,
            Value("\"5s\""),
            "How long the breaker stays open for the first time.",
        ),
        key(
            "open_for_max",
            DURATION,
            Value("\"60s\""),
            "Greatest open time; an inherited value counts as `open_for` where that is more.",
        ),
        key(
            "open_multiplier",
            Kind::Number {
                min: 1.0,
                max: 1000.0,
            },
            Value("2.0"),
            "The open time grows by this factor each time the probes fail.",
        ),
        key(
            "open_jitter",
            RATIO,
            Value("0.2"),
            "The open time is lengthened by up to this share, at random.",
        ),
        key(
            "half_open_calls",
            integer(1, 1000),
            Value("3"),
            "Probes that decide whether the breaker closes again.",
        ),
        key(
            "half_open_max_wait",
            DURATION_OR_OFF,
            Value("\"off\""),
            "Longest wait for the results of the probes.",
        ),
        key(
            "half_open_on_max_wait",
            Kind::Word(&["open", "closed"]),
            Value("\"open\""),
            "The state after that wait.",
        ),
        key(
            "auto_half_open",
            Kind::Bool,
            Value("false"),
            "Whether the open state ends by time alone, not with the first request after it.",
        ),
        key(
            "failure_status",
            Kind::List(&Kind::Status),
            Value("[\"500-599\"]"),
            "Statuses that are failures.",
        ),
        key(
            "ignore_status",
            Kind::List(&Kind::Status),
            Value("[]"),
            "Statuses that say nothing about the upstream.",
        ),
        key(
            "failure_grpc",
            Kind::List(&integer(1, 16)),
            Value("[2, 4, 13, 14, 15]"),
            "gRPC statuses that are failures.",
        ),
        key(
            "settle_after",
            DURATION,
            Value("\"5s\""),
            "A response whose body still flows this long after its head is a success.",
        ),
    ],
};

/// `fallback`.
pub static FALLBACK: Table = Table {
    title: "`fallback`",
    doc: "A static reply in place of an error of ours; none unless this table is given.\nWhere this table stands, `fallback = false` takes an inherited one away.",
    keys: &[
        key("status", integer(200, 599), Value("200"), "Its status."),
        key(
            "body",
            form("a string", value::text),
            Value("\"\""),
            "Its body, sent as it is.",
        ),
        key(
            "content_type",
            form("a header field value", value::field_value),
            Value("\"application/json\""),
            "The `content-type` of the body.",
        ),
    ],
};

/// `[upstreams.NAME]`.
pub static UPSTREAM: Table = Table {
    title: "`[upstreams.NAME]`",
    doc: "A service that is called, by a name that metrics and logs use.\nEither `endpoints` or `dns` is required.",
    keys: &[
        key(
            "listen",
            ADDRESS,
            Derived("none", "\"127.0.0.1:9001\""),
            "Short for a listener of the upstream's name with one route that takes everything here.",
        ),
        key(
            "endpoints",
            Kind::List(&form("`\"http://host:port\"`", value::endpoint)),
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
            "host",
            form(
                "`\"endpoint\"`, `\"preserve\"` or a host",
                value::host_header,
            ),
            Value("\"endpoint\""),
            "What the upstream sees in `Host`: the endpoint as configured, what the caller sent, or this value.",
        ),
        key(
            "bulkhead",
            Kind::Table(&BULKHEAD),
            Default::Table,
            "Concurrency and connections.",
        ),
        key(
            "timeouts",
            Kind::Table(&TIMEOUTS),
            Default::Table,
            "How long things may take.",
        ),
        key(
            "breaker",
            Kind::Switch(&BREAKER),
            Default::Table,
            "When to cut it loose.",
        ),
        key(
            "fallback",
            Kind::Switch(&FALLBACK),
            Default::Table,
            "What to answer instead of an error.",
        ),
        key(
            "downstream",
            Kind::Table(&DOWNSTREAM),
            Default::Table,
            "What callers may do on `listen`.",
        ),
    ],
};

/// `[[listeners]]`.
pub static LISTENER: Table = Table {
    title: "`[[listeners]]`",
    doc: "Many upstreams on one port.",
    keys: &[
        key(
            "name",
            NAME,
            Derived("the address", "\"shared\""),
            "Its name in metrics and logs.",
        ),
        key(
            "address",
            ADDRESS,
            Required("\"127.0.0.1:8080\""),
            "Where it binds.",
        ),
        key(
            "downstream",
            Kind::Table(&DOWNSTREAM),
            Default::Table,
            "What its callers may do.",
        ),
        key(
            "routes",
            Kind::Tables(&ROUTE),
            Default::Table,
            "Where its requests go: the first route that matches.",
        ),
    ],
};

/// `[[listeners.routes]]`.
pub static ROUTE: Table = Table {
    title: "`[[listeners.routes]]`",
    doc: "A rule that requests match, and where they go; a rule without conditions matches all.\nA route with `timeouts` or `breaker` has a breaker of its own; other routes share the upstream's.",
    keys: &[
        key(
            "name",
            NAME,
            Derived(
                "the upstream's name, followed by `#2` and so on for further routes to it",
                "\"search-v2\"",
            ),
            "Its name in metrics and logs.",
        ),
        key(
            "host",
            form("a host, or `\"*.\"` and a host", value::host_pattern),
            Derived("any", "\"search.local\""),
            "Matches the host of the request without its port; `*.local` matches every name below `local`.",
        ),
        key(
            "path_prefix",
            form("the beginning of a path", value::path_prefix),
            Derived("any", "\"/v2\""),
            "Matches whole segments: `/v2` matches `/v2` and `/v2/x`, not `/v20`.",
        ),
        key(
            "methods",
            Kind::List(&form("a method", value::method)),
            Derived("any", "[\"GET\", \"HEAD\"]"),
            "Matches these methods.",
        ),
        key(
            "upstream",
            form("the name of an upstream", value::text),
            Required("\"search\""),
            "Where the request goes.",
        ),
        key(
            "timeouts",
            Kind::Table(&TIMEOUTS),
            Default::Table,
            "Timeouts that differ here.",
        ),
        key(
            "breaker",
            Kind::Switch(&BREAKER),
            Default::Table,
            "Breaker settings that differ here.",
        ),
        key(
            "fallback",
            Kind::Switch(&FALLBACK),
            Default::Table,
            "What to answer here instead of an error.",
        ),
    ],
};
