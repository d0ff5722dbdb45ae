//! The structured local ufrag: says by itself, and proves by HMAC, which core, shard and session it belongs to.
//!
//! Layout before base64 (27 bytes, 36 ICE characters): core u16, key u8, generation u8, shard u16, session u48,
//! expiry u24 (minutes of the Unix epoch), HMAC-SHA256 of these 15 bytes cut to 96 bits. Any socket of any process that
//! knows the key can route a first packet without state, and a forged ufrag is refused before any lookup.

use aws_lc_rs::{constant_time, hmac};
use std::time::Duration;
use thiserror::Error;

use super::credentials::{decode_ice_chars, encode_ice_chars};

const FIELDS: usize = 15;
const TAG: usize = 12;
const RAW: usize = FIELDS + TAG;
/// Length of a local ufrag in characters.
pub const UFRAG_LEN: usize = RAW * 4 / 3;
const SESSION_BITS: u64 = 48;
/// 2020-01-01T00:00:00Z.
const UNIX_2020_S: u64 = 1_577_836_800;

/// How long a ufrag may bind new tuples, in minutes: a day, far longer than any call's next ICE restart.
pub const UFRAG_LIFE_MINUTES: u32 = 24 * 60;

/// Minutes since 2020, which is what a ufrag's 24 bits of expiry count; `unix` is the time since 1970.
pub fn minute_of(unix: Duration) -> u32 {
    u32::try_from(unix.as_secs().saturating_sub(UNIX_2020_S) / 60).unwrap_or(u32::MAX)
}

/// What a local ufrag says about the transport it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LocalUfrag {
    /// The core that made it.
    pub core: u16,
    /// Which signing key was used, so that keys can be replaced while old ufrags live.
    pub key: u8,
    /// Counts ICE restarts of the session.
    pub generation: u8,
    /// Shard that owns the transport.
    pub shard: u16,
    /// Low 48 bits of the transport id.
    pub session: u64,
    /// Last minute in which a new tuple may be bound by it; 24 bits, so counted from 2020 rather than from 1970.
    pub expires_minute: u32,
}

/// The bytes of a ufrag.
type Raw = [u8; RAW];

impl LocalUfrag {
    /// What a ufrag says, which nothing proves yet; `None` when it is not of our shape. O(1), no allocation.
    pub fn read_unproven(ufrag: &[u8]) -> Option<LocalUfrag> {
        read(ufrag).map(|(fields, _)| fields)
    }

    /// The transport id of the engine: shard in bits 48..63, session below.
    pub const fn transport_id(&self) -> u64 {
        ((self.shard as u64) << SESSION_BITS) | (self.session & ((1 << SESSION_BITS) - 1))
    }
}

/// Why a ufrag was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UfragError {
    /// Not of our shape.
    #[error("the ufrag is not one of this server's")]
    Foreign,
    /// Made by a key we do not hold.
    #[error("the ufrag was signed with an unknown key")]
    UnknownKey,
    /// The HMAC is wrong.
    #[error("the ufrag's signature is wrong")]
    Forged,
    /// Valid once, but its time is over.
    #[error("the ufrag has expired")]
    Expired,
}

/// A key that signs local ufrags.
#[derive(Clone)]
pub struct UfragKey {
    core: u16,
    id: u8,
    key: hmac::Key,
}

impl std::fmt::Debug for UfragKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UfragKey").field("core", &self.core).field("id", &self.id).finish_non_exhaustive()
    }
}

