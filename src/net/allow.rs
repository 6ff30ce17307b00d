//! The targets that callers of a forward proxy may name.
//!
//! It protects from a proxy that is open to the world. What a name resolves to is not looked at
//! here: a network in the list allows targets that are *written* as addresses, since an answer of
//! the DNS is somebody else's word; [`super::guard`] then judges every address that is dialled.
//! Its setting: `forward.allow` of an upstream.

use std::fmt;
use std::str::FromStr;

use super::network::{BadNetwork, Network};
use super::target::{BadTarget, Host, Target, parse_port, split_port};

/// Patterns of which one has to match; an empty list allows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList(pub Vec<Pattern>);

impl AllowList {
    /// Whether a caller may go there.
    pub fn allows(&self, target: &Target) -> bool {
        self.0.iter().any(|pattern| pattern.matches(target))
    }
}

/// One pattern: hosts, and ports of theirs.
///
/// | text | matches |
/// |---|---|
/// | `api.example.com` | that name |
/// | `*.example.com` | names with one or more labels in place of the star |
/// | `10.0.0.0/8`, `[2001:db8::]/32`, `10.1.2.3` | addresses |
/// | `*` | every name and address |
///
/// Behind each may stand `:5432` for one port or `:*` for all; without, 80 and 443 match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    hosts: Hosts,
    ports: Ports,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    All,
    Name(Box<str>),
    /// Names that end in this, which begins with a dot.
    Under(Box<str>),
    Network(Network),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ports {
    /// 80 and 443.
    Web,
    All,
    One(u16),
}

/// Why a text is not a [`Pattern`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPattern {
    /// The host or the port is wrong.
    Target(BadTarget),
    /// The network is wrong.
    Network(BadNetwork),
    /// A star stands elsewhere than alone, or alone before the first dot.
    Star,
}

impl Pattern {
    fn matches(&self, target: &Target) -> bool {
        let port = match self.ports {
            Ports::Web => matches!(target.port, 80 | 443),
            Ports::All => true,
            Ports::One(port) => port == target.port,
        };
        port && match (&self.hosts, &target.host) {
            (Hosts::All, _) => true,
            (Hosts::Name(name), Host::Name(host)) => name == host,
            (Hosts::Under(suffix), Host::Name(host)) => {
                host.len() > suffix.len() && host.ends_with(&**suffix)
            }
            (Hosts::Network(network), Host::Ip(ip)) => network.contains(*ip),
            (Hosts::Name(_) | Hosts::Under(_), Host::Ip(_))
            | (Hosts::Network(_), Host::Name(_)) => false,
        }
    }
}

impl Hosts {
    fn parse(text: &str) -> Result<Self, BadPattern> {
        if text == "*" {
            return Ok(Self::All);
        }
        if text.contains('/') {
            return text.parse().map(Self::Network).map_err(BadPattern::Network);
        }
        let (name, is_suffix) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        if name.contains('*') {
            return Err(BadPattern::Star);
        }
        match (Host::parse(name).map_err(BadPattern::Target)?, is_suffix) {
            (Host::Name(name), false) => Ok(Self::Name(name)),
            (Host::Name(name), true) => Ok(Self::Under(format!(".{name}").into())),
            (Host::Ip(ip), false) => {
                let whole = if ip.is_ipv4() { 32 } else { 128 };
                let network = Network::new(ip, whole).map_err(BadPattern::Network)?;
                Ok(Self::Network(network))
            }
            (Host::Ip(_), true) => Err(BadPattern::Star),
        }
    }
}

impl FromStr for Pattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        // A network's prefix stands between the bracket and the colon.
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if host.contains('/') => (host, Some(port)),
            _ if text.contains('/') => (text, None),
            _ => split_port(text).map_err(BadPattern::Target)?,
        };
        let ports = match port {
            None => Ports::Web,
            Some("*") => Ports::All,
            Some(port) => {
                let port = parse_port(port).ok_or(BadPattern::Target(BadTarget::Port))?;
                Ports::One(port)
            }
        };
        let hosts = Hosts::parse(host)?;
        Ok(Self { hosts, ports })
    }
}

impl fmt::Display for BadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target(bad) => bad.fmt(f),
            Self::Network(bad) => bad.fmt(f),
            Self::Star => f.write_str("a star stands alone, or alone before the first dot"),
        }
    }
}

#[cfg(test)]
mod tests;
