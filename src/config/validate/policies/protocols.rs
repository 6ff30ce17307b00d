//! `downstream`, `http2` and `forwarding`.

use super::super::Builder;
use super::super::layers::Layers;
use crate::config::diagnostic::Id;
use crate::config::model::{Downstream, Forwarding, Http2};
use crate::config::raw;
use crate::config::section::Section;

impl<'b> Builder<'b> {
    pub(in super::super) fn downstream(&mut self, owners: &[&'b Section]) -> Downstream {
        let layers = self.policy("downstream", &raw::DOWNSTREAM, owners);
        let (max_header_bytes, max_target_bytes) = (
            layers.count("max_header_bytes"),
            layers.count("max_target_bytes"),
        );
        if max_target_bytes > max_header_bytes
            && layers.depth("max_target_bytes") <= layers.depth("max_header_bytes")
        {
            self.report(
                Id::ConflictingValues,
                layers.span("max_target_bytes"),
                format!(
                    "`max_target_bytes` is {max_target_bytes} bytes, but `max_header_bytes` is \
                     {max_header_bytes}"
                ),
                "the target is part of the head: raise `max_header_bytes`, or lower this",
            );
        }
        let http2 = layers.below("http2", self.builtin.section(&raw::DOWNSTREAM_HTTP2));
        Downstream {
            header_timeout: layers.time("header_timeout"),
            idle_timeout: layers.time("idle_timeout"),
            max_header_bytes,
            max_headers: layers.count("max_headers"),
            max_connections: layers.count("max_connections"),
            half_close: layers.bool("half_close"),
            max_connections_per_client: layers
                .integer("max_connections_per_client")
                .map(|most| usize::try_from(most).unwrap_or(usize::MAX)),
            max_target_bytes,
            min_body_rate: layers.integer("min_body_rate"),
            upgrades: layers.texts("upgrades"),
            http2: self.windows(&http2),
        }
    }

    /// `http2` of upstreams.
    pub(in super::super) fn http2(&mut self, owners: &[&'b Section]) -> Http2 {
        let layers = self.policy("http2", &raw::HTTP2, owners);
        self.windows(&layers)
    }

    fn windows(&mut self, layers: &Layers<'b>) -> Http2 {
        let stream_window = layers.count32("stream_window");
        let connection_window = layers.count32("connection_window");
        if connection_window < stream_window
            && layers.depth("connection_window") <= layers.depth("stream_window")
        {
            self.report(
                Id::ConflictingValues,
                layers.span("connection_window"),
                format!(
                    "`connection_window` is {connection_window} bytes, but `stream_window` is \
                     {stream_window}"
                ),
                "no stream can have more than its connection: raise this, or lower `stream_window`",
            );
        }
        Http2 {
            max_streams: layers.count32("max_streams"),
            stream_window,
            connection_window: connection_window.max(stream_window),
            ping_interval: layers.duration("ping_interval"),
            ping_timeout: layers.time("ping_timeout"),
        }
    }

    pub(in super::super) fn forwarding(&self, owners: &[&'b Section]) -> Forwarding {
        let layers = self.policy("forwarding", &raw::FORWARDING, owners);
        Forwarding {
            via: layers.bool("via"),
            forwarded: layers.bool("forwarded"),
            x_forwarded: layers.bool("x_forwarded"),
        }
    }
}
