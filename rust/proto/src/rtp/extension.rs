//! RTP header extension elements (RFC 8285): iteration, typed reading of those we know, writing.

use super::bytes::{u16_at, u24_at};
use super::extension_map::{ExtensionKind, ExtensionMap};

/// `defined by profile` of the one-byte form (RFC 8285 §4.2).
pub const ONE_BYTE_PROFILE: u16 = 0xbede;
/// Same of the two-byte form with zero `appbits` (RFC 8285 §4.3).
pub const TWO_BYTE_PROFILE: u16 = 0x1000;

/// Level of the sound in a packet (RFC 6464).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioLevel {
    /// Whether the sender believes that the packet holds speech.
    pub voice: bool,
    /// Loudness in -dBov: 0 is the loudest, 127 silence.
    pub level: u8,
}

impl AudioLevel {
    /// From the byte on the wire.
    pub fn from_byte(byte: u8) -> AudioLevel {
        AudioLevel { voice: byte & 0x80 != 0, level: byte & 0x7f }
    }

    /// To the byte on the wire.
    pub fn to_byte(self) -> u8 {
        (u8::from(self.voice) << 7) | (self.level & 0x7f)
    }
}

/// Iterates over `(id, value)` of an extension block, in either form; stops at the first malformed element.
pub fn elements(profile: u16, block: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    Elements::new(profile, block)
}

/// A value, and where it begins in its extension block, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed<'a> {
    /// The value.
    pub value: &'a [u8],
    /// Where it begins.
    pub at: usize,
}

#[derive(Clone, Copy)]
enum Form {
    OneByte,
    TwoByte,
}

struct Elements<'a> {
    form: Option<Form>,
    rest: &'a [u8],
}

impl<'a> Elements<'a> {
    fn new(profile: u16, block: &'a [u8]) -> Elements<'a> {
        let form = if profile == ONE_BYTE_PROFILE {
            Some(Form::OneByte)
        } else if profile & 0xfff0 == TWO_BYTE_PROFILE {
            Some(Form::TwoByte)
        } else {
            None
        };
        Elements { form, rest: block }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let form = self.form?;
        loop {
            let (&head, after) = self.rest.split_first()?;
            if head == 0 {
                self.rest = after;
                continue;
            }
            let (id, len, body) = match form {
                Form::OneByte => {
                    let id = head >> 4;
                    if id == 15 || id == 0 {
                        // RFC 8285 §4.2: id 15 ends the list; a length without an id is malformed.
                        self.rest = &[];
                        return None;
                    }
                    (id, usize::from(head & 0x0f) + 1, after)
                }
                Form::TwoByte => {
                    let (&len, body) = after.split_first()?;
                    (head, usize::from(len), body)
                }
            };
            if body.len() < len {
                self.rest = &[];
                return None;
            }
            let (value, rest) = body.split_at(len);
            self.rest = rest;
            return Some((id, value));
        }
    }
}

/// The extension elements of one packet that this project reads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extensions<'a> {
    /// m-line identification (RFC 8843 §15).
    pub mid: Option<&'a [u8]>,
    /// Stream identification (RFC 8852).
    pub rid: Option<&'a [u8]>,
    /// Stream that a repair packet belongs to (RFC 8852).
    pub repaired_rid: Option<&'a [u8]>,
    /// Time of departure, 24 bits of 6.18 fixed point seconds.
    pub abs_send_time: Option<u32>,
    /// Transport-wide sequence number.
    pub transport_sequence: Option<u16>,
    /// Audio level (RFC 6464).
    pub audio_level: Option<AudioLevel>,
    /// Transmission time offset (RFC 5450), signed, in timestamp units.
    pub transmission_offset: Option<i32>,
    /// Coordination of video orientation, one byte (3GPP TS 26.114).
    pub video_orientation: Option<u8>,
    /// Playout delay limits, 24 bits on the wire.
    pub playout_delay: Option<u32>,
    /// Dependency descriptor of AV1, undecoded.
    pub dependency_descriptor: Option<Placed<'a>>,
}

impl<'a> Extensions<'a> {
    /// Reads the elements that `map` knows; an element of the wrong size is left out.
    pub fn read(profile: u16, block: &'a [u8], map: &ExtensionMap) -> Extensions<'a> {
        let mut found = Extensions::default();
        let mut elements = Elements::new(profile, block);
        while let Some((id, value)) = elements.next() {
            match map.kind(id) {
                Some(ExtensionKind::Mid) => found.mid = Some(value),
                Some(ExtensionKind::Rid) => found.rid = Some(value),
                Some(ExtensionKind::RepairedRid) => found.repaired_rid = Some(value),
                Some(ExtensionKind::AbsSendTime) => found.abs_send_time = u24_at(value, 0),
                Some(ExtensionKind::TransportSequence) => found.transport_sequence = u16_at(value, 0),
                Some(ExtensionKind::AudioLevel) => {
                    found.audio_level = value.first().copied().map(AudioLevel::from_byte);
                }
                Some(ExtensionKind::TransmissionOffset) => {
                    found.transmission_offset = u24_at(value, 0).map(|raw| ((raw << 8) as i32) >> 8);
                }
                Some(ExtensionKind::VideoOrientation) => found.video_orientation = value.first().copied(),
                Some(ExtensionKind::PlayoutDelay) => found.playout_delay = u24_at(value, 0),
                Some(ExtensionKind::DependencyDescriptor) => {
                    let at = block.len() - elements.rest.len() - value.len();
                    found.dependency_descriptor = Some(Placed { value, at });
                }
                None => {}
            }
        }
        found
    }
}

/// Writes an extension block at the end of a buffer; starts in the one-byte form and changes to the
/// two-byte form when an element needs it.
#[derive(Debug)]
pub struct ExtensionWriter<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    two_byte: bool,
}

