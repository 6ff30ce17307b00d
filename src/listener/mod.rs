//! The server side: bind, accept, one task per connection of a caller.
//!
//! Sockets are accepted on the control thread and handed to the worker with the fewest open
//! connections; all of a connection's life is on that worker. hyper's server types stop here.

mod accept;
mod conn;

pub use accept::{Accepted, Door, Open, accept, bind};
pub use conn::serve;
