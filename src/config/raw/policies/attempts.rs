//! The keys of what makes further attempts: `retry` and `hedge`.

use std::time::Duration;

use super::super::Default::{Derived, Value};
use super::super::{
    DURATION, DURATION_OR_ZERO, Kind, Table, form, group, integer, key, number, size,
};
use super::MODE;
use crate::config::value;

/// `retry`.
pub static RETRY: Table = Table {
    title: "`retry`",
    doc: "Which requests are sent again, how often and how soon.\nA request is sent again only if that is safe: it certainly never reached the upstream, or its method is idempotent, or it carries a key that the upstream honours.\nWhere this table stands, `retry = false` is short for `retry = { mode = \"off\" }`.",
    keys: &[
        key(
            "mode",
            MODE,
            Value("\"enforce\""),
            "Whether requests are sent again; `observe` only counts which would be.",
        ),
        key(
            "retries",
            integer(0, 10),
            Value("1"),
            "Attempts after the first.",
        ),
        key(
            "on",
            Kind::List(&Kind::Status(&["not-sent", "reset", "timeout"])),
            Value("[\"not-sent\", \"reset\", \"502\", \"503\", \"504\"]"),
            "What is tried again: what the upstream certainly did not process, a connection that broke before the response head, an attempt that ran out of `first_byte`, statuses.",
        ),
        key(
            "on_grpc",
            Kind::List(&integer(1, 16)),
            Value("[14]"),
            "gRPC statuses that are tried again, in a response without a message.",
        ),
        key(
            "non_idempotent",
            Kind::Bool,
            Value("false"),
            "Whether requests are sent again that the upstream may then carry out twice.",
        ),
        key(
            "max_body_buffer",
            size(0, 16 << 20),
            Value("\"64KiB\""),
            "Request bodies up to this size are kept to be sent again.",
        ),
        key(
            "max_retry_after",
            DURATION_OR_ZERO,
            Value("\"2s\""),
            "An upstream that asks for a longer wait, in `retry-after` or `grpc-retry-pushback-ms`, is not tried again.",
        ),
        key(
            "honours_idempotency_key",
            Kind::Bool,
            Value("false"),
            "Whether the upstream carries out only once what carries the same idempotency key, so that it may be sent again.",
        ),
        key(
            "mint_idempotency_key",
            Kind::Bool,
            Value("false"),
            "Whether a request that would need a key and has none gets one, the same on all attempts.",
        ),
        key(
            "idempotency_key_header",
            form("a header field name", value::field_name),
            Value("\"idempotency-key\""),
            "The field that carries the key.",
        ),
        group(
            "backoff",
            Kind::Table(&BACKOFF),
            "How long to wait before each retry.",
        ),
        group(
            "budget",
            Kind::Table(&BUDGET),
            "What bounds the retries and hedges of an upstream; not in routes.",
        ),
    ],
};

/// `retry.backoff`.
pub static BACKOFF: Table = Table {
    title: "`retry.backoff`",
    doc: "How long to wait before each retry: up to a ceiling that doubles from one to the next.\nWhat the upstream asks for (`retry-after`, `grpc-retry-pushback-ms`) comes first.",
    keys: &[
        key(
            "base",
            DURATION,
            Value("\"25ms\""),
            "Ceiling of the first wait.",
        ),
        key(
            "max",
            DURATION,
            Value("\"250ms\""),
            "Greatest ceiling; an inherited value counts as `base` where that is more.",
        ),
        key(
            "jitter",
            Kind::Word(&["full", "equal", "decorrelated", "none"]),
            Value("\"full\""),
            "How a wait is drawn: anything up to the ceiling, its upper half, anything from `base` to three times the wait before, or the ceiling itself.",
        ),
    ],
};

/// `retry.budget`.
pub static BUDGET: Table = Table {
    title: "`retry.budget`",
    doc: "What bounds the retries and hedges of an upstream, over all its routes: within `window`, at most `ratio` of its requests and a reserve of `min_per_second` times `window`.",
    keys: &[
        key(
            "ratio",
            number(0.0, 10.0),
            Value("0.2"),
            "Retries and hedges per request.",
        ),
        key(
            "min_per_second",
            integer(0, 100_000),
            Value("3"),
            "Retries and hedges per second that are allowed however few requests there are.",
        ),
        key(
            "window",
            Kind::Between(Duration::from_secs(1), Duration::from_secs(60)),
            Value("\"10s\""),
            "How long a request counts.",
        ),
    ],
};

/// `hedge`.
pub static HEDGE: Table = Table {
    title: "`hedge`",
    doc: "A further attempt beside one that is late; the first answer wins.\nNone unless this table is given.\nOnly idempotent requests are hedged, inside `retry.budget`; a route has either retries or hedges, and this table takes the place of inherited `retries`.\nWhere this table stands, `hedge = false` takes an inherited one away.",
    keys: &[
        key(
            "mode",
            MODE,
            Value("\"enforce\""),
            "Whether hedges are sent; `observe` only counts them and leaves retries as they are.",
        ),
        key(
            "max_hedges",
            integer(1, 3),
            Value("1"),
            "Attempts beside the first.",
        ),
        key(
            "delay",
            DURATION,
            Derived("none", "\"50ms\""),
            "How long an attempt may be without an answer before the next is sent.",
        ),
        key(
            "delay_percentile",
            number(0.5, 0.999),
            Value("0.95"),
            "The same as a share of recent response times, where no `delay` is given.",
        ),
        key(
            "same_endpoint",
            Kind::Bool,
            Value("false"),
            "Whether a hedge may go to an endpoint that the request already uses, as where the one endpoint is itself a load balancer.",
        ),
    ],
};
