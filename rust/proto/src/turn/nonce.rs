//! Nonces without state: each says when it ends and proves for which address it was made (RFC 8489 §9.2).

use std::net::SocketAddr;
use std::time::Duration;

use aws_lc_rs::{constant_time, hmac};

use super::address::{pack_ip, seconds};
use super::drops::TurnDrop;
use crate::base64;
use crate::time::Time;

/// How long a nonce is taken; RFC 8656 §5 asks for an hour at most.
const LIFETIME: Duration = Duration::from_secs(20 * 60);
/// RFC 8489 §9.2: the nonce cookie, and the security features of this server: password algorithms (1) and user
/// anonymity (2), in the order in which Appendix B.1 has them.
const COOKIE: &[u8; 13] = b"obMatJos2AAAD";
const EXPIRY: usize = 4;
const TAG: usize = 8;
/// Length of a nonce in characters.
pub(super) const NONCE_LEN: usize = COOKIE.len() + (EXPIRY + TAG) / 3 * 4;

/// Makes and checks nonces.
pub(super) struct Nonces {
    key: hmac::Key,
}

impl Nonces {
    /// With a secret of this server alone.
    pub(super) fn new(secret: &[u8; 32]) -> Nonces {
        Nonces { key: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }

    /// A nonce for one address.
    pub(super) fn make(&self, remote: SocketAddr, now: Time) -> [u8; NONCE_LEN] {
        let expiry = seconds(now + LIFETIME).to_be_bytes();
        let mut raw = [0u8; EXPIRY + TAG];
        raw[..EXPIRY].copy_from_slice(&expiry);
        raw[EXPIRY..].copy_from_slice(&self.tag(expiry, remote));
        let mut nonce = [0u8; NONCE_LEN];
        nonce[..COOKIE.len()].copy_from_slice(COOKIE);
        nonce[COOKIE.len()..].copy_from_slice(base64::encode(&raw).as_bytes());
        nonce
    }

    /// Whether a nonce was made for this address and its time is not over.
    pub(super) fn check(&self, nonce: &[u8], remote: SocketAddr, now: Time) -> Result<(), TurnDrop> {
        let text = nonce.strip_prefix(COOKIE).ok_or(TurnDrop::ForeignNonce)?;
        let mut raw = [0u8; EXPIRY + TAG];
        base64::decode(text, &mut raw).ok_or(TurnDrop::ForeignNonce)?;
        let (expiry, tag) = raw.split_first_chunk::<EXPIRY>().ok_or(TurnDrop::ForeignNonce)?;
        if constant_time::verify_slices_are_equal(&self.tag(*expiry, remote), tag).is_err() {
            return Err(TurnDrop::ForeignNonce);
        }
        if u32::from_be_bytes(*expiry) <= seconds(now) { Err(TurnDrop::StaleNonce) } else { Ok(()) }
    }

    fn tag(&self, expiry: [u8; EXPIRY], remote: SocketAddr) -> [u8; TAG] {
        let mut covered = [0u8; EXPIRY + 18];
        covered[..EXPIRY].copy_from_slice(&expiry);
        covered[EXPIRY..EXPIRY + 16].copy_from_slice(&pack_ip(remote.ip()));
        covered[EXPIRY + 16..].copy_from_slice(&remote.port().to_be_bytes());
        let mut tag = [0u8; TAG];
        tag.copy_from_slice(&hmac::sign(&self.key, &covered).as_ref()[..TAG]);
        tag
    }
}

impl std::fmt::Debug for Nonces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nonces").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_good_for_its_address_and_its_time() {
        let (nonces, remote) = (Nonces::new(&[1; 32]), "192.0.2.1:5000".parse().unwrap());
        let nonce = nonces.make(remote, Time::ZERO);
        assert_eq!(nonces.check(&nonce, remote, Time::from_millis(1_199_000)), Ok(()));
        assert_eq!(nonces.check(&nonce, remote, Time::from_millis(1_200_000)), Err(TurnDrop::StaleNonce));
        let other = "192.0.2.1:5001".parse().unwrap();
        assert_eq!(nonces.check(&nonce, other, Time::ZERO), Err(TurnDrop::ForeignNonce));
        assert_eq!(Nonces::new(&[2; 32]).check(&nonce, remote, Time::ZERO), Err(TurnDrop::ForeignNonce));
        for at in 0..nonce.len() {
            let mut changed = nonce;
            changed[at] = if changed[at] == b'x' { b'y' } else { b'x' };
            assert_eq!(nonces.check(&changed, remote, Time::ZERO), Err(TurnDrop::ForeignNonce), "character {at}");
        }
    }
}
