//! TLS on either side: what rustls is told, and what its errors mean.
//!
//! Protects a connection's bytes and says for certain who the peer is. [`client::Client`] wraps a
//! stream to an upstream, [`server::Server`] one from a caller; both read their files again when
//! these change ([`files`]) and keep what works when a change does not. Every failure has one
//! [`Reason`].
//!
//! The only module that names rustls: its types stop here. Opens no socket, starts no task and has
//! no timer: a caller bounds a handshake by dropping it. Settings are in
//! [`config::model`](crate::config::model).

pub mod client;
mod error;
pub mod files;
mod pem;
pub mod pin;
pub mod server;
mod stream;
#[cfg(test)]
mod tests;
mod verify;

use std::sync::Arc;

use rustls::SupportedProtocolVersion;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;

#[cfg(feature = "aws-lc-rs")]
use rustls::crypto::aws_lc_rs as crypto;
#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
use rustls::crypto::ring as crypto;

pub use self::error::{Reason, TlsError, reason_of};
pub use self::stream::TlsStream;
use crate::config::model::{Protocol, TlsVersion};

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
compile_error!("TLS needs one of the features `aws-lc-rs` (default) and `ring`");

/// Bytes that a connection holds encrypted but unsent: four records of full size. A peer that
/// reads slowly stops the writer there.
const BUFFER_LIMIT: usize = 64 * 1024;

/// Which protocols a handshake is for (ALPN, RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// HTTP/2, else HTTP/1.1.
    Both,
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 alone.
    Http2,
    /// Says nothing of protocols.
    None,
}

impl Offer {
    fn protocols(self) -> Vec<Vec<u8>> {
        let names: &[&[u8]] = match self {
            Self::Both => &[b"h2", b"http/1.1"],
            Self::Http1 => &[b"http/1.1"],
            Self::Http2 => &[b"h2"],
            Self::None => &[],
        };
        names.iter().map(|name| name.to_vec()).collect()
    }
}

impl From<Protocol> for Offer {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Auto => Self::Both,
            Protocol::Http1 => Self::Http1,
            Protocol::Http2 => Self::Http2,
            Protocol::Tcp => Self::None,
        }
    }
}

/// What both sides agreed to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// HTTP/2.
    Http2,
    /// HTTP/1.1.
    Http1,
    /// Nothing was agreed: one side does not take part in ALPN.
    None,
}

impl Alpn {
    fn of(name: Option<&[u8]>) -> Self {
        match name {
            Some(b"h2") => Self::Http2,
            Some(b"http/1.1") => Self::Http1,
            _ => Self::None,
        }
    }
}

/// Tells whether `name` can be what a certificate is checked against: a host name or an IP
/// literal.
pub fn is_name(name: &str) -> bool {
    server_name(name).is_some()
}

/// `name` as rustls has it: without the brackets of an IPv6 literal and the dot of a rooted name,
/// neither of which is ever in a certificate.
fn server_name(name: &str) -> Option<ServerName<'static>> {
    let bare = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(name);
    let bare = bare.strip_suffix('.').unwrap_or(bare);
    ServerName::try_from(bare.to_owned()).ok()
}

/// The cryptography of this build. Never the default of the process, which is anybody's to set.
fn provider() -> Arc<CryptoProvider> {
    let provider = crypto::default_provider();
    // The hybrid with ML-KEM goes first: what is recorded today is not read by tomorrow's quantum
    // computer. Its share holds one of X25519 for servers that know no better.
    #[cfg(feature = "aws-lc-rs")]
    let provider = CryptoProvider {
        kx_groups: vec![
            crypto::kx_group::X25519MLKEM768,
            crypto::kx_group::X25519,
            crypto::kx_group::SECP256R1,
            crypto::kx_group::SECP384R1,
        ],
        ..provider
    };
    Arc::new(provider)
}

/// SHA-256 by the cryptography of this build.
fn sha256(bytes: &[u8]) -> Option<[u8; 32]> {
    let rustls::SupportedCipherSuite::Tls13(suite) = crypto::cipher_suite::TLS13_AES_128_GCM_SHA256
    else {
        return None;
    };
    let hash = suite.common.hash_provider.hash(bytes);
    hash.as_ref().try_into().ok()
}

fn versions(oldest: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static FROM_1_2: [&SupportedProtocolVersion; 2] =
        [&rustls::version::TLS12, &rustls::version::TLS13];
    static FROM_1_3: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
    match oldest {
        TlsVersion::V1_2 => &FROM_1_2,
        TlsVersion::V1_3 => &FROM_1_3,
    }
}
