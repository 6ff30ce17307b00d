//! How many connections each client address has open on a listener.
//!
//! It keeps one client from taking all of `max_connections`. Invariant: an address without open
//! connections has no entry, so that there are never more entries than connections. The limit is
//! `downstream.max_connections_per_client`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::sync::{Mutex, lock};

/// See the module.
#[derive(Default)]
pub(super) struct Clients(Mutex<HashMap<IpAddr, usize>>);

impl Clients {
    /// Counts a connection from this address; `None` where it has `limit` of them.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr, limit: usize) -> Option<OfClient> {
        // The same client, whether it came to a socket of both families or of its own.
        let address = address.to_canonical();
        let mut open = lock(&self.0);
        let count = open.get(&address).copied().unwrap_or_default();
        if count >= limit {
            return None;
        }
        open.insert(address, count + 1);
        drop(open);
        let clients = Arc::clone(self);
        Some(OfClient { clients, address })
    }
}

/// Counts one open connection of a client until it is dropped.
#[must_use = "the connection counts as closed once this is dropped"]
pub(super) struct OfClient {
    clients: Arc<Clients>,
    address: IpAddr,
}

impl Drop for OfClient {
    fn drop(&mut self) {
        let mut open = lock(&self.clients.0);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_a_limit_of_its_own_and_leaves_nothing_behind() {
        let clients = Arc::new(Clients::default());
        let enter = |address: &str| clients.enter(address.parse().unwrap(), 2);
        let entries = || lock(&clients.0).len();
        let first = enter("10.0.0.1");
        let mapped = enter("::ffff:10.0.0.1");
        assert!(first.is_some() && mapped.is_some());
        assert!(enter("10.0.0.1").is_none());
        let other = enter("10.0.0.2");
        assert!(other.is_some());
        assert_eq!(entries(), 2);
        drop(first);
        assert!(enter("10.0.0.1").is_some());
        drop((mapped, other));
        assert_eq!(entries(), 0);
    }
}
