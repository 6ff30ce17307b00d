//! What makes no sense where bytes are passed on as they are.
//!
//! Reports only what stands in the tables of the TCP upstream and its route: what they inherit is
//! meant for others, and taken away here.

use super::Builder;
use super::layers::Layers;
use crate::balance::Policy;
use crate::config::diagnostic::Id;
use crate::config::model::{Fallback, Forwarding, Hedge, Protocol, Route, Timeouts, Upstream};
use crate::config::raw;
use crate::config::section::Section;

/// Keys of upstreams and routes that look at requests and responses.
const OF_HTTP: [&str; 12] = [
    "path_prefix",
    "methods",
    "class",
    "host",
    "failover",
    "priority",
    "adaptive",
    "hedge",
    "fallback",
    "http2",
    "forwarding",
    "faults",
];

/// Keys of `timeouts` that do.
const TIMES_OF_HTTP: [&str; 5] = [
    "first_byte",
    "request",
    "stream_idle",
    "total",
    "deadline_header",
];

impl<'b> Builder<'b> {
    /// Looks at the keys of an upstream that only TCP, or only HTTP, has a use for.
    pub(super) fn check_protocol(&mut self, section: &'b Section, upstream: &mut Upstream) {
        if upstream.protocol == Protocol::Tcp {
            self.check_tcp_keys(section);
            let Upstream {
                timeouts,
                hedge,
                fallback,
                ..
            } = upstream;
            take_away(timeouts, hedge, fallback);
            upstream.forwarding = Forwarding::default();
            upstream.priority = None;
            upstream.adaptive = None;
            let balance = Layers::new(&[section], "balance", None);
            if matches!(upstream.balance.policy, Policy::RingHash(_)) {
                self.report_of_http(&balance, "policy", "`ring_hash` hashes a field of requests");
            }
        } else if upstream.proxy_protocol {
            self.report(
                Id::ConflictingValues,
                Layers::of(section, None).span("proxy_protocol"),
                "a PROXY protocol header is sent to TCP upstreams alone",
                "remove it; `forwarding` tells HTTP upstreams who the caller is",
            );
        }
    }

    /// The same of an upstream or a route.
    fn check_tcp_keys(&mut self, section: &'b Section) {
        let layers = Layers::of(section, None);
        for key in OF_HTTP {
            self.report_of_http(&layers, key, &format!("`{key}` is about requests"));
        }
        let timeouts = Layers::new(&[section], "timeouts", None);
        for key in TIMES_OF_HTTP {
            self.report_of_http(&timeouts, key, &format!("`{key}` is about requests"));
        }
    }

    fn report_of_http(&mut self, layers: &Layers<'_>, key: &str, message: &str) {
        let span = layers.span(key);
        if span.is_some() {
            self.report(
                Id::ConflictingKeys,
                span,
                format!("{message}, and `protocol = \"tcp\"` knows none"),
                "remove it",
            );
        }
    }

    /// What a listener speaks. Bytes say nothing of where they go: a TCP upstream has a listener to
    /// itself.
    pub(super) fn spoken(
        &mut self,
        section: &'b Section,
        written: &'b [Section],
        routes: &mut [Route],
        upstreams: &[(&'b Section, Upstream)],
    ) -> Protocol {
        let layers = Layers::of(section, self.builtin.section(&raw::LISTENER));
        let asked = protocol(&layers);
        let many = routes.len() > 1;
        let leads_to_tcp = |(section, route): &(&'b Section, &mut Route)| {
            let target = upstreams.get(route.upstream);
            let named = Layers::of(section, None).text("upstream");
            target.is_some_and(|(section, upstream)| {
                upstream.protocol == Protocol::Tcp && named.as_ref() == Some(&section.name)
            })
        };
        let mut found = asked;
        for (section, route) in written.iter().zip(routes).filter(leads_to_tcp) {
            found = Protocol::Tcp;
            self.check_tcp_keys(section);
            let Route {
                timeouts,
                hedge,
                fallback,
                ..
            } = route;
            take_away(timeouts, hedge, fallback);
            if many {
                self.report(
                    Id::ConflictingValues,
                    Some(section.span.clone()),
                    "a TCP upstream has a listener to itself: bytes do not say which route they take",
                    "give the upstream a `listen` of its own",
                );
            }
        }
        if found == Protocol::Tcp && asked != Protocol::Auto {
            self.report(
                Id::ConflictingValues,
                layers.span("protocol"),
                "this listener leads to a TCP upstream, and passes on whatever is spoken",
                "leave `protocol` away",
            );
        }
        found
    }
}

/// `protocol` of an upstream or a listener.
pub(super) fn protocol(layers: &Layers<'_>) -> Protocol {
    match layers.word("protocol") {
        "http1" => Protocol::Http1,
        "http2" => Protocol::Http2,
        "tcp" => Protocol::Tcp,
        _ => Protocol::Auto,
    }
}

/// What looks at requests and responses does nothing; an attempt is over once it is connected.
fn take_away(timeouts: &mut Timeouts, hedge: &mut Option<Hedge>, fallback: &mut Option<Fallback>) {
    timeouts.first_byte = timeouts.connect;
    timeouts.request = None;
    timeouts.stream_idle = None;
    timeouts.total = None;
    timeouts.deadline_header = None;
    *hedge = None;
    *fallback = None;
}
