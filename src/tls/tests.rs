//! Handshakes over pipes in memory, with certificates made for the test.

mod load;
mod pins;
mod reasons;
mod reload;

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{ClientConfig, ServerConfig};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::client::{Client, Roots};
use super::error::Side;
use super::server::Server;
use super::{Alpn, Offer, TlsError, TlsStream, is_name, server_name};
use crate::config::model::{ListenerTls, Protocol, TlsVersion, UpstreamTls};

pub(super) const HOST: &str = "payments.test";

/// A certificate authority.
pub(super) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pub(super) pem: String,
}

/// A certificate and its key.
pub(super) struct Leaf {
    pub(super) cert: String,
    pub(super) key: String,
    pub(super) pin: [u8; 32],
}

impl Ca {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { issuer, pem }
    }

    pub(super) fn leaf(&self, name: &str) -> Leaf {
        self.leaf_with(name, |_| {})
    }

    pub(super) fn leaf_with(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Leaf {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let spki = rcgen::PublicKeyData::subject_public_key_info(&key);
        Leaf {
            cert: cert.pem(),
            key: key.serialize_pem(),
            pin: super::sha256(&spki).unwrap(),
        }
    }
}

pub(super) fn expired(params: &mut CertificateParams) {
    params.not_before = rcgen::date_time_ymd(2019, 1, 1);
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
}

pub(super) fn future(params: &mut CertificateParams) {
    params.not_before = rcgen::date_time_ymd(3000, 1, 1);
}

/// A folder of files.
pub(super) struct Folder(pub(super) TempDir);

impl Folder {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// An upstream that trusts `ca`.
    pub(super) fn upstream(&self, ca: &Ca) -> UpstreamTls {
        UpstreamTls {
            ca: Some(self.write("ca.pem", &ca.pem)),
            server_name: None,
            cert: None,
            key: None,
            min_version: TlsVersion::V1_2,
            pins: Vec::new(),
        }
    }

    /// An upstream that trusts `ca` and knows us by `leaf`.
    pub(super) fn upstream_with(&self, ca: &Ca, leaf: &Leaf) -> UpstreamTls {
        UpstreamTls {
            cert: Some(self.write("client.pem", &leaf.cert)),
            key: Some(self.write("client.key", &leaf.key)),
            ..self.upstream(ca)
        }
    }

    /// A listener that shows `leaf`.
    pub(super) fn listener(&self, leaf: &Leaf) -> ListenerTls {
        ListenerTls {
            cert: self.write("server.pem", &leaf.cert),
            key: self.write("server.key", &leaf.key),
            client_ca: None,
            min_version: TlsVersion::V1_2,
        }
    }

    /// A listener that wants certificates of `ca`.
    pub(super) fn mutual(&self, leaf: &Leaf, ca: &Ca) -> ListenerTls {
        ListenerTls {
            client_ca: Some(self.write("client_ca.pem", &ca.pem)),
            ..self.listener(leaf)
        }
    }
}

pub(super) type Done = Result<(TlsStream<DuplexStream>, Alpn), TlsError>;

/// Both ends of a handshake, client first.
pub(super) async fn shake(client: &Client, server: &Server) -> (Done, Done) {
    shake_as(client, HOST, Offer::Both, server).await
}

pub(super) async fn shake_as(
    client: &Client,
    host: &str,
    offer: Offer,
    server: &Server,
) -> (Done, Done) {
    let (near, far) = duplex(64 * 1024);
    tokio::join!(client.connect(host, offer, near), server.accept(far))
}

