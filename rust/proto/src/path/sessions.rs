//! Which paths each session has.

use std::collections::HashMap;

use super::SessionKey;

/// Paths of one session that have not answered a challenge.
pub(super) const MOST_UNPROVEN: usize = 4;
/// Paths of one session that have.
pub(super) const MOST_PROVEN: usize = 8;
/// One more for a moment, while a path that was just proven pushes out another.
const MOST: usize = MOST_UNPROVEN + MOST_PROVEN + 1;

/// Indices of the paths of one session.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Members {
    indices: [u16; MOST],
    count: usize,
}

impl Members {
    pub(super) fn as_slice(&self) -> &[u16] {
        &self.indices[..self.count]
    }
}

/// All sessions that have a path.
#[derive(Debug, Default)]
pub(super) struct Sessions(HashMap<SessionKey, Members>);

impl Sessions {
    /// The paths of a session; a copy, so that they can be closed one by one.
    pub(super) fn members(&self, session: SessionKey) -> Members {
        self.0.get(&session).copied().unwrap_or_default()
    }

    /// Adds a path; false when the session has no room, which its bounds prevent.
    pub(super) fn add(&mut self, session: SessionKey, index: u16) -> bool {
        let members = self.0.entry(session).or_default();
        let Some(place) = members.indices.get_mut(members.count) else { return false };
        *place = index;
        members.count += 1;
        true
    }

    pub(super) fn remove(&mut self, session: SessionKey, index: u16) {
        let Some(members) = self.0.get_mut(&session) else { return };
        if let Some(at) = members.as_slice().iter().position(|&member| member == index) {
            members.count -= 1;
            members.indices[at] = members.indices[members.count];
        }
        if members.count == 0 {
            self.0.remove(&session);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
