//! Why a command of an audio thread is refused.

/// What the control plane reads as the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The configured bound of transcoders.
    #[error("limit transcodes")]
    Transcodes,
    /// The configured bound of legs that hear a mix.
    #[error("limit mixed_legs")]
    MixedLegs,
    /// The id already names something.
    #[error("the id is in use")]
    IdInUse,
    /// Nothing has this id.
    #[error("there is no such transcoder or mix")]
    Unknown,
    /// A codec that is no sound, or that cannot be encoded.
    #[error("invalid codec")]
    Codec,
    /// The source is on no shard.
    #[error("invalid source")]
    Source,
}
