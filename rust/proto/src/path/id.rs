//! Names of paths, as frames carry them.

/// A place in an Edge worker's table, and how often that place was given: a late frame for whoever had it before is told
/// from one for whoever has it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PathId(pub u32);

impl PathId {
    /// The name of no path.
    pub const NONE: PathId = PathId(0);

    /// The path at `index`, given for the `generation`th time.
    pub const fn new(index: u16, generation: u16) -> PathId {
        PathId((generation as u32) << 16 | index as u32)
    }

    /// The place.
    pub const fn index(self) -> u16 {
        self.0 as u16
    }

    /// Never 0, so no path has the name of none.
    pub const fn generation(self) -> u16 {
        (self.0 >> 16) as u16
    }
}
