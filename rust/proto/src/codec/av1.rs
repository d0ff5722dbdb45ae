//! AV1 over RTP (AV1 RTP specification, §4): where a keyframe starts, and the OBUs in a payload.

use super::av1_sequence;

/// Continues an OBU of the packet before (Z).
const CONTINUES: u8 = 0x80;
/// The last OBU goes on in the next packet (Y).
const GOES_ON: u8 = 0x40;
/// First packet of a coded video sequence (N).
const NEW_SEQUENCE: u8 = 0x08;
const SEQUENCE_HEADER: u8 = 1;
const FRAME_HEADER: u8 = 3;
const FRAME: u8 = 6;

/// One OBU element, which may be but the beginning of its OBU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Obu<'a> {
    kind: u8,
    /// Without header and size.
    body: &'a [u8],
    is_whole: bool,
}

/// The OBU elements of a payload up to the first malformed one, less a first one that was begun before.
fn elements(payload: &[u8]) -> impl Iterator<Item = Obu<'_>> {
    let (head, mut rest) = payload.split_first().map_or((0, &[][..]), |(head, rest)| (*head, rest));
    let count = (head >> 4) & 3;
    let mut index = 0;
    std::iter::from_fn(move || {
        loop {
            index += 1;
            // §4.4: with a count (W) the last element has no length.
            let len = if count != 0 && index == count { rest.len() } else { leb128(&mut rest)? };
            let element;
            (element, rest) = rest.split_at_checked(len).filter(|(element, _)| !element.is_empty())?;
            if index == 1 && head & CONTINUES != 0 {
                continue;
            }
            let is_whole = !(rest.is_empty() && head & GOES_ON != 0);
            let (kind, body) = open(element)?;
            return Some(Obu { kind, body, is_whole });
        }
    })
}

/// Type and body of an OBU (AV1 §5.3).
fn open(element: &[u8]) -> Option<(u8, &[u8])> {
    let (&header, mut body) = element.split_first()?;
    if header & 0x04 != 0 {
        body = body.get(1..)?;
    }
    if header & 0x02 != 0 {
        let len = leb128(&mut body)?;
        body = body.get(..len).unwrap_or(body);
    }
    Some(((header >> 3) & 0x0f, body))
}

/// `leb128()` (AV1 §4.10.5), of at most four bytes, which is more than a packet holds.
fn leb128(bytes: &mut &[u8]) -> Option<usize> {
    let mut value = 0;
    for at in 0..4 {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Whether a new coded video sequence starts here, as the payload tells it: by the N bit of the aggregation header, or,
/// from senders that leave it out, by a sequence header in front of a keyframe. A sequence header may also be repeated
/// in front of other frames.
pub fn starts_keyframe(payload: &[u8]) -> bool {
    match payload {
        [] | [_] => false,
        [head, ..] if head & CONTINUES != 0 => false,
        [head, ..] if head & NEW_SEQUENCE != 0 => true,
        _ => {
            let mut obus = elements(payload).skip_while(|obu| obu.kind != SEQUENCE_HEADER).skip(1);
            // §5.9.2: show_existing_frame, and frame_type 0 for a keyframe.
            let frame = obus.find(|obu| matches!(obu.kind, FRAME_HEADER | FRAME));
            frame.and_then(|frame| frame.body.first()).is_some_and(|first| first & 0xe0 == 0)
        }
    }
}

/// Width and height of the picture, from a sequence header in the payload.
pub fn frame_size(payload: &[u8]) -> Option<(u16, u16)> {
    let header = elements(payload).find(|obu| obu.kind == SEQUENCE_HEADER && obu.is_whole)?;
    av1_sequence::frame_size(header.body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A sequence header of one operating point, 640 × 360.
    const SEQUENCE: [u8; 8] = [0x08, 0x00, 0x00, 0x00, 0x2c, 0xc4, 0xff, 0x67];

    fn keyframe(head: u8) -> Vec<u8> {
        // Two elements: the first with its length, the second without; a frame that is shown, of type 0.
        [&[head, SEQUENCE.len() as u8][..], &SEQUENCE, &[0x30, 0x10, 0xaa]].concat()
    }

    #[test]
    fn the_n_bit_says_new_sequence() {
        assert!(starts_keyframe(&[0x18, 0x0a]));
        assert!(!starts_keyframe(&[0x10, 0x32]));
        assert!(!starts_keyframe(&[0x98, 0x0a]));
        assert!(!starts_keyframe(&[0x18]));
        assert!(!starts_keyframe(&[]));
    }

    #[test]
    fn without_it_a_sequence_header_in_front_of_a_keyframe_does() {
        assert!(starts_keyframe(&keyframe(0x20)));
        let mut inter = keyframe(0x20);
        inter[3 + SEQUENCE.len()] = 0x30;
        assert!(!starts_keyframe(&inter), "a repeated header in front of another frame");
        assert!(!starts_keyframe(&[0x10, 0x30, 0x10]), "a frame alone");
    }

    #[test]
    fn the_size_is_in_the_sequence_header_whatever_its_form() {
        assert_eq!(frame_size(&keyframe(0x28)), Some((640, 360)));
        let with_size = [&[0x18, 0x0a, 7][..], &SEQUENCE[1..]].concat();
        assert_eq!(frame_size(&with_size), Some((640, 360)));
        let every_length = [&[0x08, SEQUENCE.len() as u8][..], &SEQUENCE, &[2, 0x30, 0x10]].concat();
        assert_eq!(frame_size(&every_length), Some((640, 360)));
        let goes_on = [&[0x58][..], &SEQUENCE].concat();
        assert_eq!(frame_size(&goes_on), None, "it is not whole");
    }

    #[test]
    fn an_element_that_was_begun_before_is_passed_over() {
        let payload = [&[0xa0, 2, 0x0a, 0x0a][..], &SEQUENCE].concat();
        assert_eq!(elements(&payload).map(|obu| obu.kind).collect::<Vec<_>>(), [SEQUENCE_HEADER]);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = (starts_keyframe(&bytes), frame_size(&bytes));
            prop_assert!(elements(&bytes).count() <= bytes.len());
        }
    }
}
