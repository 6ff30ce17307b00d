//! Certificates made for the test, and a caller that speaks TLS by rustls, a layer that the proxy
//! does not share its settings with.

use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::client::Resumption;
#[cfg(feature = "aws-lc-rs")]
use rustls::crypto::aws_lc_rs as crypto;
#[cfg(not(feature = "aws-lc-rs"))]
use rustls::crypto::ring as crypto;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

/// The name that every certificate of a listener is for.
pub(crate) const HOST: &str = "edge.test";

/// A certificate authority.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

/// A certificate and its key.
#[derive(Clone)]
pub(crate) struct Leaf {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        let issuer = Issuer::new(params, key);
        Self { issuer, pem }
    }

    /// A certificate for [`HOST`].
    pub(crate) fn leaf(&self) -> Leaf {
        self.leaf_until(2999)
    }

    /// One that ends as this year begins.
    pub(crate) fn leaf_until(&self, year: i32) -> Leaf {
        let mut params = CertificateParams::new(vec![HOST.to_owned()]).expect("a name");
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        Leaf {
            cert: cert.pem(),
            key: key.serialize_pem(),
        }
    }
}

impl Leaf {
    /// Writes `tls.crt` and `tls.key` into `folder`.
    pub(crate) fn write(&self, folder: &Path) -> (PathBuf, PathBuf) {
        let (cert, key) = (folder.join("tls.crt"), folder.join("tls.key"));
        std::fs::write(&cert, &self.cert).expect("a writable folder");
        std::fs::write(&key, &self.key).expect("a writable folder");
        (cert, key)
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.cert.as_bytes()).expect("PEM")
    }
}

/// What a caller trusts, shows and offers.
#[derive(Clone)]
pub(crate) struct Trust {
    roots: RootCertStore,
    leaf: Option<Leaf>,
    alpn: Vec<Vec<u8>>,
    versions: Vec<&'static SupportedProtocolVersion>,
}

impl Trust {
    pub(crate) fn of(ca: &Ca) -> Self {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(ca.pem.as_bytes()).expect("PEM");
        roots.add(root).expect("a root");
        Self {
            roots,
            leaf: None,
            alpn: Vec::new(),
            versions: rustls::ALL_VERSIONS.to_vec(),
        }
    }

    pub(crate) fn showing(self, leaf: &Leaf) -> Self {
        let leaf = Some(leaf.clone());
        Self { leaf, ..self }
    }

    pub(crate) fn offering(self, alpn: &[&str]) -> Self {
        let alpn = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self { alpn, ..self }
    }

    pub(crate) fn speaking(self, version: &'static SupportedProtocolVersion) -> Self {
        let versions = vec![version];
        Self { versions, ..self }
    }

    /// Never takes a session up again: every handshake shows the certificate in use.
    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(Arc::new(crypto::default_provider()))
            .with_protocol_versions(&self.versions)
            .expect("versions that exist")
            .with_root_certificates(self.roots.clone());
        let mut config = match &self.leaf {
            Some(leaf) => {
                let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).expect("PEM");
                let config = builder.with_client_auth_cert(vec![leaf.der()], key);
                config.expect("a key of its certificate")
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        config.resumption = Resumption::disabled();
        Arc::new(config)
    }
}

/// A blocking caller of HTTP/1.1 within TLS.
pub(crate) struct TlsCaller<S: Read + Write> {
    pub(crate) stream: StreamOwned<ClientConnection, S>,
}

impl<S: Read + Write> TlsCaller<S> {
    /// Makes the handshake over `socket`. By TLS 1.3 it may succeed here and be refused there.
    pub(crate) fn over(mut socket: S, trust: &Trust) -> io::Result<Self> {
        let name = ServerName::try_from(HOST).expect("a name");
        let mut session = ClientConnection::new(trust.config(), name).expect("sound settings");
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(Self {
            stream: StreamOwned::new(session, socket),
        })
    }

    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        self.stream.conn.alpn_protocol()
    }

    /// Whether the other side showed this certificate.
    pub(crate) fn sees(&self, leaf: &Leaf) -> bool {
        let shown = self.stream.conn.peer_certificates();
        shown.and_then(<[_]>::first) == Some(&leaf.der())
    }

    pub(crate) fn send(&mut self, bytes: &str) -> io::Result<()> {
        self.stream.write_all(bytes.as_bytes())?;
        self.stream.flush()
    }

    /// One GET; its status and body.
    pub(crate) fn get(&mut self, path: &str) -> io::Result<(u16, String)> {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: {HOST}\r\n\r\n"))?;
        self.answer()
    }

    /// Reads one response with a `Content-Length`.
    pub(crate) fn answer(&mut self) -> io::Result<(u16, String)> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            head.extend(byte);
        }
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        let length = head.lines().find_map(|line| {
            let length = line.strip_prefix("content-length: ")?;
            length.parse::<usize>().ok()
        });
        let (Some(status), Some(length)) = (status, length) else {
            return Err(io::Error::new(ErrorKind::InvalidData, head));
        };
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    /// Whether nothing more comes and the end is announced (`close_notify`).
    pub(crate) fn ends_in_order(&mut self) -> bool {
        matches!(self.stream.read(&mut [0; 16]), Ok(0))
    }

    /// Announces the end, and leaves.
    pub(crate) fn leave(mut self) {
        self.stream.conn.send_close_notify();
        self.stream.flush().expect("an open connection");
    }
}
