//! The operation on an endpoint as it is written in a request:
//! `POST /upstreams/NAME/endpoints/ADDRESS/restore?reason=TEXT`.

use super::operation::{decode, loggable, parameters};
use crate::net::Address;

/// The path of the operation, taken apart but not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    upstream: &'a str,
    endpoint: &'a str,
}

/// Takes the path of the operation apart; `None` where it is not one.
pub(super) fn target(path: &str) -> Option<Target<'_>> {
    let (upstream, rest) = path.strip_prefix("/upstreams/")?.split_once('/')?;
    let endpoint = rest.strip_prefix("endpoints/")?.strip_suffix("/restore")?;
    let whole = !upstream.is_empty() && !endpoint.contains('/');
    whole.then_some(Target { upstream, endpoint })
}

/// A request to end the ejection of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command {
    /// Name of the upstream.
    pub(super) upstream: String,
    /// Address of the endpoint.
    pub(super) endpoint: Address,
    /// Why, in the operator's words.
    pub(super) reason: Option<String>,
}

impl Command {
    /// Reads a command, or says what is wrong with it.
    pub(super) fn parse(target: Target<'_>, query: &str) -> Result<Self, String> {
        let upstream = decode(target.upstream)?;
        let endpoint = decode(target.endpoint)?;
        let endpoint = endpoint
            .parse()
            .map_err(|_| format!("`{endpoint}` is not an address with a port"))?;
        let mut reason = None;
        for parameter in parameters(query) {
            let (key, value) = parameter?;
            match key {
                "reason" => reason = Some(loggable(&value)),
                _ => return Err(format!("unknown parameter `{key}`: use reason")),
            }
        }
        Ok(Self {
            upstream,
            endpoint,
            reason,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(path: &str, query: &str) -> Option<Result<Command, String>> {
        target(path).map(|target| Command::parse(target, query))
    }

    #[test]
    fn a_command_names_an_upstream_and_an_address() {
        for address in ["10.0.0.7:80", "[::1]:8080", "%5B%3A%3A1%5D%3A8080"] {
            let path = format!("/upstreams/my%20search/endpoints/{address}/restore");
            let command = parse(&path, "reason=replaced%0Ait").unwrap().unwrap();
            assert_eq!(command.upstream, "my search");
            assert_eq!(command.endpoint.is_local(), address != "10.0.0.7:80");
            assert_eq!(command.reason.as_deref(), Some("replaced it"));
        }
    }

    #[test]
    fn other_paths_are_no_commands() {
        for path in [
            "/upstreams//endpoints/10.0.0.7:80/restore",
            "/upstreams/search/endpoints/10.0.0.7:80",
            "/upstreams/search/endpoints/10.0.0.7:80/x/restore",
            "/upstreams/search/breaker/open",
            "/status",
        ] {
            assert_eq!(target(path), None, "{path}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (address, query, said) in [
            ("search-a:80", "", "`search-a:80` is not an address"),
            ("10.0.0.7", "", "`10.0.0.7` is not an address"),
            ("10.0.0.7:80", "for=30s", "unknown parameter `for`"),
            ("10.0.0.7:80", "reason=%", "percent-encoded"),
        ] {
            let path = format!("/upstreams/search/endpoints/{address}/restore");
            let problem = parse(&path, query).unwrap().unwrap_err();
            assert!(problem.contains(said), "{problem}");
        }
    }
}
