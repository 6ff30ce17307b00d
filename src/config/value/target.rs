//! What callers of a forward proxy may reach: patterns of targets, networks.

use super::Invalid;
use crate::config::diagnostic::Id;
use crate::config::section::Setting;
use crate::net::allow::{BadPattern, Pattern};
use crate::net::network::{BadNetwork, Network};
use crate::net::target::BadTarget;

/// Reads a pattern of targets.
pub(in crate::config) fn target(text: &str) -> Result<Setting, Invalid> {
    let Some((_, rest)) = text.split_once("://") else {
        let pattern = text.parse::<Pattern>();
        return pattern
            .map(|_| Setting::Text(text.to_ascii_lowercase()))
            .map_err(|bad| {
                let help = pattern_help(&bad);
                Invalid::new(Id::BadTarget, bad.to_string(), help)
            });
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    Err(Invalid::new(
        Id::BadTarget,
        "a target stands without a scheme",
        format!("write `\"{host}\"`"),
    ))
}

fn pattern_help(bad: &BadPattern) -> String {
    match bad {
        BadPattern::Network(bad) => network_help(bad),
        BadPattern::Target(BadTarget::Port) => {
            "write a port such as `\"api.example.com:8443\"`, or `:*` for any".to_owned()
        }
        BadPattern::Target(BadTarget::Ipv6) => {
            "write an address such as `\"[2001:db8::1]:443\"`".to_owned()
        }
        _ => "write a host such as `\"api.example.com\"`, `\"*.example.org:443\"` or `\"*\"`"
            .to_owned(),
    }
}

/// Reads an address, or a network such as `10.0.0.0/8`.
pub(in crate::config) fn network(text: &str) -> Result<Setting, Invalid> {
    let network = text.parse::<Network>();
    network
        .map(|_| Setting::Text(text.to_owned()))
        .map_err(|bad| {
            let help = network_help(&bad);
            Invalid::new(Id::BadTarget, bad.to_string(), help)
        })
}

fn network_help(bad: &BadNetwork) -> String {
    match bad {
        BadNetwork::Bits(network) => {
            format!("write `\"{network}\"`, or the address without the length of a prefix")
        }
        BadNetwork::Prefix => "write 0 to 32 after the slash, for IPv6 0 to 128".to_owned(),
        BadNetwork::Address => {
            "write an address such as `\"127.0.0.1\"`, or a network such as `\"10.0.0.0/8\"`"
                .to_owned()
        }
    }
}
