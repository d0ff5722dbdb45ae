//! Picture ids without wraps, of 7 or 15 bits (RFC 7741 §4.2, RFC 9628 §4.2).

/// Ids count from here, so that those before the first have a place.
const FIRST_CYCLE: u64 = 1 << 20;

/// Unwraps the ids of one source.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PictureIds {
    newest: u64,
}

impl PictureIds {
    /// Begins with the first id of a source; returns it without wraps, and by how much it is shifted to follow
    /// `newest_out`, the last one that went out.
    pub(super) fn begin_behind(&mut self, id: u16, newest_out: Option<u64>) -> (u64, i64) {
        self.newest = FIRST_CYCLE + u64::from(id);
        let out = newest_out.map_or(self.newest, |newest| newest + 1);
        (self.newest, (out as i64).wrapping_sub(self.newest as i64))
    }

    /// The last id that went out when the last `pictures` did not go out after all.
    pub(super) fn take_back(newest_out: Option<u64>, pictures: u64) -> Option<u64> {
        newest_out.map(|newest| newest.saturating_sub(pictures))
    }

    /// The newest id without wraps.
    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    /// An id without wraps, by its distance to the newest.
    pub(super) fn unwrap(&self, id: u16, long: bool) -> u64 {
        let mask = if long { 0x7fff } else { 0x7f };
        let forward = u64::from(id).wrapping_sub(self.newest) & mask;
        if forward <= mask / 2 { self.newest + forward } else { self.newest - (mask + 1 - forward) }
    }

    /// Takes note of an id without wraps.
    pub(super) fn saw(&mut self, id: u64) {
        self.newest = self.newest.max(id);
    }
}
