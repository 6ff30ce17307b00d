//! The keys of `[[listeners]]` and their routes.

use super::super::Default::{Derived, Required, Value};
use super::super::policies::{BREAKER, DOWNSTREAM, FALLBACK, HEDGE, RETRY, TIMEOUTS};
use super::super::protocols::LISTENER_TLS;
use super::super::{Kind, Table, form, group, key};
use super::{ADDRESS, NAME};
use crate::config::value;

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
            "protocol",
            Kind::Word(&["auto", "http1", "http2"]),
            Value("\"auto\""),
            "What is spoken on it: HTTP/1.1 or HTTP/2 as each caller begins, or only one of them; with a route to an upstream of `protocol = \"tcp\"`, leave it away.",
        ),
        group(
            "tls",
            Kind::Table(&LISTENER_TLS),
            "Whether it is encrypted.",
        ),
        group(
            "downstream",
            Kind::Table(&DOWNSTREAM),
            "What its callers may do.",
        ),
        group(
            "routes",
            Kind::Tables(&ROUTE),
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
            "class",
            form("the name of a class", value::text),
            Derived("what `priority` of the upstream says", "\"live\""),
            "Class of the requests, whatever their field says.",
        ),
        group(
            "timeouts",
            Kind::Table(&TIMEOUTS),
            "Timeouts that differ here.",
        ),
        group(
            "breaker",
            Kind::Switch(&BREAKER),
            "Breaker settings that differ here.",
        ),
        group(
            "retry",
            Kind::Switch(&RETRY),
            "What is sent again here; all but `budget`.",
        ),
        group(
            "hedge",
            Kind::Optional(&HEDGE),
            "When to try a second time here.",
        ),
        group(
            "fallback",
            Kind::Optional(&FALLBACK),
            "What to answer here instead of an error.",
        ),
    ],
};
