//! A publisher that sends simulcast, or spatial layers inside one stream: what it puts on the wire.

use crate::codec::dependency::tests::{Spec, Written, l3t3};
use crate::rtp::{HeaderWriter, Ssrc};

pub(super) const PAYLOAD_TYPE: u8 = 96;
/// Extension ids.
pub(super) const MID: u8 = 1;
pub(super) const RID: u8 = 3;
pub(super) const DEPENDENCY: u8 = 5;
/// Name, height, bytes of a frame, start in ms: Chromium starts the small layers first.
pub(super) const LAYERS: [(&str, u16, usize, u64); 3] =
    [("h", 720, 1100, 900), ("m", 360, 500, 500), ("l", 180, 150, 100)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Vp8,
    H264,
    Vp9,
    /// Three spatial layers in one stream, predicted from each other in every picture (L3T3).
    Vp9Svc,
    /// The same, predicted from each other in keyframes only (L3T3_KEY).
    Vp9KeySvc,
    Av1,
    /// Without dependency descriptors, as Firefox sends it.
    Av1Bare,
    /// As for VP9.
    Av1Svc,
    Av1KeySvc,
}

impl Format {
    pub(super) const ALL: [Format; 9] = [
        Format::Vp8,
        Format::H264,
        Format::Vp9,
        Format::Vp9Svc,
        Format::Vp9KeySvc,
        Format::Av1,
        Format::Av1Bare,
        Format::Av1Svc,
        Format::Av1KeySvc,
    ];

    pub(super) fn is_one_stream(self) -> bool {
        matches!(self, Format::Vp9Svc | Format::Vp9KeySvc | Format::Av1Svc | Format::Av1KeySvc)
    }

    /// Predicted from each other in keyframes only.
    fn is_key_svc(self) -> bool {
        matches!(self, Format::Vp9KeySvc | Format::Av1KeySvc)
    }

    pub(super) fn is_av1(self) -> bool {
        matches!(self, Format::Av1 | Format::Av1Bare | Format::Av1Svc | Format::Av1KeySvc)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Format::Vp8 => "VP8",
            Format::H264 => "H264",
            Format::Vp9 | Format::Vp9Svc | Format::Vp9KeySvc => "VP9",
            Format::Av1 | Format::Av1Bare | Format::Av1Svc | Format::Av1KeySvc => "AV1",
        }
    }
}

