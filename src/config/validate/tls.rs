//! `tls` of listeners and upstreams: what goes with what.

use super::Builder;
use super::layers::Layers;
use crate::config::diagnostic::Id;
use crate::config::model::{ListenerTls, TlsVersion, UpstreamTls};
use crate::config::raw;
use crate::config::section::{Section, Setting};

impl<'b> Builder<'b> {
    pub(super) fn listener_tls(&self, section: &'b Section) -> Option<ListenerTls> {
        let layers = Layers::new(&[section], "tls", self.builtin.section(&raw::LISTENER_TLS));
        layers.is_written().then(|| ListenerTls {
            cert: layers.text("cert").unwrap_or_default().into(),
            key: layers.text("key").unwrap_or_default().into(),
            client_ca: layers.text("client_ca").map(Into::into),
            min_version: min_version(&layers),
        })
    }

    /// `tls` of an upstream; its endpoints may ask for it without the table.
    pub(super) fn upstream_tls(
        &mut self,
        section: &'b Section,
        is_secure: bool,
    ) -> Option<UpstreamTls> {
        let layers = Layers::new(&[section], "tls", self.builtin.section(&raw::UPSTREAM_TLS));
        for (key, other) in [("cert", "key"), ("key", "cert")] {
            if layers.span(key).is_some()
                && layers.span(other).is_none()
                && !layers.is_broken(other)
            {
                self.report(
                    Id::MissingKey,
                    layers.span(key),
                    format!("`{other}` is missing: a certificate and its private key go together"),
                    format!("add `{other} = \"/etc/outrigger/client.pem\"`"),
                );
            }
        }
        (is_secure || layers.is_written()).then(|| UpstreamTls {
            ca: layers.text("ca").map(Into::into),
            server_name: layers.text("server_name"),
            cert: layers.text("cert").map(Into::into),
            key: layers.text("key").map(Into::into),
            min_version: min_version(&layers),
            pins: layers
                .list("pins")
                .filter_map(|setting| match setting {
                    Setting::Pin(pin) => Some(*pin),
                    _ => None,
                })
                .collect(),
        })
    }
}

fn min_version(layers: &Layers<'_>) -> TlsVersion {
    match layers.word("min_version") {
        "1.3" => TlsVersion::V1_3,
        _ => TlsVersion::V1_2,
    }
}
