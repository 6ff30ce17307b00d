//! Who tells that one end of a tunnel broke, while the other is waited for.

use std::future::pending;
use std::io;
use std::sync::Arc;

use super::{Resets, SocketStream};

/// What to ask of one end.
pub(crate) enum Breaks {
    /// A stream of HTTP/2.
    Stream(Resets),
    /// A socket of its own.
    Socket(Arc<SocketStream>),
    /// Nobody tells.
    Untold,
}

impl Breaks {
    /// A stream is reset alone, and so asked before the socket that it shares.
    pub(crate) fn of(resets: Option<Resets>, socket: Option<Arc<SocketStream>>) -> Self {
        let socket = || socket.map_or(Self::Untold, Self::Socket);
        resets.map_or_else(socket, Self::Stream)
    }

    /// Waits for a break; never ends where nobody tells. To be polled by the task that reads and
    /// writes.
    pub(crate) async fn broken(&self) -> io::Error {
        match self {
            Self::Stream(resets) => resets.reset().await,
            Self::Socket(socket) => {
                socket.broken().await;
                io::ErrorKind::ConnectionReset.into()
            }
            Self::Untold => pending().await,
        }
    }
}
