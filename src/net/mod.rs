//! What the network looks like to both sides: addresses and byte streams.

mod address;
mod stream;
mod tap;

pub use address::{Address, BadAddress};
pub use stream::SocketStream;
pub(crate) use tap::{Tap, Tapped};
