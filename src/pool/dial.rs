//! Opening a socket to an address.

use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;

use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::Way;
use crate::config::model::Protocol;
use crate::net::{Address, Shared, SocketStream};
use crate::tls::client::Client;
use crate::tls::{Alpn, Offer};

/// A byte stream to an upstream.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An open socket.
pub struct Socket {
    /// What is read from and written to.
    pub stream: Box<dyn Stream>,
    /// A second hold on it, to look at it while nobody reads; pipes in memory have none.
    pub peek: Option<Arc<SocketStream>>,
    /// What is spoken on it.
    pub protocol: Spoken,
}

/// A version of HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spoken {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2.
    Http2,
}

/// A socket being opened.
pub type Dialed = Pin<Box<dyn Future<Output = io::Result<Socket>>>>;

/// How sockets are opened; simulations put in-memory pipes here.
pub trait Dial: Send + Sync {
    /// Opens a stream to `endpoint`, or to another address of its host.
    fn dial(&self, endpoint: &Address, way: &Arc<Way>) -> Dialed;

    /// As [`Self::dial`], for a connection on which HTTP/1.1 is to be spoken whatever else could be.
    fn dial_http1(&self, endpoint: &Address, way: &Arc<Way>) -> Dialed {
        self.dial(endpoint, way)
    }

    /// As [`Self::dial`], for bytes of any protocol. `first` is written before all else, a handshake of
    /// TLS included: it is for what stands in front of whoever speaks that.
    fn dial_raw(&self, endpoint: &Address, way: &Arc<Way>, first: Vec<u8>) -> Dialed {
        let dialed = self.dial(endpoint, way);
        Box::pin(async move {
            let mut socket = dialed.await?;
            socket.stream.write_all(&first).await?;
            Ok(socket)
        })
    }
}

/// Opens sockets, those of TCP without Nagle's delay. A failed handshake is an error whose cause is a
/// [`TlsError`](crate::tls::TlsError).
pub struct DialSocket {
    protocol: Protocol,
    tls: Option<Arc<Client>>,
}

impl DialSocket {
    /// Opens sockets on which `protocol` is spoken, encrypted where there is `tls`.
    pub fn new(protocol: Protocol, tls: Option<Arc<Client>>) -> Self {
        Self { protocol, tls }
    }
}

impl Dial for DialSocket {
    fn dial(&self, endpoint: &Address, way: &Arc<Way>) -> Dialed {
        self.dial_for(self.protocol, endpoint, way, Vec::new())
    }

    fn dial_http1(&self, endpoint: &Address, way: &Arc<Way>) -> Dialed {
        self.dial_for(Protocol::Http1, endpoint, way, Vec::new())
    }

    fn dial_raw(&self, endpoint: &Address, way: &Arc<Way>, first: Vec<u8>) -> Dialed {
        self.dial_for(self.protocol, endpoint, way, first)
    }
}

impl DialSocket {
    fn dial_for(
        &self,
        protocol: Protocol,
        endpoint: &Address,
        way: &Arc<Way>,
        first: Vec<u8>,
    ) -> Dialed {
        let (endpoint, way) = (endpoint.clone(), Arc::clone(way));
        let tls = self.tls.clone();
        Box::pin(async move {
            let connect = |address| async move { SocketStream::connect(&address).await };
            let socket = Arc::new(way.connect(&endpoint, connect).await?);
            let mut plain = Shared(Arc::clone(&socket));
            plain.write_all(&first).await?;
            let peek = Some(socket);
            let Some(tls) = tls else {
                return Ok(Socket {
                    stream: Box::new(plain),
                    peek,
                    protocol: match protocol {
                        Protocol::Http2 => Spoken::Http2,
                        Protocol::Auto | Protocol::Http1 | Protocol::Tcp => Spoken::Http1,
                    },
                });
            };
            let handshake = tls.connect(way.host(), Offer::from(protocol), plain);
            let (stream, agreed) = handshake.await.map_err(io::Error::other)?;
            Ok(Socket {
                stream: Box::new(stream),
                peek,
                protocol: match (protocol, agreed) {
                    (Protocol::Http2, _) | (Protocol::Auto, Alpn::Http2) => Spoken::Http2,
                    _ => Spoken::Http1,
                },
            })
        })
    }
}

/// Whether a socket could not be opened for want of descriptors, ports or memory of this host,
/// which says nothing about the upstream.
pub fn is_our_limit(error: &io::Error) -> bool {
    const OURS: [Errno; 5] = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::NOMEM,
        Errno::ADDRNOTAVAIL,
    ];
    error
        .raw_os_error()
        .is_some_and(|code| OURS.contains(&Errno::from_raw_os_error(code)))
}

/// Whether nothing waits to be read: no end of stream, and no answer that nobody asked for.
pub(super) fn is_silent(stream: &SocketStream) -> bool {
    let mut byte = [MaybeUninit::uninit()];
    let peeked = socket2::SockRef::from(stream).peek(&mut byte);
    peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}
