//! What stands in front of a payload, in whichever format.

use super::{Codec, PayloadTable, dependency, red, vp8, vp9};

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
    /// Of redundant audio.
    Red(red::Descriptor),
    /// Of AV1, in a header extension; what the packet shares begins with it.
    Dependency(dependency::Frame),
}

impl Descriptor {
    /// Spatial and temporal layer of the packet's frame; `None` where the format does not tell.
    pub fn place(&self) -> Option<(u8, u8)> {
        match self {
            Descriptor::Vp8(descriptor) => descriptor.temporal.map(|(temporal, _)| (0, temporal)),
            Descriptor::Vp9(descriptor) => descriptor.temporal().map(|temporal| (descriptor.spatial(), temporal)),
            Descriptor::Dependency(frame) => Some((frame.spatial, frame.temporal)),
            Descriptor::None | Descriptor::Red(_) => None,
        }
    }
}

impl Codec {
    /// The descriptor at the start of a payload, for formats that have one there; `table` says what the payload types inside it mean.
    pub fn describe(self, payload: &[u8], table: &PayloadTable) -> Descriptor {
        match self {
            Codec::Vp8 => vp8::Descriptor::parse(payload).map_or(Descriptor::None, Descriptor::Vp8),
            Codec::Vp9 { .. } => vp9::Descriptor::parse(payload).map_or(Descriptor::None, Descriptor::Vp9),
            Codec::Red { .. } => {
                let codec_of = |payload_type| table.by_type(payload_type).map(|entry| entry.codec);
                red::Descriptor::parse(payload, codec_of).map_or(Descriptor::None, Descriptor::Red)
            }
            _ => Descriptor::None,
        }
    }
}
