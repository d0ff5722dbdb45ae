//! Which packets of a stream with a dependency descriptor one receiver gets (AV1 RTP specification, A.7).
//!
//! A frame is forwarded when it lies within the layers that are wanted and everything that it refers to was forwarded.
//! Lower spatial layers are always sent with the one that is wanted, so that a layer can be left at the end of any
//! temporal unit, also where the encoder predicts between layers at keyframes only (K-SVC). A spatial layer is entered
//! with a frame that says so (the switch indication) and needs nothing that was left out; a temporal layer by itself.

#[cfg(test)]
mod tests;

use super::vp9_filter::Verdict;
use crate::codec::dependency::Frame;

/// Frames whose fate is remembered.
const REMEMBERED: u16 = 128;
/// References that name their frame exactly.
const EXACT: u64 = !(1 << 63);

/// The temporal unit that is going on.
#[derive(Clone, Copy, Debug)]
struct Unit {
    timestamp: u32,
    /// Temporal layer of its first frame.
    temporal: u8,
    /// Needs no other unit, and so neither do its upper layers.
    is_key: bool,
    /// Spatial layers from here on are left out of it.
    closed_from: u8,
    /// Frames above the present layer were left out of it.
    above: bool,
    /// A frame of it was forwarded.
    is_sent: bool,
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct DependencyFilter {
    /// What is to be entered when it can be.
    wanted: u8,
    /// Highest layer that may be sent if it comes; at least `wanted`.
    limit: u8,
    max_temporal: u8,
    spatial: u8,
    /// Highest temporal layer seen.
    seen_temporal: u8,
    /// Frames of one unit are of different temporal layers (the SHIFT modes of W3C webrtc-svc): a frame that is left out
    /// would leave its unit without an end, so that temporal layers are not left out.
    is_shifted: bool,
    /// Layers above the present one were left out of the last unit.
    above: bool,
    unit: Option<Unit>,
    /// The latest frame number.
    newest: Option<u16>,
    /// Bit `n` is the frame `n` before the latest: whether it came, and whether it was left out.
    seen: u128,
    left_out: u128,
    /// The layer of the last whole unit.
    settled: Option<u8>,
}

impl Default for DependencyFilter {
    fn default() -> DependencyFilter {
        DependencyFilter {
            wanted: 0,
            limit: u8::MAX,
            max_temporal: u8::MAX,
            spatial: 0,
            seen_temporal: 0,
            is_shifted: false,
            above: false,
            unit: None,
            newest: None,
            seen: 0,
            left_out: 0,
            settled: None,
        }
    }
}

impl DependencyFilter {
    /// Takes the spatial layer that is wanted, and the highest one that may be sent when it comes.
    pub fn set_spatial(&mut self, wanted: u8, limit: u8) {
        (self.wanted, self.limit) = (wanted, limit.max(wanted));
    }

    /// Takes the highest temporal layer wanted.
    pub fn set_temporal(&mut self, most: u8) {
        self.max_temporal = most;
    }

    /// A source begins with this frame.
    pub fn start(&mut self, frame: &Frame) {
        *self = DependencyFilter {
            wanted: self.wanted,
            limit: self.limit,
            max_temporal: self.max_temporal,
            spatial: frame.spatial,
            ..DependencyFilter::default()
        };
    }

    /// The spatial layer that flows; `None` until a whole unit was sent.
    pub fn spatial(&self) -> Option<u8> {
        self.settled
    }

    /// Whether a wanted spatial layer can be entered at a keyframe only.
    pub fn awaits_keyframe(&self) -> bool {
        self.spatial < self.wanted
    }

    /// Highest temporal layer that is let through; `None` while no descriptor has come.
    pub fn temporal(&self) -> Option<u8> {
        let most = if self.is_shifted { u8::MAX } else { self.max_temporal };
        self.unit.map(|_| self.seen_temporal.min(most))
    }

    /// The highest layers, spatial and temporal, that the receiver is to expect from the present unit on.
    pub fn expected(&self) -> (u8, u8) {
        let is_key = self.unit.is_some_and(|unit| unit.is_key);
        let spatial = if is_key { self.spatial.max(self.limit) } else { self.spatial };
        (spatial, if self.is_shifted { u8::MAX } else { self.max_temporal })
    }

    /// Decides on a packet with its RTP timestamp and marker.
    pub fn decide(&mut self, timestamp: u32, marker: bool, frame: &Frame) -> Verdict {
        let back = self.advance(frame.number);
        let mut unit = match self.unit {
            Some(unit) if unit.timestamp == timestamp => unit,
            Some(unit) if timestamp.wrapping_sub(unit.timestamp) > u32::MAX / 2 => {
                return self.decide_late(marker, frame, back);
            }
            _ => self.begin_unit(timestamp, frame),
        };
        self.is_shifted |= unit.temporal != frame.temporal;
        let verdict = match self.fate(back) {
            Some(true) => self.why_left_out(frame),
            Some(false) => Verdict::Forward { ends_picture: false },
            None => self.decide_frame(&mut unit, frame),
        };
        let forwarded = matches!(verdict, Verdict::Forward { .. });
        self.remember(back, !forwarded);
        let verdict = if forwarded { self.end_unit(&mut unit, marker, frame) } else { verdict };
        self.unit = Some(unit);
        verdict
    }

