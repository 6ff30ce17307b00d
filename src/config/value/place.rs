//! Places in the network: addresses, endpoints, hosts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Invalid;
use crate::config::diagnostic::Id;
use crate::config::model::{Endpoint, EndpointAddress};
use crate::config::section::Setting;
use crate::net::{Address, BadAddress};

/// Reads where a socket binds.
pub(in crate::config) fn address(text: &str) -> Result<Setting, Invalid> {
    match text.parse() {
        Ok(address) => return Ok(Setting::Address(Some(address))),
        Err(BadAddress::Form) => {}
        Err(why) => return Err(bad_path(Id::BadAddress, why)),
    }
    let port = text
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse::<u16>().ok());
    let help = match port.or_else(|| text.parse().ok()) {
        Some(port)
            if !text.contains(':') || text.starts_with(':') || text.starts_with("localhost:") =>
        {
            format!("write `\"127.0.0.1:{port}\"`")
        }
        _ => "write an IP address and a port, such as `\"127.0.0.1:9001\"` or `\"[::1]:9001\"`"
            .to_owned(),
    };
    Err(Invalid::new(
        Id::BadAddress,
        "not an address to listen on",
        help,
    ))
}

/// Says why a `unix:` names no socket.
fn bad_path(id: Id, why: BadAddress) -> Invalid {
    Invalid::new(
        id,
        why.to_string(),
        "write `\"unix:\"` and an absolute path, such as `\"unix:/run/search.sock\"`",
    )
}

/// As [`address`], or `"off"`.
pub(in crate::config) fn address_or_off(text: &str) -> Result<Setting, Invalid> {
    match text {
        "off" => Ok(Setting::Address(None)),
        _ => address(text),
    }
}

/// Reads a DNS server: an IP address, with port 53 unless given.
pub(in crate::config) fn dns_server(text: &str) -> Result<Setting, Invalid> {
    let ip = text.parse().map(|ip: IpAddr| SocketAddr::new(ip, 53));
    ip.or_else(|_| text.parse())
        .map(|address: SocketAddr| Setting::Address(Some(address.into())))
        .map_err(|_| {
            Invalid::new(
                Id::BadAddress,
                "not the address of a DNS server",
                "write an IP address, with a port unless it is 53: `\"10.0.0.2\"`, `\"10.0.0.2:5353\"`",
            )
        })
}

/// What a string says of how an endpoint is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Scheme {
    /// HTTP, with TLS or without.
    Http,
    /// Bytes.
    Tcp,
    /// Nothing: other keys do.
    None,
}

/// Reads `"http://host:port"` or `"https://host:port"`, where the port is that of the scheme unless
/// given, `"tcp://host:port"`, or `"unix:/path"`.
pub(in crate::config) fn endpoint(text: &str) -> Result<Setting, Invalid> {
    let bad = |message: &str, help: String| Invalid::new(Id::BadEndpoint, message, help);
    if text.starts_with("unix:") {
        let path = match text.parse() {
            Ok(Address::Unix(path)) => path,
            Ok(Address::Ip(_)) => return Err(bad_path(Id::BadEndpoint, BadAddress::Form)),
            Err(why) => return Err(bad_path(Id::BadEndpoint, why)),
        };
        let endpoint = Endpoint {
            address: EndpointAddress::Unix(path),
            tls: false,
            weight: 1,
        };
        return Ok(Setting::Endpoint(Scheme::None, endpoint));
    }
    let Some((scheme, authority)) = text.split_once("://") else {
        return Err(bad(
            "an endpoint needs a scheme",
            format!("write `\"http://{text}\"`"),
        ));
    };
    let (kind, tls) = match scheme {
        "http" => (Scheme::Http, false),
        "https" => (Scheme::Http, true),
        "tcp" => (Scheme::Tcp, false),
        "tls" => {
            return Err(bad(
                "unknown scheme",
                format!("write `\"tcp://{authority}\"`, and `tls = {{}}` beside it"),
            ));
        }
        _ => {
            return Err(bad(
                "unknown scheme",
                format!(
                    "write `\"http://{authority}\"`, or `\"tcp://{authority}\"` beside \
                     `protocol = \"tcp\"`"
                ),
            ));
        }
    };
    if let Some(at) = authority.find(['/', '?', '#']) {
        let (host, _) = authority.split_at_checked(at).unwrap_or((authority, ""));
        return Err(bad(
            "an endpoint has no path or query: the caller's is passed on",
            format!("write `\"{scheme}://{host}\"`"),
        ));
    }
    if let Some((_, host)) = authority.rsplit_once('@') {
        return Err(bad(
            "an endpoint has no user name or password",
            format!("write `\"{scheme}://{host}\"`"),
        ));
    }
    let port = match (kind, tls) {
        (Scheme::Http, true) => Some(443),
        (Scheme::Http, false) => Some(80),
        _ => None,
    };
    let (host, port) = host_and_port(authority, port)?;
    Ok(Setting::Endpoint(kind, name(host, port, tls)))
}