/// One packet of a picture.
pub(super) struct Part {
    pub(super) payload: Vec<u8>,
    pub(super) descriptor: Option<Vec<u8>>,
    /// Index in [`LAYERS`].
    pub(super) layer: usize,
    pub(super) key: bool,
    pub(super) marker: bool,
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

/// A VP9 scalability structure with sizes.
fn structure(heights: &[u16]) -> Vec<u8> {
    let mut bytes = vec![((heights.len() as u8 - 1) << 5) | 0x10];
    for height in heights {
        bytes.extend_from_slice(&(height / 9 * 16).to_be_bytes());
        bytes.extend_from_slice(&height.to_be_bytes());
    }
    bytes
}

/// What a keyframe begins with, behind the descriptor.
fn size_of_keyframe(format: Format, height: u16) -> Vec<u8> {
    let [width, lines] = [(height / 9 * 16).to_le_bytes(), height.to_le_bytes()];
    match format {
        Format::Vp8 => vec![0x9d, 0x01, 0x2a, width[0], width[1], lines[0], lines[1]],
        _ => {
            let unit = parameter_set(height);
            [&[0, unit.len() as u8][..], &unit, &[0, 2, 0x65, 0x88]].concat()
        }
    }
}

/// AV1: a sequence header and a frame, or a frame alone, in one element each (AV1 RTP §4.4).
fn obus(key: bool, height: u16) -> Vec<u8> {
    if !key {
        return vec![0x10, 0x30, 0x30];
    }
    let (width, height) = (u64::from(height) / 9 * 16 - 1, u64::from(height) - 1);
    // AV1 §5.5.1: everything zero but the level and the size, of eleven bits each.
    let bits = 5u64 << 30 | 10 << 26 | 10 << 22 | width << 11 | height;
    let body = (bits << 5).to_be_bytes();
    let header = [&[0x08, 0, 0][..], &body[2..]].concat();
    [&[0x28, header.len() as u8][..], &header, &[0x30, 0x10]].concat()
}

/// A structure of one layer; each of simulcast has its own, with the same ids.
fn one_layer(height: u16) -> Spec {
    let row = |references: &[u32]| (0, 0, references.to_vec(), vec![references.len() as u32], "S");
    let sizes = vec![(height / 9 * 16, height)];
    Spec { id_offset: 63, templates: vec![row(&[]), row(&[1])], protected_by: vec![0], sizes }
}

/// One stream of the publisher: a frame is one packet.
pub(super) struct Source {
    pub(super) index: usize,
    pub(super) ssrc: u32,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) picture: u16,
    /// Pictures since the last keyframe, and the index of the last picture of temporal layer 0.
    pub(super) since_key: u32,
    pub(super) tl0: u8,
    /// AV1: the latest frame number, and those of the last frame of each spatial and temporal layer.
    pub(super) number: u16,
    pub(super) frames: [[u16; 3]; 3],
    /// Spatial layers of the last picture, bit by layer.
    pub(super) sent: u8,
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
            since_key: 0,
            tl0: 250,
            number: 0xffe0 + 7 * index as u16,
            frames: [[0; 3]; 3],
            sent: 0,
            announced: false,
            wants_key: true,
        }
    }

    /// The next picture, of spatial layers `spatial` (bit by layer) where they lie inside the stream.
    pub(super) fn picture(&mut self, format: Format, key: bool, spatial: u8) -> Vec<Part> {
        if format.is_one_stream() && format.is_av1() {
            return self.spatial_unit(format, key, spatial);
        }
        if format.is_one_stream() {
            return self.spatial_picture(format, key, spatial);
        }
        let (_, height, len, _) = LAYERS[self.index];
        let mut payload = self.payload(format, key);
        if key && matches!(format, Format::Vp8 | Format::H264) {
            payload.extend_from_slice(&size_of_keyframe(format, height));
        }
        let mut part = self.part(payload, len, self.index, key, true);
        if format == Format::Av1 {
            self.number = self.number.wrapping_add(1);
            let structure = key.then(|| one_layer(height));
            part.descriptor = Some(Written { structure, ..Written::delta(63, self.number, u8::from(!key)) }.bytes());
        }
        vec![part]
    }

    fn part(&self, mut payload: Vec<u8>, len: usize, layer: usize, key: bool, marker: bool) -> Part {
        payload.resize(payload.len() + len, 0xee);
        // The viewer looks here: which layer, and whether its frame is a keyframe.
        payload.extend_from_slice(&[layer as u8, u8::from(key)]);
        Part { payload, descriptor: None, layer, key, marker }
    }

    fn next_picture(&mut self) -> [u8; 2] {
        let picture = self.picture & 0x7fff;
        self.picture = picture.wrapping_add(1) & 0x7fff;
        (picture | 0x8000).to_be_bytes()
    }

    fn payload(&mut self, format: Format, key: bool) -> Vec<u8> {
        let [high, low] = self.next_picture();
        match format {
            Format::Vp8 => vec![0x90, 0x80, high, low, u8::from(!key), 0, 0],
            Format::H264 if key => vec![0x78],
            Format::H264 => vec![0x61, 0x88],
            Format::Av1 | Format::Av1Bare => obus(key, LAYERS[self.index].1),
            _ if key => [&[0x8e, high, low][..], &structure(&[LAYERS[self.index].1])].concat(),
            _ => vec![0xcc, high, low],
        }
    }

    /// Temporal layers 0 2 1 2; the picture group is not told, as it is not looked at.
    fn spatial_picture(&mut self, format: Format, key: bool, spatial: u8) -> Vec<Part> {
        let begins = spatial & !self.sent;
        // The encoder needs a keyframe for a new layer where layers are not predicted from each other.
        let key = key || self.sent == 0 || (begins != 0 && format.is_key_svc());
        self.since_key = if key { 0 } else { self.since_key + 1 };
        let temporal = [0u8, 2, 1, 2][self.since_key as usize % 4];
        self.tl0 = self.tl0.wrapping_add(u8::from(temporal == 0));
        self.sent = spatial;
        let [high, low] = self.next_picture();
        let (first, last) = (spatial.trailing_zeros() as u8, 7 - spatial.leading_zeros() as u8);
        let mut parts = Vec::new();
        for layer in (0..3).filter(|layer| spatial & (1 << layer) != 0) {
            let inter = !key && begins & (1 << layer) == 0;
            let inter_layer = layer != first && (!inter || format == Format::Vp9Svc);
            let has_structure = key && layer == first;
            let flags = 0xac | (u8::from(inter) << 6) | (u8::from(has_structure) << 1);
            let layers = (temporal << 5) | 0x10 | (layer << 1) | u8::from(inter_layer);
            let mut payload = vec![flags, high, low, layers, self.tl0];
            if has_structure {
                let sizes: Vec<u16> = LAYERS[2 - usize::from(last)..].iter().rev().map(|row| row.1).collect();
                payload.extend_from_slice(&structure(&sizes));
            }
            let index = 2 - usize::from(layer);
            parts.push(self.part(payload, LAYERS[index].2, index, key, layer == last));
        }
        parts
    }

    /// The same for AV1, with a dependency descriptor for each frame.
    fn spatial_unit(&mut self, format: Format, key: bool, spatial: u8) -> Vec<Part> {
        let begins = spatial & !self.sent;
        let key = key || self.sent == 0 || (begins != 0 && format.is_key_svc());
        self.since_key = if key { 0 } else { self.since_key + 1 };
        let temporal = [0u8, 2, 1, 2][self.since_key as usize % 4];
        self.sent = spatial;
        let (first, last) = (spatial.trailing_zeros() as u8, 7 - spatial.leading_zeros() as u8);
        let mut parts = Vec::new();
        for layer in (0..3).filter(|layer| spatial & (1 << layer) != 0) {
            self.number = self.number.wrapping_add(1);
            let inter = !key && begins & (1 << layer) == 0;
            let inter_layer = layer != first && (!inter || format == Format::Av1Svc);
            let frames = &mut self.frames[usize::from(layer)];
            // Temporal layer 2 refers to the picture before, which is of a lower one.
            let before = if temporal == 2 && self.since_key % 4 == 3 { frames[1] } else { frames[0] };
            let own = inter.then(|| u32::from(self.number.wrapping_sub(before)));
            let below = inter_layer.then_some(1);
            (if inter { temporal } else { 0 }..3).for_each(|at| frames[usize::from(at)] = self.number);
            let has_structure = key && layer == first;
            let tells = layer == first && (begins != 0 || key) && (last < 2 || !key);
            let written = Written {
                structure: has_structure.then(|| l3t3(50)),
                active: tells.then(|| ([0x1c0, 0x1f8, 0x1ff][usize::from(last)], 9)),
                references: Some(own.into_iter().chain(below).collect()),
                ..Written::delta(50, self.number, 5 * layer + if inter { 1 + temporal } else { 0 })
            };
            let (index, payload) = (2 - usize::from(layer), obus(key, LAYERS[2 - usize::from(layer)].1));
            let mut part = self.part(payload, LAYERS[index].2, index, key, layer == last);
            part.descriptor = Some(written.bytes());
            parts.push(part);
        }
        parts
    }

    pub(super) fn packet_of(&mut self, part: &Part, rid_id: u8, names: bool) -> Vec<u8> {
        self.write(&part.payload, part.descriptor.as_deref(), part.marker, rid_id, names)
    }

    pub(super) fn packet(&mut self, payload: &[u8], marker: bool, rid_id: u8, names: bool) -> Vec<u8> {
        self.write(payload, None, marker, rid_id, names)
    }

    fn write(&mut self, payload: &[u8], descriptor: Option<&[u8]>, marker: bool, rid_id: u8, names: bool) -> Vec<u8> {
        let header = HeaderWriter {
            marker,
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
            if let Some(descriptor) = descriptor {
                extensions.push(DEPENDENCY, descriptor);
            }
        });
        out.extend_from_slice(payload);
        out
    }
}
