//! The keys of the policy tables, which upstreams, listeners and routes share.

mod admission;
mod attempts;
mod endpoints;
mod faults;

pub use admission::{ADAPTIVE, CLASS, PRIORITY, RATE_LIMIT};
pub use attempts::{BACKOFF, BUDGET, HEDGE, RETRY};
pub use endpoints::{BALANCE, EJECTION};
pub use faults::FAULT;

use super::Default::{Derived, Value};
use super::protocols::DOWNSTREAM_HTTP2;
use super::{
    DURATION, DURATION_OR_OFF, DURATION_OR_ZERO, Kind, RATIO, Table, form, group, integer,
    integer_or, key, number, size, size_or,
};
use crate::config::value;

/// Rates are kept in thousandths of a percent: this is the smallest that can trip.
const LEAST_RATE: f64 = 0.000_01;

const RATE: Kind = number(LEAST_RATE, 1.0);

const MODE: Kind = Kind::Word(&["enforce", "observe", "off"]);

const FIELD_OR_NONE: Kind = form("a header field name, or `\"\"`", value::field_name_or_none);

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
            size(8 << 10, 16 << 20),
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
        key(
            "keep_header_case",
            Kind::Bool,
            Value("false"),
            "Whether names of fields go on between callers and upstreams of HTTP/1 as they were spelled, both ways, which costs some processor time; if not, they are in lower case. Answers of one upstream are spelled alike on all listeners.",
        ),
        key(
            "max_connections_per_client",
            integer_or("off", 1, 1_000_000),
            Value("\"off\""),
            "Of those, connections from one client address; more are closed at accept.",
        ),
        key(
            "max_target_bytes",
            size(256, 64 << 10),
            Value("\"8KiB\""),
            "Greatest length of a request target, path and query; longer ones are answered with 414.",
        ),
        key(
            "min_body_rate",
            size_or("off", 1, 1 << 30),
            Value("\"off\""),
            "Least size of a request body that comes in a second, over any ten of them while we are ready to read; a slower caller is answered with 408.",
        ),
        key(
            "upgrades",
            Kind::List(&form("a protocol such as `\"websocket\"`", value::upgrade)),
            Value("[\"websocket\"]"),
            "Protocols that a caller may upgrade its connection to; `[]` is none.",
        ),
        group(
            "http2",
            Kind::Table(&DOWNSTREAM_HTTP2),
            "HTTP/2 connections of callers.",
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
            Derived("32, or half of `max_connections` where that is more", "32"),
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
            "tunnel_idle",
            DURATION_OR_OFF,
            Value("\"1h\""),
            "How long a tunnel may stand still, in both directions: an upgraded connection, a `CONNECT`, a TCP upstream; no other timeout ends one that stands.",
        ),
        key(
            "total",
            DURATION_OR_OFF,
            Value("\"off\""),
            "From the request head received to the end of the response body; what is unfinished then is aborted.",
        ),
        key(
            "deadline_header",
            FIELD_OR_NONE,
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
            Derived(
                "half of `timeouts.first_byte`, or of `timeouts.connect` over TCP",
                "\"2500ms\"",
            ),
            "A call is slow if its response head took longer than this, or the connection to a TCP upstream.",
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
            number(1.0, 1000.0),
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
            Kind::List(&Kind::Status(&[])),
            Value("[\"500-599\"]"),
            "Statuses that are failures.",
        ),
        key(
            "ignore_status",
            Kind::List(&Kind::Status(&[])),
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
