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
            keep_header_case: layers.bool("keep_header_case"),
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

    /// The windows of all streams fit into that of their connection: what nobody reads of one body
    /// takes no room from another.
    fn windows(&mut self, layers: &Layers<'b>) -> Http2 {
        let max_streams = layers.count32("max_streams");
        let stream_window = layers.count32("stream_window");
        let connection_window = layers.count32("connection_window");
        let all = u64::from(max_streams) * u64::from(stream_window);
        let depth = layers
            .depth("max_streams")
            .min(layers.depth("stream_window"));
        if all > raw::MAX_CONNECTION_WINDOW {
            self.report(
                Id::ConflictingValues,
                layers.nearest("stream_window", "max_streams"),
                format!(
                    "`max_streams` times `stream_window` is {max_streams} times {stream_window}, \
                     {all} bytes in all"
                ),
                "one connection may hold 1 GiB at most: lower one of them",
            );
        } else if u64::from(connection_window) < all && layers.depth("connection_window") <= depth {
            self.report(
                Id::ConflictingValues,
                layers.span("connection_window"),
                format!(
                    "`connection_window` is {connection_window} bytes, but `max_streams` times \
                     `stream_window` is {max_streams} times {stream_window}"
                ),
                format!(
                    "bodies that nobody reads would hold up the others: raise this to \"{all}B\", \
                     or lower one of them"
                ),
            );
        }
        Http2 {
            max_streams,
            stream_window,
            connection_window: connection_window.max(u32::try_from(all).unwrap_or(u32::MAX)),
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
