//! Addresses behind which nobody answers.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// An address that refuses connections: bound, so that nobody else gets it, but not listened on.
pub(crate) struct Refusing(socket2::Socket);

impl Refusing {
    pub(crate) fn start() -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.expect("a socket");
        socket
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .expect("a free port");
        Self(socket)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let address = self.0.local_addr().expect("a bound socket");
        address.as_socket().expect("an internet address")
    }

    /// As an entry of `endpoints`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }
}

/// An address whose connections are never established: its backlog is full and nobody accepts.
pub(crate) struct Deaf {
    listener: socket2::Socket,
    _waiting: Vec<TcpStream>,
}

impl Deaf {
    pub(crate) fn start() -> Self {
        let Refusing(listener) = Refusing::start();
        listener.listen(0).expect("a bound socket");
        let address = listener.local_addr().expect("a bound socket").as_socket();
        let address = address.expect("an internet address");
        let fill = || TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
        let waiting = std::iter::from_fn(fill).collect();
        Self {
            listener,
            _waiting: waiting,
        }
    }

    /// Accepts whoever waits and whoever comes, from now on: those that were not heard try again, a
    /// second after their first try.
    pub(crate) fn hear(self) {
        let listener = TcpListener::from(self.listener);
        thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(drop));
    }

    /// As an entry of `endpoints`.
    pub(crate) fn url(&self) -> String {
        let address = self
            .listener
            .local_addr()
            .expect("a bound socket")
            .as_socket();
        format!("http://{}", address.expect("an internet address"))
    }
}
