//! A connected socket of either kind.

use std::future::pending;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::Address;

/// A connected socket.
#[derive(Debug)]
pub enum SocketStream {
    /// TCP, without Nagle's delay.
    Tcp(TcpStream),
    /// A socket in the file system.
    Unix(UnixStream),
}

/// Does the same to either kind.
macro_rules! either {
    ($socket:expr, $stream:ident => $does:expr) => {
        match $socket {
            SocketStream::Tcp($stream) => $does,
            SocketStream::Unix($stream) => $does,
        }
    };
}

impl SocketStream {
    /// Connects to `address`.
    ///
    /// # Errors
    ///
    /// What the system says: refused, no such file, no route.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the socket.
    pub async fn connect(address: &Address) -> io::Result<Self> {
        match address {
            Address::Ip(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Ok(Self::Tcp(stream))
            }
            Address::Unix(path) => UnixStream::connect(path).await.map(Self::Unix),
        }
    }

    /// The process at the other end of a Unix socket, as far as the system tells: `uid 1000 pid 7`.
    pub fn process(&self) -> String {
        let Self::Unix(stream) = self else {
            return String::new();
        };
        match stream.peer_cred() {
            Ok(peer) => match peer.pid() {
                Some(pid) => format!("uid {} pid {pid}", peer.uid()),
                None => format!("uid {}", peer.uid()),
            },
            Err(_) => "unknown".to_owned(),
        }
    }

    /// Our end of it; `None` for a Unix socket.
    pub fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// Takes it from the reactor of this thread.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn detach(self) -> io::Result<Detached> {
        match self {
            Self::Tcp(stream) => stream.into_std().map(Detached::Tcp),
            Self::Unix(stream) => stream.into_std().map(Detached::Unix),
        }
    }

    /// Has its close break the connection off, as far as the system knows such an end: what is
    /// cut short must not look whole.
    pub(crate) fn break_off(&self) {
        // Of a Unix socket nothing is left unread to tell by.
        let _ = SockRef::from(self).set_linger(Some(Duration::ZERO));
    }

    /// Waits until there is something to be read, the end included, and leaves it there.
    pub(crate) async fn arrived(&self) {
        loop {
            let ready = either!(self, stream => stream.readable().await);
            let mut byte = [MaybeUninit::uninit()];
            let look = || SockRef::from(self).peek(&mut byte);
            let looked = ready
                .and_then(|()| either!(self, stream => stream.try_io(Interest::READABLE, look)));
            match looked {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => return,
            }
        }
    }

    /// Waits until the peer has left without a word: it has ended its side or broken off, and
    /// nothing of what it said before waits to be read.
    pub(crate) async fn left(&self) {
        self.arrived().await;
        let mut byte = [MaybeUninit::uninit()];
        if matches!(SockRef::from(self).peek(&mut byte), Ok(1..)) {
            pending::<()>().await;
        }
    }

    /// Waits until the peer has ended its side or broken off, whatever of what it said before still
    /// waits to be read. Systems other than Linux do not tell of that.
    pub(crate) async fn closed(&self) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        // No urgent data is registered for: what is left of this interest is the end of reading.
        if let Ok(ready) = either!(self, stream => stream.ready(Interest::PRIORITY).await)
            && ready.is_read_closed()
        {
            return;
        }
        pending::<()>().await;
    }

    /// Waits until the connection is broken, whatever still waits to be read.
    pub(crate) async fn broken(&self) {
        if either!(self, stream => stream.ready(Interest::ERROR).await).is_err() {
            pending::<()>().await;
        }
    }

    /// Waits until something may be read.
    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_read_ready(cx))
    }

    /// Reads what is there.
    pub(crate) fn try_read(&self, buf: &mut ReadBuf<'_>) -> io::Result<usize> {
        let room = buf.remaining();
        let read = either!(self, stream => stream.try_read_buf(buf))?;
        if 0 < read && read < room {
            // That was all there was, as the runtime takes it to be in its own reads: the next one
            // waits for the system's word instead of asking it once more.
            let drained = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
            let _ = either!(self, stream => stream.try_io(Interest::READABLE, drained));
        }
        Ok(read)
    }

    /// Waits until something may be written.
    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_write_ready(cx))
    }

    /// Writes what fits.
    pub(crate) fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        either!(self, stream => stream.try_write(buf))
    }

    /// Writes what fits.
    pub(crate) fn try_write_vectored(&self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
        either!(self, stream => stream.try_write_vectored(bufs))
    }
}

impl AsFd for SocketStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        either!(self, stream => stream.as_fd())
    }
}

impl AsyncRead for SocketStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for SocketStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }
}

/// A connected socket on its way from one thread's reactor to another's.
#[derive(Debug)]
pub enum Detached {
    /// TCP.
    Tcp(std::net::TcpStream),
    /// A socket in the file system.
    Unix(std::os::unix::net::UnixStream),
}

impl Detached {
    /// Sends what is written at once; a Unix socket does so anyway.
    ///
    /// # Errors
    ///
    /// What the system says of a connection that is gone.
    pub fn set_nodelay(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_nodelay(true),
            Self::Unix(_) => Ok(()),
        }
    }

    /// Registers it with the reactor of this thread.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn attach(self) -> io::Result<SocketStream> {
        match self {
            Self::Tcp(stream) => TcpStream::from_std(stream).map(SocketStream::Tcp),
            Self::Unix(stream) => UnixStream::from_std(stream).map(SocketStream::Unix),
        }
    }
}
