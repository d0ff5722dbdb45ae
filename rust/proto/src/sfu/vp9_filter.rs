//! Which packets of a VP9 stream with spatial and temporal layers one receiver gets (RFC 9628).
//!
//! Lower layers are always sent with the one that is wanted, so that a layer can be left at the end of any picture, also
//! where the encoder predicts between layers at keyframes only (K-SVC). A layer is entered where its frame needs no
//! other picture. Temporal layers are left and entered by whole pictures: in flexible mode by the references that each
//! frame names, else at the switching up points.

#[cfg(test)]
mod tests;

use crate::codec::vp9::Descriptor;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is forwarded; `ends_picture` says that nothing of its picture follows.
    Forward {
        /// The marker bit.
        ends_picture: bool,
    },
    /// Above the temporal layer.
    Temporal,
    /// Above the spatial layer that is wanted.
    Spatial,
    /// Of a wanted spatial layer that can be entered at a keyframe only.
    AwaitsKeyframe,
}

/// The picture that is going on.
#[derive(Clone, Copy, Debug)]
struct Picture {
    timestamp: u32,
    /// Left out for its temporal layer.
    left_out: bool,
    /// Needs no other picture, and so neither do its upper layers.
    is_key: bool,
    /// Spatial layers from here on are left out of this picture.
    closed_from: u8,
    /// Packets above the present layer were left out of it.
    above: bool,
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Vp9Filter {
    /// What is to be entered when it can be.
    wanted: u8,
    /// Highest layer that may be sent if it comes; at least `wanted`.
    limit: u8,
    max_temporal: u8,
    spatial: u8,
    temporal: u8,
    /// Highest temporal layer seen.
    seen_temporal: Option<u8>,
    /// Layers above the present one were left out of the last picture.
    above: bool,
    picture: Option<Picture>,
    /// Picture id of the latest picture, and whether it has 15 bits.
    newest: Option<(u16, bool)>,
    /// Pictures left out: bit `n` is the one `n` before the latest.
    left_out: u128,
    /// The layer of the last whole picture.
    settled: Option<u8>,
}

impl Default for Vp9Filter {
    fn default() -> Vp9Filter {
        Vp9Filter {
            wanted: 0,
            limit: u8::MAX,
            max_temporal: u8::MAX,
            spatial: 0,
            temporal: u8::MAX,
            seen_temporal: None,
            above: false,
            picture: None,
            newest: None,
            left_out: 0,
            settled: None,
        }
    }
}

impl Vp9Filter {
    /// Takes the spatial layer that is wanted, and the highest one that may be sent as soon as it comes.
    pub fn set_spatial(&mut self, wanted: u8, limit: u8) {
        (self.wanted, self.limit) = (wanted, limit.max(wanted));
    }

    /// Takes the highest temporal layer wanted.
    pub fn set_temporal(&mut self, most: u8) {
        self.max_temporal = most;
    }

    /// A source begins with a keyframe.
    pub fn start(&mut self, descriptor: &Descriptor) {
        *self = Vp9Filter {
            wanted: self.wanted,
            limit: self.limit,
            max_temporal: self.max_temporal,
            temporal: self.max_temporal,
            spatial: descriptor.spatial(),
            ..Vp9Filter::default()
        };
    }

    /// The spatial layer that flows; `None` until a whole picture was sent.
    pub fn spatial(&self) -> Option<u8> {
        self.settled
    }

    /// Whether a wanted spatial layer can be entered at a keyframe only.
    pub fn awaits_keyframe(&self) -> bool {
        self.spatial < self.wanted
    }

    /// Highest temporal layer that is let through; `None` for a stream without.
    pub fn temporal(&self) -> Option<u8> {
        self.seen_temporal.map(|seen| seen.min(self.temporal).min(self.max_temporal))
    }

    /// Decides on a packet with its RTP timestamp and marker.
    pub fn decide(&mut self, timestamp: u32, marker: bool, descriptor: &Descriptor) -> Verdict {
        let mut picture = match self.picture {
            Some(picture) if picture.timestamp == timestamp => picture,
            Some(picture) if timestamp.wrapping_sub(picture.timestamp) > 0x7fff_ffff => {
                return self.decide_late(marker, descriptor);
            }
            _ => self.begin_picture(timestamp, descriptor),
        };
        let verdict = self.decide_frame(&mut picture, marker, descriptor);
        self.picture = Some(picture);
        verdict
    }

