//! VP8 picture ids and TL0PICIDX of one receiver (RFC 7741 §4.2), over changing sources and frames left out.

use super::index_shift::IndexShift;
use super::picture_ids::PictureIds;
use super::segments::{Mapped, Segments};
use crate::codec::vp8;

/// Keeps the ids continuous; KEYIDX is shifted likewise.
#[derive(Clone, Debug, Default)]
pub struct Vp8Map {
    segments: Segments,
    ids: PictureIds,
    newest_out: Option<u64>,
    fresh: bool,
    tl0: IndexShift<8>,
    key: IndexShift<5>,
}

impl Vp8Map {
    /// The next descriptor belongs to a new source.
    pub fn start(&mut self) {
        self.fresh = true;
    }

    /// The last `pictures` did not go out after all: the ids of the next source go on before them.
    pub fn take_back(&mut self, pictures: u64) {
        self.newest_out = PictureIds::take_back(self.newest_out, pictures);
    }

    /// The descriptor as the receiver gets it; picture ids always go out with 15 bits.
    pub fn map(&mut self, descriptor: &vp8::Descriptor) -> vp8::Descriptor {
        let mut mapped = *descriptor;
        let fresh = std::mem::take(&mut self.fresh);
        if let Some(id) = descriptor.picture_id {
            if fresh || self.newest_out.is_none() {
                let (first, shift) = self.ids.begin_behind(id, self.newest_out);
                self.segments.begin(first, shift);
            }
            let id = self.ids.unwrap(id, descriptor.long_picture_id);
            let out = match self.segments.map(id) {
                Mapped::To(out) => out,
                // From before the switch, or a frame that was left out: it is not decoded either way.
                Mapped::Before | Mapped::Skipped => self.newest_out.unwrap_or(id),
            };
            self.ids.saw(id);
            self.newest_out = self.newest_out.max(Some(out));
            mapped.picture_id = Some((out & 0x7fff) as u16);
            mapped.long_picture_id = true;
        }
        mapped.tl0_picture_index = descriptor.tl0_picture_index.map(|index| self.tl0.map(index, fresh));
        mapped.key_index = descriptor.key_index.map(|index| self.key.map(index, fresh));
        mapped
    }

    /// Closes the ids over a frame that is left out on purpose; once for each of its packets does no harm.
    pub fn skip(&mut self, descriptor: &vp8::Descriptor) {
        let Some(id) = descriptor.picture_id else { return };
        if self.fresh || self.newest_out.is_none() {
            return;
        }
        let id = self.ids.unwrap(id, descriptor.long_picture_id);
        if id > self.ids.newest() {
            self.ids.saw(id);
            self.segments.close(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(picture_id: u16, long: bool, tl0: u8) -> vp8::Descriptor {
        vp8::Descriptor {
            picture_id: Some(picture_id),
            long_picture_id: long,
            tl0_picture_index: Some(tl0),
            ..vp8::Descriptor::default()
        }
    }

    fn ids(map: &mut Vp8Map, picture_id: u16, long: bool, tl0: u8) -> (u16, u8) {
        let mapped = map.map(&descriptor(picture_id, long, tl0));
        assert!(mapped.long_picture_id);
        (mapped.picture_id.unwrap(), mapped.tl0_picture_index.unwrap())
    }

    #[test]
    fn picture_ids_go_on_over_a_switch_and_their_wrap() {
        let mut map = Vp8Map::default();
        map.start();
        assert_eq!(ids(&mut map, 0x7ffe, true, 254), (0x7ffe, 254));
        assert_eq!(ids(&mut map, 0x7fff, true, 255), (0x7fff, 255));
        assert_eq!(ids(&mut map, 0, true, 0), (0, 0));
        map.start();
        assert_eq!(ids(&mut map, 0x1234, true, 77), (1, 1));
        assert_eq!(ids(&mut map, 0x1234, true, 77), (1, 1), "second packet of the picture");
        assert_eq!(ids(&mut map, 0x1236, true, 78), (3, 2));
        assert_eq!(ids(&mut map, 0x1235, true, 77), (2, 1), "reordered");
    }

    #[test]
    fn seven_bit_picture_ids_become_fifteen_bit_ones() {
        let mut map = Vp8Map::default();
        map.start();
        assert_eq!(ids(&mut map, 126, false, 0).0, 126);
        assert_eq!(ids(&mut map, 127, false, 1).0, 127);
        assert_eq!(ids(&mut map, 0, false, 2).0, 128);
        assert_eq!(ids(&mut map, 127, false, 1).0, 127, "reordered over the wrap");
    }
    #[test]
    fn frames_left_out_leave_no_hole_in_the_picture_ids() {
        let mut map = Vp8Map::default();
        map.start();
        assert_eq!(ids(&mut map, 10, true, 1).0, 10);
        for _packet in 0..3 {
            map.skip(&descriptor(11, true, 1));
        }
        assert_eq!(ids(&mut map, 13, true, 2).0, 12, "frame 12 is still on its way");
        assert_eq!(ids(&mut map, 12, true, 1).0, 11);
        map.skip(&descriptor(12, true, 1));
        assert_eq!(ids(&mut map, 14, true, 2).0, 13);
    }
}
