//! VP9 picture ids and TL0PICIDX of one receiver (RFC 9628 §4.2), over changing sources.
//!
//! Within a source the ids are shifted by a constant: references of flexible mode (P_DIFF) and places in the picture
//! group of the scalability structure are distances between picture ids. A picture that is left out for its temporal
//! layer therefore leaves its id open, as that layer's receivers expect.

use super::index_shift::IndexShift;
use super::picture_ids::PictureIds;
use crate::codec::vp9;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Vp9Map {
    ids: PictureIds,
    shift: i64,
    newest_out: Option<u64>,
    fresh: bool,
    tl0: IndexShift<8>,
}

impl Vp9Map {
    /// The next descriptor belongs to a new source.
    pub fn start(&mut self) {
        self.fresh = true;
    }

    /// The last `pictures` did not go out after all: the ids of the next source go on before them.
    pub fn take_back(&mut self, pictures: u64) {
        self.newest_out = PictureIds::take_back(self.newest_out, pictures);
    }

    /// The descriptor as the receiver gets it; picture ids always go out with 15 bits.
    pub fn map(&mut self, descriptor: &vp9::Descriptor) -> vp9::Descriptor {
        let mut mapped = *descriptor;
        let fresh = std::mem::take(&mut self.fresh);
        if let Some(id) = descriptor.picture_id {
            if fresh || self.newest_out.is_none() {
                self.shift = self.ids.begin_behind(id, self.newest_out).1;
            }
            let id = self.ids.unwrap(id, descriptor.long_picture_id);
            self.ids.saw(id);
            let out = id.wrapping_add_signed(self.shift);
            self.newest_out = self.newest_out.max(Some(out));
            mapped.picture_id = Some((out & 0x7fff) as u16);
            mapped.long_picture_id = true;
        }
        mapped.tl0_picture_index = descriptor.tl0_picture_index.map(|index| self.tl0.map(index, fresh));
        mapped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(map: &mut Vp9Map, picture_id: u16, long: bool, tl0: u8) -> (u16, u8) {
        let mapped = map.map(&vp9::Descriptor {
            picture_id: Some(picture_id),
            long_picture_id: long,
            tl0_picture_index: Some(tl0),
            ..vp9::Descriptor::default()
        });
        assert!(mapped.long_picture_id);
        (mapped.picture_id.unwrap(), mapped.tl0_picture_index.unwrap())
    }

    #[test]
    fn picture_ids_go_on_over_a_switch_and_their_wrap() {
        let mut map = Vp9Map::default();
        map.start();
        assert_eq!(ids(&mut map, 0x7fff, true, 255), (0x7fff, 255));
        assert_eq!(ids(&mut map, 0, true, 0), (0, 0));
        map.start();
        assert_eq!(ids(&mut map, 0x1234, true, 77), (1, 1));
        assert_eq!(ids(&mut map, 0x1234, true, 77), (1, 1), "the next spatial layer of the picture");
        assert_eq!(ids(&mut map, 0x1236, true, 78), (3, 2), "what was left out stays open");
        assert_eq!(ids(&mut map, 0x1235, true, 77), (2, 1), "reordered");
    }

    #[test]
    fn seven_bit_picture_ids_become_fifteen_bit_ones() {
        let mut map = Vp9Map::default();
        map.start();
        assert_eq!(ids(&mut map, 127, false, 1).0, 127);
        assert_eq!(ids(&mut map, 0, false, 2).0, 128);
        assert_eq!(ids(&mut map, 127, false, 1).0, 127, "reordered over the wrap");
    }
}
