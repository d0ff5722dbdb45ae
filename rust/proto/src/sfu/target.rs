//! The most that a receiver shall get of its source, as the control plane says.

/// Bounds for whoever chooses a layer; see `SetDownTrackTarget` of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Widest picture, in pixels.
    pub max_width: u16,
    /// Highest picture, in pixels.
    pub max_height: u16,
    /// Most macroblocks of 16 x 16 pixels in a picture.
    pub max_macroblocks: u32,
    /// Highest layer by rank, 0 for the smallest.
    pub max_spatial: u8,
    /// Highest temporal layer.
    pub max_temporal: u8,
    /// Most bits per second of a layer.
    pub max_bitrate_bps: u32,
    /// Rather nothing than a larger picture: its size is a decoder's limit. Rank and bitrate stay wishes.
    pub strict: bool,
    /// Who gets bandwidth first among the tracks of one receiver; 255 is the first.
    pub priority: u8,
    /// Nothing at all for now.
    pub paused: bool,
    /// The source is a shared screen.
    pub is_screen: bool,
}

impl Default for Target {
    fn default() -> Target {
        Target {
            max_width: u16::MAX,
            max_height: u16::MAX,
            max_macroblocks: u32::MAX,
            max_spatial: u8::MAX,
            max_temporal: u8::MAX,
            max_bitrate_bps: u32::MAX,
            strict: false,
            priority: 100,
            paused: false,
            is_screen: false,
        }
    }
}