    fn decide_frame(&mut self, picture: &mut Picture, marker: bool, descriptor: &Descriptor) -> Verdict {
        if picture.left_out {
            return Verdict::Temporal;
        }
        let spatial = descriptor.spatial();
        let enters = spatial > self.spatial
            && spatial <= self.limit
            && !descriptor.is_inter_picture()
            && (!descriptor.is_inter_layer() || spatial == self.spatial + 1);
        if spatial >= picture.closed_from || (spatial > self.spatial && !enters) {
            picture.closed_from = picture.closed_from.min(spatial);
            (picture.above, self.above) = (true, true);
            return if spatial <= self.wanted { Verdict::AwaitsKeyframe } else { Verdict::Spatial };
        }
        self.spatial = self.spatial.max(spatial);
        // The encoder's marker stands on a packet that is left out. An upper layer that could begin in this picture
        // begins in a keyframe, or, where none came before, when its encoder has just begun to send it.
        let is_above_left_out = picture.closed_from == spatial + 1 || (self.above && !picture.is_key);
        let is_last = spatial == self.spatial && (spatial >= self.limit || is_above_left_out);
        let ends_picture = marker || (descriptor.ends_frame() && is_last);
        if ends_picture {
            picture.closed_from = picture.closed_from.min(spatial + 1);
        }
        Verdict::Forward { ends_picture }
    }

    /// A packet of a picture before the one that is going on.
    fn decide_late(&self, marker: bool, descriptor: &Descriptor) -> Verdict {
        let spatial = descriptor.spatial();
        if spatial > self.spatial {
            return Verdict::Spatial;
        }
        let left_out = match (descriptor.picture_id, self.newest) {
            (Some(id), Some((newest, long))) => {
                let back = newest.wrapping_sub(id) & if long { 0x7fff } else { 0x7f };
                self.left_out.checked_shr(u32::from(back)).is_some_and(|bits| bits & 1 != 0)
            }
            _ => false,
        };
        if left_out || descriptor.temporal().is_some_and(|temporal| temporal > self.temporal.min(self.max_temporal)) {
            return Verdict::Temporal;
        }
        let ends = descriptor.ends_frame() && spatial == self.spatial && (spatial >= self.limit || self.above);
        Verdict::Forward { ends_picture: marker || ends }
    }

    fn begin_picture(&mut self, timestamp: u32, descriptor: &Descriptor) -> Picture {
        if let Some(last) = self.picture.filter(|last| !last.left_out) {
            (self.settled, self.above) = (Some(self.spatial), last.above);
        }
        if self.limit < self.spatial {
            (self.spatial, self.above) = (self.limit, true);
        }
        self.advance(descriptor);
        let is_key = !descriptor.is_inter_picture();
        let left_out = !self.keeps_picture(descriptor, is_key);
        self.left_out |= u128::from(left_out);
        Picture { timestamp, left_out, is_key, closed_from: u8::MAX, above: false }
    }

    /// Moves on to the picture id of a new picture.
    fn advance(&mut self, descriptor: &Descriptor) {
        let Some(id) = descriptor.picture_id else {
            self.newest = None;
            return;
        };
        let long = descriptor.long_picture_id;
        let forward = match self.newest {
            Some((newest, _)) => id.wrapping_sub(newest) & if long { 0x7fff } else { 0x7f },
            None => u16::MAX,
        };
        self.left_out = self.left_out.checked_shl(u32::from(forward)).unwrap_or(0);
        self.newest = Some((id, long));
    }

    fn keeps_picture(&mut self, descriptor: &Descriptor, is_key: bool) -> bool {
        let Some(temporal) = descriptor.temporal() else { return true };
        self.seen_temporal = self.seen_temporal.max(Some(temporal));
        if self.max_temporal < self.temporal {
            self.temporal = self.max_temporal;
        }
        if is_key {
            self.temporal = self.max_temporal;
        } else if descriptor.is_flexible() {
            // What it refers to was sent, or was lost on the way and may still come.
            let refers = |back: &u8| *back > 0 && *back < 128 && self.left_out >> *back & 1 != 0;
            let decodable = !descriptor.references.iter().any(refers);
            self.temporal = if decodable { self.temporal.max(temporal).min(self.max_temporal) } else { self.temporal };
            return temporal <= self.max_temporal && decodable;
        }
        let keep = temporal <= self.temporal;
        if keep && descriptor.is_switching_up_point() {
            // RFC 9628 §4.2: what follows in higher layers refers to nothing in higher layers before this picture.
            self.temporal = self.max_temporal;
        }
        keep
    }
}
