//! A network of addresses: `10.0.0.0/8`, `2001:db8::/32`, or a single address.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// The addresses that share a prefix. An IPv4 network holds IPv4 addresses that are mapped into
/// IPv6 as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    first: IpAddr,
    prefix: u8,
}

/// Why a text is not a [`Network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadNetwork {
    /// What stands before the slash is no address.
    Address,
    /// What stands behind the slash is not the length of a prefix: 0-32, for IPv6 0-128.
    Prefix,
    /// The address has bits beyond the prefix; this network was meant.
    Bits(Network),
}

impl Network {
    /// Makes the network of an address and the length of its prefix.
    ///
    /// # Errors
    ///
    /// [`BadNetwork::Prefix`] or [`BadNetwork::Bits`].
    pub fn new(ip: IpAddr, prefix: u8) -> Result<Self, BadNetwork> {
        let width = width(ip);
        let spare = width.checked_sub(prefix).ok_or(BadNetwork::Prefix)?;
        let first = match ip {
            IpAddr::V4(ip) => {
                let kept = u32::MAX.checked_shl(spare.into()).unwrap_or(0);
                IpAddr::V4((ip.to_bits() & kept).into())
            }
            IpAddr::V6(ip) => {
                let kept = u128::MAX.checked_shl(spare.into()).unwrap_or(0);
                IpAddr::V6((ip.to_bits() & kept).into())
            }
        };
        let network = Self { first, prefix };
        if first == ip {
            Ok(network)
        } else {
            Err(BadNetwork::Bits(network))
        }
    }

    /// Whether the address is in it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = if self.first.is_ipv4() {
            ip.to_canonical()
        } else {
            ip
        };
        let differs = match (self.first, ip) {
            (IpAddr::V4(first), IpAddr::V4(ip)) => {
                // To the upper end, where an IPv6 address has its prefix too.
                u128::from(first.to_bits() ^ ip.to_bits()) << 96
            }
            (IpAddr::V6(first), IpAddr::V6(ip)) => first.to_bits() ^ ip.to_bits(),
            _ => return false,
        };
        differs.leading_zeros() >= u32::from(self.prefix)
    }
}

fn width(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let (ip, prefix) = match text.split_once('/') {
            Some((ip, prefix)) => (ip, Some(prefix)),
            None => (text, None),
        };
        let bare = ip
            .strip_prefix('[')
            .and_then(|ip| ip.strip_suffix(']'))
            .map(|ip| ip.parse::<Ipv6Addr>().map(IpAddr::V6));
        let ip = bare
            .unwrap_or_else(|| ip.parse())
            .map_err(|_| BadNetwork::Address)?;
        let prefix = match prefix {
            None => width(ip),
            Some(digits) => {
                let plain = digits.bytes().all(|byte| byte.is_ascii_digit())
                    && (digits == "0" || !digits.starts_with('0'));
                let prefix = digits.parse().ok().filter(|_| plain);
                prefix.ok_or(BadNetwork::Prefix)?
            }
        };
        Self::new(ip, prefix)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

impl fmt::Display for BadNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("not an IP address"),
            Self::Prefix => f.write_str("the prefix is 0-32 bits long, for IPv6 0-128"),
            Self::Bits(network) => write!(f, "has bits beyond its prefix, `{network}` has not"),
        }
    }
}

#[cfg(test)]
mod tests;
