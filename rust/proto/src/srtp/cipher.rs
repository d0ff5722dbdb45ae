//! Session keys and the four transforms: AES-GCM (RFC 7714) and AES-CM with HMAC-SHA1 (RFC 3711), for RTP and RTCP.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{constant_time, hmac};

use super::SrtpError;
use super::keys::{MasterKey, Suite};

const GCM_TAG: usize = 16;
/// RFC 3711 §5.2: HMAC-SHA1 keys have 160 bits.
const AUTH_KEY: usize = 20;
/// Header of the first RTCP packet, which SRTCP leaves in the clear (RFC 3711 §3.4).
pub(super) const RTCP_CLEAR: usize = 8;
/// E flag and SRTCP index.
pub(super) const RTCP_INDEX: usize = 4;
/// RFC 3711 §3.4: the packet is encrypted.
const E_FLAG: u32 = 0x8000_0000;

/// Labels of RFC 3711 §4.3.2: encryption, authentication, salt.
const RTP_LABELS: [u8; 3] = [0, 1, 2];
const RTCP_LABELS: [u8; 3] = [3, 4, 5];

/// Session keys of one direction.
pub(super) struct Cipher {
    suite: Suite,
    rtp: Transform,
    rtcp: Transform,
}

enum Transform {
    Gcm {
        key: LessSafeKey,
        salt: [u8; 12],
    },
    /// Boxed: its key schedules are large, and most transports have none.
    Cm(Box<CmKeys>),
}

struct CmKeys {
    key: EncryptingKey,
    auth: hmac::Key,
    salt: [u8; 14],
    tag: usize,
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cipher").field("suite", &self.suite).finish_non_exhaustive()
    }
}

impl Cipher {
    pub(super) fn new(master: &MasterKey) -> Cipher {
        let suite = master.suite();
        Cipher {
            suite,
            rtp: Transform::new(master, RTP_LABELS, suite.rtp_tag_len()),
            rtcp: Transform::new(master, RTCP_LABELS, suite.rtcp_tag_len()),
        }
    }

    pub(super) fn suite(&self) -> Suite {
        self.suite
    }

    /// Appends header, encrypted payload and tag: one pass from the shared plaintext into the send buffer.
    pub(super) fn seal_rtp(
        &self,
        ssrc: u32,
        index: u64,
        header: &[u8],
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), SrtpError> {
        let start = out.len();
        out.extend_from_slice(header);
        out.extend_from_slice(payload);
        let body = start + header.len();
        match &self.rtp {
            Transform::Gcm { key, salt } => {
                let (aad, text) = out[start..].split_at_mut(header.len());
                let tag = key
                    .seal_in_place_separate_tag(rtp_nonce(salt, ssrc, index), Aad::from(&*aad), text)
                    .map_err(|_| SrtpError::Malformed)?;
                out.extend_from_slice(tag.as_ref());
            }
            Transform::Cm(keys) => {
                let CmKeys { key, auth, salt, tag } = &**keys;
                apply_cm(key, cm_iv(salt, ssrc, index), &mut out[body..])?;
                // RFC 3711 §4.2: the rollover counter is authenticated behind the packet and not sent.
                out.extend_from_slice(&rollover(index));
                let mac = hmac::sign(auth, &out[start..]);
                out.truncate(out.len() - 4);
                out.extend_from_slice(&mac.as_ref()[..*tag]);
            }
        }
        Ok(())
    }

    /// Decrypts in place; returns the length of header and plaintext.
    pub(super) fn open_rtp(
        &self,
        ssrc: u32,
        index: u64,
        packet: &mut [u8],
        header_len: usize,
    ) -> Result<usize, SrtpError> {
        match &self.rtp {
            Transform::Gcm { key, salt } => {
                if packet.len() < header_len + GCM_TAG {
                    return Err(SrtpError::Malformed);
                }
                let (aad, text) = packet.split_at_mut(header_len);
                let plain = key
                    .open_in_place(rtp_nonce(salt, ssrc, index), Aad::from(&*aad), text)
                    .map_err(|_| SrtpError::Authentication)?;
                Ok(header_len + plain.len())
            }
            Transform::Cm(keys) => {
                let CmKeys { key, auth, salt, tag } = &**keys;
                let end =
                    packet.len().checked_sub(*tag).filter(|&end| end >= header_len).ok_or(SrtpError::Malformed)?;
                let mut given = [0u8; AUTH_KEY];
                given[..*tag].copy_from_slice(&packet[end..]);
                // The tag's place (4 bytes or more) takes the rollover counter, so that the HMAC runs over one piece.
                packet[end..end + 4].copy_from_slice(&rollover(index));
                let mac = hmac::sign(auth, &packet[..end + 4]);
                constant_time::verify_slices_are_equal(&mac.as_ref()[..*tag], &given[..*tag])
                    .map_err(|_| SrtpError::Authentication)?;
                apply_cm(key, cm_iv(salt, ssrc, index), &mut packet[header_len..end])?;
                Ok(end)
            }
        }
    }

