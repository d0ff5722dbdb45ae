//! What stands in front of a picture's payload, in whichever format.

use super::{Codec, vp8, vp9};

/// The payload descriptor of one packet, parsed once on the way in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Descriptor {
    /// The format has none, or it is malformed.
    #[default]
    None,
    /// Of VP8.
    Vp8(vp8::Descriptor),
    /// Of VP9.
    Vp9(vp9::Descriptor),
}

impl Codec {
    /// The descriptor at the start of a payload.
    pub fn describe(self, payload: &[u8]) -> Descriptor {
        match self {
            Codec::Vp8 => vp8::Descriptor::parse(payload).map_or(Descriptor::None, Descriptor::Vp8),
            Codec::Vp9 { .. } => vp9::Descriptor::parse(payload).map_or(Descriptor::None, Descriptor::Vp9),
            _ => Descriptor::None,
        }
    }
}
