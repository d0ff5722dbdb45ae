//! Named reasons why a record did not leave the pacer.

/// Why a record was dropped; every variant is a counter `pacer.<name>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum PacerDrop {
    /// More records wait than may.
    QueueFull,
    /// More bytes wait than may.
    TooManyBytes,
    /// It has waited longer than it is of use.
    Stale,
}

impl PacerDrop {
    /// All reasons in counter order.
    pub const ALL: [PacerDrop; 3] = [PacerDrop::QueueFull, PacerDrop::TooManyBytes, PacerDrop::Stale];

    /// The name under which it is counted.
    pub const fn name(self) -> &'static str {
        match self {
            PacerDrop::QueueFull => "queue_full",
            PacerDrop::TooManyBytes => "too_many_bytes",
            PacerDrop::Stale => "stale",
        }
    }
}

/// One counter for each [`PacerDrop`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacerDrops([u64; PacerDrop::ALL.len()]);

impl PacerDrops {
    /// Counts one.
    pub fn count(&mut self, reason: PacerDrop) {
        self.0[reason as usize] += 1;
    }

    /// How many were dropped for `reason`.
    pub fn get(&self, reason: PacerDrop) -> u64 {
        self.0[reason as usize]
    }

    /// All counters with their names, zeros included.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        PacerDrop::ALL.iter().map(|reason| (reason.name(), self.get(*reason)))
    }

    /// Adds another set to this one.
    pub fn merge(&mut self, other: &PacerDrops) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }

    /// Hands out what was counted and starts again at zero.
    pub fn take(&mut self) -> PacerDrops {
        std::mem::take(self)
    }
}
