//! What is known of one received stream: sequence numbers, what is missing, what to ask for again.

/// Most packets asked for at a time; a longer hole is left to a keyframe.
const MOST_MISSING: u16 = 64;

/// One SSRC.
#[derive(Debug)]
pub struct Stream {
    /// Its SSRC.
    pub ssrc: u32,
    /// Packets that came ahead of all others.
    pub packets: u64,
    /// Those that came behind a later one: reordered or sent again.
    pub late: u64,
    first: u32,
    highest: u32,
}

impl Stream {
    /// It begins with this packet.
    pub fn new(ssrc: u32, sequence: u16) -> Stream {
        Stream { ssrc, packets: 1, late: 0, first: sequence.into(), highest: sequence.into() }
    }

    /// Takes a packet; gives the numbers that are missing before it, if they are not too many.
    pub fn note(&mut self, sequence: u16) -> std::ops::Range<u32> {
        let ahead = sequence.wrapping_sub(self.highest as u16);
        if ahead == 0 || ahead >= 0x8000 {
            self.late += 1;
            return 0..0;
        }
        let from = self.highest.wrapping_add(1);
        self.highest = self.highest.wrapping_add(ahead.into());
        self.packets += 1;
        if ahead > MOST_MISSING { 0..0 } else { from..self.highest }
    }

    /// The extended highest sequence number (RFC 3550 appendix A.1).
    pub fn highest(&self) -> u32 {
        self.highest
    }

    /// How many should have come.
    pub fn expected(&self) -> u64 {
        u64::from(self.highest.wrapping_sub(self.first)) + 1
    }

    /// How many did not, with what came late taken as received; duplicates make it less than none.
    pub fn lost(&self) -> i64 {
        self.expected() as i64 - (self.packets + self.late) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_named_and_filled_over_the_wrap() {
        let mut stream = Stream::new(1, 65_534);
        assert!(stream.note(65_535).is_empty());
        assert_eq!(stream.note(2), 65_536..65_538);
        assert_eq!((stream.expected(), stream.lost()), (5, 2));
        stream.note(1);
        assert_eq!((stream.lost(), stream.late, stream.highest()), (1, 1, 65_538));
    }

    #[test]
    fn a_hole_too_long_is_not_asked_for() {
        let mut stream = Stream::new(1, 0);
        assert!(stream.note(1_000).is_empty());
        assert_eq!(stream.lost(), 999);
    }
}
