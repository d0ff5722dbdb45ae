//! The keys by which ufrags of this process are known, for all threads that ask: one that is replaced counts on beside the
//! next one. It is asked once for each check of a source that is not known, never for media.

use std::sync::{Arc, PoisonError, RwLock};

use mediaserver_proto::ice::{LocalUfrag, UfragError, UfragKey, UfragKeys};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct KeyRing(Arc<RwLock<UfragKeys>>);

impl KeyRing {
    /// With one key.
    pub fn new(key: UfragKey) -> KeyRing {
        let ring = KeyRing::default();
        ring.add(key);
        ring
    }

    /// Takes another key; of those before it only the last one stays.
    pub fn add(&self, key: UfragKey) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).set(key);
    }

    /// Checks a ufrag from the network and says whom it names.
    pub fn verify(&self, ufrag: &[u8], now_minute: u32) -> Result<LocalUfrag, UfragError> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).verify(ufrag, now_minute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_keys_count_for_whoever_holds_the_ring_and_a_third_ends_the_first() {
        let key = |id| UfragKey::new(1, id, &[id; 32]);
        let ring = KeyRing::new(key(1));
        let carrier = ring.clone();
        ring.add(key(2));
        let token = |id| key(id).make(7, 0, 100);
        assert!([1, 2].iter().all(|&id| carrier.verify(token(id).as_bytes(), 50).is_ok()));
        ring.add(key(3));
        assert_eq!(carrier.verify(token(1).as_bytes(), 50), Err(UfragError::UnknownKey));
        assert!([2, 3].iter().all(|&id| carrier.verify(token(id).as_bytes(), 50).is_ok()));
    }
}
