//! VP9 over RTP (RFC 9628): where a keyframe starts.

/// Whether this is the first packet of a keyframe: not inter-predicted (P=0), start of a frame (B=1), and of the
/// lowest spatial layer (RFC 9628 §4.2).
pub fn starts_keyframe(payload: &[u8]) -> bool {
    let Some(&head) = payload.first() else { return false };
    let (has_picture_id, inter, has_layers, start) =
        (head & 0x80 != 0, head & 0x40 != 0, head & 0x20 != 0, head & 0x08 != 0);
    if inter || !start {
        return false;
    }
    if !has_layers {
        return true;
    }
    let mut at = 1;
    if has_picture_id {
        let Some(&first) = payload.get(at) else { return false };
        at += if first & 0x80 != 0 { 2 } else { 1 };
    }
    // Layer byte: TID (3), U (1), SID (3), D (1).
    payload.get(at).is_some_and(|&layers| (layers >> 1) & 0x07 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_start_of_an_intra_frame_is_a_keyframe() {
        assert!(starts_keyframe(&[0x08, 0x00]));
        assert!(starts_keyframe(&[0x80 | 0x20 | 0x08, 0x81, 0x02, 0x00, 0x00]));
        assert!(starts_keyframe(&[0x80 | 0x20 | 0x08, 0x01, 0x00, 0x00]));
    }

    #[test]
    fn inter_frames_continuations_and_upper_layers_are_not() {
        assert!(!starts_keyframe(&[]));
        assert!(!starts_keyframe(&[0x48]));
        assert!(!starts_keyframe(&[0x00]));
        assert!(!starts_keyframe(&[0xa8, 0x01, 0x02]), "spatial layer 1");
        assert!(!starts_keyframe(&[0xa8, 0x81]), "cut before the layers");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..8)) {
            let _ = starts_keyframe(&bytes);
        }
    }
}
