//! The server side: accept, one task per connection of a caller.
//!
//! Sockets are accepted on the control thread and handed to the worker with the fewest open
//! connections; all of a connection's life is on that worker. The server types of hyper and h2 stop here.

mod accept;
mod clients;
mod conn;
mod http1;
mod http2;
mod stream;
mod tcp;
mod wire;

pub use accept::{Accepted, Door, Open, accept};
pub use conn::serve;
