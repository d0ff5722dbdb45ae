//! Who may be at the other end: TLS 1.3 only, certificates both ways, and of the other's certificate the issuer, the name and
//! the SHA-256 fingerprint, all three.

use std::sync::Arc;

use ::aws_lc_rs::{constant_time, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};

/// The protocol of control messages and visitors' streams.
pub const CONTROL_PROTOCOL: &[u8] = b"mediaserver-link/1";
/// The protocol of media frames.
pub const MEDIA_PROTOCOL: &[u8] = b"mediaserver-media/1";

/// SHA-256 of a certificate (DER).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of `certificate`.
    pub fn of(certificate: &CertificateDer<'_>) -> Fingerprint {
        let digest = digest::digest(&digest::SHA256, certificate);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Fingerprint(bytes)
    }

    fn is(&self, other: &Fingerprint) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl TryFrom<&[u8]> for Fingerprint {
    type Error = &'static str;

    fn try_from(bytes: &[u8]) -> Result<Fingerprint, &'static str> {
        bytes.try_into().map(Fingerprint).map_err(|_| "invalid fingerprint: it must have 32 bytes")
    }
}

/// Who we are, and who vouches for the others.
#[derive(Debug)]
pub(crate) struct Credentials {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
}

impl Credentials {
    /// Reads a certificate chain, its private key and the certificates of the issuers of the other end, all PEM.
    pub(crate) fn from_pem(chain: &[u8], key: &[u8], issuers: &[u8]) -> Result<Credentials, &'static str> {
        let chain = read_certificates(chain).ok_or("invalid certificate_chain_pem")?;
        // What the reader says of a bad key could hold pieces of it.
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "invalid private_key_pem")?;
        let mut roots = RootCertStore::empty();
        for issuer in read_certificates(issuers).ok_or("invalid issuers_pem")? {
            roots.add(issuer).map_err(|_| "invalid issuers_pem")?;
        }
        Ok(Credentials { chain, key, roots: Arc::new(roots) })
    }
}

fn read_certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    found.ok().filter(|found| !found.is_empty())
}

/// A Core that may come: the name in its certificate, and the certificate's fingerprint.
#[derive(Clone, Debug)]
pub(crate) struct Pin {
    /// Names the link of this Core, chosen by the control plane.
    pub(crate) link: u64,
    /// DNS name in the certificate.
    pub(crate) name: String,
    /// Of the certificate itself.
    pub(crate) fingerprint: Fingerprint,
}

/// The Core's side: how to meet an Edge whose certificate has `fingerprint`.
pub(crate) fn client_config(
    credentials: &Credentials,
    fingerprint: Fingerprint,
    protocol: &[u8],
) -> Result<ClientConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let inner = WebPkiServerVerifier::builder_with_provider(credentials.roots.clone(), provider.clone())
        .build()
        .map_err(|error| Error::General(error.to_string()))?;
    let verifier = Arc::new(PinnedEdge { inner, fingerprint });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(credentials.chain.clone(), credentials.key.clone_key())?;
    config.alpn_protocols = vec![protocol.to_vec()];
    // A resumed session would skip the look at the certificate.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// The Edge's side: how to admit the Cores of `pins`.
pub(crate) fn server_config(credentials: &Credentials, pins: &[Pin]) -> Result<ServerConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = PinnedCores::new(credentials.roots.clone(), provider.clone(), pins)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(credentials.chain.clone(), credentials.key.clone_key())?;
    config.alpn_protocols = vec![CONTROL_PROTOCOL.to_vec(), MEDIA_PROTOCOL.to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(config)
}

/// The pin of the Core that showed `certificate`, if it is one of them.
pub(crate) fn pin_of<'a>(pins: &'a [Pin], certificate: &CertificateDer<'_>) -> Option<&'a Pin> {
    let fingerprint = Fingerprint::of(certificate);
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    pins.iter().find(|pin| {
        let name = ServerName::try_from(pin.name.as_str());
        pin.fingerprint.is(&fingerprint) && name.is_ok_and(|name| verify_server_name(&parsed, &name).is_ok())
    })
}

#[derive(Debug)]
struct PinnedEdge {
    inner: Arc<WebPkiServerVerifier>,
    fingerprint: Fingerprint,
}

impl ServerCertVerifier for PinnedEdge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        if !self.fingerprint.is(&Fingerprint::of(end_entity)) {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(CertificateError::BadSignature.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[derive(Debug)]
struct PinnedCores {
    inner: Arc<dyn ClientCertVerifier>,
    pins: Vec<Pin>,
}

impl PinnedCores {
    fn new(roots: Arc<RootCertStore>, provider: Arc<CryptoProvider>, pins: &[Pin]) -> Result<PinnedCores, Error> {
        let inner = WebPkiClientVerifier::builder_with_provider(roots, provider)
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        Ok(PinnedCores { inner, pins: pins.to_vec() })
    }
}

impl ClientCertVerifier for PinnedCores {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Who asks without a certificate need not learn whom we trust.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now)?;
        match pin_of(&self.pins, end_entity) {
            Some(_) => Ok(verified),
            None => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(CertificateError::BadSignature.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
