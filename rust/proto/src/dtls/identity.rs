//! The certificate that all transports of an engine show, and the handshake settings they share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Config, DtlsCertificate};
use thiserror::Error;

use super::fingerprint::{Fingerprint, HashAlgorithm};
use crate::time::Time;

/// First retransmission; ICE has measured nothing yet, and joins must be quick.
const FIRST_RETRANSMISSION: Duration = Duration::from_millis(150);
/// 150 ms doubled 7 times reaches past the overall limit, which then ends the handshake.
const RETRANSMISSIONS: usize = 7;
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(30);

/// Why an identity was refused.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The library does not take our handshake settings.
    #[error("the DTLS settings were refused: {0}")]
    Settings(#[from] dimpl::Error),
    /// The key is not an ECDSA P-256 or P-384 key in PKCS#8.
    #[error("the DTLS private key was refused: {0}")]
    PrivateKey(dimpl::CryptoError),
}

/// Certificate, private key and handshake settings; one for all transports.
#[derive(Clone)]
pub struct Identity {
    /// For peers whose address ICE has proven.
    pub(super) config: Arc<Config>,
    /// For peers who still have to prove theirs.
    pub(super) cookie_config: Arc<Config>,
    pub(super) certificate: Arc<DtlsCertificate>,
    pub(super) base: Instant,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("fingerprint", &self.fingerprint(HashAlgorithm::Sha256))
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// An identity of an ECDSA P-256 or P-384 certificate and its PKCS#8 key, both DER.
    ///
    /// `base` is the instant of the engine's `Time::ZERO`: the DTLS library keeps time as `Instant`.
    pub fn new(certificate_der: Vec<u8>, private_key_der: Vec<u8>, base: Instant) -> Result<Identity, IdentityError> {
        // HelloVerifyRequest has one purpose, return routability (RFC 6347 §4.2.1), which ICE has already proven, because our
        // flights only leave to a tuple that answered our own challenge. It would cost a round trip.
        let config = settings(false)?;
        let cookie_config = settings(true)?;
        // The library panics on a bad key at the first handshake; so it is tried here, where an answer can be given.
        config.crypto_provider().key_provider.load_private_key(&private_key_der).map_err(IdentityError::PrivateKey)?;
        let certificate = Arc::new(DtlsCertificate { certificate: certificate_der, private_key: private_key_der });
        Ok(Identity { config: Arc::new(config), cookie_config: Arc::new(cookie_config), certificate, base })
    }

    /// The fingerprint for SDP.
    pub fn fingerprint(&self, algorithm: HashAlgorithm) -> Fingerprint {
        Fingerprint::of(algorithm, &self.certificate.certificate)
    }

    pub(super) fn instant(&self, time: Time) -> Instant {
        self.base + Duration::from_nanos(time.0)
    }

    pub(super) fn time(&self, instant: Instant) -> Time {
        Time::ZERO + instant.saturating_duration_since(self.base)
    }
}

fn settings(cookie: bool) -> Result<Config, dimpl::Error> {
    Config::builder()
        .use_server_cookie(cookie)
        .flight_start_rto(FIRST_RETRANSMISSION)
        .flight_retries(RETRANSMISSIONS)
        .handshake_timeout(HANDSHAKE_LIMIT)
        .build()
}
