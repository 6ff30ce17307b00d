//! From configured names to endpoints: off the request path, again by TTL.
//!
//! Literals (and `localhost`) are endpoints at once and for good. Each name is resolved by its own
//! rhythm; every address of its larger family is an endpoint, with those of the other as further
//! ways to the same host. A resolution that fails keeps what the last good
//! one gave.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{Resolver, TokioResolver};
use http::HeaderValue;
use tokio::sync::watch;

use super::Upstream;
use super::endpoints::Found;
use super::forward::Gate;
use crate::config::model::{self, EndpointAddress};
use crate::net::Address;
use crate::pool::{Way, Won};
use crate::sync::{Mutex, lock};
use crate::telemetry::metrics::DnsFailure;
use crate::time;

/// Addresses of a name, and how long they hold.
pub type Answer = Result<(Vec<IpAddr>, Duration), DnsFailure>;

/// Looks names up.
pub struct Lookup {
    resolver: Option<TokioResolver>,
    min_ttl: Duration,
    max_ttl: Duration,
}

impl Lookup {
    /// Prepares lookups by the system's resolv.conf or the given servers.
    pub fn new(settings: &model::Dns) -> Self {
        Self {
            resolver: resolver(settings),
            min_ttl: settings.min_ttl,
            max_ttl: settings.max_ttl,
        }
    }

    /// Resolves one name.
    async fn name(&self, name: &str) -> Answer {
        let Some(resolver) = &self.resolver else {
            return Err(DnsFailure::Error);
        };
        let found = resolver
            .lookup_ip(name)
            .await
            .map_err(|error| match error {
                _ if error.is_no_records_found() => DnsFailure::NotFound,
                NetError::Timeout => DnsFailure::Timeout,
                _ => DnsFailure::Error,
            })?;
        let addresses: Vec<IpAddr> = found.iter().collect();
        if addresses.is_empty() {
            return Err(DnsFailure::NotFound);
        }
        Ok((
            addresses,
            found.valid_until().saturating_duration_since(time::now()),
        ))
    }
}

fn resolver(settings: &model::Dns) -> Option<TokioResolver> {
    let mut builder = if settings.servers.is_empty() {
        match Resolver::builder_tokio() {
            Ok(builder) => builder,
            Err(error) => {
                tracing::error!(%error, "no usable resolv.conf: names cannot be resolved");
                return None;
            }
        }
    } else {
        let servers = settings.servers.iter().map(name_server).collect();
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        Resolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let options = builder.options_mut();
    options.timeout = settings.timeout;
    options.attempts = 1;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // We keep the answers ourselves, by their TTL.
    options.cache_size = 0;
    builder.build().ok()
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    server.connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()]
        .map(|mut connection| {
            connection.port = address.port();
            connection
        })
        .into();
    server
}

/// What is known of one configured endpoint.
struct Known {
    config: model::Endpoint,
    host: HeaderValue,
    addresses: Vec<Address>,
    /// Of the same host, in the other family.
    alternates: Vec<Address>,
    won: Won,
}

/// What has come of looking names up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// No name was looked up yet.
    Pending,
    /// The endpoints are those that there are.
    Tried,
    /// All addresses that were found last must not be reached; the word says why.
    Refused(&'static str),
}

/// The endpoints of one upstream.
pub struct Resolution {
    upstream: Arc<Upstream>,
    known: Mutex<Vec<Known>>,
    /// Which addresses must not become endpoints, whatever has them for its own.
    gate: Option<Arc<Gate>>,
    outlook: watch::Sender<Outlook>,
}

impl Resolution {
    /// Sets the endpoints that need no resolution.
    pub fn begin(upstream: &Arc<Upstream>, endpoints: &[model::Endpoint]) -> Arc<Self> {
        Self::gated(upstream, endpoints, None)
    }

