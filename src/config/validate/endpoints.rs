//! Where an upstream is: `endpoints`, `weights`, `dns`, `host`.

use super::Builder;
use super::layers::{self, Layers};
use crate::config::diagnostic::{Id, did_you_mean};
use crate::config::model::{Endpoint, HostHeader, Protocol};
use crate::config::section::{Section, Setting};
use crate::config::value::Scheme;

impl Builder<'_> {
    /// The endpoints. What their schemes leave open, `protocol` and `tls` say.
    pub(super) fn endpoints(&mut self, section: &Section, protocol: Protocol) -> Vec<Endpoint> {
        let given = (section.get("endpoints"), section.get("dns"));
        match (section.has("endpoints"), section.has("dns")) {
            (false, false) if !section.has("forward") => self.report(
                Id::MissingKey,
                Some(section.span.clone()),
                format!("the upstream `{}` has no endpoints", section.name),
                "add `endpoints = [\"http://host:port\"]` or `dns = \"host:port\"`",
            ),
            (true, true) => self.report(
                Id::ConflictingKeys,
                given.1.or(given.0).map(|located| located.span.clone()),
                format!(
                    "the upstream `{}` has both `endpoints` and `dns`",
                    section.name
                ),
                "keep one of them",
            ),
            _ => {}
        }
        let written = given.0.map_or(&[][..], |at| layers::items(&at.setting));
        let weights = self.weights(section, written.len());
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for (setting, weight) in written
            .iter()
            .zip(weights.into_iter().chain(std::iter::repeat(1)))
        {
            let Setting::Endpoint(scheme, endpoint) = setting else {
                continue;
            };
            let endpoint = with_tls(section, *scheme, endpoint);
            let mut known = endpoints.iter();
            if !known.any(|known| known.address == endpoint.address && known.tls == endpoint.tls) {
                endpoints.push(Endpoint { weight, ..endpoint });
            }
        }
        self.check_schemes(section, protocol, written);
        self.check_secure(section, &endpoints);
        match given {
            (Some(located), _) if endpoints.is_empty() => self.report(
                Id::BadEndpoint,
                Some(located.span.clone()),
                "an upstream needs at least one endpoint",
                "write `[\"http://host:port\"]`",
            ),
            (None, Some(located)) => {
                if let Setting::Endpoint(scheme, endpoint) = &located.setting {
                    endpoints.push(with_tls(section, *scheme, endpoint));
                }
            }
            _ => {}
        }
        endpoints
    }

    /// Endpoints of HTTP and of TCP are told apart by their schemes.
    fn check_schemes(&mut self, section: &Section, protocol: Protocol, written: &[Setting]) {
        let has = |wanted| {
            let is_it =
                |each: &Setting| matches!(each, Setting::Endpoint(scheme, _) if *scheme == wanted);
            written.iter().any(is_it)
        };
        let span = Layers::of(section, None).span("endpoints");
        if protocol == Protocol::Tcp && has(Scheme::Http) {
            self.report(
                Id::ConflictingValues,
                span,
                "some of these endpoints are spoken to by HTTP, but `protocol` is \"tcp\"",
                "write `\"tcp://host:port\"`; with TLS, `tls = {}` beside it",
            );
        } else if protocol != Protocol::Tcp && has(Scheme::Tcp) && !section.is_broken("protocol") {
            self.report(
                Id::ConflictingValues,
                span,
                "some of these endpoints are spoken to by TCP, but `protocol` is not \"tcp\"",
                "add `protocol = \"tcp\"`, or write `\"http://host:port\"`",
            );
        }
    }

    /// Either all endpoints are spoken to over TLS or none is.
    fn check_secure(&mut self, section: &Section, endpoints: &[Endpoint]) {
        let layers = Layers::of(section, None);
        let (secure, plain): (Vec<_>, Vec<_>) = endpoints.iter().partition(|one| one.tls);
        if !secure.is_empty() && !plain.is_empty() {
            self.report(
                Id::ConflictingValues,
                layers.span("endpoints"),
                "some of these endpoints are spoken to over TLS and some are not",
                "write all of them with `https://` or all without, or make two upstreams",
            );
        } else if layers.span("tls").is_some() && !plain.is_empty() {
            self.report(
                Id::ConflictingValues,
                layers.span("tls"),
                "these endpoints are spoken to without TLS",
                "write them with `https://`, or remove this",
            );
        }
    }

    /// The weights of the endpoints, of which there are `count`.
    fn weights(&mut self, section: &Section, count: usize) -> Vec<u32> {
        let layers = Layers::of(section, None);
        let weights = layers.integers("weights");
        if section.has("dns") && section.get("weights").is_some() {
            self.report(
                Id::ConflictingKeys,
                layers.span("weights"),
                "addresses found by `dns` have no `weights`",
                "remove them, or name each endpoint in `endpoints`",
            );
        } else if layers.span("weights").is_some()
            && section.get("endpoints").is_some()
            && weights.len() != count
        {
            self.report(
                Id::ConflictingValues,
                layers.span("weights"),
                format!("there are {} weights, but {count} endpoints", weights.len()),
                "give each endpoint its weight, in the same order",
            );
        }
        weights
    }

    pub(super) fn host(&mut self, layers: &Layers<'_>) -> HostHeader {
        const WORDS: [&str; 2] = ["endpoint", "preserve"];
        match layers.text("host").as_deref() {
            None | Some("endpoint") => HostHeader::Endpoint,
            Some("preserve") => HostHeader::Preserve,
            Some(host) => {
                if let Some(word) = did_you_mean(host, WORDS) {
                    self.report(
                        Id::SuspiciousHost,
                        layers.span("host"),
                        "this value is sent as it is in `Host`",
                        format!("did you mean `{word}`?"),
                    );
                }
                HostHeader::Literal(host.to_owned())
            }
        }
    }
}

/// The endpoint, over TLS if the table says so where its scheme does not.
fn with_tls(section: &Section, scheme: Scheme, endpoint: &Endpoint) -> Endpoint {
    Endpoint {
        tls: endpoint.tls || (scheme != Scheme::Http && section.has("tls")),
        ..endpoint.clone()
    }
}
