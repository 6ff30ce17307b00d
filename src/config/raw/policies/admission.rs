//! The keys of what lets requests in: `rate_limit`, `priority` and `adaptive`.

use std::time::Duration;

use super::super::Default::{Derived, Value};
use super::super::{
    DURATION, DURATION_OR_ZERO, Kind, RATIO, Table, form, group, integer, key, number,
};
use super::{FIELD_OR_NONE, MODE};
use crate::config::value;

/// `rate_limit`.
pub static RATE_LIMIT: Table = Table {
    title: "`rate_limit`",
    doc: "Greatest rate of requests to an upstream, for the whole process; none unless this table is given, with its `rate`.\nA request counts once, whatever its retries and hedges.\nWhere this table stands, `rate_limit = false` takes an inherited one away.",
    keys: &[
        key(
            "mode",
            MODE,
            Value("\"enforce\""),
            "Whether the limit acts; `observe` only counts what it would refuse.",
        ),
        key(
            "rate",
            integer(1, 1_000_000),
            Derived("none", "100"),
            "Requests per `per`.",
        ),
        key(
            "per",
            Kind::Between(Duration::from_millis(1), Duration::from_secs(3600)),
            Value("\"1s\""),
            "The time in which `rate` requests are let in.",
        ),
        key(
            "burst",
            integer(1, 1_000_000),
            Derived("`rate`", "100"),
            "Requests that may come at once after a pause.",
        ),
        key(
            "max_wait",
            DURATION_OR_ZERO,
            Value("\"0s\""),
            "Longest wait of a request for its turn; it is refused at once if it would be longer.",
        ),
    ],
};

/// `priority`.
pub static PRIORITY: Table = Table {
    title: "`priority`",
    doc: "Classes of requests, each with a share of the bulkhead that the others cannot take; none unless this table is given, with its `classes`.\nWhere this table stands, `priority = false` takes an inherited one away.",
    keys: &[
        key(
            "mode",
            MODE,
            Value("\"enforce\""),
            "Whether shares are kept; `observe` only counts what they would refuse.",
        ),
        key(
            "header",
            FIELD_OR_NONE,
            Value("\"\""),
            "The field in which callers name the class; without it only routes do.",
        ),
        key(
            "default",
            form("the name of a class", value::text),
            Derived("the first of `classes`", "\"live\""),
            "The class of requests that name none, or one that is not there.",
        ),
        group(
            "classes",
            Kind::Named(&CLASS),
            "The classes, by name; an upstream that has any has only these.",
        ),
    ],
};

/// `priority.classes.NAME`.
pub static CLASS: Table = Table {
    title: "`priority.classes.NAME`",
    doc: "A class of requests.",
    keys: &[key(
        "share",
        RATIO,
        Value("0.0"),
        "Share of places and of the queue that is kept for this class; all together are at most 1.",
    )],
};

/// `adaptive`.
pub static ADAPTIVE: Table = Table {
    title: "`adaptive`",
    doc: "A limit of requests in flight, below `max_requests`, that follows the latency of the upstream; none unless this table is given.\nWhere this table stands, `adaptive = false` takes an inherited one away.",
    keys: &[
        key(
            "mode",
            MODE,
            Value("\"observe\""),
            "Whether the limit acts; `observe` only counts what it would refuse.",
        ),
        key(
            "algorithm",
            Kind::Word(&["gradient2", "aimd"]),
            Value("\"gradient2\""),
            "How the limit follows: by the ratio of the long-term latency to the present one, or up by one and down by a factor.",
        ),
        key(
            "initial",
            integer(1, 1_000_000),
            Value("20"),
            "The limit at the start; an inherited value is held between `min` and `max`.",
        ),
        key(
            "min",
            integer(1, 1_000_000),
            Value("10"),
            "The least limit; an inherited value counts as `max` where that is less.",
        ),
        key(
            "max",
            integer(1, 1_000_000),
            Value("500"),
            "The greatest limit.",
        ),
        key(
            "window",
            Kind::Between(Duration::from_millis(10), Duration::from_secs(3600)),
            Value("\"1s\""),
            "Response times are gathered at least this long before the limit moves.",
        ),
        key(
            "min_samples",
            integer(1, 100_000),
            Value("10"),
            "And at least this many of them.",
        ),
        key(
            "long_window",
            integer(1, 100_000),
            Value("600"),
            "Of `gradient2`: windows over which the long-term latency is averaged.",
        ),
        key(
            "tolerance",
            number(1.0, 10.0),
            Value("1.5"),
            "Of `gradient2`: the limit falls when the latency is more than this many times the long-term one.",
        ),
        key(
            "queue_size",
            integer(0, 10_000),
            Value("4"),
            "Of `gradient2`: what the limit may grow by in a window, and so what may queue at the upstream.",
        ),
        key(
            "smoothing",
            number(0.001, 1.0),
            Value("0.2"),
            "Of `gradient2`: how much of a new limit is taken over.",
        ),
        key(
            "backoff",
            number(0.5, 0.99),
            Value("0.9"),
            "Of `aimd`: the factor by which the limit falls.",
        ),
        key(
            "timeout",
            DURATION,
            Value("\"5s\""),
            "Of `aimd`: the limit falls when the latency is longer than this.",
        ),
    ],
};
