//! Listening sockets of either kind.
//!
//! The file of a Unix socket is ours from bind to drop: what a process left behind that has died is
//! replaced, what somebody listens at is not touched.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::Mode;
use socket2::{Domain, SockAddr, Socket, Type};

use super::{Address, SocketStream};

/// What the system keeps for a caller that does not read; it doubles this for overhead of its own.
/// Left to itself it would take megabytes for each, all of them at once and as fast as upstreams
/// send. A caller that is far away gets as much in a round trip, and no more.
const SEND_BUFFER: usize = 128 * 1024;

/// Connections that may wait to be accepted; the system has its own limit too.
const BACKLOG: i32 = 4096;

/// A bound socket that listens. Dropping it removes the file of a Unix socket.
#[derive(Debug)]
pub struct Bound(Kind<std::net::TcpListener, std::os::unix::net::UnixListener>);

/// A socket that connections are accepted from. Dropping it removes the file of a Unix socket.
#[derive(Debug)]
pub struct Listening(Kind<tokio::net::TcpListener, tokio::net::UnixListener>);

#[derive(Debug)]
enum Kind<T, U> {
    Tcp(T),
    Unix(U, SocketFile),
}

/// The file of a Unix socket; removed on drop.
#[derive(Debug)]
struct SocketFile {
    path: Arc<Path>,
    /// Device and inode: a successor may have put its own socket in our place.
    identity: Option<(u64, u64)>,
}

impl Bound {
    /// Binds and listens; port 0 takes a free one. The file of a Unix socket has the permissions
    /// `mode`, such as `0o660`, and replaces one at which nobody listens any more.
    ///
    /// # Errors
    ///
    /// What the system says: in use, not permitted, no such address.
    pub fn bind(address: &Address, mode: u32) -> io::Result<Self> {
        match address {
            Address::Ip(address) => tcp(*address).map(Kind::Tcp).map(Self),
            Address::Unix(path) => {
                let socket = match unix(path, mode) {
                    Err(error) if error.kind() == ErrorKind::AddrInUse => {
                        remove_stale(path)?;
                        unix(path, mode)?
                    }
                    bound => bound?,
                };
                let file = SocketFile {
                    path: Arc::clone(path),
                    identity: identity(path),
                };
                socket.listen(BACKLOG)?;
                fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
                Ok(Self(Kind::Unix(socket.into(), file)))
            }
        }
    }

    /// Where it is bound.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn address(&self) -> io::Result<Address> {
        match &self.0 {
            Kind::Tcp(socket) => socket.local_addr().map(Address::Ip),
            Kind::Unix(_, file) => Ok(Address::Unix(Arc::clone(&file.path))),
        }
    }

    /// Registers it with the reactor of this thread.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn listen(self) -> io::Result<Listening> {
        match self.0 {
            Kind::Tcp(socket) => {
                let socket = tokio::net::TcpListener::from_std(socket)?;
                Ok(Listening(Kind::Tcp(socket)))
            }
            Kind::Unix(socket, file) => {
                let socket = tokio::net::UnixListener::from_std(socket)?;
                Ok(Listening(Kind::Unix(socket, file)))
            }
        }
    }
}

fn tcp(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restart must not wait for the connections of its predecessor to time out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // The connections it accepts inherit it.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn unix(path: &Path, mode: u32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // Linux makes the file with these permissions, less the umask: there is no instant at which it
    // is open to more. Where that is not so, the directory has to see to it.
    let _ = rustix::fs::fchmod(&socket, Mode::from_raw_mode(mode));
    socket.bind(&SockAddr::unix(path)?)?;
    Ok(socket)
}

/// Removes the socket of a process that has died.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(
                ErrorKind::AddrInUse,
                "a file that is no socket is there",
            ));
        }
        Ok(_) => {}
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Whoever has a full queue is alive: we do not wait for it.
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(error),
        _ => Err(ErrorKind::AddrInUse.into()),
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let file = fs::symlink_metadata(path).ok()?;
    Some((file.dev(), file.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            // Nobody is left to be told.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Listening {
    /// Accepts one connection, with the address of a peer that has one.
    ///
    /// # Errors
    ///
    /// What the system says: of the connection, or for want of descriptors or memory.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no connection.
    pub async fn accept(&self) -> io::Result<(SocketStream, Option<SocketAddr>)> {
        match &self.0 {
            Kind::Tcp(socket) => {
                let (stream, peer) = socket.accept().await?;
                Ok((SocketStream::Tcp(stream), Some(peer)))
            }
            Kind::Unix(socket, _) => {
                let (stream, _) = socket.accept().await?;
                Ok((SocketStream::Unix(stream), None))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Not where `TMPDIR` leads: the path of a socket must be short.
    fn folder() -> tempfile::TempDir {
        tempfile::tempdir_in("/tmp").unwrap()
    }

    fn address(directory: &tempfile::TempDir) -> Address {
        let path = directory.path().join("x.sock");
        Address::Unix(path.into())
    }

    fn path(address: &Address) -> &Path {
        match address {
            Address::Unix(path) => path,
            Address::Ip(_) => panic!("not in the file system"),
        }
    }

    #[test]
    fn a_socket_has_its_permissions_and_goes_with_its_owner() {
        let directory = folder();
        let address = address(&directory);
        for mode in [0o600, 0o660] {
            let bound = Bound::bind(&address, mode).unwrap();
            assert_eq!(bound.address().unwrap(), address);
            let made = fs::metadata(path(&address)).unwrap().permissions();
            assert_eq!(made.mode() & 0o777, mode);
            drop(bound);
            assert!(!path(&address).exists());
        }
    }

    #[test]
    fn what_a_dead_process_left_is_replaced() {
        let directory = folder();
        let address = address(&directory);
        drop(std::os::unix::net::UnixListener::bind(path(&address)).unwrap());
        assert!(path(&address).exists());
        Bound::bind(&address, 0o660).unwrap();
    }

    #[test]
    fn what_lives_or_is_no_socket_is_left_alone() {
        let directory = folder();
        let address = address(&directory);
        let bound = Bound::bind(&address, 0o660).unwrap();
        let refused = Bound::bind(&address, 0o660).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AddrInUse);
        assert!(path(&address).exists());
        drop(bound);
        fs::write(path(&address), "precious").unwrap();
        let refused = Bound::bind(&address, 0o660).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AddrInUse);
        assert_eq!(fs::read(path(&address)).unwrap(), b"precious");
    }

    #[test]
    fn the_socket_of_a_successor_is_not_removed() {
        let directory = folder();
        let address = address(&directory);
        let bound = Bound::bind(&address, 0o660).unwrap();
        let aside = directory.path().join("aside");
        fs::rename(path(&address), &aside).unwrap();
        let successor = Bound::bind(&address, 0o660).unwrap();
        drop(bound);
        assert!(path(&address).exists());
        drop(successor);
        assert!(!path(&address).exists());
    }
}
