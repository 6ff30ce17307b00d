//! Addresses that callers of a forward proxy never reach, whatever they call them.
//!
//! It protects what answers to anybody who is near enough (server-side request forgery): the host's
//! own loopback, its neighbours on the link, and the metadata services of clouds, which hand out
//! credentials. Asked about every address that is to be dialled, after names were resolved, so that
//! no name and no later answer of the DNS gets around it. An IPv4 address inside an IPv6 one is
//! judged as what it is. Its setting: `forward.allow_addresses` of an upstream.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::network::Network;

/// Refuses them, but for those that the configuration names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressGuard {
    /// Networks that may be reached after all.
    pub exceptions: Vec<Network>,
}

impl AddressGuard {
    /// Why an address must not be reached: a word for logs and metrics; `None` if it may be.
    pub fn refuses(&self, ip: IpAddr) -> Option<&'static str> {
        let inner = match ip {
            IpAddr::V6(wide) => embedded(wide).map_or(ip, IpAddr::V4),
            IpAddr::V4(_) => ip,
        };
        let is_named = |network: &Network| network.contains(ip) || network.contains(inner);
        if self.exceptions.iter().any(is_named) {
            return None;
        }
        // The outer address counts as well: the inner one may be harmless where it is not.
        refused(inner).or_else(|| refused(ip))
    }
}

fn refused(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(ip) => refused_v4(ip),
        IpAddr::V6(ip) => refused_v6(ip),
    }
}

fn refused_v4(ip: Ipv4Addr) -> Option<&'static str> {
    match ip.octets() {
        // AWS, Google, Azure and most others; Alibaba; Azure's host agent.
        [169, 254, 169, 254] | [100, 100, 100, 200] | [168, 63, 129, 16] => Some("metadata"),
        // "This network" (RFC 791): Linux takes 0.0.0.0 for the host itself.
        [0, ..] => Some("unspecified"),
        [127, ..] => Some("loopback"),
        [169, 254, ..] => Some("link_local"),
        [224..=239, ..] => Some("multicast"),
        [255, 255, 255, 255] => Some("broadcast"),
        _ => None,
    }
}

fn refused_v6(ip: Ipv6Addr) -> Option<&'static str> {
    match ip.segments() {
        // AWS keeps all its services for instances there; Google.
        [0xfd00, 0xec2, ..] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => Some("metadata"),
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("unspecified"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("loopback"),
        [0xfe80..=0xfebf, ..] => Some("link_local"),
        [0xff00..=0xffff, ..] => Some("multicast"),
        _ => None,
    }
}

/// The IPv4 address to which packets for an IPv6 one go in the end, or might.
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match ip.segments() {
        // Not compatible addresses, but their own (RFC 4291 §2.5.2, §2.5.3).
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        // Compatible and mapped (RFC 4291 §2.5.5), translated (RFC 2765 §2.1), NAT64 (RFC 6052
        // §2.1).
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        // NAT64 of the site's own (RFC 8215): with prefixes of 96 bits, or 48 (RFC 6052 §2.2).
        [0x64, 0xff9b, 1, 0, 0, 0, high, low] => Some(v4(high, low)),
        [0x64, 0xff9b, 1, high, middle, low, ..] => Some(v4(high, middle << 8 | low >> 8)),
        // 6to4 (RFC 3056 §2).
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