    /// Appends a protected compound RTCP packet.
    pub(super) fn seal_rtcp(&self, ssrc: u32, index: u32, packet: &[u8], out: &mut Vec<u8>) -> Result<(), SrtpError> {
        let start = out.len();
        out.extend_from_slice(packet);
        let trailer = (E_FLAG | index).to_be_bytes();
        match &self.rtcp {
            Transform::Gcm { key, salt } => {
                let aad = rtcp_aad(packet, trailer)?;
                let tag = key
                    .seal_in_place_separate_tag(
                        rtcp_nonce(salt, ssrc, index),
                        Aad::from(aad),
                        &mut out[start + RTCP_CLEAR..],
                    )
                    .map_err(|_| SrtpError::Malformed)?;
                out.extend_from_slice(tag.as_ref());
                out.extend_from_slice(&trailer);
            }
            Transform::Cm(keys) => {
                let CmKeys { key, auth, salt, tag } = &**keys;
                apply_cm(key, cm_iv(salt, ssrc, u64::from(index)), &mut out[start + RTCP_CLEAR..])?;
                out.extend_from_slice(&trailer);
                let mac = hmac::sign(auth, &out[start..]);
                out.extend_from_slice(&mac.as_ref()[..*tag]);
            }
        }
        Ok(())
    }

    /// The index that a protected RTCP packet carries, unverified.
    pub(super) fn rtcp_index(&self, packet: &[u8]) -> Result<u32, SrtpError> {
        // RFC 3711 §3.4: index, then tag; RFC 7714 §9.2: tag, then index.
        let behind = if self.suite.is_aead() { 0 } else { self.suite.rtcp_tag_len() };
        if packet.len() < RTCP_CLEAR + RTCP_INDEX + self.suite.rtcp_tag_len() {
            return Err(SrtpError::Malformed);
        }
        let at = packet.len() - behind - RTCP_INDEX;
        let word = packet.get(at..).and_then(|rest| rest.first_chunk::<4>()).ok_or(SrtpError::Malformed)?;
        let word = u32::from_be_bytes(*word);
        // Clear SRTCP needs to be negotiated (RFC 4568 §6.3.2) and we never do.
        if word & E_FLAG == 0 {
            return Err(SrtpError::Malformed);
        }
        Ok(word & !E_FLAG)
    }

    /// Decrypts in place; returns the length of the plain compound packet. `index` is what `rtcp_index` said.
    pub(super) fn open_rtcp(&self, ssrc: u32, index: u32, packet: &mut [u8]) -> Result<usize, SrtpError> {
        match &self.rtcp {
            Transform::Gcm { key, salt } => {
                let end = packet.len() - RTCP_INDEX;
                let aad = rtcp_aad(packet, (E_FLAG | index).to_be_bytes())?;
                let plain = key
                    .open_in_place(rtcp_nonce(salt, ssrc, index), Aad::from(aad), &mut packet[RTCP_CLEAR..end])
                    .map_err(|_| SrtpError::Authentication)?;
                Ok(RTCP_CLEAR + plain.len())
            }
            Transform::Cm(keys) => {
                let CmKeys { key, auth, salt, tag } = &**keys;
                let end = packet.len() - *tag;
                let mac = hmac::sign(auth, &packet[..end]);
                constant_time::verify_slices_are_equal(&mac.as_ref()[..*tag], &packet[end..])
                    .map_err(|_| SrtpError::Authentication)?;
                let end = end - RTCP_INDEX;
                apply_cm(key, cm_iv(salt, ssrc, u64::from(index)), &mut packet[RTCP_CLEAR..end])?;
                Ok(end)
            }
        }
    }
}

