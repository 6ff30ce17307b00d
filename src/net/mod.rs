//! What the network looks like to both sides: addresses and byte streams.

mod address;
pub mod allow;
pub mod frames;
pub mod guard;
mod listen;
pub mod network;
pub mod proxy_protocol;
mod stream;
mod tap;
pub mod target;

pub use address::{Address, BadAddress};
pub use listen::{Bound, Listening};
pub use stream::{Detached, SocketStream};
pub(crate) use tap::{Rewound, Tap, Tapped};