    /// As [`Self::begin`]; of the addresses that names resolve to, only those become endpoints that
    /// `gate` does not refuse.
    pub fn gated(
        upstream: &Arc<Upstream>,
        endpoints: &[model::Endpoint],
        gate: Option<Arc<Gate>>,
    ) -> Arc<Self> {
        let known = endpoints.iter().filter_map(|config| {
            Some(Known {
                host: host_header(config)?,
                addresses: fixed(&config.address).into_iter().collect(),
                alternates: beside(&config.address).into_iter().collect(),
                won: Won::default(),
                config: config.clone(),
            })
        });
        let resolution = Self {
            upstream: Arc::clone(upstream),
            known: Mutex::new(known.collect()),
            gate,
            outlook: watch::Sender::new(Outlook::Pending),
        };
        resolution.publish(&lock(&resolution.known));
        if resolution.names().is_empty() {
            resolution.outlook.send_replace(Outlook::Tried);
        }
        Arc::new(resolution)
    }

    /// What has come of it up to now.
    pub fn outlook(&self) -> Outlook {
        *self.outlook.borrow()
    }

    /// Waits until a name was looked up, if there is one.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn looked_up(&self) -> Outlook {
        let mut outlook = self.outlook.subscribe();
        let looked_up = outlook.wait_for(|outlook| *outlook != Outlook::Pending);
        // The sender is ours.
        looked_up.await.map_or(Outlook::Pending, |outlook| *outlook)
    }

    /// The names to resolve: each is kept current for itself, so that one that hangs delays no
    /// other. By index and name, for [`Self::keep_current`].
    pub fn names(&self) -> Vec<(usize, String)> {
        let known = lock(&self.known);
        let names = known.iter().enumerate();
        let name = |(index, known): (usize, &Known)| match &known.config.address {
            EndpointAddress::Name { host, .. } if literal(host).is_none() => {
                Some((index, host.clone()))
            }
            _ => None,
        };
        names.filter_map(name).collect()
    }

    /// Resolves the name at `index` for ever; `tried` is called after the first time.
    pub async fn keep_current(
        self: Arc<Self>,
        (index, name): (usize, String),
        lookup: Arc<Lookup>,
        tried: impl FnOnce() + Send + 'static,
    ) {
        let mut tried = Some(tried);
        let mut failures = 0;
        loop {
            let answer = lookup.name(&name).await;
            let wait = match answer {
                Ok((addresses, ttl)) => {
                    failures = 0;
                    self.found(index, addresses);
                    ttl.clamp(lookup.min_ttl, lookup.max_ttl)
                }
                Err(failure) => {
                    failures = (failures + 1).min(5);
                    let kept = self.failed(index, &name, failure);
                    let wait = lookup
                        .min_ttl
                        .saturating_mul(1 << failures)
                        .min(lookup.max_ttl);
                    if kept == 0 {
                        wait.min(NOTHING_KNOWN)
                    } else {
                        wait
                    }
                }
            };
            if let Some(tried) = tried.take() {
                tried();
            }
            time::sleep(wait).await;
        }
    }

    fn found(&self, index: usize, mut addresses: Vec<IpAddr>) {
        self.upstream.metrics.resolved();
        addresses.sort_unstable();
        addresses.dedup();
        let mut all = lock(&self.known);
        let Some(known) = all.get_mut(index) else {
            return;
        };
        let EndpointAddress::Name { ref host, port } = known.config.address else {
            return;
        };
        let outlook = self.sift(host, port, &mut addresses);
        let (addresses, alternates) = families(addresses, port);
        if known.addresses != addresses || known.alternates != alternates {
            known.addresses = addresses;
            known.alternates = alternates;
            self.publish(&all);
            tracing::info!(
                upstream = &*self.upstream.name,
                endpoints = self.upstream.endpoint_count(),
                "endpoints changed"
            );
        }
        drop(all);
        self.outlook.send_replace(outlook);
    }

    /// As if the first name had these addresses.
    #[cfg(test)]
    pub(super) fn found_for_test(&self, addresses: Vec<IpAddr>) {
        self.found(0, addresses);
    }

    /// Takes out what must not be reached. An answer of which nothing is left is no failure that
    /// the last good one would outlive: it may have been meant to deceive.
    fn sift(&self, host: &str, port: u16, addresses: &mut Vec<IpAddr>) -> Outlook {
        let Some(gate) = &self.gate else {
            return Outlook::Tried;
        };
        let mut refused = None;
        addresses.retain(|ip| match gate.refuses((*ip, port).into()) {
            None => true,
            Some(why) => {
                let upstream = &*self.upstream.name;
                tracing::warn!(upstream, host, address = %ip, reason = why, "address refused");
                refused = Some(why);
                false
            }
        });
        match refused {
            Some(why) if addresses.is_empty() => Outlook::Refused(why),
            _ => Outlook::Tried,
        }
    }

    /// Counts and logs a failure; returns how many addresses are kept.
    fn failed(&self, index: usize, name: &str, failure: DnsFailure) -> usize {
        self.upstream.metrics.resolution_failed(failure);
        let kept = lock(&self.known)
            .get(index)
            .map_or(0, |known| known.addresses.len());
        tracing::warn!(
            upstream = &*self.upstream.name,
            host = name,
            reason = failure.as_str(),
            kept,
            "name not resolved"
        );
        self.outlook.send_if_modified(|outlook| {
            let is_first = *outlook == Outlook::Pending;
            if is_first {
                *outlook = Outlook::Tried;
            }
            is_first
        });
        kept
    }

    fn publish(&self, known: &[Known]) {
        self.upstream.set_endpoints(&found(known), time::now());
    }
}

