//! What the network looks like to both sides: addresses and byte streams.

mod address;
mod listen;
mod stream;
mod tap;

pub use address::{Address, BadAddress};
pub use listen::{Bound, Listening};
pub use stream::{Detached, SocketStream};
pub(crate) use tap::{Rewound, Tap, Tapped};
