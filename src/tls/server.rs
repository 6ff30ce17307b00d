//! The server side: TLS from callers.
//!
//! With `client_ca` a caller without a certificate of that CA does not get in. Sessions are taken
//! up again by tickets (their keys change every six hours) or, for callers without tickets, from
//! memory; both belong to one configuration, so that no session outlives a change of the CA. What
//! rustls does not look at, a session whose caller's certificate has expired since, is refused
//! here.

use std::sync::Arc;
use std::time::Duration;

use rustls::server::{NoClientAuth, WebPkiClientVerifier, danger::ClientCertVerifier};
use rustls::server::{ServerConfig, ServerConnection, ServerSessionMemoryCache};
use rustls::sign::SingleCertAndKey;
use rustls::{CommonState, HandshakeKind};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

use super::error::Side;
use super::files::{Contents, Live, LoadError, Made, Outcome, Problem};
use super::{Alpn, BUFFER_LIMIT, Offer, Reason, TlsError, TlsStream, crypto, verify};
use super::{pem, provider, versions};
use crate::config::model::ListenerTls;

/// Sessions kept in memory, for callers of TLS 1.2 without tickets.
const SESSIONS: usize = 1024;

/// Accepts TLS connections of one listener.
pub struct Server {
    settings: ListenerTls,
    offer: Offer,
    pub(super) live: Live<ServerConfig>,
}

impl Server {
    /// Reads the files of `settings`, for the protocols of `offer`. Blocks.
    ///
    /// # Errors
    /// Returns the first file that cannot be used.
    pub fn new(settings: ListenerTls, offer: Offer) -> Result<Self, LoadError> {
        let files = [&settings.cert, &settings.key];
        let paths = files
            .into_iter()
            .chain(&settings.client_ca)
            .cloned()
            .collect();
        let live = Live::new(paths, |contents| make(&settings, offer, contents))?;
        Ok(Self {
            settings,
            offer,
            live,
        })
    }

    /// Makes a handshake with the caller at `stream`. Waits as long as the caller lets it.
    ///
    /// # Cancel safety
    /// Dropping the future closes `stream`; nothing else is held.
    ///
    /// # Errors
    /// Returns why there is no connection.
    pub async fn accept<S>(&self, stream: S) -> Result<(TlsStream<S>, Alpn), TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        handshake(self.live.config(), stream).await
    }

    /// Looks whether the files have changed and takes them up. Blocks; every few seconds is right.
    pub fn reload(&self) -> Outcome {
        self.live
            .reload(|contents| make(&self.settings, self.offer, contents))
    }

    /// Returns the end of the certificate in use, since the Unix epoch.
    pub fn not_after(&self) -> Option<Duration> {
        self.live.not_after()
    }

    /// Returns why the files as they are now are not in use; `None`: they are.
    pub fn refused(&self) -> Option<LoadError> {
        self.live.refused()
    }
}

pub(super) async fn handshake<S>(
    config: Arc<ServerConfig>,
    stream: S,
) -> Result<(TlsStream<S>, Alpn), TlsError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let bound = |session: &mut ServerConnection| session.set_buffer_limit(Some(BUFFER_LIMIT));
    let accepted = TlsAcceptor::from(config)
        .accept_with(stream, bound)
        .await
        .map_err(|error| TlsError::handshake(&error, Side::Server))?;
    if is_stale(accepted.get_ref().1) {
        return Err(TlsError::new(Reason::Expired, "since its session was made"));
    }
    let stream = TlsStream::new(accepted.into(), Side::Server);
    let alpn = stream.alpn();
    Ok((stream, alpn))
}

/// Whether a session was taken up whose caller would not get in with a new one.
fn is_stale(session: &CommonState) -> bool {
    let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
    let caller = session.peer_certificates().and_then(<[_]>::first);
    resumed && caller.is_some_and(pem::is_expired)
}

fn make(
    settings: &ListenerTls,
    offer: Offer,
    contents: &Contents,
) -> Result<Made<ServerConfig>, LoadError> {
    let provider = provider();
    let refused = |error: String| Problem::Refused(error).of(&settings.cert);
    let pair = pem::pair(contents, &settings.cert, &settings.key, &provider)?;
    let verifier: Arc<dyn ClientCertVerifier> = match &settings.client_ca {
        Some(file) => {
            let roots = Arc::new(pem::roots(contents, file)?);
            let webpki = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider))
                .build()
                .map_err(|error| Problem::Refused(error.to_string()).of(file))?;
            Arc::new(verify::Callers(webpki))
        }
        None => Arc::new(NoClientAuth),
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions(settings.min_version))
        .map_err(|error| refused(error.to_string()))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(pair.key)));
    config.alpn_protocols = offer.protocols();
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
    config.ticketer = crypto::Ticketer::new().map_err(|error| refused(error.to_string()))?;
    Ok(Made {
        config: Arc::new(config),
        not_after: Some(pair.not_after),
    })
}
