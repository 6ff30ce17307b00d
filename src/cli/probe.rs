//! `outrigger healthcheck` and `outrigger wait`: questions to a running proxy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use super::{NO, OK, Target, complain};
use crate::config;
use crate::lifecycle::signals;
use crate::net::{Address, BadAddress};
use crate::{client, config::model::Config};

/// The default of `[metrics] listen`, seen from the same host.
const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9902);
/// A proxy that takes longer to say that it lives does not.
const PATIENCE: Duration = Duration::from_secs(5);

/// What `--url` names.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Http(http::Uri),
    Socket(Address),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("unix:") {
            let address = text.parse().map(Self::Socket);
            return address.map_err(|why: BadAddress| why.to_string());
        }
        let url = text.parse().map(Self::Http);
        url.map_err(|why: http::uri::InvalidUri| why.to_string())
    }
}

/// Asks once; returns the exit code.
pub(super) fn healthcheck(target: &Target, ready: bool) -> u8 {
    let path = if ready { "/readyz" } else { "/livez" };
    verdict(ask(target, async |addr| {
        let answer = client::get(addr, path, PATIENCE).await?;
        if answer.status() == 200 {
            return Ok(());
        }
        let body = String::from_utf8_lossy(answer.body());
        let reason = body.lines().next().unwrap_or_default().trim();
        Err(format!("{path} answered {} {reason}", answer.status()))
    }))
}

/// Asks until the answer is yes; returns the exit code.
pub(super) fn wait(target: &Target, timeout: Duration) -> u8 {
    verdict(ask(target, async |addr| {
        client::until_ready(addr, timeout)
            .await
            .map_err(|last| format!("not ready after {timeout:?}: {last}"))
    }))
}

fn verdict(answer: Result<(), String>) -> u8 {
    match answer {
        Ok(()) => OK,
        Err(reason) => {
            complain(&reason);
            NO
        }
    }
}

fn ask(
    target: &Target,
    question: impl AsyncFnOnce(&Address) -> Result<(), String>,
) -> Result<(), String> {
    let runtime = signals::runtime().map_err(|error| error.to_string())?;
    runtime.block_on(async { question(&address(target).await?).await })
}

async fn address(target: &Target) -> Result<Address, String> {
    if let Some(url) = &target.url {
        return match url {
            Place::Http(url) => resolve(url).await.map(Address::Ip),
            Place::Socket(address) => Ok(address.clone()),
        };
    }
    let Some(file) = &target.file else {
        return Ok(DEFAULT.into());
    };
    match config::load(file) {
        Ok(config) => listens_at(&config),
        Err(_) => {
            let file = file.display();
            Err(format!(
                "`{file}` is not valid: `outrigger check {file}` says why"
            ))
        }
    }
}

/// Where a proxy that runs `config` on this host is asked.
fn listens_at(config: &Config) -> Result<Address, String> {
    match &config.metrics {
        None => Err("`[metrics] listen` is off in this configuration: give --url".to_owned()),
        Some(address) if address.port() == Some(0) => {
            Err("`[metrics] listen` has port 0, chosen at start: give --url".to_owned())
        }
        Some(address) => Ok(reachable(address)),
    }
}

/// The address at which a listener bound to `address` is reached from this host.
pub(super) fn reachable(address: &Address) -> Address {
    let mut address = address.clone();
    if let Address::Ip(address) = &mut address
        && address.ip().is_unspecified()
    {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// The address that an `http://host:port` means.
async fn resolve(url: &http::Uri) -> Result<SocketAddr, String> {
    let plain = url.scheme_str().is_none_or(|scheme| scheme == "http");
    let (Some(host), true) = (url.host(), plain) else {
        return Err(format!("`{url}` is not of the form http://host:port"));
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = url.port_u16().unwrap_or(80);
    tokio::net::lookup_host((host, port))
        .await
        .map_err(|error| format!("cannot resolve `{host}`: {error}"))?
        .next()
        .ok_or_else(|| format!("`{host}` has no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_address_is_asked_on_loopback() {
        for (bound, asked) in [
            ("0.0.0.0:9902", "127.0.0.1:9902"),
            ("[::]:9902", "[::1]:9902"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("192.0.2.7:9902", "192.0.2.7:9902"),
        ] {
            let reached = reachable(&bound.parse().unwrap());
            assert_eq!(reached, asked.parse().unwrap(), "{bound}");
        }
    }

    #[tokio::test]
    async fn a_url_is_an_address() {
        for (url, address) in [
            ("http://127.0.0.1:9902", Some("127.0.0.1:9902")),
            ("http://127.0.0.1:9902/", Some("127.0.0.1:9902")),
            ("http://[::1]:9902", Some("[::1]:9902")),
            ("127.0.0.1:9902", Some("127.0.0.1:9902")),
            ("http://127.0.0.1", Some("127.0.0.1:80")),
            ("https://127.0.0.1:9902", None),
            ("/livez", None),
        ] {
            let resolved = resolve(&url.parse().unwrap()).await;
            assert_eq!(resolved.ok(), address.map(|a| a.parse().unwrap()), "{url}");
        }
    }
}