/// A server that does not look at its own certificate.
pub(super) fn careless_server(leaf: &Leaf, versions: TlsVersion) -> TlsAcceptor {
    let builder = ServerConfig::builder_with_provider(super::provider());
    let builder = match versions {
        TlsVersion::V1_2 => builder.with_protocol_versions(&[&rustls::version::TLS12]),
        TlsVersion::V1_3 => builder.with_protocol_versions(&[&rustls::version::TLS13]),
    };
    let (chain, key) = ders(leaf);
    let config = builder.unwrap().with_no_client_auth();
    let config = config.with_single_cert(chain, key).unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// A client that does not look at its own certificate.
pub(super) fn careless_client(ca: &Ca, leaf: Option<&Leaf>, versions: TlsVersion) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    let pem = rustls::pki_types::pem::PemObject::from_pem_slice(ca.pem.as_bytes());
    roots.add(pem.unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(super::provider());
    let builder = match versions {
        TlsVersion::V1_2 => builder.with_protocol_versions(&[&rustls::version::TLS12]),
        TlsVersion::V1_3 => builder.with_protocol_versions(&[&rustls::version::TLS13]),
    };
    let builder = builder.unwrap().with_root_certificates(roots);
    let config = match leaf {
        Some(leaf) => {
            let (chain, key) = ders(leaf);
            builder.with_client_auth_cert(chain, key).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    TlsConnector::from(Arc::new(config))
}

type Ders = (
    Vec<rustls::pki_types::CertificateDer<'static>>,
    rustls::pki_types::PrivateKeyDer<'static>,
);

fn ders(leaf: &Leaf) -> Ders {
    use rustls::pki_types::pem::PemObject;
    let chain = rustls::pki_types::CertificateDer::pem_slice_iter(leaf.cert.as_bytes());
    (
        chain.map(Result::unwrap).collect(),
        PemObject::from_pem_slice(leaf.key.as_bytes()).unwrap(),
    )
}

/// `connect` of [`careless_client`] against one of ours: what the client says, and the server.
pub(super) async fn shake_careless_client(
    client: &TlsConnector,
    server: &Server,
) -> (
    Result<tokio_rustls::client::TlsStream<DuplexStream>, TlsError>,
    Done,
) {
    let (near, far) = duplex(64 * 1024);
    let (client, server) = tokio::join!(
        client.connect(server_name(HOST).unwrap(), near),
        server.accept(far)
    );
    let side = Side::Client {
        has_certificate: true,
    };
    let client = client.map_err(|error| TlsError::handshake(&error, side));
    (client, server)
}

/// One of ours against [`careless_server`].
pub(super) async fn shake_careless_server(
    client: &Client,
    server: &TlsAcceptor,
) -> (
    Done,
    Result<tokio_rustls::server::TlsStream<DuplexStream>, TlsError>,
) {
    let (near, far) = duplex(64 * 1024);
    let (client, server) =
        tokio::join!(client.connect(HOST, Offer::Both, near), server.accept(far));
    let server = server.map_err(|error| TlsError::handshake(&error, Side::Server));
    (client, server)
}

/// Sends a byte each way, which also brings the tickets.
pub(super) async fn talk(
    client: &mut TlsStream<DuplexStream>,
    server: &mut TlsStream<DuplexStream>,
) {
    client.write_all(b"a").await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(server.read_u8().await.unwrap(), b'a');
    server.write_all(b"b").await.unwrap();
    server.flush().await.unwrap();
    assert_eq!(client.read_u8().await.unwrap(), b'b');
}

#[tokio::test]
async fn both_sides_speak_the_newest_and_bytes_pass() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let client = Client::new(folder.upstream(&ca)).unwrap();
    let server = Server::new(folder.listener(&ca.leaf(HOST)), Offer::Both).unwrap();
    let (near, far) = shake(&client, &server).await;
    let ((mut near, alpn), (mut far, _)) = (near.unwrap(), far.unwrap());
    assert_eq!(alpn, Alpn::Http2);
    assert_eq!((near.version(), far.version()), ("1.3", "1.3"));
    assert!(!near.is_resumed() && !far.is_resumed());
    talk(&mut near, &mut far).await;

    #[cfg(feature = "aws-lc-rs")]
    {
        let group = near.inner.get_ref().1.negotiated_key_exchange_group();
        let name = group.unwrap().name();
        assert_eq!(name, rustls::NamedGroup::X25519MLKEM768, "post-quantum");
    }
}

#[tokio::test]
async fn a_stream_cut_short_is_told_from_one_that_ends() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let client = Client::new(folder.upstream(&ca)).unwrap();
    let server = Server::new(folder.listener(&ca.leaf(HOST)), Offer::Both).unwrap();
    for clean in [true, false] {
        let (near, far) = shake(&client, &server).await;
        let ((mut near, _), (mut far, _)) = (near.unwrap(), far.unwrap());
        far.write_all(b"half").await.unwrap();
        far.flush().await.unwrap();
        if clean {
            far.shutdown().await.unwrap();
        }
        drop(far);
        let mut body = Vec::new();
        let read = near.read_to_end(&mut body).await;
        assert_eq!(body, b"half");
        match clean {
            true => assert!(read.is_ok()),
            false => assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof),
        }
    }
}

#[tokio::test]
async fn unsent_bytes_are_bounded() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let client = Client::new(folder.upstream(&ca)).unwrap();
    let server = Server::new(folder.listener(&ca.leaf(HOST)), Offer::Both).unwrap();
    let (near, far) = shake(&client, &server).await;
    let ((mut near, _), (_far, _)) = (near.unwrap(), far.unwrap());
    // Nobody reads: the pipe and the buffer fill, then the writer waits.
    let piece = vec![0; 16 * 1024];
    let mut sent = 0;
    while let Some(written) = futures_util::FutureExt::now_or_never(near.write(&piece)) {
        sent += written.unwrap();
        assert!(sent < 256 * 1024, "no bound");
    }
    assert!(sent >= 64 * 1024);
}

#[tokio::test]
async fn alpn_settles_what_is_spoken() {
    use Offer::{Both, Http1, Http2, None};
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let client = Client::new(folder.upstream(&ca)).unwrap();
    let listener = folder.listener(&ca.leaf(HOST));
    for (listens, offers, agreed) in [
        (Both, Both, Alpn::Http2),
        (Both, Http1, Alpn::Http1),
        (Both, Http2, Alpn::Http2),
        (Both, None, Alpn::None),
        (Http1, Both, Alpn::Http1),
        (Http1, None, Alpn::None),
        (Http2, Both, Alpn::Http2),
        (None, Both, Alpn::None),
        (None, None, Alpn::None),
    ] {
        let server = Server::new(listener.clone(), listens).unwrap();
        let (near, far) = shake_as(&client, HOST, offers, &server).await;
        let (near, far) = (near.unwrap().1, far.unwrap().1);
        assert_eq!((near, far), (agreed, agreed), "{listens:?} {offers:?}");
    }
}

