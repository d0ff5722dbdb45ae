//! A publisher that sends simulcast: what each of its layers puts on the wire.

use crate::rtp::{HeaderWriter, Ssrc};

pub(super) const PAYLOAD_TYPE: u8 = 96;
/// Extension ids: mid by the shared map, then rid and repaired-rid.
pub(super) const MID: u8 = 1;
pub(super) const RID: u8 = 3;
/// Name, height, bytes of a frame, start in ms: Chromium starts the small layers first.
pub(super) const LAYERS: [(&str, u16, usize, u64); 3] =
    [("h", 720, 1100, 900), ("m", 360, 500, 500), ("l", 180, 150, 100)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Vp8,
    H264,
}

/// An H.264 parameter set of the baseline profile for a picture of 16:9.
pub(super) fn parameter_set(height: u16) -> Vec<u8> {
    let mut bits = Vec::new();
    let mut put = |value: u32, count: u32| (0..count).rev().for_each(|bit| bits.push((value >> bit) & 1));
    let golomb = |put: &mut dyn FnMut(u32, u32), value: u32| {
        let len = (value + 1).ilog2();
        put(0, len);
        put(value + 1, len + 1);
    };
    let (width, height) = (u32::from(height) / 9 * 16, u32::from(height));
    put(0x42_c01f, 24);
    for value in [0, 0, 2, 1] {
        golomb(&mut put, value);
    }
    put(0, 1);
    golomb(&mut put, width.div_ceil(16) - 1);
    golomb(&mut put, height.div_ceil(16) - 1);
    put(0b111, 3);
    for value in [0, (width.next_multiple_of(16) - width) / 2, 0, (height.next_multiple_of(16) - height) / 2] {
        golomb(&mut put, value);
    }
    put(0b01, 2);
    let mut unit = vec![0x67];
    for byte in bits.chunks(8) {
        unit.push(byte.iter().enumerate().fold(0, |all, (index, bit)| all | ((*bit as u8) << (7 - index))));
    }
    unit
}

/// One layer of the publisher: a frame is one packet.
pub(super) struct Source {
    pub(super) index: usize,
    pub(super) ssrc: u32,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) picture: u16,
    pub(super) announced: bool,
    pub(super) wants_key: bool,
}

impl Source {
    pub(super) fn new(index: usize) -> Source {
        let index32 = index as u32;
        Source {
            index,
            ssrc: 0xa0 + index32,
            sequence: 1_000 + 20_000 * index as u16,
            timestamp: 0x4000_0000u32.wrapping_mul(index32).wrapping_sub(5_000),
            picture: 0x7ff0 + index as u16 * 3,
            announced: false,
            wants_key: true,
        }
    }

    pub(super) fn payload(&mut self, format: Format, key: bool) -> Vec<u8> {
        let (_, height, len, _) = LAYERS[self.index];
        let width = height / 9 * 16;
        let mut payload = match format {
            Format::Vp8 => {
                let picture = (self.picture & 0x7fff).to_be_bytes();
                self.picture = self.picture.wrapping_add(1) & 0x7fff;
                let mut payload = vec![0x90, 0x80, 0x80 | picture[0], picture[1], u8::from(!key), 0, 0];
                if key {
                    let [width, height] = [width.to_le_bytes(), height.to_le_bytes()];
                    payload.extend_from_slice(&[0x9d, 0x01, 0x2a, width[0], width[1], height[0], height[1]]);
                }
                payload
            }
            Format::H264 if key => {
                let unit = parameter_set(height);
                let mut payload = vec![0x78, 0, unit.len() as u8];
                payload.extend_from_slice(&unit);
                payload.extend_from_slice(&[0, 2, 0x65, 0x88]);
                payload
            }
            Format::H264 => vec![0x61, 0x88],
        };
        payload.resize(payload.len() + len, 0xee);
        // The viewer looks here: which layer, and whether its frame is a keyframe.
        payload.extend_from_slice(&[self.index as u8, u8::from(key)]);
        payload
    }

    pub(super) fn packet(&mut self, payload: &[u8], rid_id: u8, names: bool) -> Vec<u8> {
        let header = HeaderWriter {
            marker: true,
            payload_type: PAYLOAD_TYPE,
            sequence: self.sequence,
            timestamp: self.timestamp,
            ssrc: Ssrc(self.ssrc),
        };
        self.sequence = self.sequence.wrapping_add(1);
        let mut out = Vec::new();
        header.write(&mut out, |extensions| {
            if names {
                extensions.push(MID, b"0");
                extensions.push(rid_id, LAYERS[self.index].0.as_bytes());
            }
        });
        out.extend_from_slice(payload);
        out
    }
}
