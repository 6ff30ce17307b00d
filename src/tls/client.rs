//! The client side: TLS to an upstream.
//!
//! Roots come from `ca`, else from the system's bundle, else from Mozilla's list in the binary;
//! which of them is decided once, so that a bundle that vanishes for a moment does not change whom
//! we trust. Sessions are kept for resumption with the configuration that verified them, and go
//! with it.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::{ClientConfig, Resumption, WebPkiServerVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConnection, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::error::Side;
use super::files::{Contents, Live, LoadError, Made, Outcome, Problem};
use super::{Alpn, BUFFER_LIMIT, Offer, Reason, TlsError, TlsStream, verify};
use super::{pem, provider, server_name, versions};
use crate::config::model::UpstreamTls;

/// Tickets kept, eight for each of 32 names.
const SESSIONS: usize = 256;

/// Where distributions keep the system's roots: Debian and Alpine, Fedora and its kin, openSUSE,
/// BSD.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Makes TLS connections to one upstream.
pub struct Client {
    settings: UpstreamTls,
    roots: Roots,
    live: Live<ClientConfig>,
}

/// Where the roots come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Roots {
    /// The file of the settings.
    Given(PathBuf),
    /// A bundle of the system.
    System(PathBuf),
    /// Mozilla's list.
    BuiltIn,
}

impl Roots {
    fn of(settings: &UpstreamTls) -> Self {
        let bundles = BUNDLES.iter().map(Path::new);
        match &settings.ca {
            Some(file) => Self::Given(file.clone()),
            None => Self::system(env::var_os("SSL_CERT_FILE"), bundles),
        }
    }

    /// `named` is taken at its word, also where it does not exist: whom to trust is not guessed.
    pub(super) fn system<'a>(
        named: Option<OsString>,
        mut bundles: impl Iterator<Item = &'a Path>,
    ) -> Self {
        match named.filter(|name| !name.is_empty()) {
            Some(named) => Self::System(named.into()),
            None => bundles
                .find(|bundle| bundle.is_file())
                .map_or(Self::BuiltIn, |bundle| Self::System(bundle.to_owned())),
        }
    }

    fn file(&self) -> Option<&Path> {
        match self {
            Self::Given(file) | Self::System(file) => Some(file),
            Self::BuiltIn => None,
        }
    }

    fn load(&self, contents: &Contents) -> Result<RootCertStore, LoadError> {
        match self {
            Self::Given(file) => pem::roots(contents, file),
            Self::System(file) => pem::system_roots(contents, file),
            Self::BuiltIn => Ok(RootCertStore {
                roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
            }),
        }
    }
}

impl Client {
    /// Reads the files of `settings`. Blocks.
    ///
    /// # Errors
    /// Returns the first file that cannot be used.
    pub fn new(settings: UpstreamTls) -> Result<Self, LoadError> {
        let roots = Roots::of(&settings);
        let files = [
            roots.file(),
            settings.cert.as_deref(),
            settings.key.as_deref(),
        ];
        let paths = files.into_iter().flatten().map(Path::to_owned).collect();
        let live = Live::new(paths, |contents| make(&settings, &roots, contents))?;
        Ok(Self {
            settings,
            roots,
            live,
        })
    }

    /// Makes a handshake with the endpoint called `host` (a name or an IP literal) over `stream`.
    /// The name of the settings goes before it. Waits as long as the endpoint lets it.
    ///
    /// # Cancel safety
    /// Dropping the future closes `stream`; nothing else is held.
    ///
    /// # Errors
    /// Returns why there is no connection. An endpoint that misses our certificate may say so only
    /// at the first read: see [`reason_of`](super::reason_of).
    pub async fn connect<S>(
        &self,
        host: &str,
        offer: Offer,
        stream: S,
    ) -> Result<(TlsStream<S>, Alpn), TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let host = self.settings.server_name.as_deref().unwrap_or(host);
        let name = server_name(host).ok_or_else(|| {
            TlsError::new(
                Reason::WrongName,
                format!("no certificate can be for `{host}`"),
            )
        })?;
        let bound = |session: &mut ClientConnection| session.set_buffer_limit(Some(BUFFER_LIMIT));
        let side = Side::Client {
            has_certificate: self.settings.cert.is_some(),
        };
        let connector = TlsConnector::from(self.live.config());
        let connected = connector
            .with_alpn(offer.protocols())
            .connect_with(name, stream, bound)
            .await
            .map_err(|error| TlsError::handshake(&error, side))?;
        let stream = TlsStream::new(connected.into(), side);
        let alpn = stream.alpn();
        Ok((stream, alpn))
    }

    /// Looks whether the files have changed and takes them up. Blocks; every few seconds is right.
    pub fn reload(&self) -> Outcome {
        self.live
            .reload(|contents| make(&self.settings, &self.roots, contents))
    }

    /// Returns the end of our certificate, since the Unix epoch; `None` without one.
    pub fn not_after(&self) -> Option<Duration> {
        self.live.not_after()
    }

    /// Returns why the files as they are now are not in use; `None`: they are.
    pub fn refused(&self) -> Option<LoadError> {
        self.live.refused()
    }
}

fn make(
    settings: &UpstreamTls,
    roots: &Roots,
    contents: &Contents,
) -> Result<Made<ClientConfig>, LoadError> {
    let provider = provider();
    let refused = |error: String| {
        let file = roots.file().unwrap_or_else(|| Path::new("built-in roots"));
        Problem::Refused(error).of(file)
    };
    let store = Arc::new(roots.load(contents)?);
    let webpki = WebPkiServerVerifier::builder_with_provider(store, Arc::clone(&provider))
        .build()
        .map_err(|error| refused(error.to_string()))?;
    let verifier = verify::Upstreams {
        webpki,
        pins: settings.pins.clone(),
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions(settings.min_version))
        .map_err(|error| refused(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let (mut config, not_after) = match (&settings.cert, &settings.key) {
        (Some(cert), key) => {
            let key = key.as_ref().unwrap_or(cert);
            let pair = pem::pair(contents, cert, key, &provider)?;
            let resolver = Arc::new(SingleCertAndKey::from(pair.key));
            (
                builder.with_client_cert_resolver(resolver),
                Some(pair.not_after),
            )
        }
        (None, _) => (builder.with_no_client_auth(), None),
    };
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(Made {
        config: Arc::new(config),
        not_after,
    })
}
