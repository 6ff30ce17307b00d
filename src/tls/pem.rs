//! From the text of a file to certificates, keys and roots; each error names its file.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};
use x509_parser::time::ASN1Time;

use super::files::{Contents, LoadError, Problem};
use crate::time;

/// A certificate chain with its private key.
pub(super) struct Pair {
    pub(super) key: Arc<CertifiedKey>,
    /// End of the first certificate, since the Unix epoch.
    pub(super) not_after: Duration,
}

/// Reads a pair and makes sure that it can be used now.
pub(super) fn pair(
    contents: &Contents,
    cert: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<Pair, LoadError> {
    let chain = certificates(contents.get(cert)?).map_err(|problem| problem.of(cert))?;
    let not_after = valid_now(&chain).map_err(|problem| problem.of(cert))?;
    let key_der = private_key(contents.get(key)?).map_err(|problem| problem.of(key))?;
    let signing = provider.key_provider.load_private_key(key_der);
    let signing = signing.map_err(|error| Problem::BadKey(error.to_string()).of(key))?;
    let certified = CertifiedKey::new(chain, signing);
    match certified.keys_match() {
        // Not every key can tell its public half.
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(Pair {
            key: Arc::new(certified),
            not_after,
        }),
        Err(Error::InconsistentKeys(_)) => Err(Problem::KeyMismatch(cert.to_owned()).of(key)),
        Err(error) => Err(Problem::BadCertificate(error.to_string()).of(cert)),
    }
}

/// Reads roots of which every one has to be usable.
pub(super) fn roots(contents: &Contents, file: &Path) -> Result<RootCertStore, LoadError> {
    let mut roots = RootCertStore::empty();
    for root in certificates(contents.get(file)?).map_err(|problem| problem.of(file))? {
        roots
            .add(root)
            .map_err(|error| Problem::BadCertificate(error.to_string()).of(file))?;
    }
    Ok(roots)
}

/// Reads the roots of the system: those that are unusable are left out, they are not ours to mend.
pub(super) fn system_roots(contents: &Contents, file: &Path) -> Result<RootCertStore, LoadError> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_slice_iter(contents.get(file)?);
    roots.add_parsable_certificates(certificates.filter_map(Result::ok));
    if roots.is_empty() {
        return Err(Problem::NoCertificate.of(file));
    }
    Ok(roots)
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let chain = read.map_err(|error| Problem::BadCertificate(error.to_string()))?;
    if chain.is_empty() {
        return Err(Problem::NoCertificate);
    }
    Ok(chain)
}

fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, Problem> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        pem::Error::NoItemsFound if is_encrypted(text) => Problem::EncryptedKey,
        pem::Error::NoItemsFound => Problem::NoKey,
        error => Problem::BadKey(error.to_string()),
    })
}

fn is_encrypted(text: &[u8]) -> bool {
    const LABEL: &[u8] = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
    text.windows(LABEL.len()).any(|window| window == LABEL)
}

/// Returns the end of the first certificate, if it holds now.
fn valid_now(chain: &[CertificateDer<'_>]) -> Result<Duration, Problem> {
    let first = chain.first().ok_or(Problem::NoCertificate)?;
    let (_, parsed) = x509_parser::parse_x509_certificate(first)
        .map_err(|error| Problem::BadCertificate(error.to_string()))?;
    let validity = parsed.validity();
    let not_after = since_epoch(validity.not_after);
    let now = time::unix_now();
    if not_after < now {
        return Err(Problem::Expired(validity.not_after.to_string()));
    }
    if since_epoch(validity.not_before) > now {
        return Err(Problem::NotYetValid(validity.not_before.to_string()));
    }
    Ok(not_after)
}

/// Tells whether a peer's certificate has expired by now; one that cannot be read has.
pub(super) fn is_expired(certificate: &CertificateDer<'_>) -> bool {
    x509_parser::parse_x509_certificate(certificate).map_or(true, |(_, parsed)| {
        since_epoch(parsed.validity().not_after) < time::unix_now()
    })
}

fn since_epoch(time: ASN1Time) -> Duration {
    // Before 1970 is long over as well.
    Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or(0))
}
