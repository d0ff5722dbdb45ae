//! The signing keys of several cores, as an Edge holds them: two for each core, so that one can follow the other.

use super::ufrag::{LocalUfrag, UfragError, UfragKey, read};

/// Keys of one core that count at a time: the one in use and the one before or after it.
const KEYS_PER_CORE: usize = 2;
/// Cores whose keys are held.
const MOST_CORES: usize = 64;

/// Verifies the ufrags of every core whose key it was given.
#[derive(Clone, Debug, Default)]
pub struct UfragKeys {
    /// Oldest first; few enough to be looked through.
    keys: Vec<UfragKey>,
}

impl UfragKeys {
    /// Takes a key, in place of one with the same name; a third one of a core takes the place of its oldest. False when there
    /// are keys of too many cores.
    pub fn set(&mut self, key: UfragKey) -> bool {
        let (core, id) = key.name();
        self.keys.retain(|known| known.name() != (core, id));
        let held = self.keys.iter().filter(|known| known.name().0 == core).count();
        if held >= KEYS_PER_CORE
            && let Some(oldest) = self.keys.iter().position(|known| known.name().0 == core)
        {
            self.keys.remove(oldest);
        }
        if self.keys.len() >= KEYS_PER_CORE * MOST_CORES {
            return false;
        }
        self.keys.push(key);
        true
    }

    /// Forgets a key; what it signed is refused from now on.
    pub fn remove(&mut self, core: u16, id: u8) {
        self.keys.retain(|known| known.name() != (core, id));
    }

    /// Checks a ufrag from the network against the key that it names. No allocation, one HMAC at the most.
    pub fn verify(&self, ufrag: &[u8], now_minute: u32) -> Result<LocalUfrag, UfragError> {
        let (fields, raw) = read(ufrag).ok_or(UfragError::Foreign)?;
        let named = (fields.core, fields.key);
        let key = self.keys.iter().find(|key| key.name() == named).ok_or(UfragError::UnknownKey)?;
        key.verify_read(&fields, &raw, now_minute).map(|()| fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(core: u16, id: u8) -> UfragKey {
        UfragKey::new(core, id, &[id; 32])
    }

    #[test]
    fn each_core_has_two_keys_at_a_time() {
        let mut keys = UfragKeys::default();
        let made: Vec<String> = (0..3).map(|id| key(1, id).make(42, 0, 100)).collect();
        let others = key(2, 0).make(42, 0, 100);
        keys.set(key(2, 0));
        keys.set(key(1, 0));
        keys.set(key(1, 1));
        assert!(keys.verify(made[0].as_bytes(), 1).is_ok() && keys.verify(made[1].as_bytes(), 1).is_ok());
        keys.set(key(1, 2));
        assert_eq!(keys.verify(made[0].as_bytes(), 1), Err(UfragError::UnknownKey));
        assert!(keys.verify(made[1].as_bytes(), 1).is_ok() && keys.verify(made[2].as_bytes(), 1).is_ok());
        assert_eq!(keys.verify(others.as_bytes(), 1).map(|fields| fields.core), Ok(2));
        keys.remove(1, 2);
        assert_eq!(keys.verify(made[2].as_bytes(), 1), Err(UfragError::UnknownKey));
    }

    #[test]
    fn a_key_that_comes_again_under_its_name_replaces_itself_alone() {
        let mut keys = UfragKeys::default();
        for id in [0, 1, 1, 1] {
            assert!(keys.set(key(1, id)));
        }
        assert!(keys.verify(key(1, 0).make(42, 0, 100).as_bytes(), 1).is_ok());
    }

    #[test]
    fn one_core_cannot_sign_for_another() {
        let mut keys = UfragKeys::default();
        keys.set(UfragKey::new(1, 0, &[1; 32]));
        keys.set(UfragKey::new(2, 0, &[2; 32]));
        let forged = UfragKey::new(2, 0, &[1; 32]).make(42, 0, 100);
        assert_eq!(keys.verify(forged.as_bytes(), 1), Err(UfragError::Forged));
    }

    #[test]
    fn keys_of_too_many_cores_are_refused() {
        let mut keys = UfragKeys::default();
        let taken = (0..1000).filter(|&core| keys.set(key(core, 0)) && keys.set(key(core, 1))).count();
        assert_eq!(taken, MOST_CORES);
    }
}
