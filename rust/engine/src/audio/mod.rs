//! Sound that is decoded, mixed and encoded: threads with deadlines of their own, beside the shards and spoken to like one.
//!
//! An audio thread has an index behind those of the shards and owns the ids that carry it. It wants an up track of a
//! shard as another shard would, and gets its packets in the same batches; what it makes of them are packets of an up
//! track of its own, which down tracks of any shard subscribe to.

pub mod delivery;
pub mod listening;
pub mod mixes;
pub mod packets;
pub mod pool;
pub mod refused;
#[cfg(test)]
mod tests;
pub mod transcoders;
pub mod worker;

pub use pool::AudioPool;
pub use worker::AudioWorker;
