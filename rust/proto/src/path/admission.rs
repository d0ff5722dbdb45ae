//! Who may have a path: whoever shows a token of a Core in a STUN check. Nothing is remembered about anybody else.

use std::time::Duration;

use super::SessionKey;
use super::drops::EdgeDrop;
use super::revoked::Revoked;
use crate::ice::{LocalUfrag, UfragError, UfragKey, UfragKeys, minute_of};
use crate::stun::local_ufrag;
use crate::time::Time;

/// The keys of all Cores, and the sessions of theirs that have ended.
#[derive(Debug)]
pub struct Admission {
    /// Time since the Unix epoch at `Time::ZERO`.
    unix_epoch: Duration,
    keys: UfragKeys,
    revoked: Revoked,
}

impl Admission {
    /// Lets nobody in before it has keys.
    pub fn new(unix_epoch: Duration) -> Admission {
        Admission { unix_epoch, keys: UfragKeys::default(), revoked: Revoked::default() }
    }

    /// Takes a key of a core; see [`UfragKeys::set`].
    pub fn set_key(&mut self, key: UfragKey) -> bool {
        self.keys.set(key)
    }

    /// Forgets one.
    pub fn remove_key(&mut self, core: u16, id: u8) {
        self.keys.remove(core, id);
    }

    /// A session has ended; its tokens, which end with the minute `until`, are refused.
    pub fn revoke(&mut self, session: SessionKey, until: u32, now: Time) {
        self.revoked.expire(self.minute(now));
        self.revoked.add(session, until);
    }

    /// Ended sessions that are still remembered.
    pub fn revoked(&self) -> usize {
        self.revoked.len()
    }

    /// What the token of a datagram says, if it is a STUN Binding request whose user name begins with a valid one.
    pub fn check(&self, datagram: &[u8], now: Time) -> Result<LocalUfrag, EdgeDrop> {
        let ufrag = local_ufrag(datagram).ok_or(EdgeDrop::NoPath)?;
        let token = self.keys.verify(ufrag, self.minute(now)).map_err(|error| match error {
            UfragError::Foreign => EdgeDrop::ForeignToken,
            UfragError::UnknownKey => EdgeDrop::UnknownKey,
            UfragError::Forged => EdgeDrop::ForgedToken,
            UfragError::Expired => EdgeDrop::ExpiredToken,
        })?;
        if self.revoked.contains(SessionKey::of(&token)) {
            return Err(EdgeDrop::RevokedToken);
        }
        Ok(token)
    }

    fn minute(&self, now: Time) -> u32 {
        minute_of(self.unix_epoch + now.since(Time::ZERO))
    }
}
