//! Sessions that have ended before their tokens do.

use std::collections::{BTreeSet, HashMap};

use super::SessionKey;

/// Sessions remembered at a time.
const MOST: usize = 65_536;

/// Ended sessions, each until the last minute of its tokens.
#[derive(Debug, Default)]
pub(super) struct Revoked {
    until: HashMap<SessionKey, u32>,
    by_minute: BTreeSet<(u32, SessionKey)>,
}

impl Revoked {
    /// Refuses the session's tokens up to and including the minute `until`. When too many are remembered, the one that would
    /// be forgotten first is.
    pub(super) fn add(&mut self, session: SessionKey, until: u32) {
        if let Some(earlier) = self.until.insert(session, until) {
            self.by_minute.remove(&(earlier, session));
        }
        self.by_minute.insert((until, session));
        if self.until.len() > MOST {
            self.forget_first();
        }
    }

    /// Forgets those whose tokens are over by themselves.
    pub(super) fn expire(&mut self, now_minute: u32) {
        while self.by_minute.first().is_some_and(|(until, _)| *until < now_minute) {
            self.forget_first();
        }
    }

    pub(super) fn contains(&self, session: SessionKey) -> bool {
        self.until.contains_key(&session)
    }

    pub(super) fn len(&self) -> usize {
        self.until.len()
    }

    fn forget_first(&mut self) {
        if let Some((_, session)) = self.by_minute.pop_first() {
            self.until.remove(&session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(transport: u64) -> SessionKey {
        SessionKey { core: 1, transport }
    }

    #[test]
    fn a_session_is_refused_until_its_tokens_are_over() {
        let mut revoked = Revoked::default();
        revoked.add(session(1), 100);
        revoked.add(session(2), 90);
        revoked.add(session(2), 110);
        revoked.expire(100);
        assert!(revoked.contains(session(1)) && revoked.contains(session(2)));
        revoked.expire(101);
        assert!(!revoked.contains(session(1)) && revoked.contains(session(2)));
        revoked.expire(111);
        assert_eq!((revoked.len(), revoked.by_minute.len()), (0, 0));
    }

    #[test]
    fn there_is_a_bound_and_the_shortest_goes_first() {
        let mut revoked = Revoked::default();
        for transport in 0..=MOST as u64 {
            revoked.add(session(transport), 100 + transport as u32);
        }
        assert_eq!((revoked.len(), revoked.by_minute.len()), (MOST, MOST));
        assert!(!revoked.contains(session(0)) && revoked.contains(session(1)));
    }
}
