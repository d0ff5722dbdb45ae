//! Certificate fingerprints of SDP (RFC 8122 §5).

use aws_lc_rs::{constant_time, digest};

/// Hash of a fingerprint, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HashAlgorithm {
    /// `sha-1`, old gear only.
    Sha1,
    /// `sha-256`, what everybody sends.
    Sha256,
    /// `sha-384`.
    Sha384,
    /// `sha-512`.
    Sha512,
}

impl HashAlgorithm {
    /// The hash of an SDP token (RFC 8122 §5, case does not matter), or `None` when we do not have it.
    pub fn from_name(name: &str) -> Option<HashAlgorithm> {
        [HashAlgorithm::Sha1, HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512]
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// The SDP token.
    pub const fn name(self) -> &'static str {
        match self {
            HashAlgorithm::Sha1 => "sha-1",
            HashAlgorithm::Sha256 => "sha-256",
            HashAlgorithm::Sha384 => "sha-384",
            HashAlgorithm::Sha512 => "sha-512",
        }
    }

    fn digest(self) -> &'static digest::Algorithm {
        match self {
            HashAlgorithm::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            HashAlgorithm::Sha256 => &digest::SHA256,
            HashAlgorithm::Sha384 => &digest::SHA384,
            HashAlgorithm::Sha512 => &digest::SHA512,
        }
    }
}

/// Hash of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// The hash function.
    pub algorithm: HashAlgorithm,
    /// Its raw output.
    pub value: Vec<u8>,
}

impl Fingerprint {
    /// The fingerprint of a DER certificate.
    pub fn of(algorithm: HashAlgorithm, certificate_der: &[u8]) -> Fingerprint {
        Fingerprint { algorithm, value: digest::digest(algorithm.digest(), certificate_der).as_ref().to_vec() }
    }
}

/// Whether a certificate is the one that SDP promised.
///
/// RFC 8122 §5: of the functions both sides know the strongest counts, and the certificate must match one of its values.
pub fn certificate_matches(certificate_der: &[u8], promised: &[Fingerprint]) -> bool {
    let Some(strongest) = promised.iter().map(|fingerprint| fingerprint.algorithm).max() else {
        return false;
    };
    let ours = Fingerprint::of(strongest, certificate_der);
    promised
        .iter()
        .filter(|fingerprint| fingerprint.algorithm == strongest)
        .any(|fingerprint| constant_time::verify_slices_are_equal(&fingerprint.value, &ours.value).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_value_of_the_strongest_function_matches() {
        let right = Fingerprint::of(HashAlgorithm::Sha256, b"certificate");
        let wrong = Fingerprint::of(HashAlgorithm::Sha256, b"other");
        assert!(certificate_matches(b"certificate", &[wrong.clone(), right.clone()]));
        assert!(!certificate_matches(b"certificate", &[wrong]));
    }

    #[test]
    fn a_weak_match_does_not_outweigh_a_strong_mismatch() {
        let weak = Fingerprint::of(HashAlgorithm::Sha1, b"certificate");
        let strong = Fingerprint::of(HashAlgorithm::Sha512, b"other");
        assert!(certificate_matches(b"certificate", std::slice::from_ref(&weak)));
        assert!(!certificate_matches(b"certificate", &[weak, strong]));
    }

    #[test]
    fn no_fingerprint_matches_nothing() {
        assert!(!certificate_matches(b"certificate", &[]));
    }

    #[test]
    fn names_are_case_insensitive() {
        assert_eq!(HashAlgorithm::from_name("SHA-256"), Some(HashAlgorithm::Sha256));
        assert_eq!(HashAlgorithm::from_name("md5"), None);
    }
}