/// All addresses of all configured endpoints. Each address of a name has the weight of the name;
/// one that several names give has the `Host` of the first and the greatest of their weights, not
/// the sum: it is one machine under two names.
fn found(known: &[Known]) -> Vec<Found> {
    let mut all: Vec<Found> = Vec::new();
    for Known {
        config,
        host,
        addresses,
        alternates,
        won,
    } in known
    {
        let name: Arc<str> = match &config.address {
            EndpointAddress::Name { host, .. } => host.as_str().into(),
            EndpointAddress::Unix(_) => "localhost".into(),
        };
        for (index, address) in addresses.iter().enumerate() {
            match all.iter_mut().find(|found| found.address == *address) {
                Some(found) => found.weight = found.weight.max(config.weight),
                None => all.push(Found {
                    address: address.clone(),
                    host: host.clone(),
                    way: Way::new(Arc::clone(&name), rotated(alternates, index), won.clone())
                        .into(),
                    weight: config.weight,
                }),
            }
        }
    }
    all
}

/// Longest pause between attempts to resolve a name of which no address is known.
const NOTHING_KNOWN: Duration = Duration::from_secs(5);

/// The address of an endpoint that needs no resolution.
fn fixed(address: &EndpointAddress) -> Option<Address> {
    match address {
        EndpointAddress::Name { host, port } => Some((literal(host)?, *port).into()),
        EndpointAddress::Unix(path) => Some(Address::Unix(Arc::clone(path))),
    }
}

/// Another address of such an endpoint.
fn beside(address: &EndpointAddress) -> Option<Address> {
    match address {
        EndpointAddress::Name { host, port } if host.eq_ignore_ascii_case("localhost") => {
            Some((IpAddr::from(Ipv6Addr::LOCALHOST), *port).into())
        }
        _ => None,
    }
}

/// The addresses of a name that are endpoints, of the family that has more of them (IPv6 where both
/// have as many), and the others.
fn families(addresses: Vec<IpAddr>, port: u16) -> (Vec<Address>, Vec<Address>) {
    let (six, four): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv6);
    let (more, fewer) = if four.len() > six.len() {
        (four, six)
    } else {
        (six, four)
    };
    let with_port = |ips: Vec<IpAddr>| ips.into_iter().map(|ip| (ip, port).into()).collect();
    (with_port(more), with_port(fewer))
}

/// Begins at another one for each endpoint, so that they spread.
fn rotated(alternates: &[Address], by: usize) -> Vec<Address> {
    let mut rotated = alternates.to_vec();
    if let Some(by) = by.checked_rem(rotated.len()) {
        rotated.rotate_left(by);
    }
    rotated
}

/// The IP address that a host is without resolution.
fn literal(host: &str) -> Option<IpAddr> {
    if host.eq_ignore_ascii_case("localhost") {
        return Some(Ipv4Addr::LOCALHOST.into());
    }
    host.parse().ok()
}

