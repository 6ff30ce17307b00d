//! What the network looks like to both sides: addresses and byte streams.

mod address;
pub mod allow;
mod breaks;
mod duplex;
pub mod frames;
pub mod guard;
mod listen;
pub mod network;
mod preface;
pub mod proxy_protocol;
mod shared;
mod stream;
mod tap;
pub mod target;
pub(crate) mod trailers;

use std::net::SocketAddr;
use std::sync::{Arc, Weak};

pub use address::{Address, BadAddress};
pub(crate) use breaks::Breaks;
pub(crate) use duplex::{Duplex, Resets};
pub use listen::{Bound, Listening};
pub(crate) use preface::sniff;
pub use shared::Shared;
pub use stream::{Detached, SocketStream};
pub(crate) use tap::{Rewound, Tap, Tapped, Turn};

/// Where a connection of a caller comes from and goes to; nothing of a Unix socket.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    /// A second hold on the socket, where no stream of HTTP/2 shares it.
    pub(crate) socket: Option<Weak<SocketStream>>,
    /// The caller's.
    pub peer: Option<SocketAddr>,
    /// Ours; only where somebody is to be told.
    pub local: Option<SocketAddr>,
}

impl Ends {
    /// The socket, to look at while its task does not read.
    pub(crate) fn socket(&self) -> Option<Arc<SocketStream>> {
        self.socket.as_ref().and_then(Weak::upgrade)
    }
}