/// Reads the `"host:port"` of a name whose every address is an endpoint.
pub(in crate::config) fn dns_name(text: &str) -> Result<Setting, Invalid> {
    if let Some((_, authority)) = text.split_once("://") {
        return Err(Invalid::new(
            Id::BadEndpoint,
            "a name stands without a scheme",
            format!("write `\"{authority}\"`"),
        ));
    }
    let (host, port) = host_and_port(text, None)?;
    Ok(Setting::Endpoint(Scheme::None, name(host, port, false)))
}

const fn name(host: String, port: u16, tls: bool) -> Endpoint {
    Endpoint {
        address: EndpointAddress::Name { host, port },
        tls,
        weight: 1,
    }
}

fn host_and_port(text: &str, default_port: Option<u16>) -> Result<(String, u16), Invalid> {
    const HELP: &str =
        "write a host and a port, such as `payments:8080`, `10.0.0.7:8080` or `[::1]:8080`";
    let bad = |message: &str| Invalid::new(Id::BadEndpoint, message, HELP);
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port = match (port, default_port) {
        (Some(port), _) => match port.parse::<u16>() {
            Ok(port) if port > 0 && !text.ends_with(&format!(":+{port}")) => port,
            _ => return Err(bad("the port is not a number from 1 to 65535")),
        },
        (None, Some(port)) => port,
        (None, None) => return Err(bad("the port is missing")),
    };
    let host = match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(literal) => match literal.parse::<Ipv6Addr>() {
            Ok(literal) => literal.to_string(),
            Err(_) => return Err(bad("not an IPv6 address")),
        },
        None if host.contains(':') => return Err(bad("an IPv6 address stands in brackets")),
        None if is_host(host) => host.to_ascii_lowercase(),
        None => return Err(bad("not a host name")),
    };
    Ok((host, port))
}

/// Whether it is a DNS name or an IPv4 address.
fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    let last = name.rsplit('.').next().unwrap_or(name);
    name.len() <= 253
        && name.split('.').all(label)
        // No top-level domain is a number, so this must be an address.
        && (!last.bytes().all(|b| b.is_ascii_digit()) || text.parse::<Ipv4Addr>().is_ok())
}

/// Reads what the upstream sees in `Host`: the words are told apart later, the rest is a value.
pub(in crate::config) fn host_header(text: &str) -> Result<Setting, Invalid> {
    match host_and_port(text, Some(80)) {
        Ok(_) => Ok(Setting::Text(text.to_owned())),
        Err(_) => Err(Invalid::new(
            Id::BadHost,
            "not a value for `Host`",
            "write `\"endpoint\"`, `\"preserve\"` or a host such as `\"payments.internal\"`",
        )),
    }
}

/// Reads a host pattern: a name, or `*.` and a name.
pub(in crate::config) fn host_pattern(text: &str) -> Result<Setting, Invalid> {
    let lower = text.to_ascii_lowercase();
    let name = lower.strip_prefix("*.").unwrap_or(&lower);
    let literal = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    let valid = match literal {
        Some(literal) => literal.parse::<Ipv6Addr>().is_ok(),
        None => is_host(name) && !name.ends_with('.'),
    };
    if valid {
        return Ok(Setting::Text(lower));
    }
    let help = match text.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => {
            format!("the port plays no part: write `\"{host}\"`")
        }
        _ => "write a host such as `\"search.local\"` or `\"*.local\"`; leave `host` away to match any".to_owned(),
    };
    Err(Invalid::new(Id::BadHost, "not a host pattern", help))
}