impl<'a> ExtensionWriter<'a> {
    pub(super) fn begin(out: &'a mut Vec<u8>) -> ExtensionWriter<'a> {
        let start = out.len();
        ExtensionWriter { out, start, two_byte: false }
    }

    /// Adds one element. Id 0 and values over 255 bytes are not representable and are left out.
    pub fn push(&mut self, id: u8, value: &[u8]) {
        let Ok(len) = u8::try_from(value.len()) else { return };
        if id == 0 {
            return;
        }
        if self.out.len() == self.start {
            self.out.extend_from_slice(&[0; 4]);
        }
        if !self.two_byte && (id > 14 || len == 0 || len > 16) {
            self.widen();
        }
        if self.two_byte {
            self.out.extend_from_slice(&[id, len]);
        } else {
            self.out.push((id << 4) | (len - 1));
        }
        self.out.extend_from_slice(value);
    }

    /// Turns the elements written so far into the two-byte form, in place.
    fn widen(&mut self) {
        self.two_byte = true;
        let mut at = self.start + 4;
        while at < self.out.len() {
            let (id, len) = (self.out[at] >> 4, (self.out[at] & 0x0f) + 1);
            self.out[at] = id;
            self.out.insert(at + 1, len);
            at += 2 + usize::from(len);
        }
    }

    /// Pads the block and fills its head in; false when no element was written.
    pub(super) fn finish(self) -> bool {
        if self.out.len() == self.start {
            return false;
        }
        while !(self.out.len() - self.start).is_multiple_of(4) {
            self.out.push(0);
        }
        let words = ((self.out.len() - self.start) / 4 - 1) as u16;
        let profile = if self.two_byte { TWO_BYTE_PROFILE } else { ONE_BYTE_PROFILE };
        self.out[self.start..self.start + 2].copy_from_slice(&profile.to_be_bytes());
        self.out[self.start + 2..self.start + 4].copy_from_slice(&words.to_be_bytes());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn write(list: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = ExtensionWriter::begin(&mut out);
        for (id, value) in list {
            writer.push(*id, value);
        }
        writer.finish();
        out
    }

    fn read(block: &[u8]) -> Vec<(u8, Vec<u8>)> {
        if block.is_empty() {
            return Vec::new();
        }
        let profile = u16_at(block, 0).unwrap();
        elements(profile, &block[4..]).map(|(id, value)| (id, value.to_vec())).collect()
    }

    #[test]
    fn small_elements_use_the_one_byte_form() {
        let block = write(&[(1, vec![9]), (3, vec![1, 2, 3])]);
        assert_eq!(block, [0xbe, 0xde, 0, 2, 0x10, 9, 0x32, 1, 2, 3, 0, 0]);
    }

    #[test]
    fn a_large_element_turns_the_block_into_the_two_byte_form() {
        let list = [(1, vec![9]), (2, vec![7; 40])];
        let block = write(&list);
        assert_eq!(&block[..2], &[0x10, 0x00]);
        assert_eq!(read(&block), list);
    }

    #[test]
    fn id_fifteen_ends_the_one_byte_form() {
        assert_eq!(elements(ONE_BYTE_PROFILE, &[0x10, 1, 0xf0, 0, 0x20, 2]).count(), 1);
    }

    #[test]
    fn known_elements_are_read_by_the_ids_of_the_transport() {
        let mut map = ExtensionMap::default();
        map.set(5, ExtensionKind::AudioLevel.uri()).unwrap();
        map.set(6, ExtensionKind::TransmissionOffset.uri()).unwrap();
        map.set(7, ExtensionKind::TransportSequence.uri()).unwrap();
        let block = write(&[(5, vec![0x80 | 30]), (6, vec![0xff, 0xff, 0xfe]), (7, vec![1, 2])]);
        let found = Extensions::read(ONE_BYTE_PROFILE, &block[4..], &map);
        assert_eq!(found.audio_level, Some(AudioLevel { voice: true, level: 30 }));
        assert_eq!(found.transmission_offset, Some(-2));
        assert_eq!(found.transport_sequence, Some(0x0102));
        assert_eq!(found.mid, None);
    }

    #[test]
    fn a_dependency_descriptor_is_found_with_its_place() {
        let mut map = ExtensionMap::default();
        map.set(3, ExtensionKind::DependencyDescriptor.uri()).unwrap();
        for (profile, list) in [
            (ONE_BYTE_PROFILE, [(1, vec![9]), (3, vec![1, 2, 3])]),
            (TWO_BYTE_PROFILE, [(1, vec![9]), (3, vec![7; 40])]),
        ] {
            let block = write(&list);
            let found = Extensions::read(profile, &block[4..], &map).dependency_descriptor.unwrap();
            assert_eq!(found.value, list[1].1);
            assert_eq!(&block[4 + found.at..][..found.value.len()], found.value);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_blocks_never_panic(profile: u16, one: bool, block in proptest::collection::vec(any::<u8>(), 0..128)) {
            let profile = if one { ONE_BYTE_PROFILE } else { profile };
            let mut map = ExtensionMap::default();
            map.set(1, ExtensionKind::Mid.uri()).unwrap();
            map.set(2, ExtensionKind::TransportSequence.uri()).unwrap();
            let _ = Extensions::read(profile, &block, &map);
            let _ = Extensions::read(TWO_BYTE_PROFILE, &block, &map);
        }

        #[test]
        fn elements_round_trip(
            list in proptest::collection::vec((1u8..=255, proptest::collection::vec(any::<u8>(), 0..40)), 0..6)
        ) {
            prop_assert_eq!(read(&write(&list)), list);
        }
    }
}
