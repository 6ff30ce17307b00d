//! What the network looks like to both sides: addresses and byte streams.

mod address;
pub mod allow;
mod duplex;
pub mod frames;
pub mod guard;
mod listen;
pub mod network;
pub mod proxy_protocol;
mod stream;
mod tap;
pub mod target;

use std::net::SocketAddr;

pub use address::{Address, BadAddress};
pub(crate) use duplex::Duplex;
pub use listen::{Bound, Listening};
pub use stream::{Detached, SocketStream};
pub(crate) use tap::{Rewound, Tap, Tapped};

/// Where a connection of a caller comes from and goes to; nothing of a Unix socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// The caller's.
    pub peer: Option<SocketAddr>,
    /// Ours; only where somebody is to be told.
    pub local: Option<SocketAddr>,
}