impl Transform {
    /// # Panics
    /// Never: the suite fixes all lengths.
    fn new(master: &MasterKey, [encryption, authentication, salting]: [u8; 3], tag: usize) -> Transform {
        let suite = master.suite();
        let mut key = [0u8; 32];
        let key = &mut key[..suite.key_len()];
        master.derive(encryption, key);
        if suite.is_aead() {
            let mut salt = [0u8; 12];
            master.derive(salting, &mut salt);
            let algorithm = if suite == Suite::AeadAes256Gcm { &AES_256_GCM } else { &AES_128_GCM };
            let key = UnboundKey::new(algorithm, key).expect("the suite fixes the key length");
            Transform::Gcm { key: LessSafeKey::new(key), salt }
        } else {
            let (mut salt, mut auth) = ([0u8; 14], [0u8; AUTH_KEY]);
            master.derive(salting, &mut salt);
            master.derive(authentication, &mut auth);
            let key = UnboundCipherKey::new(&AES_128, key)
                .and_then(EncryptingKey::ctr)
                .expect("the suite fixes the key length");
            let auth = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &auth);
            Transform::Cm(Box::new(CmKeys { key, auth, salt, tag }))
        }
    }
}

/// RFC 7714 §8.1: two zero bytes, SSRC, rollover counter, sequence number; XORed with the salt.
fn rtp_nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> Nonce {
    let mut nonce = *salt;
    xor(&mut nonce[2..6], &ssrc.to_be_bytes());
    xor(&mut nonce[6..12], &index.to_be_bytes()[2..]);
    Nonce::assume_unique_for_key(nonce)
}

/// RFC 7714 §9.1: two zero bytes, SSRC, two zero bytes, index; XORed with the salt.
fn rtcp_nonce(salt: &[u8; 12], ssrc: u32, index: u32) -> Nonce {
    let mut nonce = *salt;
    xor(&mut nonce[2..6], &ssrc.to_be_bytes());
    xor(&mut nonce[8..12], &index.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

/// RFC 7714 §9.2: the clear header and the E flag with the index.
fn rtcp_aad(packet: &[u8], trailer: [u8; 4]) -> Result<[u8; RTCP_CLEAR + RTCP_INDEX], SrtpError> {
    let mut aad = [0u8; RTCP_CLEAR + RTCP_INDEX];
    aad[..RTCP_CLEAR].copy_from_slice(packet.get(..RTCP_CLEAR).ok_or(SrtpError::Malformed)?);
    aad[RTCP_CLEAR..].copy_from_slice(&trailer);
    Ok(aad)
}

/// RFC 3711 §4.1.1: salt * 2^16 XOR SSRC * 2^64 XOR index * 2^16.
fn cm_iv(salt: &[u8; 14], ssrc: u32, index: u64) -> [u8; 16] {
    let mut iv = [0u8; 16];
    iv[..14].copy_from_slice(salt);
    xor(&mut iv[4..8], &ssrc.to_be_bytes());
    xor(&mut iv[8..14], &index.to_be_bytes()[2..]);
    iv
}

fn apply_cm(key: &EncryptingKey, iv: [u8; 16], text: &mut [u8]) -> Result<(), SrtpError> {
    key.less_safe_encrypt(text, EncryptionContext::Iv128(FixedLength::from(iv)))
        .map(drop)
        .map_err(|_| SrtpError::Malformed)
}

fn rollover(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

fn xor(target: &mut [u8], value: &[u8]) {
    for (byte, mask) in target.iter_mut().zip(value) {
        *byte ^= mask;
    }
}

#[cfg(test)]
impl Cipher {
    /// A GCM cipher of session keys as RFC 7714's vectors give them.
    pub(super) fn gcm_with_session_keys(key: &[u8], salt: &[u8]) -> Cipher {
        let (algorithm, suite) =
            if key.len() == 32 { (&AES_256_GCM, Suite::AeadAes256Gcm) } else { (&AES_128_GCM, Suite::AeadAes128Gcm) };
        let transform = || Transform::Gcm {
            key: LessSafeKey::new(UnboundKey::new(algorithm, key).unwrap()),
            salt: salt.try_into().unwrap(),
        };
        Cipher { suite, rtp: transform(), rtcp: transform() }
    }
}

/// The AES-CM key stream for SSRC 0 and index 0.
#[cfg(test)]
pub(super) fn key_stream_for_test(key: &[u8], salt: &[u8], len: usize) -> Vec<u8> {
    let key = EncryptingKey::ctr(UnboundCipherKey::new(&AES_128, key).unwrap()).unwrap();
    let mut stream = vec![0; len];
    apply_cm(&key, cm_iv(salt.try_into().unwrap(), 0, 0), &mut stream).unwrap();
    stream
}
