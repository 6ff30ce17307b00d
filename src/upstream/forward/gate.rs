//! Which addresses are never dialled for a caller who names the host.
//!
//! [`AddressGuard`] knows those that are dangerous everywhere; our own listeners are dangerous
//! here: a request that comes back to us would go round for ever. Asked about each address at each
//! resolution, before it becomes an endpoint.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::OnceLock;

use crate::net::guard::AddressGuard;

/// Judges addresses.
#[derive(Debug, Default)]
pub struct Gate {
    guard: AddressGuard,
    /// Where we listen ourselves; unknown until the sockets are bound.
    own: OnceLock<Vec<SocketAddr>>,
}

impl Gate {
    /// Judges by `guard` alone, until [`Self::set_own`].
    pub fn new(guard: AddressGuard) -> Self {
        Self {
            guard,
            own: OnceLock::new(),
        }
    }

    /// Tells where we listen; the first time counts.
    pub fn set_own(&self, own: &[SocketAddr]) {
        // The second time there is nothing new.
        let _ = self.own.set(own.to_vec());
    }

    /// Why an address must not be dialled: a word for logs; `None` if it may be.
    pub fn refuses(&self, address: SocketAddr) -> Option<&'static str> {
        let ip = address.ip().to_canonical();
        self.guard.refuses(ip).or_else(|| {
            let mut own = self.own.get().into_iter().flatten();
            let is_own = own.any(|own| {
                let bound = own.ip().to_canonical();
                let same = bound == ip || (bound.is_unspecified() && is_here(ip));
                own.port() == address.port() && same
            });
            let mut exceptions = self.guard.exceptions.iter();
            let is_refused = is_own && !exceptions.any(|network| network.contains(ip));
            is_refused.then_some("own_listener")
        })
    }
}

/// Whether an address is one of this host's: only to those can be bound.
pub(super) fn is_here(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}
