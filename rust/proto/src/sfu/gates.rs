//! Named gates on an up track: while one is closed nothing is forwarded, and what is dropped is counted by its name.

use super::drops::MediaDrop;

/// Why a track may be held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// The person has not agreed to be seen or heard.
    Consent,
    /// The person muted the track.
    Mute,
    /// Nobody has taken the contact yet.
    Queued,
    /// The room does not let the person publish this any more.
    Permission,
}

impl Gate {
    /// Every gate, in the order in which they are asked.
    pub const ALL: [Gate; 4] = [Gate::Consent, Gate::Mute, Gate::Queued, Gate::Permission];

    /// Its name in commands and statistics.
    pub const fn name(self) -> &'static str {
        match self {
            Gate::Consent => "consent",
            Gate::Mute => "mute",
            Gate::Queued => "queued",
            Gate::Permission => "permission",
        }
    }

    /// The gate of a name.
    pub fn from_name(name: &str) -> Option<Gate> {
        Gate::ALL.into_iter().find(|gate| gate.name() == name)
    }

    const fn drop_reason(self) -> MediaDrop {
        match self {
            Gate::Consent => MediaDrop::GateConsent,
            Gate::Mute => MediaDrop::GateMute,
            Gate::Queued => MediaDrop::GateQueued,
            Gate::Permission => MediaDrop::GatePermission,
        }
    }
}

/// The gates of one track and what each of them dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gates {
    closed: u8,
    dropped: [u64; Gate::ALL.len()],
}

impl Gates {
    /// Gates of which those named are closed.
    pub fn closed(gates: &[Gate]) -> Gates {
        Gates { closed: gates.iter().fold(0, |bits, &gate| bits | (1 << gate as u8)), ..Gates::default() }
    }

    /// Opens or closes one; true when that let the last one open, so that packets flow again.
    pub fn set(&mut self, gate: Gate, open: bool) -> bool {
        let before = self.closed;
        if open {
            self.closed &= !(1 << gate as u8);
        } else {
            self.closed |= 1 << gate as u8;
        }
        before != 0 && self.closed == 0
    }

    /// Whether every gate is open.
    pub fn is_open(&self) -> bool {
        self.closed == 0
    }

    /// Lets a packet through, or counts it for the first closed gate.
    pub fn pass(&mut self) -> Result<(), MediaDrop> {
        if self.closed == 0 {
            return Ok(());
        }
        let index = self.closed.trailing_zeros() as usize;
        self.dropped[index] += 1;
        Err(Gate::ALL[index].drop_reason())
    }

    /// How many packets each gate dropped.
    pub fn dropped(&self) -> impl Iterator<Item = (Gate, u64)> + use<> {
        Gate::ALL.into_iter().zip(self.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_passes_only_when_every_gate_is_open() {
        let mut gates = Gates::closed(&[Gate::Consent, Gate::Queued]);
        assert_eq!(gates.pass(), Err(MediaDrop::GateConsent));
        assert!(!gates.set(Gate::Consent, true));
        assert_eq!(gates.pass(), Err(MediaDrop::GateQueued));
        assert!(gates.set(Gate::Queued, true));
        assert_eq!(gates.pass(), Ok(()));
        let dropped: Vec<_> = gates.dropped().map(|(gate, count)| (gate.name(), count)).collect();
        assert_eq!(dropped, [("consent", 1), ("mute", 0), ("queued", 1), ("permission", 0)]);
    }

    #[test]
    fn a_gate_is_found_by_its_name() {
        for gate in Gate::ALL {
            assert_eq!(Gate::from_name(gate.name()), Some(gate));
        }
        assert_eq!(Gate::from_name("other"), None);
    }
}
