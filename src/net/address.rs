//! Where to connect or listen: an IP address with a port, or a socket in the file system.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

/// Longest path of a socket, bytes: `sun_path` of Linux without its closing zero.
const LONGEST_PATH: usize = 107;

/// Where a stream socket is reached. Cheap to copy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// TCP.
    Ip(SocketAddr),
    /// A Unix socket at an absolute path.
    Unix(Arc<Path>),
}

/// Why a text names no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadAddress {
    /// Neither `ip:port` nor `unix:/path`.
    Form,
    /// A path that depends on the working directory.
    RelativePath,
    /// A path that the system takes for no socket.
    LongPath,
    /// A path with a zero byte.
    ZeroInPath,
}

impl Address {
    /// Reads what follows `unix:`: a path, or one after `//` as in a URL without a host.
    ///
    /// # Errors
    ///
    /// Says why no socket can have this path.
    pub fn unix(path: &str) -> Result<Self, BadAddress> {
        let path = path.strip_prefix("//").unwrap_or(path);
        if !path.starts_with('/') {
            return Err(BadAddress::RelativePath);
        }
        if path.len() > LONGEST_PATH {
            return Err(BadAddress::LongPath);
        }
        if path.contains('\0') {
            return Err(BadAddress::ZeroInPath);
        }
        Ok(Self::Unix(Path::new(path).into()))
    }

    /// The address and port of TCP.
    pub const fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// The port of TCP.
    pub fn port(&self) -> Option<u16> {
        self.ip().map(|address| address.port())
    }

    /// Changes the port of TCP; a Unix socket has none.
    pub const fn set_port(&mut self, port: u16) {
        if let Self::Ip(address) = self {
            address.set_port(port);
        }
    }

    /// What `Host` says of it.
    pub fn host(&self) -> String {
        self.ip()
            .map_or_else(|| "localhost".to_owned(), |address| address.to_string())
    }

    /// Whether only processes of this host reach a listener here.
    pub fn is_local(&self) -> bool {
        self.ip().is_none_or(|address| address.ip().is_loopback())
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl<I: Into<IpAddr>> From<(I, u16)> for Address {
    fn from(parts: (I, u16)) -> Self {
        Self::Ip(parts.into())
    }
}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        match text.strip_prefix("unix:") {
            Some(path) => Self::unix(path),
            None => text.parse().map(Self::Ip).map_err(|_| BadAddress::Form),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for BadAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form => f.write_str("neither an IP address with a port nor `unix:/path`"),
            Self::RelativePath => f.write_str("the path of a socket begins with a slash"),
            Self::LongPath => write!(
                f,
                "the path of a socket has {LONGEST_PATH} bytes at the most"
            ),
            Self::ZeroInPath => f.write_str("the path of a socket has no zero byte"),
        }
    }
}

impl std::error::Error for BadAddress {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_written() {
        for text in ["127.0.0.1:80", "[::1]:80", "unix:/run/x.sock"] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(address.ip().is_none(), text.starts_with("unix:"));
            assert!(address.is_local());
        }
        assert!(!"0.0.0.0:80".parse::<Address>().unwrap().is_local());
    }

    #[test]
    fn what_is_no_address_says_why() {
        let long = format!("unix:/{}", "x".repeat(LONGEST_PATH));
        for (text, why) in [
            ("localhost:80", BadAddress::Form),
            ("127.0.0.1", BadAddress::Form),
            ("/run/x.sock", BadAddress::Form),
            ("unix:", BadAddress::RelativePath),
            ("unix:run/x.sock", BadAddress::RelativePath),
            ("unix://run/x.sock", BadAddress::RelativePath),
            (long.as_str(), BadAddress::LongPath),
            ("unix:/run/\0", BadAddress::ZeroInPath),
        ] {
            assert_eq!(text.parse::<Address>(), Err(why), "{text}");
        }
        assert!(long[..long.len() - 1].parse::<Address>().is_ok());
        let url: Address = "unix:///run/x.sock".parse().unwrap();
        assert_eq!(url.to_string(), "unix:/run/x.sock");
    }
}
