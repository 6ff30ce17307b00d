//! What callers of a forward proxy may reach: patterns of targets, networks.

use std::net::IpAddr;

use super::{Invalid, host_pattern};
use crate::config::diagnostic::Id;
use crate::config::section::Setting;

/// Reads a host, `*.` and a host, or `*`, each with a port or without; lower case from here on.
pub(in crate::config) fn target(text: &str) -> Result<Setting, Invalid> {
    let bad = |message: &str, help: String| Err(Invalid::new(Id::BadTarget, message, help));
    if let Some((_, rest)) = text.split_once("://") {
        let host = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        return bad(
            "a target stands without a scheme",
            format!("write `\"{host}\"`"),
        );
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_port = |port: &str| {
        port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    if host.contains(':') && !host.starts_with('[') {
        return bad(
            "an IPv6 address stands in brackets",
            "write an address such as `\"[2001:db8::1]:443\"`".to_owned(),
        );
    }
    if port.is_some_and(|port| !is_port(port)) {
        return bad(
            "the port is not a number from 1 to 65535",
            "write a port such as `\"api.example.com:443\"`, or leave it away for any".to_owned(),
        );
    }
    if host != "*" && host_pattern(host).is_err() {
        return bad(
            "not a pattern of targets",
            "write a host such as `\"api.example.com\"`, `\"*.example.org:443\"` or `\"*\"`"
                .to_owned(),
        );
    }
    Ok(Setting::Text(text.to_ascii_lowercase()))
}

/// Reads an address, or a network such as `10.0.0.0/8`.
pub(in crate::config) fn network(text: &str) -> Result<Setting, Invalid> {
    let bad = |message: &str, help: String| Err(Invalid::new(Id::BadTarget, message, help));
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        return bad(
            "neither an address nor a network",
            "write an address such as `\"127.0.0.1\"`, or a network such as `\"10.0.0.0/8\"`"
                .to_owned(),
        );
    };
    let Some(length) = length else {
        return Ok(Setting::Text(text.to_owned()));
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    let digits = length.bytes().all(|b| b.is_ascii_digit());
    let Some(length) = length.parse::<u32>().ok().filter(|l| digits && *l <= most) else {
        return bad(
            "the length of the prefix is out of range",
            format!("write a length from 0 to {most} after the slash"),
        );
    };
    let first = first_of(address, length);
    if first != address {
        return bad(
            "this network has bits set behind its prefix",
            format!("write `\"{first}/{length}\"`, or leave `/{length}` away for the one address"),
        );
    }
    Ok(Setting::Text(text.to_owned()))
}

/// The first address of the network of this many bits that an address is in.
fn first_of(address: IpAddr, length: u32) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    }
}
