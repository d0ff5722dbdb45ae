//! Pacing: what leaves at once, what waits, and trains of probes.

mod drops;
pub mod queue;

pub use drops::{PacerDrop, PacerDrops};
pub use queue::{Admission, Class, Held, Pacer, Release};
