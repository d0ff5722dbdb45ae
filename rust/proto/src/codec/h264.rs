//! H.264 over RTP (RFC 6184): profile families and where a keyframe starts.

/// Profiles that are interchangeable for forwarding.
///
/// Baseline and Constrained Baseline are one family: browsers label the same stream 42e01f or 42001f, and phones
/// leave the parameter out. High and Constrained High differ only by interlace, which no live encoder sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProfileFamily {
    /// Baseline and Constrained Baseline.
    Baseline,
    /// Main.
    Main,
    /// High and Constrained High.
    High,
    /// Another one, by its `profile_idc`.
    Other(u8),
}

impl ProfileFamily {
    /// From `profile-level-id`; absent or malformed is Baseline (RFC 6184 §8.1).
    pub fn from_parameter(value: Option<&str>) -> ProfileFamily {
        let parsed = value.filter(|text| text.len() == 6).and_then(|text| u32::from_str_radix(text, 16).ok());
        let Some(id) = parsed else { return ProfileFamily::Baseline };
        let (profile_idc, constraints) = ((id >> 16) as u8, (id >> 8) as u8);
        // RFC 6184 §8.1, table 5: constraint_set0 in Main and Extended means Constrained Baseline, too.
        match profile_idc {
            0x42 => ProfileFamily::Baseline,
            0x4d | 0x58 if constraints & 0x80 != 0 => ProfileFamily::Baseline,
            0x4d => ProfileFamily::Main,
            0x64 => ProfileFamily::High,
            other => ProfileFamily::Other(other),
        }
    }
}

const NAL_IDR: u8 = 5;
const NAL_SPS: u8 = 7;
const NAL_STAP_A: u8 = 24;
const NAL_FU_A: u8 = 28;

/// Whether decoding can start at this packet: an SPS or the start of an IDR slice, alone, in a STAP-A or in an FU-A.
pub fn starts_keyframe(payload: &[u8]) -> bool {
    let Some((&head, rest)) = payload.split_first() else { return false };
    match head & 0x1f {
        NAL_IDR | NAL_SPS => true,
        NAL_STAP_A => {
            stap_units(rest).any(|unit| unit.first().is_some_and(|head| matches!(head & 0x1f, NAL_IDR | NAL_SPS)))
        }
        // RFC 6184 §5.8: the start bit is the first of the FU header.
        NAL_FU_A => rest.first().is_some_and(|&fu| fu & 0x80 != 0 && matches!(fu & 0x1f, NAL_IDR | NAL_SPS)),
        _ => false,
    }
}

/// The sequence parameter set in a packet, alone or in a STAP-A, with its NAL header; `None` when there is none.
pub fn sequence_parameters(payload: &[u8]) -> Option<&[u8]> {
    let (&head, rest) = payload.split_first()?;
    match head & 0x1f {
        NAL_SPS => Some(payload),
        NAL_STAP_A => stap_units(rest).find(|unit| unit.first().is_some_and(|head| head & 0x1f == NAL_SPS)),
        _ => None,
    }
}

/// The units in a STAP-A (RFC 6184 §5.7.1).
fn stap_units(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, after) = rest.split_first_chunk::<2>()?;
        let (unit, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        rest = after;
        Some(unit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn families_follow_profile_and_constraint_flags() {
        let family = |text| ProfileFamily::from_parameter(Some(text));
        assert_eq!(family("42001f"), ProfileFamily::Baseline);
        assert_eq!(family("42E034"), ProfileFamily::Baseline);
        assert_eq!(family("4d801f"), ProfileFamily::Baseline);
        assert_eq!(family("4d001f"), ProfileFamily::Main);
        assert_eq!(family("640c34"), ProfileFamily::High);
        assert_eq!(family("f4001f"), ProfileFamily::Other(0xf4));
        assert_eq!(ProfileFamily::from_parameter(None), ProfileFamily::Baseline);
        assert_eq!(family("xyz"), ProfileFamily::Baseline);
    }

    #[test]
    fn a_keyframe_is_found_in_every_packetisation() {
        assert!(starts_keyframe(&[0x67, 0x42]));
        assert!(starts_keyframe(&[0x65, 0x88]));
        assert!(starts_keyframe(&[0x78, 0, 2, 0x67, 0x42, 0, 1, 0x68]));
        assert!(starts_keyframe(&[0x78, 0, 1, 0x68, 0, 1, 0x65]));
        assert!(starts_keyframe(&[0x7c, 0x85, 0]));
    }

    #[test]
    fn other_packets_do_not_start_a_keyframe() {
        assert!(!starts_keyframe(&[]));
        assert!(!starts_keyframe(&[0x61, 0x88]));
        assert!(!starts_keyframe(&[0x7c, 0x05, 0]), "FU-A that continues an IDR");
        assert!(!starts_keyframe(&[0x7c, 0x81, 0]), "FU-A that starts a plain slice");
        assert!(!starts_keyframe(&[0x78, 0, 9, 0x67]), "STAP-A cut short");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), stap: bool) {
            let mut bytes = bytes;
            if stap {
                bytes.insert(0, 0x78);
            }
            let _ = starts_keyframe(&bytes);
        }
    }
}
