//! `forward` of an upstream: callers name the host, so nothing else does.

use super::Builder;
use super::layers::Layers;
use crate::config::diagnostic::Id;
use crate::config::model::{Forward, Protocol};
use crate::config::raw;
use crate::config::section::Section;

/// Keys that say where an upstream is or what it is called.
const WHERE: [&str; 5] = ["endpoints", "dns", "weights", "host", "failover"];

impl<'b> Builder<'b> {
    pub(super) fn forward(&mut self, upstream: &'b Section, protocol: Protocol) -> Option<Forward> {
        let builtin = self.builtin.section(&raw::FORWARD);
        let layers = Layers::new(&[upstream], "forward", builtin);
        let (_, section) = layers.first()?;
        let allow = layers.texts("allow");
        if allow.is_empty() && section.get("allow").is_some() {
            self.report(
                Id::BadTarget,
                layers.span("allow"),
                "callers could reach nothing",
                "name what they may reach, such as `[\"api.example.com\"]`",
            );
        }
        for key in WHERE {
            if let Some(located) = upstream.get(key) {
                self.report(
                    Id::ConflictingKeys,
                    Some(located.span.clone()),
                    format!("an upstream with `forward` takes no `{key}`: callers name the host"),
                    "remove it, or make two upstreams",
                );
            }
        }
        if protocol == Protocol::Tcp {
            self.report(
                Id::ConflictingValues,
                Layers::of(upstream, None).span("protocol"),
                "callers name the host in HTTP: `forward` does not go with `protocol = \"tcp\"`",
                "leave `protocol` away, which does not keep `CONNECT` from passing any bytes",
            );
        }
        Some(Forward {
            allow,
            allow_addresses: layers.texts("allow_addresses"),
            max_targets: layers.count("max_targets"),
            idle_timeout: layers.time("idle_timeout"),
        })
    }
}