/// `host[:port]`, without the port that the scheme has by default. A Unix socket is on this host.
fn host_header(endpoint: &model::Endpoint) -> Option<HeaderValue> {
    let EndpointAddress::Name { host, port } = &endpoint.address else {
        return Some(HeaderValue::from_static("localhost"));
    };
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.clone()
    };
    let text = if *port == endpoint.default_port() {
        host
    } else {
        format!("{host}:{port}")
    };
    HeaderValue::try_from(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_need_no_resolution() {
        assert_eq!(literal("127.0.0.7"), Some(IpAddr::from([127, 0, 0, 7])));
        assert_eq!(
            literal("::1"),
            Some(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST))
        );
        assert_eq!(literal("LocalHost"), Some(IpAddr::from([127, 0, 0, 1])));
        assert_eq!(literal("payments.internal"), None);
    }

    #[test]
    fn the_larger_family_is_the_endpoints_and_the_other_the_ways_beside() {
        let texts = |addresses: &[Address]| -> Vec<String> {
            addresses.iter().map(ToString::to_string).collect()
        };
        let of = |addresses: &[&str]| {
            let addresses = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
            let (endpoints, alternates) = families(addresses, 80);
            (texts(&endpoints).join(" "), texts(&alternates).join(" "))
        };
        let split = |endpoints: &str, alternates: &str| (endpoints.into(), alternates.into());
        assert_eq!(
            of(&["10.0.0.1", "fd00::1"]),
            split("[fd00::1]:80", "10.0.0.1:80")
        );
        assert_eq!(
            of(&["10.0.0.1", "10.0.0.2", "fd00::1"]),
            split("10.0.0.1:80 10.0.0.2:80", "[fd00::1]:80")
        );
        assert_eq!(of(&["10.0.0.1"]), split("10.0.0.1:80", ""));
        let three = families(
            ["fd00::1", "fd00::2", "fd00::3"]
                .map(|ip| ip.parse().unwrap())
                .into(),
            80,
        )
        .0;
        let begins = |by| rotated(&three, by)[0].to_string();
        assert_eq!(begins(1), "[fd00::2]:80");
        assert_eq!(begins(5), "[fd00::3]:80");
        assert!(rotated(&[], 7).is_empty());
    }

    fn endpoint(host: &str, port: u16, tls: bool, weight: u32) -> model::Endpoint {
        let host = host.into();
        model::Endpoint {
            address: EndpointAddress::Name { host, port },
            tls,
            weight,
        }
    }

    #[test]
    fn an_address_of_two_names_has_the_first_host_and_the_greater_weight() {
        let known = |host: &str, weight, addresses: &[u8]| {
            let config = endpoint(host, 80, false, weight);
            Known {
                host: host_header(&config).unwrap(),
                addresses: addresses
                    .iter()
                    .map(|&n| Address::from(([10, 0, 0, n], 80)))
                    .collect(),
                alternates: Vec::new(),
                won: Won::default(),
                config,
            }
        };
        let found = found(&[known("a", 2, &[1, 2]), known("b", 5, &[2, 3])]);
        let found: Vec<_> = found
            .iter()
            .map(|f| (f.address.to_string(), f.host.to_str().unwrap(), f.weight))
            .collect();
        let expected = [
            ("10.0.0.1:80", "a", 2),
            ("10.0.0.2:80", "a", 5),
            ("10.0.0.3:80", "b", 5),
        ];
        assert_eq!(found, expected.map(|(a, h, w)| (a.to_owned(), h, w)));
    }

    #[test]
    fn the_host_field_names_the_endpoint_as_configured() {
        let of = |host, port, tls| host_header(&endpoint(host, port, tls, 1)).unwrap();
        assert_eq!(of("search.internal", 8080, false), "search.internal:8080");
        assert_eq!(of("search.internal", 80, false), "search.internal");
        assert_eq!(of("search.internal", 443, false), "search.internal:443");
        assert_eq!(of("search.internal", 443, true), "search.internal");
        assert_eq!(of("search.internal", 80, true), "search.internal:80");
        assert_eq!(of("::1", 9000, false), "[::1]:9000");
    }

    #[test]
    fn a_unix_socket_needs_no_resolution_and_is_on_this_host() {
        let address = EndpointAddress::Unix(std::path::Path::new("/run/x.sock").into());
        assert_eq!(fixed(&address).unwrap().to_string(), "unix:/run/x.sock");
        let endpoint = model::Endpoint {
            address,
            tls: false,
            weight: 1,
        };
        assert_eq!(host_header(&endpoint).unwrap(), "localhost");
    }
}
