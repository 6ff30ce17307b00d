//! The keys of an item of `faults`.

use super::super::Default::{Derived, Required, Value};
use super::super::{DURATION, Kind, RATIO, Table, form, integer, key, size};
use crate::config::value;

/// `[[upstreams.NAME.faults]]`.
pub static FAULT: Table = Table {
    title: "`[[upstreams.NAME.faults]]`",
    doc: "A fault that is injected into attempts, to see how everything bears it.\nIt always ends by itself, and an upstream has at most 16.",
    keys: &[
        key(
            "action",
            Kind::Word(&["delay", "abort", "reset", "truncate", "slow-body"]),
            Required("\"delay\""),
            "What happens: the attempt waits, gets a status, loses its connection before the response, in the middle of the body, or gets the body slowly.",
        ),
        key(
            "share",
            RATIO,
            Value("1.0"),
            "To how many of the attempts that match.",
        ),
        key(
            "delay",
            DURATION,
            Derived("none", "\"250ms\""),
            "Of `delay`: how long the attempt waits.",
        ),
        key(
            "status",
            integer(200, 599),
            Derived("none", "503"),
            "Of `abort`: the status.",
        ),
        key(
            "after",
            size(0, 1 << 30),
            Derived("none", "\"1KiB\""),
            "Of `truncate`: how much of the body comes.",
        ),
        key(
            "rate",
            size(1, 1 << 30),
            Derived("none", "\"1KiB\""),
            "Of `slow-body`: how much of the body comes in a second.",
        ),
        key(
            "methods",
            Kind::List(&form("a method", value::method)),
            Value("[]"),
            "Matches these methods; none means any.",
        ),
        key(
            "path_prefix",
            form("the beginning of a path", value::path_prefix),
            Derived("any", "\"/v2\""),
            "Matches whole segments, as in a route.",
        ),
        key(
            "header",
            form("`\"name: value\"`", value::field),
            Derived("any", "\"x-game-day: yes\""),
            "Matches requests with this field and value.",
        ),
        key(
            "counted",
            Kind::Bool,
            Value("false"),
            "Whether the breaker, ejection and the adaptive limit learn from it.",
        ),
        key(
            "until",
            form("a time such as `\"2099-12-31T12:00:00Z\"`", value::moment),
            Required("\"2099-12-31T12:00:00Z\""),
            "When it ends.",
        ),
    ],
};
