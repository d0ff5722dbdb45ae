//! AV1 over RTP: where a keyframe starts.

/// Whether this packet starts a new coded video sequence: the N bit of the aggregation header (AV1 RTP §4.4), which
/// needs no dependency descriptor. A packet that continues an OBU (Z=1) is not a start.
pub fn starts_keyframe(payload: &[u8]) -> bool {
    payload.len() > 1 && payload[0] & 0x88 == 0x08
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_n_bit_says_new_sequence() {
        assert!(starts_keyframe(&[0x18, 0x0a]));
        assert!(!starts_keyframe(&[0x10, 0x32]));
        assert!(!starts_keyframe(&[0x98, 0x0a]));
        assert!(!starts_keyframe(&[0x18]));
        assert!(!starts_keyframe(&[]));
    }
}
