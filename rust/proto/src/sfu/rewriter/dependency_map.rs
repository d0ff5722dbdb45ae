//! Frame numbers, template ids and decode targets of one receiver (AV1 RTP specification, A.8), over changing sources.
//!
//! Within a source frame numbers are shifted by a constant: references and chains are distances between them. A frame
//! that is left out leaves its number open; the decode targets that need it are no longer named as active.

use crate::codec::dependency::Frame;
use crate::codec::dependency_structure::{Structure, Targets};
use crate::codec::dependency_writer::Outgoing;
use std::num::NonZeroU8;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct DependencyMap {
    fresh: bool,
    shift: u16,
    newest_out: Option<u16>,
    template_shift: u8,
    /// The template id behind those of the structure that was sent last.
    next_template: u8,
    targets: Targets,
    /// Fewer than all decode targets were active since the structure; it is said with every packet from then on.
    is_limited: bool,
}

impl DependencyMap {
    /// The next descriptor belongs to a new source.
    pub fn start(&mut self) {
        self.fresh = true;
    }

    /// What becomes of a descriptor, with the structure in it, under the header extension `id` for a receiver of the layers
    /// up to `most` (spatial and temporal). `None` while the receiver has no structure.
    pub fn map(
        &mut self,
        id: NonZeroU8,
        frame: &Frame,
        structure: Option<&Structure>,
        most: (u8, u8),
    ) -> Option<Outgoing> {
        if self.fresh && structure.is_none() {
            return None;
        }
        if std::mem::take(&mut self.fresh) {
            self.shift = self.newest_out.map_or(0, |newest| newest.wrapping_add(1).wrapping_sub(frame.number));
            // A.8.3: the ids of another structure should not be those of the one before.
            let first = structure.map_or(0, |structure| structure.id_offset);
            let behind = if self.newest_out.is_some() { self.next_template } else { first };
            self.template_shift = behind.wrapping_sub(first) & 0x3f;
        }
        if let Some(structure) = structure.filter(|_| !frame.is_superseded) {
            let first = structure.id_offset.wrapping_add(self.template_shift);
            self.next_template = first.wrapping_add(structure.templates().len() as u8) & 0x3f;
            (self.targets, self.is_limited) = (structure.targets, false);
        }
        let number = frame.number.wrapping_add(self.shift);
        if self.newest_out.is_none_or(|newest| number.wrapping_sub(newest) < 0x8000) {
            self.newest_out = Some(number);
        }
        let within = frame.active & self.targets.within(most.0, most.1);
        let active = if within == 0 { frame.active } else { within };
        self.is_limited |= active != self.targets.mask();
        // A structure that comes late has decode targets of its own.
        let tells = (self.is_limited || frame.tells_active) && !frame.is_superseded;
        let targets = if tells { self.targets.count() } else { 0 };
        Some(Outgoing { id, number, template_shift: self.template_shift, targets, active, layout: frame.layout })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::dependency::Dependencies;
    use crate::codec::dependency::tests::{Written, l2t2};

    /// Reads a descriptor, maps it for a receiver of `most`, and reads what it gets.
    fn through(map: &mut DependencyMap, up: &mut Dependencies, sent: &Written, most: (u8, u8)) -> (Outgoing, Vec<u8>) {
        let bytes = sent.bytes();
        let frame = up.read(&bytes, 0).unwrap();
        let structure = up.structure().filter(|_| frame.layout.has_structure());
        let outgoing = map.map(NonZeroU8::MIN, &frame, structure, most).unwrap();
        let mut out = Vec::new();
        outgoing.write(&bytes, |written| out.extend_from_slice(written));
        (outgoing, out)
    }

    const ALL: (u8, u8) = (u8::MAX, u8::MAX);

    #[test]
    fn numbers_and_templates_go_on_over_a_change_of_source() {
        let mut map = DependencyMap::default();
        let (mut first, mut second, mut receiver) =
            (Dependencies::default(), Dependencies::default(), Dependencies::default());
        map.start();
        let key = Written { number: 0xffff, ..Written::key(l2t2(60)) };
        let (sent, bytes) = through(&mut map, &mut first, &key, ALL);
        assert_eq!((sent.number, sent.targets), (0xffff, 0));
        assert_eq!(bytes, key.bytes(), "nothing to change");
        receiver.read(&bytes, 0).unwrap();
        let (sent, _) = through(&mut map, &mut first, &Written::delta(60, 3, 1), ALL);
        assert_eq!((sent.number, sent.template_shift), (3, 0));
        map.start();
        let (sent, bytes) = through(&mut map, &mut second, &Written { number: 700, ..Written::key(l2t2(60)) }, ALL);
        assert_eq!(sent.number, 4);
        let frame = receiver.read(&bytes, 0).unwrap();
        assert_eq!((frame.number, frame.spatial, frame.active), (4, 0, 0b1111));
        let structure = receiver.structure().unwrap();
        assert_eq!(structure.id_offset, (60 + l2t2(60).templates.len() as u8) & 0x3f);
        let (sent, bytes) = through(&mut map, &mut second, &Written::delta(60, 705, 2), ALL);
        assert_eq!(sent.number, 9, "what was left out stays open");
        assert_eq!(receiver.read(&bytes, 0).unwrap().temporal, 1);
    }

    #[test]
    fn a_receiver_of_fewer_layers_is_told_its_decode_targets() {
        let mut map = DependencyMap::default();
        let (mut up, mut receiver) = (Dependencies::default(), Dependencies::default());
        map.start();
        let (_, bytes) = through(&mut map, &mut up, &Written::key(l2t2(0)), (0, u8::MAX));
        let frame = receiver.read(&bytes, 0).unwrap();
        assert_eq!(receiver.structure(), up.structure());
        // Targets as in the structure: S1T1, S1T0, S0T1, S0T0.
        assert_eq!((frame.active, frame.tells_active), (0b1100, true));
        for (most, expected) in [((0, 0), 0b1000), ((0, 1), 0b1100), (ALL, 0b1111)] {
            let (_, bytes) = through(&mut map, &mut up, &Written::delta(0, 9, 2), most);
            let frame = receiver.read(&bytes, 0).unwrap();
            assert_eq!((frame.active, frame.tells_active, frame.number), (expected, true, 9), "{most:?}");
        }
        let custom = Written { references: Some(vec![300, 2]), chains: Some(vec![7, 9]), ..Written::delta(0, 11, 2) };
        let (_, bytes) = through(&mut map, &mut up, &custom, (0, 0));
        let (frame, before) = (receiver.read(&bytes, 0).unwrap(), up.read(&custom.bytes(), 0).unwrap());
        assert_eq!((frame.references, frame.active), (before.references, 0b1000));
        assert_eq!(frame.references, 1 << 63 | 0b10);
    }
}
