//! From configured names to endpoints: off the request path, again by TTL.
//!
//! Literals (and `localhost`) are endpoints at once and for good. Each name is resolved by its own
//! rhythm; every address of its larger family is an endpoint, with those of the other as further
//! ways to the same host. A resolution that fails keeps what the last good
//! one gave.

mod known;
mod lookup;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use self::known::{Known, families, found, literal};
pub use self::lookup::Lookup;
use super::Upstream;
use super::forward::Gate;
use crate::config::model::{self, EndpointAddress};
use crate::sync::{Mutex, lock};
use crate::telemetry::metrics::DnsFailure;
use crate::time;

/// Longest pause between attempts to resolve a name of which no address is known.
const NOTHING_KNOWN: Duration = Duration::from_secs(5);

/// What has come of looking names up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// No name was looked up yet.
    Pending,
    /// The endpoints are those that there are.
    Tried,
    /// All addresses that were found last must not be reached; the word says why.
    Refused(&'static str),
}

/// The endpoints of one upstream.
pub struct Resolution {
    upstream: Arc<Upstream>,
    known: Mutex<Vec<Known>>,
    /// Which addresses must not become endpoints, whatever has them for its own.
    gate: Option<Arc<Gate>>,
    outlook: watch::Sender<Outlook>,
}

impl Resolution {
    /// Sets the endpoints that need no resolution.
    pub fn begin(upstream: &Arc<Upstream>, endpoints: &[model::Endpoint]) -> Arc<Self> {
        Self::gated(upstream, endpoints, None)
    }

    /// As [`Self::begin`]; of the addresses that names resolve to, only those become endpoints that
    /// `gate` does not refuse.
    pub fn gated(
        upstream: &Arc<Upstream>,
        endpoints: &[model::Endpoint],
        gate: Option<Arc<Gate>>,
    ) -> Arc<Self> {
        let known = endpoints.iter().filter_map(Known::of);
        let resolution = Self {
            upstream: Arc::clone(upstream),
            known: Mutex::new(known.collect()),
            gate,
            outlook: watch::Sender::new(Outlook::Pending),
        };
        resolution.publish(&lock(&resolution.known));
        if resolution.names().is_empty() {
            resolution.outlook.send_replace(Outlook::Tried);
        }
        Arc::new(resolution)
    }

    /// What has come of it up to now.
    pub fn outlook(&self) -> Outlook {
        *self.outlook.borrow()
    }

    /// Waits until a name was looked up, if there is one.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn looked_up(&self) -> Outlook {
        let mut outlook = self.outlook.subscribe();
        let looked_up = outlook.wait_for(|outlook| *outlook != Outlook::Pending);
        // The sender is ours.
        looked_up.await.map_or(Outlook::Pending, |outlook| *outlook)
    }

    /// The names to resolve: each is kept current for itself, so that one that hangs delays no
    /// other. By index and name, for [`Self::keep_current`].
    pub fn names(&self) -> Vec<(usize, String)> {
        let known = lock(&self.known);
        let names = known.iter().enumerate();
        let name = |(index, known): (usize, &Known)| match &known.config.address {
            EndpointAddress::Name { host, .. } if literal(host).is_none() => {
                Some((index, host.clone()))
            }
            _ => None,
        };
        names.filter_map(name).collect()
    }

    /// Resolves the name at `index` for ever; `tried` is called after the first time.
    pub async fn keep_current(
        self: Arc<Self>,
        (index, name): (usize, String),
        lookup: Arc<Lookup>,
        tried: impl FnOnce() + Send + 'static,
    ) {
        let mut tried = Some(tried);
        let mut failures = 0;
        loop {
            let answer = lookup.name(&name).await;
            let wait = match answer {
                Ok((addresses, ttl)) => {
                    failures = 0;
                    self.found(index, addresses);
                    ttl.clamp(lookup.min_ttl, lookup.max_ttl)
                }
                Err(failure) => {
                    failures = (failures + 1).min(5);
                    let kept = self.failed(index, &name, failure);
                    let wait = lookup
                        .min_ttl
                        .saturating_mul(1 << failures)
                        .min(lookup.max_ttl);
                    if kept == 0 {
                        wait.min(NOTHING_KNOWN)
                    } else {
                        wait
                    }
                }
            };
            if let Some(tried) = tried.take() {
                tried();
            }
            time::sleep(wait).await;
        }
    }

    fn found(&self, index: usize, mut addresses: Vec<IpAddr>) {
        self.upstream.metrics.resolved();
        addresses.sort_unstable();
        addresses.dedup();
        let mut all = lock(&self.known);
        let Some(known) = all.get_mut(index) else {
            return;
        };
        let EndpointAddress::Name { ref host, port } = known.config.address else {
            return;
        };
        let outlook = self.sift(host, port, &mut addresses);
        let (addresses, alternates) = families(addresses, port);
        if known.addresses != addresses || known.alternates != alternates {
            known.addresses = addresses;
            known.alternates = alternates;
            self.publish(&all);
            tracing::info!(
                upstream = &*self.upstream.name,
                endpoints = self.upstream.endpoint_count(),
                "endpoints changed"
            );
        }
        drop(all);
        self.outlook.send_replace(outlook);
    }

    /// As if the first name had these addresses.
    #[cfg(test)]
    pub(super) fn found_for_test(&self, addresses: Vec<IpAddr>) {
        self.found(0, addresses);
    }

    /// Takes out what must not be reached. An answer of which nothing is left is no failure that
    /// the last good one would outlive: it may have been meant to deceive.
    fn sift(&self, host: &str, port: u16, addresses: &mut Vec<IpAddr>) -> Outlook {
        let Some(gate) = &self.gate else {
            return Outlook::Tried;
        };
        let mut refused = None;
        addresses.retain(|ip| match gate.refuses((*ip, port).into()) {
            None => true,
            Some(why) => {
                let upstream = &*self.upstream.name;
                tracing::warn!(upstream, host, address = %ip, reason = why, "address refused");
                refused = Some(why);
                false
            }
        });
        match refused {
            Some(why) if addresses.is_empty() => Outlook::Refused(why),
            _ => Outlook::Tried,
        }
    }

    /// Counts and logs a failure; returns how many addresses are kept.
    fn failed(&self, index: usize, name: &str, failure: DnsFailure) -> usize {
        self.upstream.metrics.resolution_failed(failure);
        let kept = lock(&self.known)
            .get(index)
            .map_or(0, |known| known.addresses.len());
        tracing::warn!(
            upstream = &*self.upstream.name,
            host = name,
            reason = failure.as_str(),
            kept,
            "name not resolved"
        );
        self.outlook.send_if_modified(|outlook| {
            let is_first = *outlook == Outlook::Pending;
            if is_first {
                *outlook = Outlook::Tried;
            }
            is_first
        });
        kept
    }

    fn publish(&self, known: &[Known]) {
        self.upstream.set_endpoints(&found(known), time::now());
    }
}
