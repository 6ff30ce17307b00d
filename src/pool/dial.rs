//! Opening a socket to an address.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A byte stream to an upstream.
pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// A socket being opened.
pub type Dialed = Pin<Box<dyn Future<Output = io::Result<Box<dyn Socket>>>>>;

/// How sockets are opened; simulations put in-memory pipes here.
pub trait Dial: Send + Sync {
    /// Opens a stream to `endpoint`.
    fn dial(&self, endpoint: SocketAddr) -> Dialed;
}

/// Opens TCP connections without Nagle's delay.
#[derive(Clone, Copy, Debug, Default)]
pub struct DialTcp;

impl Dial for DialTcp {
    fn dial(&self, endpoint: SocketAddr) -> Dialed {
        Box::pin(async move {
            let stream = TcpStream::connect(endpoint).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Socket>)
        })
    }
}