    /// The first packet of a frame of the present unit.
    fn decide_frame(&mut self, unit: &mut Unit, frame: &Frame) -> Verdict {
        let spatial = frame.spatial;
        let is_decodable = self.is_decodable(frame);
        let enters = spatial > self.spatial && spatial <= self.limit && frame.switches && is_decodable;
        if spatial >= unit.closed_from || (spatial > self.spatial && !enters) {
            unit.closed_from = unit.closed_from.min(spatial);
            (unit.above, self.above) = (true, true);
            return if spatial <= self.wanted { Verdict::AwaitsKeyframe } else { Verdict::Spatial };
        }
        if !is_decodable || !self.takes_temporal(frame) {
            return Verdict::Temporal;
        }
        self.spatial = self.spatial.max(spatial);
        unit.is_sent = true;
        Verdict::Forward { ends_picture: false }
    }

    /// Whether nothing of the unit follows the packet, which is forwarded.
    fn end_unit(&self, unit: &mut Unit, marker: bool, frame: &Frame) -> Verdict {
        // The encoder's marker stands on a packet that is left out. An upper layer that could begin in this unit begins
        // in a keyframe, or, where none came before, when its encoder has just begun to send it.
        let is_above_left_out = unit.closed_from == frame.spatial + 1 || (self.above && !unit.is_key);
        let is_last = frame.spatial == self.spatial && (frame.spatial >= self.limit || is_above_left_out);
        let ends_picture = marker || (frame.ends && is_last);
        if ends_picture {
            unit.closed_from = unit.closed_from.min(frame.spatial + 1);
        }
        Verdict::Forward { ends_picture }
    }

    /// A packet of a unit before the one that is going on.
    fn decide_late(&mut self, marker: bool, frame: &Frame, back: u16) -> Verdict {
        let keeps = frame.spatial <= self.spatial && self.takes_temporal(frame) && self.is_decodable(frame);
        let left_out = self.fate(back).unwrap_or(!keeps);
        self.remember(back, left_out);
        if left_out {
            return self.why_left_out(frame);
        }
        let ends = frame.ends && frame.spatial == self.spatial && (frame.spatial >= self.limit || self.above);
        Verdict::Forward { ends_picture: marker || ends }
    }

    fn begin_unit(&mut self, timestamp: u32, frame: &Frame) -> Unit {
        if let Some(last) = self.unit.filter(|last| last.is_sent) {
            (self.settled, self.above) = (Some(self.spatial), last.above);
        }
        if self.limit < self.spatial {
            (self.spatial, self.above) = (self.limit, true);
        }
        let (temporal, is_key) = (frame.temporal, frame.references == 0);
        Unit { timestamp, temporal, is_key, closed_from: u8::MAX, above: false, is_sent: false }
    }

    fn takes_temporal(&mut self, frame: &Frame) -> bool {
        self.seen_temporal = self.seen_temporal.max(frame.temporal);
        frame.temporal <= self.max_temporal || self.is_shifted
    }

    /// Whether all that it refers to was sent, or was lost on the way and may still come.
    fn is_decodable(&self, frame: &Frame) -> bool {
        let back = self.newest.map_or(0, |newest| newest.wrapping_sub(frame.number));
        let left_out = self.left_out.checked_shr(u32::from(back) + 1).unwrap_or(0);
        left_out & u128::from(frame.references & EXACT) == 0
    }

    fn why_left_out(&self, frame: &Frame) -> Verdict {
        match frame.spatial {
            spatial if spatial <= self.spatial => Verdict::Temporal,
            spatial if spatial <= self.wanted => Verdict::AwaitsKeyframe,
            _ => Verdict::Spatial,
        }
    }

    /// Moves on to a frame number; how far it lies behind the latest.
    fn advance(&mut self, number: u16) -> u16 {
        let newest = *self.newest.get_or_insert(number);
        let forward = number.wrapping_sub(newest);
        if forward >= 0x8000 {
            return newest.wrapping_sub(number);
        }
        self.seen = self.seen.checked_shl(u32::from(forward)).unwrap_or(0);
        self.left_out = self.left_out.checked_shl(u32::from(forward)).unwrap_or(0);
        self.newest = Some(number);
        0
    }

    /// Whether a frame was left out, if it came.
    fn fate(&self, back: u16) -> Option<bool> {
        let bit = |bits: u128| back < REMEMBERED && bits >> back & 1 != 0;
        bit(self.seen).then(|| bit(self.left_out))
    }

    fn remember(&mut self, back: u16, left_out: bool) {
        if back < REMEMBERED {
            self.seen |= 1 << back;
            self.left_out |= u128::from(left_out) << back;
        }
    }
}
