//! Where a caller of the forward proxy wants to go: `host:port`, read strictly.
//!
//! It protects the allow list from texts that others read differently than we do. A name has ASCII
//! letters, digits, hyphens and underscores alone (IDNA is the caller's to encode); a host that
//! could be taken for an IPv4 address (by `inet_aton`, or the URL standard: `0x7f.1`, `127.1`,
//! `2130706433`) either is one of four plain decimal parts, or is refused; IPv6 stands in brackets
//! and has no zone. What comes out has one form: lower case, no final dot, IPv4 mapped into IPv6
//! unwrapped. Resolves nothing.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// Whose port.
    pub host: Host,
    /// 1-65535.
    pub port: u16,
}

/// A name or an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A name in lower case, without a final dot; not an address in any reading.
    Name(Box<str>),
    /// An address; IPv4 never as IPv6.
    Ip(IpAddr),
}

/// Why a text is not a [`Target`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadTarget {
    /// The host is empty, too long, or has something else than letters, digits, `-`, `_` and dots
    /// where they belong.
    Host,
    /// Looks like an IPv4 address, but not in four plain decimal parts.
    OddIpv4,
    /// What stands in brackets is no IPv6 address, or they do not close; or it has colons and no
    /// brackets.
    Ipv6,
    /// The port is not 1-65535 in plain decimal digits.
    Port,
    /// There is no port.
    NoPort,
}

impl Target {
    /// Reads an authority. Without a port it has `default_port`, that of its scheme; CONNECT has
    /// none (RFC 9110 §9.3.6).
    ///
    /// # Errors
    ///
    /// See [`BadTarget`]. User information (`user@`) is refused with everything else that is no
    /// part of a host.
    pub fn parse(text: &str, default_port: Option<u16>) -> Result<Self, BadTarget> {
        let (host, port) = split_port(text)?;
        let host = Host::parse(host)?;
        let port = match port {
            Some(port) => parse_port(port).ok_or(BadTarget::Port)?,
            None => default_port.ok_or(BadTarget::NoPort)?,
        };
        Ok(Self { host, port })
    }
}

impl Host {
    /// Reads a host without a port; IPv6 in brackets.
    ///
    /// # Errors
    ///
    /// See [`BadTarget`].
    pub fn parse(text: &str) -> Result<Self, BadTarget> {
        if let Some(rest) = text.strip_prefix('[') {
            let inner = rest.strip_suffix(']').ok_or(BadTarget::Ipv6)?;
            let ip: Ipv6Addr = inner.parse().map_err(|_| BadTarget::Ipv6)?;
            return Ok(Self::Ip(IpAddr::V6(ip).to_canonical()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        if !is_name(name) {
            return Err(BadTarget::Host);
        }
        let last = name.rsplit('.').next().unwrap_or(name);
        if !is_number(last) {
            return Ok(Self::Name(name.to_ascii_lowercase().into()));
        }
        // The final dot counts here: with it, some read a name, and others an address.
        let ip = text.parse::<Ipv4Addr>().map_err(|_| BadTarget::OddIpv4)?;
        Ok(Self::Ip(IpAddr::V4(ip)))
    }
}

/// Cuts the port off, if there is one.
pub(super) fn split_port(text: &str) -> Result<(&str, Option<&str>), BadTarget> {
    let host_ends = match text.strip_prefix('[') {
        // Behind the bracket that closes.
        Some(inner) => inner.find(']').ok_or(BadTarget::Ipv6)? + 2,
        None if text.bytes().filter(|byte| *byte == b':').count() > 1 => {
            return Err(BadTarget::Ipv6);
        }
        None => text.find(':').unwrap_or(text.len()),
    };
    let (host, rest) = text.split_at_checked(host_ends).ok_or(BadTarget::Host)?;
    match rest.strip_prefix(':') {
        Some(port) => Ok((host, Some(port))),
        None if rest.is_empty() => Ok((host, None)),
        None => Err(BadTarget::Host),
    }
}

/// A port in plain decimal digits.
pub(super) fn parse_port(digits: &str) -> Option<u16> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse().ok().filter(|_| plain)
}

/// Labels of 1-63 letters, digits, hyphens (not at an end) and underscores; 253 octets in all
/// (RFC 1035 §2.3.4).
fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// Whether a last label makes an IPv4 address of the host for those who are generous: digits alone,
/// or hexadecimal ones after `0x`.
fn is_number(label: &str) -> bool {
    let label = label.as_bytes();
    match label {
        [b'0', b'x' | b'X', rest @ ..] => rest.iter().all(u8::is_ascii_hexdigit),
        _ => label.iter().all(u8::is_ascii_digit),
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(ip)) => ip.fmt(f),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl BadTarget {
    /// The rule that is broken.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "not a host of ASCII letters, digits, `-`, `_` and dots",
            Self::OddIpv4 => "an IPv4 address is written in four decimal parts",
            Self::Ipv6 => "an IPv6 address, and nothing else, stands in brackets",
            Self::Port => "the port is not 1-65535",
            Self::NoPort => "the port is missing",
        }
    }
}

impl fmt::Display for BadTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
