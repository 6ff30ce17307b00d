//! Why a handshake failed, each cause by its own stable word.
//!
//! A reason tells of the peer unless it says otherwise; both sides use the same words. In TLS 1.3
//! a client is done before the server has looked at its certificate: that refusal comes with the
//! first read, and [`reason_of`] finds it there.

use std::error::Error;
use std::{fmt, io};

use rustls::{AlertDescription as Alert, CertificateError, InvalidMessage, OtherError};

use super::pin::PinMismatch;

/// Why a TLS connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The peer's certificate leads to no root that is trusted here.
    UnknownCa,
    /// The peer's certificate is for other names.
    WrongName,
    /// The peer's certificate has expired.
    Expired,
    /// The peer's certificate is not valid yet.
    NotYetValid,
    /// The peer's key is none of the pinned ones.
    PinMismatch,
    /// The peer's certificate is unusable for another cause: revoked, malformed, of a kind or for
    /// a purpose that does not fit.
    BadCertificate,
    /// A client certificate is required and there is none.
    ClientCertificateRequired,
    /// The peer refuses our certificate.
    CertificateRefused,
    /// No version, cipher or protocol that both sides speak.
    Incompatible,
    /// The peer broke the rules of the protocol.
    Protocol,
    /// The peer ended the connection with an alert that no other reason stands for.
    Alert,
    /// The peer does not speak TLS.
    NotTls,
    /// The connection ended within the handshake.
    Closed,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::UnknownCa,
        Self::WrongName,
        Self::Expired,
        Self::NotYetValid,
        Self::PinMismatch,
        Self::BadCertificate,
        Self::ClientCertificateRequired,
        Self::CertificateRefused,
        Self::Incompatible,
        Self::Protocol,
        Self::Alert,
        Self::NotTls,
        Self::Closed,
    ];

    /// Returns the stable word for header, log and metric.
    pub const fn word(self) -> &'static str {
        match self {
            Self::UnknownCa => "tls_unknown_ca",
            Self::WrongName => "tls_wrong_name",
            Self::Expired => "tls_expired",
            Self::NotYetValid => "tls_not_yet_valid",
            Self::PinMismatch => "tls_pin_mismatch",
            Self::BadCertificate => "tls_bad_certificate",
            Self::ClientCertificateRequired => "tls_client_certificate_required",
            Self::CertificateRefused => "tls_certificate_refused",
            Self::Incompatible => "tls_incompatible",
            Self::Protocol => "tls_protocol",
            Self::Alert => "tls_alert",
            Self::NotTls => "tls_not_spoken",
            Self::Closed => "tls_closed",
        }
    }

    /// Returns what happened, for people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::UnknownCa => "the certificate leads to no trusted root",
            Self::WrongName => "the certificate is for another name",
            Self::Expired => "the certificate has expired",
            Self::NotYetValid => "the certificate is not valid yet",
            Self::PinMismatch => "the key is none of the pinned ones",
            Self::BadCertificate => "the certificate cannot be used",
            Self::ClientCertificateRequired => "a client certificate is required",
            Self::CertificateRefused => "the peer refuses our certificate",
            Self::Incompatible => "no version, cipher or protocol in common",
            Self::Protocol => "the peer broke the protocol",
            Self::Alert => "the peer sent an alert",
            Self::NotTls => "the peer does not speak TLS",
            Self::Closed => "the connection ended within the handshake",
        }
    }

    /// Returns the `error` type of `Proxy-Status` (RFC 9209 §2.3) where an upstream is the peer.
    pub const fn proxy_status(self) -> &'static str {
        match self {
            Self::UnknownCa
            | Self::WrongName
            | Self::Expired
            | Self::NotYetValid
            | Self::PinMismatch
            | Self::BadCertificate => "tls_certificate_error",
            Self::ClientCertificateRequired | Self::CertificateRefused | Self::Alert => {
                "tls_alert_received"
            }
            Self::Incompatible | Self::Protocol | Self::NotTls => "tls_protocol_error",
            Self::Closed => "connection_terminated",
        }
    }
}

/// A TLS connection that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError {
    /// Why.
    pub reason: Reason,
    detail: String,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.reason.text();
        if self.detail.is_empty() {
            return f.write_str(text);
        }
        write!(f, "{text}: {}", self.detail)
    }
}

impl Error for TlsError {}

/// Which side of a connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client { has_certificate: bool },
    Server,
}

impl TlsError {
    pub(super) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
        }
    }

    /// What ended a handshake.
    pub(super) fn handshake(error: &io::Error, side: Side) -> Self {
        match tls(error) {
            Some(tls) => Self::new(classify(tls, side), detail(tls)),
            None => Self::new(Reason::Closed, error.to_string()),
        }
    }
}

/// An error of an established stream, with our own words if TLS is what failed.
pub(super) fn established(error: io::Error, side: Side) -> io::Error {
    let Some(tls) = tls(&error) else {
        return error;
    };
    let reason = match classify(tls, side) {
        // It did speak TLS until now.
        Reason::NotTls => Reason::Protocol,
        reason => reason,
    };
    io::Error::new(error.kind(), TlsError::new(reason, detail(tls)))
}

/// Finds the reason in an error of a TLS stream, however deep a codec has wrapped it.
pub fn reason_of(error: &(dyn Error + 'static)) -> Option<Reason> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<TlsError>() {
            return Some(tls.reason);
        }
        // The `source` of an `io::Error` is that of what it wraps: one too deep.
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        next = match wrapped {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn tls(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn detail(error: &rustls::Error) -> String {
    match error {
        // Displays as the debug form of the wrapper otherwise.
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => {
            inner.to_string()
        }
        error => error.to_string(),
    }
}

fn classify(error: &rustls::Error, side: Side) -> Reason {
    use rustls::Error as E;
    match error {
        E::InvalidCertificate(error) => certificate(error),
        E::NoCertificatesPresented => Reason::ClientCertificateRequired,
        E::UnsupportedNameType => Reason::WrongName,
        E::AlertReceived(alert) => self::alert(*alert, side),
        E::PeerIncompatible(_) | E::NoApplicationProtocol => Reason::Incompatible,
        E::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => Reason::NotTls,
        _ => Reason::Protocol,
    }
}

fn certificate(error: &CertificateError) -> Reason {
    use CertificateError as C;
    match error {
        C::UnknownIssuer => Reason::UnknownCa,
        C::NotValidForName | C::NotValidForNameContext { .. } => Reason::WrongName,
        C::Expired | C::ExpiredContext { .. } => Reason::Expired,
        C::NotValidYet | C::NotValidYetContext { .. } => Reason::NotYetValid,
        C::Other(OtherError(inner)) if inner.is::<PinMismatch>() => Reason::PinMismatch,
        _ => Reason::BadCertificate,
    }
}

fn alert(alert: Alert, side: Side) -> Reason {
    match alert {
        Alert::CertificateRequired => Reason::ClientCertificateRequired,
        // Stacks that do not know `certificate_required` say these of a certificate not sent.
        Alert::NoCertificate
        | Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::AccessDenied => match side {
            Side::Client {
                has_certificate: false,
            } => Reason::ClientCertificateRequired,
            _ => Reason::CertificateRefused,
        },
        Alert::HandshakeFailure
        | Alert::ProtocolVersion
        | Alert::InsufficientSecurity
        | Alert::InappropriateFallback
        | Alert::NoApplicationProtocol => Reason::Incompatible,
        _ => Reason::Alert,
    }
}
