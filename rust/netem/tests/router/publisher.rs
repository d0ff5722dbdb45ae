//! A publisher of VP8: each frame of each layer in packets, keyframes when asked.

use mediaserver_proto::rtp::{HeaderWriter, Ssrc};
use mediaserver_proto::sfu::{TransportId, UpTrackId};

pub(crate) const PAYLOAD_TYPE: u8 = 96;
pub(crate) const MID: u8 = 1;
pub(crate) const RID: u8 = 3;
pub(crate) const FRAME_MS: u64 = 33;
const PACKET: usize = 1_050;
/// A keyframe that was asked for leaves so long after: the way there and back, and the encoder.
const ANSWER_MS: u64 = 60;

/// What the viewer finds at the end of each payload.
pub(crate) const TRAILER: usize = 8;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) rid: &'static str,
    pub(crate) height: u16,
    pub(crate) bps: usize,
}

/// Temporal layers of four frames as Chromium sends three, and how many frames before is the one that each needs.
const TEMPORAL: [(u8, u8); 4] = [(0, 4), (2, 1), (1, 2), (2, 1)];
/// The last of them needs a frame that is not of layer 0.
const NO_SYNC: usize = 3;

/// What a browser sends of a camera of 720 lines.
pub(crate) const CAMERA: [Shape; 3] = [
    Shape { rid: "l", height: 180, bps: 150_000 },
    Shape { rid: "m", height: 360, bps: 500_000 },
    Shape { rid: "h", height: 720, bps: 1_500_000 },
];

/// A screen: one layer that is worth more than every camera.
pub(crate) const SCREEN: [Shape; 1] = [Shape { rid: "", height: 1_080, bps: 1_000_000 }];

/// A screen at which somebody writes: [`Pace::WRITING`] goes with it.
pub(crate) const TEXT: [Shape; 1] = [Shape { rid: "", height: 540, bps: 100_000 }];

/// How its frames come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// One of so many moments has a frame.
    every: u64,
    /// A keyframe is so many times as large as other frames.
    key: usize,
}

impl Pace {
    const MOVING: Pace = Pace { every: 1, key: 4 };
    /// Five frames a second of a few lines each; a keyframe is all of the text.
    pub(crate) const WRITING: Pace = Pace { every: 6, key: 24 };
}

struct Layer {
    shape: Shape,
    ssrc: u32,
    sequence: u16,
    picture: u16,
    frame: u32,
    /// Frames since the last keyframe.
    since_key: usize,
    /// A keyframe leaves then.
    key_at_ms: Option<u64>,
}

pub(crate) struct Publisher {
    pub(crate) transport: TransportId,
    pub(crate) up: UpTrackId,
    pub(crate) mid: [u8; 1],
    /// Whether it keeps to what it is asked for.
    pub(crate) obeys: bool,
    /// Keyframes that it was asked for.
    pub(crate) plis: u32,
    /// What it was asked to send at most, and when, in bits per second.
    pub(crate) asked_for: Vec<(u64, u64)>,
    pub(crate) pace: Pace,
    /// Whether its frames are of three temporal layers.
    pub(crate) temporal: bool,
    /// The last of three layers is not sent before.
    pub(crate) top_begins_ms: u64,
    moments: u64,
    layers: Vec<Layer>,
}

impl Publisher {
    pub(crate) fn new(number: u8, shapes: &[Shape]) -> Publisher {
        let layer = |(index, shape): (usize, &Shape)| Layer {
            shape: *shape,
            ssrc: 1_000 * u32::from(number) + index as u32,
            sequence: 500,
            picture: 9,
            frame: 0,
            since_key: 0,
            key_at_ms: Some(0),
        };
        Publisher {
            transport: TransportId(u64::from(number)),
            up: UpTrackId(u64::from(number)),
            mid: [b'0' + number],
            obeys: false,
            plis: 0,
            asked_for: Vec::new(),
            pace: Pace::MOVING,
            temporal: false,
            top_begins_ms: 0,
            moments: 0,
            layers: shapes.iter().enumerate().map(layer).collect(),
        }
    }

    pub(crate) fn asked(&mut self, ssrc: Ssrc, ms: u64) {
        self.plis += 1;
        for layer in self.layers.iter_mut().filter(|layer| layer.ssrc == ssrc.0) {
            layer.key_at_ms.get_or_insert(ms + ANSWER_MS);
        }
    }

