//! What is spoken with callers and upstreams, and what is told of one to the other.

use std::path::PathBuf;
use std::time::Duration;

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// By TLS, what ALPN agrees on. Without, what the caller's first bytes say on a listener, and
    /// HTTP/1.1 to an upstream.
    Auto,
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 alone, without TLS by prior knowledge.
    Http2,
    /// Bytes.
    Tcp,
}

/// `http2` table of a listener's `downstream` and of an upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct Http2 {
    /// Streams open at once on one connection.
    pub max_streams: u32,
    /// Bytes that the peer may send ahead on one stream.
    pub stream_window: u32,
    /// Bytes that the peer may send ahead on all streams of a connection.
    pub connection_window: u32,
    /// A connection that was silent for this long is asked for a sign of life; `None` is `"off"`.
    pub ping_interval: Option<Duration>,
    /// One that gives no sign within this time is closed.
    pub ping_timeout: Duration,
}

/// `tls` table of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// File with the certificate chain, PEM.
    pub cert: PathBuf,
    /// File with its private key, PEM.
    pub key: PathBuf,
    /// File with the roots that a caller's certificate must lead to, PEM; `None`: none is asked for.
    pub client_ca: Option<PathBuf>,
    /// Oldest version that is spoken.
    pub min_version: TlsVersion,
}

/// `tls` table of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// File with the roots to trust, PEM; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// Name to ask for and to check; `None`: that of the endpoint.
    pub server_name: Option<String>,
    /// File with our certificate chain, PEM.
    pub cert: Option<PathBuf>,
    /// File with its private key, PEM. Given where `cert` is, and not otherwise.
    pub key: Option<PathBuf>,
    /// Oldest version that is spoken.
    pub min_version: TlsVersion,
    /// SHA-256 of the public keys of which the upstream must have one; empty: any.
    pub pins: Vec<[u8; 32]>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// `forwarding` table: what an upstream is told about the way that a request came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forwarding {
    /// `Via` (RFC 9110 §7.6.3).
    pub via: bool,
    /// `Forwarded` (RFC 7239).
    pub forwarded: bool,
    /// `X-Forwarded-For`, `-Proto` and `-Host`.
    pub x_forwarded: bool,
}

/// `forward` table: the upstream is whatever host the caller names.
#[derive(Clone, Debug, PartialEq)]
pub struct Forward {
    /// Targets that may be reached, as host patterns with ports.
    pub allow: Vec<String>,
    /// Networks and addresses that may be reached although they are link-local, loopback or those
    /// of a metadata service.
    pub allow_addresses: Vec<String>,
    /// Targets that are kept at once, each with its own bulkhead, breaker and connections.
    pub max_targets: usize,
    /// A target that nobody asked for is forgotten after this long.
    pub idle_timeout: Duration,
}
