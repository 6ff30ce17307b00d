//! An upstream that the test plays itself, in its own thread: it takes each connection into its
//! hands, and so decides what happens before what.

use std::net::TcpListener;
use std::sync::Arc;

use super::PATIENCE;
use super::wire::Wire;

/// Where the proxy connects to.
pub(crate) struct Stage(TcpListener);

impl Stage {
    pub(crate) fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let socket = socket2::SockRef::from(&listener);
        let patience = socket.set_read_timeout(Some(PATIENCE));
        patience.expect("the option is supported");
        Self(listener)
    }

    /// As an entry of `endpoints`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.0.local_addr().expect("a bound socket"))
    }

    /// As an entry of `endpoints` of a TCP upstream.
    pub(crate) fn tcp(&self) -> String {
        self.url().replace("http:", "tcp:")
    }

    /// The next connection of the proxy.
    pub(crate) fn accept(&self) -> Wire {
        let (stream, _) = self.0.accept().expect("the proxy connects");
        stream.set_nodelay(true).expect("the option is supported");
        let wire = Wire::new(Arc::new(stream));
        wire.set_patience(Some(PATIENCE));
        wire
    }

    /// Whether nobody is waiting to be accepted.
    pub(crate) fn is_deserted(&self) -> bool {
        self.0.set_nonblocking(true).expect("a socket");
        let nobody = self.0.accept().is_err();
        self.0.set_nonblocking(false).expect("a socket");
        nobody
    }
}