    /// Takes what it may send, all layers together; the largest that still fits is made smaller.
    pub(crate) fn asked_rate(&mut self, ms: u64, bps: u64) {
        self.asked_for.push((ms, bps));
    }

    fn rates(&self) -> Vec<usize> {
        let asked = self.asked_for.last().filter(|_| self.obeys).map_or(usize::MAX, |(_, bps)| *bps as usize);
        let mut left = asked;
        let fitting = |layer: &Layer| {
            let bps = layer.shape.bps.min(left);
            left -= bps;
            bps
        };
        self.layers.iter().map(fitting).collect()
    }

    /// What it is asked for at a moment, in bits per second.
    pub(crate) fn asked_at(&self, ms: u64) -> Option<u64> {
        self.asked_for.iter().take_while(|(at, _)| *at <= ms).last().map(|(_, bps)| *bps)
    }

    /// The packets of all layers for one moment.
    pub(crate) fn frames(&mut self, ms: u64) -> Vec<Vec<u8>> {
        let (mid, rates, pace, temporal) = (self.mid, self.rates(), self.pace, self.temporal);
        self.moments += 1;
        if !self.moments.is_multiple_of(pace.every) {
            return Vec::new();
        }
        let sent = if ms < self.top_begins_ms { 2 } else { self.layers.len() };
        let layers = self.layers.iter_mut().take(sent).zip(rates).enumerate();
        layers.flat_map(|(index, (layer, bps))| layer.frame(index as u8, mid, ms, bps, (pace, temporal))).collect()
    }
}

impl Layer {
    fn frame(&mut self, index: u8, mid: [u8; 1], ms: u64, bps: usize, how: (Pace, bool)) -> Vec<Vec<u8>> {
        let (pace, temporal) = how;
        let key = self.key_at_ms.take_if(|at| *at <= ms).is_some();
        let bytes = bps * (FRAME_MS * pace.every) as usize / 8_000 * if key { pace.key } else { 1 };
        let count = bytes.div_ceil(PACKET);
        self.picture = self.picture.wrapping_add(1) & 0x7fff;
        self.frame += 1;
        self.since_key = if key { 0 } else { self.since_key + 1 };
        let place = temporal.then_some(self.since_key % TEMPORAL.len());
        (0..count).map(|part| self.packet(index, mid, ms, (key, place), bytes / count, (part, count))).collect()
    }

    fn packet(
        &mut self,
        index: u8,
        mid: [u8; 1],
        ms: u64,
        kind: (bool, Option<usize>),
        bytes: usize,
        part: (usize, usize),
    ) -> Vec<u8> {
        let (key, place) = kind;
        let header = HeaderWriter {
            marker: part.0 + 1 == part.1,
            payload_type: PAYLOAD_TYPE,
            sequence: self.sequence,
            timestamp: (ms * 90) as u32,
            ssrc: Ssrc(self.ssrc),
        };
        self.sequence = self.sequence.wrapping_add(1);
        let mut out = Vec::new();
        header.write(&mut out, |extensions| {
            extensions.push(MID, &mid);
            if !self.shape.rid.is_empty() {
                extensions.push(RID, self.shape.rid.as_bytes());
            }
        });
        let start = out.len();
        let picture = self.picture.to_be_bytes();
        let first = if part.0 == 0 { 0x90 } else { 0x80 };
        let optional = if place.is_some() { 0xe0 } else { 0x80 };
        out.extend_from_slice(&[first, optional, 0x80 | picture[0], picture[1]]);
        if let Some(place) = place {
            let sync = if place == NO_SYNC { 0 } else { 0x20 };
            out.extend_from_slice(&[(self.frame / TEMPORAL.len() as u32) as u8, TEMPORAL[place].0 << 6 | sync]);
        }
        let needs = place.map_or(1, |place| TEMPORAL[place].1);
        if part.0 == 0 {
            out.extend_from_slice(&[u8::from(!key), 0, 0]);
            if key {
                let (width, height) = ((self.shape.height / 9 * 16).to_le_bytes(), self.shape.height.to_le_bytes());
                out.extend_from_slice(&[0x9d, 0x01, 0x2a, width[0], width[1], height[0], height[1]]);
            }
        }
        out.resize(start + bytes.max(40) - TRAILER, 0xee);
        out.extend_from_slice(&[index, if key { 0 } else { needs }]);
        out.extend_from_slice(&self.frame.to_be_bytes());
        out.extend_from_slice(&[part.0 as u8, part.1 as u8]);
        out
    }
}
