//! The addresses of configured endpoints, and which of them are endpoints. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use http::HeaderValue;

use crate::config::model::{self, EndpointAddress};
use crate::net::Address;
use crate::pool::{Way, Won};
use crate::upstream::endpoints::Found;

/// What is known of one configured endpoint.
pub(super) struct Known {
    pub(super) config: model::Endpoint,
    host: HeaderValue,
    pub(super) addresses: Vec<Address>,
    /// Of the same host, in the other family.
    pub(super) alternates: Vec<Address>,
    won: Won,
}

impl Known {
    /// What is known before anything was looked up; `None` where the host is no value of a field.
    pub(super) fn of(config: &model::Endpoint) -> Option<Self> {
        Some(Self {
            host: host_header(config)?,
            addresses: fixed(&config.address).into_iter().collect(),
            alternates: beside(&config.address).into_iter().collect(),
            won: Won::default(),
            config: config.clone(),
        })
    }
}

/// All addresses of all configured endpoints. Each address of a name has the weight of the name;
/// one that several names give has the `Host` of the first and the greatest of their weights, not
/// the sum: it is one machine under two names.
pub(super) fn found(known: &[Known]) -> Vec<Found> {
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
pub(super) fn families(addresses: Vec<IpAddr>, port: u16) -> (Vec<Address>, Vec<Address>) {
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
pub(super) fn literal(host: &str) -> Option<IpAddr> {
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
