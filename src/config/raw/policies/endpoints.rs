//! The keys of what chooses among endpoints: `balance` and `ejection`.

use std::time::Duration;

use super::super::Default::Value;
use super::super::{
    DURATION, DURATION_OR_OFF, DURATION_OR_ZERO, Kind, RATIO, Table, form, integer, integer_or, key,
};
use super::{FIELD_OR_NONE, LEAST_RATE, MODE};
use crate::config::value;

/// `balance`.
pub static BALANCE: Table = Table {
    title: "`balance`",
    doc: "How an endpoint is chosen for an attempt.",
    keys: &[
        key(
            "policy",
            Kind::Word(&[
                "least_inflight",
                "peak_ewma",
                "round_robin",
                "weighted",
                "ring_hash",
            ]),
            Value("\"least_inflight\""),
            "Of two at random the one with less in flight, or with less latency times requests in flight; or one after the other; or at random by `weights`; or the same for the same key.",
        ),
        key(
            "decay",
            DURATION,
            Value("\"10s\""),
            "Of `peak_ewma`: a past latency loses its weight over this long.",
        ),
        key(
            "hash_header",
            FIELD_OR_NONE,
            Value("\"\""),
            "Of `ring_hash`: the field whose value is the key.",
        ),
        key(
            "hash_cookie",
            form(
                "the name of a cookie, or `\"\"`",
                value::cookie_name_or_none,
            ),
            Value("\"\""),
            "Of `ring_hash`: the cookie whose value is the key.",
        ),
        key(
            "slow_start",
            DURATION_OR_OFF,
            Value("\"off\""),
            "A new or returned endpoint gets its full share only after this long.",
        ),
    ],
};

/// `ejection`.
pub static EJECTION: Table = Table {
    title: "`ejection`",
    doc: "When one endpoint of several is left out for a while; never the last one.\nWhere this table stands, `ejection = false` is short for `ejection = { mode = \"off\" }`.",
    keys: &[
        key(
            "mode",
            MODE,
            Value("\"enforce\""),
            "Whether endpoints are left out; `observe` only counts which would be.",
        ),
        key(
            "consecutive_failures",
            integer_or("off", 1, 100_000),
            Value("5"),
            "An endpoint is ejected after this many failures in a row.",
        ),
        key(
            "failure_rate",
            Kind::Number {
                min: LEAST_RATE,
                max: 1.0,
                word: Some("off"),
            },
            Value("0.85"),
            "An endpoint is ejected at this share of failures in an interval.",
        ),
        key(
            "min_volume",
            integer(1, 1_000_000),
            Value("50"),
            "That share counts only from this many outcomes in the interval on.",
        ),
        key(
            "min_endpoints",
            integer(1, 100_000),
            Value("5"),
            "And only if this many endpoints have that many outcomes.",
        ),
        key(
            "interval",
            Kind::Between(Duration::from_millis(10), Duration::from_secs(3600)),
            Value("\"10s\""),
            "How often the shares are looked at.",
        ),
        key(
            "eject_for",
            DURATION,
            Value("\"30s\""),
            "How long an endpoint is left out for the first time; each further time soon after adds as much.",
        ),
        key(
            "eject_for_max",
            DURATION,
            Value("\"300s\""),
            "The longest it is left out; an inherited value counts as `eject_for` where that is more.",
        ),
        key(
            "jitter",
            DURATION_OR_ZERO,
            Value("\"1s\""),
            "That time is lengthened by up to this, at random.",
        ),
        key(
            "max_ejected",
            RATIO,
            Value("0.5"),
            "Greatest share of the endpoints that is left out at once; one may be in any case.",
        ),
    ],
};
