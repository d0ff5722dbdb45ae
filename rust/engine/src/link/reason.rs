//! Why a link is down, in words for an operator.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

/// What failed while the connection was made or used.
pub(crate) fn of_io(error: &io::Error) -> String {
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        return of_tls(error);
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "nothing listens there (connection refused)".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            "the other end, or something on the way, reset the connection".to_owned()
        }
        io::ErrorKind::UnexpectedEof => "the other end closed the connection".to_owned(),
        io::ErrorKind::TimedOut => "no answer".to_owned(),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
            "there is no way to this address".to_owned()
        }
        _ => error.to_string(),
    }
}

/// What TLS says about the other end.
pub(crate) fn of_tls(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure) => {
            "the certificate of the other end has another fingerprint, or another name, than the pinned one".to_owned()
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "the certificate of the other end is for another name".to_owned(),
        // An issuer of the same name with another key shows as a bad signature.
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "the certificate of the other end is from another issuer".to_owned()
        }
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "the certificate of the other end has expired".to_owned()
        }
        Error::AlertReceived(
            AlertDescription::AccessDenied
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::UnknownCA
            | AlertDescription::DecryptError
            | AlertDescription::CertificateRequired,
        ) => "the other end refused our certificate; compare its pins with it".to_owned(),
        Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            "the other end speaks another version of the link".to_owned()
        }
        Error::AlertReceived(AlertDescription::ProtocolVersion) | Error::PeerIncompatible(_) => {
            "the other end speaks no TLS 1.3".to_owned()
        }
        other => other.to_string(),
    }
}

/// What HTTP/2 says about the connection.
pub(crate) fn of_h2(error: &h2::Error) -> String {
    if let Some(error) = error.get_io() {
        return of_io(error);
    }
    match error.reason() {
        Some(h2::Reason::NO_ERROR) => "the other end closed the connection".to_owned(),
        Some(h2::Reason::ENHANCE_YOUR_CALM) => "the other end opened or reset too many streams".to_owned(),
        _ => format!("the other end broke the protocol: {error}"),
    }
}
