//! What servers say of a name.
//!
//! Nothing is kept here: how long an answer holds goes with it. Its settings: `discovery.dns`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{Resolver, TokioResolver};

use crate::config::model;
use crate::telemetry::metrics::DnsFailure;
use crate::time;

/// Addresses of a name, and how long they hold.
type Answer = Result<(Vec<IpAddr>, Duration), DnsFailure>;

/// Looks names up.
pub struct Lookup {
    resolver: Option<TokioResolver>,
    pub(super) min_ttl: Duration,
    pub(super) max_ttl: Duration,
}

impl Lookup {
    /// Prepares lookups by the system's resolv.conf or the given servers.
    pub fn new(settings: &model::Dns) -> Self {
        Self {
            resolver: resolver(settings),
            min_ttl: settings.min_ttl,
            max_ttl: settings.max_ttl,
        }
    }

    /// Resolves one name.
    pub(super) async fn name(&self, name: &str) -> Answer {
        let Some(resolver) = &self.resolver else {
            return Err(DnsFailure::Error);
        };
        let found = resolver
            .lookup_ip(name)
            .await
            .map_err(|error| match error {
                _ if error.is_no_records_found() => DnsFailure::NotFound,
                NetError::Timeout => DnsFailure::Timeout,
                _ => DnsFailure::Error,
            })?;
        let addresses: Vec<IpAddr> = found.iter().collect();
        if addresses.is_empty() {
            return Err(DnsFailure::NotFound);
        }
        Ok((
            addresses,
            found.valid_until().saturating_duration_since(time::now()),
        ))
    }
}

fn resolver(settings: &model::Dns) -> Option<TokioResolver> {
    let mut builder = if settings.servers.is_empty() {
        match Resolver::builder_tokio() {
            Ok(builder) => builder,
            Err(error) => {
                tracing::error!(%error, "no usable resolv.conf: names cannot be resolved");
                return None;
            }
        }
    } else {
        let servers = settings.servers.iter().map(name_server).collect();
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        Resolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let options = builder.options_mut();
    options.timeout = settings.timeout;
    options.attempts = 1;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // We keep the answers ourselves, by their TTL.
    options.cache_size = 0;
    builder.build().ok()
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    server.connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()]
        .map(|mut connection| {
            connection.port = address.port();
            connection
        })
        .into();
    server
}
