//! Continuity of what one receiver gets: sequence numbers, timestamps and picture ids over drops and switches.

mod segments;
pub mod sequence_map;
pub mod timestamp_map;
pub mod vp8_map;

pub use sequence_map::{Refused, SequenceMap};
pub use timestamp_map::{Capture, TimestampMap, units};
pub use vp8_map::Vp8Map;
