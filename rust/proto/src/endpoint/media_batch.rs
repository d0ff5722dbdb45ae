//! placeholder
#[derive(Debug, Default)]
pub struct MediaBatch {}
#[derive(Debug, Default)]
pub struct UpDescription {}
