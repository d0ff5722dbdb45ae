//! Protection suites, master keys and the key derivation of RFC 3711 §4.3.

use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use thiserror::Error;

/// A protection suite: cipher, authentication and tag length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suite {
    /// RFC 7714, the cheapest one on today's CPUs.
    AeadAes128Gcm,
    /// RFC 7714.
    AeadAes256Gcm,
    /// RFC 3711, RFC 4568: what every SIP phone has.
    AesCm128HmacSha1_80,
    /// RFC 4568: short RTP tags; SRTCP keeps 80 bits.
    AesCm128HmacSha1_32,
}

impl Suite {
    /// The suite of an SDP crypto attribute (RFC 4568 §6.2, RFC 7714 §14.2), or `None` when we do not have it.
    pub fn from_name(name: &str) -> Option<Suite> {
        Some(match name {
            "AEAD_AES_128_GCM" => Suite::AeadAes128Gcm,
            "AEAD_AES_256_GCM" => Suite::AeadAes256Gcm,
            "AES_CM_128_HMAC_SHA1_80" => Suite::AesCm128HmacSha1_80,
            "AES_CM_128_HMAC_SHA1_32" => Suite::AesCm128HmacSha1_32,
            _ => return None,
        })
    }

    /// The name in SDP, statistics and records.
    pub const fn name(self) -> &'static str {
        match self {
            Suite::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Suite::AeadAes256Gcm => "AEAD_AES_256_GCM",
            Suite::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Suite::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
        }
    }

    /// Master (and session) key length in bytes.
    pub const fn key_len(self) -> usize {
        match self {
            Suite::AeadAes256Gcm => 32,
            _ => 16,
        }
    }

    /// Master salt length in bytes.
    pub const fn salt_len(self) -> usize {
        match self {
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => 12,
            _ => 14,
        }
    }

    /// Bytes that SRTP adds to an RTP packet.
    pub const fn rtp_tag_len(self) -> usize {
        match self {
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => 16,
            Suite::AesCm128HmacSha1_80 => 10,
            Suite::AesCm128HmacSha1_32 => 4,
        }
    }

    /// Bytes of the SRTCP tag, without the 4 bytes of the index.
    pub const fn rtcp_tag_len(self) -> usize {
        match self {
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => 16,
            _ => 10,
        }
    }

    /// Whether cipher and authentication are one.
    pub const fn is_aead(self) -> bool {
        matches!(self, Suite::AeadAes128Gcm | Suite::AeadAes256Gcm)
    }
}

/// A key of the wrong length for its suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{suite} takes {expected} bytes of key and salt, not {given}", suite = suite.name())]
pub struct KeyLengthError {
    /// The suite.
    pub suite: Suite,
    /// Bytes it takes.
    pub expected: usize,
    /// Bytes that were given.
    pub given: usize,
}

/// Master key and salt of one direction.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    suite: Suite,
    key: [u8; 32],
    salt: [u8; 14],
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MasterKey").field("suite", &self.suite).finish_non_exhaustive()
    }
}

impl MasterKey {
    /// Key and salt side by side, as SDES carries them (RFC 4568 §6.1).
    pub fn from_key_and_salt(suite: Suite, bytes: &[u8]) -> Result<MasterKey, KeyLengthError> {
        let expected = suite.key_len() + suite.salt_len();
        if bytes.len() != expected {
            return Err(KeyLengthError { suite, expected, given: bytes.len() });
        }
        let (key, salt) = bytes.split_at(suite.key_len());
        Ok(MasterKey::from_slices(suite, key, salt))
    }

    pub(crate) fn from_slices(suite: Suite, key: &[u8], salt: &[u8]) -> MasterKey {
        let mut master = MasterKey { suite, key: [0; 32], salt: [0; 14] };
        master.key[..key.len()].copy_from_slice(key);
        // RFC 7714 §11: a 96-bit salt is used as a 112-bit one with zeros at its end.
        master.salt[..salt.len()].copy_from_slice(salt);
        master
    }

    /// The suite the key is for.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// RFC 3711 §4.3.1 with a key derivation rate of 0: `out` becomes the first bytes of PRF(key, label << 48 ^ salt).
    ///
    /// # Panics
    /// Never: key and IV lengths are fixed by the suite.
    pub(crate) fn derive(&self, label: u8, out: &mut [u8]) {
        let mut iv = [0u8; 16];
        iv[..14].copy_from_slice(&self.salt);
        iv[7] ^= label;
        out.fill(0);
        let algorithm = if self.suite.key_len() == 32 { &AES_256 } else { &AES_128 };
        let key = UnboundCipherKey::new(algorithm, &self.key[..self.suite.key_len()])
            .and_then(EncryptingKey::ctr)
            .expect("the suite fixes the key length");
        key.less_safe_encrypt(out, EncryptionContext::Iv128(FixedLength::from(iv)))
            .expect("CTR takes any length and a 16 byte IV");
    }
}

/// Master keys of both directions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrtpKeys {
    /// What we protect with.
    pub local: MasterKey,
    /// What the peer protects with.
    pub remote: MasterKey,
}