#[test]
fn a_protocol_says_what_to_offer() {
    assert_eq!(Offer::from(Protocol::Auto), Offer::Both);
    assert_eq!(Offer::from(Protocol::Http1), Offer::Http1);
    assert_eq!(Offer::from(Protocol::Http2), Offer::Http2);
    assert_eq!(Offer::from(Protocol::Tcp), Offer::None);
}

#[tokio::test]
async fn names_and_addresses_are_checked_and_the_settings_name_goes_first() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let client = Client::new(folder.upstream(&ca)).unwrap();
    for (in_certificate, asked) in [
        (HOST, "PAYMENTS.test"),
        (HOST, "payments.test."),
        ("*.pay.test", "eu.pay.test"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("::1", "[::1]"),
    ] {
        let server = Server::new(folder.listener(&ca.leaf(in_certificate)), Offer::Both).unwrap();
        let (near, _) = shake_as(&client, asked, Offer::Both, &server).await;
        assert!(near.is_ok(), "{in_certificate} {asked}");
    }
    let named = Client::new(UpstreamTls {
        server_name: Some(HOST.to_owned()),
        ..folder.upstream(&ca)
    })
    .unwrap();
    let server = Server::new(folder.listener(&ca.leaf(HOST)), Offer::Both).unwrap();
    let (near, far) = shake_as(&named, "10.0.0.1", Offer::Both, &server).await;
    assert!(near.is_ok() && far.is_ok());

    assert!(is_name("a.b") && is_name("10.0.0.1") && is_name("[::1]"));
    assert!(!is_name("") && !is_name("a b") && !is_name("https://a"));
}

#[tokio::test]
async fn mutual_certificates() {
    let (folder, ca, callers) = (Folder::new(), Ca::new("ca"), Ca::new("callers"));
    let client = Client::new(folder.upstream_with(&ca, &callers.leaf("me"))).unwrap();
    let server = Server::new(folder.mutual(&ca.leaf(HOST), &callers), Offer::Both).unwrap();
    let (near, far) = shake(&client, &server).await;
    talk(&mut near.unwrap().0, &mut far.unwrap().0).await;
    assert!(client.not_after().is_some() && server.not_after().is_some());

    // A listener that asks for none takes this client as well.
    let server = Server::new(folder.listener(&ca.leaf(HOST)), Offer::Both).unwrap();
    let (near, far) = shake(&client, &server).await;
    talk(&mut near.unwrap().0, &mut far.unwrap().0).await;
}

#[tokio::test]
async fn sessions_are_taken_up_again_across_offers() {
    let (folder, ca, callers) = (Folder::new(), Ca::new("ca"), Ca::new("callers"));
    let client = Client::new(folder.upstream_with(&ca, &callers.leaf("me"))).unwrap();
    let server = Server::new(folder.mutual(&ca.leaf(HOST), &callers), Offer::Both).unwrap();
    for (turn, offer) in [Offer::Both, Offer::Http1, Offer::Both]
        .into_iter()
        .enumerate()
    {
        let (near, far) = shake_as(&client, HOST, offer, &server).await;
        let ((mut near, _), (mut far, _)) = (near.unwrap(), far.unwrap());
        talk(&mut near, &mut far).await;
        assert_eq!((near.is_resumed(), far.is_resumed()), (turn > 0, turn > 0));
    }
}

#[tokio::test]
async fn sessions_of_the_older_version_as_well() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let leaf = ca.leaf(HOST);
    let server = Server::new(folder.listener(&leaf), Offer::Both).unwrap();
    let old = careless_client(&ca, None, TlsVersion::V1_2);
    for turn in 0..2 {
        let (near, far) = shake_careless_client(&old, &server).await;
        let far = far.unwrap().0;
        assert_eq!((far.version(), far.is_resumed()), ("1.2", turn > 0));
        drop(near);
    }

    let client = Client::new(folder.upstream(&ca)).unwrap();
    let old = careless_server(&leaf, TlsVersion::V1_2);
    for turn in 0..2 {
        let near = shake_careless_server(&client, &old).await.0.unwrap().0;
        assert_eq!((near.version(), near.is_resumed()), ("1.2", turn > 0));
    }
}

#[test]
fn the_system_says_whom_to_trust() {
    let folder = Folder::new();
    let (missing, bundle) = (folder.path("missing"), folder.write("bundle", ""));
    let bundles = || [missing.as_path(), bundle.as_path()].into_iter();
    assert_eq!(
        Roots::system(None, bundles()),
        Roots::System(bundle.clone())
    );
    assert_eq!(Roots::system(None, bundles().take(1)), Roots::BuiltIn);
    let named = |name: &str| Roots::system(Some(name.into()), bundles());
    assert_eq!(named("/named"), Roots::System("/named".into()));
    assert_eq!(named(""), Roots::System(bundle.clone()));
}