impl UfragKey {
    /// A key of 32 random bytes, named by core and key id.
    pub fn new(core: u16, id: u8, secret: &[u8; 32]) -> UfragKey {
        UfragKey { core, id, key: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }

    /// Makes the ufrag of a transport. `transport` is the engine's id (shard in bits 48..63).
    pub fn make(&self, transport: u64, generation: u8, expires_minute: u32) -> String {
        let mut raw = [0u8; RAW];
        raw[0..2].copy_from_slice(&self.core.to_be_bytes());
        raw[2] = self.id;
        raw[3] = generation;
        // Shard and session are the id as it stands: 16 bits, then 48.
        raw[4..12].copy_from_slice(&transport.to_be_bytes());
        raw[12..15].copy_from_slice(&expires_minute.to_be_bytes()[1..]);
        let tag = hmac::sign(&self.key, &raw[..FIELDS]);
        raw[FIELDS..].copy_from_slice(&tag.as_ref()[..TAG]);
        encode_ice_chars(&raw)
    }

    /// Checks a ufrag from the network and says whom it names. O(1), no allocation.
    pub fn verify(&self, ufrag: &[u8], now_minute: u32) -> Result<LocalUfrag, UfragError> {
        let (fields, raw) = read(ufrag).ok_or(UfragError::Foreign)?;
        self.verify_read(&fields, &raw, now_minute).map(|()| fields)
    }

    /// The same for one that was read before.
    pub(super) fn verify_read(&self, fields: &LocalUfrag, raw: &Raw, now_minute: u32) -> Result<(), UfragError> {
        if fields.core != self.core || fields.key != self.id {
            return Err(UfragError::UnknownKey);
        }
        let tag = hmac::sign(&self.key, &raw[..FIELDS]);
        constant_time::verify_slices_are_equal(&tag.as_ref()[..TAG], &raw[FIELDS..]).map_err(|_| UfragError::Forged)?;
        if now_minute > fields.expires_minute {
            return Err(UfragError::Expired);
        }
        Ok(())
    }

    /// The core and the key id that its ufrags name.
    pub(super) fn name(&self) -> (u16, u8) {
        (self.core, self.id)
    }
}

/// The fields of a ufrag of our shape, and its bytes.
pub(super) fn read(ufrag: &[u8]) -> Option<(LocalUfrag, Raw)> {
    let mut raw = [0u8; RAW];
    decode_ice_chars(ufrag, &mut raw)?;
    let id = u64::from_be_bytes([raw[4], raw[5], raw[6], raw[7], raw[8], raw[9], raw[10], raw[11]]);
    let fields = LocalUfrag {
        core: u16::from_be_bytes([raw[0], raw[1]]),
        key: raw[2],
        generation: raw[3],
        shard: (id >> SESSION_BITS) as u16,
        session: id & ((1 << SESSION_BITS) - 1),
        expires_minute: u32::from_be_bytes([0, raw[12], raw[13], raw[14]]),
    };
    Some((fields, raw))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> UfragKey {
        UfragKey::new(0x1234, 7, &[9; 32])
    }

    #[test]
    fn a_made_ufrag_names_its_transport() {
        let id = (5u64 << 48) | 0x0000_1234_5678_9abc;
        let ufrag = key().make(id, 3, 29_000_000 & 0xff_ffff);
        let fields = key().verify(ufrag.as_bytes(), 1).unwrap();
        assert_eq!((fields.shard, fields.session, fields.generation), (5, 0x1234_5678_9abc, 3));
        assert_eq!(fields.transport_id(), id);
    }

    #[test]
    fn only_ice_characters_are_used() {
        let ufrag = key().make(u64::MAX, 255, 0xff_ffff);
        assert_eq!(ufrag.len(), UFRAG_LEN);
        assert!(ufrag.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'+' || c == b'/'));
    }

    #[test]
    fn every_changed_character_is_refused() {
        let ufrag = key().make(42, 0, 100).into_bytes();
        for i in 0..ufrag.len() {
            let mut forged = ufrag.clone();
            forged[i] = if forged[i] == b'A' { b'B' } else { b'A' };
            assert!(key().verify(&forged, 1).is_err(), "character {i}");
        }
    }

    #[test]
    fn another_key_refuses_it_and_time_ends_it() {
        let ufrag = key().make(42, 0, 100);
        let other = UfragKey::new(0x1234, 7, &[8; 32]);
        assert_eq!(other.verify(ufrag.as_bytes(), 1), Err(UfragError::Forged));
        let renamed = UfragKey::new(0x1234, 8, &[9; 32]);
        assert_eq!(renamed.verify(ufrag.as_bytes(), 1), Err(UfragError::UnknownKey));
        assert!(key().verify(ufrag.as_bytes(), 100).is_ok());
        assert_eq!(key().verify(ufrag.as_bytes(), 101), Err(UfragError::Expired));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(key().verify(&bytes, 0).is_err());
        }
    }
}
