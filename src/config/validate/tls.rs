//! `tls` of listeners and upstreams: what goes with what, and whether the files can be used.

use super::Builder;
use super::layers::Layers;
use crate::config::Named;
use crate::config::diagnostic::{Id, Span};
use crate::config::model::{ListenerTls, TlsVersion, UpstreamTls};
use crate::config::raw;
use crate::config::section::{Section, Setting};
use crate::tls::Offer;
use crate::tls::client::Client;
use crate::tls::files::LoadError;
use crate::tls::server::Server;

impl<'b> Builder<'b> {
    pub(super) fn listener_tls(&mut self, section: &'b Section) -> Option<ListenerTls> {
        let layers = Layers::new(&[section], "tls", self.builtin.section(&raw::LISTENER_TLS));
        if !layers.is_written() {
            return None;
        }
        let (cert, key) = (layers.text("cert"), layers.text("key"));
        let is_whole = cert.is_some() && key.is_some();
        let settings = ListenerTls {
            cert: cert.unwrap_or_default().into(),
            key: key.unwrap_or_default().into(),
            client_ca: layers.text("client_ca").map(Into::into),
            min_version: min_version(&layers),
        };
        if is_whole && self.named == Named::Read {
            let loaded = Server::new(settings.clone(), Offer::None);
            self.look(&layers, &section.span, loaded.err());
        }
        Some(settings)
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
        if !is_secure && !layers.is_written() {
            return None;
        }
        let settings = UpstreamTls {
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
        };
        if settings.cert.is_some() == settings.key.is_some() && self.named == Named::Read {
            let loaded = Client::new(settings.clone());
            self.look(&layers, &section.span, loaded.err());
        }
        Some(settings)
    }

    /// Reports a file that cannot be used at the key that names it; the roots of the system, which
    /// no key names, at `owner`.
    fn look(&mut self, layers: &Layers<'_>, owner: &Span, error: Option<LoadError>) {
        let Some(error) = error else { return };
        let mut keys = ["cert", "key", "ca", "client_ca"].into_iter();
        let named = keys.find(|key| layers.text(key).is_some_and(|file| error.file == *file));
        let span = named.and_then(|key| layers.span(key));
        self.report(
            Id::UnusableFile,
            Some(span.unwrap_or_else(|| owner.clone())),
            format!("`{}`: {}", error.file.display(), error.problem),
            error.problem.help(),
        );
    }
}

fn min_version(layers: &Layers<'_>) -> TlsVersion {
    match layers.word("min_version") {
        "1.3" => TlsVersion::V1_3,
        _ => TlsVersion::V1_2,
    }
}
