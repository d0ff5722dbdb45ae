//! Continuity of what one receiver gets: sequence numbers, timestamps and picture ids over drops and switches.

pub mod dependency_map;
mod index_shift;
mod picture_ids;
mod segments;
pub mod sequence_map;
pub mod timestamp_map;
pub mod vp8_map;
pub mod vp9_map;

pub use dependency_map::DependencyMap;
pub use sequence_map::{REMEMBERED, Refused, SequenceMap};
pub use timestamp_map::{Capture, TimestampMap, units};
pub use vp8_map::Vp8Map;
pub use vp9_map::Vp9Map;
