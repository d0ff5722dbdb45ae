//! Everything that comes over TCP: one thread, whose connections are lines that datagrams of the mesh travel on.
//!
//! The thread has an index behind those of shards and audio threads. A datagram that it cuts out of a stream goes to the
//! shard that its owner lives on, under a path whose socket is *carried* by this thread; what a shard sends to such a path
//! comes back by the mesh and is written to the stream.

mod admission;
mod counts;
mod door;
mod hub;
mod ice_tcp;
mod line;
mod listener;
mod mesh;
#[cfg(test)]
mod tests;
mod worker;

pub use admission::Admission;
pub use listener::{Listening, bind};
pub use worker::StreamsWorker;
