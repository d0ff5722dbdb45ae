//! Named reasons why a piece of feedback was not believed, and the counters that hold them.

/// Why feedback, or a part of it, was not used; every variant is a counter `feedback.<name>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Fault {
    /// About a packet that never left.
    NeverSent,
    /// About a packet so old that nothing is known of it any more.
    Forgotten,
    /// A packet reported once more that was reported as received.
    Repeated,
    /// More packets than can be in flight; what is beyond was not looked at.
    TooLong,
    /// Arrival times that run faster than time does, or backwards; what was known of the delay is thrown away.
    Impossible,
    /// A receiver's estimate of less than the smallest that is of use; the smallest was taken.
    EstimateTooLow,
}

impl Fault {
    /// All reasons in counter order.
    pub const ALL: [Fault; 6] =
        [Fault::NeverSent, Fault::Forgotten, Fault::Repeated, Fault::TooLong, Fault::Impossible, Fault::EstimateTooLow];

    /// The name under which it is counted.
    pub const fn name(self) -> &'static str {
        match self {
            Fault::NeverSent => "never_sent",
            Fault::Forgotten => "forgotten",
            Fault::Repeated => "repeated",
            Fault::TooLong => "too_long",
            Fault::Impossible => "impossible",
            Fault::EstimateTooLow => "estimate_too_low",
        }
    }
}

/// One counter for each [`Fault`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults([u64; Fault::ALL.len()]);

impl Faults {
    /// Counts one.
    pub fn count(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }

    /// How often `fault` was seen.
    pub fn get(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }

    /// All counters with their names, zeros included.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Fault::ALL.iter().map(|fault| (fault.name(), self.get(*fault)))
    }

    /// Adds another set to this one.
    pub fn merge(&mut self, other: &Faults) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }

    /// Hands out what was counted and starts again at zero.
    pub fn take(&mut self) -> Faults {
        std::mem::take(self)
    }
}
